"""Re-ranks the first results of retrieval by the probability that a report belongs to an ECG (`DBeta.match`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dbeta.inference.dbeta import DBeta

#: Above any cosine, so that what is re-ranked stays in front of the rest.
_FRONT = 10.0


def rerank_scores(
    model: DBeta,
    signals: np.ndarray,
    texts: Sequence[str],
    scores: np.ndarray,
    count: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sort the nearest `count` items of each query by matching, in both directions.

    Args:
        model: with a fusion half.
        signals: (records, leads, samples), as the model reads them.
        texts: the reports.
        scores: (reports, records) cosines.
        count: items of each query to sort.
        progress: called with (records done, total).

    Returns:
        Scores (reports, records) for queries by report, and for queries by record; the latter transposed.

    Raises:
        DBetaError: the model has no fusion half.
    """
    model.model.require_fusion()
    by_report, by_record = _nearest(scores, count), _nearest(scores.T, count).T  # (reports, records) bool
    wanted = by_report | by_record
    matched = np.zeros(scores.shape)
    for record in range(scores.shape[1]):
        rows = np.flatnonzero(wanted[:, record])
        signal = [signals[record].astype(np.float32)]
        matched[rows, record] = model.matcher([texts[int(row)] for row in rows]).probabilities(signal)[0]
        if progress is not None:
            progress(record + 1, scores.shape[1])
    return np.where(by_report, _FRONT + matched, scores), np.where(by_record, _FRONT + matched, scores).T


def _nearest(scores: np.ndarray, count: int) -> np.ndarray:
    """Which items are among the best `count` of each query, (queries, items) bool."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    found = np.zeros(scores.shape, bool)
    np.put_along_axis(found, best, True, axis=1)
    return found
