"""Raw dataset → corpus (see `dbeta.corpus.store` for what that holds)."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dbeta.corpus.reports import clean_report
from dbeta.corpus.store import FLOATS, LISTS, STRINGS, encode_signal
from dbeta.ecg import FLAT
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.reading import read_ecg

#: PTB-XL's diagnostic super-classes in words (Wagner et al. 2020, table 6).
SUPER_CLASSES = {
    "NORM": "normal ECG",
    "MI": "myocardial infarction",
    "STTC": "ST/T change",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}

#: PTB-XL's official folds (Wagner et al. 2020): 1–8 train, 9 validation, 10 test.
TEST_FOLD, VALIDATION_FOLD = 10, 9

Progress = Callable[[int, int], None]


def read_ptb_xl_table(raw: Path) -> pd.DataFrame:
    """PTB-XL's records and labels as `ecgbench` derives them, plus columns `filename_hr`, `codes` and `findings`.

    A statement counts whatever its likelihood, as in the published benchmarks. `findings` are the statements'
    descriptions and the names of their super-classes.

    Raises:
        DBetaError: `raw` is not PTB-XL's folder.
    """
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        if not (raw / name).is_file():
            raise DBetaError(f"{raw}: {name} is missing; name the folder that holds PTB-XL as downloaded")
    from ecgbench.labels import load_labels

    table = load_labels("ptbxl", raw)
    files = pd.read_csv(raw / "ptbxl_database.csv", usecols=["ecg_id", "filename_hr"], index_col="ecg_id")
    table["filename_hr"] = files["filename_hr"]
    phrase = pd.read_csv(raw / "scp_statements.csv", index_col=0)["description"].to_dict()
    table["codes"] = [list(codes) for codes in table["scp_codes"]]
    phrase |= {f"class {name}": words for name, words in SUPER_CLASSES.items()}
    table["findings"] = [
        list(dict.fromkeys(phrase[key] for key in (*codes, *(f"class {name}" for name in classes)) if key in phrase))
        for codes, classes in zip(table["codes"], table["superclasses"], strict=True)
    ]
    return table


def build_ptb_xl(raw: Path, rejected: dict[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a PTB-XL corpus, each with how many there are in all; official folds 1–8 train, 9 validate, 10 test.

    Args:
        raw: PTB-XL's folder as downloaded (500 Hz records).
        rejected: receives record → reason for records that cannot be read.
    """
    table = read_ptb_xl_table(raw)
    for record in table.reset_index().to_dict("records"):
        try:
            ecg = read_ecg(raw / record["filename_hr"])
            if (np.ptp(np.nan_to_num(ecg.signal), axis=1) < FLAT).all():
                raise DBetaError(f"{raw / record['filename_hr']}: holds no signal, every lead is flat")
        except DBetaError as error:
            rejected[record["filename_hr"]] = str(error)
            continue
        row = {
            "record_id": str(record["ecg_id"]),
            "source": "ptb-xl",
            "file": record["filename_hr"],
            **encode_signal(ecg),
            "report": clean_report(str(record["report"])),
            "findings": record["findings"],
            "unknown": [],
            "statements": record["codes"],
            "patient_id": str(int(record["patient_id"])),
            "split": {VALIDATION_FOLD: "validation", TEST_FOLD: "test"}.get(record["strat_fold"], "train"),
            "age": record["age"],
            "sex": {0: "male", 1: "female"}.get(record["sex"], "unknown"),
            "device": str(record["device"]).strip(),
        }
        yield len(table), row


SOURCES = {"ptb-xl": build_ptb_xl}


def build_corpus(source: str, raw: Path, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Build a corpus folder.

    Args:
        source: one of `SOURCES`.
        raw: the dataset as downloaded.
        out: folder to make; written beside itself and renamed when complete.
        progress: called with (records done, records in all).

    Returns:
        Counts: `records`, `rejected`, `patients`, and records per split.

    Raises:
        DBetaError: the source is unknown, `raw` is not such a dataset, `out` exists, or no record could be read.
    """
    from datasets import Features, Sequence, Value

    if source not in SOURCES:
        raise DBetaError(f"{source}: no such source; choose one of {', '.join(SOURCES)}")
    if not raw.is_dir():
        raise DBetaError(f"{raw}: no such folder; name the folder of the dataset as downloaded")
    if out.exists():
        raise DBetaError(f"{out}: already exists; name a new folder or remove this one")

    features = Features(
        {name: Value("string") for name in STRINGS}
        | {name: Value("float32") for name in FLOATS}
        | {name: Sequence(Value("string")) for name in LISTS}
        | {"signal": Value("binary")}
    )
    rejected: dict[str, str] = {}
    kept: list[tuple[str, str]] = []
    vocabulary: set[str] = set()

    def rows() -> Iterator[dict[str, Any]]:
        for total, row in SOURCES[source](raw, rejected):
            kept.append((row["patient_id"], row["split"]))
            vocabulary.update(row["findings"])
            if progress is not None:
                progress(len(kept) + len(rejected), total)
            yield row
        if not kept:
            reason = next(iter(rejected.values()), "it lists no records")
            raise DBetaError(f"{raw}: not one record could be read ({reason})")

    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(dir=existing_folder(out.parent)) as cache, warnings.catch_warnings():
            warnings.simplefilter("ignore", DBetaWarning)
            _save(rows, features, cache, partial)
        splits = pd.Series([split for _, split in kept]).value_counts()
        counts = {
            "source": source,
            "records": len(kept),
            "patients": len({patient for patient, _ in kept}),
            "rejected": len(rejected),
            "splits": {str(name): int(n) for name, n in splits.items()},
            "vocabulary": sorted(vocabulary),
        }
        (partial / "corpus.json").write_text(json.dumps(counts, indent=2) + "\n")
        pd.DataFrame(rejected.items(), columns=["record", "reason"]).to_csv(partial / "rejected.csv", index=False)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def _save(rows: Callable[[], Iterator[dict[str, Any]]], features: Any, cache: str, out: Path) -> None:
    """Write rows to Arrow as they come, so that memory does not grow with the corpus."""
    from datasets import Dataset
    from datasets.exceptions import DatasetGenerationError
    from datasets.utils import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    try:
        corpus = Dataset.from_generator(rows, features=features, cache_dir=cache, fingerprint=uuid.uuid4().hex)
        corpus.save_to_disk(out)
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, DBetaError):
            raise error.__cause__ from None
        raise
    finally:
        enable_progress_bars()


def existing_folder(folder: Path) -> Path:
    """The folder itself, where it is one.

    Raises:
        DBetaError: it is missing.
    """
    if not folder.is_dir():
        raise DBetaError(f"{folder}: no such folder; make it first")
    return folder
