"""How often a correct unit is doubted and a wrong one believed, on the real recordings of `../shared/data`.

    python benchmarks/units.py PTBXL CINC2011 [--json FILE]

PTBXL and CINC2011 are the folders that `../shared/tools/unpack_ptbxl.py` and `unpack_cinc2011.py` write. Of PTB-XL only
the originals count, as the voltages of restored records are estimates; of the challenge 2011 only acceptable records.
Each recording is measured as it is and in wrong units, with all its leads, with the limb leads, and with lead I alone.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.amplitude import Sizes, qrs_sizes
from dbeta.io.read import find_ecgs, read_ecg

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
#: Factors from mV to the numbers in a file.
UNITS = {"mV": 1.0, "1e-4 V": 10.0, "1e-5 V": 100.0, "uV": 1000.0, "10 mV": 0.1, "V": 0.001}
LEAD_SETS = {"twelve leads": 12, "limb leads": 6, "lead I": 1}


def main() -> None:
    """Measure, print a table for each set of leads, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("cinc2011", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)
        sizes = np.array(list(recordings(args.ptbxl, args.cinc2011)))  # (recordings, leads)
    figures = {name: shares(sizes[:, :count]) for name, count in LEAD_SETS.items()}
    for name, table in figures.items():
        print(f"\n{name}, {len(sizes)} recordings\n{pd.DataFrame(table).T.to_string()}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def shares(sizes: np.ndarray) -> dict[str, dict[str, str]]:
    """Of recordings in each unit without its name: the share taken for mV, found to be of one unit, and in doubt."""
    table = {}
    for name, factor in UNITS.items():
        found = {"taken for mV": 0, "surely something else": 0, "in doubt": 0}
        for row in sizes * factor:
            alive = row[row > 0]
            units = Sizes(float(np.quantile(alive, 0.75)), len(alive)).possible_units() if alive.size else []
            one = len(units) == 1
            found["taken for mV" if one and units[0] == 1 else "surely something else" if one else "in doubt"] += 1
        table[name] = {key: f"{100 * count / len(sizes):.2f} %" for key, count in found.items()}
    return table


def recordings(ptbxl: Path, cinc: Path) -> Iterator[np.ndarray]:
    """The sizes of the QRS complexes of each recording, (12,) mV."""
    table = pd.read_csv(ptbxl / "ptbxl_database.csv").merge(pd.read_csv(ptbxl / "restored.csv"), on="ecg_id")
    originals = table[~table["restored"]]
    for name in originals["filename_hr"].where(originals["rate"] == 500, originals["filename_lr"]):
        yield _sizes(ptbxl / f"{name}.hea")
    for folder in ("challenge-2021", "cpsc2018-native"):
        for file in find_ecgs(SHARED / folder):
            yield _sizes(file)
    for record in range(60):
        yield _sizes(SHARED / "code-15" / "exams_part0.hdf5", record=str(record))
    qualities = pd.read_csv(cinc / "labels.csv").quality
    for signal, quality in zip(np.load(cinc / "signals.npy"), qualities, strict=True):
        if quality == "acceptable":
            yield qrs_sizes(signal[[0, 1, 2, 3, 5, 4, *range(6, 12)]] / 200, 500)


def _sizes(file: Path, record: str | None = None) -> np.ndarray:
    try:
        ecg = read_ecg(file, record=record)
    except DBetaError:
        return np.zeros(len(LEADS))
    return qrs_sizes(ecg.signal, ecg.sampling_rate)


if __name__ == "__main__":
    main()
