"""A benchmark: which records, which labels, which split, and how its recordings are read."""

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

#: What is known of a record besides its recording and labels.
RECORD_COLUMNS = ("record_id", "patient_id", "split", "age", "sex", "device", "report")
#: What the columns of further subgroups begin with.
GROUP = "group:"


@dataclass
class Benchmark:
    """Records with labels.

    Attributes:
        name: of the benchmark.
        protocol: which records, labels and split, in words.
        records: a row for each record: `RECORD_COLUMNS`, and what `reader` needs of it (`file`, …).
        labels: (records, classes) int8 of 1, 0 and −1 where nobody decided.
        conditions: a class's label → the condition that stands for it.
        reader: a row of `records` and seconds → the recording; can be pickled.
        missing: records that the dataset lists but whose files are not there.
        notes: what readers of the result should know, in sentences.
        subsets: name of a published training subset → its record ids.
        weights: the challenge's table of rewards, classes × classes, where the dataset has one.
        readers: name of a human reader or other model → its (records, classes) of 0 and 1, where the dataset has them.
        dataset: that the records are of, as `DBetaConfig.trained_on` has it.
        sources: kinds of corpus that hold these recordings (`DBetaConfig.trained_on`); a model that was pretrained on
            one of them is at home here.
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
        """Check that labels fit the records, and that no patient is divided.

        Raises:
            DBetaError: a patient is in two splits, or a record is listed twice.
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
                f"{self.name}: patient {divided.iloc[0]} is in {where}, and so are {divided.nunique() - 1} others in "
                "more than one split; put all records of a patient into one"
            )

    def __len__(self) -> int:
        """Records of all splits."""
        return len(self.records)

    @property
    def classes(self) -> list[str]:
        """The labels' names."""
        return list(self.conditions)

    @cached_property
    def patients(self) -> np.ndarray:
        """A patient's id for each record."""
        return self.records["patient_id"].to_numpy(str)

    def rows(self, *splits: str) -> np.ndarray:
        """Numbers of the records of these splits."""
        return np.flatnonzero(self.records["split"].isin(splits))

    def take(self, rows: np.ndarray | Sequence[int]) -> Benchmark:
        """The benchmark with some of its records."""
        rows = np.asarray(rows, dtype=int)
        return replace(
            self,
            records=self.records.iloc[rows],
            labels=self.labels[rows],
            readers={name: table[rows] for name, table in self.readers.items()},
        )


def label_matrix(stated: Iterable[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """(records, classes) int8 of 1 where a record states a class, else 0."""
    column = {name: i for i, name in enumerate(classes)}
    stated = list(stated)
    labels = np.zeros((len(stated), len(classes)), np.int8)
    for row, names in zip(labels, stated, strict=True):
        for name in names:
            if name in column:
                row[column[name]] = 1
    return labels


def with_labels(table: pd.DataFrame, labels: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """The records that have at least one of the labels, as the published benchmarks take them."""
    keep = (labels == 1).any(axis=1)
    return table[keep], labels[keep]


def keep_present(table: pd.DataFrame, folder: Path, subset_ok: bool) -> np.ndarray:
    """Which records have their files: (records,) bool.

    Raises:
        DBetaError: some have not, and that is not allowed; or none has.
    """
    there = np.array([bool(name) and _exists(folder, name) for name in table["file"]], bool)
    if there.all():
        return there
    absent = table[~there].iloc[0]
    name = absent["file"] or absent["record_id"]
    if not there.any():
        raise DBetaError(f"{folder}: holds not one of the {len(table):,} records, such as {name}; get the recordings")
    if not subset_ok:
        raise DBetaError(
            f"{folder}: {(~there).sum():,} of {len(table):,} records are not there, such as {name}; get them, or add "
            "--subset-ok to evaluate on the others"
        )
    return there


def _exists(folder: Path, name: str) -> bool:
    path = folder / name.split("#")[0]
    # WFDB records are named without a suffix or by their header
    return path.is_file() or path.with_name(path.name + ".hea").is_file()


def add_groups(benchmark: Benchmark, file: Path) -> Benchmark:
    """The benchmark with further subgroups to report.

    Args:
        benchmark: any.
        file: CSV of a column `record_id` (or the first one) and a column for each kind of subgroup.

    Raises:
        DBetaError: the file cannot be read, has no kinds, or names none of the benchmark's records.
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
        raise DBetaError(f"{file}: has one column only; add a column for each kind of subgroup")
    if taken := [kind for kind in kinds if kind in ("age", "sex", "device")]:
        raise DBetaError(f"{file}: column {taken[0]} is a subgroup that every report has; call it something else")
    twice = table[key][table[key].duplicated()]
    if not twice.empty:
        raise DBetaError(f"{file}: lists record {twice.iloc[0]} twice; list each record once")
    known = table.set_index(key)
    if not benchmark.records["record_id"].isin(known.index).any():
        raise DBetaError(f"{file}: its column {key} names none of the records of {benchmark.name}")
    records = benchmark.records.copy()
    for kind in kinds:
        records[f"{GROUP}{kind}"] = records["record_id"].map(known[kind]).fillna("").to_numpy()
    return replace(benchmark, records=records)


def assign_test_split(source: Source) -> tuple[pd.DataFrame, list[str]]:
    """A source's records; where it has no test split, validation stands in, and a part of training for validation."""
    table = source.table.copy()
    if (table["split"] == "test").any():
        return table, []
    if not (table["split"] == "validation").any():
        table["split"], rule = hashed_splits(table["patient_id"].astype(str))
        return table, [f"The source divides nothing: split {rule}."]
    table["split"] = table["split"].replace({"validation": "test"})
    train = table["split"] == "train"
    halves, _ = hashed_splits(table.loc[train, "patient_id"].astype(str))
    table.loc[train, "split"] = ["validation" if half == "validation" else "train" for half in halves]
    return table, [
        "The test split is not here: the validation split stands in its place. These figures may not be compared with "
        "published ones."
    ]
