"""PTB-XL (Wagner et al. 2020): reports in German, English and Swedish, and 71 statements."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from dbeta.corpus.report_text import clean_report
from dbeta.corpus.sources.base import Source, all_findings, ecgbench_labels, finding_name
from dbeta.errors import DBetaError, DBetaWarning

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

#: Statements on shapes and intervals, which readers omit if a diagnosis implies them: no record with left
#: ventricular hypertrophy also states voltage criteria, and few with first-degree block state a prolonged PR interval.
SHAPES = ("ABQRS", "STD_", "STE_", "VCLVH", "QWAVE", "LOWT", "NT_", "TAB_", "INVT", "LPR", "LVOLT", "HVOLT")

#: PTB-XL writes 300 for ages over 89.
OLDEST = 89


def read_ptb_xl_table(raw: Path) -> pd.DataFrame:
    """Read PTB-XL's records and labels as `ecgbench` derives them, plus some columns.

    These are `file` (at 500 Hz, or at 100 Hz where only that is there), `low_rate` (whether it is the latter), `codes`,
    `findings` (names of the statements and of their super-classes) and `unknown`, findings that a reader may have
    omitted: sinus bradycardia beside sinus rhythm, which in one of seven records is slower than 60 per minute, and
    `SHAPES` where an abnormal record has no statement of form at all. Statements count whatever their likelihood, as in
    the published benchmarks.

    Raises:
        DBetaError: `raw` is not PTB-XL's folder.
    """
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        if not (raw / name).is_file():
            raise DBetaError(f"{raw}: {name} is missing; name the folder that holds PTB-XL as downloaded")
    table = ecgbench_labels("ptbxl", raw)
    if table["patient_id"].isna().any():
        record = table.index[table["patient_id"].isna()][0]
        raise DBetaError(f"{raw / 'ptbxl_database.csv'}: record {record} has no patient_id; get the table again")
    columns = ("ecg_id", "filename_hr", "filename_lr")
    files = pd.read_csv(raw / "ptbxl_database.csv", usecols=lambda name: name in columns, index_col="ecg_id")
    high, low = files["filename_hr"], files.get("filename_lr")
    if low is None:
        low = pd.Series("", index=high.index)
    table["low_rate"] = [
        not _is_there(raw, one) and _is_there(raw, other) for one, other in zip(high, low, strict=True)
    ]
    table["file"] = high.where(~table["low_rate"], low)
    statements = pd.read_csv(raw / "scp_statements.csv", index_col=0)
    phrase, form = statements["description"].to_dict(), set(statements.index[statements["form"] == 1])
    table["codes"] = [list(codes) for codes in table["scp_codes"]]
    phrase |= {f"class {name}": words for name, words in SUPER_CLASSES.items()}
    name_of = {key: finding_name(words) for key, words in phrase.items()}
    table["findings"] = [
        list(dict.fromkeys(name_of[key] for key in [*codes, *(f"class {one}" for one in classes)] if key in name_of))
        for codes, classes in zip(table["codes"], table["superclasses"], strict=True)
    ]
    vocabulary = set(all_findings(table["findings"]))
    shapes = {name_of[code] for code in SHAPES if code in name_of} & vocabulary
    slow = {name_of[code] for code in ("SBRAD",) if code in name_of} & vocabulary
    table["unknown"] = [
        sorted(
            ((slow if "SR" in codes else set()) | (shapes if form.isdisjoint(codes) and "NORM" not in codes else set()))
            - set(findings)
        )
        for codes, findings in zip(table["codes"], table["findings"], strict=True)
    ]
    return table


def _is_there(raw: Path, name: object) -> bool:
    """Tell whether both files of a WFDB record exist."""
    return bool(name) and isinstance(name, str) and all((raw / f"{name}{end}").is_file() for end in (".hea", ".dat"))


def low_rate_note(count: int) -> str:
    """Say that records are read at 100 Hz."""
    return f"Records read from their 100 Hz files, because their 500 Hz files are missing: {count:,}."


def read_ptb_xl(raw: Path) -> Source:
    """Read PTB-XL at 500 Hz; official folds 1–8 are train, 9 validation, 10 test.

    A record of which only the 100 Hz files are there is read at 100 Hz.

    Args:
        raw: PTB-XL's folder as downloaded.

    Raises:
        DBetaError: the folder is not PTB-XL.

    Warns:
        DBetaWarning: how many records are read at 100 Hz.
    """
    table = read_ptb_xl_table(raw)
    fold = {VALIDATION_FOLD: "validation", TEST_FOLD: "test"}
    records = pd.DataFrame(
        {
            "record_id": table.index.astype(str),
            "file": table["file"].to_numpy(),
            "report": [clean_report(report) if isinstance(report, str) else "" for report in table["report"]],
            "findings": table["findings"].to_numpy(),
            "unknown": table["unknown"].to_numpy(),
            "statements": table["codes"].to_numpy(),
            "patient_id": table["patient_id"].astype(int).astype(str).to_numpy(),
            "split": [fold.get(number, "train") for number in table["strat_fold"]],
            "age": table["age"].clip(upper=OLDEST + 1).to_numpy(),
            "sex": table["sex"].map({0: "male", 1: "female"}).fillna("unknown").to_numpy(),
            "device": [device.strip() if isinstance(device, str) else "" for device in table["device"]],
        }
    )
    rule = f"by patient: PTB-XL's official folds, {VALIDATION_FOLD} validation, {TEST_FOLD} test, the others train"
    notes = [
        f"Ages over {OLDEST} are given as {OLDEST + 1}.",
        "Statements count whatever their likelihood.",
        "Sinus bradycardia is unknown where sinus rhythm is stated, and shapes (Q waves, voltages, …) are unknown "
        "where an abnormal record has no statement of form: readers omit these.",
    ]
    if low := int(table["low_rate"].sum()):
        notes.append(low_rate_note(low))
        warnings.warn(f"{raw}: {notes[-1][0].lower()}{notes[-1][1:-1]}", DBetaWarning, stacklevel=3)
    return Source(records, all_findings(records["findings"]), raw, rule, notes)
