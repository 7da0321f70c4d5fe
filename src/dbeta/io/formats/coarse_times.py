"""Times that are coarser than a sample, such as whole seconds: they tell gaps, but no sampling rate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dbeta.errors import DBetaError

#: Units of time as parts of a second.
_UNITS = (1.0, 1e3, 1e6, 1e9)


def coarse_step(times: np.ndarray, tick: float, rate: float, per_second: float | None, hint: str) -> float:
    """The time from one sample to the next at a stated sampling rate, in the unit of the times.

    Args:
        times: (rows,) from 0, of which several in a row are equal.
        tick: the usual step from one time to the next that differs.
        rate: Hz, stated by the caller.
        per_second: units of the times in a second; None if unknown.
        hint: what to do, for messages.

    Raises:
        DBetaError: the times contradict the sampling rate.
    """
    rows = np.diff(np.flatnonzero(np.diff(times) > 0))
    found = tick / float(np.median(rows)) if rows.size else 0.0
    units = (per_second,) if per_second else _UNITS
    step = min((unit / rate for unit in units), key=lambda one: abs(np.log(one / found)) if found else one)
    # So few rows have the same time that their number is known to one
    allowed = 0.02 + 1 / float(np.median(rows)) if rows.size else 0.0
    if found and abs(found / step - 1) > allowed:
        about = found and (per_second or min(_UNITS, key=lambda unit: abs(np.log(unit / rate / found)))) / found
        raise DBetaError(f"is sampled at about {about:.3g} Hz by its times, not at {rate:g}; correct --fs, or {hint}")
    return step


def coarse_begins(times: np.ndarray, starts: np.ndarray, step: float, tick: float, hint: str) -> list[int]:
    """The sample with which each stretch begins, (stretches,), by the rows at which the time changes.

    Args:
        times: (rows,) from 0.
        starts: index of the first row of each stretch, and the number of rows.
        step: from one sample to the next.
        tick: as in `coarse_step`.
        hint: what to do, for messages.

    Raises:
        DBetaError: rows are missing, and the times are too coarse to tell where.
    """
    anchors: list[float] = []
    for start, stop in pairwise(starts.tolist()):
        stretch = times[start:stop]
        ahead = stretch - np.arange(stop - start) * step
        even = np.ptp(ahead) <= tick + 2 * step + 0.001 * (stretch[-1] - stretch[0])
        if not even or (len(starts) > 2 and stretch[-1] == stretch[0]):
            raise DBetaError(
                f"has rows missing about row {start + 1}, and its times are too coarse to tell where; {hint}"
            )
        # Rounding moves all times by less than a tick, and least where the time has just changed
        anchors.append(float(ahead.max()))
    return [round((anchor - anchors[0]) / step) for anchor in anchors]
