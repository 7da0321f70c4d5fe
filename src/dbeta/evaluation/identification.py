"""Patient identification: finds the patient of an ECG among one earlier ECG of each patient (paper section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.metrics import RESAMPLES, interval
from dbeta.evaluation.zero_shot import unit


def identification(
    benchmark: Benchmark, embeds: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Compute how often a record's nearest neighbour in a gallery, by cosine of embeddings, is of the same patient.

    The gallery holds the first record of each test patient with several records; their other records are the queries.

    Args:
        benchmark: its test records.
        embeds: (records, D), of the records of all splits.
        resamples: bootstrap resamples of patients.
        seed: of the bootstrap.

    Returns:
        `{"patients": n, "queries": m, "accuracy@1": [value, low, high], "chance": 1 / n}`.

    Raises:
        DBetaError: fewer than two test patients have several records.
    """
    rows = benchmark.rows("test")
    patients = benchmark.patients[rows]
    vectors = unit(embeds[rows])
    gallery, queries = gallery_and_queries(patients)
    if len(gallery) < 2:
        raise DBetaError(f"{benchmark.name}: fewer than two test patients have several records")
    nearest = (vectors[queries] @ vectors[gallery].T).argmax(axis=1)
    right = (patients[gallery][nearest] == patients[queries]).astype(float)
    groups = [np.flatnonzero(patients[queries] == name) for name in patients[gallery]]
    rng = np.random.default_rng(seed)
    draws = [right.mean()]
    for _ in range(resamples):
        drawn = rng.integers(len(groups), size=len(groups))
        draws.append(right[np.concatenate([groups[i] for i in drawn])].mean())
    return {
        "patients": len(gallery),
        "queries": len(queries),
        "accuracy@1": interval(np.array(draws)),
        "chance": round(1 / len(gallery), 4),
    }


def gallery_and_queries(patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split the records of patients with several into the first of each and the others: two arrays of row numbers."""
    names, first, counts = np.unique(patients, return_index=True, return_counts=True)
    several = set(names[counts > 1])
    gallery = np.sort(first[counts > 1])
    taken = set(gallery.tolist())
    queries = [i for i, name in enumerate(patients) if name in several and i not in taken]
    return gallery, np.array(queries, dtype=int)
