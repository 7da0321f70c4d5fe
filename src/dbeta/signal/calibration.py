"""Finds the calibration pulse that some electrocardiographs record before or after the ECG.

It is a rectangular step of usually 1 mV and 200 ms, the same in every lead. No heart gives I, II and the chest leads
the same voltage. With fewer than six leads, whose neighbours may be alike, only an exact rectangle counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dbeta.ecg import INDEPENDENT_LEADS, LEADS

#: Seconds at either end that are searched.
_SEARCHED = 4.0
#: Height of the step in mV, and its width in seconds.
_HEIGHT, _WIDTH = (0.2, 12.0), (0.04, 1.0)
#: How far leads may be apart, mV: by rounding, or by the noise of their amplifiers.
_ROUNDED, _NOISY = 0.012, 0.08
#: How many times as high as the leads may be apart a step must be.
_CLEAR = 5.0
#: Parts of the height: how far samples may be off the two levels, and the same with too few leads to compare.
_OFF, _OFF_ALONE = 0.15, 0.015
#: Part of the samples that may lie between the levels, on the edges of the step.
_EDGES = 0.2
#: Leads from which on equality proves a pulse, whatever its shape.
_ENOUGH = 6


@dataclass(frozen=True)
class Pulse:
    """A calibration pulse at one end of a recording.

    Attributes:
        begin: first sample of the pulse and the flat stretch around it.
        end: the sample after its last.
        height: mV.
        width: seconds.
    """

    begin: int
    end: int
    height: float
    width: float


def find_pulses(signal: np.ndarray, sampling_rate: float, leads: Sequence[str] = LEADS) -> list[Pulse]:
    """The calibration pulses at the beginning and at the end, at most one each.

    Args:
        signal: (leads, samples), mV; NaN where samples are missing.
        sampling_rate: Hz.
        leads: names of the rows.
    """
    alive = [row for row, lead in enumerate(signal) if np.fmax.reduce(lead) > np.fmin.reduce(lead)]
    # Leads that were computed from others have another pulse, or none
    stored = [row for row in alive if leads[row] in INDEPENDENT_LEADS]
    rows = stored if len(stored) >= _ENOUGH else alive
    valid = np.flatnonzero(np.isfinite(signal[rows]).all(axis=0)) if rows else np.zeros(0, int)
    if not valid.size:
        return []
    first, last, count = int(valid[0]), int(valid[-1]) + 1, round(_SEARCHED * sampling_rate)
    pulses = []
    if found := _at_end(signal[rows, first : first + count][:, ::-1], sampling_rate):
        pulses.append(Pulse(0, first + found[0], *found[1:]))
    if found := _at_end(signal[rows, max(last - count, first) : last], sampling_rate):
        pulses.append(Pulse(last - found[0], signal.shape[1], *found[1:]))
    return pulses


def _at_end(part: np.ndarray, rate: float) -> tuple[int, float, float] | None:
    """Samples, height and width of the pulse at the end of some leads, (leads, samples)."""
    gaps = np.flatnonzero(~np.isfinite(part).all(axis=0))
    part = part[:, gaps[-1] + 1 :] if gaps.size else part
    level = np.median(part[:, -max(round(0.01 * rate), 1) :], axis=1, keepdims=True)
    moved = part - level
    common = np.median(moved, axis=0)  # (samples,)
    apart = np.ptp(moved, axis=0)
    if len(part) < _ENOUGH:
        found = _alone(common, rate)
        return found if found and (apart[-found[0] :] <= _ROUNDED).all() else None
    for allowed in (_ROUNDED, _NOISY):
        begin = int(np.flatnonzero(apart > allowed)[-1]) + 1 if (apart > allowed).any() else 0
        if 0 < begin < len(common) and (step := _step(common[begin:], rate) or _top(part[:, begin:], rate)):
            start, stop, height = step
            if height < _CLEAR * allowed:
                continue
            # Noisy leads are alike in the flat line before a pulse, and already in that of the ECG
            length = len(common) - begin if allowed == _ROUNDED else len(common) - begin - start
            return length, height, (stop - start) / rate
    return None


def _step(stretch: np.ndarray, rate: float) -> tuple[int, int, float] | None:
    """Begin, end and height of the step in a stretch in which all leads are alike, relative to its end."""
    if len(stretch) < _WIDTH[0] * rate:
        return None
    extreme = float(stretch[np.argmax(np.abs(stretch))])
    height, top_at = abs(extreme), max(extreme, 0.0)  # a stretch that ends on the top falls below its end
    if not _HEIGHT[0] <= height <= _HEIGHT[1]:
        return None
    off = _OFF * height
    top = np.abs(stretch - top_at) <= off
    low = np.abs(stretch - (top_at - height)) <= off
    runs = _runs(top)
    if len(runs) != 1 or not low.any() or (~(top | low)).mean() > _EDGES:
        return None
    start, stop = runs[0]
    return (start, stop, height) if _WIDTH[0] <= (stop - start) / rate <= _WIDTH[1] else None


def _top(stretch: np.ndarray, rate: float) -> tuple[int, int, float] | None:
    """As `_step`, for a step that the recording begins and ends within: one voltage in all leads, (leads, samples)."""
    height, size = float(np.median(stretch)), stretch.shape[1]
    if not (_HEIGHT[0] <= height <= _HEIGHT[1] and np.ptp(stretch) <= _ROUNDED):
        return None
    return (0, size, height) if _WIDTH[0] <= size / rate <= _WIDTH[1] else None


def _alone(lead: np.ndarray, rate: float) -> tuple[int, float, float] | None:
    """As `_at_end`, by the shape of one lead: flat, a flat top, flat at the same level up to the end."""
    shortest = _WIDTH[0] * rate
    flat = np.abs(lead) <= _ROUNDED
    tail = _runs(flat)
    if not tail or tail[-1][1] != len(lead) or tail[-1][1] - tail[-1][0] < shortest:
        return None
    before = lead[: tail[-1][0]]
    top_from = max(len(before) - round((_WIDTH[1] + 0.02) * rate), 0)
    if not before[top_from:].size:
        return None
    height = float(np.max(before[top_from:]))
    if not _HEIGHT[0] <= height <= _HEIGHT[1]:
        return None
    tops = _runs(np.abs(before - height) <= _OFF_ALONE * height)
    edge = max(round(0.01 * rate), 1)
    start, stop = tops[-1]
    lows = [run for run in tail[:-1] if start - edge <= run[1] <= start and run[1] - run[0] >= shortest]
    width = (stop - start) / rate
    if not lows or stop < len(before) - edge or not _WIDTH[0] <= width <= _WIDTH[1]:
        return None
    return len(lead) - lows[0][0], height, width


def _runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """First index and the one after the last of each run of True."""
    change = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return list(zip(change[::2].tolist(), change[1::2].tolist(), strict=True))
