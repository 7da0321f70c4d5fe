"""Multiplex groups of a DICOM waveform → one recording: simultaneous, one after another, at several rates.

Each group is put at its place in time. Groups that are left out, and leads that are brought to another rate, are
listed in `meta` and said in a warning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dbeta.ecg import LIMB_LEADS
from dbeta.errors import DBetaError
from dbeta.io.formats.base import known_lead
from dbeta.io.formats.rates import resampled, resampling_note
from dbeta.io.safety.limits import check_values
from dbeta.io.units import millivolts

#: Seconds; columns of a printout are shorter, simultaneous groups of a recording are as long or longer.
_LONG = 8.0
#: Leads in the columns of a printout, also in Cabrera's order.
_COLUMNS = [
    {"I", "II", "III"},
    {"aVR", "aVL", "aVF"},
    {"aVL", "I", "aVR"},
    {"II", "aVF", "III"},
    {"V1", "V2", "V3"},
    {"V4", "V5", "V6"},
    set(LIMB_LEADS),
    {f"V{number}" for number in range(1, 7)},
]
#: Seconds by which stated times of consecutive groups may be rounded.
_ROUNDED = 0.01
#: Fraction of the limb leads' energy that contradicts the equations in groups that are not simultaneous.
_NOT_SIMULTANEOUS = 0.02


@dataclass
class Group:
    """A multiplex group: channels of one rate over one stretch of time.

    Attributes:
        label: as the file names it.
        names: of the channels.
        units: of the channels.
        signal: (channels, samples) in `units`.
        rate: Hz.
        offset: seconds after the start of the recording; None if not stated.
        gains: counts per unit of each channel.
        notes: warnings about how it was read.
    """

    label: str
    names: list[str]
    units: list[str]
    signal: np.ndarray
    rate: float
    offset: float | None
    gains: list[float]
    notes: list[str] = field(default_factory=list)

    @property
    def leads(self) -> set[str]:
        """The standard leads among the channels."""
        return {lead for lead in map(known_lead, self.names) if lead}

    @property
    def seconds(self) -> float:
        """Length."""
        return self.signal.shape[1] / self.rate

    def described(self, names: list[str]) -> str:
        """Some of its channels, as a warning names them."""
        label = f"{self.label}: " if self.label else ""
        return f"{label}{', '.join(names[:12])} ({self.seconds:g} s at {self.rate:g} Hz)"


@dataclass
class Joined:
    """All groups as one: a row for each channel.

    Attributes:
        names: of the channels.
        units: of the channels.
        signal: (channels, samples), NaN where a channel was not recorded.
        rate: Hz.
        gains: counts per unit of each channel; empty if they differ over time.
        notes: warnings.
        meta: what was changed or left out.
    """

    names: list[str]
    units: list[str]
    signal: np.ndarray
    rate: float
    gains: list[float]
    notes: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


def join_groups(groups: list[Group]) -> Joined:
    """Join the groups of a recording.

    The group with most leads is read. Others are joined to it if they add leads, or time for the same leads; of a lead
    that two groups have at the same time, the samples of the longer group are kept, or else of
    the faster, or the earlier.

    Raises:
        DBetaError: the groups lie far apart in time.
    """
    main = max(groups, key=lambda one: (len(one.leads), one.seconds, one.rate))
    adds_leads = len(set().union(*(one.leads for one in groups))) > len(main.leads)
    kept = [one for one in groups if one is main or adds_leads or one.leads == main.leads]
    times = _start_times(kept)
    placed = sorted(zip(times, kept, strict=True), key=lambda pair: pair[0])
    kept = [one for _, one in placed]
    starts = _snapped(kept, [start for start, _ in placed])
    rate = max(one.rate for one in kept)
    ends = [start + one.seconds for start, one in zip(starts, kept, strict=True)]
    begin = min(starts)
    if max(ends) - begin > 4 * sum(one.seconds for one in kept):
        raise DBetaError("has parts that lie far apart in time; export each of them as a file")
    total = max(round((start - begin) * rate) + _length(one, rate) for start, one in zip(starts, kept, strict=True))
    check_values(total * sum(len(one.names) for one in kept))
    rows: dict[tuple[str, int], _Row] = {}
    left_out = [one.described(one.names) for one in groups if not any(one is other for other in kept)]
    slower: dict[str, float] = {}
    for at in sorted(range(len(kept)), key=lambda i: (-kept[i].seconds, -kept[i].rate)):
        group, start = kept[at], round((starts[at] - begin) * rate)
        unused: dict[str, list[str]] = {}
        for channel, name in enumerate(group.names):
            # A name that occurs twice in a group is two channels
            key = known_lead(name) or name, group.names[:channel].count(name)
            row = rows.setdefault(key, _Row(name, np.full(total, np.nan), group.units[channel], group.gains[channel]))
            used, overlap = row.place(group, channel, start, rate)
            if overlap:
                unused.setdefault(overlap.said(), []).append(name)
            if used and group.rate < rate:
                slower[name] = group.rate
        left_out += [f"{group.described(names)}{said}" for said, names in unused.items()]
    in_order = list(rows.values())
    steady = all(row.gain is not None for row in in_order)
    joined = Joined(
        [row.name for row in in_order],
        [row.unit for row in in_order],
        np.stack([row.values for row in in_order]),
        rate,
        [row.gain or 0.0 for row in in_order] if steady else [],
    )
    joined.notes += dict.fromkeys(note for one in kept for note in one.notes)
    _say(joined, in_order, slower, left_out)
    if not any(times) and _is_doubtful(kept):
        joined.meta["simultaneous"] = "assumed"
        joined.notes.append(
            "does not state when its groups of leads were recorded; they are taken to be simultaneous, and may be the "
            "columns of a printout"
        )
    return joined


def _length(group: Group, rate: float) -> int:
    """Samples of a group at another rate."""
    return round(group.signal.shape[1] * rate / group.rate)


class _Overlap(NamedTuple):
    """Seconds of a channel at which another group holds other samples, and whether it has no others."""

    begin: float
    end: float
    whole: bool

    def said(self) -> str:
        """As it follows the name of the channel in a warning."""
        return "" if self.whole else f" from {self.begin:g} to {self.end:g} s, where another group has other samples"


class _Row:
    """One channel over the whole time."""

    def __init__(self, name: str, values: np.ndarray, unit: str, gain: float) -> None:
        self.name, self.values, self.unit = name, values, unit
        self.gain: float | None = gain
        self.filled = np.zeros(len(values), dtype=bool)

    def place(self, group: Group, channel: int, at: int, rate: float) -> tuple[bool, _Overlap | None]:
        """Put a stretch at its place: whether samples of it are used, and where others were that differ."""
        factor = self._factor(group, channel)
        values = resampled(group.signal[channel], _length(group, rate)) * factor
        span = slice(at, at + len(values))
        taken, there = self.filled[span].copy(), self.values[span]
        self.filled[span] = True
        step = factor / abs(group.gains[channel]) if group.gains[channel] else 0.0
        differs = taken & np.isfinite(there) & np.isfinite(values) & ~np.isclose(there, values, 1e-3, 1.01 * step)
        free = ~np.isfinite(there)
        there[free] = values[free]
        used = bool((free & np.isfinite(values)).any())
        if differs.sum() <= _ROUNDED * rate:
            return used, None
        begin, end = int(np.argmax(taken)), len(taken) - int(np.argmax(taken[::-1]))
        return used, _Overlap((at + begin) / rate, (at + end) / rate, end - begin >= len(values) - _ROUNDED * rate)

    def _factor(self, group: Group, channel: int) -> float:
        """From the unit of a group's channel to that of this row."""
        unit, factor = group.units[channel], 1.0
        if unit != self.unit:
            sizes = millivolts(unit), millivolts(self.unit)
            if not sizes[0] or not sizes[1]:
                raise DBetaError(f"has lead {group.names[channel]} in {self.unit} and in {unit}; export it again")
            factor = sizes[0] / sizes[1]
        if self.gain is not None and not np.isclose(self.gain, group.gains[channel] / factor):
            self.gain = None
        return factor


