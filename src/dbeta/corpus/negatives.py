"""N3S (nearest-neighbour negative sampling, paper section "N3S"): for each report of a corpus, the farthest others.

Special here: the search is done once and its result is a table of integers beside the corpus, so that a negative in
training is one look-up. And two things that a plain search for the farthest gets wrong (figures: PTB-XL's 8,408 unique
reports of folds 1–9, TF-IDF):
- *Hubs.* A few odd texts are the farthest from nearly everything, and a model would learn these texts instead of what
  negatives say: with plain embeddings 1 % of the texts are 16 % of all negatives, centred ones make it worse. Halfway
  whitening (`spread`) brings it to 5 %, and 95 % of the texts (not 79 %) serve as negatives.
- *Texts that are true.* "sinus rhythm" is far in words from a long report that states sinus rhythm too. Where findings
  are known, a text all of whose findings hold, or may hold, for the record is no negative.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.corpus.store import load_corpus, read_counts
from dbeta.corpus.text_embeddings import TFIDF, Progress, embed_texts
from dbeta.errors import DBetaError
from dbeta.utils.files import replacing
from dbeta.utils.fingerprints import training_texts_fingerprint

NEGATIVES_FOLDER = "negatives"
#: How many of the farthest texts are kept, as in the paper.
COUNT = 64
#: Principal axes that the search uses: more cost time and hold little.
DIMENSION = 128
#: Queries that are searched at once.
_BLOCK = 4096


def record_text(row: Mapping[str, Any]) -> str:
    """What stands for a record in the table: its report, or its findings in words; empty where it has neither."""
    return row["report"] or ". ".join(sorted(finding.lower() for finding in row["findings"]))


@dataclass
class Negatives:
    """The table of negatives and the texts it speaks of; row and column numbers are the same ids everywhere.

    Attributes:
        table: (texts, count) int32, memory-mapped: for each text the ids of its farthest. Farthest first; where too few
            could be found that are not true, those that may be true follow, farthest first.
        reports: the report of each text, empty where it stands for findings.
        findings: of each text, the findings of the first record that has it.
        unknown: of each text, what nobody decided for that record.
        about: what `negatives.json` says: encoder, counts, statistics.
    """

    table: np.ndarray
    reports: list[str]
    findings: list[frozenset[str]]
    unknown: list[frozenset[str]]
    about: dict[str, Any]
    _ids: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the dictionary of texts."""
        rows = zip(self.reports, self.findings, strict=True)
        texts = (record_text({"report": report, "findings": findings}) for report, findings in rows)
        self._ids = {text: i for i, text in enumerate(texts)}

    @classmethod
    def load(cls, corpus: Path) -> Negatives:
        """Load the table of a corpus.

        Raises:
            DBetaError: there is none, it is damaged, or the corpus is not the one it was made from.
        """
        import pyarrow.parquet as pq

        folder = corpus / NEGATIVES_FOLDER
        again = f"run `dbeta corpus negatives {corpus}`"
        if not (folder / "negatives.json").is_file():
            read_counts(corpus)
            raise DBetaError(f"{corpus}: has no table of negatives; {again}")
        try:
            about = json.loads((folder / "negatives.json").read_text())
            # A plain view: a memory map's own indexing costs more than the look-up
            table = np.load(folder / "table.npy", mmap_mode="r").view(np.ndarray)
            columns = pq.read_table(folder / "reports.parquet")
            reports = columns["report"].to_pylist()
            # Most texts share their findings with others: one set for all of them
            known: dict[tuple[str, ...], frozenset[str]] = {}
            findings, unknown = (
                [known.setdefault(tuple(one), frozenset(one)) for one in columns[name].to_pylist()]
                for name in ("findings", "unknown")
            )
            made_from = about["fingerprint"]
        except Exception as error:  # a damaged file can make the libraries raise anything
            raise DBetaError(f"{folder}: the table of negatives cannot be read; {again}") from error
        if table.ndim != 2 or table.dtype != np.int32 or len(table) != len(reports):
            raise DBetaError(f"{folder}: the table of negatives does not fit its texts; {again}")
        if made_from != training_texts_fingerprint(_columns(corpus)):
            raise DBetaError(f"{corpus}: has changed since its table of negatives was made; {again}")
        return cls(table, reports, findings, unknown, about)

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self.reports)

    def id_of(self, text: str) -> int:
        """The id of a record's text (`record_text`), or −1 where the table does not know it."""
        return self._ids.get(text, -1)

    def draw(self, text_id: int, random: float) -> int:
        """The id of one of a text's farthest; `random` is from [0, 1)."""
        row = self.table[text_id]
        return int(row[int(random * len(row))])


