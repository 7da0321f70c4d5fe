"""What the sources share: the table of records, the names of findings, splits by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dbeta.conditions.registry import find_condition
from dbeta.errors import DBetaError

#: With so many records, 2.5 % are enough for validation and for test; with fewer, 10 % are.
MANY_RECORDS = 100_000

#: What a record has where its source does not say.
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
    """A dataset's records, before any signal is read.

    Attributes:
        table: a row for each record: `record_id` and `file` (relative to `folder`; "part.hdf5#exam_id" inside an HDF5
            file), `report` (cleaned), `findings`, `unknown`, `statements`, `patient_id`, `split`, `age` (years),
            `sex` and `device` as in `dbeta.corpus.store`; where the file carries them, also `sampling_rate` (Hz) and
            `leads` (names) for files that do not.
        vocabulary: every finding that the source decides for at least some records, sorted.
        folder: what `file` is relative to.
        split_rule: how the splits came about, in words.
        notes: what users of the corpus should know, in sentences.
    """

    table: pd.DataFrame
    vocabulary: list[str]
    folder: Path
    split_rule: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill in what the source does not say; check that no record is named twice and no patient is divided.

        Raises:
            DBetaError: there are no records, two have the same name, or a patient is in two splits.
        """
        if self.table.empty:
            raise DBetaError(f"{self.folder}: holds no records; name the dataset as downloaded")
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
    """The name under which all corpora have a finding.

    The lower-case name of the condition of `conditions.yaml` that the phrase is a name or synonym of, otherwise the
    phrase itself, lower case.
    """
    condition = find_condition(phrase)
    return " ".join((phrase if condition is None else condition.name).lower().split())


def all_findings(findings: Iterable[Iterable[str]]) -> list[str]:
    """Every finding that occurs, sorted."""
    return sorted({one for row in findings for one in row})


def hashed_splits(patients: pd.Series) -> tuple[list[str], str]:
    """Splits that follow from the patients' ids alone, so that they are the same everywhere and always.

    The first 8 bytes of the id's SHA-256 are a number from 0 to 1: the lowest 10 % are test, the highest 10 %
    validation; 2.5 % each where there are at least `MANY_RECORDS` records.

    Args:
        patients: a patient's id for each record.

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
    """What `ecgbench` makes of a dataset's labels.

    Raises:
        DBetaError: it cannot be read as that dataset.
    """
    from ecgbench.labels import load_labels

    return reading(raw, lambda: load_labels(slug, raw))


def reading(path: Path, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table, or one sentence that names the path and says why it cannot be had.

    Raises:
        DBetaError: `read` failed, whatever with: damaged tables end in exceptions of every kind.
    """
    try:
        return read()
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise DBetaError(f"{path}: cannot be used ({reason}); get the dataset's tables again") from error


def read_columns(file: Path, columns: list[str], optional: list[str] | None = None) -> pd.DataFrame:
    """Columns of a CSV file as text, "" where empty; the optional ones only where the file has them.

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
