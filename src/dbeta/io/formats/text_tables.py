"""Tables in text: CSV and its relatives, with a column for each lead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import NO_LEAD, Options, Recording, known_lead, parsing
from dbeta.io.formats.columns import from_array, from_columns, place_rows, split_unit, stated_units
from dbeta.io.formats.lead_rows import read_lead_rows
from dbeta.io.formats.row_counters import Counter, find_counter
from dbeta.io.formats.text_layout import TextLayout, bare_unit, count_rows, find_layout
from dbeta.io.formats.times import Grid, choose_time, clock_seconds, find_grid, time_columns
from dbeta.io.safety.limits import TABLE_VALUES, check_values

#: Cells that are parsed at once.
_PIECE = 2**19


def read_csv(file: Path, options: Options) -> Recording:
    """Read a table with a column for each lead or, without a header row, either way round.

    It is parsed in pieces and, if the caller states the sampling rate, only up to the end of the requested stretch.
    """
    layout = find_layout(file)
    header = layout.header
    total = count_rows(file, layout)
    if layout.lead_rows:
        return read_lead_rows(file, layout, total, options)
    columns = _choose_columns(layout, options.leads)
    column_per_lead = header is not None or (len(options.leads or ()) == len(columns.others) != total)
    in_part = column_per_lead and options.sampling_rate and options.duration and not columns.counting
    begin, end = options.stretch(options.sampling_rate, total) if in_part and options.sampling_rate else (0, total)
    check_values(end * layout.cells, TABLE_VALUES)
    rows = _read_rows(file, layout, end, columns)
    if in_part and rows.signal.shape[1] != end:
        raise DBetaError("has cells of several lines; leave out that column")
    signal = rows.signal[:, begin:]
    if header is None:
        stated_units(len(signal), rows.are_counts, options)
        recording = from_array(signal, options)
        if column_per_lead:
            place_rows(recording, _find_grid(columns, rows, options.sampling_rate), options)
    else:
        grid = _find_grid(columns, rows, options.sampling_rate)
        names, units = zip(*(columns.split[column] for column in rows.kept), strict=True) if rows.kept else ((), ())
        recording = from_columns(names, units, signal, grid, rows.are_counts, options)
    if layout.numbering:
        shown = ", ".join([*layout.numbering[:3], "…", *layout.numbering[-1:]][: len(layout.numbering) + 1])
        recording.notes.append(f"its first row, {shown}, is taken for the names of the columns")
    if layout.doubtful:
        recording.notes.append(
            "its first row may be a sample or the number of the column, and is read as a sample; if it is none, delete "
            f"it or skip it with --start {1 / (options.sampling_rate or 1):g}"
        )
    if in_part:
        recording.total = total
        recording.excerpt = rows.signal
    return recording


def csv_columns(file: Path) -> list[str] | None:
    """Names in the header row without their units; None if the first row holds numbers."""
    layout = find_layout(file)
    return None if layout.header is None or layout.lead_rows else [split_unit(name)[0] for name in layout.header]


@dataclass(frozen=True)
class _Columns:
    """What the columns of a text table are for.

    Attributes:
        split: name and unit of each; empty if there is no header.
        time: index of the column of times to use.
        others: indices of the columns that are neither times nor numbers of rows.
        leads: indices of the columns that are named as leads.
        needed: indices of the columns that must hold numbers.
        counting: indices of the columns that tell where rows are missing: that of times, or those that may do so.
        all_kept: whether columns of text keep their place, because the caller named all columns.
    """

    split: list[tuple[str, str]]
    time: int | None
    others: list[int]
    leads: list[int]
    needed: set[int]
    counting: list[int]
    all_kept: bool


def _choose_columns(layout: TextLayout, given: Sequence[str] | None) -> _Columns:
    """The roles of the columns, by their header and the lead names that the caller gave."""
    split = [split_unit(name) for name in layout.header or ()]
    if layout.units is not None:
        below = [*map(bare_unit, layout.units), *[""] * len(split)]
        split = [(name, unit or stated) for (name, unit), stated in zip(split, below, strict=False)]
    timed = time_columns([name for name, _ in split])
    time = choose_time(timed, [unit for _, unit in split], layout.numeric) if timed else None
    count = layout.cells if layout.header is None else len(split)
    others = [column for column in range(layout.indexed, count) if column not in timed]
    aside = set(range(count)) - set(others)
    if aside and given is not None and len(given) == count and all(given[column] == NO_LEAD for column in aside):
        others = list(range(count))
    leads = [column for column in others if split and known_lead(split[column][0])]
    needed = set(leads if given is None and split else others)
    if given is not None and split and len(given) < len(others):
        # Columns of text need no name
        needed = {column for column in others if layout.numeric[column]}
    if given is not None and len(given) == len(others):
        needed -= {column for column, name in zip(others, given, strict=True) if name == NO_LEAD}
        told = {column for column, name in zip(others, given, strict=True) if name != NO_LEAD}
    else:
        told = set() if split else set(others)
    counting = [column for column in range(count) if layout.counting[column] and column not in {*leads, *told}]
    all_kept = not split or (given is not None and len(given) == len(others))
    return _Columns(split, time, others, leads, needed, counting if time is None else [time], all_kept)


def _find_grid(columns: _Columns, rows: _Rows, sampling_rate: float | None) -> Grid:
    """Where the rows lie in time, by the column of times or else by one that counts them."""
    if columns.time is not None:
        return find_grid(*columns.split[columns.time], rows.counted[columns.time], sampling_rate)
    found = [
        Counter(*(columns.split[column] if columns.split else ("", "")), rows.counted[column], column in rows.clocks)
        for column in columns.counting
    ]
    return find_counter(found, sampling_rate)


@dataclass
class _Rows:
    """Rows of a text table, piece by piece.

    Attributes:
        columns: what they are for.
        kept: indices of the columns that hold numbers.
        signal: (columns, rows) float32 of these; set by `finish`.
        counted: (rows,) float64 of each column that counts the rows, from the first one on.
        clocks: indices of those with clock times or dates.
    """

    columns: _Columns
    kept: list[int] = field(default_factory=list)
    signal: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    counted: dict[int, np.ndarray] = field(default_factory=dict)
    clocks: set[int] = field(default_factory=set)
    _parts: list[np.ndarray] = field(default_factory=list)
    _counts: dict[int, list[np.ndarray]] = field(default_factory=dict)
    _starts: dict[int, Any] = field(default_factory=dict)
    _whole: bool = True
    _any_value: bool = False

    def add(self, piece: Any) -> None:
        """Add a piece of the table.

        Raises:
            DBetaError: it has more or fewer columns than the header, or text in a needed column.
        """
        import pandas as pd

        text = self._text_columns(piece)
        if not self._parts:
            # Columns of text, perhaps about the patient, are not part of the recording
            dropped = [] if self.columns.all_kept else text
            self.kept = [column for column in self.columns.others if column not in dropped]
        wanted = piece[self.kept].apply(pd.to_numeric, errors="coerce")
        self._parts.append(wanted.to_numpy(np.float32))
        for column in self.columns.counting:
            values = piece[column]
            if not pd.api.types.is_numeric_dtype(values):
                self.clocks.add(column)
                values = clock_seconds(values)
            else:
                # Relative to the first, as nanoseconds since 1970 have more digits than a float
                values = (values - self._starts.setdefault(column, values.iloc[0])).to_numpy(np.float64)
            self._counts.setdefault(column, []).append(values)
        candidates = self.columns.leads or self.kept
        voltages = [column for column in candidates if column not in text]
        self._whole &= all(_is_whole(piece[column]) for column in voltages)
        self._any_value |= any(bool(piece[column].notna().any()) for column in voltages)

    def finish(self) -> None:
        """Join the pieces."""
        self.signal = np.concatenate(self._parts).T
        self.counted = {column: np.concatenate(parts) for column, parts in self._counts.items()}

    @property
    def are_counts(self) -> bool:
        """Whether the leads hold whole numbers."""
        return self._whole and self._any_value

    def _text_columns(self, piece: Any) -> list[int]:
        import pandas as pd

        split = self.columns.split
        if split and len(split) != piece.shape[1]:
            raise DBetaError(f"has {len(split)} names but {piece.shape[1]} columns; correct its header row")
        text = [column for column in range(piece.shape[1]) if not pd.api.types.is_numeric_dtype(piece[column])]
        if wrong := [column for column in text if column in self.columns.needed]:
            name = split[wrong[0]][0] if split else f"{wrong[0] + 1}"
            raise DBetaError(f"has text in column {name}, where numbers should be; correct or remove it")
        return text


def _read_rows(file: Path, layout: TextLayout, end: int, columns: _Columns) -> _Rows:
    """The rows up to `end`."""
    import pandas as pd

    rows = _Rows(columns)
    with _parsing_table():
        pieces = pd.read_csv(
            file,
            sep=layout.separator,
            decimal=layout.decimal,
            header=None,
            skiprows=layout.skipped,
            nrows=max(end, 1),
            chunksize=max(_PIECE // max(layout.cells, 1), 1),
            encoding=layout.encoding,
            encoding_errors="replace",
            compression=None,  # pandas would guess it from the name
        )
        with pieces:
            for piece in pieces:
                rows.add(piece)
        rows.finish()
    return rows


@contextmanager
def _parsing_table() -> Iterator[None]:
    """As `parsing`, without quoting the table's content in the message."""
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
    """Whether a column holds whole numbers; pandas makes them floating-point if a cell is empty."""
    if column.dtype.kind != "f":
        return bool(column.dtype.kind in "iu")
    values = column.dropna()
    return len(values) < len(column) and bool((values % 1 == 0).all())
