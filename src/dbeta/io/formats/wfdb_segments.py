"""WFDB records of several segments, of fixed or variable layout, as MIMIC's waveforms are.

Only the segments in the requested stretch are opened. Signals are placed by name; where a segment does not have one,
and in gaps between segments, it is NaN. Source: WFDB header(5).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording
from dbeta.io.formats.rates import Stretch, plan, resampled, resampling_note
from dbeta.io.formats.wfdb_header import Channel, Header, read_header
from dbeta.io.formats.wfdb_samples import available_frames, read_counts
from dbeta.io.safety.limits import LARGEST_HEADER, is_file
from dbeta.io.safety.records import check_wfdb
from dbeta.io.units import millivolts

#: Gaps listed in `meta`.
_MOST_GAPS = 1000


class _Segment(NamedTuple):
    name: str
    start: int  # frames
    frames: int


def read_segments(file: Path, header: Header, options: Options) -> Recording:
    """Read the segments that make up the requested stretch.

    Args:
        file: the record's header.
        header: its content.
        options: of the caller.

    Raises:
        DBetaError: a segment is missing, damaged, or contradicts the others.
    """
    segments = list(_placed(header))
    pattern = _pattern(file, segments)
    frames = segments[-1].start + segments[-1].frames
    rate = header.rate or pattern.rate
    if rate is None:
        if options.sampling_rate is None:
            raise DBetaError("does not state its sampling rate; give it in Hz with --fs")
        rate = options.sampling_rate / max(channel.per_frame for channel in pattern.channels)
    channels = pattern.channels
    stretch = plan([one.name for one in channels], [one.per_frame for one in channels], rate, frames, options)
    placed = _Placed(stretch, channels, options.raw_gain)
    for one in segments:
        begin, end = max(one.start, stretch.first), min(one.start + one.frames, stretch.last)
        if begin < end and one.name != "~":
            placed.add(file, one, begin, end, rate)
    notes, meta = placed.notes + stretch.notes, stretch.meta
    if header.frames and header.frames > frames:
        per_frame = max(one.per_frame for one in channels)
        notes.append(f"its header promises {header.frames * per_frame} samples, its segments {frames * per_frame}")
    if placed.slower:
        meta["resampled_leads"] = meta.get("resampled_leads", {}) | placed.slower
        notes.append(resampling_note(placed.slower, stretch.rate))
    if placed.absent:
        meta["absent"] = {channels[row].name: round(count / rate, 3) for row, count in sorted(placed.absent.items())}
        said = ", ".join(f"{name} ({seconds:g} s)" for name, seconds in list(meta["absent"].items())[:12])
        notes.append(f"some of its segments do not have every lead; missing (NaN) there: {said}")
    if gaps := _gaps(segments, stretch, rate):
        seconds = sum(end - begin for begin, end in gaps)
        notes.insert(0, f"has {len(gaps)} gaps of {seconds:g} s in all, which are missing (NaN)")
        meta["gaps"] = [[round(begin, 3), round(end, 3)] for begin, end in gaps[:_MOST_GAPS]]
    signal = stretch.join(placed.rows.__getitem__)
    units = [options.raw_gain or placed.units.get(row, "mV") for row in range(len(channels))]
    gains = [placed.gains.get(row, 1.0) for row in range(len(channels))] if placed.steady else []
    return Recording(signal, stretch.names, stretch.rate, units, stretch.total, "", meta=meta, notes=notes, gains=gains)


def _placed(header: Header) -> Iterator[_Segment]:
    at = 0
    for name, frames in header.segments:
        yield _Segment(name, at, frames)
        at += frames
    if at < 1:
        raise DBetaError("holds no samples in any of its segments; get the record again")


def _pattern(file: Path, segments: list[_Segment]) -> Header:
    """The header that names the record's signals: the layout, or the first segment."""
    first = next((one for one in segments if one.name != "~"), None)
    if first is None:
        raise DBetaError("consists of gaps only; get the record again")
    return _open(file, first.name)


def _open(file: Path, name: str) -> Header:
    if name in (".", "..") or not set(name).isdisjoint("/\\:") or len(name) > 200:
        raise DBetaError(f"names the segment {name[:60]!r}, which is not in its folder; get the record again")
    path = file.with_name(f"{name}.hea")
    if not is_file(path):
        raise DBetaError(f"names the segment {name[:60]}, which is missing; put {path.name[:60]} in the same folder")
    if path.stat().st_size > LARGEST_HEADER:
        raise DBetaError(f"names the segment {name[:60]}, whose header is too large; get the record again")
    check_wfdb(path, file.parent, file.resolve().parent)
    header = read_header(path)
    if header.segments:
        raise DBetaError(f"names the segment {name[:60]}, which has segments itself; get the record again")
    return header


