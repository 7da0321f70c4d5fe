"""Tables and arrays that know little of themselves: NumPy, CSV and Parquet.

Their unit is said by the column's name ("V1 (uV)") or by the caller; where neither does, floating-point numbers of a
believable size are taken to be mV, and nothing else is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dbeta.errors import DBetaError
from dbeta.formats.base import Options, Recording, known_lead, parsing
from dbeta.formats.units import millivolts
from dbeta.safety.limits import TABLE_ROW

# "I (mV)", "V1 [uV]", "aVR/mV"
_NAMED_UNIT = re.compile(r"(.*?)\s*(?:\(([^()]+)\)|\[([^\[\]]+)\]|/\s*([a-zµμ]+))", re.IGNORECASE)
_LONGEST_NAME = 200
_TIME = {"time": "s", "t": "s", "seconds": "s", "sec": "s", "s": "s", "time_s": "s", "ms": "ms", "time_ms": "ms"}


def read_npy(file: Path, options: Options) -> Recording:
    """An array of (leads, samples) or (samples, leads)."""
    with parsing("a NumPy array"):
        signal = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(signal, np.ndarray) or signal.dtype.kind not in "fiu":
        raise DBetaError("is not an array of numbers; save the samples in mV with numpy.save")
    return _from_array(signal, options)


def read_csv(file: Path, options: Options) -> Recording:
    """A table with a column for each lead, or without a header row either way round."""
    import pandas as pd

    header = csv_header(file)
    with parsing("a table of numbers"):
        table = pd.read_csv(
            file,
            sep=_csv_separator(file),
            header=None,
            skiprows=1 if header else 0,
            encoding="utf-8-sig",
            compression=None,  # which pandas would guess from the name
        )
        signal = table.to_numpy(dtype=np.float64).T  # (columns, rows)
        counts = all(dtype.kind in "iu" for dtype in table.dtypes)
    if header is None:
        return _from_array(signal.T.astype(np.int64) if counts else signal.T, options)
    if len(header) != len(signal):
        raise DBetaError(f"has {len(header)} names but {len(signal)} columns; correct its header row")
    return _from_columns(header, signal, counts, options)


def read_parquet(file: Path, options: Options) -> Recording:
    """A table with a column for each lead."""
    from pyarrow import parquet, types

    with parsing("a Parquet table"):
        with parquet.ParquetFile(file) as content:
            fields = [field for field in content.schema_arrow if _is_number(types, field.type)]
            names = [field.name for field in fields]
            table = content.read(columns=names)
        signal = np.array([column.to_numpy() for column in table.columns], dtype=np.float64)  # (columns, rows)
    if not names:
        raise DBetaError("has no columns of numbers; give a table with a column for each lead")
    leads = [field for field in fields if known_lead(_split_unit(field.name)[0])]
    return _from_columns(names, signal, bool(leads) and all(types.is_integer(one.type) for one in leads), options)


def _is_number(types: object, kind: object) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind))  # type: ignore[attr-defined]


def parquet_columns(file: Path) -> list[str]:
    """The names of a Parquet table's columns, without their units."""
    from pyarrow import parquet

    with parsing("a Parquet table"):
        return [_split_unit(name)[0] for name in parquet.read_schema(file).names]


def _csv_separator(file: Path) -> str:
    with parsing("text"), file.open(encoding="utf-8-sig") as stream:
        first = stream.readline(1_000_000)
    return max(",;\t", key=first.count)


def csv_header(file: Path) -> list[str] | None:
    """The cells of the first row, or None where they are numbers."""
    separator = _csv_separator(file)
    with parsing("text"), file.open(encoding="utf-8-sig", newline="") as stream:
        cells = [cell.strip() for cell in next(csv.reader([stream.readline(TABLE_ROW)], delimiter=separator))]
    try:
        [float(cell or "nan") for cell in cells]
    except ValueError:
        return cells
    return None


def csv_columns(file: Path) -> list[str] | None:
    """The names in the first row without their units, or None where it holds numbers."""
    header = csv_header(file)
    return None if header is None else [_split_unit(name)[0] for name in header]


def _split_unit(name: str) -> tuple[str, str]:
    match = _NAMED_UNIT.fullmatch(name.strip()) if len(name) < _LONGEST_NAME else None
    unit = next((part.strip() for part in match.groups()[1:] if part), "") if match else ""
    is_unit = (millivolts(unit) is not None and not unit[:1].isdecimal()) or unit.casefold() in ("s", "ms", "sec")
    return (match[1], unit) if match and is_unit else (name.strip(), "")


def _from_columns(header: Sequence[str], signal: np.ndarray, counts: bool, options: Options) -> Recording:
    split = [_split_unit(name) for name in header]
    names, units = [name for name, _ in split], [unit for _, unit in split]
    time = next((row for row, name in enumerate(names) if name.casefold() in _TIME), None)
    rate = None
    if time is not None:
        unit = units[time].casefold() or _TIME[names[time].casefold()]
        rate = _rate(signal[time], 1000.0 if unit == "ms" else 1.0)
    rows = [row for row in range(len(names)) if row != time]
    names, units = [names[row] for row in rows], [units[row] for row in rows]
    if not any(units):
        units = _told_units(len(rows), counts, options)
    assumed = not any(units)
    return Recording(signal[rows], names, rate, ["mV"] * len(rows) if assumed else units, unit_assumed=assumed)


def _rate(time: np.ndarray, per_second: float) -> float | None:
    """Hz, from a column of times; None where its steps differ, as in a table of something else."""
    if len(time) < 2 or not np.isfinite(time).all():
        return None
    steps = np.diff(time)
    step = float(np.median(steps))
    # Rounded times, as of 0.002, 0.003, 0.005, differ by half a step
    if not step > 0 or np.abs(time - time[0] - np.arange(len(time)) * (time[-1] - time[0]) / len(steps)).max() > step:
        return None
    return float(f"{per_second * len(steps) / (time[-1] - time[0]):.6g}")


def _told_units(count: int, counts: bool, options: Options) -> list[str]:
    if options.units:
        return [options.units] * count
    if counts:
        raise DBetaError(
            "has whole numbers, which are counts of a converter and not mV; say what one is worth with --units, "
            "as uV or as mV per count"
        )
    return [""] * count


def _from_array(array: np.ndarray, options: Options) -> Recording:
    """Samples without names: the axis as long as `leads` is that of the leads, the first one if both are."""
    leads = options.leads
    if leads is None or not options.sampling_rate:
        raise DBetaError("does not say its leads and sampling rate; give them with --leads and --fs")
    if array.ndim != 2 or len(leads) not in array.shape:
        raise DBetaError(f"has shape {array.shape}, but --leads names {len(leads)} leads; one axis must be the leads")
    signal = array if array.shape[0] == len(leads) else array.T  # (leads, samples)
    units = _told_units(len(leads), array.dtype.kind in "iu", options)
    assumed = not any(units)
    return Recording(signal, leads, None, ["mV"] * len(leads) if assumed else units, unit_assumed=assumed)
