"""AUROC and average precision with bootstrap intervals over patients, and paired comparisons of two models.

A resample of patients is a weight for each record, so that all resamples of a class are scored at once. Models scored
on the same records share the resamples, so that their differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

METRICS = {"auroc": roc_auc_score, "auprc": average_precision_score}
RESAMPLES = 1000
#: Classes with fewer positives are left out of a second mean, since their figures are mostly chance.
FEW_POSITIVES = 10
#: Weights (resamples × records) per batch: 64 MB.
_CHUNK = 8_000_000

#: Metric → (1 + resamples, classes): the value, then one per resample; NaN if undefined.
Resampled = dict[str, np.ndarray]


def score_labels(
    labels: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    patients: Sequence[Any] | np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute AUROC and AUPRC per label and their unweighted means, each with a 95 % interval.

    Args:
        labels: (records, labels) of 1, 0 and −1 for undecided; undecided records are left out of that label.
        scores: (records, labels), higher means more likely.
        names: (labels,) names.
        patients: (records,) patient ids.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.

    Returns:
        The summary described at `summarize`.

    Raises:
        ValueError: the shapes differ, or a score is not finite.
    """
    table = resample(labels, scores, patients, resamples=resamples, seed=seed)
    return summarize(table, labels, names, patients)


def resample(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: Sequence[Any] | np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Compute every metric of every label on all records and on resamples of patients.

    A patient's records are drawn together, since they are not independent (Efron and Tibshirani 1993, chapter 13).
    Arguments and errors are those of `score_labels`; the same patients and seed give the same resamples.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 2 or len(labels) != len(patients):
        raise ValueError(f"labels {labels.shape}, scores {scores.shape}, {len(patients)} patients")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    found = {metric: np.full((1 + resamples, labels.shape[1]), np.nan) for metric in METRICS}
    for i in range(labels.shape[1]):
        decided = labels[:, i] >= 0
        truth = labels[decided, i] == 1
        if truth.any() and not truth.all():
            for metric, function in METRICS.items():
                found[metric][0, i] = function(truth, scores[decided, i])
    at = 1
    for weights in _patient_weights(patients, resamples, seed):
        for i in range(labels.shape[1]):
            decided = labels[:, i] >= 0
            auroc, auprc = weighted_metrics(labels[decided, i] == 1, scores[decided, i], weights[:, decided])
            found["auroc"][at : at + len(weights), i] = auroc
            found["auprc"][at : at + len(weights), i] = auprc
        at += len(weights)
    return found


def _patient_weights(patients: Sequence[Any] | np.ndarray, resamples: int, seed: int) -> Any:
    """Yield how often each record is drawn, in batches of (some resamples, records)."""
    names, patient = np.unique([str(one) for one in patients], return_inverse=True)
    rng = np.random.default_rng(seed)
    some = max(1, _CHUNK // max(1, len(patient)))
    chance = np.full(len(names), 1 / max(1, len(names)))
    for start in range(0, resamples, some):
        yield rng.multinomial(len(names), chance, size=min(some, resamples - start))[:, patient]


def weighted_metrics(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute AUROC and average precision for many sets of weights, equal to scikit-learn's with `sample_weight`.

    scikit-learn takes one set of weights at a time, which takes minutes for a bootstrap of many classes.

    Args:
        truth: (records,) bool.
        scores: (records,).
        weights: (sets, records), at least 0.

    Returns:
        AUROC (sets,) and average precision (sets,); NaN if all positives or all negatives have weight 0.
    """
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    # Records with equal scores share a threshold
    starts = np.flatnonzero(np.r_[True, descending[1:] != descending[:-1]]) if len(order) else np.array([], int)
    if not len(starts):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    ordered = weights[:, order].astype(np.float64)
    positive = np.add.reduceat(ordered * truth[order], starts, axis=1)  # (sets, thresholds)
    negative = np.add.reduceat(ordered * ~truth[order], starts, axis=1)
    above, false = positive.cumsum(axis=1), negative.cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong = (positive * (false - negative / 2)).sum(axis=1) / (above[:, -1] * false[:, -1])
        precision = np.nan_to_num(above / (above + false))
        average = (positive * precision).sum(axis=1) / above[:, -1]
    return 1.0 - wrong, np.where(false[:, -1] > 0, average, np.nan)


def summarize(
    resampled: Resampled, labels: np.ndarray, names: Sequence[str], patients: Sequence[Any] | np.ndarray
) -> dict[str, Any]:
    """Summarize resampled metrics for a report.

    Args:
        resampled: from `resample`.
        labels: (records, labels), as passed there.
        names: (labels,) names.
        patients: (records,) patient ids.

    Returns:
        `{"macro": {"auroc": [value, low, high], "auprc": …}, "macro_common": …, "classes": {name: {…, "positives": n,
        "decided": n}}}`. A label without positive or without negative records has None instead of figures and is left
        out of the means; `macro_common` also leaves out labels with fewer than `FEW_POSITIVES` of either. The interval
        of a label with a single positive or negative patient, which cannot be resampled, is the metric's whole range.
    """
    labels = np.asarray(labels)
    if labels.shape[1] != len(names):
        raise ValueError(f"labels {labels.shape} for {len(names)} names")
    positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    common = (positives >= FEW_POSITIVES) & (negatives >= FEW_POSITIVES)
    ids = np.array([str(one) for one in patients])
    shown = np.array([min(len(np.unique(ids[column == value])) for value in (0, 1)) > 1 for column in labels.T], bool)
    result: dict[str, Any] = {"macro": {}, "macro_common": {}, "classes": {}}
    for i, name in enumerate(names):
        counts = {"positives": int(positives[i]), "decided": int(positives[i] + negatives[i])}
        rows = slice(None) if shown[i] else slice(1)
        result["classes"][name] = counts | {metric: interval(table[rows, i]) for metric, table in resampled.items()}
    for metric, table in resampled.items():
        result["macro"][metric] = interval(macro(table)[: None if shown.any() else 1])
        result["macro_common"][metric] = interval(macro(table[:, common]))
    return result


def macro(table: np.ndarray) -> np.ndarray:
    """Average over the labels that have a value: (1 + resamples, labels) → (1 + resamples,); NaN if none has."""
    usable = table[:, ~np.isnan(table[0])]
    there = ~np.isnan(usable)
    with np.errstate(invalid="ignore"):
        return np.where(there, usable, 0.0).sum(axis=1) / there.sum(axis=1)


def interval(values: np.ndarray, lowest: float = 0.0, highest: float = 1.0) -> list[float] | None:
    """Compute the 95 % interval of a value from its resamples.

    The interval is given by percentiles of the resamples, shifted so that their median is the value. Without the shift,
    the average precision of a class with few positives would be biased upwards, since a resample repeats them (Efron
    and Tibshirani 1993, chapter 10).

    Args:
        values: (1 + resamples,), the value first; resamples may be NaN.
        lowest: lower bound of the metric.
        highest: upper bound of the metric.

    Returns:
        [value, low, high]; None if the value is NaN.
    """
    if np.isnan(values[0]):
        return None
    resampled = values[1:][~np.isnan(values[1:])]
    if not resampled.size:  # only the metric's range is known
        return [round(float(values[0]), 4), 0.0, 1.0]
    low, high = np.percentile(resampled, [2.5, 97.5]) - (np.median(resampled) - values[0])
    return [round(float(x), 4) for x in (values[0], max(low, lowest), min(high, highest))]


def mean_of(tables: Sequence[Resampled]) -> Resampled:
    """Average several runs on the same resamples, such as one per seed."""
    return {metric: np.mean([one[metric] for one in tables], axis=0) for metric in METRICS}


def compare(first: Resampled, second: Resampled, names: Sequence[str]) -> dict[str, Any]:
    """Compare two models on the same resamples (paired bootstrap).

    Args:
        first: from `resample`.
        second: of another model, with the same labels, patients and seed.
        names: (labels,) names.

    Returns:
        `{"macro": {"auroc": {"difference": [value, low, high], "p": p}, …}, "classes": {name: …}}`, first minus second.
        p is two-sided: twice the share of resamples whose sign differs from that of the value, at least
        2 / (resamples + 1); not corrected for the number of labels.
    """

    def one(difference: np.ndarray) -> dict[str, Any] | None:
        if np.isnan(difference[0]):
            return None
        resampled = difference[1:][~np.isnan(difference[1:])]
        resampled = resampled - (np.median(resampled) - difference[0])  # as `interval`
        fewer = min((resampled <= 0).sum(), (resampled >= 0).sum())
        p = min(1.0, 2 * (fewer + 1) / (len(resampled) + 1))
        return {"difference": interval(difference, -1.0), "p": round(float(p), 4)}

    result: dict[str, Any] = {"macro": {}, "classes": {name: {} for name in names}}
    for metric in METRICS:
        result["macro"][metric] = one(macro(first[metric]) - macro(second[metric]))
        for i, name in enumerate(names):
            result["classes"][name][metric] = one(first[metric][:, i] - second[metric][:, i])
    return result
