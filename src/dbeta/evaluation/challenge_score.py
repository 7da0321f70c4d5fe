"""The score of the PhysioNet/CinC Challenge 2021 (Reyna et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dbeta.evaluation.benchmarks.challenge_2021 import CLASSES, NORMAL
from dbeta.evaluation.metrics import interval

#: Bootstrap resamples; unlike AUROC, the score cannot be computed quickly for many weightings.
CHALLENGE_RESAMPLES = 200


def challenge_score(weights: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the challenge score: 1 is perfect, 0 is what calling every record normal gets.

    Each record spreads one point over all pairs of a true and a predicted class, 1 / (classes that are true or
    predicted) per pair, and `weights` says what each pair is worth. The sum is rescaled so that predicting only the
    normal class gives 0 and predicting the truth gives 1.

    Args:
        weights: (classes, classes), worth of predicting the second class where the first is true.
        truth: (records, classes) of 0 and 1.
        predicted: (records, classes) of 0 and 1.

    Returns:
        The score; NaN where the truth is worth no more than predicting the normal class.
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
    """Compute the challenge score at the probability threshold, common to all classes, that is best on validation.

    Args:
        weights: as of `challenge_score`.
        validation_labels: (validation records, classes).
        validated: (validation records, classes) probabilities, NaN for classes that could not be calibrated.
        labels: (test records, classes).
        probabilities: (test records, classes), likewise.
        patients: (test records,) patient ids.

    Returns:
        `{"value": [value, low, high], "threshold": t}` by bootstrap over patients, `CHALLENGE_RESAMPLES` resamples;
        both None where the score is undefined on validation.
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
