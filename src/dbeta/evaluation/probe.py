"""Linear probing: how much of what is asked lies open in a frozen encoder's embeddings, and from how few labels."""

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

#: Shares of the training patients, and how many random draws of the small ones.
FRACTIONS = {"1%": 0.01, "10%": 0.1, "100%": 1.0}
SEEDS = 5
#: Labelled positives per class of the few-shot curve.
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
    """Probes on 1 %, 10 % and all of the training records.

    Args:
        benchmark: with train, validation and test records.
        embeds: (records, D).
        merl: MERL's probe and its training subsets instead of logistic regressions on random patients.
        resamples: of the bootstrap.
        progress: called with (probes done, probes in all).

    Returns:
        "1%", "10%", "100%" → figures; of several draws the mean.

    Raises:
        DBetaError: there is nothing to train or to choose on.
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
            arguments = (
                *(embeds[rows], benchmark.labels[rows]),
                *(embeds[validation], benchmark.labels[validation], embeds[test]),
            )
            if merl:
                one, tested, _ = fit_merl_probe(*arguments, seed=seed)
            else:
                one, tested, _ = fit_probe(*arguments)
            validated.append(one)
            scores.append(tested)
            done += 1
            if progress is not None:
                progress(done, total)
        found[name] = assess(benchmark.take(test), scores, benchmark.take(validation), validated, resamples=resamples)
    return found


def check_splits(benchmark: Benchmark) -> None:
    """Refuse a benchmark that has nothing to train or to choose on.

    Raises:
        DBetaError: it has no training or no validation records.
    """
    for split in ("train", "validation"):
        if not len(benchmark.rows(split)):
            raise DBetaError(f"{benchmark.name}: no {split} record is there; only zero-shot can be evaluated")


def _draws(benchmark: Benchmark, fraction: str, merl: bool) -> Iterator[np.ndarray]:
    """The training rows of each draw."""
    train = benchmark.rows("train")
    if fraction == "100%":
        yield train
    elif merl:
        chosen = benchmark.records["record_id"].iloc[train].isin(benchmark.subsets[fraction]).to_numpy()
        if chosen.any():  # of a subset of the records, none may be there
            yield train[chosen]
    else:
        for seed in range(SEEDS):
            yield train[some_patients(benchmark.patients[train], FRACTIONS[fraction], seed)]


def some_patients(patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which records are of a random share of the patients, at least one: (records,) bool."""
    names = np.unique(patients)
    count = max(1, round(share * len(names)))
    return np.isin(patients, np.random.default_rng([seed, 1]).permutation(names)[:count])


def few_shot(benchmark: Benchmark, embeds: np.ndarray, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """AUROC of probes on so many positives, and as many negatives, of each class.

    Every point is the mean over the same classes, those with enough training positives for the last one, and over
    `SEEDS` draws. The penalty is fixed, since who has few labels has no validation set either.

    Returns:
        `{"classes": […], "shots": {"1": {"auroc": [value, low, high]}, …}}`; no shots where no class has positives.
    """
    train, test = benchmark.rows("train"), benchmark.rows("test")
    scaler = Scaler.of(embeds[train])  # needs no labels
    labels = benchmark.labels
    counts = np.minimum((labels[train] == 1).sum(axis=0), (labels[train] == 0).sum(axis=0))
    tested = benchmark.take(test)
    measurable = ((tested.labels == 1).any(axis=0)) & ((tested.labels == 0).any(axis=0))
    usable = counts[measurable]
    shots = [shot for shot in SHOTS if usable.size and shot <= usable.max()]
    # As many points as at least half of the classes, or five of them, allow
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
    """Rows of so many random positives and as many random negatives."""
    return np.concatenate([rng.permutation(np.flatnonzero(labels == value))[:count] for value in (1, 0)])


def demographic_features(records: pd.DataFrame, train: np.ndarray) -> np.ndarray | None:
    """Age (as cubic splines, with a flag where unknown) and sex: (records, D) float32; None where neither is known.

    Knots, and the mean that stands for an unknown age, are those of the training rows.
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
    """Which device recorded, one column each: (records, D) float32; None where there is only one."""
    devices = records["device"].to_numpy(str)
    names = np.unique(devices)
    return (devices[:, None] == names).astype(np.float32) if len(names) > 1 else None


def without_recording(benchmark: Benchmark, resamples: int = RESAMPLES) -> dict[str, Any]:
    """What can be known without looking at the ECG: AUROC of age and sex, and of the recording device, alone.

    Returns:
        "age and sex" and "device", as far as they are known → `macro`, `macro_common` and `classes`.
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
            _, scores, _ = fit_probe(
                *(x[train], benchmark.labels[train], x[validation], benchmark.labels[validation], x[test])
            )
            figures = assess(benchmark.take(test), scores, None, None, resamples=resamples).metrics
            found[name] = {key: figures[key] for key in ("macro", "macro_common", "classes")}
    return found
