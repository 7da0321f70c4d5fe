"""PTB-XL's tasks (Wagner et al. 2020; Strodthoff et al. 2021): super- and sub-classes, form, rhythm, all statements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dbeta.conditions.registry import SUPER_CLASSES, Condition, condition_of_label
from dbeta.corpus.sources.ptb_xl import (
    TEST_FOLD,
    VALIDATION_FOLD,
    low_rate_note,
    read_ptb_xl,
    read_ptb_xl_table,
)
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, keep_present, label_matrix, with_labels
from dbeta.evaluation.benchmarks.readers import FileReader

#: Diagnostic sub-class (as MERL writes it, without underscores at its ends) → its super-class and statements, from
#: `scp_statements.csv` of PTB-XL 1.0.3.
SUB_CLASSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "NORM": ("NORM", ("NORM",)),
    "AMI": ("MI", ("AMI", "ASMI", "ALMI", "INJAS", "INJAL", "INJLA")),
    "IMI": ("MI", ("IMI", "ILMI", "IPMI", "IPLMI", "INJIN", "INJIL")),
    "LMI": ("MI", ("LMI",)),
    "PMI": ("MI", ("PMI",)),
    "STTC": ("STTC", ("NDT", "DIG", "LNGQT", "ANEUR", "EL")),
    "NST": ("STTC", ("NST_",)),
    "ISC": ("STTC", ("ISC_",)),
    "ISCA": ("STTC", ("ISCAL", "ISCAS", "ISCLA", "ISCAN")),
    "ISCI": ("STTC", ("ISCIN", "ISCIL")),
    "LAFB/LPFB": ("CD", ("LAFB", "LPFB")),
    "IRBBB": ("CD", ("IRBBB",)),
    "CRBBB": ("CD", ("CRBBB",)),
    "CLBBB": ("CD", ("CLBBB",)),
    "ILBBB": ("CD", ("ILBBB",)),
    "IVCD": ("CD", ("IVCD",)),
    "AVB": ("CD", ("1AVB", "2AVB", "3AVB")),
    "WPW": ("CD", ("WPW",)),
    "LVH": ("HYP", ("LVH",)),
    "RVH": ("HYP", ("RVH",)),
    "LAO/LAE": ("HYP", ("LAO/LAE",)),
    "RAO/RAE": ("HYP", ("RAO/RAE",)),
    "SEHYP": ("HYP", ("SEHYP",)),
}
FORM = (
    "ABQRS",
    "DIG",
    "HVOLT",
    "INVT",
    "LNGQT",
    "LOWT",
    "LPR",
    "LVOLT",
    "NDT",
    "NST_",
    "NT_",
    "PAC",
    "PRC(S)",
    "PVC",
    "QWAVE",
    "STD_",
    "STE_",
    "TAB_",
    "VCLVH",
)
RHYTHM = ("AFIB", "AFLT", "BIGU", "PACE", "PSVT", "SARRH", "SBRAD", "SR", "STACH", "SVARR", "SVTAC", "TRIGU")
#: Size of the whole dataset.
RECORDS = 21_799

_SUB_CLASS_OF = {code: name for name, (_, codes) in SUB_CLASSES.items() for code in codes}

#: Task → statement → label; labels are in the order of the task's classes.
TASKS: dict[str, dict[str, str]] = {
    "super": dict(
        sorted(
            ((code, SUB_CLASSES[name][0]) for code, name in _SUB_CLASS_OF.items()),
            key=lambda one: SUPER_CLASSES.index(one[1]),
        )
    ),
    "sub": _SUB_CLASS_OF,
    "form": {code: code.strip("_") for code in FORM},
    "rhythm": {code: code for code in RHYTHM},
    "all": {code: code for code in dict.fromkeys((*_SUB_CLASS_OF, *FORM, *RHYTHM))},
}


def load_ptb_xl(raw: Path, task: str, fold: int | None = None, *, subset_ok: bool = False) -> Benchmark:
    """Load a task of PTB-XL with its official folds.

    As published, statements count whatever their likelihood, and records without any label of the task are left out,
    except in "all".

    Args:
        raw: PTB-XL's folder as downloaded.
        task: one of `TASKS`.
        fold: official fold to test on; by default 10, or 9 where `raw` lists no record of fold 10. Validation is
            the fold before it (fold 9 for fold 1); the other folds are for training.
        subset_ok: accept missing files.

    Raises:
        DBetaError: `raw` is not PTB-XL's folder, lacks files, or has no labelled record of the fold.
    """
    table = read_ptb_xl(raw).table
    own = read_ptb_xl_table(raw)
    folds = own["strat_fold"].to_numpy()
    table["low_rate"] = own["low_rate"].to_numpy()
    chosen = fold
    if chosen is None:
        chosen = TEST_FOLD if (folds == TEST_FOLD).any() else VALIDATION_FOLD
    validation = chosen - 1 if chosen > 1 else VALIDATION_FOLD
    table["split"] = np.where(folds == chosen, "test", np.where(folds == validation, "validation", "train"))
    # The official test fold is never used for training
    table = table[(folds != TEST_FOLD) | (chosen == TEST_FOLD)]
    labels = ptb_xl_labels(table["statements"], task)
    if task != "all":
        table, labels = with_labels(table, labels)
    if not (table["split"] == "test").any():
        raise DBetaError(f"{raw}: has no labelled record of fold {chosen}; PTB-XL's folds are 1 to 10")
    there = keep_present(table, raw, subset_ok)
    role = {TEST_FOLD: "the official test fold", VALIDATION_FOLD: "the official validation fold"}
    notes = []
    if chosen != TEST_FOLD:
        notes.append(
            f"Tested on fold {chosen}, not PTB-XL's official test fold (10): these figures may not be compared with "
            "published ones."
            + (" `dbeta pretrain` selects checkpoints on fold 9, which favours them here." if chosen == 9 else "")
        )
    if low := int(table.pop("low_rate")[there].sum()):
        notes.append(low_rate_note(low))
    if len(folds) < RECORDS:
        notes.append(f"The folder lists {len(folds):,} of PTB-XL's {RECORDS:,} records.")
    return Benchmark(
        name=f"ptb-xl-{task}",
        protocol=f"PTB-XL {task}, tested on fold {chosen} ({role.get(chosen, 'a training fold')}), validated on fold "
        f"{validation}, trained on the other folds; statements of any likelihood count"
        + ("" if task == "all" else "; records without a label of the task are left out"),
        records=table[there],
        labels=labels[there],
        conditions=ptb_xl_conditions(task),
        reader=FileReader(raw),
        missing=int((~there).sum()),
        notes=notes,
    )


def ptb_xl_labels(statements: pd.Series, task: str) -> np.ndarray:
    """Make labels from the statements of each record: (records, classes) int8."""
    label = TASKS[task]
    stated = [[label[code] for code in codes if code in label] for codes in statements]
    return label_matrix(stated, list(dict.fromkeys(label.values())))


def ptb_xl_conditions(task: str) -> dict[str, Condition]:
    """Map a task's labels to conditions."""
    benchmark = {"super": "ptb-xl-super", "sub": "ptb-xl-sub"}.get(task, "ptb-xl")
    return {label: condition_of_label(benchmark, code) for code, label in _codes(task).items()}


def _codes(task: str) -> dict[str, str]:
    """Map names of labels in `conditions.yaml` to a task's labels."""
    if task in ("super", "sub"):
        return {label: label for label in TASKS[task].values()}
    return TASKS[task]
