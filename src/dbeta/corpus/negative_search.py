"""N3S (nearest-neighbour negative sampling, paper section "N3S"): finds the farthest texts of each text.

Simply taking the farthest texts has two flaws (figures: PTB-XL's 8,408 unique reports of folds 1–9, TF-IDF):
- *Hubs.* A few odd texts are the farthest from nearly everything, and a model would learn these texts instead of what
  negatives say: with plain embeddings 1 % of the texts make up 16 % of all negatives, and centring makes it worse.
  Halfway whitening (`spread`) reduces this to 5 %, and 95 % of the texts (instead of 79 %) serve as negatives.
- *True texts.* The words "sinus rhythm" are far from a long report that also states sinus rhythm. If the findings are
  known, a text whose findings are all true, or may all be true, of the record is not used as a negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dbeta.corpus.text_embeddings import TFIDF, Progress, embed_texts
from dbeta.errors import DBetaError

#: Negatives per text, as in the paper.
COUNT = 64
#: Number of principal axes used in the search; more would cost time and add little.
DIMENSION = 128
#: Queries per batch of the search.
_BLOCK = 4096


def record_text(row: Mapping[str, Any]) -> str:
    """Return the text of a record: its report, else its findings in words, else ""."""
    return row["report"] or ". ".join(sorted(finding.lower() for finding in row["findings"]))


def find_negatives(
    rows: Sequence[Mapping[str, Any]],
    encoder: str = TFIDF,
    count: int = COUNT,
    progress: Progress | None = None,
    *,
    batch_size: int = 64,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Find the negatives of unique texts.

    Args:
        rows: `report`, `findings` and `unknown` of a record for each text.
        encoder: see `dbeta.corpus.text_embeddings.embed_texts`.
        count: negatives to keep per text.
        progress: called with (steps done, total); embedding a text is one step, searching for it another.
        batch_size: texts per batch of a transformer.

    Returns:
        The table (see `dbeta.corpus.negatives.Negatives`), and its statistics: `encoder`, `dimension`, `count` (columns
        of the table), `texts`, `may_be_true`
        (share of the table's entries), `most_used_percent_share` (share of all entries that belong to the 1 %
        most used texts) and `ever_used` (share of the texts that are used at all).

    Raises:
        DBetaError: there are fewer than two texts, `count` or `batch_size` is less than 1, or the encoder is unusable.
    """
    check_count(count)
    report = progress or (lambda done, total: None)
    n = len(rows)
    if n < 2:
        raise TooFew(f"has {n} unique texts, but negatives need at least two")
    texts = [record_text(row) for row in rows]
    embeddings = spread(embed_texts(texts, encoder, batch_size, lambda done, _: report(done, 2 * n)))
    if not embeddings.shape[1]:
        raise DBetaError(f"{encoder}: embeds all texts identically; use another encoder")
    table, true = _farthest(embeddings, *_finding_bits(rows), count, lambda done: report(n + done, 2 * n))
    used = np.sort(np.bincount(table.ravel(), minlength=n))[::-1]
    return table, {
        "encoder": encoder,
        "dimension": embeddings.shape[1],
        "count": table.shape[1],
        "texts": n,
        "may_be_true": round(true / table.size, 5),
        "most_used_percent_share": round(float(used[: -(-n // 100)].sum() / table.size), 4),
        "ever_used": round(float((used > 0).mean()), 4),
    }


class TooFew(DBetaError):
    """There are fewer than two unique texts."""


def check_count(count: int) -> None:
    """Check the number of negatives.

    Raises:
        DBetaError: it is less than 1.
    """
    if count < 1:
        raise DBetaError(f"the count of negatives must be at least 1, not {count}")


def spread(embeddings: np.ndarray) -> np.ndarray:
    """Whiten embeddings halfway: centre, and divide each principal axis by the square root of its standard deviation.

    With full whitening, uninformative axes weigh as much as informative ones, and the farthest texts share more
    findings with the record. Halfway whitening keeps the meaning and removes the hubs.

    Args:
        embeddings: (n, D).

    Returns:
        (n, at most `DIMENSION`) float32 of unit length; without columns where all embeddings are the same.
    """
    centred = (embeddings - embeddings.mean(axis=0)).astype(np.float32)
    variances, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred / len(centred))
    largest = np.argsort(variances)[::-1][: min(DIMENSION, len(centred) - 1)]
    kept = largest[variances[largest] > max(1e-6 * variances.max(), 1e-12)]
    scaled = centred @ (axes[:, kept] / variances[kept] ** 0.25).astype(np.float32)
    return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)


def _farthest(
    embeddings: np.ndarray, findings: np.ndarray, possible: np.ndarray, count: int, progress: Callable[[int], None]
) -> tuple[np.ndarray, int]:
    """Search for the farthest texts, twice as many as are kept.

    Args:
        embeddings: (n, D) float32 of unit length.
        findings: (n, words) bits of each text's findings.
        possible: (n, words) bits of the findings that are or may be true of its record.
        count: negatives per text.
        progress: called with the number of texts done.

    Returns:
        The table (n, count) int32, and how many of its entries may be true.
    """
    import faiss

    n = len(embeddings)
    columns = min(count, n - 1)
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    table = np.empty((n, columns), np.int32)
    true = 0
    for start in range(0, n, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, n))
        candidates = index.search(-embeddings[block], min(2 * columns + 1, n))[1]  # (block, 2 · count + 1)
        stated = findings[candidates]  # (block, candidates, words)
        excluded = (stated & ~possible[block][:, None]).any(-1)
        known = stated.any(-1) & np.any(findings[block], axis=-1, keepdims=True)
        rank = np.where(known & ~excluded, 1, 0)
        rank[candidates == block[:, None]] = 2  # the text itself, found only if there are few texts
        order = np.argsort(rank, axis=1, kind="stable")[:, :columns]
        table[block] = np.take_along_axis(candidates, order, axis=1)
        true += int((np.take_along_axis(rank, order, axis=1) == 1).sum())
        progress(int(block[-1]) + 1)
    return table, true


def _finding_bits(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Encode each text's findings, and those that are or may be true of its record, as bits: each (n, words) uint64."""
    numbers = {finding: i for i, finding in enumerate(dict.fromkeys(one for row in rows for one in row["findings"]))}
    findings = np.zeros((len(rows), -(-len(numbers) // 64)), np.uint64)
    unknown = findings.copy()
    for bits, column in ((findings, "findings"), (unknown, "unknown")):
        for i, row in enumerate(rows):
            for number in (numbers[one] for one in row[column] if one in numbers):
                bits[i, number // 64] |= np.uint64(1 << number % 64)
    return findings, findings | unknown
