"""CODE-test (Ribeiro et al. 2020) and CODE-15 % (Ribeiro et al. 2021): six abnormalities; sex and age."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dbeta.conditions.registry import condition_of_label, plain_condition
from dbeta.corpus.sources.base import hashed_splits, read_columns, reading
from dbeta.corpus.sources.code_15 import FINDINGS, exam_places, read_code_15
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, label_matrix
from dbeta.evaluation.benchmarks.readers import FileReader

ABNORMALITIES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
#: Size of CODE-test.
RECORDS = 827
TRACINGS = "ecg_tracings.hdf5"
GOLD = "gold_standard"
#: Annotation file → its reader.
READERS = {
    "dnn": "the published neural network, thresholded",
    "cardiologist1": "cardiologist 1 (the gold standard rests on it)",
    "cardiologist2": "cardiologist 2 (the gold standard rests on it)",
    "cardiology_residents": "cardiology residents",
    "emergency_residents": "emergency residents",
    "medical_students": "medical students",
}


def load_code_test(raw: Path) -> Benchmark:
    """Load CODE-test: 827 records of different patients, all in the test split.

    Args:
        raw: the folder `data` of the release, with `ecg_tracings.hdf5` and `annotations`.

    Raises:
        DBetaError: the folder is not CODE-test.
    """
    if not (raw / TRACINGS).is_file():
        raise DBetaError(f"{raw}: {TRACINGS} is missing; name the folder `data` of CODE-test as downloaded")
    readers = read_annotations(raw)
    attributes = _table(raw / "attributes.csv")
    ids = [str(i) for i in range(RECORDS)]
    records = pd.DataFrame(
        {
            "record_id": ids,
            "patient_id": ids,
            "file": [f"{TRACINGS}#{i}" for i in ids],
            "split": "test",
            "age": pd.to_numeric(attributes["age"], errors="coerce").to_numpy(float),
            "sex": attributes["sex"].map({"M": "male", "F": "female"}).fillna("unknown").to_numpy(),
            "device": "",
            "report": "",
        }
    )
    return Benchmark(
        name="code-test",
        protocol="CODE-test, six abnormalities by the gold standard of its cardiologists; all records are test",
        records=records,
        labels=readers.pop(GOLD),
        conditions={label: condition_of_label("code", label) for label in ABNORMALITIES},
        reader=FileReader(raw),
        readers={READERS[name]: table for name, table in readers.items()},
    )


def read_annotations(raw: Path) -> dict[str, np.ndarray]:
    """Read the gold standard and the other readers' annotations, where present: reader → (827, 6) int8.

    Raises:
        DBetaError: the gold standard is missing, or a file does not have one row for each record.
    """
    folder = raw / "annotations" if (raw / "annotations").is_dir() else raw
    found = {}
    for name in (GOLD, *READERS):
        if name != GOLD and not (folder / f"{name}.csv").is_file():
            continue
        table = _table(folder / f"{name}.csv")
        if missing := [label for label in ABNORMALITIES if label not in table]:
            raise DBetaError(f"{folder / name}.csv: lacks column {missing[0]}; get the file again")
        found[name] = table[list(ABNORMALITIES)].to_numpy(np.int8)
    return found


def _table(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise DBetaError(f"{file.parent}: {file.name} is missing; name the folder `data` of CODE-test as downloaded")
    table = reading(file, lambda: pd.read_csv(file))
    if len(table) != RECORDS:  # rows are matched to tracings by position
        raise DBetaError(f"{file}: has {len(table)} rows, not {RECORDS}; get the file again")
    return table


def load_code_15(raw: Path) -> Benchmark:
    """Load CODE-15 %, six abnormalities and "normal", with the splits of `dbeta corpus build code-15`.

    Raises:
        DBetaError: `raw` is not CODE-15 %, or has no labels.
    """
    if (raw / "exams.csv").is_file():
        header = (raw / "exams.csv").open(encoding="utf-8", errors="replace").readline()
        if "1dAVb" not in header:
            raise DBetaError(
                f"{raw / 'exams.csv'}: has no labels; get the whole table, or evaluate "
                "code-15-demographics, which needs none"
            )
    source = read_code_15(raw)
    table = source.table.rename(columns={"statements": "stated"})
    classes = list(FINDINGS)
    return Benchmark(
        name="code-15",
        protocol=f"CODE-15 %, six abnormalities and a normal ECG; split {source.split_rule}",
        records=table.drop(columns="stated"),
        labels=label_matrix(table["stated"], classes),
        conditions={label: condition_of_label("code", label) for label in classes},
        reader=FileReader(raw),
        notes=[note for note in source.notes if "report" not in note],
    )


#: Lowest age in years of the second demographic class.
OLD = 60


def load_code_15_demographics(raw: Path) -> Benchmark:
    """Load sex and age of CODE-15 %'s patients, which are also in extracts without labels.

    This measures how much an encoder encodes sex and age, which can act as shortcuts in other tasks.

    Args:
        raw: the folder with `exams.csv` and at least one `exams_part….hdf5`.

    Raises:
        DBetaError: the folder is not CODE-15 %.
    """
    exams = read_columns(raw / "exams.csv", ["exam_id", "age"], ["sex", "is_male", "patient_id"])
    parts = sorted(raw.glob("exams_part*.hdf5"))
    if not parts:
        raise DBetaError(f"{raw}: has no exams_part….hdf5; unpack them beside exams.csv")
    file = {str(exam): f"{part.name}#{exam}" for part in parts for exam in exam_places(part).index}
    exams = exams[exams["exam_id"].isin(file.keys())].reset_index(drop=True)
    if exams.empty:
        raise DBetaError(f"{raw}: the HDF5 files have none of the exams in exams.csv")
    sex = exams["sex"].str.lower().str[:1] if "sex" in exams else exams["is_male"].str.lower().map(_SEX_OF_FLAG)
    age = pd.to_numeric(exams["age"], errors="coerce")
    patients = exams["patient_id"] if "patient_id" in exams else exams["exam_id"]
    splits, rule = hashed_splits(patients)
    labels = np.stack([sex.map({"f": 1, "m": 0}).fillna(-1), np.where(age.isna(), -1, age >= OLD)], axis=1)
    return Benchmark(
        name="code-15-demographics",
        protocol=f"CODE-15 %, sex and age (at least {OLD} years); split {rule}",
        records=pd.DataFrame(
            {
                "record_id": exams["exam_id"],
                "patient_id": patients,
                "file": exams["exam_id"].map(file),
                "split": splits,
                # The labels must not be available to the baselines
                "age": float("nan"),
                "sex": "unknown",
                "device": "",
                "report": "",
            }
        ),
        labels=labels.astype(np.int8),
        conditions=dict(zip(("female", f"age {OLD} or over"), _DEMOGRAPHICS, strict=True)),
        reader=FileReader(raw),
        notes=[] if "patient_id" in exams else ["exams.csv has no patient ids: each exam counts as its own patient."],
    )


_SEX_OF_FLAG = {"true": "m", "1": "m", "1.0": "m", "false": "f", "0": "f", "0.0": "f"}
_DEMOGRAPHICS = (
    plain_condition("female patient", "ECG of a woman", against="ECG of a man"),
    plain_condition("elderly patient", f"ECG of a patient of {OLD} years or more", against="ECG of a young adult"),
)
