"""The protocol of MERL (Liu et al. 2024), which the D-BETA paper follows, from MERL's own split files.

Its quirks are reproduced so that figures are comparable with published ones: classes, order and splits are the file's;
CSN's labels are made by substring, so that a record of atrial fibrillation ("AFIB") also counts as atrial flutter
("AF"); of CPSC2018 only the first 5 s are used, followed by zeros; training subsets are drawn with seed 42.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dbeta.conditions.registry import SUPER_CLASSES, condition_of_label
from dbeta.corpus.sources.base import Source, reading
from dbeta.corpus.sources.ptb_xl import OLDEST, read_ptb_xl
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, assign_test_split, keep_present, label_matrix
from dbeta.evaluation.benchmarks.ptb_xl import SUB_CLASSES, TASKS
from dbeta.evaluation.benchmarks.readers import FileReader

#: Benchmark → last column before the labels in its split file.
LAST_COLUMN = {
    "ptb-xl-super": "super_class",
    "ptb-xl-sub": "sub_class",
    "ptb-xl-form": "form",
    "ptb-xl-rhythm": "rhythm",
    "cpsc2018": "scp_codes",
    "csn": "diagnose",
}
#: MERL uses this many seconds of a CPSC2018 recording.
CPSC2018_SECONDS = 5.0
#: Training subset → share of the training records, drawn by scikit-learn with a fixed seed.
SUBSETS = {"1%": 0.01, "10%": 0.1}
SUBSET_SEED = 42


def load_merl(name: str, raw: Path, split_file: Path, *, subset_ok: bool = False) -> Benchmark:
    """Load a benchmark with MERL's splits and labels.

    Args:
        name: one of `LAST_COLUMN`.
        raw: the dataset's folder as downloaded.
        split_file: MERL's table of the benchmark, Parquet or CSV (then all three: "…_train.csv", "…_val.csv" and
            "…_test.csv" of the same folder).
        subset_ok: accept missing recordings.

    Raises:
        DBetaError: MERL has no such benchmark, the file is not MERL's, or recordings are missing.
    """
    if name not in LAST_COLUMN:
        raise DBetaError(f"{name}: is not one of MERL's benchmarks, {', '.join(LAST_COLUMN)}; leave out --protocol")
    table = read_split_file(split_file)
    if LAST_COLUMN[name] not in table or "split" not in table:
        raise DBetaError(f"{split_file}: lacks column {LAST_COLUMN[name]}; name MERL's file for {name}")
    classes = list(table.columns[list(table.columns).index(LAST_COLUMN[name]) + 1 :])
    try:
        conditions = {label: condition_of_label(*_meaning(name, label)) for label in classes}
    except DBetaError as error:
        raise DBetaError(f"{split_file}: {error}; name MERL's file for {name}") from None
    records = _ptb_xl_records(table, raw, split_file) if name.startswith("ptb-xl") else _named_records(name, table, raw)
    records["split"] = table["split"].replace({"val": "validation"}).to_numpy()
    subsets = training_subsets(records)
    there = keep_present(records, raw, subset_ok)
    present, stand_in = assign_test_split(Source(records[there], [], split_file, ""))
    quirks = {
        "csn": ", labels by substring",
        "cpsc2018": f", the first {CPSC2018_SECONDS:g} s of each recording followed by zeros",
    }
    notes = list(stand_in)
    if name == "csn":
        notes += substring_notes(table["diagnose"], classes)
    if not name.startswith("ptb-xl"):
        notes.append("The dataset has no patient ids: each record counts as its own patient.")
    return Benchmark(
        name=name,
        protocol=f"MERL's ({split_file.name}): its records, classes and splits{quirks.get(name, '')}",
        records=present,
        labels=table[classes].to_numpy(np.int8)[there],
        conditions=conditions,
        reader=FileReader(raw, CPSC2018_SECONDS if name == "cpsc2018" else None),
        missing=int((~there).sum()),
        notes=notes,
        subsets=subsets,
    )


def read_split_file(split_file: Path) -> pd.DataFrame:
    """Read MERL's table of all splits.

    Raises:
        DBetaError: it cannot be read.
    """
    if not split_file.is_file():
        raise DBetaError(f"{split_file}: no such file; name MERL's split file, Parquet or CSV")
    if split_file.suffix == ".parquet":
        return reading(split_file, lambda: pd.read_parquet(split_file))
    parts = []
    stem = split_file.stem.removesuffix("_train").removesuffix("_val").removesuffix("_test")
    for split in ("train", "val", "test"):
        file = split_file.with_name(f"{stem}_{split}.csv")
        if not file.is_file():
            raise DBetaError(f"{file}: no such file; put MERL's three CSV files into one folder")
        parts.append(_insert_split(_read_csv(file), split))
    return pd.concat(parts, ignore_index=True)


def _read_csv(file: Path) -> pd.DataFrame:
    return reading(file, lambda: pd.read_csv(file))


def _insert_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    unnamed = [name for name in table.columns if str(name).startswith("Unnamed")]
    table = table.drop(columns=unnamed).drop(columns="split", errors="ignore")
    table.insert(0, "split", split)
    return table


def training_subsets(records: pd.DataFrame) -> dict[str, frozenset[str]]:
    """Draw MERL's training subsets: 1 % and 10 % of all training records in the split file."""
    from sklearn.model_selection import train_test_split

    train = records["record_id"][records["split"] == "train"].to_numpy()
    return {
        name: frozenset(train_test_split(train, train_size=share, random_state=SUBSET_SEED)[0])
        for name, share in SUBSETS.items()
        if int(share * len(train)) > 0
    }


