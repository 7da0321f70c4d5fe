"""NumPy arrays and Parquet tables."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.amplitude import Sizes, measure
from dbeta.io.formats.base import NO_LEAD, Options, Recording, known_lead, parsing
from dbeta.io.formats.columns import from_array, from_columns, split_unit
from dbeta.io.formats.row_counters import Counter, find_counter, may_count, rises
from dbeta.io.formats.times import TIME_UNITS, Grid, choose_time, clock_seconds, find_grid, time_columns
from dbeta.io.safety.limits import check_values

#: Seconds of each stretch of a table by which an unstated unit is judged if only a part is read.
_EXCERPT = 15.0


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
    found = []
    for row in np.unique(np.linspace(0, len(array) - 1, 16).astype(int)):
        signal = array[row].T if transposed else array[row]
        found.append(measure(signal, rate))
    found = [one for one in found if one.size > 0]
    leads = round(float(np.median([one.leads for one in found]))) if found else 0
    return Sizes(float(np.median([one.size for one in found])) if found else 0.0, leads)


def read_parquet(file: Path, options: Options) -> Recording:
    """Read a table with a column for each lead, only the requested stretch of it."""
    from pyarrow import parquet, types

    with parsing("a Parquet table"), parquet.ParquetFile(file) as content:
        fields = [field for field in content.schema_arrow if _is_number(types, field.type)]
        total = content.metadata.num_rows
        if not fields:
            raise DBetaError("has no columns of numbers; give a table with a column for each lead")
        grid, timed = _find_grid(content, total, options)
        kept = [field for field in fields if field.name not in timed]
        wanted = [field.name for field in kept]
        split = [split_unit(name) for name in wanted]
        rate = grid.rate or options.sampling_rate
        in_part = rate and grid.places is None and grid.rows is None
        begin, end = options.stretch(rate, total) if in_part and rate else (0, total)
        check_values((end - begin) * len(kept))
        signal = _read_batches(content, wanted, begin, end, np.float32)
        excerpt = _excerpt(content, wanted, total, round(_EXCERPT * rate)) if rate and end - begin < total else None
    leads = [field for field, (name, _) in zip(kept, split, strict=True) if known_lead(name)]
    counts = bool(leads) and all(types.is_integer(one.type) for one in leads)
    header, units = [name for name, _ in split], [unit for _, unit in split]
    recording = from_columns(header, units, signal, grid, counts, options)
    recording.total, recording.excerpt = (total if in_part else None), excerpt
    return recording


def _excerpt(content: Any, names: Sequence[str], total: int, length: int) -> np.ndarray:
    """Up to 16 stretches of `length` rows, spread over the table, (columns, samples)."""
    starts = np.unique(
        np.linspace(0, max(total - length, 0), min(16, -(-total // max(length, 1)))).astype(int)
    ).tolist()
    stretches = [_read_batches(content, names, at, min(at + length, total), np.float32) for at in starts]
    return np.concatenate(stretches, axis=1)


def _find_grid(content: Any, total: int, options: Options) -> tuple[Grid, set[str]]:
    """Where the rows lie in time, and the names of the columns of times and of the index, which are no channels."""
    from pyarrow import types

    clocks = [one.name for one in content.schema_arrow if _is_clock(types, one.type) or _is_written(content, one)]
    names = [one.name for one in content.schema_arrow if one.name in clocks or _is_number(types, one.type)]
    split = [split_unit(name) for name in names]
    numeric = [name not in clocks for name in names]
    timed = time_columns([name for name, _ in split])
    index = {name for name in names if re.fullmatch(r"__index_level_\d+__", name)}
    aside = {names[column] for column in timed} | index | set(clocks)

    def counter(column: int, rows: int) -> Counter:
        check_values(rows)
        name = "" if names[column] in index else split[column][0]
        values = _read_batches(content, [names[column]], 0, rows, np.float64)[0]
        return Counter(name, split[column][1], values, not numeric[column])

    time = choose_time(timed, [unit for _, unit in split], numeric)
    if time is not None:
        one = counter(time, total)
        return find_grid(one.name, one.unit, one.values, options.sampling_rate), aside
    given = options.leads or ()
    channels = [column for column, name in enumerate(names) if name not in aside]
    told = {column for column, lead in zip(channels, given, strict=False) if lead != NO_LEAD}
    told = told if len(given) == len(channels) else set()
    others = [column for column, (name, _) in enumerate(split) if column not in told and not known_lead(name)]
    found = [counter(column, total) for column in others if rises(counter(column, min(total, 20)).values)]
    return find_counter(found, options.sampling_rate), aside


def _read_batches(content: Any, names: Sequence[str], begin: int, end: int, dtype: type) -> np.ndarray:
    """Rows of a Parquet file as (columns, rows), a batch at a time, because equal values take no space in the file."""
    starts = np.cumsum([0] + [content.metadata.row_group(i).num_rows for i in range(content.num_row_groups)])
    groups = [i for i in range(content.num_row_groups) if starts[i + 1] > begin and starts[i] < end]
    signal: np.ndarray = np.empty((len(names), end - begin), dtype)
    at = int(starts[groups[0]]) if groups else 0
    for batch in content.iter_batches(65_536, row_groups=groups, columns=names) if groups else ():
        first, last = max(begin - at, 0), min(end - at, batch.num_rows)
        for row, name in enumerate(names) if last > first else ():
            values = _numbers(batch.column(name)[first:last])
            signal[row, at + first - begin : at + last - begin] = values
        at += batch.num_rows
        if at >= end:
            break
    return signal


def _is_written(content: Any, field: Any) -> bool:
    """Whether a column holds clock times or dates in text, by its first rows."""
    from pyarrow import types

    if not (types.is_string(field.type) or types.is_large_string(field.type)):
        return False
    first = next(content.iter_batches(20, columns=[field.name]), None)
    return first is not None and may_count(field.name, [str(one or "") for one in first.column(0).to_pylist()])


def _numbers(values: Any) -> np.ndarray:
    """Values of a column; times and dates, also those in text, in seconds."""
    from pyarrow import types

    if types.is_string(values.type) or types.is_large_string(values.type):
        return clock_seconds(values.to_pandas())
    if not _is_clock(types, values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    if types.is_date32(values.type):
        return np.asarray(values.cast("int32").to_numpy(zero_copy_only=False)) * 86_400.0
    unit = "ms" if types.is_date64(values.type) else values.type.unit
    whole = values.cast("int32" if types.is_time32(values.type) else "int64").to_numpy(zero_copy_only=False)
    return np.asarray(whole) / TIME_UNITS[unit]


def _is_clock(types: Any, kind: object) -> bool:
    """Whether values of an Arrow type are times, dates or durations."""
    return bool(types.is_temporal(kind) and not types.is_interval(kind))


def _is_number(types: object, kind: object) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind))  # type: ignore[attr-defined]


def parquet_columns(file: Path) -> list[str]:
    """Names of a Parquet table's columns, without their units."""
    from pyarrow import parquet

    with parsing("a Parquet table"):
        return [split_unit(name)[0] for name in parquet.read_schema(file).names]
