"""A benchmark: records, labels and splits, and how its recordings are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dbeta.conditions.registry import Condition
from dbeta.corpus.sources.base import Source, hashed_splits
from dbeta.errors import DBetaError

#: Columns of `Benchmark.records` that every benchmark has.
RECORD_COLUMNS = ("record_id", "patient_id", "split", "age", "sex", "device", "report")
#: Prefix of columns with further subgroups.
GROUP = "group:"


@dataclass
class Benchmark:
    """Records with labels.

    Attributes:
        name: name of the benchmark.
        protocol: description of records, labels and split.
        records: one row per record: `RECORD_COLUMNS`, and columns for `reader` (`file`, …).
        labels: (records, classes) int8 of 1, 0 and −1 for undecided.
        conditions: label of a class → its condition.
        reader: function of a row of `records` and seconds to the recording; can be pickled.
        missing: number of records that the dataset lists but whose files are missing.
        notes: sentences for readers of the report.
        subsets: name of a published training subset → its record ids.
        weights: (classes, classes) rewards of the challenge score, if the dataset has them.
        readers: name of a human reader or other model → (records, classes) of 0 and 1, if the dataset has them.
        dataset: the records' dataset, as in `DBetaConfig.trained_on`.
        sources: datasets that include these recordings, as in `DBetaConfig.trained_on`; a model that was pretrained on
            one of them is in-domain.
    """

    name: str
    protocol: str
    records: pd.DataFrame
    labels: np.ndarray
    conditions: dict[str, Condition]
    reader: Any
    missing: int = 0
    notes: list[str] = field(default_factory=list)
    subsets: dict[str, frozenset[str]] = field(default_factory=dict)
    weights: np.ndarray | None = None
    readers: dict[str, np.ndarray] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()
    dataset: str = ""

    def __post_init__(self) -> None:
        """Check the shape of the labels, that record ids are unique, and that each patient is in one split.

        Raises:
            DBetaError: a patient is in two splits, or a record is listed twice.
            ValueError: the labels have another shape.
        """
        self.records = self.records.reset_index(drop=True)
        if self.labels.shape != (len(self.records), len(self.conditions)):
            raise ValueError(f"labels {self.labels.shape}: {len(self.records)} records, {len(self.conditions)} classes")
        twice = self.records["record_id"][self.records["record_id"].duplicated()]
        if not twice.empty:
            raise DBetaError(f"{self.name}: lists record {twice.iloc[0]} twice; list each record once")
        splits = self.records.drop_duplicates(["patient_id", "split"])
        divided = splits["patient_id"][splits["patient_id"].duplicated()]
        if not divided.empty:
            where = " and ".join(splits["split"][splits["patient_id"] == divided.iloc[0]])
            raise DBetaError(
                f"{self.name}: patient {divided.iloc[0]} is in {where}, and {divided.nunique() - 1} others are in more "
                "than one split; put all records of a patient into one"
            )

    def __len__(self) -> int:
        """Count the records of all splits."""
        return len(self.records)

    @property
    def classes(self) -> list[str]:
        """The labels' names."""
        return list(self.conditions)

    @cached_property
    def patients(self) -> np.ndarray:
        """The patient id of each record."""
        return self.records["patient_id"].to_numpy(str)

    def rows(self, *splits: str) -> np.ndarray:
        """Return the row numbers of the records of these splits."""
        return np.flatnonzero(self.records["split"].isin(splits))

    def take(self, rows: np.ndarray | Sequence[int]) -> Benchmark:
        """Select records by row number."""
        rows = np.asarray(rows, dtype=int)
        return replace(
            self,
            records=self.records.iloc[rows],
            labels=self.labels[rows],
            readers={name: table[rows] for name, table in self.readers.items()},
        )


