"""Linear probing: classifiers on frozen embeddings, from all or few labels, and metadata baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from dbeta.errors import DBetaError
from dbeta.evaluation.assess import Assessment, assess
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.linear import USUAL, Scaler, fit, fit_merl_probe, fit_probe
from dbeta.evaluation.metrics import RESAMPLES, interval, macro, mean_of, resample

#: Shares of the training patients, and number of random draws of the smaller ones.
FRACTIONS = {"1%": 0.01, "10%": 0.1, "100%": 1.0}
SEEDS = 5
#: Labelled positives per class in the few-shot curve.
SHOTS = (1, 2, 4, 8, 16, 32, 64, 128)

Progress = Callable[[int, int], None]


def probe(
    benchmark: Benchmark,
    embeds: np.ndarray,
    *,
    merl: bool = False,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> dict[str, Assessment]:
    """Probe with 1 %, 10 % and all of the training labels.

    Args:
        benchmark: with train, validation and test records.
        embeds: (records, D).
        merl: use MERL's probe and training subsets instead of logistic regressions on random patients.
        resamples: bootstrap resamples.
        progress: called with (probes done, total).

    Returns:
        "1%", "10%", "100%" → figures, means over random draws.

    Raises:
        DBetaError: there are no training or validation records.
    """
    check_splits(benchmark)
    validation, test = benchmark.rows("validation"), benchmark.rows("test")
    fractions = [name for name in FRACTIONS if not merl or name == "100%" or name in benchmark.subsets]
    draws = {name: list(_draws(benchmark, name, merl)) for name in fractions}
    total, done = sum(map(len, draws.values())), 0
    found = {}
    for name, subsets in draws.items():
        if not subsets:
            continue
        scores, validated = [], []
        for seed, rows in enumerate(subsets):
            train = embeds[rows], benchmark.labels[rows]
            choose = embeds[validation], benchmark.labels[validation]
            if merl:
                one, tested, _ = fit_merl_probe(*train, *choose, embeds[test], seed=seed)
            else:
                one, tested, _ = fit_probe(*train, *choose, embeds[test])
            validated.append(one)
            scores.append(tested)
            done += 1
            if progress is not None:
                progress(done, total)
        found[name] = assess(benchmark.take(test), scores, benchmark.take(validation), validated, resamples=resamples)
    return found


def check_splits(benchmark: Benchmark) -> None:
    """Check that a benchmark has records to train and to validate on.

    Raises:
        DBetaError: it has no training or no validation records.
    """
    for split in ("train", "validation"):
        if not len(benchmark.rows(split)):
            raise DBetaError(f"{benchmark.name}: has no {split} records; only zero-shot can be evaluated")


def _draws(benchmark: Benchmark, fraction: str, merl: bool) -> Iterator[np.ndarray]:
    """Yield the training rows of each draw."""
    train = benchmark.rows("train")
    if fraction == "100%":
        yield train
    elif merl:
        chosen = benchmark.records["record_id"].iloc[train].isin(benchmark.subsets[fraction]).to_numpy()
        if chosen.any():  # with --subset-ok, all may be missing
            yield train[chosen]
    else:
        for seed in range(SEEDS):
            yield train[some_patients(benchmark.patients[train], FRACTIONS[fraction], seed)]


def some_patients(patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Select a random share of the patients, at least one: mask (records,) bool."""
    names = np.unique(patients)
    count = max(1, round(share * len(names)))
    return np.isin(patients, np.random.default_rng([seed, 1]).permutation(names)[:count])


