"""Columns that show, by their values, where rows of a table are missing: times of any name, and numbers of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dbeta.io.formats.base import SLOWEST
from dbeta.io.formats.times import TIME_UNITS, Grid, clock_seconds, find_grid, from_zero

#: Words in the name of a column of times, in several languages.
_TIME_WORDS = {"time", "times", "timestamp", "timestamps", "datetime", "date", "epoch", "unixtime", "zeit", "datum"}
_TIME_WORDS |= {"temps", "heure", "tiempo", "fecha", "hora", "tempo", "tijd", "tid", "czas", "t", "clock", "uhrzeit"}
#: What pandas calls an index without a name.
_UNNAMED = re.compile(r"|index|#|unnamed: \d+|__index_level_\d+__")
#: Rows below which a rising column may be chance.
_FEWEST = 10


@dataclass(frozen=True)
class Counter:
    """A column that may tell where rows are missing.

    Attributes:
        name: of the column.
        unit: of time as the column states it, "" if it does not.
        values: (rows,) float64, in seconds if they are clock times or dates.
        is_clock: whether they are clock times or dates.
    """

    name: str
    unit: str
    values: np.ndarray
    is_clock: bool = False

    @property
    def is_time(self) -> bool:
        """Whether its steps are times, and not just numbers of rows."""
        if self.is_clock or self.unit.casefold() in TIME_UNITS or _TIME_WORDS & set(_words(self.name)):
            return True
        fractions = bool((self.values % 1 != 0).any())
        return is_unnamed(self.name) and fractions and float(np.median(np.diff(self.values))) < 1 / SLOWEST


def is_unnamed(name: str) -> bool:
    """Whether a column is an index, for which its program had no name."""
    return _UNNAMED.fullmatch(name.strip("'\" ").casefold()) is not None


def may_count(name: str, cells: Sequence[str]) -> bool:
    """Whether a column may count rows or state times, by its name and its first cells."""
    filled = [cell for cell in cells if cell]
    if len(filled) < len(cells) or len(filled) < 3:
        return False
    try:
        values = np.array([float(cell.replace(",", ".")) for cell in filled])
    except ValueError:
        import pandas as pd

        return bool(np.isfinite(clock_seconds(pd.Series(filled))).all())
    return rises(values) or (bool(_TIME_WORDS & set(_words(name))) and bool((np.diff(values) >= 0).all()))


def rises(values: np.ndarray) -> bool:
    """Whether all values are finite, and each is larger than the one before."""
    return len(values) > 1 and bool(np.isfinite(values).all()) and bool((np.diff(values) > 0).all())


def find_counter(candidates: Sequence[Counter], sampling_rate: float | None) -> Grid:
    """Where the rows lie by the first column that counts them evenly; columns of times come first.

    Args:
        candidates: columns that are no leads.
        sampling_rate: Hz, as the caller stated it.

    Raises:
        DBetaError: the times of the column contradict themselves or the sampling rate.
    """
    clocks = [replace(one, values=from_zero(one.values)) if one.is_clock else one for one in candidates]
    counting = [one for one in clocks if len(one.values) >= _FEWEST and (_is_even(one) or _is_coarse(one))]
    for one in sorted(counting, key=lambda one: not one.is_time):
        grid = find_grid(one.name, one.unit or _unit(one.name), one.values, sampling_rate)
        return grid if one.is_time else replace(grid, rate=None)
    return Grid()


def _words(name: str) -> list[str]:
    """The words of a name such as "ECG time", "unix_time" or "UnixTime", folded."""
    return [word.casefold() for word in re.findall(r"[^\W\d_]?[^\W\d_A-Z]+|[A-Z]+", name)]


def _unit(name: str) -> str:
    """The unit of time that ends a name such as "t_s", "" if there is none."""
    words = _words(name)
    return words[-1] if len(words) > 1 and words[-1] in TIME_UNITS and _TIME_WORDS & set(words[:-1]) else ""


def _is_even(one: Counter) -> bool:
    """Whether the values rise by the same step, but for rounding, or across a gap by several."""
    if not rises(one.values):
        return False
    steps = np.diff(one.values)
    usual = float(np.median(steps))
    near = steps[(steps > 0.5 * usual) & (steps < 1.75 * usual)]
    if len(near) > 0.9 * len(steps):
        return bool(near.std() < 0.35 * usual)
    return bool((np.abs(steps / usual - np.round(steps / usual)) < 0.2).mean() > 0.9)


def _is_coarse(one: Counter) -> bool:
    """Whether these are times that stay the same for several rows."""
    steps = np.diff(one.values)
    return one.is_time and bool(np.isfinite(steps).all() and (steps >= 0).all() and (steps > 0).sum() > 1)
