"""Names and units of columns and arrays without metadata.

The unit comes from the column's name ("V1 (uV)") or from the caller. If neither states it, floating-point numbers of a
plausible size are taken to be mV; whole numbers are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording
from dbeta.io.formats.times import TIME_UNITS, Grid
from dbeta.io.safety.limits import check_values
from dbeta.io.units import millivolts

# "I (mV)", "V1 [uV]", "aVR/mV"
_NAMED_UNIT = re.compile(r"(.*?)\s*(?:\(([^()]+)\)|\[([^\[\]]+)\]|/\s*([a-zµμ]+))", re.IGNORECASE)
_LONGEST_NAME = 200


def split_unit(name: str) -> tuple[str, str]:
    """Name and unit of a column; the unit is "" if the name has none."""
    match = _NAMED_UNIT.fullmatch(name.strip()) if len(name) < _LONGEST_NAME else None
    unit = next((part.strip() for part in match.groups()[1:] if part), "") if match else ""
    is_unit = (millivolts(unit) is not None and not unit[:1].isdecimal()) or unit.casefold() in TIME_UNITS
    return (match[1], unit) if match and is_unit else (name.strip(), "")


def from_columns(
    header: Sequence[str], units: Sequence[str], signal: np.ndarray, grid: Grid, counts: bool, options: Options
) -> Recording:
    """Recording from named columns.

    Args:
        header: names of the columns, without those of times.
        units: of each column as stated, "" where not.
        signal: (columns, rows).
        grid: where the rows lie in time.
        counts: whether the leads hold whole numbers.
        options: of the caller.

    Raises:
        DBetaError: the leads hold whole numbers of unknown unit.
    """
    if not any(units):
        units = stated_units(len(header), counts, options)
    assumed = not any(units)
    recording = Recording(signal, header, grid.rate, ["mV"] * len(header) if assumed else units, unit_assumed=assumed)
    place_rows(recording, grid, options)
    return recording


def place_rows(recording: Recording, grid: Grid, options: Options) -> None:
    """Put the rows of a table at their places in time, with missing samples (NaN) in the gaps, which are noted."""
    notes, meta = grid.describe(grid.rate or options.sampling_rate)
    if grid.places is not None:
        check_values((int(grid.places[-1]) + 1) * len(recording.signal))
    recording.signal = [grid.spread(row) for row in recording.signal]
    recording.meta |= meta
    recording.notes += notes


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
