"""Tables and arrays that know little of themselves: NumPy, CSV and Parquet.

Their unit is said by the column's name ("V1 (uV)") or by the caller; where neither does, floating-point numbers of a
believable size are taken to be mV, and nothing else is.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import NO_LEAD, SLOWEST, Options, Recording, known_lead, parsing
from dbeta.io.safety.limits import TABLE_ROW, TABLE_VALUES, check_values
from dbeta.io.units import millivolts

# "I (mV)", "V1 [uV]", "aVR/mV"
_NAMED_UNIT = re.compile(r"(.*?)\s*(?:\(([^()]+)\)|\[([^\[\]]+)\]|/\s*([a-zµμ]+))", re.IGNORECASE)
_LONGEST_NAME = 200
#: Bytes that tell how a table is written, and cells that are parsed at once.
_HEAD, _PIECE = 2**16, 2**19
#: What a line before the table begins with.
_REMARK = "#"
_COUNTS = (
    "has whole numbers, which are counts of a converter and not mV; say what one is worth with --units, as uV or as mV "
    "per count"
)
_TIME = {"time": "s", "t": "s", "seconds": "s", "sec": "s", "s": "s", "time_s": "s", "ms": "ms", "time_ms": "ms"}


def read_npy(file: Path, options: Options) -> Recording:
    """An array of (leads, samples) or (samples, leads)."""
    with parsing("a NumPy array"):
        signal = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(signal, np.ndarray) or signal.dtype.kind not in "fiu":
        raise DBetaError("is not an array of numbers; save the samples in mV with numpy.save")
    return _from_array(signal, options)


def read_csv(file: Path, options: Options) -> Recording:
    """A table with a column for each lead, or without a header row either way round.

    Read in pieces, and where the sampling rate is told not beyond the stretch that is asked for.
    """
    form = _form_of(file)
    total = _count_lines(file, form)
    time = None if form.header is None else _time_column([_split_unit(name)[0] for name in form.header])
    of_leads = form.header is not None or (len(options.leads or ()) == form.cells != total)
    in_part = of_leads and options.sampling_rate and options.duration and time is None
    begin, end = options.stretch(options.sampling_rate, total) if in_part and options.sampling_rate else (0, total)
    check_values(end * form.cells, TABLE_VALUES)
    signal, kept, times, counts = _read_text(file, form, begin, end, time, options.leads)
    if in_part and signal.shape[1] != end - begin:
        raise DBetaError("has cells of several lines; leave out that column")
    if form.header is None:
        if counts and not options.units:
            raise DBetaError(_COUNTS)
        recording = _from_array(signal, options)
    else:
        time = None if time is None else kept.index(time)
        recording = _from_columns([form.header[row] for row in kept], signal, time, times, counts, options)
    recording.total = total if in_part else None
    return recording


def read_parquet(file: Path, options: Options) -> Recording:
    """A table with a column for each lead, of which only the stretch that is asked for is read."""
    from pyarrow import parquet, types

    with parsing("a Parquet table"), parquet.ParquetFile(file) as content:
        fields = [field for field in content.schema_arrow if _is_number(types, field.type)]
        names = [field.name for field in fields]
        total = content.metadata.num_rows
        split = [_split_unit(name)[0] for name in names]
        time = _time_column(split)
        if not names:
            raise DBetaError("has no columns of numbers; give a table with a column for each lead")
        times, rate = np.zeros(0), options.sampling_rate
        if time is not None:
            check_values(total)
            times = _read_batches(content, [names[time]], 0, total, np.float64)[0]
            rate = _time_rate(names[time], times) or rate
        begin, end = options.stretch(rate, total) if rate else (0, total)
        check_values((end - begin) * len(names))
        signal = _read_batches(content, names, begin, end, np.float32)
    leads = [field for field, name in zip(fields, split, strict=True) if known_lead(name)]
    counts = bool(leads) and all(types.is_integer(one.type) for one in leads)
    recording = _from_columns(names, signal, time, times, counts, options)
    recording.total = total if rate else None
    return recording


def _read_batches(content: Any, names: Sequence[str], begin: int, end: int, dtype: type) -> np.ndarray:
    """Rows of a Parquet file as (columns, rows), a few at a time: equal values take no space in the file."""
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
    """The names of a Parquet table's columns, without their units."""
    from pyarrow import parquet

    with parsing("a Parquet table"):
        return [_split_unit(name)[0] for name in parquet.read_schema(file).names]


