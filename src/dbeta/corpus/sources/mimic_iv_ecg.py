"""MIMIC-IV-ECG (Gow et al. 2023): 800,035 recordings with the machine's report in up to 18 lines, no other labels.

The files store aVF before aVL, which does not matter since leads are read by name.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dbeta.corpus.report_text import clean_report
from dbeta.corpus.sources.base import Source, hashed_splits, read_columns

#: MIMIC-IV's table of patients, with age and sex; it is not part of MIMIC-IV-ECG.
PATIENTS = ("patients.csv", "patients.csv.gz", "hosp/patients.csv", "hosp/patients.csv.gz")


def read_mimic_iv_ecg(raw: Path) -> Source:
    """Read MIMIC-IV-ECG with cleaned reports, and age and sex where MIMIC-IV's table of patients is in the folder.

    There are no annotated findings, so the vocabulary is empty.

    Args:
        raw: the folder that holds `record_list.csv`, `machine_measurements.csv` and `files/`.

    Raises:
        DBetaError: the folder is not MIMIC-IV-ECG.
    """
    from ecgbench.labels.mimic_iv_ecg import JOIN_COLUMN, REPORT_COLUMNS, SOURCE_CSV

    records = read_columns(raw / "record_list.csv", ["subject_id", JOIN_COLUMN, "path"], ["ecg_time"])
    machine = read_columns(raw / SOURCE_CSV, [JOIN_COLUMN], [*REPORT_COLUMNS, "cart_id"])
    cleaned: dict[tuple[str, ...], str] = {}

    def clean(lines: tuple[str, ...]) -> str:
        # Most reports belong to many records
        if lines not in cleaned:
            cleaned[lines] = clean_report(lines)
        return cleaned[lines]

    columns = [machine[name] for name in REPORT_COLUMNS if name in machine]
    machine["report"] = [clean(tuple(filter(None, lines))) for lines in zip(*columns, strict=True)] if columns else ""
    machine = machine.drop_duplicates(JOIN_COLUMN).set_index(JOIN_COLUMN)
    splits, rule = hashed_splits(records["subject_id"])
    table = pd.DataFrame(
        {
            "record_id": records[JOIN_COLUMN],
            "file": records["path"],
            "report": records[JOIN_COLUMN].map(machine["report"]).fillna(""),
            "patient_id": records["subject_id"],
            "split": splits,
        }
    )
    if "cart_id" in machine:
        carts = records[JOIN_COLUMN].map(machine["cart_id"]).fillna("")
        table["device"] = ("cart " + carts).where(carts != "", "")
    notes = ["Findings were not annotated; the reports are the only description of a record."]
    file = next((raw / name for name in PATIENTS if (raw / name).is_file()), None)
    if file is None:
        notes.append("Age and sex are unknown: MIMIC-IV's patients.csv was not in the folder.")
    else:
        table = table.assign(**_patients(file, records))
    return Source(table, [], raw, rule, notes)


def _patients(file: Path, records: pd.DataFrame) -> dict[str, pd.Series]:
    """Look up sex, and age in the year of the recording; both tables shift a patient's years by the same offset."""
    patients = read_columns(file, ["subject_id", "gender", "anchor_age", "anchor_year"]).set_index("subject_id")
    of = patients.loc[~patients.index.duplicated()].reindex(records["subject_id"]).reset_index(drop=True)
    age = pd.to_numeric(of["anchor_age"], errors="coerce")
    if "ecg_time" in records:
        year = pd.to_numeric(records["ecg_time"].str[:4], errors="coerce")
        age = age + year - pd.to_numeric(of["anchor_year"], errors="coerce")
    return {"age": age, "sex": of["gender"].map({"M": "male", "F": "female"}).fillna("unknown")}
