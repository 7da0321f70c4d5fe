"""Computes all figures of a model's scores on a benchmark, whether from prompts, a probe or a fine-tuned model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.calibration import calibrate, calibration_figures
from dbeta.evaluation.challenge_score import tuned_challenge_score
from dbeta.evaluation.metrics import METRICS, RESAMPLES, Resampled, macro, mean_of, resample, summarize
from dbeta.evaluation.subgroups import among_abnormal, subgroups, within_groups


@dataclass
class Assessment:
    """A model's figures on a benchmark.

    Attributes:
        metrics: entries of `metrics.json`: `macro`, `macro_common`, `classes`, `subgroups` and, where they can be
            computed, `within_device`, `among_abnormal`, `calibration`, `challenge_score`.
        resampled: the resampled metrics behind the intervals, for comparisons between models.
        scores: (test records, classes); the mean over seeds if there are several.
        probabilities: (test records, classes) after the logistic fit on validation; NaN if it could not be fitted.
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
    """Compute all figures of scores on the test records.

    Args:
        test: the test records.
        scores: (test records, classes), or one such array per seed; figures are then means over seeds.
        validation: the validation records, or None.
        validation_scores: scores of the validation records, in the form of `scores`.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.
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
        metrics["calibration"] = calibration_figures(test, probabilities)
        if test.weights is not None:
            metrics["challenge_score"] = tuned_challenge_score(
                test.weights, validation.labels, validated, test.labels, probabilities, test.patients
            )
    return Assessment(metrics, resampled, mean, probabilities)


def reader_figures(test: Benchmark) -> dict[str, Any]:
    """Compute the AUROC of human readers, who answer yes or no: the mean of sensitivity and specificity."""
    found = {}
    for who, table in test.readers.items():
        values = [
            roc_auc_score(truth, said) for truth, said in zip(test.labels.T, table.T, strict=True) if truth.sum() > 0
        ]
        found[who] = round(float(np.mean(values)), 4)
    return found
