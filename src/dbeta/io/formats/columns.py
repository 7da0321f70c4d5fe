"""Names, units and sampling rate of columns and arrays without metadata.

The unit comes from the column's name ("V1 (uV)") or from the caller. If neither states it, floating-point numbers of a
plausible size are taken to be mV; whole numbers are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import SLOWEST, Options, Recording
from dbeta.io.units import millivolts

# "I (mV)", "V1 [uV]", "aVR/mV"
_NAMED_UNIT = re.compile(r"(.*?)\s*(?:\(([^()]+)\)|\[([^\[\]]+)\]|/\s*([a-zµμ]+))", re.IGNORECASE)
_LONGEST_NAME = 200
_TIME = {"time": "s", "t": "s", "seconds": "s", "sec": "s", "s": "s", "time_s": "s", "ms": "ms", "time_ms": "ms"}


def split_unit(name: str) -> tuple[str, str]:
    """Name and unit of a column; the unit is "" if the name has none."""
    match = _NAMED_UNIT.fullmatch(name.strip()) if len(name) < _LONGEST_NAME else None
    unit = next((part.strip() for part in match.groups()[1:] if part), "") if match else ""
    is_unit = (millivolts(unit) is not None and not unit[:1].isdecimal()) or unit.casefold() in ("s", "ms", "sec")
    return (match[1], unit) if match and is_unit else (name.strip(), "")


def time_column(names: Sequence[str]) -> int | None:
    """Index of the column of times; None if there is none."""
    return next((row for row, name in enumerate(names) if name.casefold() in _TIME), None)


def from_columns(
    header: Sequence[str], signal: np.ndarray, time: int | None, times: np.ndarray, counts: bool, options: Options
) -> Recording:
    """Recording from named columns.

    Args:
        header: names of the columns, with their units.
        signal: (columns, rows).
        time: index of the column of times, if there is one.
        times: its values.
        counts: whether the leads hold whole numbers.
        options: of the caller.

    Raises:
        DBetaError: the leads hold whole numbers of unknown unit.
    """
    split = [split_unit(name) for name in header]
    rows = [row for row in range(len(header)) if row != time]
    names, units = [split[row][0] for row in rows], [split[row][1] for row in rows]
    rate = None if time is None else time_rate(header[time], times)
    if not any(units):
        units = stated_units(len(rows), counts, options)
    assumed = not any(units)
    leads = [signal[row] for row in rows]
    return Recording(leads, names, rate, ["mV"] * len(rows) if assumed else units, unit_assumed=assumed)


def time_rate(column: str, times: np.ndarray) -> float | None:
    """Sampling rate in Hz from the column of times; None if its steps differ or count samples."""
    name, unit = split_unit(column)
    rate = _rate(times, 1000.0 if (unit.casefold() or _TIME[name.casefold()]) == "ms" else 1.0)
    # A slow rate without a unit means that the column counts samples or milliseconds
    return None if rate and rate < SLOWEST and not unit and name.casefold() in ("t", "time") else rate


def _rate(time: np.ndarray, per_second: float) -> float | None:
    """Hz; None if the steps differ, as in a table of something else."""
    if len(time) < 2 or not np.isfinite(time).all():
        return None
    steps = np.diff(time)
    step = float(np.median(steps))
    # Rounded times, such as 0.002, 0.003, 0.005, differ by half a step
    if not step > 0 or np.abs(time - time[0] - np.arange(len(time)) * (time[-1] - time[0]) / len(steps)).max() > step:
        return None
    return float(f"{per_second * len(steps) / (time[-1] - time[0]):.6g}")


def stated_units(count: int, counts: bool, options: Options) -> list[str]:
    """The unit of each channel as the caller stated it, else "" for floating-point numbers.

    Raises:
        DBetaError: whole numbers without a unit.
    """
    if options.units:
        return [options.units] * count
    if counts:
        raise DBetaError(
            "has whole numbers, which are converter counts and not mV; state what one count is with --units, as uV or "
            "as mV per count"
        )
    return [""] * count


def from_array(array: np.ndarray, options: Options) -> Recording:
    """Recording from an unnamed array: the axis as long as `options.leads` is that of the leads, the first if both are.

    Raises:
        DBetaError: leads or sampling rate are not given, the shape does not match, or whole numbers have no unit.
    """
    leads = options.leads
    if leads is None or not options.sampling_rate:
        raise DBetaError("does not say its leads and sampling rate; give them with --leads and --fs")
    if array.ndim != 2 or len(leads) not in array.shape:
        raise DBetaError(f"has shape {array.shape}, but --leads names {len(leads)} leads; one axis must be the leads")
    signal = array if array.shape[0] == len(leads) else array.T  # (leads, samples)
    units = stated_units(len(leads), array.dtype.kind in "iu", options)
    assumed = not any(units)
    return Recording(signal, leads, None, ["mV"] * len(leads) if assumed else units, unit_assumed=assumed)
