"""The corpus format: Arrow shards of recordings, reports and findings, read by training and evaluation.

A row has
- `record_id`, `source` (name of the dataset's source) and `file` (path in that dataset);
- `signal` (int16 microvolts as bytes, leads × samples in the standard order) and `sampling_rate` (Hz);
- `report`, cleaned (`dbeta.corpus.report_text.clean_report`), empty if there is none;
- `findings`, English phrases that are true of the record, and `unknown`, phrases of the vocabulary that are undecided;
  every other finding of the vocabulary is absent;
- `statements`, the source's own codes;
- `patient_id`, `split` ("train", "validation" or "test"), `age`, `sex` and `device`.

`corpus.json` beside the shards holds the counts and the `vocabulary`: every finding that the source decides.

The shards are Arrow IPC streams, as `datasets` writes and memory-maps; loading copies nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError
from dbeta.signal.preprocess import fill_gaps

STRINGS = ("record_id", "source", "file", "report", "patient_id", "split", "sex", "device")
LISTS = ("findings", "unknown", "statements")
FLOATS = ("sampling_rate", "age")
SPLITS = ("train", "validation", "test")

#: Version of the format; folders of other versions are rejected.
FORMAT = 2
#: A batch is written after this many rows or bytes of signal.
BATCH_ROWS, BATCH_BYTES = 128, 1 << 26


def encode_signal(ecg: ECG) -> dict[str, Any]:
    """Encode a recording as the corpus columns `signal` and `sampling_rate`.

    Missing samples are interpolated; voltages beyond ±32.767 mV are clipped.
    """
    microvolts = ecg.standard().signal * 1000.0
    fill_gaps(microvolts)
    return {
        "signal": np.clip(np.round(microvolts), -32767, 32767).astype("<i2").tobytes(),
        "sampling_rate": ecg.sampling_rate,
    }


def decode_signal(row: dict[str, Any]) -> ECG:
    """Decode the recording of a corpus row."""
    signal = np.frombuffer(row["signal"], "<i2").reshape(len(LEADS), -1).astype(np.float32) / 1000.0
    return ECG(signal, row["sampling_rate"], LEADS, report=row.get("report", ""), patient_id=row.get("patient_id"))


def shard_name(number: int, count: int) -> str:
    """Name the file of a shard; `number` counts from 0."""
    return f"data-{number:05d}-of-{count:05d}.arrow"


def write_shard(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows to an Arrow stream as they come, and flush them to the disk."""
    import pyarrow as pa
    from datasets import Features, List, Value

    schema = Features(
        {name: Value("string") for name in STRINGS}
        | {name: Value("float32") for name in FLOATS}
        | {name: List(Value("string")) for name in LISTS}
        | {"signal": Value("binary")}
    ).arrow_schema
    with path.open("wb") as sink:
        with pa.ipc.new_stream(sink, schema) as stream:
            batch: list[dict[str, Any]] = []
            size = 0
            for row in rows:
                batch.append(row)
                size += len(row["signal"])
                if len(batch) == BATCH_ROWS or size >= BATCH_BYTES:
                    stream.write_batch(pa.RecordBatch.from_pylist(batch, schema))
                    batch, size = [], 0
            if batch:
                stream.write_batch(pa.RecordBatch.from_pylist(batch, schema))
        sink.flush()
        os.fsync(sink.fileno())


def read_shard(path: Path) -> Any:
    """Read a shard as a memory-mapped `pyarrow.Table`."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).read_all()


def is_corpus(path: Path) -> bool:
    """Tell whether a path is a built corpus."""
    return (path / "corpus.json").is_file()


def read_counts(path: Path) -> dict[str, Any]:
    """Read `corpus.json` of a corpus.

    Raises:
        DBetaError: the folder is not a corpus, or a corpus of another version.
    """
    if not is_corpus(path):
        raise DBetaError(f"{path}: not a corpus; create one with `dbeta corpus build`")
    try:
        counts = json.loads((path / "corpus.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DBetaError(f"{path / 'corpus.json'}: cannot be read ({error}); build the corpus again") from error
    if counts.get("format") != FORMAT:
        raise DBetaError(f"{path}: written by another version of dbeta; build the corpus again")
    return counts


def load_corpus(path: Path, split: str | None = None) -> Any:
    """Load a corpus, or one split of it, as a memory-mapped `datasets.Dataset`.

    Raises:
        DBetaError: the folder is not a corpus or lacks a shard, or the split is empty.
    """
    from datasets import Dataset, concatenate_datasets

    count = read_counts(path)["shards"]
    files = [path / shard_name(number, count) for number in range(count)]
    if missing := [file.name for file in files if not file.is_file()]:
        raise DBetaError(f"{path}: lacks {missing[0]}; copy the whole folder, or build the corpus again")
    corpus = concatenate_datasets([Dataset.from_file(str(file)) for file in files])
    if split is None:
        return corpus
    # Reading rows instead of the column would read the signals too
    keep = np.flatnonzero(corpus.data.column("split").to_numpy() == split)
    if not len(keep):
        raise DBetaError(f"{path}: no records in split {split!r}")
    return corpus.select(keep)


class CorpusRecordings(Sequence[ECG]):
    """The recordings of a corpus, each decoded on access; slicing decodes nothing.

    Args:
        path: folder of the corpus.
        rows: row numbers; None for all.

    Raises:
        DBetaError: the folder is not a corpus or lacks a shard.
    """

    def __init__(self, path: Path, rows: range | None = None) -> None:
        """Open the corpus."""
        self.path = path
        self.corpus = load_corpus(path)
        self.rows = range(len(self.corpus)) if rows is None else rows

    @property
    def names(self) -> list[str]:
        """The records' ids."""
        return self.corpus.data.column("record_id").take(list(self.rows)).to_pylist()

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self.rows)

    @overload
    def __getitem__(self, which: int) -> ECG: ...
    @overload
    def __getitem__(self, which: slice) -> CorpusRecordings: ...
    def __getitem__(self, which: int | slice) -> ECG | CorpusRecordings:
        """Return one recording, or a sequence of them for a slice."""
        if isinstance(which, slice):
            return CorpusRecordings(self.path, self.rows[which])
        row = self.corpus[self.rows[which]]
        ecg = decode_signal(row)
        ecg.meta |= {"source": row["file"], "record": row["record_id"]}
        return ecg