@dataclass(frozen=True)
class _Form:
    """How a table in text is written."""

    encoding: str
    separator: str
    decimal: str
    header: list[str] | None  # None where the first row is numbers
    cells: int  # of the first row
    skipped: int  # lines before the first row of numbers


def _form_of(file: Path) -> _Form:
    """Told by the first lines: European spreadsheets write `1,5;2,5`, and in the code page of their machine."""
    with parsing("text"), file.open("rb") as stream:
        head = stream.read(_HEAD)
        if b"\n" not in head:
            head += stream.readline(TABLE_ROW)
        encoding = _encoding(head)
        lines = re.split(r"\r\n|\r|\n", head.decode(encoding, "replace"))
        if len(lines) > 2:
            lines.pop()  # which may be cut short
        first = _first_row(lines)
        filled = [line for line in lines[first:] if line.strip()] or [""]
        separator = separator_of(filled)
        numbers = "\n".join(filled[1:])
        comma = separator != "," and re.search(r"\d,\d", numbers) and not re.search(r"\d\.\d", numbers)
        cells = [cell.strip() for cell in next(csv.reader([filled[0].lstrip("# ")], delimiter=separator), [])]
    decimal = "," if comma else "."
    header = None if all(_is_cell_number(cell, decimal) for cell in cells) else cells
    return _Form(encoding, separator, decimal, header, len(cells), first + (header is not None))


def separator_of(lines: Sequence[str]) -> str:
    """What parts the cells of a table's first lines; a comma only where nothing else does, as it may be a decimal."""
    return next((one for one in "\t;|" if all(one in line for line in lines[:5])), ",")


