"""Benchmarks: which records, which labels, which prompts, which split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dbeta.corpus.sources.ptb_xl import TEST_FOLD, VALIDATION_FOLD, read_ptb_xl_table
from dbeta.errors import DBetaError
from dbeta.evaluation.conditions import Condition, super_class_conditions


@dataclass
class Benchmark:
    """Records with labels.

    Attributes:
        name: of the benchmark.
        protocol: which records and labels, in words.
        files: a recording for each record.
        labels: (records, classes) of 0 and 1.
        conditions: a class's label → the condition that stands for it.
        patients: a patient's id for each record.
    """

    name: str
    protocol: str
    files: list[Path]
    labels: np.ndarray
    conditions: dict[str, Condition]
    patients: list[str]

    def without(self, rows: set[int]) -> Benchmark:
        """The benchmark without some of its records."""
        keep = [i for i in range(len(self.files)) if i not in rows]
        return Benchmark(
            self.name,
            self.protocol,
            [self.files[i] for i in keep],
            self.labels[keep],
            self.conditions,
            [self.patients[i] for i in keep],
        )


def load_ptb_xl_super(raw: Path, fold: int | None = None) -> Benchmark:
    """PTB-XL's five diagnostic super-classes; records without a diagnostic statement are left out (as published).

    Args:
        raw: PTB-XL's folder as downloaded.
        fold: official fold; by default the test fold, or the validation fold where `raw` does not hold the test fold.

    Raises:
        DBetaError: `raw` is not PTB-XL's folder, or holds no labelled record of the fold.
    """
    table = read_ptb_xl_table(raw)
    if fold is None:
        fold = TEST_FOLD if (table["strat_fold"] == TEST_FOLD).any() else VALIDATION_FOLD
    table = table[(table["strat_fold"] == fold) & (table["superclasses"].map(len) > 0)]
    if table.empty:
        raise DBetaError(f"{raw}: holds no labelled record of fold {fold}")
    conditions = super_class_conditions()
    role = {TEST_FOLD: "test", VALIDATION_FOLD: "validation"}.get(fold, "training")
    return Benchmark(
        name="ptb-xl-super",
        protocol=f"PTB-XL super-classes, official fold {fold} ({role}), statements of any likelihood",
        files=[raw / name for name in table["filename_hr"]],
        labels=np.array([[int(label in classes) for label in conditions] for classes in table["superclasses"]]),
        conditions=conditions,
        patients=[str(patient) for patient in table["patient_id"]],
    )


BENCHMARKS = {"ptb-xl-super": load_ptb_xl_super}


def load_benchmark(name: str, raw: Path, fold: int | None = None) -> Benchmark:
    """A benchmark by its name.

    Raises:
        DBetaError: the name is unknown, or `raw` does not hold the dataset.
    """
    if name not in BENCHMARKS:
        raise DBetaError(f"{name}: no such benchmark; choose one of {', '.join(BENCHMARKS)}")
    if not raw.is_dir():
        raise DBetaError(f"{raw}: no such folder; name the folder of the dataset as downloaded")
    return BENCHMARKS[name](raw, fold)
