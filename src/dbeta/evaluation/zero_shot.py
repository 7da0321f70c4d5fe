"""Zero-shot classification: ranks recordings by text prompts alone, with four kinds of prompt and with baselines.

The baselines are encoders with random weights, which already rank some conditions well, and the model's negated score
for a normal ECG, since a model that only distinguishes normal from abnormal ranks every abnormality well.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dbeta.conditions.registry import Condition
from dbeta.evaluation.assess import Assessment, assess, reader_figures
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.metrics import RESAMPLES, mean_of, resample, score_labels, summarize
from dbeta.inference.dbeta import DBeta
from dbeta.model import DBetaModel

#: Kind of prompt → description.
PROMPTS = {
    "ensemble": "the mean over name, synonyms and description",
    "name": "its name only",
    "description": "what the tracing shows",
    "pairs": "observations for it minus observations against it",
}
#: The kind that gives the main figures.
DEFAULT = "ensemble"
#: Random text encoders that the random baseline averages over, with one random ECG encoder.
RANDOM_TEXTS = 5


def random_twin(model: DBeta, seed: int = 0) -> DBeta:
    """Make a model of the same configuration and tokenizer with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = DBetaModel(copy.deepcopy(model.model.config))
    return DBeta(fresh.to(model.model.device), model.processor, batch_size=model.batch_size)


def unit(x: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; zero rows stay zero."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-12)


def direction(model: DBeta, condition: Condition, prompts: str) -> np.ndarray:
    """Embed a condition's prompts.

    Args:
        model: its text encoder embeds the prompts.
        condition: condition to embed.
        prompts: one of `PROMPTS`.

    Returns:
        (D,) float32 of unit length.
    """
    if prompts == "ensemble":
        return model.embed_condition(condition)
    if prompts == "pairs":
        return unit(_mean(model, condition.prompts_for) - _mean(model, condition.prompts_against))
    return _mean(model, {"name": condition.prompts[:1], "description": condition.prompts[-1:]}[prompts])


def _mean(model: DBeta, texts: tuple[str, ...]) -> np.ndarray:
    return unit(unit(model.embed_text(texts)).mean(axis=0))


def zero_shot_scores(
    model: DBeta, embeds: np.ndarray, conditions: Mapping[str, Condition], prompts: str = DEFAULT
) -> np.ndarray:
    """Compute the cosine of each recording with each class's condition: (records, classes)."""
    directions = np.stack([direction(model, condition, prompts) for condition in conditions.values()])
    return unit(embeds) @ directions.T


def zero_shot(
    model: DBeta, benchmark: Benchmark, embeds: np.ndarray, *, resamples: int = RESAMPLES
) -> tuple[Assessment, dict[str, Any]]:
    """Evaluate a model with each kind of prompt.

    Args:
        model: its text encoder embeds the prompts.
        benchmark: with test records and, for calibration, optional validation records.
        embeds: (records, D), by the model.
        resamples: bootstrap resamples.

    Returns:
        All figures of the default kind; and kind of prompt → its description (`what`), `macro`, `macro_common` and
        `classes`.
    """
    rows, validation = benchmark.rows("test"), benchmark.rows("validation")
    test = benchmark.take(rows)
    scores = {way: zero_shot_scores(model, embeds, benchmark.conditions, way) for way in PROMPTS}
    found = assess(
        test,
        scores[DEFAULT][rows],
        benchmark.take(validation) if len(validation) else None,
        scores[DEFAULT][validation],
        resamples=resamples,
    )
    ways = {
        way: {"what": what}
        | score_labels(test.labels, scores[way][rows], test.classes, test.patients, resamples=resamples)
        for way, what in PROMPTS.items()
    }
    return found, ways


def zero_shot_baselines(
    model: DBeta,
    twin: DBeta,
    benchmark: Benchmark,
    embeds: np.ndarray,
    twin_embeds: np.ndarray,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Evaluate the zero-shot baselines.

    Args:
        model: the evaluated model.
        twin: its `random_twin` of seed 0.
        benchmark: as for `zero_shot`.
        embeds: (records, D), by the model.
        twin_embeds: (records, D), by the twin.
        resamples: bootstrap resamples.

    Returns:
        Figures of "random", "normality" if the benchmark has a class of normal ECGs, and "readers" if it has
        human readers.
    """
    rows = benchmark.rows("test")
    test = benchmark.take(rows)

    def table(scores: np.ndarray) -> Any:
        return resample(test.labels, scores, test.patients, resamples=resamples)

    random = []
    for seed in range(RANDOM_TEXTS):
        one = twin if seed == 0 else random_twin(model, seed)
        random.append(table(zero_shot_scores(one, twin_embeds[rows], test.conditions)))
    found = {"random": summarize(mean_of(random), test.labels, test.classes, test.patients)}
    scores = zero_shot_scores(model, embeds[rows], test.conditions)
    turned = normality(scores, test.conditions)
    if turned is not None:
        found["normality"] = summarize(table(turned), test.labels, test.classes, test.patients)
    if test.readers:
        found["readers"] = reader_figures(test)
    return found


def normality(scores: np.ndarray, conditions: Mapping[str, Condition]) -> np.ndarray | None:
    """Score every class by how little the record looks normal, as a baseline.

    Args:
        scores: (records, classes).
        conditions: conditions of the classes; a normal ECG, or else sinus rhythm, keeps its own score.

    Returns:
        (records, classes); None if the benchmark has no such class.
    """
    keys = [condition.key for condition in conditions.values()]
    normal = next((keys.index(key) for key in ("normal_ecg", "sinus_rhythm") if key in keys), None)
    if normal is None:
        return None
    return np.where(np.arange(len(keys)) == normal, 1.0, -1.0) * scores[:, normal, None]
