"""The size of QRS complexes, and which units of voltage it leaves possible.

The measure is the upper quartile over the leads of each lead's QRS complex from peak to trough, which one bad lead or a
wandering baseline does not change. Limits are about those of 99.9 % of 4,000 recordings whose voltages are known; with
few leads, which may all lie across the heart's axis, they are wider. `benchmarks/units.py` prints how often a correct
unit is rejected and a wrong one accepted:

| twelve leads, unit not stated | share |
|---|---|
| in mV, refused | 0.20 % |
| in 1e-4 V, taken for mV | 0.07 % |
| in 1e-5 V or µV, taken for mV | 0 % |
| in 10 mV, taken for mV | 0.05 % |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Seconds in which a QRS complex lies, and in which there is at least one.
_QRS, _BEAT = 0.1, 1.5
#: Beats that are measured of a long recording, spread over it.
_MOST = 200
#: Part of 1.5 s that must not be flat for its QRS complex to count.
_FILLED = 0.25
#: mV: the least and the largest size by the number of leads that hold a signal, from the most leads down.
_RANGES = ((8, (0.5, 6.0)), (2, (0.3, 6.0)), (1, (0.15, 6.0)))
#: Units by their size in mV, for hints.
_NAMES = {0.1: "1e-4 V", 0.01: "1e-5 V", 0.001: "uV", 1e-4: "1e-7 V", 1e-5: "1e-8 V", 1e-6: "nV", 1e3: "V", 1.0: "mV"}


@dataclass(frozen=True)
class Sizes:
    """How large the QRS complexes of a recording are.

    Attributes:
        size: upper quartile over the leads, in the recording's unit; 0 without any signal.
        leads: number of leads that hold a signal.
    """

    size: float
    leads: int

    @property
    def limits(self) -> tuple[float, float]:
        """The sizes that 99.9 % of recordings with as many leads have, mV."""
        return next((limits for leads, limits in _RANGES if self.leads >= leads), _RANGES[-1][1])

    def believable(self, unit: float = 1.0) -> bool:
        """Whether a heart produces this in a unit of so many mV; True if there is no signal."""
        low, high = self.limits
        return self.size == 0 or low <= self.size * unit <= high

    def possible_units(self) -> list[float]:
        """The powers of ten, in mV, in which a heart could produce this; usually one."""
        return [unit for unit in (10.0**power for power in range(-9, 7)) if self.size and self.believable(unit)]

    def in_each_unit(self) -> str:
        """What the size would be in each of the possible units, as a hint for `--units`."""
        units = self.possible_units()
        return " or ".join(f'{self.size * unit:.2g} mV with --units "{unit_name(unit)}"' for unit in units)


def unit_name(unit: float) -> str:
    """A unit of so many mV as `--units` takes it."""
    return next((name for size, name in _NAMES.items() if abs(size / unit - 1) < 1e-6), f"{unit:g} mV")


def measure(signal: np.ndarray | Sequence[np.ndarray], sampling_rate: float) -> Sizes:
    """The size of the QRS complexes.

    Args:
        signal: (leads, samples) in any unit; NaN where samples are missing. Of a long one only some parts are touched.
        sampling_rate: Hz.
    """
    sizes = qrs_sizes(signal, sampling_rate)
    sizes = sizes[sizes > 0]
    return Sizes(float(np.quantile(sizes, 0.75)) if sizes.size else 0.0, sizes.size)


def qrs_sizes(signal: np.ndarray | Sequence[np.ndarray], sampling_rate: float) -> np.ndarray:
    """Each lead's median QRS complex from peak to trough, (leads,), in the unit of the signal; 0 without a signal.

    It is the largest range within 0.1 s, in each 1.5 s that holds a signal.

    Args:
        signal: (leads, samples); NaN where samples are missing. Of a long one only some parts are touched.
        sampling_rate: Hz.
    """
    hop = max(1, round(_QRS / 4 * sampling_rate))
    length = hop * max(2, round(_BEAT / _QRS * 4))
    total = len(signal[0])
    count = max(total // length, 1)
    starts = np.unique(np.linspace(0, count - 1, _MOST).astype(int)) * length
    found, shares = (np.stack(part) for part in zip(*(_beat(signal, at, length, hop) for at in starts), strict=True))
    partly = found.copy()
    found[shares < _FILLED] = np.nan
    # A signal that only begins near the end, or one of few levels
    last = _beat(signal, max(total - length, 0), length, hop)[0]
    sizes = _medians(found)
    for other in (last[None], partly):
        sizes = np.where(sizes > 0, sizes, _medians(other))
    return sizes


def _beat(signal: np.ndarray | Sequence[np.ndarray], at: int, length: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest range of each lead within 0.1 s, NaN if it is flat, and the share of the stretch that is not flat."""
    part = np.stack([np.asarray(lead[at : at + length], np.float64) for lead in signal])
    part = part[:, : max(part.shape[1] // hop, 1) * hop]
    steps = part.reshape(len(part), -1, min(hop, part.shape[1]))  # (leads, hops, samples)
    high, low = np.fmax.reduce(steps, axis=2), np.fmin.reduce(steps, axis=2)
    shares = (high > low).mean(axis=1)
    width = min(4, high.shape[1])
    high, low = (np.lib.stride_tricks.sliding_window_view(one, width, axis=1) for one in (high, low))
    found = np.fmax.reduce(np.fmax.reduce(high, axis=2) - np.fmin.reduce(low, axis=2), axis=1)
    found[~(found > 0)] = np.nan
    return found, shares


def _medians(found: np.ndarray) -> np.ndarray:
    """Medians of (beats, leads) over the beats; 0 where all are NaN."""
    valid = np.isfinite(found).any(axis=0)
    medians = np.zeros(found.shape[1])
    medians[valid] = np.nanmedian(found[:, valid], axis=0)
    return medians
