"""Retrieval of ECGs by report and of reports by ECG, on held-out pairs.

Reports repeat ("sinus rhythm. normal ecg."), so any record with the same report counts as a hit. With repeated reports
chance is not 1 / n, so it is given beside every figure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dbeta.corpus.report_text import clean_report
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.metrics import RESAMPLES, interval
from dbeta.evaluation.reranking import rerank_scores
from dbeta.evaluation.zero_shot import unit
from dbeta.inference.dbeta import DBeta

DEPTHS = (1, 5, 10)


def retrieval(
    model: DBeta,
    benchmark: Benchmark,
    embeds: np.ndarray,
    *,
    rerank: int = 0,
    signals: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute recall and median rank of retrieval in both directions.

    Args:
        model: its text encoder embeds the reports.
        benchmark: its test records that have a report are used.
        embeds: (records, D), of the records of all splits.
        rerank: items of each query that are sorted by `DBeta.match`; 0 for none.
        signals: (records, leads, samples) for `rerank`.
        resamples: bootstrap resamples of patients.
        seed: of the bootstrap.

    Returns:
        `{"pairs": n, "unique_reports": m, "text_to_ecg": {"recall@1": [value, low, high], …, "median_rank": …},
        "ecg_to_text": …, "chance": {"text_to_ecg": {"recall@1": value, …}, …}}`. Text to ECG: each unique report
        queries all recordings, any with that report is a hit. ECG to text: each recording queries the unique reports.
        With `rerank`, also `"reranked"`: the same figures afterwards, `"gain"` with their differences, and `"first"`.

    Raises:
        DBetaError: there are fewer than two unique reports, or the model cannot match.
    """
    rows = benchmark.rows("test")
    reports = [clean_report(report).rstrip(" .") for report in benchmark.records["report"].iloc[rows]]
    kept = [i for i, report in enumerate(reports) if report]
    texts = sorted({reports[i] for i in kept})
    if len(texts) < 2:
        raise DBetaError(f"{benchmark.name}: its test records have fewer than two unique reports")
    of = {text: i for i, text in enumerate(texts)}
    own = np.array([of[reports[i]] for i in kept])  # each record's report
    patients = benchmark.patients[rows][kept]
    scores = unit(model.embed_text(texts)) @ unit(embeds[rows][kept]).T  # (reports, records)
    relevant = np.arange(len(texts))[:, None] == own
    to_ecg = first_hits(scores, relevant)
    to_text = first_hits(scores.T, relevant.T)
    # In the bootstrap, a report is drawn together with the patient of its first record
    asks = np.array([patients[np.flatnonzero(own == i)[0]] for i in range(len(texts))])
    found = {
        "pairs": len(kept),
        "unique_reports": len(texts),
        "text_to_ecg": _figures(to_ecg, asks, resamples, seed),
        "ecg_to_text": _figures(to_text, patients, resamples, seed),
        "chance": {
            "text_to_ecg": _chance(relevant.sum(axis=1), len(kept)),
            "ecg_to_text": _chance(np.ones(len(kept), int), len(texts)),
        },
    }
    if rerank and signals is not None:
        by_report, by_record = rerank_scores(model, signals[rows][kept], texts, scores, rerank)
        after = {"text_to_ecg": first_hits(by_report, relevant), "ecg_to_text": first_hits(by_record, relevant.T)}
        sides = {"text_to_ecg": (to_ecg, asks), "ecg_to_text": (to_text, patients)}
        found["reranked"] = {
            "first": rerank,
            **{way: _figures(ranks, sides[way][1], resamples, seed) for way, ranks in after.items()},
            "gain": {way: _gains(*sides[way], ranks, resamples, seed) for way, ranks in after.items()},
        }
    return found


def first_hits(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Compute the rank, from 1, of the best relevant item of each query; a tie gets its middle rank.

    Args:
        scores: (queries, items), higher is nearer.
        relevant: (queries, items) bool, at least one true per query.
    """
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    others = ~relevant
    above = ((scores > best) & others).sum(axis=1)
    tied = ((scores == best) & others).sum(axis=1)
    return 1 + above + tied / 2


def _draws(ranks: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> list[np.ndarray]:
    """The ranks (queries, …), then those of patients drawn with replacement."""
    names, patient = np.unique(patients.astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(patient == i) for i in range(len(names))]
    return [ranks] + [
        ranks[np.concatenate([groups[i] for i in rng.integers(len(names), size=len(names))])] for _ in range(resamples)
    ]


def _gains(
    before: np.ndarray, patients: np.ndarray, after: np.ndarray, resamples: int, seed: int
) -> dict[str, list[float] | None]:
    """By how much recall rose, with intervals over the same patients."""
    draws = _draws(np.stack([before, after], axis=1), patients, resamples, seed)
    return {
        f"recall@{depth}": interval(np.array([np.subtract(*(one <= depth).mean(axis=0)[::-1]) for one in draws]), -1.0)
        for depth in DEPTHS
    }


def _figures(ranks: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> dict[str, Any]:
    draws = _draws(ranks, patients, resamples, seed)
    found: dict[str, Any] = {
        f"recall@{depth}": interval(np.array([np.mean(one <= depth) for one in draws])) for depth in DEPTHS
    }
    return found | {"median_rank": interval(np.array([np.median(one) for one in draws]), 1.0, np.inf)}


def _chance(hits: np.ndarray, items: int) -> dict[str, float]:
    """Compute the expected recall and the median rank of a random order.

    Args:
        hits: (queries,) number of items that are relevant to each.
        items: number of items.
    """
    # P(no hit among the first k) = C(items − hits, k) / C(items, k), term by term
    found = {}
    missed = np.ones(len(hits))
    for k in range(max(DEPTHS)):
        missed = missed * np.clip((items - hits - k) / max(1, items - k), 0, None)
        if k + 1 in DEPTHS:
            found[f"recall@{k + 1}"] = round(float(1 - missed.mean()), 4)
    typical = np.median((items + 1) / (hits + 1))
    return found | {"median_rank": round(float(typical), 1)}
