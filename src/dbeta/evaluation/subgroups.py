"""Metrics by subgroup (sex, age, device, …), within devices, and among abnormal records."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.benchmarks.base import GROUP
from dbeta.evaluation.metrics import FEW_POSITIVES, interval, macro, resample, summarize

#: Lower bounds in years of the age groups after the first.
AGE_BOUNDS = (40, 60, 75)
#: Smaller subgroups are not reported.
FEWEST_RECORDS = 20


def group_columns(records: pd.DataFrame) -> dict[str, np.ndarray]:
    """Assign records to subgroups.

    Args:
        records: (n rows) of `Benchmark.records`.

    Returns:
        Kind of subgroup ("sex", "age", "device", …) → (n,) group of each record, "" where unknown.
    """
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
    """Compute the macro AUROC and AUPRC of each subgroup over the classes that are common enough in it.

    Groups of fewer than `FEWEST_RECORDS` records or without a common class are left out, as are kinds with a single
    group. Groups differ in their classes, so their means are not directly comparable.

    Returns:
        Kind of group → group → `records`, `classes` (how many), `auroc`, `auprc`.
    """
    found: dict[str, dict[str, Any]] = {}
    for kind, groups in group_columns(test.records).items():
        names, counts = np.unique(groups[groups != ""], return_counts=True)
        large = [str(name) for name, count in zip(names, counts, strict=True) if count >= FEWEST_RECORDS]
        if len(large) < 2:
            continue
        found[kind] = {}
        for name in large:
            # All patients are resampled, so that groups share resamples; records outside the group count as undecided
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
    """Compute the AUROC among records of the same group only; a score that only separates the groups gets 0.5.

    The AUROC of a class is the mean over groups, weighted by their number of positive-negative pairs (the
    covariate-adjusted AUROC of Janes and Pepe 2009 for a discrete covariate).

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
    """Compute figures among abnormal records only; a score that only separates normal from abnormal gets 0.5.

    Returns:
        `{"records": n, "macro": …, "classes": …}` as of `summarize`, without the class of normal ECGs; None where the
        benchmark has no such class, or only that one.
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
