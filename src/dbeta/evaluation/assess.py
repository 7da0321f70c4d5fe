"""What makes a figure believable: intervals, subgroups, calibration, and the challenge's own score.

The same for whatever gave the scores: prompts, a probe or a fine-tuned model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.benchmarks.base import GROUP
from dbeta.evaluation.benchmarks.challenge_2021 import CLASSES, NORMAL
from dbeta.evaluation.metrics import (
    FEW_POSITIVES,
    METRICS,
    RESAMPLES,
    Resampled,
    interval,
    macro,
    mean_of,
    resample,
    summarize,
)

#: Bounds in years of the age groups.
AGE_BOUNDS = (40, 60, 75)
#: A subgroup with fewer test records is not reported.
FEWEST_RECORDS = 20
#: Bins of the calibration error and of its picture.
BINS = 10
CHALLENGE_RESAMPLES = 200


@dataclass
class Assessment:
    """A model's figures on a benchmark.

    Attributes:
        metrics: as `metrics.json` has them: `macro`, `macro_common`, `classes`, `subgroups`, `within_device`,
            `among_abnormal`, `calibration`, `challenge_score`; the last five only where they can be had.
        resampled: what the intervals rest on, for comparisons.
        scores: (test records, classes), of several seeds the mean.
        probabilities: (test records, classes) after the logistic fit on validation; NaN where that cannot be done.
    """

    metrics: dict[str, Any]
    resampled: Resampled
    scores: np.ndarray
    probabilities: np.ndarray


def assess(
    test: Benchmark,
    scores: np.ndarray | Sequence[np.ndarray],
    validation: Benchmark | None,
    validation_scores: np.ndarray | Sequence[np.ndarray] | None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Assessment:
    """All figures of scores on the test records.

    Args:
        test: the test records.
        scores: (test records, classes), or several such, of several seeds: figures are then means over them.
        validation: the validation records, or None.
        validation_scores: of them, as `scores`.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    runs = [np.asarray(scores)] if isinstance(scores, np.ndarray) else list(scores)
    tables = [resample(test.labels, one, test.patients, resamples=resamples, seed=seed) for one in runs]
    resampled = mean_of(tables)
    metrics = summarize(resampled, test.labels, test.classes, test.patients)
    if len(runs) > 1 and metrics["macro"]["auroc"] is not None:
        spread = {metric: float(np.std([macro(table[metric])[0] for table in tables], ddof=1)) for metric in METRICS}
        metrics["sd_over_seeds"] = {metric: round(value, 4) for metric, value in spread.items()}
    mean = np.mean(runs, axis=0)
    metrics["subgroups"] = subgroups(test, mean, resamples, seed)
    devices = test.records["device"].to_numpy(str)
    if within := within_groups(test, mean, devices, resamples, seed):
        metrics["within_device"] = within
    if abnormal := among_abnormal(test, mean, resamples, seed):
        metrics["among_abnormal"] = abnormal
    probabilities = np.full(mean.shape, np.nan)
    if validation is not None and validation_scores is not None and len(validation):
        known = validation_scores if isinstance(validation_scores, np.ndarray) else np.mean(validation_scores, axis=0)
        validated, probabilities = calibrate(validation.labels, known, mean)
        metrics["calibration"] = calibration(test, probabilities)
        if test.weights is not None:
            metrics["challenge_score"] = tuned_challenge_score(
                test.weights, validation.labels, validated, test.labels, probabilities, test.patients
            )
    return Assessment(metrics, resampled, mean, probabilities)


def group_columns(records: pd.DataFrame) -> dict[str, np.ndarray]:
    """The subgroups of a benchmark's records: kind → each record's group, "" where it is not known."""
    age = records["age"].to_numpy(float)
    names = [f"0–{AGE_BOUNDS[0] - 1}"]
    names += [f"{low}–{high - 1}" for low, high in itertools.pairwise(AGE_BOUNDS)]
    names += [f"{AGE_BOUNDS[-1]}+"]
    aged = np.array(names)[np.searchsorted(AGE_BOUNDS, age, side="right")]
    sex = records["sex"].to_numpy(str)
    columns = {
        "sex": np.where(np.isin(sex, ("female", "male")), sex, ""),
        "age": np.where(np.isnan(age), "", aged),
        "device": np.array([" ".join(one.split()) for one in records["device"]]),
    }
    extra = [name for name in records.columns if name.startswith(GROUP)]
    return columns | {name.removeprefix(GROUP): records[name].to_numpy(str) for name in extra}


