"""One evaluation from start to end: embeddings, figures, baselines, and what a report says of them.

Each task takes models by name, the first being the one that is evaluated, and returns a `Result`; `report` writes it.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dbeta.errors import DBetaError
from dbeta.evaluation.assess import Assessment
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.embeddings import Embedded, embed_benchmark, model_fingerprint, repeated_recordings
from dbeta.evaluation.identification import identification
from dbeta.evaluation.metrics import RESAMPLES, compare
from dbeta.evaluation.probe import check_splits, few_shot, probe, without_recording
from dbeta.evaluation.retrieval import retrieval
from dbeta.evaluation.zero_shot import random_twin, zero_shot, zero_shot_baselines
from dbeta.inference import DBeta
from dbeta.training.finetune import UNKNOWN

RANDOM = "random"
#: Names of rows that are no model's.
RESERVED = (RANDOM, "normality", "age and sex", "device", "readers", "frozen", "chance")
#: Resamples of what is drawn as curves.
FEW_RESAMPLES = 200
#: Libraries whose versions a report names.
LIBRARIES = ("dbeta", "torch", "transformers", "scikit-learn", "numpy", "ecgbench", "wfdb")

#: Opens a progress bar: what is being done → a context that gives a function of (done, in all).
Bar = Callable[[str], AbstractContextManager[Any]]


def no_bar(label: str) -> AbstractContextManager[Any]:
    """For callers without a terminal."""
    return nullcontext(lambda done, total: None)


@dataclass
class Result:
    """What an evaluation found.

    Attributes:
        metrics: what `metrics.json` holds.
        predictions: a row for each model and test record: what was true, the scores, and probabilities where there are.
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)


