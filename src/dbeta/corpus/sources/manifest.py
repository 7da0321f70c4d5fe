"""Your own archive, listed in a CSV or Parquet file (manifest)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dbeta.conditions.registry import find_condition
from dbeta.corpus.report_text import clean_report
from dbeta.corpus.sources.base import Source, all_findings, finding_name, hashed_splits, reading
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.units import millivolts

COLUMNS = (
    "path",
    "report",
    "patient_id",
    "split",
    "findings",
    "vocabulary",
    "statements",
    "age",
    "sex",
    "device",
    "record_id",
    "sampling_rate",
    "leads",
    "units",
)
#: Other names of columns.
_ALSO = {"unit": "units", "finding": "findings", "statement": "statements", "lead": "leads"}
#: A list as Python and JSON write it.
_BRACKETS = re.compile(r"\[(.*)\]", re.DOTALL)
#: Text in a list of findings that is a label's value, not a name.
_NO_NAME = re.compile(r"[-+]?\d+(\.\d*)?|true|false|yes|no|y|n", re.IGNORECASE)
SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def read_manifest(raw: Path) -> Source:
    """Read the records that a manifest lists.

    Its columns, of which only `path` is required:
    - `path`: a file that `read_ecg` can read, relative to the manifest; "file.hdf5#exam_id" inside an
      HDF5 file, or "file.hdf5#row" where that has no exam_ids;
    - `report`, as text; without the column, the report in the file itself;
    - `patient_id`: without it each record is its own patient;
    - `split`: train, validation or test; where empty, that of the patient's other records, else by a hash;
    - `findings`: a list, or text separated by ";" (or, between names of known conditions, "," or "|"); findings of
      other records count as absent;
    - `vocabulary`: likewise, the findings that were decided for the record, if not all that occur;
    - `statements`: likewise, codes; `age` in years; `sex`; `device`; `record_id`, by default the path;
    - `sampling_rate` in Hz, `leads` ("I,II,…" or a list) and `units` ("uV", "1e-4 V", "200/mV"), as `read_ecg` takes
      them, for files that do not carry them.

    Args:
        raw: a `.csv` or `.parquet` file.

    Raises:
        DBetaError: it cannot be read, lacks `path`, has an invalid value (as findings of 0 and 1, or several
            that are not separated by ";"), or puts a patient into two splits.

    Warns:
        DBetaWarning: it has columns that are ignored, or ages or sexes that are not understood.
    """
    table = _load(raw)
    count = len(table)
    paths = _texts(table["path"])
    if "" in paths:
        raise DBetaError(f"{raw}: column path is empty in row {paths.index('') + 1}; name a file in every row")
    ids = _texts(table["record_id"]) if "record_id" in table else paths
    patients = _texts(table["patient_id"]) if "patient_id" in table else [""] * count
    ids = [own or path for own, path in zip(ids, paths, strict=True)]
    records = pd.DataFrame(
        {
            "record_id": ids,
            "file": paths,
            "patient_id": [patient or own for patient, own in zip(patients, ids, strict=True)],
        }
    )
    records["split"], rule = _splits(raw, table, records["patient_id"])
    vocabulary: list[str] = []
    if "report" in table:
        records["report"] = [clean_report(report) for report in _texts(table["report"])]
    else:
        records["report"] = [None] * count
    if "findings" in table:
        records["findings"] = _findings(raw, table["findings"])
        vocabulary = all_findings(records["findings"])
    if "vocabulary" in table:
        if "findings" not in table:
            raise DBetaError(f"{raw}: has a column vocabulary but no column findings; add the findings")
        decided = [set(row) for row in _findings(raw, table["vocabulary"])]
        vocabulary = sorted({*vocabulary, *(one for row in decided for one in row)})
        pairs = zip(decided, records["findings"], strict=True)
        records["unknown"] = [[one for one in vocabulary if one not in own and one not in has] for own, has in pairs]
    if "statements" in table:
        records["statements"] = _lists(table["statements"])
    if "age" in table:
        records["age"] = _numbers(table["age"])
        _warn_unknown(raw, table["age"], records["age"].isna(), "a number of years")
    if "sex" in table:
        records["sex"] = [SEXES.get(text.lower(), "unknown") for text in _texts(table["sex"])]
        _warn_unknown(raw, table["sex"], records["sex"] == "unknown", "male or female")
    if "device" in table:
        records["device"] = _texts(table["device"])
    if "sampling_rate" in table:
        records["sampling_rate"] = _numbers(table["sampling_rate"])
        _refuse(raw, table["sampling_rate"], ~(records["sampling_rate"] > 0), "write a number of Hz")
    if "leads" in table:
        records["leads"] = _lists(table["leads"], ",")
    if "units" in table:
        records["units"] = _texts(table["units"])
        wrong = [millivolts(unit) is None for unit in records["units"]]
        _refuse(raw, table["units"], pd.Series(wrong), "write uV, mV, 1e-4 V or 200/mV")
    return Source(records, vocabulary, raw.parent, rule)


def _load(raw: Path) -> pd.DataFrame:
    if not raw.is_file() or raw.suffix.lower() not in (".csv", ".parquet"):
        raise DBetaError(f"{raw}: not a manifest; name a .csv or .parquet file with a column path")
    if raw.suffix.lower() == ".parquet":
        table = reading(raw, lambda: pd.read_parquet(raw))
    else:
        table = reading(raw, lambda: pd.read_csv(raw, dtype=str, keep_default_na=False, encoding="utf-8-sig"))
    names = [_ALSO.get(str(name).strip().lower(), str(name).strip()) for name in table.columns]
    table.columns = pd.Index([name.lower() for name in names])
    if "path" not in table:
        has = ", ".join(names[:20]) or "none"
        raise DBetaError(f"{raw}: has no column path (its columns: {has}); list the recordings' files in a column path")
    used = [name for name in COLUMNS if name in table]
    if twice := [name for name in used if list(table.columns).count(name) > 1]:
        raise DBetaError(f"{raw}: has two columns {twice[0]}; keep one")
    if ignored := [name for name in names if name.lower() not in COLUMNS]:
        hint = "" if "findings" in used else '; labels are read from a column findings, as names separated by ";"'
        shown = ", ".join(ignored[:20]) + (f" and {len(ignored) - 20} more" if len(ignored) > 20 else "")
        known = ", ".join(name for name in COLUMNS if name not in used)
        message = f"uses the columns {', '.join(used)} and ignores {shown} (it could also have {known}){hint}"
        warnings.warn(f"{raw}: {message}", DBetaWarning, stacklevel=4)
    return table[used]


def _findings(raw: Path, column: pd.Series) -> list[list[str]]:
    """Convert a column of findings to lists of their names.

    Raises:
        DBetaError: it holds numbers or truth values, such as 0 and 1, or a text that may be one finding or several.
    """
    rows = [_split_further(raw, column, number, row) for number, row in enumerate(_lists(column), 1)]
    for number, row in enumerate(rows, 1):
        if wrong := [word for word in row if _NO_NAME.fullmatch(word)]:
            raise DBetaError(
                f"{raw}: column {column.name} holds {wrong[0]!r} in row {number}, which is not the name of a finding; "
                'write the names of those present, separated by ";", as "atrial fibrillation; LBBB", nothing where '
                "there are none, and codes into a column statements"
            )
    return [[finding_name(word) for word in row] for row in rows]


def _split_further(raw: Path, column: pd.Series, number: int, row: list[str]) -> list[str]:
    """The findings of a row of which some are lists of their own, as "AF, LBBB", "AF|LBBB" or "['AF', 'LBBB']".

    Raises:
        DBetaError: a text may be one finding or several.
    """
    if match := _BRACKETS.fullmatch("; ".join(row)):
        words = [word.strip().strip("'\"").strip() for word in re.split("[,;]", match[1])]
        return [word for word in words if word]
    words = []
    for word in row:
        parts = [part.strip() for part in re.split("[,|]", word)]
        if len(parts) < 2 or find_condition(word) is not None:
            words.append(word)
        elif all(find_condition(part) is not None for part in parts):
            words += parts
        elif "|" in word or any(find_condition(part) is not None or _NO_NAME.fullmatch(part) for part in parts):
            raise DBetaError(
                f"{raw}: column {column.name} holds {word!r} in row {number}, which may be one finding or several; "
                'separate findings by ";", or write one without the mark between its words'
            )
        else:
            words.append(word)
    return words


def _numbers(column: pd.Series) -> np.ndarray:
    """Convert cells to numbers, (n,) float; NaN where they are none."""
    return pd.to_numeric(column, errors="coerce").to_numpy(float)


def _refuse(raw: Path, column: pd.Series, wrong: pd.Series, advice: str) -> None:
    """Raise an error if a cell that is not empty has a wrong value."""
    for number, (text, bad) in enumerate(zip(_texts(column), wrong, strict=True), 1):
        if text and bad:
            raise DBetaError(f"{raw}: column {column.name} holds {text!r} in row {number}; {advice}, or leave it empty")


def _warn_unknown(raw: Path, column: pd.Series, unknown: pd.Series, wanted: str) -> None:
    """Warn if cells that are not empty have values that count as unknown."""
    texts = [text for text, bad in zip(_texts(column), unknown, strict=True) if bad and text]
    texts = [text for text in texts if text.lower() not in ("unknown", "nan", "na", "n/a")]
    if texts:
        count = f"{len(texts):,} of {len(column):,} records"
        message = f"column {column.name} holds {texts[0]!r}, which is not {wanted} and counts as unknown ({count})"
        warnings.warn(f"{raw}: {message}", DBetaWarning, stacklevel=4)


def _splits(raw: Path, table: pd.DataFrame, patients: pd.Series) -> tuple[list[str], str]:
    """Determine the split of each record: as given, else that of the patient's other records, else by hash."""
    hashed, rule = hashed_splits(patients)
    given = [text.lower() for text in _texts(table["split"])] if "split" in table else []
    if not any(given):
        return hashed, rule
    wrong = next((text for text in given if text and text not in SPLIT_NAMES), None)
    if wrong is not None:
        raise DBetaError(f"{raw}: column split holds {wrong!r}; write train, validation or test, or leave it empty")
    own: dict[str, str] = {}
    for patient, text in zip(patients, given, strict=True):
        if text and own.setdefault(patient, SPLIT_NAMES[text]) != SPLIT_NAMES[text]:
            raise DBetaError(f"{raw}: patient {patient} is in two splits; put all records of a patient in one")
    splits = [own.get(patient, other) for patient, other in zip(patients, hashed, strict=True)]
    return splits, "as the manifest says" if all(given) else f"as the manifest says and, where it is empty, {rule}"


def _texts(column: pd.Series) -> list[str]:
    """Convert cells to text ("" where missing) and drop the ".0" of integer ids in a column with gaps."""
    return ["" if value is None or value != value else _text(value).strip() for value in column.tolist()]


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _lists(column: pd.Series, separator: str = ";") -> list[list[str]]:
    """Convert cells to lists of words; Parquet can hold lists, CSV holds text with separators."""
    rows = []
    for value in column.tolist():
        if value is None or (isinstance(value, float) and value != value):
            value = ""
        words = list(value) if isinstance(value, list | tuple | np.ndarray) else _text(value).split(separator)
        rows.append([str(word).strip() for word in words if str(word).strip()])
    return rows
