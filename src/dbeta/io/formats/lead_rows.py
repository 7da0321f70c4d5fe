"""Tables in text with a row for each lead, which begins with its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, known_lead, parsing
from dbeta.io.formats.columns import from_columns, split_unit
from dbeta.io.formats.row_counters import Counter, find_counter
from dbeta.io.formats.times import Grid
from dbeta.io.safety.limits import TABLE_VALUES, check_values


def begins_with_lead(row: Sequence[str]) -> bool:
    """Whether a row is the name of a lead and numbers."""
    return len(row) > 2 and known_lead(split_unit(row[0])[0]) is not None and _numbers(row[1:]) is not None


def read_lead_rows(file: Path, layout: Any, total: int, options: Options) -> Recording:
    """Read a table whose rows begin with the names of leads, (leads, samples).

    Args:
        file: its path.
        layout: a `TextLayout`; a header row of times or numbers tells where samples are missing.
        total: number of rows.
        options: of the caller.

    Raises:
        DBetaError: a row lacks its name or has text among its numbers.
    """
    import pandas as pd

    check_values(total * layout.cells, TABLE_VALUES)
    with parsing("a table of numbers"):
        content = pd.read_csv(
            file,
            sep=layout.separator,
            decimal=layout.decimal,
            header=None,
            skiprows=layout.skipped,
            encoding=layout.encoding,
            encoding_errors="replace",
            compression=None,
            na_values=[""],
        )
    names = [str(name) for name in content[0]]
    values = content.iloc[:, 1:]
    kinds = [pd.api.types.is_numeric_dtype(kind) for kind in values.dtypes]
    if not all(kinds):
        raise DBetaError(f"has text in column {kinds.index(False) + 2}, where numbers should be; correct or remove it")
    counts = all(kind.kind in "iu" for kind in values.dtypes)
    header = layout.header or (layout.numbering and ["", *layout.numbering]) or []
    times = _numbers(header[1:] if len(header) == layout.cells else header)
    grid = Grid()
    if times is not None and len(times) == values.shape[1]:
        grid = find_counter([Counter("", "", times)], options.sampling_rate)
    split = [split_unit(name) for name in names]
    signal = values.to_numpy(np.float32)
    return from_columns([name for name, _ in split], [unit for _, unit in split], signal, grid, counts, options)


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    try:
        return np.array([float(cell.replace(",", ".") or "nan") for cell in cells])
    except ValueError:
        return None
