"""NumPy arrays and Parquet tables."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.amplitude import Sizes, measure
from dbeta.io.formats.base import OPENING, Options, Recording, known_lead, parsing
from dbeta.io.formats.columns import from_array, from_columns, split_unit
from dbeta.io.formats.times import Grid, choose_time, find_grid, time_columns
from dbeta.io.safety.limits import check_values


def read_npy(file: Path, options: Options) -> Recording:
    """Read an array of (leads, samples) or (samples, leads), or one recording of an array of several.

    The first axis of three is that of the recordings. Their unit is judged by up to 16 of them, spread over the array.
    """
    array = _load(file)
    if array.ndim != 3:
        if options.record is not None:
            raise DBetaError("holds a single recording; leave out --record")
        return from_array(array, options)
    row = _choose_row(len(array), options.record)
    recording = from_array(array[row], options)
    recording.meta["record"] = row
    if recording.unit_assumed and options.sampling_rate:
        transposed = np.shape(recording.signal) != array[row].shape
        recording.sizes = _sizes(file, file.stat().st_mtime_ns, transposed, options.sampling_rate)
    return recording


def npy_records(file: Path) -> list[str]:
    """The recordings of an array with three axes, by number; none of another."""
    array = _load(file)
    return [str(row) for row in range(len(array))] if array.ndim == 3 else []


def _load(file: Path) -> np.ndarray:
    with parsing("a NumPy array"):
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise DBetaError("is not an array of numbers; save the samples in mV with numpy.save")
    return array


def _choose_row(count: int, record: str | int | None) -> int:
    if record is None and count != 1:
        raise DBetaError(f"holds {count} recordings; choose one by its number from 0 with --record")
    if record is not None and not (str(record).isdecimal() and int(record) < count):
        raise DBetaError(f"has no recording {record}; give --record a number from 0 to {count - 1}")
    return int(record or 0)


@functools.lru_cache(maxsize=64)
def _sizes(file: Path, changed: int, transposed: bool, rate: float) -> Sizes:
    """The size of the QRS complexes in an array of several recordings; `changed` invalidates the cache."""
    array = _load(file)
    count = round(OPENING * rate)
    found = []
    for row in np.unique(np.linspace(0, len(array) - 1, 16).astype(int)):
        signal = array[row].T if transposed else array[row]
        found.append(measure(np.asarray(signal[:, :count], np.float64), rate))
    found = [one for one in found if one.size > 0]
    leads = round(float(np.median([one.leads for one in found]))) if found else 0
    return Sizes(float(np.median([one.size for one in found])) if found else 0.0, leads)


def read_parquet(file: Path, options: Options) -> Recording:
    """Read a table with a column for each lead, only the requested stretch of it."""
    from pyarrow import parquet, types

    with parsing("a Parquet table"), parquet.ParquetFile(file) as content:
        fields = [field for field in content.schema_arrow if _is_number(types, field.type)]
        names = [field.name for field in fields]
        total = content.metadata.num_rows
        split = [split_unit(name) for name in names]
        timed = time_columns([name for name, _ in split])
        time = choose_time(timed, [unit for _, unit in split], [True] * len(names))
        if not names:
            raise DBetaError("has no columns of numbers; give a table with a column for each lead")
        grid = Grid()
        if time is not None:
            check_values(total)
            grid = find_grid(*split[time], _read_batches(content, [names[time]], 0, total, np.float64)[0])
        rate = grid.rate or options.sampling_rate
        in_part = rate and grid.places is None and grid.rows is None
        begin, end = options.stretch(rate, total) if in_part and rate else (0, total)
        kept = [column for column in range(len(names)) if column not in timed]
        wanted = [names[column] for column in kept]
        check_values((end - begin) * len(kept))
        signal = _read_batches(content, wanted, begin, end, np.float32)
        first = min(total, round(OPENING * rate)) if rate and begin else 0
        opening = _read_batches(content, wanted, 0, first, np.float32) if first else None
    leads = [fields[column] for column in kept if known_lead(split[column][0])]
    counts = bool(leads) and all(types.is_integer(one.type) for one in leads)
    header, units = [split[column][0] for column in kept], [split[column][1] for column in kept]
    recording = from_columns(header, units, signal, grid, counts, options)
    recording.total, recording.opening = (total if in_part else None), opening
    return recording


def _read_batches(content: Any, names: Sequence[str], begin: int, end: int, dtype: type) -> np.ndarray:
    """Rows of a Parquet file as (columns, rows), a batch at a time, because equal values take no space in the file."""
    starts = np.cumsum([0] + [content.metadata.row_group(i).num_rows for i in range(content.num_row_groups)])
    groups = [i for i in range(content.num_row_groups) if starts[i + 1] > begin and starts[i] < end]
    signal: np.ndarray = np.empty((len(names), end - begin), dtype)
    at = int(starts[groups[0]]) if groups else 0
    for batch in content.iter_batches(65_536, row_groups=groups, columns=names) if groups else ():
        first, last = max(begin - at, 0), min(end - at, batch.num_rows)
        for row, name in enumerate(names) if last > first else ():
            values = batch.column(name)[first:last].to_numpy(zero_copy_only=False)
            signal[row, at + first - begin : at + last - begin] = values
        at += batch.num_rows
        if at >= end:
            break
    return signal


def _is_number(types: object, kind: object) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind))  # type: ignore[attr-defined]


def parquet_columns(file: Path) -> list[str]:
    """Names of a Parquet table's columns, without their units."""
    from pyarrow import parquet

    with parsing("a Parquet table"):
        return [split_unit(name)[0] for name in parquet.read_schema(file).names]
