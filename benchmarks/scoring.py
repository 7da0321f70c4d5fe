"""Probes, AUROCs and their intervals, for the benchmarks that train many small models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dbeta.conditions.registry import super_class_conditions

RESAMPLES = 300
#: Finding → score of each record.
Scores = dict[str, np.ndarray]


@dataclass
class Fold:
    """Records to measure on, or to fit a probe to.

    Attributes:
        rows: corpus rows.
        patients: patient of each record.
        labels: finding → (records,) of 0 and 1.
    """

    rows: Any
    patients: list[str]
    labels: dict[str, np.ndarray]


def fold(corpus: Any) -> Fold:
    """Collect what is needed of a corpus's records."""
    findings = [set(row) for row in corpus["findings"]]
    names = {name for one in findings for name in one}
    labels = {name: np.array([int(name in one) for one in findings]) for name in names}
    return Fold(corpus, list(corpus["patient_id"]), labels)


def super_labels(test: Fold) -> dict[str, np.ndarray]:
    """Return each super-class's labels under its condition's name."""
    return {one.name.lower(): test.labels[one.name.lower()] for one in super_class_conditions().values()}


def tenth_of_patients(patients: Sequence[str]) -> np.ndarray:
    """Select the rows of a random tenth of the patients, the same for every run."""
    names = sorted(set(patients))
    chosen = set(np.random.default_rng(0).permutation(names)[: max(1, len(names) // 10)])
    return np.array([i for i, one in enumerate(patients) if one in chosen])


def fit_probe(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit a linear probe and return its scores."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return probe.fit(x, y).decision_function(test)


def macro(test: Fold, scores: Scores, rows: np.ndarray | None = None) -> float:
    """Mean AUROC over findings, of all records or of some; records without a super-class count as well."""
    every = np.arange(len(test.patients)) if rows is None else rows
    y = np.stack([test.labels[name][every] for name in scores])  # (findings, records)
    # The Mann-Whitney form of the AUROC for all findings at once, since the bootstrap computes it 100,000 times
    ranks = rankdata(np.stack([x[every] for x in scores.values()]), axis=1)
    positive, negative = y.sum(axis=1), (1 - y).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = ((ranks * y).sum(axis=1) - positive * (positive + 1) / 2) / (positive * negative)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def interval(test: Fold, tables: list[Scores], against: list[Scores] | None = None) -> list[float]:
    """[value, low, high] of the mean over seeds of a macro AUROC, resampling patients.

    Args:
        test: the scored records.
        tables: scores of each seed.
        against: scores of another model for the same seeds; the figures are then differences from it.
    """
    names, of = np.unique(test.patients, return_inverse=True)
    members = [np.flatnonzero(of == i) for i in range(len(names))]
    rng = np.random.default_rng(0)

    def mean(rows: np.ndarray | None = None) -> float:
        other = [macro(test, one, rows) for one in against] if against else [0.0]
        return float(np.mean([macro(test, one, rows) for one in tables]) - np.mean(other))

    draws = [rng.integers(len(members), size=len(members)) for _ in range(RESAMPLES)]
    values = [mean(np.concatenate([members[i] for i in draw])) for draw in draws]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return [round(mean(), 4), round(float(low), 4), round(float(high), 4)]