class CorpusRows:
    """Some rows of a corpus for training: signals are views of the memory-mapped file, not copies.

    Args:
        corpus: the whole corpus (`load_corpus`).
        rows: (n,) int, indices of the rows.
        folder: folder of the corpus, if it is stored.
    """

    #: Columns that training reads, besides the signal.
    COLUMNS = ("sampling_rate", "report", "findings", "unknown")

    def __init__(self, corpus: Any, rows: np.ndarray, folder: Path | None = None) -> None:
        """Load the columns into memory.

        Raises:
            DBetaError: the folder is not a corpus.
        """
        self.folder = folder
        self.counts = {} if folder is None else read_counts(folder)
        self.corpus = corpus
        self.table = corpus.data
        self.rows = rows
        # An Arrow scalar would copy its bytes
        chunks = corpus.data.column("signal").chunks
        self.ends = np.cumsum([len(chunk) for chunk in chunks])
        self.offsets = [
            np.frombuffer(chunk.buffers()[1], "<i4")[chunk.offset : chunk.offset + len(chunk) + 1] for chunk in chunks
        ]
        self.bytes = [memoryview(chunk.buffers()[2]) for chunk in chunks]

    def __reduce__(self) -> tuple[Any, ...]:
        """Support workers that are not forked: memory views cannot be pickled, so the files are reopened."""
        return CorpusRows, (self.corpus, self.rows, self.folder)

    @classmethod
    def of_folder(cls, folder: Path) -> CorpusRows:
        """Select the training records that have a report or findings; there may be none.

        Raises:
            DBetaError: the folder is not a corpus or lacks a shard.
        """
        corpus = load_corpus(folder)
        # Columns are read separately, since reading rows would also read their signals
        columns = [corpus.data.column(name).to_pylist() for name in ("split", "report", "findings")]
        worded = [i for i, (split, *texts) in enumerate(zip(*columns, strict=True)) if split == "train" and any(texts)]
        return cls(corpus, np.array(worded, dtype=int), folder)

    @property
    def source(self) -> str:
        """Name of the dataset."""
        return self.counts["source"]

    @property
    def vocabulary(self) -> list[str]:
        """Findings annotated in the corpus."""
        return self.counts["vocabulary"]

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """The report and the findings of each row."""
        reports, findings = (self.table.column(name).take(self.rows).to_pylist() for name in ("report", "findings"))
        return reports, findings

    def sample(self, count: int) -> Sequence[int]:
        """At most `count` rows, evenly spaced."""
        return range(0, len(self), max(1, len(self) // count))[:count]

    def validation(self) -> Any:
        """The corpus's validation split (`load_corpus`), or None if it has none."""
        if self.folder is None or "validation" not in self.counts["splits"]:
            return None
        return load_corpus(self.folder, "validation")

    def describe(self) -> str:
        """Describe the corpus in one line of a model card."""
        counts = self.counts
        splits = ", ".join(f"{n:,} {split}" for split, n in counts["splits"].items())
        return (
            f"- `{self.source}`: {counts['records']:,} records of {counts['patients']:,} patients ({splits}); "
            f"{counts['rejected']:,} could not be read. Only the training split is used for training."
        )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __getitem__(self, wanted: Sequence[int]) -> dict[str, list[Any]]:
        """Return the columns of some rows."""
        rows = self.rows[list(wanted)]
        columns = {name: self.table.column(name).take(rows).to_pylist() for name in self.COLUMNS}
        return columns | {"signal": [self._signal(int(row)) for row in rows]}

    def _signal(self, row: int) -> memoryview:
        chunk = int(np.searchsorted(self.ends, row, side="right"))
        at = row - (int(self.ends[chunk - 1]) if chunk else 0)
        start, end = self.offsets[chunk][at : at + 2]
        return self.bytes[chunk][start:end]
