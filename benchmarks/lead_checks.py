"""Detection rates of lead errors and bad signals on real records, with the false alarms on unchanged records.

    python benchmarks/lead_checks.py FOLDER [--fold 9] [--records 200] [--original] [--json FILE]
    python benchmarks/lead_checks.py FOLDER --quality [--json FILE]
    python benchmarks/lead_checks.py FOLDER --fit

FOLDER is PTB-XL in its own layout. Each error is introduced into each record: any alarm counts as a detection; it is
repaired if `fix_leads` restores the record, apart from a masked copy. Thresholds and constants were chosen on folds
1–8, so report other folds. `--quality` counts the verdicts on folds 1–8, on which its thresholds were chosen, on
fold 9, and on synthetic noise. `--fit` prints the constants `dbeta.signal.lead_prediction.PRODUCTS` from folds 1–8.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import dbeta
from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS
from dbeta.signal.lead_checks import check_leads, fix_leads, lead_products
from dbeta.signal.lead_errors import repair_matrix
from dbeta.signal.lead_prediction import REVERSALS
from dbeta.signal.quality import assess_quality

console = Console(width=110)
Repair = dict[str, dict[str, float]]


def main() -> None:
    """Measure and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument(
        "--original", action="store_true", help="leave out records that `restored.csv` says are restored"
    )
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = pd.read_csv(args.folder / "ptbxl_database.csv")
    if args.original:
        restored = pd.read_csv(args.folder / "restored.csv").set_index("ecg_id")["restored"]
        table = table[~table["ecg_id"].map(restored).astype(bool)]
    early = table[table["strat_fold"] <= 8]
    if args.fit:
        fit(read(args.folder, early))
        return
    if args.quality:
        figures = judge(args.folder, early, table[table["strat_fold"] == 9])
    else:
        chosen = table[table["strat_fold"] == args.fold].head(args.records)
        figures = detect(list(read(args.folder, chosen)))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