def label_matrix(stated: Iterable[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """Make labels from the classes that each record states: (records, classes) int8 of 1 and 0."""
    column = {name: i for i, name in enumerate(classes)}
    stated = list(stated)
    labels = np.zeros((len(stated), len(classes)), np.int8)
    for row, names in zip(labels, stated, strict=True):
        for name in names:
            if name in column:
                row[column[name]] = 1
    return labels


def with_labels(table: pd.DataFrame, labels: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Select the records with at least one of the labels, as the published benchmarks do."""
    keep = (labels == 1).any(axis=1)
    return table[keep], labels[keep]


def keep_present(table: pd.DataFrame, folder: Path, subset_ok: bool) -> np.ndarray:
    """Find the records whose files exist: (records,) bool.

    Raises:
        DBetaError: files are missing without `subset_ok`, or all are missing.
    """
    there = np.array([bool(name) and _exists(folder, name) for name in table["file"]], bool)
    if there.all():
        return there
    absent = table[~there].iloc[0]
    name = absent["file"] or absent["record_id"]
    if not there.any():
        raise DBetaError(f"{folder}: all {len(table):,} records are missing, such as {name}; get the recordings")
    if not subset_ok:
        raise DBetaError(
            f"{folder}: {(~there).sum():,} of {len(table):,} records are missing, such as {name}; get them, or add "
            "--subset-ok to evaluate on the others"
        )
    return there


def _exists(folder: Path, name: str) -> bool:
    path = folder / name.split("#")[0]
    # WFDB records are named without a suffix, or by their header
    return path.is_file() or path.with_name(path.name + ".hea").is_file()


def add_groups(benchmark: Benchmark, file: Path) -> Benchmark:
    """Add subgroups to report.

    Args:
        benchmark: any benchmark.
        file: CSV with a column `record_id` (otherwise the first one) and a column for each kind of subgroup.

    Raises:
        DBetaError: the file cannot be read, has no kinds, or has none of the benchmark's records.
    """
    if not file.is_file():
        raise DBetaError(f"{file}: no such file; name a CSV of record_id and a column for each kind of subgroup")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, OSError, UnicodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DBetaError(
            f"{file}: cannot be read as CSV ({reason}); write record_id and a column for each kind"
        ) from None
    key = "record_id" if "record_id" in table else str(table.columns[0])
    kinds = [str(name) for name in table.columns if name != key]
    if not kinds:
        raise DBetaError(f"{file}: has only one column; add a column for each kind of subgroup")
    if taken := [kind for kind in kinds if kind in ("age", "sex", "device")]:
        raise DBetaError(f"{file}: column {taken[0]} is already a subgroup of every report; rename it")
    twice = table[key][table[key].duplicated()]
    if not twice.empty:
        raise DBetaError(f"{file}: lists record {twice.iloc[0]} twice; list each record once")
    known = table.set_index(key)
    if not benchmark.records["record_id"].isin(known.index).any():
        raise DBetaError(f"{file}: column {key} has none of the records of {benchmark.name}")
    records = benchmark.records.copy()
    for kind in kinds:
        records[f"{GROUP}{kind}"] = records["record_id"].map(known[kind]).fillna("").to_numpy()
    return replace(benchmark, records=records)


def assign_test_split(source: Source) -> tuple[pd.DataFrame, list[str]]:
    """Make sure that there is a test split.

    If a source has none, its validation split becomes the test split, and part of training becomes validation.

    Returns:
        The source's records, and notes on the change.
    """
    table = source.table.copy()
    if (table["split"] == "test").any():
        return table, []
    if not (table["split"] == "validation").any():
        table["split"], rule = hashed_splits(table["patient_id"].astype(str))
        return table, [f"The source has no splits: split {rule}."]
    table["split"] = table["split"].replace({"validation": "test"})
    train = table["split"] == "train"
    halves, _ = hashed_splits(table.loc[train, "patient_id"].astype(str))
    table.loc[train, "split"] = ["validation" if half == "validation" else "train" for half in halves]
    return table, [
        "The test split is missing, so the validation split is used instead. These figures may not be compared with "
        "published ones."
    ]