class _Placed:
    """The wanted signals over the stretch, filled segment by segment."""

    def __init__(self, stretch: Stretch, channels: list[Channel], raw_gain: str | None) -> None:
        self.stretch, self.channels, self.raw_gain = stretch, channels, raw_gain
        frames = stretch.last - stretch.first
        self.rows = {row: np.full(frames * channels[row].per_frame, np.nan) for row in stretch.wanted}
        self.units: dict[int, str] = {}
        self.gains: dict[int, float] = {}  # counts per unit
        self.steady = True  # whether they are the same in all segments
        self.slower: dict[str, float] = {}  # Hz of leads that a segment holds at another rate
        self.absent: dict[int, int] = {}  # frames for which no segment holds a lead
        self.notes: list[str] = []

    def add(self, file: Path, segment: _Segment, begin: int, end: int, rate: float) -> None:
        """Read a segment from frame `begin` to `end` of the record."""
        header = _open(file, segment.name)
        if header.rate is not None and abs(header.rate - rate) > 1e-6 * rate:
            raise DBetaError(
                f"has the segment {segment.name} at {header.rate:g} frames per second, the others at {rate:g}; read "
                f"{segment.name}.hea on its own"
            )
        rows = self._match(header.channels, segment.name)
        held = available_frames(file.parent, header.channels)
        if rows and max(held[of] for of in rows.values()) < segment.frames:
            self.notes.append(f"its segment {segment.name} is cut short and missing (NaN) from there on")
        if (whole := header.frames or max(held)) > segment.frames:
            self.notes.append(
                f"its segment {segment.name} holds {whole} frames, of which its header names {segment.frames}; the "
                "rest is left out"
            )
        for row in self.rows.keys() - rows.keys():
            self.absent[row] = self.absent.get(row, 0) + end - begin
        counts = read_counts(
            file.parent, header.channels, list(rows.values()), begin - segment.start, end - segment.start
        )
        for row, of in rows.items():
            channel, per_frame = header.channels[of], self.channels[row].per_frame
            if channel.per_frame != per_frame:
                self.slower[channel.name] = channel.per_frame * rate
            values = resampled(counts[of], (end - begin) * per_frame)
            at = (begin - self.stretch.first) * per_frame
            self.rows[row][at : at + len(values)] = self._scaled(row, channel, values)

    def _match(self, channels: list[Channel], segment: str) -> dict[int, int]:
        """Which channel of a segment is which wanted signal: by name, or by position if names do not tell."""
        names = [one.name for one in channels]
        wanted = {row: self.channels[row].name for row in self.stretch.wanted}
        all_names = [one.name for one in self.channels]
        if len(set(names)) == len(names) and len(set(all_names)) == len(all_names) and set(names) <= set(all_names):
            return {row: names.index(name) for row, name in wanted.items() if name in names}
        if names == all_names:
            return {row: row for row in wanted}
        raise DBetaError(
            f"has signals in its segment {segment} that the record does not name; read {segment}.hea on its own"
        )

    def _scaled(self, row: int, channel: Channel, counts: np.ndarray) -> Any:
        """Values in the unit in which the signal first occurs."""
        if self.raw_gain:
            return counts
        unit = self.units.setdefault(row, channel.unit)
        factor = 1.0
        if channel.unit != unit:
            sizes = millivolts(channel.unit), millivolts(unit)
            if not sizes[0] or not sizes[1]:
                raise DBetaError(
                    f"has lead {channel.name} in {unit} and in {channel.unit}; read its segments one by one"
                )
            factor = sizes[0] / sizes[1]
        gain = channel.gain / factor
        self.steady &= bool(np.isclose(self.gains.setdefault(row, gain), gain))
        if not channel.stated_gain:
            note = "its header states no gain, so 200 counts per mV are assumed; voltages may be wrong"
            self.notes += [note] * (note not in self.notes)
        return (counts - channel.baseline) / channel.gain * factor


def _gaps(segments: list[_Segment], stretch: Stretch, rate: float) -> list[tuple[float, float]]:
    """Seconds at which gaps in the stretch begin and end."""
    gaps = []
    for one in segments:
        begin, end = max(one.start, stretch.first), min(one.start + one.frames, stretch.last)
        if one.name == "~" and begin < end:
            gaps.append((begin / rate, end / rate))
    return gaps
