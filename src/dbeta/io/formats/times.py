"""Columns of times: which one a table has, the sampling rate that it gives, and where samples are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import SLOWEST
from dbeta.io.formats.coarse_times import coarse_begins, coarse_step

#: Units of time and how many make a second.
TIME_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e3, "msec": 1e3, "milliseconds": 1e3}
TIME_UNITS |= {"us": 1e6, "µs": 1e6, "μs": 1e6, "microseconds": 1e6, "ns": 1e9, "nanoseconds": 1e9}

_NAME = re.compile(
    r"(?:(?:elapsed|relative|sample|sensor|phone|recording|ecg|unix|date)[ _]?)?"
    r"(?:time|timestamp|times|zeit|temps|tiempo|tempo|tijd|tid|czas|t(?=[ _]))"
    r"(?:[ _](?P<unit>s|sec|seconds|ms|us|ns))?|t|epoch|(?P<alone>s|sec|seconds|ms|us|ns)"
)
# "0:00.002", "10:15:00.002", and the same with a decimal comma
_CLOCK = r"^\W*(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)\W*$"
_DAY = 86_400.0
#: Seconds of a gap from which on the recording ends there, and listed gaps.
_LONGEST_GAP, _LISTED = 600.0, 100
#: Part of a recording's length to which times that repeat must be known to state its sampling rate.
_RATE_ERROR = 5e-4
#: Ways to write a date that are not ISO 8601.
_DATES = ("%d.%m.%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S.%f", "%d/%m/%Y %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S.%f")


def time_columns(names: Sequence[str]) -> list[int]:
    """Indices of the columns of times, by their names without unit."""
    return [row for row, name in enumerate(names) if _NAME.fullmatch(name.strip("'\" ").casefold())]


def choose_time(columns: Sequence[int], units: Sequence[str], numeric: Sequence[bool]) -> int | None:
    """Which of several columns of times to use: one of numbers in a stated unit, the coarsest, else the first.

    Args:
        columns: their indices.
        units: of all columns.
        numeric: whether each of all columns holds numbers rather than clock times.
    """

    def order(column: int) -> tuple[bool, bool, float]:
        unit = units[column].casefold()
        return not numeric[column], unit not in TIME_UNITS, TIME_UNITS.get(unit, 0.0)

    return min(columns, key=order, default=None)


def clock_seconds(column: Any) -> np.ndarray:
    """Seconds of a pandas column of clock times or dates; NaN where it is neither."""
    import pandas as pd

    text = column.astype(str)
    parts = text.str.extract(_CLOCK)
    if parts[1].notna().all():
        hours, minutes, seconds = (
            pd.to_numeric(parts[part].fillna("0").str.replace(",", ".", regex=False), errors="coerce")
            for part in range(3)
        )
        return (3600 * hours + 60 * minutes + seconds).to_numpy(np.float64)
    text = text.str.strip("'\"[] ").str.replace(r",(\d+)$", r".\1", regex=True)
    found = []
    for form in ("ISO8601", *_DATES):
        whole = text if form == "ISO8601" else text.where(text.str.contains(r"\.\d+$"), text + ".0")
        dates = pd.to_datetime(whole, errors="coerce", utc=True, format=form)
        seconds = np.asarray((dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1), np.float64)
        found.append(seconds)
        if np.isfinite(seconds).all():
            break
    return max(found, key=lambda seconds: int(np.isfinite(seconds).sum()))


@dataclass
class Grid:
    """Where the rows of a table lie in time.

    Attributes:
        rate: Hz; None if the times count something else.
        places: (rows,) the sample that each row is; None if none is missing.
        gaps: begin and length of each gap, in samples.
        rows: how many rows belong to the recording; it ends at a gap of over ten minutes.
        name: of the column.
    """

    rate: float | None = None
    places: np.ndarray | None = None
    gaps: list[tuple[int, int]] = field(default_factory=list)
    rows: int | None = None
    name: str = ""

    def spread(self, signal: np.ndarray) -> np.ndarray:
        """Samples at their places, (samples,) from (rows,), NaN in the gaps."""
        if self.places is None:
            return signal[: self.rows]
        placed = np.full(int(self.places[-1]) + 1, np.nan, np.float32)
        placed[self.places] = signal[: len(self.places)]
        return placed

    def describe(self, rate: float | None) -> tuple[list[str], dict[str, Any]]:
        """A note and an entry for `meta` about the gaps, in seconds at this rate."""
        notes: list[str] = []
        column = f"its column {self.name!r}" if self.name else "its first column"
        if self.places is not None and rate:
            lost = sum(length for _, length in self.gaps) / rate
            start, length = self.gaps[0]
            first = f"of {length / rate:.4g} s at {start / rate:.4g} s"
            several = f"{len(self.gaps)} gaps, together {lost:.4g} s, the first {first}"
            found = several if len(self.gaps) > 1 else f"a gap {first}"
            notes.append(f"has {found}, by {column}; samples are missing (NaN) there")
        if self.rows is not None:
            notes.append(f"has a gap of more than {_LONGEST_GAP / 60:g} min, by {column}, where the recording ends")
        gaps = [[round(begin / rate, 6), round(size / rate, 6)] for begin, size in self.gaps[:_LISTED]] if rate else []
        return notes, {"gaps": gaps} if gaps else {}


def find_grid(name: str, unit: str, times: np.ndarray, sampling_rate: float | None = None) -> Grid:
    """The sampling rate and the gaps by a column of times.

    Args:
        name: of the column, for messages.
        unit: of time as the column states it, "" if it does not.
        times: (rows,) float64.
        sampling_rate: Hz, as the caller stated it; needed for times that are coarser than a sample.

    Raises:
        DBetaError: the times go backwards, repeat, are missing, have steps that differ by more than rounding, or are
            too coarse for a sampling rate.
    """
    if len(times) < 2:
        return Grid()
    column = f"the column {name!r}" if name else "the first column"
    hint = f"correct {column} or, if no row is missing, remove it and give the sampling rate with --fs"
    if not np.isfinite(times).all():
        raise DBetaError(f"has no time in row {int(np.argmin(np.isfinite(times))) + 1}; {hint}")
    stated = _stated_unit(name, unit)
    times = times - times[0] if stated else from_zero(times)
    steps = np.diff(times)
    if (steps < 0).any():
        raise DBetaError(f"has times that go backwards after row {int(np.argmax(steps < 0)) + 1}; {hint}")
    if not (steps > 0).any():
        raise DBetaError(f"has the same time in all rows; {hint}")
    if _repeat(np.flatnonzero(steps == 0), len(steps)):
        raise DBetaError(f"has times that repeat after row {int(np.argmax(steps == 0)) + 1}; {hint}")
    usual = float(np.median(steps[steps > 0]))
    is_coarse = bool((steps == 0).mean() > 0.05)
    if is_coarse and sampling_rate:
        return _coarse_grid(name, TIME_UNITS.get(stated), times, usual, sampling_rate, hint)
    if is_coarse and _RATE_ERROR * (steps > 0).sum() < 1:
        raise DBetaError(f"has times, in {column}, too coarse to tell its sampling rate; give it in Hz with --fs")
    step = float(steps[steps <= 1.75 * usual].mean())
    # Times rounded to more than a step repeat; then the usual step is their resolution
    tick = usual if (steps == 0).any() else 0.0
    starts = np.concatenate([[0], np.flatnonzero(steps > max(1.5 * step, 1.75 * tick)) + 1, [len(times)]])
    if len(starts) - 2 > 0.1 * len(times) and not _are_multiples(steps, step):
        raise DBetaError(f"has times whose steps differ; {hint}")
    step = _even_step(times, starts, max(step, tick), hint)
    per_second = TIME_UNITS.get(stated, 1.0)
    rate = float(f"{per_second / step:.6g}")
    begins = [round(times[start] / step) for start in starts[:-1]]
    places, gaps, rows = _places(starts, begins, _LONGEST_GAP * (rate if rate >= SLOWEST else sampling_rate or 500))
    # A slow rate without a unit means that the column counts samples or milliseconds
    known = None if rate < SLOWEST and not stated else rate
    return Grid(known, places if gaps else None, gaps, rows, name)


def _stated_unit(name: str, unit: str) -> str:
    """The unit of a column of times by its header, "" if it states none."""
    match = _NAME.fullmatch(name.strip("'\" ").casefold())
    return unit.casefold() or (match and (match["unit"] or match["alone"])) or ""


def from_zero(times: np.ndarray) -> np.ndarray:
    """Seconds from the first time on; those of a clock go on over midnight."""
    times = times - times[0]
    steps = np.diff(times)
    if (steps < -_DAY / 2).any():
        times[1:] += _DAY * np.cumsum(steps < -_DAY / 2)
    return times


def _coarse_grid(
    name: str, per_second: float | None, times: np.ndarray, tick: float, sampling_rate: float, hint: str
) -> Grid:
    """The gaps by times that are coarser than a sample, at the sampling rate that the caller stated."""
    step = coarse_step(times, tick, sampling_rate, per_second, hint)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(times) > 1.75 * tick) + 1, [len(times)]])
    begins = coarse_begins(times, starts, step, tick, hint)
    places, gaps, rows = _places(starts, begins, _LONGEST_GAP * sampling_rate)
    return Grid(sampling_rate, places if gaps else None, gaps, rows, name)


def _are_multiples(steps: np.ndarray, step: float) -> bool:
    """Whether steps are whole multiples of the usual one, as if single rows were left out."""
    return bool((np.abs(steps / step - np.round(steps / step)) < 0.2).mean() > 0.95)


def _repeat(repeated: np.ndarray, steps: int) -> bool:
    """Whether times repeat otherwise than by rounding, which repeats them often or at even distances."""
    if not repeated.size or repeated.size > 0.05 * steps:
        return False
    return repeated.size < 3 or bool(np.ptp(np.diff(repeated)) > 2)


def _even_step(times: np.ndarray, starts: np.ndarray, allowed: float, hint: str) -> float:
    """The step within stretches without a gap, which may only differ by rounding."""
    spans = [(times[stop - 1] - times[start], stop - start - 1) for start, stop in pairwise(starts)]
    step = sum(span for span, _ in spans) / max(sum(count for _, count in spans), 1)
    for (start, stop), (span, count) in zip(pairwise(starts), spans, strict=True):
        own = span / count if count else step
        off = np.abs(times[start:stop] - times[start] - np.arange(stop - start) * own).max()
        if off > allowed or abs(own - step) * count > 2 * allowed + 0.01 * span:
            repeated = (np.diff(times[start:stop]) == 0).any()
            raise DBetaError(f"has times {'that repeat' if repeated else 'whose steps differ'}; {hint}")
    return float(step)


def _places(
    starts: np.ndarray, begins: Sequence[int], longest: float
) -> tuple[np.ndarray, list[tuple[int, int]], int | None]:
    """The sample that each row is, the gaps, and the number of rows before a gap of more than `longest` samples.

    Args:
        starts: index of the first row of each stretch without a gap, and the number of rows.
        begins: the sample with which each stretch begins.
        longest: gap at which the recording ends.
    """
    places = np.empty(int(starts[-1]), np.int64)
    gaps: list[tuple[int, int]] = []
    free = 0
    for (start, stop), begin in zip(pairwise(starts.tolist()), begins, strict=True):
        place = max(begin, free)
        if place - free > longest:
            return places[:start], gaps, start
        if place > free:
            gaps.append((free, place - free))
        places[start:stop] = np.arange(place, place + stop - start)
        free = place + stop - start
    return places, gaps, None
