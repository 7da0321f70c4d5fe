"""AUROC and average precision with bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

METRICS = {"auroc": roc_auc_score, "auprc": average_precision_score}
RESAMPLES = 1000


def score_labels(
    labels: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    patients: Sequence[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """AUROC and AUPRC per label and their unweighted mean, each with a 95 % interval.

    The interval is the percentile bootstrap over *patients*: a patient's records are drawn together, since they are
    not independent (Efron and Tibshirani 1993, chapter 13).

    Args:
        labels: (records, labels) of 0 and 1.
        scores: (records, labels), higher means more likely.
        names: the labels' names.
        patients: a patient's id for each record.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Returns:
        `{"macro": {"auroc": [value, low, high], "auprc": …}, "classes": {name: {…, "positives": n}}}`. A label with no
        positive or no negative record has None in place of figures and is left out of the mean.

    Raises:
        ValueError: the shapes differ, or a score is not finite.
    """
    labels, scores = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.shape != (len(patients), len(names)):
        raise ValueError(f"labels {labels.shape}, scores {scores.shape}, {len(patients)} patients, {len(names)} names")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")

    _, patient = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    of_patient = [np.flatnonzero(patient == i) for i in range(patient.max() + 1)]
    rng = np.random.default_rng(seed)
    draws = [np.arange(len(labels))]
    for _ in range(resamples):
        drawn = rng.integers(len(of_patient), size=len(of_patient))
        draws.append(np.concatenate([of_patient[i] for i in drawn]))

    result: dict[str, Any] = {"macro": {}, "classes": {}}
    for name, column in zip(names, labels.T, strict=True):
        result["classes"][name] = {"positives": int(column.sum())}
    for metric, function in METRICS.items():
        table = np.array(
            [[_value(function, labels[rows, i], scores[rows, i]) for i in range(len(names))] for rows in draws]
        )  # (1 + resamples, labels)
        for name, column in zip(names, table.T, strict=True):
            result["classes"][name][metric] = _interval(column)
        usable = table[:, ~np.isnan(table[0])]
        usable = usable[~np.isnan(usable).all(axis=1)]
        result["macro"][metric] = _interval(np.nanmean(usable, axis=1)) if usable.size else None
    return result


def _value(function: Any, labels: np.ndarray, scores: np.ndarray) -> float:
    if labels.all() or not labels.any():
        return float("nan")
    return float(function(labels, scores))


def _interval(values: np.ndarray) -> list[float] | None:
    """[value, low, high] of a value followed by its resamples; None where there is no value."""
    if np.isnan(values[0]):
        return None
    resampled = values[1:][~np.isnan(values[1:])]
    # Where no resample could be scored nothing is known but the metric's range
    low, high = np.percentile(resampled, [2.5, 97.5]) if resampled.size else (0.0, 1.0)
    return [round(float(x), 4) for x in (values[0], low, high)]
