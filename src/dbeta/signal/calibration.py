"""Finds the calibration pulse that some electrocardiographs record before or after the ECG.

It is a rectangular step of usually 1 mV and 200 ms, the same in every lead. No heart gives I, II and the chest leads
the same voltage: with six leads or more, steps count in any number, of either sign and after a filter, if all leads
share them and only noise differs. With fewer, whose neighbours may be alike, only an exact rectangle counts, or one of
a usual height with up to 5 µV of noise.

On 4,128 recordings of PTB-XL, in nine sets of leads each, and on 193 of other collections nothing was found that is no
pulse. Of pulses that were added, six leads or more find all, with up to 40 µV of noise; where the flat line before the
pulse begins is right to 20 ms in 98 % without noise, 90 % at 5 µV and 45 to 80 % at 20 to 40 µV. Fewer leads find all
with a flat line on both sides and up to 5 µV of noise, half without one after the pulse, only the outer of two in a
row, and hardly any in more noise or after a filter (`benchmarks/calibration.py FOLDER`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dbeta.ecg import INDEPENDENT_LEADS, LEADS

#: Seconds at either end that are searched.
_SEARCHED = 4.0
#: Height of the step in mV, and its width in seconds.
_HEIGHT, _WIDTH = (0.2, 12.0), (0.04, 1.0)
#: How far leads may be apart, mV: by rounding, and root mean square by the noise of their amplifiers.
_ROUNDED, _NOISY = 0.012, (0.02, 0.05, 0.08)
#: How many times as high as the leads may be apart a step must be.
_CLEAR = 8.0
#: How much the leads' sizes may vary.
_UNLIKE = 0.05
#: Seconds over which noise is averaged.
_AVERAGED = 0.04
#: Seconds within which a step rises, parts of its height from which on it does, and up to which the level is steady.
_RISE, _RISEN, _STEADY = 0.02, 0.5, 0.25
#: Part of the samples that may be neither.
_BETWEEN = 0.2
#: Steps of the longest pattern: two pulses, or a staircase up and down.
_MOST_STEPS = 6
#: The same with too few leads to compare, where only a rectangle of a usual height counts: how far off, in mV, samples
#: may be, the usual heights in mV, how far off these a height may be, and the shortest level in seconds.
_OFF_ALONE, _USUAL, _NEAR, _SHORTEST_ALONE = 0.025, (0.5, 1.0, 2.0), 0.03, 0.08
#: Height and seconds that it must have without a flat line after it.
_LEAST_TOP = 0.9, 0.15
#: Part of the height that samples may be off an exact rectangle of any height.
_OFF = 0.015
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


def find_pulses(
    signal: np.ndarray, sampling_rate: float, leads: Sequence[str] = LEADS, *, part: bool = False
) -> list[Pulse]:
    """The calibration pulses at the beginning and at the end, at most one each.

    Args:
        signal: (leads, samples), mV; NaN where samples are missing.
        sampling_rate: Hz.
        leads: names of the rows.
        part: the signal is a part of a recording, which may hold nothing but the pulse.
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
    if found := _at_end(signal[rows, first : first + count][:, ::-1], sampling_rate, part):
        pulses.append(Pulse(0, first + found[0], *found[1:]))
        first += found[0]
    if first < last and (found := _at_end(signal[rows, max(last - count, first) : last], sampling_rate, False)):
        pulses.append(Pulse(last - found[0], signal.shape[1], *found[1:]))
    return pulses


def _at_end(x: np.ndarray, rate: float, part: bool) -> tuple[int, float, float] | None:
    """Samples, height and width of the pulse at the end of some leads, (leads, samples)."""
    gaps = np.flatnonzero(~np.isfinite(x).all(axis=0))
    x = x[:, gaps[-1] + 1 :] if gaps.size else x
    window = max(round(_AVERAGED * rate), 1)
    if x.shape[1] < window:
        return None
    moved = x.astype(np.float64)
    moved -= moved[:, -window:].mean(axis=1, keepdims=True)
    common = np.median(moved, axis=0)  # (samples,)
    apart = np.ptp(moved, axis=0)
    if len(x) < _ENOUGH:
        return _few(x, common, apart, rate)
    begin = _after(apart > _ROUNDED)
    if (begin or part) and begin < len(common):
        if found := _steps(common[begin:], _CLEAR * _ROUNDED, rate):
            return len(common) - begin, *found[2:]
        if found := _top(x[:, begin:], rate):
            return len(common) - begin, *found[2:]
    noise = np.sqrt(_mean_of(np.square(moved - common).mean(axis=0), window))
    for allowed in _NOISY:
        begin = _after(noise > allowed)
        if not 0 < begin < len(common) or _unlike(moved[:, begin:], common[begin:]) > _UNLIKE:
            continue
        if found := _steps(common[begin:], _CLEAR * allowed, rate):
            first = begin + found[0]
            return len(common) - _flat_from(common, noise, begin, first, rate), *found[2:]
    return None


def _unlike(moved: np.ndarray, common: np.ndarray) -> float:
    """Standard deviation of the leads' sizes as parts of the common one: noise averages out, a heart does not."""
    shape = common - common.mean()
    return float((moved @ shape / max(shape @ shape, 1e-12)).std())


def _after(marked: np.ndarray) -> int:
    """The index after the last True; 0 if there is none."""
    return int(np.flatnonzero(marked)[-1]) + 1 if marked.any() else 0


def _mean_of(values: np.ndarray, window: int) -> np.ndarray:
    """Moving average."""
    return np.convolve(np.pad(values, window, mode="edge"), np.ones(window) / window, "same")[window:-window]


