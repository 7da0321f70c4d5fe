"""The table of N3S negatives of a corpus: for each training text, the farthest others (`negative_search`).

The search runs once and its result is stored as a table of integers beside the corpus, so drawing a negative in
training is a single look-up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.corpus.negative_search import COUNT, TooFew, check_count, find_negatives, record_text
from dbeta.corpus.store import load_corpus, read_counts
from dbeta.corpus.text_embeddings import TFIDF, Progress
from dbeta.errors import DBetaError
from dbeta.utils.files import replacing
from dbeta.utils.fingerprints import training_texts_fingerprint

NEGATIVES_FOLDER = "negatives"


@dataclass
class Negatives:
    """The table of negatives and its texts. Row numbers of all attributes, and entries of the table, are text ids.

    Attributes:
        table: (texts, count) int32, memory-mapped: for each text the ids of its negatives, farthest first; if too
            few were found, texts that may be true follow, farthest first.
        reports: the report of each text, empty if the text was generated from findings.
        findings: findings of the first record with each text.
        unknown: undecided findings of that record.
        about: content of `negatives.json`: encoder, counts, statistics.
    """

    table: np.ndarray
    reports: list[str]
    findings: list[frozenset[str]]
    unknown: list[frozenset[str]]
    about: dict[str, Any]
    _ids: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the texts."""
        rows = zip(self.reports, self.findings, strict=True)
        texts = (record_text({"report": report, "findings": findings}) for report, findings in rows)
        self._ids = {text: i for i, text in enumerate(texts)}

    @classmethod
    def load(cls, corpus: Path) -> Negatives:
        """Load the table of a corpus.

        Raises:
            DBetaError: it is missing or damaged, or the corpus has changed since it was made.
        """
        import pyarrow.parquet as pq

        folder = corpus / NEGATIVES_FOLDER
        again = f"run `dbeta corpus negatives {corpus}`"
        if not (folder / "negatives.json").is_file():
            read_counts(corpus)
            raise DBetaError(f"{corpus}: has no table of negatives; {again}")
        try:
            about = json.loads((folder / "negatives.json").read_text())
            # A plain view: indexing a memory map directly is slower than the look-up
            table = np.load(folder / "table.npy", mmap_mode="r").view(np.ndarray)
            columns = pq.read_table(folder / "reports.parquet")
            reports = columns["report"].to_pylist()
            # Most texts have the same findings as others, and then share a set
            known: dict[tuple[str, ...], frozenset[str]] = {}
            findings, unknown = (
                [known.setdefault(tuple(one), frozenset(one)) for one in columns[name].to_pylist()]
                for name in ("findings", "unknown")
            )
            made_from = about["fingerprint"]
        except Exception as error:  # damaged files can raise anything
            raise DBetaError(f"{folder}: the table of negatives cannot be read; {again}") from error
        if table.ndim != 2 or table.dtype != np.int32 or len(table) != len(reports):
            raise DBetaError(f"{folder}: the table of negatives does not fit its texts; {again}")
        if made_from != training_texts_fingerprint(_columns(corpus)):
            raise DBetaError(f"{corpus}: has changed since its table of negatives was made; {again}")
        return cls(table, reports, findings, unknown, about)

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.reports)

    def id_of(self, text: str) -> int:
        """Return the id of a record's text (`record_text`), or −1 if it is not in the table."""
        return self._ids.get(text, -1)

    def draw(self, text_id: int, random: float) -> int:
        """Return the id of one of a text's negatives, selected by a `random` number in [0, 1)."""
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
    """Build the table of negatives of a corpus's training split in its folder `negatives`, replacing an existing one.

    Args:
        corpus: a corpus folder.
        encoder: see `dbeta.corpus.text_embeddings.embed_texts`.
        count: negatives to keep per unique text.
        progress: called with (steps done, total); embedding a text is one step, searching for it another.
        batch_size: texts per batch of a transformer.

    Returns:
        The content of `negatives.json`: the statistics of `find_negatives`, `records`, and `without_text`, the number
        of records with neither report nor findings.

    Raises:
        DBetaError: the folder is not a corpus with a training split, or as for `find_negatives`.
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


def _columns(corpus: Path) -> Iterator[Any]:
    """Iterate over the training split's records and texts as Arrow tables of 10,000 rows, without the signals."""
    columns = ["record_id", "report", "findings", "unknown"]
    yield from load_corpus(corpus, "train").select_columns(columns).with_format("arrow").iter(batch_size=10_000)


def _unique_rows(corpus: Path) -> tuple[list[dict[str, Any]], int, int]:
    """Collect a row per unique text in order of first occurrence, the number of records, and how many have no text."""
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
    """Write the folder `negatives` atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(folder) as partial:
        partial.mkdir()
        np.save(partial / "table.npy", table)
        lists = pa.list_(pa.string())
        schema = pa.schema([("report", pa.string()), ("findings", lists), ("unknown", lists)])
        pq.write_table(pa.Table.from_pylist(list(rows), schema), partial / "reports.parquet")
        (partial / "negatives.json").write_text(json.dumps(about, indent=2) + "\n")
