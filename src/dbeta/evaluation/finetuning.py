"""Fine-tunes models on a benchmark, with all leads or fewer, and evaluates them on the test records."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dbeta.errors import DBetaError
from dbeta.evaluation.assess import Assessment, assess
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.embeddings import Embedded, read_signals
from dbeta.evaluation.identification import gallery_and_queries, identification
from dbeta.evaluation.metrics import RESAMPLES
from dbeta.evaluation.probe import check_splits, without_recording
from dbeta.evaluation.result import Result, beside, brief, data_fingerprint, describe, first, first_name, result
from dbeta.evaluation.tasks import RANDOM, Bar, check_measurable, check_models, no_bar, without_repeats
from dbeta.evaluation.zero_shot import random_twin
from dbeta.inference.dbeta import DBeta
from dbeta.training.finetune import LEAD_SETS, Classifier, Settings, finetune, lead_mask, predict, save_encoder
from dbeta.utils.fingerprints import run_fingerprint

#: Folder for checkpoints inside the output folder, removed at the end.
WORK = ".work"


def evaluate_finetune(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    output: Path,
    *,
    leads: Sequence[int] = (12,),
    settings: Settings | None = None,
    scratch: bool = True,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """Fine-tune each model on the training records and evaluate it on the test records.

    Args:
        models: by name; a second one is compared with the first.
        benchmark: with train, validation and test records.
        output: folder for the fine-tuned encoders (`MODEL-12-leads`, …); an interrupted run is resumed.
        leads: lead sets to fine-tune the first model on, separately; the first one gives the main figures.
        settings: settings of fine-tuning.
        scratch: also train the first model's architecture from random weights, as a baseline.
        resamples: bootstrap resamples.
        bar: opens progress bars (see `tasks`).

    Raises:
        DBetaError: there are no training or validation records, no test record is readable, a lead set is unknown, or
            training diverged.
    """
    check_models(models)
    check_splits(benchmark)
    check_measurable(benchmark)
    settings = settings or Settings()
    for count in leads:
        lead_mask(first(models).model.config, count)
    work = output / WORK
    work.mkdir(parents=True, exist_ok=True)
    jobs: dict[tuple[str, int], DBeta] = {(name, leads[0]): model for name, model in models.items()}
    jobs |= {(first_name(models), count): first(models) for count in leads}
    if scratch:
        jobs[RANDOM, leads[0]] = random_twin(first(models))
    found: dict[tuple[str, int], Assessment] = {}
    metrics: dict[str, Any] = {}
    test = readable = benchmark
    for (name, count), model in jobs.items():
        with bar("reading") as advance:
            embedded, signals = read_signals(
                benchmark, model.processor.input_format, work / "signals.npy", progress=advance
            )
        if not metrics:
            metrics = describe("finetune", benchmark, embedded, models, resamples)
            metrics["settings"] = asdict(settings)
        known, keep = without_repeats(embedded, metrics["notes"] if not found else [])
        train, validation, tested = (known.benchmark.rows(split) for split in ("train", "validation", "test"))
        test, readable = known.benchmark.take(tested), known.benchmark
        signals = signals[keep] if len(keep) < len(signals) else signals
        labels = known.benchmark.labels.astype(np.int64)
        steps = work / _run_name(name, model, embedded, settings, leads=count)
        network = finetune(model.model, signals, labels, train, validation, steps, leads=count, settings=settings)
        found[name, count] = assess(
            test,
            predict(network, signals, tested),
            known.benchmark.take(validation),
            predict(network, signals, validation),
            resamples=resamples,
        )
        if name != RANDOM:
            folder = output / f"{_plain(name)}-{count}-leads"
            about = {"fine-tuned on": benchmark.name, "leads": ", ".join(LEAD_SETS[count]), "from": name}
            save_encoder(
                network,
                model.model.config,
                model.processor,
                folder,
                classes=benchmark.classes,
                dataset=benchmark.dataset,
                about=about,
            )
    top: dict[str, tuple[Assessment, dict[str, Any]]] = {name: (found[name, leads[0]], {}) for name in models}
    by_leads = {
        str(count): brief(found[first_name(models), count].metrics) | {"names": list(LEAD_SETS[count])}
        for count in leads
    }
    top[first_name(models)][1]["leads"] = by_leads
    baselines = without_recording(readable, resamples)
    if scratch:
        baselines = {"random": brief(found[RANDOM, leads[0]].metrics)} | baselines
    shutil.rmtree(work, ignore_errors=True)
    return result(metrics, top, baselines, test)


def evaluate_finetuned_identification(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    output: Path,
    *,
    settings: Settings | None = None,
    resamples: int = RESAMPLES,
    bar: Bar = no_bar,
) -> Result:
    """Fine-tune each model to identify the training patients, and evaluate identification of the (other) test patients.

    Arguments and errors are those of `evaluate_finetune`.
    """
    check_models(models)
    check_splits(benchmark)
    benchmark = _several_records(benchmark)
    settings = settings or Settings()
    work = output / WORK
    work.mkdir(parents=True, exist_ok=True)
    found = {}
    metrics: dict[str, Any] = {}
    for name, model in models.items():
        with bar("reading") as advance:
            embedded, signals = read_signals(
                benchmark, model.processor.input_format, work / "signals.npy", progress=advance
            )
        if not metrics:
            metrics = describe("identification", benchmark, embedded, models, resamples)
            metrics["notes"].append("The encoder was fine-tuned to identify the training patients.")
        steps = work / _run_name(name, model, embedded, settings, leads=12)
        network = _finetune_patients(model, embedded, signals, steps, settings)
        tower = network.tower.eval()
        with torch.inference_mode():
            device = next(tower.parameters()).device
            parts = [
                tower(torch.from_numpy(np.asarray(signals[i : i + 64])).float().to(device)).float().cpu()
                for i in range(0, len(signals), 64)
            ]
        found[name] = identification(embedded.benchmark, torch.cat(parts).numpy(), resamples=resamples)
        if name == first_name(models):
            frozen = [
                model.embed_signals(list(signals[i : i + 64].astype(np.float32))) for i in range(0, len(signals), 64)
            ]
            found["frozen"] = identification(embedded.benchmark, np.concatenate(frozen), resamples=resamples)
    shutil.rmtree(work, ignore_errors=True)
    metrics["settings"] = asdict(settings)
    return Result(metrics | beside(models, found, {"before fine-tuning": found["frozen"]}))


def _run_name(name: str, model: DBeta, embedded: Embedded, settings: Settings, leads: int) -> str:
    """Name the folder for a run's checkpoints, with a hash of everything that determines the run."""
    fingerprints = model.ecg_embedding_fingerprint(), data_fingerprint(embedded)
    facts = (*fingerprints, asdict(settings), leads, embedded.benchmark.name)
    return f"{_plain(name)}-{leads}-{run_fingerprint(facts)}"