def _say(joined: Joined, rows: list[_Row], slower: dict[str, float], left_out: list[str]) -> None:
    """Note in `joined` what is not as in the file."""
    if slower:
        joined.meta["resampled_leads"] = slower
        joined.notes.append(resampling_note(slower, joined.rate))
    patterns = {row.filled.tobytes() for row in rows}
    if len(patterns) > 1:
        joined.notes.append(
            "shows its leads one after the other, as on paper; each is missing (NaN) where it is not shown"
        )
    elif not rows[0].filled.all():
        seconds = float((~rows[0].filled).sum() / joined.rate)
        joined.notes.append(f"was interrupted for {seconds:g} s, which are missing (NaN)")
    if left_out:
        joined.meta["left_out"] = left_out
        joined.notes.append(f"holds further signals, which are left out: {'; '.join(left_out[:6])}")


def _start_times(groups: list[Group]) -> list[float]:
    """Seconds at which each group begins; without stated times, a printout's columns follow one another."""
    if any(group.offset is not None for group in groups):
        return [group.offset or 0.0 for group in groups]
    together = [0.0 for _ in groups]
    longest = max(group.seconds for group in groups)
    columns = [group for group in groups if group.seconds < longest] or groups
    if len(columns) < 2 or any(group.leads not in _COLUMNS for group in columns) or columns[0].seconds >= _LONG:
        return together
    if len(columns) == len(groups) and _simultaneous(groups):
        return together
    starts, end = [], 0.0
    for group in groups:
        is_column = any(group is one for one in columns)
        starts.append(end if is_column else 0.0)
        end += group.seconds if is_column else 0.0
    return starts


