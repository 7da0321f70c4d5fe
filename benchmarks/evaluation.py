"""Measures the speed of evaluation against scikit-learn, in the same run.

    python benchmarks/evaluation.py [--json FILE] [--records 17000] [--dimension 768] [--labels 71] [--quick]

(1) Linear probes on random embeddings of PTB-XL's training size: this project's, which fits all labels at once and
chooses each one's penalty on validation, and scikit-learn's, which fits one label and one penalty at a time. For
scikit-learn, a few labels are fitted and the time is extrapolated.
(2) A bootstrap of AUROC and average precision over patients: all resamples of a label at once, and one at a time by
scikit-learn, again extrapolated from a few.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from dbeta.evaluation.linear import STRENGTHS, Scaler, fit_probe
from dbeta.evaluation.metrics import resample

#: Labels and resamples that scikit-learn is timed on.
SAMPLE = 3
console = Console(width=110)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--records", type=int, default=17_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--labels", type=int, default=71)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    args = parser.parse_args()
    if args.quick:
        args.records, args.dimension, args.labels = 300, 16, 4
    warnings.simplefilter("ignore", ConvergenceWarning)
    data = made_up(args.records, args.dimension, args.labels)
    figures: dict[str, Any] = {
        "settings": {"records": args.records, "dimension": args.dimension, "labels": args.labels},
        "probe": probes(*data),
        "bootstrap": bootstrap(data[3], data[2] @ np.ones((args.dimension, args.labels), np.float32), args.quick),
    }
    figures["ratio"] = {name: figures[name]["ratio"] for name in ("probe", "bootstrap")}
    view = Table(title=f"{args.records:,} records, {args.dimension} features, {args.labels} labels")
    for column in ("", "seconds", "scikit-learn, one by one", "ratio"):
        view.add_column(column, justify="right" if column else "left")
    for name in ("probe", "bootstrap"):
        one = figures[name]
        view.add_row(name, f"{one['seconds']:.1f}", f"{one['one_by_one']:.0f}", f"{one['ratio']:.1f}")
    console.print(view)
    console.print(f"largest difference of the test AUROCs of the labels compared: {figures['probe']['difference']:.4f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def made_up(records: int, dimension: int, labels: int) -> tuple[np.ndarray, ...]:
    """Make training embeddings and labels, and an eighth as many validation records; features are correlated."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(dimension, dimension)) * np.exp(-np.arange(dimension) / (dimension / 8))[:, None]
    x = (rng.normal(size=(records + records // 8, dimension)) @ mix).astype(np.float32)
    truth = rng.normal(size=(dimension, labels)) / np.sqrt(dimension)
    logits = (x / x.std(axis=0)) @ truth * 2 - rng.uniform(1, 4, labels)
    y = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return x[:records], y[:records], x[records:], y[records:]


def probes(x: np.ndarray, y: np.ndarray, x_validation: np.ndarray, y_validation: np.ndarray) -> dict[str, float]:
    """Time both ways and compare their AUROCs; the validation records also serve as test records."""
    start = time.perf_counter()
    _, scores, _ = fit_probe(x, y, x_validation, y_validation, x_validation)
    seconds = time.perf_counter() - start
    scaler = Scaler.of(x)
    train, test = scaler(x).numpy(), scaler(x_validation).numpy()
    start = time.perf_counter()
    differences = []
    for label in range(SAMPLE):
        fits = [LogisticRegression(C=strength, max_iter=200).fit(train, y[:, label]) for strength in STRENGTHS]
        # Chosen as in the probe, by the log loss
        sign = np.where(y_validation[:, label] == 1, -1.0, 1.0)
        losses = [np.logaddexp(0, sign * one.decision_function(test)).mean() for one in fits]
        theirs = fits[int(np.argmin(losses))].decision_function(test)
        truth = y_validation[:, label]
        differences.append(abs(roc_auc_score(truth, theirs) - roc_auc_score(truth, scores[:, label])))
    one_by_one = (time.perf_counter() - start) / SAMPLE * y.shape[1]
    return {
        "seconds": seconds,
        "one_by_one": one_by_one,
        "ratio": one_by_one / seconds,
        "difference": float(max(differences)),
    }


def bootstrap(labels: np.ndarray, scores: np.ndarray, quick: bool) -> dict[str, float]:
    """Time 1,000 resamples both ways."""
    resamples = 20 if quick else 1000
    patients = np.arange(len(labels)) // 2
    start = time.perf_counter()
    resample(labels, scores, patients, resamples=resamples)
    seconds = time.perf_counter() - start
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(SAMPLE):
        drawn = rng.integers(len(labels) // 2, size=len(labels) // 2)
        rows = (2 * drawn[:, None] + np.arange(2)).ravel()  # both records of each
        for i in range(labels.shape[1]):
            if 0 < labels[rows, i].sum() < len(rows):
                roc_auc_score(labels[rows, i], scores[rows, i])
                average_precision_score(labels[rows, i], scores[rows, i])
    one_by_one = (time.perf_counter() - start) / SAMPLE * resamples
    return {"seconds": seconds, "one_by_one": one_by_one, "ratio": one_by_one / seconds}


if __name__ == "__main__":
    main()
