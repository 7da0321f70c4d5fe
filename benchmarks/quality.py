"""Quality verdicts against those of people, and on recordings that are known to be good.

    python benchmarks/quality.py FOLDER [--ptb-xl FOLDER] [--others FILE_OR_FOLDER ...] [--fit] [--json FILE]

FOLDER holds `signals.npy`, (records, 12, 5000) int16 at 500 Hz with 200 steps per mV, leads I, II, III, aVR, aVF, aVL,
V1–V6, and `labels.csv` with `record` and `quality`, "acceptable" or "unacceptable": PhysioNet/CinC Challenge 2011. The
accuracy, the AUROC of the score with 95 % by bootstrap over records, and the misjudged records; beside them the rule
"fair if a lead is unusable or three are fair". Then repetitions of stratified 10-fold cross-validation, in which
each fold fits the coefficients and chooses the penalty by cross-validation within the rest. `--fit` prints
coefficients fitted on all records, for `dbeta.signal.acceptance`.

`--ptb-xl` adds the share of PTB-XL's originals that stay acceptable, and the AUROC of the score for its noise columns;
`--others` the share of the files below, among them HDF5 files of several exams.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dbeta
from dbeta.ecg import ECG
from dbeta.signal import quality as under_test
from dbeta.signal.acceptance import ACCEPTABLE, REASONS, terms, worst
from dbeta.signal.quality import FAIR, GOOD, UNUSABLE, Quality, assess_quality

console = Console(width=110)
LEADS_IN_FILE = ("I", "II", "III", "aVR", "aVF", "aVL", *(f"V{i}" for i in range(1, 7)))
PENALTIES = [0.03, 0.1, 0.3, 1.0, 3.0]
NOISE_COLUMNS = ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems")
#: Share of acceptable records in the whole of the challenge's set-a (773 of 998); its excerpts hold another share.
NATURAL = 0.775


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ptb-xl", type=Path)
    parser.add_argument("--others", type=Path, nargs="+", default=[])
    parser.add_argument("--repeats", type=int, default=10, help="of the cross-validation")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", dbeta.DBetaWarning)
    labels = pd.read_csv(args.folder / "labels.csv")
    signals = np.load(args.folder / "signals.npy", mmap_mode="r")
    graded = labels["quality"].isin(["acceptable", "unacceptable"]).to_numpy()
    labels, truth = labels[graded], (labels["quality"][graded] == "acceptable").to_numpy()
    recordings = [ECG(signals[i] / 200, 500, LEADS_IN_FILE) for i in np.flatnonzero(graded)]
    found = [assess_quality(ecg) for ecg in recordings]
    figures: dict[str, Any] = {"time": duration(recordings), "agreement": agreement(truth, found)}
    misjudged(labels["record"], truth, found)
    features = np.stack([worst(terms(one.measures)) for one in found])  # (records, 4)
    usable = np.array([one.verdict != UNUSABLE for one in found])
    figures["cross_validation"] = cross_validate(features, usable, truth, args.repeats)
    if args.fit:
        fit(features[usable], truth[usable])
    if args.ptb_xl:
        figures["ptb_xl"] = ptb_xl(args.ptb_xl)
    if args.others:
        figures["others"] = others(args.others)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


def duration(recordings: list[ECG]) -> dict[str, float]:
    """Milliseconds per record: the measures of the leads, and what the verdict on the whole adds to them."""
    added = 0.0

    def timed(function: Any) -> Any:
        def call(*args: Any) -> Any:
            nonlocal added
            start = time.process_time()
            result = function(*args)
            added += time.process_time() - start
            return result

        return call

    names = ("likeness", "jumps", "judge_acceptance")
    before = {name: getattr(under_test, name) for name in names}
    for name, function in before.items():
        setattr(under_test, name, timed(function))
    start = time.process_time()
    for ecg in recordings:
        assess_quality(ecg)
    whole = time.process_time() - start
    for name, function in before.items():
        setattr(under_test, name, function)
    each = {"leads_ms": (whole - added) / len(recordings) * 1e3, "whole_ms": whole / len(recordings) * 1e3}
    console.print(
        f"{len(recordings)} records, {each['whole_ms']:.1f} ms each; without the verdict on the whole "
        f"{each['leads_ms']:.1f} ms (ratio {each['whole_ms'] / each['leads_ms']:.2f})"
    )
    return each


def by_counting(one: Quality) -> float:
    """Score by the number of bad leads: unusable ones above all, then fair ones."""
    kinds = list(one.leads.values())
    return -100.0 if one.verdict == UNUSABLE else -float(kinds.count(UNUSABLE)) - 0.05 * kinds.count(FAIR)


def agreement(truth: np.ndarray, found: list[Quality]) -> dict[str, Any]:
    """Agreement with people: of the verdict, and of counting bad leads."""
    counts = np.array([by_counting(one) for one in found])
    rules = {
        "verdict and score": (np.array([one.acceptable for one in found]), np.array([one.score for one in found])),
        "counting bad leads": (
            np.array(
                [c > -1 and list(one.leads.values()).count(FAIR) < 3 for c, one in zip(counts, found, strict=True)]
            ),
            counts,
        ),
    }
    view = Table(title=f"{len(truth)} records, {truth.sum()} acceptable to people")
    for column in (
        "rule",
        "accuracy",
        "AUROC",
        "acceptable, accepted",
        "unacceptable, refused",
        "at 77.5 % acceptable",
    ):
        view.add_column(column, justify="left" if column == "rule" else "right")
    figures = {}
    for name, (accepted, scores) in rules.items():
        one = rates(truth, accepted, scores)
        low, high = bootstrap(lambda i, of=scores: roc_auc_score(truth[i], of[i]), truth)
        bottom, top = bootstrap(lambda i, of=accepted: (truth[i] == of[i]).mean(), truth)
        figures[name] = one | {"auroc_interval": [low, high], "accuracy_interval": [bottom, top]}
        view.add_row(
            name,
            f"{one['accuracy']:.3f} ({bottom:.3f}–{top:.3f})",
            f"{one['auroc']:.3f} ({low:.3f}–{high:.3f})",
            f"{(accepted & truth).sum()} of {truth.sum()}",
            f"{(~accepted & ~truth).sum()} of {(~truth).sum()}",
            f"{one['natural']:.3f}",
        )
    console.print(view)
    return figures


def rates(truth: np.ndarray, accepted: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Accuracy, AUROC, sensitivity to acceptable and specificity, and accuracy at the natural share of acceptable."""
    sensitivity, specificity = accepted[truth].mean(), (~accepted[~truth]).mean()
    return {
        "accuracy": float((truth == accepted).mean()),
        "auroc": float(roc_auc_score(truth, scores)),
        "sensitivity": float(sensitivity),
        "specificity": float(specificity),
        "natural": float(NATURAL * sensitivity + (1 - NATURAL) * specificity),
    }


