"""Share of normal ECGs above the 80th percentile of a finding, for sets of leads: with the right panel, about 20 %.

    python benchmarks/few_leads.py PTB-XL-FOLDER [--model tiny] [--fold 9] [--records 200] [--json FILE]

Normal ECGs are PTB-XL's records that are certainly NORM, originals at 500 Hz if `restored.csv` says which are. Each
lead set is compared with the panel of twelve leads that the checkpoint holds ("12-lead panel") and with the panel
without the same leads ("same leads"), which `diagnose` uses. Findings that the leads cannot show are in brackets:
`diagnose` does not answer them. The last column is the time for the first recording with these leads.
"""

from __future__ import annotations

import argparse
import ast
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import dbeta
from dbeta.conditions.registry import find_condition
from dbeta.ecg import LEADS
from dbeta.inference.few_leads import LeadPanels

LEAD_SETS: dict[str, tuple[str, ...]] = {
    "12": LEADS,
    "I, II, V1, V2, V3": (*LEADS[:6], "V1", "V2", "V3"),
    "I, II, V2": (*LEADS[:6], "V2"),
    "6 limb": LEADS[:6],
    "I": ("I",),
    "II": ("II",),
    "V1": ("V1",),
}
FINDINGS = (
    "anterior myocardial infarction",
    "inferior myocardial infarction",
    "left ventricular hypertrophy",
    "left bundle branch block",
    "atrial fibrillation",
)
THRESHOLD = 80.0


def main() -> None:
    """Measure and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = dbeta.load(args.model)
    signals = normal_signals(model, args.folder, args.fold, args.records)
    question = model.ask(FINDINGS)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as cache:  # so that the times are those of a first use
        panels = LeadPanels(model, Path(cache))
        question.few = panels.embeddings
        for name, leads in LEAD_SETS.items():
            alive = np.isin(model.processor.leads, leads)
            masked = np.where(alive[:, None], signals, np.float32(0))
            batches = [model.embed_signals(list(masked[i : i + 32])) for i in range(0, len(masked), 32)]
            scores = question.scores(np.concatenate(batches))
            began = time.perf_counter()
            same = question.percentiles(scores, alive)
            seconds = time.perf_counter() - began
            full = question.percentiles(scores)
            for i, finding in enumerate(FINDINGS):
                condition = find_condition(finding)
                assert condition is not None
                rows.append(
                    {
                        "leads": name,
                        "finding": finding,
                        "answered": condition.readable_in(leads),
                        "12-lead panel": float((full[:, i] > THRESHOLD).mean()),
                        "same leads": float((same[:, i] > THRESHOLD).mean()),
                        "seconds": seconds,
                    }
                )
    show(rows, f"{args.model}: share of {len(signals)} normal ECGs above the {THRESHOLD:.0f}th percentile")
    if args.json is not None:
        args.json.write_text(json.dumps({"records": len(signals), "rows": rows}, indent=1) + "\n")


def normal_signals(model: dbeta.DBeta, folder: Path, fold: int, count: int) -> np.ndarray:
    """Normal records of a fold as the model reads them: (n, leads, samples) float32."""
    table = pd.read_csv(folder / "ptbxl_database.csv")
    table = table[table["strat_fold"] == fold]
    kinds = folder / "restored.csv"
    if kinds.is_file():
        about = pd.read_csv(kinds).set_index("ecg_id")
        original = table["ecg_id"].map((~about["restored"].astype(bool)) & (about["rate"] == 500))
        table = table[original.astype(bool)]
    normal = table["scp_codes"].map(lambda text: ast.literal_eval(text).get("NORM", 0) >= 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.stack(
            [model.processor.signal(dbeta.read_ecg(folder / name)) for name in table["filename_hr"][normal][:count]]
        )


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the shares, one line per lead set and finding."""
    view = Table(title=title, title_justify="left")
    for column in ("leads", "finding", "12-lead panel", "same leads", "first use"):
        view.add_column(column, justify="left" if column in ("leads", "finding") else "right")
    for name in LEAD_SETS:
        view.add_section()
        for i, row in enumerate(one for one in rows if one["leads"] == name):
            finding = row["finding"] if row["answered"] else f"({row['finding']})"
            shares = (f"{100 * row[panel]:.1f} %" for panel in ("12-lead panel", "same leads"))
            view.add_row(name if i == 0 else "", finding, *shares, f"{row['seconds']:.2f} s" if i == 0 else "")
    Console(width=110).print(view)


if __name__ == "__main__":
    main()