def build_negatives(
    corpus: Path,
    encoder: str = TFIDF,
    count: int = COUNT,
    progress: Progress | None = None,
    *,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Make the table of negatives of a corpus's training split, in its folder `negatives`; replaces an older one.

    Args:
        corpus: a corpus folder.
        encoder: see `dbeta.corpus.text_embeddings.embed_texts`.
        count: how many of the farthest are kept for each unique text.
        progress: called with (steps done, steps in all); embedding a text is one step, searching for it another.
        batch_size: texts that go through a transformer at once.

    Returns:
        What `negatives.json` holds: that of `find_negatives`, `records`, and `without_text`, how many of them have
        neither report nor findings.

    Raises:
        DBetaError: the folder is no corpus with a training split, or as `find_negatives`.
    """
    check_count(count)
    rows, records, without = _unique_rows(corpus)
    try:
        table, about = find_negatives(rows, encoder, count, progress, batch_size=batch_size)
    except TooFew as error:
        raise DBetaError(f"{corpus}: the training split {error}") from None
    about |= {"records": records, "without_text": without, "fingerprint": training_texts_fingerprint(_columns(corpus))}
    _save(corpus / NEGATIVES_FOLDER, table, rows, about)
    return about


def find_negatives(
    rows: Sequence[Mapping[str, Any]],
    encoder: str = TFIDF,
    count: int = COUNT,
    progress: Progress | None = None,
    *,
    batch_size: int = 64,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The table of negatives of unique texts.

    Args:
        rows: `report`, `findings` and `unknown` of a record for each text.
        encoder: as for `build_negatives`, and so are the others.
        count: how many to keep.
        progress: called with (steps done, steps in all).
        batch_size: texts at once.

    Returns:
        The table (see `Negatives`) and `encoder`, `dimension`, `count` (columns of the table), `texts`, `may_be_true`
        (share of the table's entries), `most_used_percent_share` (share of all entries that falls on the 1 % of the
        texts used most) and `ever_used` (share of the texts that are some text's negative).

    Raises:
        DBetaError: the texts are fewer than two, `count` or `batch_size` is less than 1, or the encoder cannot be used.
    """
    check_count(count)
    report = progress or (lambda done, total: None)
    n = len(rows)
    if n < 2:
        raise TooFew(f"has {n} different texts; negatives take at least two")
    texts = [record_text(row) for row in rows]
    embeddings = spread(embed_texts(texts, encoder, batch_size, lambda done, _: report(done, 2 * n)))
    if not embeddings.shape[1]:
        raise DBetaError(f"{encoder}: gives every text the same embedding; use another encoder")
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
    """There are not two texts that differ."""


def check_count(count: int) -> None:
    """Refuse to keep no negatives."""
    if count < 1:
        raise DBetaError(f"the count of negatives is at least 1, not {count}")


def spread(embeddings: np.ndarray) -> np.ndarray:
    """Halfway whitening, against hubs: centre, divide each principal axis by the root of its standard deviation.

    Whitened wholly, the axes that hold little count as much as those that hold much, and what is farthest shares more
    findings with the record. Halfway keeps the meaning and loses the hubs.

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
    """The table, and how many of its entries may be true; twice as many texts are searched for as are kept."""
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
        rank[candidates == block[:, None]] = 2  # itself, which is far only where there are few
        order = np.argsort(rank, axis=1, kind="stable")[:, :columns]
        table[block] = np.take_along_axis(candidates, order, axis=1)
        true += int((np.take_along_axis(rank, order, axis=1) == 1).sum())
        progress(int(block[-1]) + 1)
    return table, true


def _finding_bits(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The findings of each text, and what holds or may hold for its record, as bits: each (n, words) uint64."""
    numbers = {finding: i for i, finding in enumerate(dict.fromkeys(one for row in rows for one in row["findings"]))}
    findings = np.zeros((len(rows), -(-len(numbers) // 64)), np.uint64)
    unknown = findings.copy()
    for bits, column in ((findings, "findings"), (unknown, "unknown")):
        for i, row in enumerate(rows):
            for number in (numbers[one] for one in row[column] if one in numbers):
                bits[i, number // 64] |= np.uint64(1 << number % 64)
    return findings, findings | unknown


def _columns(corpus: Path) -> Iterator[Any]:
    """The training split's records and texts as Arrow tables of some thousand rows; the signals stay on disk."""
    columns = ["record_id", "report", "findings", "unknown"]
    yield from load_corpus(corpus, "train").select_columns(columns).with_format("arrow").iter(batch_size=10_000)


def _unique_rows(corpus: Path) -> tuple[list[dict[str, Any]], int, int]:
    """A row for each unique text in order of first occurrence, how many records there are, how many without text."""
    rows: dict[str, dict[str, Any]] = {}
    records = without = 0
    for table in _columns(corpus):
        for row in table.to_pylist():
            records += 1
            text = record_text(row)
            if not text:
                without += 1
            elif text not in rows:
                rows[text] = {name: row[name] for name in ("report", "findings", "unknown")}
    return list(rows.values()), records, without


def _save(folder: Path, table: np.ndarray, rows: Sequence[Mapping[str, Any]], about: dict[str, Any]) -> None:
    """Write the files beside their place, and put them there when they are complete."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(folder) as partial:
        partial.mkdir()
        np.save(partial / "table.npy", table)
        lists = pa.list_(pa.string())
        schema = pa.schema([("report", pa.string()), ("findings", lists), ("unknown", lists)])
        pq.write_table(pa.Table.from_pylist(list(rows), schema), partial / "reports.parquet")
        (partial / "negatives.json").write_text(json.dumps(about, indent=2) + "\n")