def _is_cell_number(cell: str, decimal: str) -> bool:
    try:
        float(cell.replace(decimal, ".") or "nan")
    except ValueError:
        return False
    return True


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _first_row(lines: Sequence[str]) -> int:
    """The first line that is of the table: not blank, and no remark unless it names the columns of the next."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    body = next((i for i, number in enumerate(filled) if not lines[number].lstrip().startswith(_REMARK)), 0)
    if body:
        above, below = lines[filled[body - 1]], lines[filled[body]]
        separator = separator_of([below])
        if 0 < below.count(separator) == above.count(separator):
            return filled[body - 1]
    return filled[body] if filled else 0


def _count_lines(file: Path, form: _Form) -> int:
    """Rows of numbers."""
    with file.open(encoding=form.encoding, errors="replace") as stream:
        blank = "\r\n" + "".join({" ", "\t"} - {form.separator})
        return sum(bool(line.strip(blank)) for line in itertools.islice(stream, form.skipped, None))


def _read_text(
    file: Path, form: _Form, begin: int, end: int, time: int | None, told: Sequence[str] | None
) -> tuple[np.ndarray, list[int], np.ndarray, bool]:
    """Rows of a table in text.

    Args:
        file: the table.
        form: how it is written.
        begin: first row.
        end: the one after the last.
        time: the column of times.
        told: what the caller calls the other columns; then all of them stay in their places.

    Returns:
        (columns, rows) as float32 of the columns that hold numbers; which these are; the times as float64; and whether
        the leads are counts.
    """
    import pandas as pd

    parts, times, counts, at = [], [], True, 0
    header = form.header
    leads = [row for row, name in enumerate(header or ()) if known_lead(_split_unit(name)[0])]
    columns = form.cells if header is None else len(header)
    others = [row for row in range(columns) if row != time]
    needed = {*(leads if told is None and header is not None else others), time}
    if told is not None and len(told) == len(others):
        needed -= {row for row, name in zip(others, told, strict=True) if name == NO_LEAD}
    kept: list[int] | None = None
    seen = False
    with _parsing_table():
        pieces = pd.read_csv(
            file,
            sep=form.separator,
            decimal=form.decimal,
            header=None,
            skiprows=form.skipped,
            nrows=max(end, 1),
            chunksize=max(_PIECE // max(form.cells, 1), 1),
            encoding=form.encoding,
            encoding_errors="replace",
            compression=None,  # which pandas would guess from the name
        )
        with pieces:
            for piece in pieces:
                if header is not None and len(header) != piece.shape[1]:
                    raise DBetaError(f"has {len(header)} names but {piece.shape[1]} columns; correct its header row")
                words = [row for row in range(piece.shape[1]) if not pd.api.types.is_numeric_dtype(piece[row])]
                if odd := [row for row in words if row in needed]:
                    name = f"{odd[0] + 1}" if header is None else header[odd[0]]
                    raise DBetaError(f"has text in column {name}, where numbers should be; correct or remove it")
                # What a table says besides, of a patient perhaps, is none of the recording
                if kept is None:
                    dropped = () if told is not None or header is None else words
                    kept = [row for row in range(piece.shape[1]) if row not in dropped]
                wanted = piece.iloc[max(begin - at, 0) :][kept].apply(pd.to_numeric, errors="coerce")
                at += len(piece)
                parts.append(wanted.to_numpy(np.float32))
                if time is not None:
                    times.append(wanted[time].to_numpy(np.float64))
                voltages = [row for row in (leads or kept) if row != time and row not in words]
                counts &= all(_is_whole(piece[row]) for row in voltages)
                seen |= any(bool(piece[row].notna().any()) for row in voltages)
        signal = np.concatenate(parts).T  # (columns, rows)
    return signal, kept or [], np.concatenate(times or [np.zeros(0)]), counts and seen


@contextmanager
def _parsing_table() -> Iterator[None]:
    """As `parsing`, without quoting what the table holds."""
    import pandas as pd

    try:
        with parsing("a table of numbers"):
            yield
    except DBetaError as error:
        if isinstance(error.__cause__, pd.errors.EmptyDataError):
            raise DBetaError("holds no rows of numbers; get or export the file again") from error.__cause__
        if isinstance(error.__cause__, pd.errors.ParserError):
            where = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error.__cause__))
            cells = f"{where[3]} cells in line {where[2]}, not {where[1]}" if where else "rows of different length"
            raise DBetaError(f"has {cells}; correct the table") from error.__cause__
        raise


def _is_whole(column: Any) -> bool:
    """Whether a column has whole numbers; an empty cell makes pandas write them as others."""
    if column.dtype.kind != "f":
        return bool(column.dtype.kind in "iu")
    told = column.dropna()
    return len(told) < len(column) and bool((told % 1 == 0).all())


def csv_header(file: Path) -> list[str] | None:
    """The cells of the first row, or None where they are numbers."""
    return _form_of(file).header


def csv_columns(file: Path) -> list[str] | None:
    """The names in the first row without their units, or None where it holds numbers."""
    header = csv_header(file)
    return None if header is None else [_split_unit(name)[0] for name in header]


def _split_unit(name: str) -> tuple[str, str]:
    match = _NAMED_UNIT.fullmatch(name.strip()) if len(name) < _LONGEST_NAME else None
    unit = next((part.strip() for part in match.groups()[1:] if part), "") if match else ""
    is_unit = (millivolts(unit) is not None and not unit[:1].isdecimal()) or unit.casefold() in ("s", "ms", "sec")
    return (match[1], unit) if match and is_unit else (name.strip(), "")


def _time_column(names: Sequence[str]) -> int | None:
    return next((row for row, name in enumerate(names) if name.casefold() in _TIME), None)


def _from_columns(
    header: Sequence[str], signal: np.ndarray, time: int | None, times: np.ndarray, counts: bool, options: Options
) -> Recording:
    split = [_split_unit(name) for name in header]
    rows = [row for row in range(len(header)) if row != time]
    names, units = [split[row][0] for row in rows], [split[row][1] for row in rows]
    rate = None if time is None else _time_rate(header[time], times)
    if not any(units):
        units = _told_units(len(rows), counts, options)
    assumed = not any(units)
    leads = [signal[row] for row in rows]
    return Recording(leads, names, rate, ["mV"] * len(rows) if assumed else units, unit_assumed=assumed)


def _time_rate(column: str, times: np.ndarray) -> float | None:
    name, unit = _split_unit(column)
    rate = _rate(times, 1000.0 if (unit.casefold() or _TIME[name.casefold()]) == "ms" else 1.0)
    # Samples that are counted, or milliseconds
    return None if rate and rate < SLOWEST and not unit and name.casefold() in ("t", "time") else rate


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
        raise DBetaError(_COUNTS)
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
