"""Channels of different sampling rates, as several samples per frame (WFDB) or data record (EDF): one rate for all.

The slower leads are interpolated (polyphase) to the rate of the fastest. Leads too slow for an ECG are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from dbeta.io.formats.base import NO_LEAD, Options, known_lead
from dbeta.io.safety.limits import check_values
from dbeta.signal.preprocess import LOWEST_SAMPLING_RATE

#: Samples of the slowest lead read before and after a stretch, so that it is what the whole recording would give.
_MARGIN = 16


@dataclass
class Stretch:
    """The requested part of a recording in frames of several samples.

    Attributes:
        wanted: indices of the channels that are leads.
        names: of all channels; that of a lead which is left out says why.
        rate: Hz, of the fastest lead.
        total: samples of the whole recording at that rate.
        first: frame to read from.
        last: the one after the last to read.
        notes: warnings.
        meta: what was changed.
    """

    wanted: list[int]
    names: list[str]
    rate: float
    total: int
    first: int
    last: int
    notes: list[str]
    meta: dict[str, Any] = field(default_factory=dict)
    _per_frame: int = 1
    _begin: int = 0
    _end: int = 0

    def join(self, read: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        """The channels over the stretch at one rate, those that are not leads empty.

        Args:
            read: from the index of a channel to its samples from frame `first` to `last`.
        """
        frames = self.last - self.first
        skipped = self._begin - self.first * self._per_frame
        rows = [np.empty(0)] * len(self.names)
        for row in self.wanted:
            values = resampled(read(row), frames * self._per_frame)
            rows[row] = values[skipped : skipped + self._end - self._begin]
        return rows


def plan(names: Sequence[str], per_frame: Sequence[int], frame_rate: float, frames: int, options: Options) -> Stretch:
    """Decide which channels and frames to read.

    Args:
        names: of the channels.
        per_frame: samples of each channel in a frame.
        frame_rate: Hz.
        frames: of the whole recording.
        options: of the caller.

    Raises:
        DBetaError: the recording ends before the stretch, or the stretch is too long to be loaded at once.
    """
    names, notes, meta = list(names), [], {}
    wanted = wanted_channels(names, options.leads)
    fastest = max((per_frame[row] for row in wanted), default=max(per_frame))
    if options.leads is None and fastest * frame_rate >= LOWEST_SAMPLING_RATE:
        slow = [row for row in wanted if per_frame[row] * frame_rate < LOWEST_SAMPLING_RATE]
        for row in slow:
            names[row] = f"{names[row]} at {per_frame[row] * frame_rate:g} Hz"
            notes.append(f"lead {names[row]} is too slow for an ECG and left out")
        wanted = [row for row in wanted if row not in slow]
    slower = [row for row in wanted if per_frame[row] < fastest]
    if slower:
        rates = {names[row]: per_frame[row] * frame_rate for row in slower}
        meta["resampled_leads"] = rates
        notes.append(resampling_note(rates, fastest * frame_rate))
    total = frames * fastest
    begin, end = options.stretch(frame_rate * fastest, total)
    margin = -(-_MARGIN // min(per_frame[row] for row in slower)) if slower else 0
    first, last = max(begin // fastest - margin, 0), min(-(-end // fastest) + margin, frames)
    check_values((last - first) * fastest * max(len(wanted), 1))
    return Stretch(wanted, names, frame_rate * fastest, total, first, last, notes, meta, fastest, begin, end)


def resampling_note(rates: dict[str, float], rate: float) -> str:
    """The warning that leads of these rates were resampled."""
    said = ", ".join(f"{name} ({slow:g} Hz)" for name, slow in list(rates.items())[:12])
    return f"its leads have different sampling rates; {said} resampled to {rate:g} Hz"


def wanted_channels(names: Sequence[str], leads: Sequence[str] | None) -> list[int]:
    """Indices of the channels that are leads, by their names or as the caller names them."""
    if leads is not None and len(leads) == len(names):
        return [row for row, lead in enumerate(leads) if lead != NO_LEAD]
    return [row for row, name in enumerate(names) if known_lead(name)]


def resampled(values: np.ndarray, length: int) -> np.ndarray:
    """Samples interpolated or decimated to another number over the same time; NaN where the nearest sample is NaN."""
    if len(values) == length or len(values) == 0:
        return values
    from scipy.signal import resample_poly

    missing = ~np.isfinite(values)
    nearest = np.minimum(np.round(np.arange(length) * (len(values) / length)).astype(np.int64), len(values) - 1)
    if missing.all():
        return np.full(length, np.nan)
    if missing.any():
        at = np.arange(len(values))
        values = np.where(missing, np.interp(at, at[~missing], values[~missing]), values)
    ratio = Fraction(length, len(values)).limit_denominator(100_000)
    new = resample_poly(values, ratio.numerator, ratio.denominator, padtype="line")
    fitted = np.full(length, np.nan)
    fitted[: len(new)] = new[:length]
    fitted[missing[nearest]] = np.nan
    return fitted