def substring_labels(diagnoses: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Make CSN's labels as MERL does: a class is positive where its acronym is a substring of the list of diagnoses.

    Args:
        diagnoses: comma-separated acronyms of each record, such as "SB,TWC".
        classes: acronyms.

    Returns:
        (records, classes) int8.
    """
    return np.array([[name in text for name in classes] for text in diagnoses], np.int8)


def substring_notes(diagnoses: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Count the wrong labels that substring matching gives CSN."""
    diagnoses = list(diagnoses)
    loose = substring_labels(diagnoses, classes).sum(axis=0)
    exact = label_matrix([text.split(",") for text in diagnoses], classes).sum(axis=0)
    wrong = [f"{name} {a:,} instead of {b:,}" for name, a, b in zip(classes, loose, exact, strict=True) if a != b]
    return [
        f"MERL's substring matching sets {loose.sum() - exact.sum():,} labels that records do not state: "
        f"{'; '.join(wrong)}."
    ]


def _meaning(name: str, label: str) -> tuple[str, str]:
    if name == "ptb-xl-super" and label in SUPER_CLASSES:
        return name, label
    if name == "ptb-xl-sub" and label in SUB_CLASSES:
        return name, label
    if name.startswith("ptb-xl"):
        codes = {written: code for code, written in TASKS[name.removeprefix("ptb-xl-")].items()}
        return "ptb-xl", codes.get(label, label)
    return name, label


def _ptb_xl_records(table: pd.DataFrame, raw: Path, split_file: Path) -> pd.DataFrame:
    """Make the records of MERL's PTB-XL table, with age, sex, device and report from PTB-XL."""
    for name in ("ecg_id", "patient_id"):
        if pd.to_numeric(table[name], errors="coerce").isna().any():
            raise DBetaError(f"{split_file}: column {name} has an empty cell; get MERL's file again")
    records = pd.DataFrame(
        {
            "record_id": table["ecg_id"].astype(int).astype(str),
            "patient_id": table["patient_id"].astype(float).astype(int).astype(str),
        }
    )
    own = read_ptb_xl(raw).table.set_index("record_id")[["file", "age", "sex", "device", "report"]]
    own = own.reindex(records["record_id"])
    records["file"] = own["file"].fillna(table["filename_hr"].set_axis(own.index)).to_numpy()
    records["age"] = own["age"].clip(upper=OLDEST + 1).to_numpy(float)
    for name, unknown in (("sex", "unknown"), ("device", ""), ("report", "")):
        records[name] = own[name].fillna(unknown).to_numpy()
    return records


def _named_records(name: str, table: pd.DataFrame, raw: Path) -> pd.DataFrame:
    """Make the records of MERL's CPSC2018 or CSN table; files are found by name anywhere in the folder."""
    stems = table["filename"] if name == "cpsc2018" else table["ecg_path"].map(lambda path: Path(path).stem)
    suffixes = {".mat": 0, ".hea": 1}
    files = sorted((file for file in raw.rglob("*") if file.suffix in suffixes), key=lambda file: suffixes[file.suffix])
    place = {file.stem: str(file.relative_to(raw)) for file in files}  # headers are last and win
    age = pd.to_numeric(table["age"], errors="coerce")
    return pd.DataFrame(
        {
            "record_id": stems.astype(str),
            "patient_id": stems.astype(str),
            "file": [place.get(stem, "") for stem in stems],
            "age": age.where(age >= 0),
            "sex": "unknown",
            "device": "",
            "report": "",
        }
    )