def _flat_from(common: np.ndarray, noise: np.ndarray, begin: int, step: int, rate: float) -> int:
    """Where the flat line before the first step begins: there the leads are as alike as during the pulse."""
    edge, window = round(_RISE * rate), max(round(_AVERAGED * rate), 1)
    before = max(step - edge, begin)
    level = np.median(common[max(before - window, begin) : before + 1])
    typical = float(np.median(noise[step:]))
    smooth = _mean_of(common, max(window // 2, 1))
    ecg = (noise > 1.5 * typical + 0.003) | (np.abs(smooth - level) > 2 * typical + 0.01)
    return min(begin + _after(ecg[begin : before + 1]), step)


def _steps(stretch: np.ndarray, lowest: float, rate: float) -> tuple[int, int, float, float] | None:
    """First and last sample, height and width of the steps in a stretch in which all leads are alike.

    Between steps, which may go up or down, the level is steady or, after a filter, decays.
    """
    lag = max(round(_RISE * rate), 1)
    if len(stretch) < max(_WIDTH[0] * rate, lag + 2):
        return None
    rise = stretch[lag:] - stretch[:-lag]
    height = float(np.abs(rise).max())
    if not max(_HEIGHT[0], lowest) <= height <= _HEIGHT[1]:
        return None
    steep = np.abs(rise) >= _RISEN * height
    runs = _runs(steep)
    if len(runs) > _MOST_STEPS or (~steep & (np.abs(rise) > _STEADY * height)).mean() > _BETWEEN:
        return None
    if any(stop - start > 2 * lag for start, stop in runs):
        return None
    middles = [(start + stop - 1 + lag) / 2 + 0.5 for start, stop in runs]
    if len(runs) == 1:
        # The higher of the two levels is the pulse
        up = rise[runs[0][0]] > 0
        width, middle = (len(stretch) - middles[0] if up else middles[0]) / rate, round(middles[0])
        place = (middle, len(stretch)) if up else (0, middle)
        return (*place, height, width) if _WIDTH[0] <= width <= _WIDTH[1] else None
    width = (middles[1] - middles[0]) / rate
    if not all(_WIDTH[0] <= (b - a) / rate <= _WIDTH[1] for a, b in pairwise(middles)):
        return None
    return round(middles[0]), round(middles[-1]), height if rise[runs[0][0]] > 0 else -height, width


def _top(stretch: np.ndarray, rate: float) -> tuple[int, int, float, float] | None:
    """As `_steps`, for a step that the recording begins and ends within: one voltage in all leads, (leads, samples)."""
    height, size = float(np.median(stretch)), stretch.shape[1]
    if not (_HEIGHT[0] <= abs(height) <= _HEIGHT[1] and np.ptp(stretch) <= _ROUNDED):
        return None
    return (0, size, height, size / rate) if _WIDTH[0] <= size / rate <= _WIDTH[1] else None


def _few(x: np.ndarray, common: np.ndarray, apart: np.ndarray, rate: float) -> tuple[int, float, float] | None:
    """As `_at_end`, with too few leads to compare."""
    found = _alone(common, rate)
    if found and (apart[-found[0] :] <= _ROUNDED).all():
        return found
    each = [_rectangle(lead, rate) for lead in x.astype(np.float64)]
    if any(one is None for one in each):
        return None
    length, height, width = (np.array([one[i] for one in each if one]) for i in range(3))
    if np.ptp(height) > _NEAR or np.ptp(width) > _RISE:
        return None
    return int(length.min()), float(height.mean()), float(width.mean())


def _rectangle(lead: np.ndarray, rate: float) -> tuple[int, float, float] | None:
    """As `_at_end`, for one lead that is flat, steps to a usual height, is flat, and steps back or ends."""
    lag, shortest = max(round(_RISE * rate), 1), round(_SHORTEST_ALONE * rate)
    longest = round(_WIDTH[1] * rate)

    def level_before(end: int) -> tuple[int, float] | None:
        """Where a level that lasts until `end` begins, and its voltage."""
        if end < shortest:
            return None
        middle = float(np.median(lead[end - shortest : end]))
        begin = _after(np.abs(lead[:end] - middle) > _OFF_ALONE)
        return (begin, middle) if end - begin >= shortest else None

    last = level_before(len(lead))
    if last is None:
        return None
    levels, ends = [last], [len(lead)]
    for _ in range(2):
        # The edge between two levels is not part of either
        for edge in range(lag + 1):
            if (one := level_before(levels[-1][0] - edge)) is not None:
                ends.append(levels[-1][0] - edge)
                levels.append(one)
                break
        else:
            break
    if len(levels) < 2:
        return None

    def is_usual(height: float) -> bool:
        return any(abs(abs(height) - usual) <= _NEAR * usual for usual in _USUAL)

    if len(levels) == 3:
        (low, base), top, tail = levels[2], levels[1], levels[0]
        height, width = top[1] - (base + tail[1]) / 2, ends[1] - top[0]
        if abs(base - tail[1]) <= _OFF_ALONE and is_usual(height) and width <= longest:
            return len(lead) - low, height, width / rate
    (low, base), top = levels[1], levels[0]
    height, width = top[1] - base, ends[0] - top[0]
    if is_usual(height) and height >= _LEAST_TOP[0] and _LEAST_TOP[1] * rate <= width <= longest:
        return len(lead) - low, height, width / rate
    return None


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
    tops = _runs(np.abs(before - height) <= _OFF * height)
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
