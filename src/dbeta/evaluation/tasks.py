"""The evaluation tasks, from models and a benchmark to a `Result`: zero-shot, probe, retrieval, identification.

Each takes models by name; the first is evaluated and the others are compared with it. Fine-tuning is in
`dbeta.evaluation.finetuning`, and `dbeta.evaluation.report` writes a `Result`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.evaluation.assess import Assessment
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.embeddings import Embedded, embed_benchmark, read_signals, repeated_recordings
from dbeta.evaluation.identification import identification
from dbeta.evaluation.metrics import RESAMPLES
from dbeta.evaluation.probe import check_splits, few_shot, probe, without_recording
from dbeta.evaluation.result import Result, beside, brief, describe, first, first_name, result
from dbeta.evaluation.retrieval import retrieval
from dbeta.evaluation.zero_shot import random_twin, zero_shot, zero_shot_baselines
from dbeta.inference.dbeta import DBeta

RANDOM = "random"
#: Names of baselines in reports, which are not allowed as names of models.
RESERVED = (RANDOM, "normality", "age and sex", "device", "readers", "frozen", "chance")
#: Resamples for points of curves.
FEW_RESAMPLES = 200

#: Opens a progress bar: label → a context that yields a function of (done, total).
Bar = Callable[[str], AbstractContextManager[Any]]


def no_bar(label: str) -> AbstractContextManager[Any]:
    """Show no progress."""
    return nullcontext(lambda done, total: None)


def evaluate_zero_shot(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    *,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """Evaluate how well text prompts alone rank a benchmark's test records.

    Args:
        models: models by name; the first is evaluated, others are compared with it.
        benchmark: records and classes.
        cache: folder for cached embeddings (see `embed_benchmark`).
        resamples: bootstrap resamples.
        bar: opens progress bars.

    Raises:
        DBetaError: no test record is readable, or a model has no text encoder.
    """
    check_models(models)
    check_measurable(benchmark)
    for name, model in models.items():
        if model.model.config.parts == "ecg":
            raise DBetaError(f"{name}: has no text encoder, so it cannot be evaluated zero-shot; probe it instead")
    twin = random_twin(first(models))
    rows = benchmark.rows("validation", "test")
    embedded, metrics = _begin("zero-shot", models, twin, benchmark, rows, cache, resamples, bar)
    unread = embedded.unread
    embedded, _ = without_repeats(embedded, metrics["notes"])
    found: dict[str, tuple[Assessment, dict[str, Any]]] = {}
    for name, model in models.items():
        best, prompts = zero_shot(model, embedded.benchmark, embedded.embeds[name], resamples=resamples)
        found[name] = best, {"prompts": prompts}
    model = first(models)
    baselines = zero_shot_baselines(
        model,
        twin,
        embedded.benchmark,
        embedded.embeds[first_name(models)],
        embedded.embeds[RANDOM],
        resamples=resamples,
    )
    # These baselines also need the training records, but not their recordings
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
    """Evaluate how well linear probes on frozen embeddings rank a benchmark's test records.

    Arguments and errors are those of `evaluate_zero_shot`; `merl` uses MERL's probe and training subsets.
    """
    check_models(models)
    check_splits(benchmark)
    check_measurable(benchmark)
    twin, rows = random_twin(first(models)), np.arange(len(benchmark))
    embedded, metrics = _begin("probe", models, twin, benchmark, rows, cache, resamples, bar)
    known, _ = without_repeats(embedded, metrics["notes"])
    metrics["probe"] = (
        "MERL's: one linear layer, 100 epochs, the best on validation"
        if merl
        else "logistic regression per class, the penalty chosen on validation"
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
    rerank: int = 0,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """Evaluate retrieval of ECGs by report and of reports by ECG among the test records.

    Arguments and errors are those of `evaluate_zero_shot`; the first `rerank` items of each query are also sorted by
    `DBeta.match`, which needs models with their fusion half.
    """
    check_models(models)
    for model in models.values() if rerank else ():
        model.model.require_fusion()
    twin, rows = random_twin(first(models)), benchmark.rows("test")
    embedded, metrics = _begin("retrieval", models, twin, benchmark, rows, cache, resamples, bar)
    found = {}
    for name, model in {**models, RANDOM: twin}.items():
        with ExitStack() as stack:
            further: dict[str, Any] = {}
            if rerank and name != RANDOM:
                folder = Path(stack.enter_context(TemporaryDirectory()))
                advance = stack.enter_context(bar(f"reading for {name}"))
                wanted = model.processor.input_format
                _, signals = read_signals(embedded.benchmark, wanted, folder / "signals.npy", progress=advance)
                further = {"rerank": rerank, "signals": signals}
            found[name] = retrieval(model, embedded.benchmark, embedded.embeds[name], resamples=resamples, **further)
    return Result(metrics | beside(models, found, {"random": found[RANDOM]}))


def evaluate_identification(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    *,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """Evaluate how often a test record's nearest neighbour in a gallery is of the same patient.

    Arguments and errors are those of `evaluate_zero_shot`.
    """
    check_models(models)
    several = benchmark.records["patient_id"].duplicated(keep=False).to_numpy()
    rows = np.intersect1d(benchmark.rows("test"), np.flatnonzero(several))
    if not len(rows):
        raise DBetaError(f"{benchmark.name}: fewer than two test patients have several records")
    twin = random_twin(first(models))
    embedded, metrics = _begin("identification", models, twin, benchmark, rows, cache, resamples, bar)
    found = {
        name: identification(embedded.benchmark, embeds, resamples=resamples)
        for name, embeds in embedded.embeds.items()
    }
    return Result(metrics | beside(models, found, {"random": found[RANDOM]}))


def check_models(models: Mapping[str, Any]) -> None:
    """Check that no model is named like a baseline.

    Raises:
        DBetaError: one is.
    """
    for name in models:
        if name in RESERVED:
            raise DBetaError(f"{name}: is the name of a baseline in reports; give the model another name")


def check_measurable(benchmark: Benchmark) -> None:
    """Check that at least one class has positive and negative test records.

    Raises:
        DBetaError: no class has both.
    """
    labels = benchmark.labels[benchmark.rows("test")]
    if not (((labels == 1).any(axis=0)) & ((labels == 0).any(axis=0))).any():
        raise DBetaError(
            f"{benchmark.name}: no class has both positive and negative records among the {len(labels)} test records; "
            "get more of them"
        )


def _readable(benchmark: Benchmark, unread: Mapping[str, str]) -> Benchmark:
    """Remove the unreadable records, so that baselines use the same records as models."""
    return benchmark.take(np.flatnonzero(~benchmark.records["record_id"].isin(unread).to_numpy()))


def _begin(
    task: str,
    models: Mapping[str, DBeta],
    twin: DBeta,
    benchmark: Benchmark,
    rows: np.ndarray,
    cache: Path | None,
    resamples: int,
    bar: Bar,
) -> tuple[Embedded, dict[str, Any]]:
    """Embed some of a benchmark's records by the models and by a random one, and begin the task's metrics."""
    with bar("reading and embedding") as advance:
        embedded = embed_benchmark({**models, RANDOM: twin}, benchmark.take(rows), cache=cache, progress=advance)
    return embedded, describe(task, benchmark, embedded, models, resamples)


def without_repeats(embedded: Embedded, notes: list[str]) -> tuple[Embedded, np.ndarray]:
    """Remove records of training and validation whose recording is also in the test split.

    Args:
        embedded: of all splits.
        notes: gets a note on what was removed.

    Returns:
        The remaining records, and their row numbers.
    """
    repeated = repeated_recordings(embedded.digests, embedded.benchmark.records["split"])
    if len(repeated):
        notes.append(
            f"{len(repeated)} records of training or validation have recordings that are also in the test split; they "
            "were left out."
        )
    keep = np.setdiff1d(np.arange(len(embedded.benchmark)), repeated)
    embeds = {name: table[keep] for name, table in embedded.embeds.items()}
    digests = [embedded.digests[i] for i in keep]
    return Embedded(embedded.benchmark.take(keep), embeds, digests, embedded.unread), keep
