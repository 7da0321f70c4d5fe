"""Embedded recordings → rows of the files that batches write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dbeta.ecg import ECG
from dbeta.inference.embed import Embedded
from dbeta.inference.findings import Question, tabulate
from dbeta.io.safety.limits import readable_name
from dbeta.signal.quality import UNUSABLE

_RECORDING = [("file", pa.string()), ("record", pa.string())]
_ABOUT = [("windows", pa.int32()), ("warnings", pa.string())]
_FINDING = [
    *(("condition", pa.string()), ("score", pa.float64()), ("percentile", pa.float64())),
    ("quality", pa.string()),
]

#: Of `dbeta embed` and, without the embedding, of an index. `windows` is how many the embedding is the mean of.
EMBEDDINGS = pa.schema([*_RECORDING, *_ABOUT, ("embedding", pa.list_(pa.float32()))])
#: Of `dbeta diagnose --output`.
FINDINGS = pa.schema([*_RECORDING, *_FINDING, ("peak", pa.float64()), ("peak_at", pa.float64()), *_ABOUT])
#: Of `dbeta diagnose --windows --output`: a row for each window and condition; `start` in seconds.
WINDOW_FINDINGS = pa.schema([*_RECORDING, ("start", pa.float64()), *_FINDING])


def file_name(one: Embedded | str | Path) -> str:
    """A recording's file as text, whatever bytes its name has; an ECG's is what it was read from, if anything."""
    file = one.file if isinstance(one, Embedded) else one
    if isinstance(file, ECG):
        file = str(file.meta.get("source", ""))
    return readable_name(file)


def embedding_rows(recordings: Sequence[Embedded]) -> pa.Table:
    """A row of `EMBEDDINGS` for each."""
    columns = {
        "file": [file_name(one) for one in recordings],
        "record": [one.record for one in recordings],
        "windows": [len(one.starts) for one in recordings],
        "warnings": ["; ".join(one.notes) for one in recordings],
        "embedding": [one.embedding for one in recordings],
    }
    return pa.table(columns, EMBEDDINGS)


def unusable(one: Embedded) -> dict[str, str | None]:
    """What stands in the place of the findings of a recording without usable signal."""
    return {"record": one.name, "condition": None, "score": None, "percentile": None, "quality": UNUSABLE}


def finding_rows(recordings: Sequence[Embedded], question: Question, *, windows: bool) -> pa.Table:
    """Rows of `FINDINGS`, or of `WINDOW_FINDINGS`; one without a condition for what has no usable signal."""
    schema = WINDOW_FINDINGS if windows else FINDINGS
    tables = []
    for one in recordings:
        table = tabulate(question, [one], windows=windows, peaks=True)
        if table.empty:
            table = pd.DataFrame([unusable(one)], columns=schema.names)
        table = table.assign(file=file_name(one))
        if not windows:
            table = table.assign(windows=len(one.starts), warnings="; ".join(one.notes))
        tables.append(pa.Table.from_pandas(table[schema.names], schema, preserve_index=False))
    return pa.concat_tables(tables) if tables else schema.empty_table()
