"""Reads the records of a source into rows of a corpus, in worker processes. Imports neither torch nor datasets."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.corpus.report_text import clean_report
from dbeta.corpus.store import FLOATS, LISTS, STRINGS, encode_signal
from dbeta.ecg import ECG, FLAT
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import FIX_HINT, read_ecg
from dbeta.signal.preprocess import HIGHEST_VOLTAGE, check_extent

#: Columns of a source's table that are needed to read a file.
READ_COLUMNS = ("file", "sampling_rate", "leads", "units")


@dataclass
class Outcome:
    """The result of reading one record.

    Attributes:
        columns: `signal`, `sampling_rate` and, if the file has them, `report`, `age`, `sex` and `device`; None
            if the record is rejected.
        error: why it is rejected, without the file's name.
        notes: warnings, without the file's name.
    """

    columns: dict[str, Any] | None
    error: str = ""
    notes: list[str] = field(default_factory=list)


def read_records(records: Sequence[dict[str, Any]], folder: Path, seconds: float) -> list[Outcome]:
    """Read records of a source's table.

    Args:
        records: the `READ_COLUMNS` of each, those that the table has.
        folder: base of the relative path `file`.
        seconds: longer recordings are cut to this.

    Returns:
        One outcome per record; errors are returned, never raised.
    """
    return [_read(record, folder, seconds) for record in records]


def open_record(record: dict[str, Any], folder: Path, seconds: float) -> ECG:
    """Read the recording of one record of a source's table.

    Args:
        record: its `READ_COLUMNS`, those that the table has.
        folder: base of the relative path `file`.
        seconds: a longer recording is cut to this.

    Raises:
        DBetaError: the file cannot be read, or lacks the recording.
    """
    path, within = _place(record["file"], folder)
    rate = record.get("sampling_rate")
    options: dict[str, Any] = {
        "sampling_rate": None if rate is None or rate != rate else rate,
        "leads": record.get("leads") or None,
        "units": record.get("units") or None,
        "record": within or None,
        "duration": seconds,
    }
    ecg = read_ecg(path, **options)
    # `read_ecg` takes the id of a missing exam as a row number
    if within and not within.startswith("row ") and str(ecg.meta["record"]) != within:
        raise DBetaError(f"{path}: has no recording {within}")
    return ecg


def _place(file: str, folder: Path) -> tuple[Path, str]:
    """Split a place into the file and the recording inside it, "" for a file of a single recording."""
    name, _, within = file.rpartition("#")
    return (folder / name, within) if name.lower().endswith((".h5", ".hdf5")) else (folder / file, "")


def _read(record: dict[str, Any], folder: Path, seconds: float) -> Outcome:
    path, _ = _place(record["file"], folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DBetaWarning)
        try:
            ecg = open_record(record, folder, seconds)
            _check(ecg, str(path))
            outcome = Outcome(encode_signal(ecg) | _said(ecg))
        except DBetaError as error:
            outcome = Outcome(None, _without_name(str(error), path))
        except Exception as error:  # an unexpected error must not end a build that takes days
            outcome = Outcome(None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    notes = [_without_name(str(one.message), path) for one in caught if one.category is DBetaWarning]
    outcome.notes = [note.removesuffix(FIX_HINT) for note in notes]
    return outcome


def _check(ecg: ECG, name: str) -> None:
    """Reject recordings that are unfit for training.

    Raises:
        DBetaError: a lead is missing, the length or sampling rate is out of bounds, or the voltages are implausible.
    """
    if missing := ecg.meta.get("missing_leads"):
        # A corpus row cannot mark missing leads, so a model would learn them as 0
        raise DBetaError(f"{name}: lead {', '.join(missing)} is missing and cannot be computed from the others")
    check_extent(ecg.sampling_rate, ecg.duration, name)
    valid = np.nan_to_num(ecg.signal)
    if (np.ptp(valid, axis=1) < FLAT).all():
        raise DBetaError(f"{name}: holds no signal, every lead is flat")
    # A few high samples may be an artefact, but not 1 % of all samples
    if np.abs(valid).max() > HIGHEST_VOLTAGE and np.quantile(np.abs(valid), 0.99) > HIGHEST_VOLTAGE:
        raise DBetaError(
            f"{name}: has voltages beyond {HIGHEST_VOLTAGE:g} mV (wrong unit or an offset); correct it first"
        )


def _said(ecg: ECG) -> dict[str, Any]:
    """Collect what the file itself says about patient, device and report."""
    said = {name: ecg.meta[name] for name in ("age", "sex", "device") if name in ecg.meta}
    return said | ({"report": clean_report(ecg.report)} if ecg.report else {})


def _without_name(message: str, path: Path) -> str:
    """Strip the file's name from a message, so that equal messages can be counted."""
    return message.removeprefix(f"{path}: ").removeprefix(f"{path.name}: ").removeprefix(f"{path.name}.hea: ")


def complete_row(source: str, record: dict[str, Any], columns: dict[str, Any]) -> dict[str, Any]:
    """Make a corpus row from a record of the source's table; missing values are taken from the file.

    Args:
        source: name of the source.
        record: row of the source's table.
        columns: `Outcome.columns` of the record.
    """
    row = {"source": source} | {name: record[name] for name in (*STRINGS, *LISTS, *FLOATS) if name in record}
    row |= {"signal": columns["signal"], "sampling_rate": columns["sampling_rate"]}
    silent = {
        "report": record["report"] is None,
        "age": record["age"] != record["age"],
        "sex": record["sex"] == "unknown",
        "device": not record["device"],
    }
    row |= {name: columns[name] for name, missing in silent.items() if missing and name in columns}
    row["report"] = row["report"] or ""
    return row
