"""Properties of each finding (required leads, classes, exclusions): `findings.csv`, one row per finding.

Columns (several values are separated by semicolons, leads by spaces):

- leads needed: measured leads; if any is missing, the finding cannot be read;
- readable despite exchanged electrodes: "any", "chest" (if only those are exchanged), "any if present", or empty;
- hidden by: "paced" (or complete block), "LBBB or WPW", "LBBB or WPW if absent", "AF if absent" (or flutter);
- classes: general findings that are present whenever this one is;
- beside normal ecg: whether the ECG can still be normal: "never", "unclear"; "never, unclear if undetermined";
- in reports: "first", "implied" (by more specific findings, so usually omitted), "acute" (never said of the past).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One finding's row; see the module docstring."""

    leads: tuple[str, ...]
    readable: str
    hidden_by: tuple[str, ...]
    classes: tuple[str, ...]
    normal: str
    report: str


def _rows() -> dict[str, Row]:
    def several(cell: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in cell.split(";") if part.strip())

    with Path(__file__).with_name("findings.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["finding"]: Row(
                leads=tuple(row["leads needed"].split()),
                readable=row["readable despite exchanged electrodes"],
                hidden_by=several(row["hidden by"]),
                classes=several(row["classes"]),
                normal=row["beside normal ecg"],
                report=row["in reports"],
            )
            for row in csv.DictReader(file)
        }


#: Every finding that the simulator produces, by name.
TABLE = _rows()


def members(name: str) -> tuple[str, ...]:
    """Return the findings of a class."""
    return tuple(one for one, row in TABLE.items() if name in row.classes)


def hidden_by(cover: str) -> tuple[str, ...]:
    """Return the findings that a given condition hides."""
    return tuple(name for name, row in TABLE.items() if cover in row.hidden_by)
