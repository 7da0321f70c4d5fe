"""Properties of each finding (required leads, classes, exclusions): `findings.csv`, one row per finding.

Columns (several values are separated by semicolons, leads by spaces):

- leads needed: measured leads; if any is missing, the finding cannot be read;
- readable despite exchanged electrodes: "any", "chest" (if only those are exchanged), "any if present", or empty;
- hidden by: "paced" (or complete block), "LBBB or WPW", "LBBB or WPW if absent", "AF if absent" (or flutter);
- classes: general findings that are present whenever this one is;
- beside normal ecg: whether the ECG can still be normal: "never", "unclear"; "never, unclear if undetermined";
- in reports: "first", "implied" (by more specific findings, so usually omitted), "acute" (never said of the past).

Each row needs a criterion (`Findings.decide`), and each criterion a row; a simulation checks both.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError

FILE = Path(__file__).with_name("findings.csv")
READABLE = ("", "any", "chest", "any if present")
COVERS = ("paced", "LBBB or WPW", "LBBB or WPW if absent", "AF if absent")
NORMAL = ("", "never", "unclear", "never, unclear if undetermined")
REPORT = ("", "first", "implied", "acute")


@dataclass(frozen=True)
class Row:
    """One finding's row; see the module docstring."""

    leads: tuple[str, ...]
    readable: str
    hidden_by: tuple[str, ...]
    classes: tuple[str, ...]
    normal: str
    report: str


def read_table(file: Path = FILE) -> dict[str, Row]:
    """Read the table: a finding's name → its row.

    Raises:
        DBetaError: a finding is listed twice, or a cell has a value that means nothing.
    """
    table: dict[str, Row] = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for cells in csv.DictReader(lines):
            name = cells["finding"]
            if name in table:
                raise DBetaError(f"{file.name}: lists {name!r} twice; keep one row of it")
            table[name] = Row(
                leads=tuple(cells["leads needed"].split()),
                readable=cells["readable despite exchanged electrodes"],
                hidden_by=_several(cells["hidden by"]),
                classes=_several(cells["classes"]),
                normal=cells["beside normal ecg"],
                report=cells["in reports"],
            )
    for name, row in table.items():
        for values, allowed in (
            (row.leads, LEADS),
            ((row.readable,), READABLE),
            (row.hidden_by, COVERS),
            (row.classes, tuple(table)),
            ((row.normal,), NORMAL),
            ((row.report,), REPORT),
        ):
            for value in values:
                if value not in allowed:
                    known = "a finding of the table" if allowed == tuple(table) else ", ".join(filter(None, allowed))
                    raise DBetaError(f"{file.name}: {name!r} has {value!r} where it should have {known}")
    return table


def _several(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())


#: Every finding that the simulator produces, by name.
TABLE = read_table()


def members(name: str) -> tuple[str, ...]:
    """Return the findings of a class."""
    return tuple(one for one, row in TABLE.items() if name in row.classes)


def hidden_by(cover: str) -> tuple[str, ...]:
    """Return the findings that a given condition hides."""
    return tuple(name for name, row in TABLE.items() if cover in row.hidden_by)
