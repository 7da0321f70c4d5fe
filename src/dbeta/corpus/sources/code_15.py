"""CODE-15 % (Ribeiro et al. 2021): 345,779 recordings in 18 HDF5 files, six abnormalities and "normal"; no reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dbeta.corpus.sources.base import Source, ecgbench_labels, finding_name, hashed_splits
from dbeta.errors import DBetaError

#: Column of a label → finding.
FINDINGS = {
    "1dAVb": "first-degree AV block",
    "RBBB": "right bundle branch block",
    "LBBB": "left bundle branch block",
    "SB": "sinus bradycardia",
    "ST": "sinus tachycardia",
    "AF": "atrial fibrillation",
    "normal_ecg": "normal ECG",
}


def read_code_15(raw: Path) -> Source:
    """Read CODE-15 %, all parts that are present.

    Args:
        raw: the folder that holds `exams.csv` and `exams_part0.hdf5` … `exams_part17.hdf5`, unpacked.

    Raises:
        DBetaError: the folder is not CODE-15 %, or holds none of its parts.
    """
    exams = ecgbench_labels("code15", raw)
    parts = sorted(exams["trace_file"].unique())
    there = [part for part in parts if (raw / part).is_file()]
    if not there:
        raise DBetaError(f"{raw}: {parts[0]} and all other parts are missing; unpack them beside exams.csv")
    exams = exams[exams["trace_file"].isin(there)]
    # exams.csv is ordered differently from the parts, which are fastest to read in the order of their rows
    place = pd.concat([exam_places(raw / part) for part in there]).reindex(exams.index)
    exams = exams.assign(place=place.to_numpy()).sort_values(["trace_file", "place"], kind="stable")
    names = [finding_name(words) for words in FINDINGS.values()]
    stated = exams[list(FINDINGS)].to_numpy(bool)
    splits, rule = hashed_splits(exams["patient_id"].astype(str))
    table = pd.DataFrame(
        {
            "record_id": exams.index.astype(str),
            "file": (exams["trace_file"] + "#" + exams.index.astype(str)).to_numpy(),
            "findings": [[names[i] for i in np.flatnonzero(row)] for row in stated],
            "statements": [[list(FINDINGS)[i] for i in np.flatnonzero(row)] for row in stated],
            "patient_id": exams["patient_id"].astype(str).to_numpy(),
            "split": splits,
            "age": exams["age"].to_numpy(),
            "sex": exams["sex"].map({"M": "male", "F": "female"}).to_numpy(),
        }
    )
    notes = ["There are no reports: texts are written from the findings.", "The zero padding was removed."]
    if len(there) < len(parts):
        notes.append(
            f"Only {len(there)} of {len(parts)} parts were in the folder; exams of the other parts are left out."
        )
    return Source(table, sorted(names), raw, rule, notes)


def exam_places(part: Path) -> pd.Series:
    """Find the row of each exam in a part; none for an unreadable part, whose records are then rejected."""
    import h5py

    try:
        with h5py.File(part) as content:
            ids = content["exam_id"][:].ravel()
    except (OSError, KeyError):
        ids = np.array([], dtype=int)
    # Each part ends with an empty row of exam_id 0
    places = pd.Series(np.arange(len(ids)), index=ids.astype(int))
    return places[(places.index != 0) & ~places.index.duplicated()]
