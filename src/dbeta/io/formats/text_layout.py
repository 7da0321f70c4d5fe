"""How a table in text is written: encoding, separator, decimal sign, header, units, and where its numbers begin."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dbeta.io.formats.base import known_lead, parsing
from dbeta.io.formats.lead_rows import begins_with_lead
from dbeta.io.formats.numbered_header import is_doubtful, numbering, whole_numbers
from dbeta.io.formats.row_counters import may_count
from dbeta.io.formats.times import TIME_UNITS
from dbeta.io.safety.limits import TABLE_ROW
from dbeta.io.units import millivolts

#: Bytes that are examined to find the layout.
_HEAD = 2**16
#: Starts a comment line before the table.
_COMMENT = "#"
#: Lines whose cells are examined.
_LINES = 20
#: Columns from which on a row of 0, 1, 2, … below their names is no row of samples.
_SURE = 6
#: Between cells that are aligned by blanks.
BLANKS = r"\s+"

_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,(\d+)")
_CLOCK_FORMAT = re.compile(r"(h{1,2}:)?m{1,2}:s{1,2}(\.m+)?", re.IGNORECASE)


@dataclass(frozen=True)
class TextLayout:
    """Layout of a table in text.

    Attributes:
        encoding: of its text.
        separator: between cells; `BLANKS` for any number of blanks.
        decimal: "." or ",".
        header: cells of the header row; None if there is none, or if it only numbers the columns.
        units: cells of a row of units below the header; None if there is none.
        cells: number of cells in a row.
        skipped: lines before the first row of numbers.
        numbering: the header row that only numbers the columns; None if there is none.
        indexed: whether the first column only numbers the rows.
        numeric: of each column, whether any of the first rows holds a number, or all are empty.
        counting: of each column, whether its first rows may be times or numbers of rows.
        doubtful: whether the first row might as well be the number of the only column.
        lead_rows: whether each row begins with the name of a lead.
    """

    encoding: str
    separator: str
    decimal: str
    header: list[str] | None
    units: list[str] | None
    cells: int
    skipped: int
    numbering: list[str] | None = None
    indexed: bool = False
    numeric: tuple[bool, ...] = ()
    counting: tuple[bool, ...] = ()
    doubtful: bool = False
    lead_rows: bool = False


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
        return _layout_of(lines, encoding)


def _layout_of(lines: list[str], encoding: str) -> TextLayout:
    first = _first_row(lines)
    places = [number for number in range(first, len(lines)) if lines[number].strip()][:_LINES] or [first]
    filled = [lines[number] if number < len(lines) else "" for number in places]
    separator = separator_of(filled)
    top = split_line(filled[0].lstrip("# "), separator)
    decimal = _decimal_of(filled[1:], separator)
    if separator == "," and _is_one_column(filled, top):
        separator, decimal = ";", ","
        top = split_line(filled[0], separator)
    rows = [split_line(line, separator) for line in filled[1:]]
    if (
        rows
        and len(rows[0]) == len(top)
        and numbering(top, rows[1:])
        and sum(known_lead(cell) is not None for cell in rows[0]) > 1
    ):
        # Names below a row that numbers the columns
        places, top = places[1:], rows.pop(0)
    named = not all(is_number(cell) for cell in top)
    if begins_with_lead(top) or (rows and begins_with_lead(rows[0])):
        return _of_lead_rows(encoding, separator, decimal, top, rows, places)
    units = rows.pop(0) if named and rows and _are_units(rows[0], rows[1:2]) else None
    if units is not None and separator == BLANKS and len(units) < len(top):
        top = _join_words(filled[0].lstrip("# "), len(units)) or top
    elif separator == BLANKS and rows and len(top) != len(rows[0]):
        top = _join_words(filled[0].lstrip("# "), len(rows[0])) or top
    numbers = None if named else numbering(top, rows)
    if (
        named
        and len(top) >= _SURE
        and rows
        and len(rows[0]) == len(top)
        and whole_numbers(rows[0]) == list(range(len(top)))
    ):
        rows.pop(0)  # numbers the columns below their names
        places = [places[0], *places[2:]] if len(places) > 2 else places
    body = rows if named or numbers else [top, *rows]
    begin = places[(named or numbers is not None) + (units is not None)] if body and rows else places[-1] + 1
    if not named and numbers is None:
        begin = places[0]
    columns = [[row[column] for row in body if column < len(row) and row[column]] for column in range(len(top))]
    numeric = [not cells or any(map(is_number, cells)) for cells in columns]
    return TextLayout(
        encoding,
        separator,
        decimal,
        top if named else None,
        units,
        len(top),
        begin,
        numbers,
        _is_index(top, body) if named or numbers else False,
        tuple(numeric),
        tuple(
            may_count(top[column] if named else "", [row[column] for row in body if column < len(row)])
            for column in range(len(top))
        ),
        doubtful=not named and numbers is None and is_doubtful(top),
    )


def _of_lead_rows(
    encoding: str, separator: str, decimal: str, top: list[str], rows: Sequence[Sequence[str]], places: Sequence[int]
) -> TextLayout:
    """The layout of a table with a row for each lead."""
    header = None if begins_with_lead(top) else top
    cells = len(top if header is None else rows[0])
    begin = places[header is not None]
    return TextLayout(encoding, separator, decimal, header, None, cells, begin, lead_rows=True)


def looks_like_table(lines: Sequence[str]) -> bool:
    """Whether lines are rows of a table of numbers: as many cells in each, the same of which are numbers.

    Args:
        lines: the first lines, without comments and blank ones; the last may be cut short.
    """
    if len(lines) > 3:
        lines = lines[:-1]
    lines = lines[:_LINES]
    if len(lines) < 3:
        return False
    layout = _layout_of(list(lines), "utf-8")
    body = [split_line(line, layout.separator) for line in lines[layout.skipped :]]
    return len(body) > 1 and all(len(row) == layout.cells for row in body) and any(layout.numeric)


def separator_of(lines: Sequence[str]) -> str:
    """The separator of a table's first lines; a comma only if no other fits, as it may be the decimal sign."""
    some = [line for line in lines[:5] if line.strip()]
    if found := next((one for one in "\t;|" if all(one in line for line in some)), None):
        return found
    # Below a header and perhaps a row of units
    words = [line.split() for line in (some[2:] or some[1:] or some)]
    if words and all(len(row) > 1 and all(map(is_number, row)) for row in words):
        return BLANKS
    return ","