def subgroups(test: Benchmark, scores: np.ndarray, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Kind of group → group → records, classes that are common enough in it, and their macro AUROC.

    Groups of fewer than `FEWEST_RECORDS` records or without a common class, and kinds with one group, are left out.
    Groups differ in their classes: the mean over classes of one group is not comparable to another's as such.
    """
    found: dict[str, dict[str, Any]] = {}
    for kind, groups in group_columns(test.records).items():
        names, counts = np.unique(groups[groups != ""], return_counts=True)
        large = [str(name) for name, count in zip(names, counts, strict=True) if count >= FEWEST_RECORDS]
        if len(large) < 2:
            continue
        found[kind] = {}
        for name in large:
            # The patients of all groups are resampled, those of the others do not count
            labels = np.where((groups == name)[:, None], test.labels, -1)
            if not any(_common(*column) for column in zip((labels == 1).sum(0), (labels == 0).sum(0), strict=True)):
                continue
            table = resample(labels, scores, test.patients, resamples=resamples, seed=seed)
            summary = summarize(table, labels, test.classes, test.patients)
            usable = [
                one
                for one in summary["classes"].values()
                if _common(one["positives"], one["decided"] - one["positives"])
            ]
            found[kind][name] = {
                "records": int((groups == name).sum()),
                "classes": len(usable),
                **summary["macro_common"],
            }
        if not found[kind]:
            del found[kind]
    return found


def _common(positives: int, negatives: int) -> bool:
    return min(positives, negatives) >= FEW_POSITIVES


def within_groups(
    test: Benchmark, scores: np.ndarray, groups: np.ndarray, resamples: int, seed: int
) -> dict[str, Any] | None:
    """AUROC among records of the same group only: a score that merely tells the groups apart gets 0.5.

    Per class the mean over groups, weighted by their pairs of a positive and a negative (the covariate-adjusted AUROC
    of Janes and Pepe 2009 for a discrete covariate).

    Returns:
        `{"groups": n, "macro": {"auroc": [value, low, high]}, "classes": {name: {"auroc": …}}}`; None with one group.
    """
    names = np.unique(groups[groups != ""])
    if len(names) < 2:
        return None
    total = np.zeros((1 + resamples, len(test.classes)))
    pairs = np.zeros_like(total)
    for name in names:
        labels = np.where((groups == name)[:, None], test.labels, -1)
        table = resample(labels, scores, test.patients, resamples=resamples, seed=seed)["auroc"]
        weight = (labels == 1).sum(axis=0) * (labels == 0).sum(axis=0)
        there = ~np.isnan(table)
        total += np.where(there, table, 0.0) * weight
        pairs += there * weight
    with np.errstate(invalid="ignore"):
        adjusted = total / pairs
    return {
        "groups": len(names),
        "macro": {"auroc": interval(macro(adjusted))},
        "classes": {name: {"auroc": interval(adjusted[:, i])} for i, name in enumerate(test.classes)},
    }


def among_abnormal(test: Benchmark, scores: np.ndarray, resamples: int, seed: int) -> dict[str, Any] | None:
    """AUROC among the records that are no normal ECG: a score that merely tells the sick from the healthy gets 0.5.

    Returns:
        `{"records": n, "macro": …, "classes": …}` as of `summarize`, without the class of normal ECGs; None where the
        benchmark has no such class, or nothing but it.
    """
    normal = [condition.key == "normal_ecg" for condition in test.conditions.values()]
    others = np.flatnonzero(~np.array(normal, bool))
    if not any(normal) or not len(others):
        return None
    abnormal = test.labels[:, normal.index(True)] == 0
    labels = np.where(abnormal[:, None], test.labels, -1)[:, others].astype(np.int8)
    table = resample(labels, scores[:, others], test.patients, resamples=resamples, seed=seed)
    found = summarize(table, labels, [test.classes[i] for i in others], test.patients)
    return {"records": int(abnormal.sum())} | found


def calibrate(labels: np.ndarray, validation_scores: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores → probabilities by a logistic fit per class on validation (Platt 1999).

    Args:
        labels: (validation records, classes).
        validation_scores: (validation records, classes).
        scores: (test records, classes).

    Returns:
        Probabilities of validation and of test; NaN for a class of which validation lacks positives or negatives.
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
        # A mild penalty, or a class that a few validation records separate would get probabilities of 0 and 1
        fit = LogisticRegression(C=1.0).fit((x[:, None] - mean) / spread, truth)
        validated[:, i] = fit.predict_proba((validation_scores[:, i, None] - mean) / spread)[:, 1]
        tested[:, i] = fit.predict_proba((scores[:, i, None] - mean) / spread)[:, 1]
    return validated, tested


def calibration(test: Benchmark, probabilities: np.ndarray) -> dict[str, Any]:
    """Expected calibration error (mean distance of probability and share in ten bins) and Brier score.

    Returns:
        `{"ece": mean over classes, "classes": {name: {"ece", "brier", "curve": [[mean probability, share], …]}}}`.
    """
    import torch

    classes: dict[str, Any] = {}
    for i, name in enumerate(test.classes):
        decided = test.labels[:, i] >= 0
        truth, p = test.labels[decided, i], probabilities[decided, i]
        if np.isnan(p).any() or len(np.unique(truth)) < 2:
            continue
        error = binary_calibration_error(torch.from_numpy(p), torch.from_numpy(truth.astype(int)), n_bins=BINS)
        share, mean = calibration_curve(truth, p, n_bins=BINS, strategy="quantile")
        classes[name] = {
            "ece": round(float(error), 4),
            "brier": round(float(brier_score_loss(truth, p)), 4),
            "curve": [[round(float(a), 4), round(float(b), 4)] for a, b in zip(mean, share, strict=True)],
        }
    return {"ece": round(float(np.mean([one["ece"] for one in classes.values()])), 4) if classes else None} | {
        "classes": classes
    }


def challenge_score(weights: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> float:
    """The score of the PhysioNet/CinC Challenge 2021 (Reyna et al. 2021): 1 is perfect, 0 calls all records normal.

    Each record spreads one point over the pairs of a class that it has and a class that is predicted: 1 / (classes
    that it has or that are predicted); `weights` say what a pair earns. The sum is set between that of predicting the
    normal class alone and that of predicting the truth.

    Args:
        weights: (classes, classes), what predicting the second earns where the first is true.
        truth: (records, classes) of 0 and 1.
        predicted: (records, classes) of 0 and 1.
    """
    normal = np.zeros_like(truth)
    normal[:, list(CLASSES).index(NORMAL)] = 1

    def earned(answer: np.ndarray) -> float:
        union = np.maximum(1, np.maximum(truth, answer).sum(axis=1))
        return float(np.sum(weights * ((truth / union[:, None]).T @ answer)))

    perfect, inactive = earned(truth), earned(normal)
    return float("nan") if perfect == inactive else (earned(predicted) - inactive) / (perfect - inactive)


def tuned_challenge_score(
    weights: np.ndarray,
    validation_labels: np.ndarray,
    validated: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
) -> dict[str, Any]:
    """The challenge score at the threshold of probability, one for all classes, that is best on validation.

    Returns:
        `{"value": [value, low, high], "threshold": t}` by bootstrap over patients, 200 resamples; both None where
        validation cannot choose.
    """
    thresholds = np.round(np.arange(0.02, 0.99, 0.02), 2)
    # A class that could not be calibrated is never predicted
    known, tested = np.nan_to_num(validated), np.nan_to_num(probabilities)
    truth, target = (validation_labels == 1).astype(int), (labels == 1).astype(int)
    found = [challenge_score(weights, truth, (known >= one).astype(int)) for one in thresholds]
    if np.isnan(found).all():
        return {"value": None, "threshold": None}
    best = float(thresholds[int(np.nanargmax(found))])
    answer = (tested >= best).astype(int)
    _, patient = np.unique(patients, return_inverse=True)
    groups = [np.flatnonzero(patient == i) for i in range(patient.max() + 1)]
    rng = np.random.default_rng(0)
    draws = [challenge_score(weights, target, answer)]
    for _ in range(CHALLENGE_RESAMPLES):
        rows = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        draws.append(challenge_score(weights, target[rows], answer[rows]))
    return {"value": interval(np.array(draws), -np.inf), "threshold": best}


def reader_figures(test: Benchmark) -> dict[str, Any]:
    """AUROC of the benchmark's human readers, who say yes or no: the mean of sensitivity and specificity."""
    found = {}
    for who, table in test.readers.items():
        values = [
            roc_auc_score(truth, said) for truth, said in zip(test.labels.T, table.T, strict=True) if truth.sum() > 0
        ]
        found[who] = round(float(np.mean(values)), 4)
    return found