def evaluate_zero_shot(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    *,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """How well words alone rank a benchmark's test records.

    Args:
        models: by name; a second one is compared with the first.
        benchmark: which records and classes.
        cache: where embeddings are kept (see `embed_benchmark`).
        resamples: of the bootstrap.
        bar: opens progress bars.

    Raises:
        DBetaError: no test record can be read, or a model has no text encoder.
    """
    check_models(models)
    check_measurable(benchmark)
    for name, model in models.items():
        if model.model.config.parts == "ecg":
            raise DBetaError(f"{name}: has no text encoder, so it cannot be evaluated zero-shot; probe it instead")
    twin = random_twin(first(models))
    part = benchmark.take(benchmark.rows("validation", "test"))
    embedded = _embed({**models, RANDOM: twin}, part, cache, bar)
    metrics = describe("zero-shot", benchmark, embedded, models, resamples)
    unread = embedded.unread
    embedded, _ = without_repeats(embedded, metrics["notes"])
    found: dict[str, tuple[Assessment, dict[str, Any]]] = {}
    for name, model in models.items():
        best, prompts = zero_shot(model, embedded.benchmark, embedded.embeds[name], resamples=resamples)
        found[name] = best, {"prompts": prompts}
    model = first(models)
    baselines = zero_shot_baselines(
        *(model, twin, embedded.benchmark, embedded.embeds[first_name(models)], embedded.embeds[RANDOM]),
        resamples=resamples,
    )
    # Their labels, but none of their recordings, are needed of the training records
    baselines |= without_recording(_readable(benchmark, unread), resamples)
    test = embedded.benchmark.take(embedded.benchmark.rows("test"))
    return result(metrics, found, baselines, test)


def evaluate_probe(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    *,
    merl: bool = False,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """How well linear probes on frozen embeddings rank a benchmark's test records.

    Arguments and errors as of `evaluate_zero_shot`; `merl` probes as MERL did, on its training subsets.
    """
    check_models(models)
    check_splits(benchmark)
    check_measurable(benchmark)
    embedded = _embed({**models, RANDOM: random_twin(first(models))}, benchmark, cache, bar)
    metrics = describe("probe", benchmark, embedded, models, resamples)
    known, _ = without_repeats(embedded, metrics["notes"])
    metrics["probe"] = (
        "MERL's: one linear layer, 100 epochs, the best on validation"
        if merl
        else ("logistic regression per class, the penalty chosen on validation")
    )
    found: dict[str, tuple[Assessment, dict[str, Any]]] = {}
    for name in (*models, RANDOM):
        with bar(f"probing {name}") as advance:
            fractions = probe(known.benchmark, known.embeds[name], merl=merl, resamples=resamples, progress=advance)
        extra = {"fractions": {share: brief(one.metrics) for share, one in fractions.items()}}
        if not merl:
            extra["few_shot"] = few_shot(known.benchmark, known.embeds[name], resamples=min(resamples, FEW_RESAMPLES))
        found[name] = fractions["100%"], extra
    random = found.pop(RANDOM)
    baselines = {"random": brief(random[0].metrics) | random[1]} | without_recording(known.benchmark, resamples)
    test = known.benchmark.take(known.benchmark.rows("test"))
    return result(metrics, found, baselines, test)


def evaluate_retrieval(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    *,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """How well a model finds ECGs by their reports and reports by their ECGs, on the test records.

    Arguments and errors as of `evaluate_zero_shot`.
    """
    check_models(models)
    every = {**models, RANDOM: random_twin(first(models))}
    embedded = _embed(every, benchmark.take(benchmark.rows("test")), cache, bar)
    metrics = describe("retrieval", benchmark, embedded, models, resamples)
    found = {
        name: retrieval(model, embedded.benchmark, embedded.embeds[name], resamples=resamples)
        for name, model in every.items()
    }
    return Result(metrics | beside(models, found, {"random": found[RANDOM]}))


def evaluate_identification(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    *,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """How often a record's nearest in a gallery is of the same patient, on the test records.

    Arguments and errors as of `evaluate_zero_shot`.
    """
    check_models(models)
    several = benchmark.records["patient_id"].duplicated(keep=False).to_numpy()
    rows = np.intersect1d(benchmark.rows("test"), np.flatnonzero(several))
    if not len(rows):
        raise DBetaError(f"{benchmark.name}: fewer than two test patients have several records to tell apart")
    embedded = _embed({**models, RANDOM: random_twin(first(models))}, benchmark.take(rows), cache, bar)
    metrics = describe("identification", benchmark, embedded, models, resamples)
    found = {
        name: identification(embedded.benchmark, embeds, resamples=resamples)
        for name, embeds in embedded.embeds.items()
    }
    return Result(metrics | beside(models, found, {"random": found[RANDOM]}))


def beside(models: Mapping[str, Any], found: Mapping[str, dict[str, Any]], baselines: dict[str, Any]) -> dict[str, Any]:
    """The first model's figures on top, the others' and the baselines beside them."""
    name, *others = models
    return found[name] | {"others": {other: found[other] for other in others}, "baselines": baselines}


def check_models(models: Mapping[str, Any]) -> None:
    """Refuse names that the report has for something else.

    Raises:
        DBetaError: a model has such a name.
    """
    for name in models:
        if name in RESERVED:
            raise DBetaError(f"{name}: is what a report calls a baseline; give the model another name")


def check_measurable(benchmark: Benchmark) -> None:
    """Refuse a benchmark on which nothing can be measured.

    Raises:
        DBetaError: no class has a test record with it and one without.
    """
    labels = benchmark.labels[benchmark.rows("test")]
    if not (((labels == 1).any(axis=0)) & ((labels == 0).any(axis=0))).any():
        raise DBetaError(
            f"{benchmark.name}: no class has a test record with it and one without, so nothing can be measured on its "
            f"{len(labels)} test records; get more of them"
        )


def _readable(benchmark: Benchmark, unread: Mapping[str, str]) -> Benchmark:
    """Without the records that could not be read, so that baselines rest on the same."""
    return benchmark.take(np.flatnonzero(~benchmark.records["record_id"].isin(unread).to_numpy()))


def first_name(models: Mapping[str, Any]) -> str:
    """The name of the model that is evaluated."""
    return next(iter(models))


def first(models: Mapping[str, DBeta]) -> DBeta:
    """The model that is evaluated; others are compared with it."""
    return next(iter(models.values()))


def _embed(models: Mapping[str, DBeta], benchmark: Benchmark, cache: Path | None, bar: Bar) -> Embedded:
    with bar("reading and embedding") as advance:
        return embed_benchmark(models, benchmark, cache=cache, progress=advance)


def without_repeats(embedded: Embedded, notes: list[str]) -> tuple[Embedded, np.ndarray]:
    """Without records of training and validation whose recording is in the test too; and the rows that are kept."""
    repeated = repeated_recordings(embedded.digests, embedded.benchmark.records["split"])
    if len(repeated):
        notes.append(
            f"{len(repeated)} records of training or validation are recordings that the test also holds; they were "
            "left out."
        )
    keep = np.setdiff1d(np.arange(len(embedded.benchmark)), repeated)
    embeds = {name: table[keep] for name, table in embedded.embeds.items()}
    digests = [embedded.digests[i] for i in keep]
    return Embedded(embedded.benchmark.take(keep), embeds, digests, embedded.unread), keep


def describe(
    task: str, benchmark: Benchmark, embedded: Embedded, models: Mapping[str, DBeta], resamples: int
) -> dict[str, Any]:
    """What a report says before its figures: which records, by which protocol, with what."""
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
                    "fingerprint": model_fingerprint(model),
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
    """Whether a model was pretrained on the dataset that a benchmark is made of; None where nobody recorded it."""
    known = model.model.config.trained_on
    if known is None or (not set(known) & benchmark.sources and UNKNOWN in known):
        return None
    return bool(set(known) & benchmark.sources)


def data_fingerprint(embedded: Embedded) -> str:
    """A name for what was evaluated on, samples, labels and splits: 32 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=16)
    records = embedded.benchmark.records
    order = np.argsort(records["record_id"].to_numpy(str))
    found.update(repr(embedded.benchmark.classes).encode())
    for i in order:
        row = records.iloc[i]
        found.update(f"{row['record_id']} {row['patient_id']} {row['split']} ".encode())
        found.update(embedded.digests[i] + embedded.benchmark.labels[i].tobytes())
    return found.hexdigest()


def brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures themselves, without subgroups and calibration."""
    kept = ("macro", "macro_common", "sd_over_seeds", "challenge_score", "classes")
    return {name: metrics[name] for name in kept if name in metrics}


def result(
    metrics: dict[str, Any],
    found: Mapping[str, tuple[Assessment, dict[str, Any]]],
    baselines: dict[str, Any],
    test: Benchmark,
) -> Result:
    """The first model's figures on top, the others' and the comparisons beside them.

    Args:
        metrics: what `describe` says.
        found: model's name → its figures, and further entries for it.
        baselines: of all of them.
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
    """A row for each test record: the label (empty where undecided), score and probability of each class."""
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
