"""Calibrates scores to probabilities, and measures how well calibrated they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from dbeta.evaluation.benchmarks import Benchmark

#: Number of bins of the calibration error and the calibration curve.
BINS = 10


def calibrate(labels: np.ndarray, validation_scores: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn scores into probabilities by a logistic fit per class on validation (Platt 1999).

    Args:
        labels: (validation records, classes) of 1, 0 and −1 for undecided.
        validation_scores: (validation records, classes).
        scores: (test records, classes).

    Returns:
        Probabilities of the validation and the test records; NaN for a class whose validation records are all
        positive or all negative.
    """
    validated = np.full(validation_scores.shape, np.nan)
    tested = np.full(scores.shape, np.nan)
    for i in range(labels.shape[1]):
        decided = labels[:, i] >= 0
        truth = labels[decided, i]
        if len(np.unique(truth)) < 2:
            continue
        x = validation_scores[decided, i]
        mean, spread = x.mean(), x.std() or 1.0
        # Without a mild penalty, a class that a few validation records happen to separate gets probabilities of 0 and 1
        fit = LogisticRegression(C=1.0).fit((x[:, None] - mean) / spread, truth)
        validated[:, i] = fit.predict_proba((validation_scores[:, i, None] - mean) / spread)[:, 1]
        tested[:, i] = fit.predict_proba((scores[:, i, None] - mean) / spread)[:, 1]
    return validated, tested


def calibration_figures(test: Benchmark, probabilities: np.ndarray) -> dict[str, Any]:
    """Compute the expected calibration error, the Brier score and the calibration curve of each class.

    Args:
        test: the test records.
        probabilities: (test records, classes).

    Returns:
        `{"ece": mean over classes, "classes": {name: {"ece", "brier", "curve": [[mean probability, share], …]}}}`.
    """
    classes: dict[str, Any] = {}
    for i, name in enumerate(test.classes):
        decided = test.labels[:, i] >= 0
        truth, p = test.labels[decided, i], probabilities[decided, i]
        if np.isnan(p).any() or len(np.unique(truth)) < 2:
            continue
        share, mean = calibration_curve(truth, p, n_bins=BINS, strategy="quantile")
        classes[name] = {
            "ece": round(expected_calibration_error(truth, p), 4),
            "brier": round(float(brier_score_loss(truth, p)), 4),
            "curve": [[round(float(a), 4), round(float(b), 4)] for a, b in zip(mean, share, strict=True)],
        }
    mean_error = round(float(np.mean([one["ece"] for one in classes.values()])), 4) if classes else None
    return {"ece": mean_error, "classes": classes}


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the expected calibration error (Naeini et al. 2015).

    The probabilities are sorted into `BINS` bins of equal width, the lower bound included. The error is the mean over
    bins of |share of positives − mean probability|, weighted by the records in the bin.

    Args:
        truth: (n,) of 1 and 0.
        probabilities: (n,) from 0 to 1.
    """
    bins = np.digitize(probabilities, np.arange(BINS + 1) / BINS)
    excess = np.bincount(bins, weights=truth - probabilities)  # positives minus expected positives of each bin
    return float(np.abs(excess).sum() / len(truth))
