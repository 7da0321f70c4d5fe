"""The result of an evaluation: metrics with their provenance, and predictions."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from dbeta.evaluation.assess import Assessment
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.embeddings import Embedded
from dbeta.evaluation.metrics import compare
from dbeta.inference.dbeta import DBeta
from dbeta.training.finetune import UNKNOWN
from dbeta.utils.fingerprints import benchmark_fingerprint

#: Libraries whose versions are recorded.
LIBRARIES = ("dbeta", "torch", "transformers", "scikit-learn", "numpy", "ecgbench")


@dataclass
class Result:
    """The result of an evaluation.

    Attributes:
        metrics: the content of `metrics.json`.
        predictions: one row per model and test record: labels, scores and, if calibrated, probabilities.
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)


def first_name(models: Mapping[str, Any]) -> str:
    """Return the name of the evaluated model."""
    return next(iter(models))


def first(models: Mapping[str, DBeta]) -> DBeta:
    """Return the evaluated model; the others are compared with it."""
    return next(iter(models.values()))


def describe(
    task: str, benchmark: Benchmark, embedded: Embedded, models: Mapping[str, DBeta], resamples: int
) -> dict[str, Any]:
    """Make the entries of `metrics.json` that describe the evaluation: records, protocol, provenance."""
    records = embedded.benchmark.records
    test = embedded.benchmark.rows("test")
    return {
        "task": task,
        "benchmark": benchmark.name,
        "protocol": benchmark.protocol,
        "model": first_name(models),
        "n_records": len(test),
        "n_patients": int(records["patient_id"].iloc[test].nunique()),
        "splits": {name: int(count) for name, count in records["split"].value_counts().items()},
        "missing": benchmark.missing,
        "unread": embedded.unread,
        "notes": list(benchmark.notes),
        "provenance": {
            "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
            "data_fingerprint": data_fingerprint(embedded),
            "models": {
                name: {
                    "fingerprint": model.ecg_embedding_fingerprint(),
                    "precision": str(model.model.dtype).removeprefix("torch."),
                    "trained_on": model.model.config.trained_on,
                    "in_domain": in_domain(model, benchmark),
                }
                for name, model in models.items()
            },
            "bootstrap": {"resamples": resamples, "unit": "patient", "seed": 0},
        },
    }


def in_domain(model: DBeta, benchmark: Benchmark) -> bool | None:
    """Whether a model was pretrained on a benchmark's dataset; None if that was not recorded."""
    known = model.model.config.trained_on
    if known is None or (not set(known) & benchmark.sources and UNKNOWN in known):
        return None
    return bool(set(known) & benchmark.sources)


def data_fingerprint(embedded: Embedded) -> str:
    """Compute the fingerprint of the evaluated records (see `benchmark_fingerprint`)."""
    benchmark = embedded.benchmark
    return benchmark_fingerprint(benchmark.records, benchmark.labels, benchmark.classes, embedded.digests)


def brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """Keep the main figures, without subgroups and calibration."""
    kept = ("macro", "macro_common", "sd_over_seeds", "challenge_score", "classes")
    return {name: metrics[name] for name in kept if name in metrics}


def result(
    metrics: dict[str, Any],
    found: Mapping[str, tuple[Assessment, dict[str, Any]]],
    baselines: dict[str, Any],
    test: Benchmark,
) -> Result:
    """Combine the figures of all models: the first model's at the top level, the others' and comparisons below.

    Args:
        metrics: from `describe`.
        found: model's name → its figures, and further entries for it.
        baselines: name → figures.
        test: the test records.
    """
    name, *others = found
    best, extra = found[name]
    metrics = metrics | best.metrics | extra | {"baselines": baselines}
    metrics["others"] = {other: found[other][0].metrics | found[other][1] for other in others}
    metrics["comparisons"] = {
        other: compare(best.resampled, found[other][0].resampled, test.classes) for other in others
    }
    return Result(metrics, pd.concat([_predictions(test, name, one) for name, (one, _) in found.items()]))


def _predictions(test: Benchmark, model: str, one: Assessment) -> pd.DataFrame:
    """Tabulate test records: label (empty where undecided), score and probability of each class."""
    table = test.records[["record_id", "patient_id"]].reset_index(drop=True)
    columns: dict[str, Any] = {}
    for i, name in enumerate(test.classes):
        label = pd.array(test.labels[:, i], dtype="Int8")
        label[test.labels[:, i] < 0] = pd.NA
        columns[f"label:{name}"] = label
        columns[f"score:{name}"] = one.scores[:, i].astype(np.float32)
        columns[f"probability:{name}"] = one.probabilities[:, i].astype(np.float32)
    table.insert(0, "model", model)
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def beside(models: Mapping[str, Any], found: Mapping[str, dict[str, Any]], baselines: dict[str, Any]) -> dict[str, Any]:
    """Combine the figures of all models: the first model's at the top level, the others' and the baselines' below."""
    name, *others = models
    return found[name] | {"others": {other: found[other] for other in others}, "baselines": baselines}