def read(folder: Path, table: pd.DataFrame) -> Iterator[ECG]:
    """Read the recordings of some rows, unchanged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbeta.DBetaWarning)
        for name in table["file"]:
            yield dbeta.read_ecg(folder / f"{name}.hea")


def lead_errors() -> dict[str, list[Repair]]:
    """Define the errors to introduce, as factors of the leads that each lead is wrongly computed from."""

    def swap(one: str, other: str) -> Repair:
        return {one: {other: 1.0}, other: {one: 1.0}}

    def cycle(a: str, b: str, c: str) -> Repair:
        return {a: {b: 1.0}, b: {c: 1.0}, c: {a: 1.0}}

    def flip(lead: str) -> Repair:
        return {lead: {lead: -1.0}}

    chest = LEADS[6:]
    arm, leg = REVERSALS.values()
    left: Repair = {**swap("I", "II"), "III": {"III": -1.0}, **swap("aVL", "aVF")}
    return {
        "aVR and aVL exchanged": [swap("aVR", "aVL")],
        "aVR and aVF exchanged": [swap("aVR", "aVF")],
        "aVL and aVF exchanged": [swap("aVL", "aVF")],
        "aVR, aVL, aVF in another order": [cycle("aVR", "aVL", "aVF"), cycle("aVR", "aVF", "aVL")],
        "electrodes of the arms exchanged": [arm],
        "right arm and left leg exchanged": [leg],
        "left arm and left leg exchanged": [left],
        "limb lead inverted": [flip(lead) for lead in LEADS[:6]],
        "chest lead inverted": [flip(lead) for lead in chest],
        "limb lead copied": [{"II": {"I": 1.0}}, {"aVL": {"aVR": 1.0}}, {"aVF": {"III": 1.0}}],
        "chest lead copied": [{one: {other: 1.0}} for one, other in zip(chest[1:], chest[:-1], strict=True)],
        "V1 and V2 exchanged": [swap("V1", "V2")],
        "V2 and V3 exchanged": [swap("V2", "V3")],
        "V3 and V4 exchanged": [swap("V3", "V4")],
        "V4 and V5 exchanged": [swap("V4", "V5")],
        "V5 and V6 exchanged": [swap("V5", "V6")],
        "V1 and V6 exchanged": [swap("V1", "V6")],
    }


def detect(records: list[ECG]) -> dict[str, Any]:
    """Introduce each error into each record, and count detections and repairs."""
    start = time.process_time()
    alarms = [check_leads(ecg) for ecg in records]
    each = (time.process_time() - start) / len(records) * 1e3
    kinds = Counter(error.kind for found in alarms for error in found)
    false = sum(bool(found) for found in alarms) / len(records)
    figures: dict[str, Any] = {"records": len(records), "false_alarms": false, "false_alarms_by_kind": dict(kinds)}
    view = Table(title=f"{len(records)} records; {each:.1f} ms each; false alarms on untouched ones: {false:.1%}")
    for column in ("error", "detected", "repaired"):
        view.add_column(column, justify="left" if column == "error" else "right")
    figures["errors"] = {}
    for name, repairs in lead_errors().items():
        found, right = 0, 0
        for i, ecg in enumerate(records):
            # The variants of an error take turns, so that each record is used once
            wrong = ECG(repair_matrix(repairs[i % len(repairs)]) @ ecg.signal, ecg.sampling_rate)
            errors = check_leads(wrong)
            found += bool(errors)
            right += bool(errors) and gives_back(fix_leads(wrong, errors), ecg)
        one = {"detected": found / len(records), "put_right": right / len(records)}
        figures["errors"][name] = one
        view.add_row(name, f"{one['detected']:.1%}", f"{one['put_right']:.1%}")
    console.print(view)
    console.print(f"false alarms by kind: {dict(kinds)}")
    return figures


def gives_back(fixed: ECG, true: ECG) -> bool:
    """Whether all leads match the true ones, except one that may be masked."""
    there = ~np.isnan(fixed.signal).all(axis=1)
    return bool(there.sum() >= 11 and np.abs(fixed.signal[there] - true.signal[there]).max() < 0.01)


def noises(count: int = 100) -> dict[str, Iterator[np.ndarray]]:
    """Make recordings without heartbeats, (12, 5000) mV at 500 Hz."""
    rng = np.random.default_rng(0)
    at, f = np.arange(5000) / 500, np.fft.rfftfreq(5000, 1 / 500)

    def shaped(gain: np.ndarray) -> np.ndarray:
        x = np.fft.irfft(np.fft.rfft(rng.standard_normal((12, 5000))) * gain, 5000)
        return rng.uniform(0.02, 0.5) * x / x.std(axis=1, keepdims=True)

    def hum(of: float) -> np.ndarray:
        return np.sin(2 * np.pi * of * at) * rng.uniform(0.05, 2, (12, 1)) + 0.003 * rng.standard_normal((12, 5000))

    return {
        "white noise": (shaped(np.ones_like(f)) for _ in range(count)),
        "1/f noise": (shaped((f + 0.1) ** -0.5) for _ in range(count)),
        "random walks": (shaped((f + 0.1) ** -1.0) for _ in range(count)),
        "muscle noise (20–150 Hz)": (shaped(((f > 20) & (f < 150)).astype(float)) for _ in range(count)),
        "mains, 50 Hz": (hum(50) for _ in range(count)),
        "mains, 59.9 Hz": (hum(59.9) for _ in range(count)),
        "flat": (np.full((12, 5000), level) for level in rng.uniform(-1, 1, count)),
        "saturated": (np.clip(20 * shaped((f + 0.05) ** -1.0), -1, 1) for _ in range(count)),
    }


def judge(folder: Path, early: pd.DataFrame, late: pd.DataFrame) -> dict[str, Any]:
    """Count the verdicts on real records and on noise."""
    view = Table(title="signal quality")
    for column in ("recordings", "number", "good", "fair", "no usable signal"):
        view.add_column(column, justify="left" if column == "recordings" else "right")
    figures: dict[str, Any] = {}
    start, total = time.process_time(), 0
    sets: dict[str, Iterator[ECG]] = {"PTB-XL, folds 1–8": read(folder, early), "PTB-XL, fold 9": read(folder, late)}
    sets |= {name: (ECG(x, 500) for x in signals) for name, signals in noises().items()}
    spent = 0.0
    for name, recordings in sets.items():
        verdicts: Counter[str] = Counter()
        for ecg in recordings:
            start = time.process_time()
            verdicts[assess_quality(ecg).verdict] += 1
            spent, total = spent + time.process_time() - start, total + 1
        count = sum(verdicts.values())
        figures[name] = {"records": count} | {one: verdicts[one] / count for one in ("good", "fair", "unusable")}
        view.add_row(name, str(count), *(f"{verdicts[one] / count:.1%}" for one in ("good", "fair", "unusable")))
    console.print(view)
    figures["ms_per_record"] = spent / total * 1e3
    console.print(f"{figures['ms_per_record']:.1f} ms per record")
    return figures


def fit(recordings: Iterator[ECG]) -> None:
    """Print the mean products of the independent leads times 1000, with equal weight for each record."""
    rows = [LEADS.index(lead) for lead in INDEPENDENT_LEADS]
    found = []
    for ecg in recordings:
        products = lead_products(ecg)[0][:, rows][:, :, rows]
        found.append(1000 * products / np.trace(products, axis1=1, axis2=2)[:, None, None])
    print(np.array2string(np.mean(found, axis=0), precision=1, separator=", ", suppress_small=True))


if __name__ == "__main__":
    main()
