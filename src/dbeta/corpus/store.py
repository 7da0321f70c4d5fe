"""A corpus on disk: Arrow shards of recordings, reports and findings that training and evaluation read.

A row holds
- `record_id`, `source` (which kind of dataset) and `file` (its place in that dataset): where it comes from;
- `signal` (int16 microvolts as bytes, leads × samples in the standard lead order) and `sampling_rate` (Hz);
- `report`, cleaned (`dbeta.corpus.reports.clean_report`), empty where there is none;
- `findings`, English phrases that hold for the record, and `unknown`, phrases of the corpus's vocabulary of which
  nobody decided whether they hold; every other finding of the vocabulary does not hold;
- `statements`, the source's own codes;
- `patient_id`, `split` ("train", "validation" or "test"), `age`, `sex` and `device`.

`corpus.json` beside the shards has the counts and the `vocabulary`: every finding that the source decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError

STRINGS = ("record_id", "source", "file", "report", "patient_id", "split", "sex", "device")
LISTS = ("findings", "unknown", "statements")
FLOATS = ("sampling_rate", "age")
SPLITS = ("train", "validation", "test")


def encode_signal(ecg: ECG) -> dict[str, Any]:
    """A recording as corpus columns `signal` and `sampling_rate`; voltages beyond ±32.767 mV are clipped."""
    microvolts = np.nan_to_num(np.round(ecg.standard().signal * 1000.0))
    return {
        "signal": np.clip(microvolts, -32767, 32767).astype("<i2").tobytes(),
        "sampling_rate": ecg.sampling_rate,
    }


def decode_signal(row: dict[str, Any]) -> ECG:
    """The recording of a corpus row."""
    signal = np.frombuffer(row["signal"], "<i2").reshape(len(LEADS), -1).astype(np.float32) / 1000.0
    return ECG(signal, row["sampling_rate"], LEADS, report=row.get("report", ""), patient_id=row.get("patient_id"))


def read_counts(path: Path) -> dict[str, Any]:
    """What `corpus.json` says of a corpus.

    Raises:
        DBetaError: the folder is not a corpus.
    """
    if not (path / "corpus.json").is_file():
        raise DBetaError(f"{path}: not a corpus; make one with `dbeta corpus build`")
    return json.loads((path / "corpus.json").read_text())


def load_corpus(path: Path, split: str | None = None) -> Any:
    """Load a corpus as a `datasets.Dataset`, the whole of it or one split.

    Raises:
        DBetaError: the folder is not a corpus, or the split is empty.
    """
    from datasets import load_from_disk

    read_counts(path)
    corpus = load_from_disk(str(path))
    if split is None:
        return corpus
    keep = [i for i, name in enumerate(corpus["split"]) if name == split]
    if not keep:
        raise DBetaError(f"{path}: has no records in split {split!r}")
    return corpus.select(keep)


class CorpusRows:
    """Some rows of a corpus for training: signals are views of the memory-mapped file, not copies.

    Args:
        corpus: the whole of it (`load_corpus`).
        rows: numbers of the rows meant, (n,) int.
    """

    #: What training reads of a row, besides its signal.
    COLUMNS = ("sampling_rate", "report", "findings", "unknown")

    def __init__(self, corpus: Any, rows: np.ndarray) -> None:
        """Keep the columns at hand."""
        self.corpus = corpus
        self.table = corpus.data
        self.rows = rows
        # A scalar of Arrow's would copy its bytes
        chunks = corpus.data.column("signal").chunks
        self.ends = np.cumsum([len(chunk) for chunk in chunks])
        self.offsets = [
            np.frombuffer(chunk.buffers()[1], "<i4")[chunk.offset : chunk.offset + len(chunk) + 1] for chunk in chunks
        ]
        self.bytes = [memoryview(chunk.buffers()[2]) for chunk in chunks]

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker processes that are not forked: views cannot be pickled, the corpus names its files."""
        return CorpusRows, (self.corpus, self.rows)

    def __len__(self) -> int:
        """How many they are."""
        return len(self.rows)

    def __getitem__(self, wanted: Sequence[int]) -> dict[str, list[Any]]:
        """Columns of the rows at these places."""
        rows = self.rows[list(wanted)]
        columns = {name: self.table.column(name).take(rows).to_pylist() for name in self.COLUMNS}
        return columns | {"signal": [self._signal(int(row)) for row in rows]}

    def _signal(self, row: int) -> memoryview:
        chunk = int(np.searchsorted(self.ends, row, side="right"))
        at = row - (int(self.ends[chunk - 1]) if chunk else 0)
        start, end = self.offsets[chunk][at : at + 2]
        return self.bytes[chunk][start:end]
