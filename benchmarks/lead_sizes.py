"""How well the size of a missing lead is guessed from the others, on real records.

    python benchmarks/lead_sizes.py PTB-XL-FOLDER
    python benchmarks/lead_sizes.py PTB-XL-FOLDER --fit

Measured on the originals of fold 9 at 500 Hz. `--fit` prints the constants of `dbeta.signal.lead_sizes` from folds 1–8.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dbeta.ecg import LEADS
from dbeta.signal.lead_sizes import MEAN, probable_sizes
from originals import original_signals

GIVEN = {"all others": LEADS, "the limb leads": LEADS[:6], "lead I": LEADS[:1]}


def main() -> None:
    """Measure, or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    signals = original_signals(args.folder, held_back=not args.fit)
    logs = np.array([0.5 * np.log(signal.var(axis=1, ddof=1) + 1e-6) for signal in signals])  # (n, 12)
    if args.fit:
        print(f"{len(logs)} records", np.round(logs.mean(axis=0), 3).tolist(), sep="\n")
        print(*np.round(np.cov(logs.T), 3).tolist(), sep="\n")
        return
    view = Table(title=f"typical factor by which the size of a lead is missed, {len(logs)} records of fold 9")
    view.add_column("lead")
    for name in ("nothing known", *GIVEN):
        view.add_column(name, justify="right")
    for i, lead in enumerate(LEADS):
        errors = [logs[:, i] - MEAN[i]]
        for given in GIVEN.values():
            sizes = np.where([one in given and one != lead for one in LEADS], np.exp(logs), np.nan)
            errors.append(logs[:, i] - np.log([probable_sizes(row)[i] for row in sizes]))
        factors = [np.exp(np.sqrt(np.mean(error**2))) for error in errors]
        view.add_row(lead, *(f"{factor:.2f}" for factor in factors))
    Console(width=100).print(view)


if __name__ == "__main__":
    main()
