"""PhysioNet/CinC Challenge 2021 (Reyna et al. 2021): 26 scored classes, and the weights of its score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dbeta.conditions.registry import condition_of_label
from dbeta.corpus.sources.base import reading
from dbeta.corpus.sources.challenge_2021 import UNDIVIDED, read_challenge_2021
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, label_matrix
from dbeta.evaluation.benchmarks.readers import FileReader

#: Scored class by the challenge's abbreviation → SNOMED codes, several where the challenge scores them as one.
CLASSES: dict[str, tuple[str, ...]] = {
    "AF": ("164889003",),
    "AFL": ("164890007",),
    "BBB": ("6374002",),
    "Brady": ("426627000",),
    "CLBBB": ("733534002", "164909002"),
    "CRBBB": ("713427006", "59118001"),
    "IAVB": ("270492004",),
    "IRBBB": ("713426002",),
    "LAD": ("39732003",),
    "LAnFB": ("445118002",),
    "PRWP": ("365413008",),
    "PR": ("10370003",),
    "LPR": ("164947007",),
    "LQRSV": ("251146004",),
    "LQT": ("111975006",),
    "NSIVCB": ("698252002",),
    "NSR": ("426783006",),
    "PAC": ("284470004", "63593006"),
    "PVC": ("427172004", "17338001"),
    "QAb": ("164917005",),
    "RAD": ("47665007",),
    "SA": ("427393009",),
    "SB": ("426177001",),
    "STach": ("427084000",),
    "TAb": ("164934002",),
    "TInv": ("59931005",),
}
#: Folder of a sub-dataset → dataset that it was made from.
HOLDS = {"ptb-xl": "ptb-xl", "cpsc_2018": "cpsc2018", "chapman_shaoxing": "csn", "ningbo": "csn"}
#: The normal class of the challenge score.
NORMAL = "NSR"
#: Size of the public training set.
RECORDS = 88_253


def load_challenge_2021(raw: Path) -> Benchmark:
    """Load the challenge's public training set, all sub-datasets that are present.

    Args:
        raw: the folder that holds `training/` and, for the challenge score, `weights.csv` of its evaluation code.

    Raises:
        DBetaError: the folder is not the challenge's training set.
    """
    source = read_challenge_2021(raw)
    table = source.table
    class_of = {code: name for name, codes in CLASSES.items() for code in codes}
    stated = [[class_of[code] for code in codes if code in class_of] for codes in table["statements"]]
    notes = [
        "A class that a record does not state counts as absent, as in the challenge, although the sub-datasets were "
        "annotated with different sets of classes."
    ]
    if len(table) < RECORDS:
        notes.append(f"The folder holds {len(table):,} of the challenge's {RECORDS:,} public records.")
    weights = None
    if (raw / "weights.csv").is_file():
        weights = read_weights(raw / "weights.csv")
    else:
        notes.append("The folder has no weights.csv, so no challenge score is computed.")
    parts = {part for file in table["file"] for part in Path(file).parts}
    return Benchmark(
        name="challenge-2021",
        protocol=f"PhysioNet/CinC Challenge 2021, {len(CLASSES)} scored classes; split {source.split_rule}; "
        f"{' and '.join(UNDIVIDED)}, which have several records of some patients, are in train as a whole",
        records=table,
        labels=label_matrix(stated, list(CLASSES)),
        conditions={name: condition_of_label("challenge-2021", name) for name in CLASSES},
        reader=FileReader(raw),
        notes=notes,
        weights=weights,
        sources=frozenset(dataset for folder, dataset in HOLDS.items() if folder in parts),
    )


def read_weights(file: Path) -> np.ndarray:
    """Read the weights of the challenge score: (true classes, predicted classes), in the order of `CLASSES`.

    Raises:
        DBetaError: the file cannot be read or lacks a class.
    """
    table = reading(file, lambda: pd.read_csv(file, index_col=0, dtype={0: str}))
    table.index = table.index.astype(str)
    rows = {code: i for i, name in enumerate(table.index) for code in name.split("|")}
    columns = {code: i for i, name in enumerate(table.columns) for code in str(name).split("|")}
    firsts = [codes[0] for codes in CLASSES.values()]
    if missing := [code for code in firsts if code not in rows or code not in columns]:
        raise DBetaError(f"{file}: lacks class {missing[0]}; get the challenge's weights.csv again")
    weights = table.to_numpy(float)[[rows[code] for code in firsts]][:, [columns[code] for code in firsts]]
    if not np.isfinite(weights).all():
        raise DBetaError(f"{file}: has an empty cell; get the challenge's weights.csv again")
    return weights
