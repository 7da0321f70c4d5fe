"""Shared code of the sources: table of records, names of findings, splits by patient, reading of tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dbeta.conditions.registry import find_condition
from dbeta.errors import DBetaError

#: From this many records on, validation and test are 2.5 % each instead of 10 %.
MANY_RECORDS = 100_000

#: Values of columns that a source lacks.
DEFAULTS: dict[str, Any] = {
    "report": "",
    "findings": (),
    "unknown": (),
    "statements": (),
    "age": float("nan"),
    "sex": "unknown",
    "device": "",
}


@dataclass
class Source:
    """The records of a dataset, before any signal is read.

    Attributes:
        table: one row per record: `record_id` and `file` (relative to `folder`; "part.hdf5#exam_id" inside an HDF5
            file), `report` (cleaned), `findings`, `unknown`, `statements`, `patient_id`, `split`, `age` (years),
            `sex` and `device` as in `dbeta.corpus.store`; optionally `sampling_rate` (Hz), `leads` (names) and
            `units`, for files that do not carry them.
        vocabulary: every finding that the source decides for at least some records, sorted.
        folder: base of the relative paths in `file`.
        split_rule: how the splits were made, in words.
        notes: sentences for users of the corpus.
    """

    table: pd.DataFrame
    vocabulary: list[str]
    folder: Path
    split_rule: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill in missing columns; check that record ids are unique and each patient is in one split.

        Raises:
            DBetaError: there are no records, two have the same id, or a patient is in two splits.
        """
        if self.table.empty:
            raise DBetaError(f"{self.folder}: no records found; name the dataset as downloaded")
        self.table = self.table.copy()
        for name, value in DEFAULTS.items():
            if name not in self.table:
                self.table[name] = [value] * len(self.table)
        twice = self.table["record_id"][self.table["record_id"].duplicated()]
        if not twice.empty:
            raise DBetaError(f"{self.folder}: lists record {twice.iloc[0]} twice; list each record once")
        divided = self.table.drop_duplicates(["patient_id", "split"])["patient_id"]
        divided = divided[divided.duplicated()]
        if not divided.empty:
            raise DBetaError(
                f"{self.folder}: patient {divided.iloc[0]} is in two splits; put all records of a patient in one"
            )


def finding_name(phrase: str) -> str:
    """Normalise the name of a finding, so that it is the same in all corpora.

    Returns:
        The lower-case name of the condition in `conditions.yaml` that has the phrase as name or synonym; otherwise
        the phrase in lower case.
    """
    condition = find_condition(phrase)
    return " ".join((phrase if condition is None else condition.name).lower().split())


def all_findings(findings: Iterable[Iterable[str]]) -> list[str]:
    """List every finding that occurs, sorted."""
    return sorted({one for row in findings for one in row})


def hashed_splits(patients: pd.Series) -> tuple[list[str], str]:
    """Split by a hash of the patient id, which is reproducible and independent of the other patients.

    The first 8 bytes of the id's SHA-256 are read as a number from 0 to 1: the lowest 10 % are test, the highest 10 %
    validation; 2.5 % each from `MANY_RECORDS` records on.

    Args:
        patients: the patient id of each record.

    Returns:
        The split of each record, and the rule in words.
    """
    share = 0.025 if len(patients) >= MANY_RECORDS else 0.1

    def split(patient: str) -> str:
        place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") / 2**64
        return "test" if place < share else "validation" if place >= 1 - share else "train"

    of = {patient: split(patient) for patient in patients.unique()}
    rule = (
        f"by patient: a hash (SHA-256) of the patient's id puts {1 - 2 * share:.0%} of the patients into train and "
        f"{share:.1%} each into validation and test"
    )
    return [of[patient] for patient in patients], rule


def ecgbench_labels(slug: str, raw: Path) -> pd.DataFrame:
    """Read a dataset's labels with `ecgbench`.

    Raises:
        DBetaError: the folder is not that dataset.
    """
    from ecgbench.labels import load_labels

    return reading(raw, lambda: load_labels(slug, raw))


def reading(path: Path, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Call `read` to read a table, and turn any exception into a one-line error that names the path.

    Raises:
        DBetaError: `read` raised anything; damaged tables can raise exceptions of any kind.
    """
    try:
        return read()
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise DBetaError(f"{path}: cannot be used ({reason}); get the dataset's tables again") from error


def read_columns(file: Path, columns: list[str], optional: list[str] | None = None) -> pd.DataFrame:
    """Read columns of a CSV file as text, "" for empty cells; optional columns are left out if the file lacks them.

    Raises:
        DBetaError: the file is missing, cannot be read, or lacks a column.
    """
    if not file.is_file():
        raise DBetaError(f"{file.parent}: {file.name} is missing; name the folder of the dataset as downloaded")
    wanted = {*columns, *(optional or [])}
    table = reading(file, lambda: pd.read_csv(file, dtype=str, keep_default_na=False, usecols=lambda n: n in wanted))
    if missing := [name for name in columns if name not in table]:
        raise DBetaError(f"{file}: lacks column {', '.join(missing)}; get the file again")
    return table
