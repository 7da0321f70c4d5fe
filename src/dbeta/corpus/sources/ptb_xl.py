"""PTB-XL (Wagner et al. 2020): reports in German, English and Swedish, and 71 statements."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dbeta.corpus.reports import clean_report
from dbeta.corpus.sources.base import Source, all_findings, ecgbench_labels, finding_name
from dbeta.errors import DBetaError

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

#: PTB-XL writes 300 for ages over 89.
OLDEST = 89


def read_ptb_xl_table(raw: Path) -> pd.DataFrame:
    """PTB-XL's records and labels as `ecgbench` derives them, plus columns `filename_hr`, `codes` and `findings`.

    A statement counts whatever its likelihood, as in the published benchmarks. `findings` are the names of the
    statements and of their super-classes.

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
    files = pd.read_csv(raw / "ptbxl_database.csv", usecols=["ecg_id", "filename_hr"], index_col="ecg_id")
    table["filename_hr"] = files["filename_hr"]
    phrase = pd.read_csv(raw / "scp_statements.csv", index_col=0)["description"].to_dict()
    table["codes"] = [list(codes) for codes in table["scp_codes"]]
    phrase |= {f"class {name}": words for name, words in SUPER_CLASSES.items()}
    name_of = {key: finding_name(words) for key, words in phrase.items()}
    table["findings"] = [
        list(dict.fromkeys(name_of[key] for key in (*codes, *(f"class {name}" for name in classes)) if key in name_of))
        for codes, classes in zip(table["codes"], table["superclasses"], strict=True)
    ]
    return table


def read_ptb_xl(raw: Path) -> Source:
    """PTB-XL at 500 Hz; official folds 1–8 train, 9 validate, 10 test.

    Args:
        raw: PTB-XL's folder as downloaded.

    Raises:
        DBetaError: it is not that.
    """
    table = read_ptb_xl_table(raw)
    fold = {VALIDATION_FOLD: "validation", TEST_FOLD: "test"}
    records = pd.DataFrame(
        {
            "record_id": table.index.astype(str),
            "file": table["filename_hr"].to_numpy(),
            "report": [clean_report(report) if isinstance(report, str) else "" for report in table["report"]],
            "findings": table["findings"].to_numpy(),
            "statements": table["codes"].to_numpy(),
            "patient_id": table["patient_id"].astype(int).astype(str).to_numpy(),
            "split": [fold.get(number, "train") for number in table["strat_fold"]],
            "age": table["age"].clip(upper=OLDEST + 1).to_numpy(),
            "sex": table["sex"].map({0: "male", 1: "female"}).fillna("unknown").to_numpy(),
            "device": [device.strip() if isinstance(device, str) else "" for device in table["device"]],
        }
    )
    rule = f"by patient: PTB-XL's official folds, {VALIDATION_FOLD} validation, {TEST_FOLD} test, the others train"
    notes = [f"Ages over {OLDEST} are given as {OLDEST + 1}.", "A statement counts whatever its likelihood."]
    return Source(records, all_findings(records["findings"]), raw, rule, notes)