def _plain(name: str) -> str:
    """Make a folder's name from a model's name."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _several_records(benchmark: Benchmark) -> Benchmark:
    """Keep the records of patients with several records.

    Raises:
        DBetaError: training or test has fewer than two such patients.
    """
    several = benchmark.records["patient_id"].duplicated(keep=False).to_numpy()
    kept = benchmark.take(np.flatnonzero(several)) if several[benchmark.rows("test")].any() else None
    for split in ("train", "test"):
        if kept is None or len(gallery_and_queries(kept.patients[kept.rows(split)])[0]) < 2:
            raise DBetaError(f"{benchmark.name}: fewer than two {split} patients have several records")
    assert kept is not None
    return kept


def _finetune_patients(
    model: DBeta, embedded: Embedded, signals: np.ndarray, work: Path, settings: Settings | None
) -> Classifier:
    """Fine-tune on all but the last record of each training patient; those last records select the epoch."""
    rows = embedded.benchmark.rows("train")
    names, patient = np.unique(embedded.benchmark.patients[rows], return_inverse=True)
    targets = np.zeros(len(embedded.benchmark), np.int64)
    targets[rows] = patient
    last = np.array([rows[np.flatnonzero(patient == i)[-1]] for i in range(len(names))])
    train = np.setdiff1d(rows, last)
    return finetune(model.model, signals, targets, train, last, work, settings=settings, patients=True)