def bootstrap(figure: Any, truth: np.ndarray, resamples: int = 1000) -> tuple[float, float]:
    """95 % interval of a figure of resampled records of both kinds."""
    rng = np.random.default_rng(0)
    kinds = [np.flatnonzero(truth), np.flatnonzero(~truth)]
    values = [figure(np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])) for _ in range(resamples)]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def misjudged(names: pd.Series, truth: np.ndarray, found: list[Quality]) -> None:
    """Print the records on which people and the verdict differ."""
    view = Table(title="misjudged")
    for column in ("record", "people", "score", "objections"):
        view.add_column(column)
    for name, good, one in zip(names, truth, found, strict=True):
        if good != one.acceptable:
            people = "acceptable" if good else "unacceptable"
            view.add_row(str(name), people, f"{one.score:.2f}", "; ".join(one.objections))
    console.print(view)


def model() -> Any:
    """The logistic model with a penalty chosen by cross-validation within the records that it is fitted on."""
    grid = {"logisticregression__C": PENALTIES}
    inner = StratifiedKFold(5, shuffle=True, random_state=0)
    return GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), grid, scoring="neg_log_loss", cv=inner)


def cross_validate(features: np.ndarray, usable: np.ndarray, truth: np.ndarray, repeats: int) -> dict[str, float]:
    """Agreement with people on records that the coefficients were not fitted on, mean over the repetitions."""
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=repeats, random_state=0)
    scores = np.zeros((repeats, len(truth)))
    for i, (train, test) in enumerate(folds.split(features, truth)):
        train = train[usable[train]]
        fitted = model().fit(features[train], truth[train])
        scores[i // 10, test] = np.where(usable[test], fitted.predict_proba(features[test])[:, 1], 0)
    every = pd.DataFrame([rates(truth, one >= ACCEPTABLE, one) for one in scores])
    mean, spread = every.mean(), every.std(ddof=0)
    console.print(f"nested cross-validation, mean ± standard deviation over {repeats} repetitions of ten folds:")
    console.print(", ".join(f"{name} {mean[name]:.3f} ± {spread[name]:.3f}" for name in every.columns))
    return {str(name): float(value) for name, value in mean.items()}


def fit(features: np.ndarray, truth: np.ndarray) -> None:
    """Print the coefficients per unit of each term, the intercept, and typical values of acceptable recordings."""
    search = model().fit(features, truth)
    scaler, logistic = search.best_estimator_[0], search.best_estimator_[1]
    weights = logistic.coef_[0] / scaler.scale_
    console.print(f"C = {search.best_params_}; terms: {', '.join(REASONS)}")
    console.print(f"COEFFICIENTS {weights.round(2).tolist()}")
    console.print(f"INTERCEPT {logistic.intercept_[0] - weights @ scaler.mean_:.2f}")
    console.print(f"TYPICAL {np.median(features[truth], axis=0).round(1).tolist()}")


def ptb_xl(folder: Path) -> dict[str, Any]:
    """Share of PTB-XL's originals that stay acceptable, and the AUROC for what its noise columns note."""
    table = pd.read_csv(folder / "ptbxl_database.csv").merge(pd.read_csv(folder / "restored.csv"), on="ecg_id")
    table = table[~table["restored"].astype(bool)]
    names = table["filename_hr"].where(table["rate"] == 500, table["filename_lr"])
    found = [assess_quality(dbeta.read_ecg(folder / f"{name}.hea")) for name in names]
    scores = np.array([one.score for one in found])
    counted = np.array([by_counting(one) for one in found])
    figures: dict[str, Any] = {}
    for rate in (500, 100):
        own = (table["rate"] == rate).to_numpy()
        verdicts = [one for one, chosen in zip(found, own, strict=True) if chosen]
        figures[f"{rate} Hz"] = share(f"PTB-XL, originals at {rate} Hz", verdicts)
    noted = {name: table[name].fillna("").astype(str).str.strip().ne("").to_numpy() for name in NOISE_COLUMNS}
    own = (table["rate"] == 500).to_numpy()
    for name, there in noted.items():
        figures[name] = {
            "noted": int(there[own].sum()),
            "auroc": float(roc_auc_score(there[own], -scores[own])),
            "auroc_of_counting": float(roc_auc_score(there[own], -counted[own])),
        }
        line = "{noted} noted, AUROC of the score {auroc:.3f}, of counting bad leads {auroc_of_counting:.3f}"
        console.print(f"{name}: {line.format(**figures[name])}")
    return figures


def share(name: str, found: Iterable[Quality]) -> dict[str, float]:
    """Print and return the share of verdicts."""
    verdicts = [one.verdict for one in found]
    figures = {kind: verdicts.count(kind) / len(verdicts) for kind in (GOOD, FAIR, UNUSABLE)}
    console.print(f"{name}: {len(verdicts)} records, " + ", ".join(f"{kind} {of:.1%}" for kind, of in figures.items()))
    return {"records": len(verdicts)} | figures


def others(paths: list[Path]) -> dict[str, Any]:
    """Shares of verdicts on the recordings of files and folders."""
    return {str(path): share(path.name, (assess_quality(ecg) for ecg in recordings_of(path))) for path in paths}


def recordings_of(path: Path) -> Iterator[ECG]:
    """The recordings of a file, or of the WFDB and HDF5 files in a folder and below."""
    files = [path] if path.is_file() else sorted(path.rglob("*.hea")) + sorted(path.rglob("*.hdf5"))
    for file in files:
        if file.suffix == ".hdf5":
            with h5py.File(file) as several:
                exams = [str(number) for number in several["exam_id"][:]]
            yield from (dbeta.read_ecg(file, record=exam) for exam in exams)
        else:
            yield dbeta.read_ecg(file)


if __name__ == "__main__":
    main()
