"""CPSC2018 (Liu et al. 2018) and Chapman-Shaoxing-Ningbo, CSN (Zheng et al. 2020).

Records are found by name, so both the dataset's own folder and the copies in the PhysioNet challenges work. Labels are
the SNOMED codes of the WFDB headers, or CPSC2018's own REFERENCE.csv.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from dbeta.conditions.registry import condition_of_label
from dbeta.corpus.sources.base import hashed_splits, read_columns
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, label_matrix, with_labels
from dbeta.evaluation.benchmarks.readers import FileReader

#: CPSC2018's class by MERL's abbreviation → SNOMED code; in the order of numbers 1 … 9 in REFERENCE.csv.
CPSC2018 = {
    "NORM": "426783006",
    "AFIB": "164889003",
    "1AVB": "270492004",
    "CLBBB": "164909002",
    "CRBBB": "59118001",
    "PAC": "284470004",
    "VPC": "164884008",
    "STD": "429622005",
    "STE": "164931005",
}
#: CSN's acronyms that MERL scores, and three frequent ones that it leaves out → SNOMED code, from the dataset's
#: `ConditionNames_SNOMED-CT.csv`. "AF" is atrial flutter there.
CSN = {
    "SR": "426783006",
    "SB": "426177001",
    "ST": "427084000",
    "SA": "427393009",
    "AFIB": "164889003",
    "AF": "164890007",
    "AT": "713422000",
    "SVT": "426761007",
    "APB": "284470004",
    "VPB": "17338001",
    "VB": "11157007",
    "VEB": "75532003",
    "JEB": "426995002",
    "1AVB": "270492004",
    "2AVB": "195042002",
    "2AVB1": "54016002",
    "AVB": "233917008",
    "PRIE": "164947007",
    "WPW": "74390002",
    "LBBB": "164909002",
    "RBBB": "59118001",
    "IDC": "698252002",
    "ALS": "39732003",
    "ARS": "47665007",
    "CR": "251198002",
    "CCR": "251199005",
    "LVH": "164873001",
    "RVH": "89792004",
    "LVQRSAL": "251146004",
    "AQW": "164917005",
    "MI": "164865005",
    "STE": "164930006",
    "STDD": "429622005",
    "STTU": "164931005",
    "STTC": "428750005",
    "TWC": "164934002",
    "TWO": "59931005",
    "PWC": "164912004",
    "UW": "164937009",
    "QTIE": "111975006",
    "ERV": "428417006",
}
CPSC2018_RECORDS, CSN_RECORDS = 6_877, 45_152

_CPSC2018_NAME, _CSN_NAME = re.compile(r"A\d{4}"), re.compile(r"JS\d{5}")


def load_cpsc2018(raw: Path) -> Benchmark:
    """Load CPSC2018's public records: WFDB as in the challenges' copies, or MATLAB files beside REFERENCE.csv.

    A model reads the start of each recording, as much as its input takes.

    Raises:
        DBetaError: `raw` is not CPSC2018.
    """
    table = cpsc2018_records(raw)
    return _benchmark("cpsc2018", "CPSC2018, nine classes", table, list(CPSC2018), raw, CPSC2018_RECORDS)


def load_csn(raw: Path) -> Benchmark:
    """Load CSN's records that have at least one of the acronyms, by exact match.

    Raises:
        DBetaError: `raw` is not CSN.
    """
    table = csn_records(raw)
    return _benchmark(
        "csn", f"Chapman-Shaoxing-Ningbo, {len(CSN)} acronyms by exact match", table, list(CSN), raw, CSN_RECORDS
    )


def _benchmark(
    name: str, words: str, table: pd.DataFrame, classes: Sequence[str], raw: Path, official: int
) -> Benchmark:
    table["split"], rule = hashed_splits(table["patient_id"])
    listed = len(table)
    table, labels = with_labels(table, label_matrix(table["stated"], classes))
    if table.empty:
        raise DBetaError(f"{raw}: no record has a label of {name}")
    notes = ["The dataset has no patient ids: each record counts as its own patient."]
    if listed < official:
        notes.append(f"The folder holds {listed:,} of the dataset's {official:,} records.")
    if not (table["split"] == "test").any():
        raise DBetaError(f"{raw}: its {len(table)} labelled records are too few for a test split {rule}")
    return Benchmark(
        name=name,
        protocol=f"{words}; records without any of them are left out; split {rule}",
        records=table.drop(columns="stated"),
        labels=labels,
        conditions={label: condition_of_label(name, label) for label in classes},
        reader=FileReader(raw),
        notes=notes,
    )


def cpsc2018_records(raw: Path) -> pd.DataFrame:
    """Read CPSC2018's records, with the classes of each in `stated`.

    Raises:
        DBetaError: `raw` holds none.
    """
    reference = next(iter(sorted(raw.rglob("REFERENCE*.csv"))), None)
    if reference is None:
        name_of = {code: name for name, code in CPSC2018.items()}
        return _from_headers(raw, _CPSC2018_NAME, "CPSC2018", name_of)
    columns = ("First_label", "Second_label", "Third_label")
    table = read_columns(reference, ["Recording", *columns])
    places = {file.stem: file for file in sorted(raw.rglob("*.mat"))}
    names = list(CPSC2018)
    try:
        stated = [[names[int(float(cell)) - 1] for cell in row if cell] for row in table[list(columns)].to_numpy()]
    except (ValueError, IndexError):
        raise DBetaError(f"{reference}: has a label that is not a number from 1 to 9; get the file again") from None
    records = [
        _row(name, places[name].relative_to(raw), labels)
        for name, labels in zip(table["Recording"], stated, strict=True)
        if name in places
    ]
    if not records:
        raise DBetaError(f"{raw}: has none of the recordings listed in {reference.name}")
    return pd.DataFrame(records)


def csn_records(raw: Path) -> pd.DataFrame:
    """Read CSN's records, with the acronyms of each in `stated`.

    Raises:
        DBetaError: `raw` holds none.
    """
    return _from_headers(raw, _CSN_NAME, "Chapman-Shaoxing-Ningbo", {code: name for name, code in CSN.items()})


def _from_headers(raw: Path, name: re.Pattern[str], dataset: str, label: dict[str, str]) -> pd.DataFrame:
    from ecgbench.labels.cpsc_2018 import parse_header

    headers = sorted(file for file in raw.rglob("*.hea") if name.fullmatch(file.stem))
    if not headers:
        raise DBetaError(f"{raw}: has no WFDB records of {dataset}; name the folder of the dataset as downloaded")
    with ThreadPoolExecutor() as pool:
        parsed = list(pool.map(parse_header, headers))
    return pd.DataFrame(
        [
            _row(
                file.stem,
                file.relative_to(raw),
                [label[code] for code in str(one["dx"]).split(",") if code in label],
                one["age"],
                one["sex"],
            )
            for file, one in zip(headers, parsed, strict=True)
        ]
    )


def _row(name: str, file: Path, stated: Sequence[str], age: object = "", sex: object = "") -> dict[str, object]:
    years = pd.to_numeric(pd.Series([age]), errors="coerce").iloc[0]
    return {
        "record_id": name,
        "patient_id": name,
        "file": str(file),
        "stated": list(dict.fromkeys(stated)),
        "age": years if years >= 0 else float("nan"),  # CPSC2018 writes −1 for unknown
        "sex": {"m": "male", "f": "female"}.get(str(sex).lower()[:1], "unknown"),
        "device": "",
        "report": "",
    }