def few_shot(benchmark: Benchmark, embeds: np.ndarray, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Probe with few labels: 1, 2, 4, … positives, and as many negatives, of each class (`SHOTS`).

    Every point is the mean over the same classes, those with enough training positives for the last point, and over
    `SEEDS` draws. The penalty is fixed, since with few labels there is no validation set to choose it on.

    Returns:
        `{"classes": […], "shots": {"1": {"auroc": [value, low, high]}, …}}`; no shots if no class has enough positives.
    """
    train, test = benchmark.rows("train"), benchmark.rows("test")
    scaler = Scaler.of(embeds[train])  # needs no labels
    labels = benchmark.labels
    counts = np.minimum((labels[train] == 1).sum(axis=0), (labels[train] == 0).sum(axis=0))
    tested = benchmark.take(test)
    measurable = ((tested.labels == 1).any(axis=0)) & ((tested.labels == 0).any(axis=0))
    usable = counts[measurable]
    shots = [shot for shot in SHOTS if usable.size and shot <= usable.max()]
    # The last point is the largest for which half of the classes, or five of them, have enough positives
    enough = [shot for shot in shots if (usable >= shot).sum() >= min(5, max(1, len(usable) // 2))]
    if not enough:
        return {"classes": [], "shots": {}}
    columns = np.flatnonzero(measurable & (counts >= enough[-1]))
    x_train, x_test = scaler(embeds[train]), scaler(embeds[test])
    points: dict[str, Any] = {}
    for shot in enough:
        tables = []
        for seed in range(SEEDS):
            scores = np.zeros((len(test), len(columns)))
            for j, column in enumerate(columns):
                rows = _shots(labels[train, column], shot, np.random.default_rng([seed, shot, int(column)]))
                weights = fit(x_train[rows], labels[train][rows, column, None], USUAL)
                scores[:, j] = (x_test @ weights[:-1] + weights[-1])[:, 0].numpy()
            tables.append(resample(tested.labels[:, columns], scores, tested.patients, resamples=resamples))
        points[str(shot)] = {"auroc": interval(macro(mean_of(tables)["auroc"]))}
    return {"classes": [benchmark.classes[i] for i in columns], "shots": points}


def _shots(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows of `count` random positives and as many random negatives."""
    return np.concatenate([rng.permutation(np.flatnonzero(labels == value))[:count] for value in (1, 0)])


def demographic_features(records: pd.DataFrame, train: np.ndarray) -> np.ndarray | None:
    """Make features of age (cubic splines, and a flag if unknown) and sex.

    The splines' knots, and the mean that replaces an unknown age, are computed on the training rows.

    Returns:
        (records, D) float32; None if neither age nor sex is known.
    """
    age = records["age"].to_numpy(float)
    sex = records["sex"].to_numpy(str)
    known = ~np.isnan(age)
    if not known.any() and not np.isin(sex, ("female", "male")).any():
        return None
    usual = float(age[train][known[train]].mean()) if known[train].any() else 0.0
    filled = np.where(known, age, usual)
    columns = [sex == "female", sex == "male", ~known]
    if len(np.unique(filled[train])) > 5:
        splines = make_pipeline(SplineTransformer(n_knots=5, knots="quantile", extrapolation="linear"))
        columns += list(splines.fit(filled[train, None]).transform(filled[:, None]).T)
    return np.stack(columns, axis=1).astype(np.float32)


def device_features(records: pd.DataFrame) -> np.ndarray | None:
    """One-hot encode the recording device: (records, D) float32; None if there is only one."""
    devices = records["device"].to_numpy(str)
    names = np.unique(devices)
    return (devices[:, None] == names).astype(np.float32) if len(names) > 1 else None


def without_recording(benchmark: Benchmark, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Evaluate baselines that do not look at the ECG: age and sex alone, and the recording device alone.

    Returns:
        "age and sex" and "device", if known → `macro`, `macro_common` and `classes`.
    """
    found: dict[str, Any] = {}
    if not len(benchmark.rows("train")) or not len(benchmark.rows("validation")):
        return found
    validation, test, train = (benchmark.rows(split) for split in ("validation", "test", "train"))
    features = {
        "age and sex": demographic_features(benchmark.records, train),
        "device": device_features(benchmark.records),
    }
    for name, x in features.items():
        if x is not None:
            labels = benchmark.labels
            _, scores, _ = fit_probe(x[train], labels[train], x[validation], labels[validation], x[test])
            figures = assess(benchmark.take(test), scores, None, None, resamples=resamples).metrics
            found[name] = {key: figures[key] for key in ("macro", "macro_common", "classes")}
    return found