def _is_doubtful(groups: list[Group]) -> bool:
    """Whether groups without stated times may have followed one another: short ones, unless the limb leads prove it."""
    if len(groups) < 2 or any(group.offset is not None for group in groups):
        return False
    limbs = [group.leads & set(LIMB_LEADS) for group in groups]
    proven = all(limbs) and len(set().union(*limbs)) > max(map(len, limbs)) and _simultaneous(groups)
    return max(group.seconds for group in groups) < _LONG and not proven


def _simultaneous(groups: list[Group]) -> bool:
    """Whether the limb leads of groups of equal length obey the limb-lead equations sample by sample."""
    rows = {known_lead(name): row for one in groups for name, row in zip(one.names, one.signal, strict=True)}
    limbs = [lead for lead in LIMB_LEADS if lead in rows]
    if len(limbs) < 3 or len({len(rows[lead]) for lead in limbs}) > 1 or len({one.rate for one in groups}) > 1:
        return False
    x = np.nan_to_num(np.stack([rows[lead] - np.nanmean(rows[lead]) for lead in limbs]))
    design = np.array([LIMB_LEADS[lead] for lead in limbs])
    left = x - design @ np.linalg.pinv(design) @ x
    return bool(np.square(left).sum() < _NOT_SIMULTANEOUS * np.square(x).sum())


def _snapped(groups: list[Group], starts: list[float]) -> list[float]:
    """Starts moved to the end of a group before, where only the rounding of stated times lies between."""
    snapped: list[float] = []
    for number, (group, start) in enumerate(zip(groups, starts, strict=True)):
        near = max(_ROUNDED, 1.5 / group.rate)
        ends = [snapped[other] + groups[other].seconds for other in range(number)]
        close = [end for end in ends if abs(end - start) <= near]
        snapped.append(min(close, key=lambda end: abs(end - start)) if close else start)
    return snapped
