"""How similar are simulated ECGs to real ones?

    python benchmarks/realism.py CORPUS [--json FILE] [--pictures FOLDER] [--records 1000] [--seed 100] [--quick]

CORPUS is a PTB-XL corpus made by `dbeta corpus build`; only its training split (folds 1 to 8) is read. The same
delineator (NeuroKit2's prominences) is applied to real and simulated recordings. Compared are

(1) the distributions of rate, PR, QRS, QT, axis, R, S and T amplitudes per lead, for normal ECGs and for each class,
    by quantiles and by the Kolmogorov-Smirnov distance (0 identical, 1 disjoint);
(2) the noise between T and P waves, by its spectrum;
(3) everything together: the AUROC of a classifier that tries to tell real from simulated by these measures, cross-
    validated over patients; 0.5 would be perfect. For normal ECGs also by each kind of measure alone.

With `--originals`, only recordings that were not restored are compared; name PTB-XL metadata with a column `restored`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.signal import welch
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from dbeta.corpus.store import decode_signal, load_corpus
from dbeta.ecg import LEADS
from dbeta.simulation.delineate import delineate
from dbeta.simulation.simulation import RATE, simulate

#: Classes to compare, by names of findings.
CLASSES = (
    "normal ecg",
    "inferior myocardial infarction",
    "anteroseptal myocardial infarction",
    "left bundle branch block",
    "right bundle branch block",
    "incomplete right bundle branch block",
    "left anterior fascicular block",
    "left ventricular hypertrophy",
    "first-degree av block",
    "atrial fibrillation",
    "non-specific intraventricular conduction delay",
    "ischemic st-t changes",
)
#: Classes with fewer real records are skipped.
FEWEST = 15
BATCH = 100
#: Kinds of measures, by the beginning of their names.
KINDS = {
    "rate, intervals and axis": ("rate", "pr", "qrs", "qt", "axis"),
    "amplitudes": ("r ", "s ", "t "),
    "power by frequency": ("power",),
}
BANDS = ((0.1, 0.6), (0.6, 5), (5, 20), (20, 45), (45, 70), (70, 150))
console = Console(width=120)


def main() -> None:
    """Measure, print, draw and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each class")
    parser.add_argument("--records", type=int, default=1000, help="simulated records, and maximum of real ones")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument(
        "--originals", type=Path, help="CSV of the record and `restored`, as for `dbeta evaluate --groups`"
    )
    parser.add_argument("--quick", action="store_true", help="few records: does it run at all?")
    args = parser.parse_args()
    if args.quick:
        args.records = 40
    warnings.simplefilter("ignore")
    real, real_signals = real_records(args.corpus, args.records, args.originals)
    simulated, signals = simulated_records(args.records, args.seed)
    classes = {}
    for name in CLASSES:
        ours, theirs = having(simulated, name), having(real, name)
        if len(theirs) >= (2 if args.quick else FEWEST) and len(ours) >= 2:
            classes[name] = compare(theirs, ours)
            if args.pictures:
                draw(name, real_signals[theirs.index], signals[ours.index], args.pictures)
    normal = having(real, "normal ecg"), having(simulated, "normal ecg")
    aurocs = {"all": tell_apart(real, simulated), "normal": tell_apart(*normal)}
    for kind, words in KINDS.items():
        aurocs[f"normal, by {kind}"] = tell_apart(*normal, words)
    # Rules for voltages leave many healthy hearts undetermined that readers would call normal
    healthy, _ = simulated_records(len(normal[0]), args.seed, "healthy")
    aurocs["normal, of healthy hearts"] = tell_apart(normal[0], healthy)
    figures = {
        "records": {"real": len(real), "simulated": len(simulated)},
        "classes": classes,
        "auroc": aurocs,
    }
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def real_records(corpus: Path, most: int, originals: Path | None) -> tuple[pd.DataFrame, np.ndarray]:
    """Load measures and signals of real recordings of the training split."""
    rows = load_corpus(corpus, "train")
    keep = np.arange(len(rows))
    if originals is not None:
        known = pd.read_csv(originals, index_col=0)["restored"].rename(index=str)
        restored = known.reindex(rows["record_id"][:]).astype(str).to_numpy() == "True"
        keep = keep[~restored]
    keep = np.random.default_rng(0).permutation(keep)[:most]
    signals = np.stack([_ten_seconds(decode_signal(rows[int(i)]).signal) for i in track(keep, "reading")])
    table = measures(signals)
    table["findings"] = pd.Series([frozenset(rows[int(i)]["findings"]) for i in keep], dtype=object)
    table["patient"] = [rows[int(i)]["patient_id"] for i in keep]
    return table, signals


def simulated_records(count: int, seed: int, mix: str = "balanced") -> tuple[pd.DataFrame, np.ndarray]:
    """Make measures and signals of simulated recordings."""
    parts = [simulate(seed, range(at, min(at + BATCH, count)), mix) for at in range(0, count, BATCH)]
    signals = np.concatenate([part.signals.numpy() for part in parts])
    table = measures(signals)
    found = [
        frozenset(name for name, sign in part.findings.items() if sign[i] > 0)
        for part in parts
        for i in range(len(part.signals))
    ]
    table["findings"] = pd.Series(found, dtype=object)
    table["patient"] = [f"simulated {i}" for i in range(count)]
    return table, signals


