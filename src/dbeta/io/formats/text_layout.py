"""How a table in text is written: encoding, separator, decimal sign, header, and where its numbers begin."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dbeta.io.formats.base import parsing
from dbeta.io.safety.limits import TABLE_ROW

#: Bytes that are examined to find the layout.
_HEAD = 2**16
#: Starts a comment line before the table.
_COMMENT = "#"


@dataclass(frozen=True)
class TextLayout:
    """Layout of a table in text.

    Attributes:
        encoding: of its text.
        separator: between cells.
        decimal: "." or ",".
        header: cells of the header row; None if the first row holds numbers.
        cells: number of cells in the first row.
        skipped: lines before the first row of numbers.
    """

    encoding: str
    separator: str
    decimal: str
    header: list[str] | None
    cells: int
    skipped: int


def find_layout(file: Path) -> TextLayout:
    """The layout by the first lines, as European spreadsheets write `1,5;2,5` in the code page of their machine.

    Raises:
        DBetaError: the file cannot be read as text.
    """
    with parsing("text"), file.open("rb") as stream:
        head = stream.read(_HEAD)
        if b"\n" not in head:
            head += stream.readline(TABLE_ROW)
        encoding = _encoding(head)
        lines = re.split(r"\r\n|\r|\n", head.decode(encoding, "replace"))
        if len(lines) > 2:
            lines.pop()  # may be cut short
        first = _first_row(lines)
        filled = [line for line in lines[first:] if line.strip()] or [""]
        separator = separator_of(filled)
        numbers = "\n".join(filled[1:])
        comma = separator != "," and re.search(r"\d,\d", numbers) and not re.search(r"\d\.\d", numbers)
        cells = [cell.strip() for cell in next(csv.reader([filled[0].lstrip("# ")], delimiter=separator), [])]
    decimal = "," if comma else "."
    header = None if all(_is_cell_number(cell, decimal) for cell in cells) else cells
    return TextLayout(encoding, separator, decimal, header, len(cells), first + (header is not None))


def separator_of(lines: Sequence[str]) -> str:
    """The separator of a table's first lines; a comma only if no other fits, as it may be the decimal sign."""
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
    """Index of the table's first line, skipping blank lines and comments, except a comment that is its header."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    body = next((i for i, number in enumerate(filled) if not lines[number].lstrip().startswith(_COMMENT)), 0)
    if body:
        above, below = lines[filled[body - 1]], lines[filled[body]]
        separator = separator_of([below])
        if 0 < below.count(separator) == above.count(separator):
            return filled[body - 1]
    return filled[body] if filled else 0


def count_rows(file: Path, layout: TextLayout) -> int:
    """Number of rows below the header."""
    with file.open(encoding=layout.encoding, errors="replace") as stream:
        blank = "\r\n" + "".join({" ", "\t"} - {layout.separator})
        return sum(bool(line.strip(blank)) for line in itertools.islice(stream, layout.skipped, None))
