"""Zero-shot classification: cosine of an ECG's embedding with a condition's prompts, scored per class.

Special here: two baselines stand beside every result, a randomly initialised model of the same shape, since random
encoders already rank some conditions well, and the model's own score for a normal ECG turned round, since a model that
only tells normal from abnormal ranks every abnormality well.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from dbeta.corpus.build import Progress
from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.metrics import score_labels
from dbeta.inference import DBeta
from dbeta.model import DBetaModel


def read_benchmark(
    benchmark: Benchmark, model: DBeta, progress: Progress | None = None
) -> tuple[Benchmark, list[ECG], dict[str, str]]:
    """The recordings of a benchmark that can be read; the others by file with the reason.

    Raises:
        DBetaError: not one can be read.
    """
    ecgs: list[ECG] = []
    unread: dict[str, str] = {}
    rows: set[int] = set()
    for i, file in enumerate(benchmark.files):
        try:
            ecgs.append(model.read(file))
        except DBetaError as error:
            unread[str(file)] = str(error)
            rows.add(i)
        if progress is not None:
            progress(i + 1, len(benchmark.files))
    if not ecgs:
        raise DBetaError(f"{benchmark.name}: not one recording could be read ({next(iter(unread.values()))})")
    return benchmark.without(rows), ecgs, unread


def random_twin(model: DBeta, seed: int = 0) -> DBeta:
    """A model of the same configuration and tokenizer with weights that saw no data."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = DBetaModel(copy.deepcopy(model.model.config))
    return DBeta(fresh.to(model.model.device), model.processor, batch_size=model.batch_size)


def zero_shot_scores(model: DBeta, benchmark: Benchmark, ecgs: list[ECG]) -> np.ndarray:
    """Cosine of each recording with each class's condition: (records, classes)."""
    embeds = model.embed(ecgs)
    embeds = embeds / np.linalg.norm(embeds, axis=1, keepdims=True).clip(1e-12)
    directions = np.stack([model.embed_condition(condition) for condition in benchmark.conditions.values()])
    return embeds @ directions.T


def evaluate_zero_shot(model: DBeta, benchmark: Benchmark, progress: Progress | None = None) -> dict[str, Any]:
    """Zero-shot figures of a model and of its random twin.

    Returns:
        What `metrics.json` holds: benchmark, protocol, n_records, unread (file → reason), macro, classes, baselines.

    Raises:
        DBetaError: no recording can be read.
    """
    benchmark, ecgs, unread = read_benchmark(benchmark, model, progress)
    names = list(benchmark.conditions)

    def score(one: DBeta) -> np.ndarray:
        return zero_shot_scores(one, benchmark, ecgs)

    def figures(scores: np.ndarray) -> dict[str, Any]:
        return score_labels(benchmark.labels, scores, names, benchmark.patients)

    scores = score(model)
    return {
        "benchmark": benchmark.name,
        "protocol": benchmark.protocol + ", prompts: ensemble of name, synonyms and description",
        "n_records": len(ecgs),
        "unread": unread,
        **figures(scores),
        "baselines": {
            "random": figures(score(random_twin(model))),
            "normality": figures(normality(scores, names)),
        },
    }


def normality(scores: np.ndarray, names: list[str]) -> np.ndarray:
    """Every class scored by how little the record looks normal: what a model gets that knows nothing else.

    Args:
        scores: (records, classes).
        names: the classes; NORM keeps its own score.

    Returns:
        (records, classes); `scores` themselves where there is no class NORM.
    """
    if "NORM" not in names:
        return scores
    normal = scores[:, names.index("NORM"), None]
    return np.where(np.array(names) == "NORM", normal, -normal)
