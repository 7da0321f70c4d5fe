"""Retrieval: words → ECGs and ECGs → reports, on pairs that were held out.

Special here: reports repeat ("sinus rhythm. normal ecg."), so whoever finds another record with the same report has
found what was asked for; and chance stands beside every figure, since with repeated reports it is not 1 / n.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dbeta.corpus.report_text import clean_report
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.metrics import RESAMPLES, interval
from dbeta.evaluation.zero_shot import unit
from dbeta.inference.dbeta import DBeta

DEPTHS = (1, 5, 10)


def retrieval(
    model: DBeta, benchmark: Benchmark, embeds: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Recall and median rank of the test records' own reports, both ways.

    Args:
        model: whose text encoder reads the reports.
        benchmark: its test records, as far as they have a report.
        embeds: (records, D), of all records.
        resamples: of the bootstrap over patients.
        seed: of the bootstrap.

    Returns:
        `{"pairs": n, "unique_reports": m, "text_to_ecg": {"recall@1": [value, low, high], …, "median_rank": …},
        "ecg_to_text": …, "chance": {"text_to_ecg": {"recall@1": value, …}, …}}`. Text to ECG: each unique report asks
        among all recordings, a hit is any with that report. ECG to text: each recording asks among the unique reports.

    Raises:
        DBetaError: fewer than two different reports are there.
    """
    rows = benchmark.rows("test")
    reports = [clean_report(report).rstrip(" .") for report in benchmark.records["report"].iloc[rows]]
    kept = [i for i, report in enumerate(reports) if report]
    texts = sorted({reports[i] for i in kept})
    if len(texts) < 2:
        raise DBetaError(f"{benchmark.name}: has fewer than two different reports among its test records to search")
    of = {text: i for i, text in enumerate(texts)}
    own = np.array([of[reports[i]] for i in kept])  # each record's report
    patients = benchmark.patients[rows][kept]
    scores = unit(model.embed_text(texts)) @ unit(embeds[rows][kept]).T  # (reports, records)
    relevant = np.arange(len(texts))[:, None] == own
    to_ecg = first_hits(scores, relevant)
    to_text = first_hits(scores.T, relevant.T)
    # A report asks on behalf of the patients that have it: it is drawn when its first record's patient is
    asks = np.array([patients[np.flatnonzero(own == i)[0]] for i in range(len(texts))])
    return {
        "pairs": len(kept),
        "unique_reports": len(texts),
        "text_to_ecg": _figures(to_ecg, asks, resamples, seed),
        "ecg_to_text": _figures(to_text, patients, resamples, seed),
        "chance": {
            "text_to_ecg": _chance(relevant.sum(axis=1), len(kept)),
            "ecg_to_text": _chance(np.ones(len(kept), int), len(texts)),
        },
    }


def first_hits(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The rank, from 1, of the best-ranked relevant item for each query; ties count in the middle.

    Args:
        scores: (queries, items), higher is nearer.
        relevant: (queries, items) bool, at least one for each query.
    """
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    others = ~relevant
    above = ((scores > best) & others).sum(axis=1)
    tied = ((scores == best) & others).sum(axis=1)
    return 1 + above + tied / 2


def _figures(ranks: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> dict[str, Any]:
    names, patient = np.unique(patients.astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(patient == i) for i in range(len(names))]
    draws = [ranks] + [
        ranks[np.concatenate([groups[i] for i in rng.integers(len(names), size=len(names))])] for _ in range(resamples)
    ]
    found: dict[str, Any] = {
        f"recall@{depth}": interval(np.array([np.mean(one <= depth) for one in draws])) for depth in DEPTHS
    }
    return found | {"median_rank": interval(np.array([np.median(one) for one in draws]), 1.0, np.inf)}


def _chance(hits: np.ndarray, items: int) -> dict[str, float]:
    """Expected recall, and median rank, of a random order.

    Args:
        hits: (queries,) how many items are relevant to each.
        items: how many there are.
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