def _ten_seconds(signal: np.ndarray) -> np.ndarray:
    return np.pad(signal, ((0, 0), (0, max(0, 5000 - signal.shape[1]))))[:, :5000]


def measures(signals: np.ndarray) -> pd.DataFrame:
    """Delineate signals (n, 12, 5000) and measure their noise."""
    rows = []
    for signal in track(signals, "delineating"):
        found = delineate(signal, RATE)
        row: dict[str, float] = {name: getattr(found, name) for name in ("rate", "pr", "qrs", "qt", "axis")}
        for part in ("r", "s", "t"):
            row |= {f"{part} {lead}": float(value) for lead, value in zip(LEADS, getattr(found, part), strict=True)}
        frequency, power = welch(signal, RATE, nperseg=2048)
        whole = power.mean(axis=0)
        for low, high in BANDS:
            inside = (frequency >= low) & (frequency < high)
            row[f"power {low:g}-{high:g} Hz"] = float(np.log10(whole[inside].mean() + 1e-12))
        rows.append(row)
    return pd.DataFrame(rows)


def having(table: pd.DataFrame, finding: str) -> pd.DataFrame:
    """Select the records with a finding."""
    return table[[finding in found for found in table["findings"]]]


def columns_of(table: pd.DataFrame) -> list[str]:
    """Return the names of the measures."""
    return [str(name) for name in table if name not in ("findings", "patient")]


def compare(real: pd.DataFrame, simulated: pd.DataFrame) -> dict[str, Any]:
    """Compute quantiles of each measure, and the distance of its distributions."""
    found: dict[str, Any] = {"real": len(real), "simulated": len(simulated), "measures": {}}
    for name in columns_of(real):
        a, b = real[name].dropna(), simulated[name].dropna()
        if len(a) > 1 and len(b) > 1:
            found["measures"][name] = {
                "real": [float(value) for value in np.quantile(a, [0.1, 0.5, 0.9])],
                "simulated": [float(value) for value in np.quantile(b, [0.1, 0.5, 0.9])],
                "distance": float(ks_2samp(a, b).statistic),
            }
    found["distance"] = float(np.mean([one["distance"] for one in found["measures"].values()]))
    return found


def tell_apart(real: pd.DataFrame, simulated: pd.DataFrame, words: tuple[str, ...] = ("",)) -> float:
    """AUROC of telling simulated from real by measures that begin with a word, cross-validated over patients."""
    table = pd.concat([real, simulated], ignore_index=True)
    truth = np.repeat([0, 1], [len(real), len(simulated)])
    model = HistGradientBoostingClassifier(max_iter=150, random_state=0)
    folds = GroupKFold(n_splits=5)
    groups = pd.factorize(table["patient"])[0]
    known = [name for name in columns_of(table) if name.startswith(words)]
    guess = cross_val_predict(model, table[known], truth, cv=folds, groups=groups, method="predict_proba")
    return float(roc_auc_score(truth, guess[:, 1]))


def draw(name: str, real: np.ndarray, simulated: np.ndarray, folder: Path, each: int = 4) -> None:
    """Draw real beside simulated recordings of a class, 2 s of each lead."""
    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(each, 2, figsize=(18, 3.2 * each), squeeze=False)
    for column, (kind, signals) in enumerate((("real", real), ("simulated", simulated))):
        for axis, signal in zip(axes[:, column], signals, strict=False):
            _draw_leads(axis, signal)
        axes[0, column].set_title(f"{name}: {kind}", loc="left")
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(folder / f"{name.replace(' ', '-')}.png", dpi=80)
    plt.close(figure)


def _draw_leads(axis: Any, signal: np.ndarray) -> None:
    seconds = 1.6
    samples = int(seconds * RATE)
    for i, lead in enumerate(LEADS):
        row, place = divmod(i, 6)
        part = signal[i, 500 : 500 + samples]
        axis.plot(np.arange(samples) / RATE + 1.7 * place, part - np.median(part) - 3.2 * row, "k", linewidth=0.7)
        axis.text(1.7 * place, 1.2 - 3.2 * row, lead, fontsize=7)
    axis.set_ylim(-5.4, 2.2)


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    view = Table(title="median (10 % to 90 %), real beside simulated; KS distance", show_lines=False)
    for column in ("class", "measure", "real", "simulated", "distance"):
        view.add_column(column)
    for name, found in figures["classes"].items():
        shown = ("rate", "pr", "qrs", "qt", "axis", "r V5", "s V2", "t V2", "t V5")
        for measure in shown:
            if measure in found["measures"]:
                one = found["measures"][measure]
                view.add_row(name, measure, _spread(one["real"]), _spread(one["simulated"]), f"{one['distance']:.2f}")
        sizes = f"{found['real']} real, {found['simulated']} simulated"
        view.add_row(name, "all measures", sizes, "", f"{found['distance']:.2f}", end_section=True)
    console.print(view)
    aurocs: Sequence[tuple[str, float]] = list(figures["auroc"].items())
    console.print("AUROC of telling real from simulated: " + ", ".join(f"{name} {value:.3f}" for name, value in aurocs))


def _spread(values: Sequence[float]) -> str:
    low, median, high = values
    return f"{median:.3g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    main()
