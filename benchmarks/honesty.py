"""Does a simulated record show what the simulator claims? Checks every finding with an independent delineator.

    python benchmarks/honesty.py [--json FILE] [--records 6000] [--seeds 41 1 2] [--each 8] [--quick]

For each finding of the simulator, noise-free records that have it are measured with NeuroKit2
(`dbeta.simulation.delineate`) and compared with the simulated values: rate, PR, QRS, QT and axis. Intervals and axis
are compared in regular rhythms with a P wave before each beat, QT if T waves are upright and end before the next P
wave, and only the rate in other rhythms. A finding's figure is the median over its records and seeds of measured minus
simulated, without the delineator's own error (`TOLERANCES`).
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dbeta.simulation.delineate import TOLERANCES, errors, readable
from dbeta.simulation.simulation import simulate
from dbeta.utils.workers import default_workers

console = Console(width=110)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--records", type=int, default=6000, help="records simulated for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[41, 1, 2])
    parser.add_argument("--each", type=int, default=8, help="maximum number of records per finding and seed")
    parser.add_argument("--quick", action="store_true", help="a few records: does it run at all?")
    args = parser.parse_args()
    records, seeds, each = (64, [41], 1) if args.quick else (args.records, args.seeds, args.each)
    off: dict[str, dict[str, list[float]]] = {}
    with ProcessPoolExecutor(default_workers(), mp_context=get_context("spawn")) as workers:
        for seed in seeds:
            chosen = choose(seed, records, each)
            rows = sorted({row for rows in chosen.values() for row in rows})
            results = track(workers.map(read, [seed] * len(rows), rows), f"seed {seed}", len(rows))
            found = dict(zip(rows, results, strict=True))
            for finding, some in chosen.items():
                for row in some:
                    for measure, error in found[row].items():
                        off.setdefault(finding, {}).setdefault(measure, []).append(error)
    figures = {finding: summary(of) for finding, of in sorted(off.items())}
    report(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def choose(seed: int, records: int, each: int) -> dict[str, list[int]]:
    """Select records that have each finding: regular ones if possible, those with clear T waves first."""
    rank, names = [], []
    for start in range(0, records, 500):
        some = simulate(seed, range(start, min(start + 500, records)))
        regular, ends = readable(some)
        rank.append(2 * ~regular + 1 * ~ends)
        names.append({name: sign > 0 for name, sign in some.findings.items()})
    order = torch.cat(rank)
    present = {name: torch.cat([one[name] for one in names]) for name in names[0]}
    return {
        name: sorted(has.nonzero()[:, 0].tolist(), key=lambda row: (int(order[row]), row))[:each]
        for name, has in present.items()
        if has.any()
    }


def read(seed: int, row: int) -> dict[str, float]:
    """Measured minus simulated values of a record; NaN if not applicable."""
    torch.set_num_threads(1)
    return errors(simulate(seed, [row], keep_clean=True), 0)


def summary(off: dict[str, list[float]]) -> dict[str, float | None]:
    """Summarise a finding: number of records, and the median error of each measure, None if none could be measured."""
    told = {measure: np.array(some)[~np.isnan(some)] for measure, some in off.items()}
    medians = {measure: float(np.median(some)) if len(some) > 1 else None for measure, some in told.items()}
    return {"records": len(off["rate"]), "regular": len(told["axis"]), **medians}


def report(figures: dict[str, dict[str, float | None]]) -> None:
    """Print a table, and the number of findings within the tolerances."""
    view = Table(title="measured minus simulated, medians; * beyond the tolerance", title_justify="left")
    view.add_column("finding")
    for column in ("records", "regular", "rate, /min", "PR, ms", "QRS, ms", "QT, ms", "axis, °"):
        view.add_column(column, justify="right")
    for finding, one in figures.items():
        view.add_row(finding, *(str(one[name]) for name in ("records", "regular")), *(cell(one, m) for m in TOLERANCES))
    console.print(view)
    for measure, (tolerance, _) in TOLERANCES.items():
        told = [abs(value) for one in figures.values() if (value := one[measure]) is not None]
        within = sum(value <= tolerance for value in told)
        unit = {"rate": "per minute", "axis": "degrees"}.get(measure, "s")
        console.print(f"{measure:5} within {tolerance:g} {unit}: {within} of {len(told)} findings")


def cell(one: dict[str, float | None], measure: str) -> str:
    """Format a median for the table."""
    value = one[measure]
    if value is None:
        return "–"
    shown = value * (1 if measure in ("rate", "axis") else 1000)
    return f"{shown:+.0f}" + ("*" if abs(value) > TOLERANCES[measure][0] else "")


if __name__ == "__main__":
    main()
