"""Raw dataset → corpus: an Arrow dataset of recordings, reports and findings that training and evaluation read.

A corpus row holds `record_id`, `signal` (int16 microvolts as bytes, leads × samples in the standard lead order),
`sampling_rate`, `report`, `findings` (English phrases that hold for the record), `statements` (the source's own
codes), `patient_id`, `split`, `age`, `sex` and `device`.
"""

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
from dbeta.ecg import ECG, FLAT, LEADS
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
            **encode_signal(ecg),
            "report": clean_report(str(record["report"])),
            "findings": record["findings"],
            "statements": record["codes"],
            "patient_id": str(int(record["patient_id"])),
            "split": {VALIDATION_FOLD: "validation", TEST_FOLD: "test"}.get(record["strat_fold"], "train"),
            "age": record["age"],
            "sex": {0: "male", 1: "female"}.get(record["sex"], "unknown"),
            "device": str(record["device"]).strip(),
        }
        yield len(table), row


SOURCES = {"ptb-xl": build_ptb_xl}


def encode_signal(ecg: ECG) -> dict[str, Any]:
    """A recording as corpus columns `signal` and `sampling_rate`; voltages beyond ±32.767 mV are clipped."""
    microvolts = np.nan_to_num(np.round(ecg.standard().signal * 1000.0))
    return {
        "signal": np.clip(microvolts, -32767, 32767).astype("<i2").tobytes(),
        "sampling_rate": ecg.sampling_rate,
    }


def decode_signal(row: dict[str, Any]) -> ECG:
    """The recording of a corpus row."""
    signal = np.frombuffer(row["signal"], "<i2").reshape(len(LEADS), -1).astype(np.float32) / 1000.0
    return ECG(signal, row["sampling_rate"], LEADS, report=row.get("report", ""), patient_id=row.get("patient_id"))


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

    strings = ("record_id", "report", "patient_id", "split", "sex", "device")
    features = Features(
        {name: Value("string") for name in strings}
        | {"signal": Value("binary"), "sampling_rate": Value("float32"), "age": Value("float32")}
        | {"findings": Sequence(Value("string")), "statements": Sequence(Value("string"))}
    )
    rejected: dict[str, str] = {}
    kept: list[tuple[str, str]] = []

    def rows() -> Iterator[dict[str, Any]]:
        for total, row in SOURCES[source](raw, rejected):
            kept.append((row["patient_id"], row["split"]))
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


def load_corpus(path: Path, split: str | None = None) -> Any:
    """Load a corpus as a `datasets.Dataset`, the whole of it or one split.

    Raises:
        DBetaError: the folder is not a corpus, or the split is empty.
    """
    from datasets import load_from_disk

    if not (path / "corpus.json").is_file():
        raise DBetaError(f"{path}: not a corpus; make one with `dbeta corpus build`")
    corpus = load_from_disk(str(path))
    if split is None:
        return corpus
    keep = [i for i, name in enumerate(corpus["split"]) if name == split]
    if not keep:
        raise DBetaError(f"{path}: has no records in split {split!r}")
    return corpus.select(keep)