def split_line(line: str, separator: str) -> list[str]:
    """The cells of a line, without blanks around them and single quotes."""
    cells = line.split() if separator == BLANKS else next(csv.reader([line], delimiter=separator), [])
    return [re.sub(r"^'(.*)'$", r"\1", cell.strip()) for cell in cells]


def is_number(cell: str) -> bool:
    """Whether a cell is a number with a decimal point or comma, or empty."""
    return not cell or _NUMBER.fullmatch(cell) is not None


def _decimal_of(lines: Sequence[str], separator: str) -> str:
    cells = [cell for line in lines for cell in split_line(line, separator) if separator != "," and is_number(cell)]
    return "," if any("," in cell for cell in cells) and not any("." in cell for cell in cells) else "."


def _is_one_column(lines: Sequence[str], top: Sequence[str]) -> bool:
    """Whether commas are the decimal signs of a single column, and not separators of whole numbers."""
    matches = [_DECIMAL_COMMA.fullmatch(line.strip()) for line in lines[1:]]
    if not matches or not all(matches):
        return False
    if len(top) == 1 and not is_number(top[0]):
        return True
    digits = {len(match[1]) for match in matches if match}
    return (
        len(matches) > 2
        and len(digits) == 1
        and digits != {1}
        and _DECIMAL_COMMA.fullmatch(lines[0].strip()) is not None
    )


def _are_units(cells: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a row below the header states units, such as "s,mV,mV" or "'hh:mm:ss.mmm','mV','mV'"."""
    bare = [bare_unit(cell) for cell in cells]
    if any(cell and is_number(cell) for cell in bare) or not any(bare):
        return False
    if any(millivolts(cell) is not None for cell in bare):
        return True
    times = any(cell.casefold() in TIME_UNITS or _CLOCK_FORMAT.fullmatch(cell) for cell in bare)
    # Units of something else, above numbers
    return times or (all(len(cell) < 10 for cell in bare) and any(all(map(is_number, row)) for row in below))


def bare_unit(cell: str) -> str:
    """A unit without brackets."""
    return cell.strip("()[] ")


def _join_words(line: str, count: int) -> list[str] | None:
    """A header whose names have blanks, as so many cells: split at two blanks, or with units joined to their names."""
    wide = re.split(r"\s{2,}|\t", line.strip())
    joined = re.sub(r"\s+([(\[])", r"\1", line).split()
    return next((cells for cells in (wide, joined) if len(cells) == count), None)


def _is_index(top: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the first column, which has no name, numbers the rows."""
    if len(top) < 2 or not re.fullmatch(r"|index|unnamed: 0|#", top[0].strip().casefold()) or not body:
        return False
    numbers = [row[0] for row in body if row]
    return numbers in ([str(i) for i in range(len(numbers))], [str(i + 1) for i in range(len(numbers))])


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
        cells = len(split_line(below, separator))
        if 1 < cells == len(split_line(above.lstrip("# "), separator)):
            return filled[body - 1]
    return filled[body] if filled else 0


def count_rows(file: Path, layout: TextLayout) -> int:
    """Number of rows below the header."""
    with file.open(encoding=layout.encoding, errors="replace") as stream:
        blank = "\r\n" + "".join({" ", "\t"} - {layout.separator})
        return sum(bool(line.strip(blank)) for line in itertools.islice(stream, layout.skipped, None))
