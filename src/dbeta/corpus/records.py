"""One record of a source → a row of a corpus, or the reason why not. Loads neither torch nor datasets."""

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

#: Columns of a source's table that say how to read a file.
READ_COLUMNS = ("file", "sampling_rate", "leads")


@dataclass
class Outcome:
    """A record that was read, or why it could not be.

    Attributes:
        columns: what only the file can tell: `signal`, `sampling_rate` and, where the file says so, `report`, `age`,
            `sex` and `device`; None where it cannot be used.
        error: the reason why not, without the file's name.
        notes: what reading it warned of, without the file's name.
    """

    columns: dict[str, Any] | None
    error: str = ""
    notes: list[str] = field(default_factory=list)


def read_records(records: Sequence[dict[str, Any]], folder: Path, seconds: float) -> list[Outcome]:
    """Read records of a source's table.

    Args:
        records: the `READ_COLUMNS` of each, as far as the table has them.
        folder: what `file` is relative to.
        seconds: longer recordings are read only up to this.

    Returns:
        One for each record; whatever is wrong with one is told, never raised.
    """
    return [_read(record, folder, seconds) for record in records]


def open_record(record: dict[str, Any], folder: Path, seconds: float) -> ECG:
    """The recording of one record of a source's table.

    Args:
        record: its `READ_COLUMNS`, as far as the table has them.
        folder: what `file` is relative to.
        seconds: a longer recording is read only up to this.

    Raises:
        DBetaError: it cannot be read.
    """
    path, within = _place(record["file"], folder)
    rate = record.get("sampling_rate")
    options: dict[str, Any] = {
        "sampling_rate": None if rate is None or rate != rate else rate,
        "leads": record.get("leads") or None,
        "record": within or None,
        "duration": seconds,
    }
    ecg = read_ecg(path, **options)
    # An exam that is not there must not be taken for the number of a row
    if within and str(ecg.meta["record"]) != within:
        raise DBetaError(f"{path}: has no recording {within}")
    return ecg


def _place(file: str, folder: Path) -> tuple[Path, str]:
    """The file, and which recording inside it; "" where it holds but one."""
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
        except Exception as error:  # what no reader foresaw must not end a build of days
            outcome = Outcome(None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    notes = [_without_name(str(one.message), path) for one in caught if one.category is DBetaWarning]
    outcome.notes = [note.removesuffix(FIX_HINT) for note in notes]
    return outcome


def _check(ecg: ECG, name: str) -> None:
    """Refuse what training could not use."""
    if missing := ecg.meta.get("missing_leads"):
        # A row has no place to say so, and a model would learn that these leads are 0
        raise DBetaError(f"{name}: lead {', '.join(missing)} is missing and cannot be computed from the others")
    check_extent(ecg.sampling_rate, ecg.duration, name)
    valid = np.nan_to_num(ecg.signal)
    if (np.ptp(valid, axis=1) < FLAT).all():
        raise DBetaError(f"{name}: holds no signal, every lead is flat")
    # A spike may be an artefact; a hundredth of all samples is not
    if np.abs(valid).max() > HIGHEST_VOLTAGE and np.quantile(np.abs(valid), 0.99) > HIGHEST_VOLTAGE:
        raise DBetaError(
            f"{name}: has voltages beyond {HIGHEST_VOLTAGE:g} mV: another unit, or an offset; correct it first"
        )


def _said(ecg: ECG) -> dict[str, Any]:
    """What the file says of the patient and the device."""
    said = {name: ecg.meta[name] for name in ("age", "sex", "device") if name in ecg.meta}
    return said | ({"report": clean_report(ecg.report)} if ecg.report else {})


def _without_name(message: str, path: Path) -> str:
    """A reason without the file it is about, so that equal reasons can be counted."""
    return message.removeprefix(f"{path}: ").removeprefix(f"{path.name}: ").removeprefix(f"{path.name}.hea: ")


def complete_row(source: str, record: dict[str, Any], columns: dict[str, Any]) -> dict[str, Any]:
    """The row of a corpus: the source's table, completed by what the file says where the table is silent."""
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
