"""Converts embedded recordings to rows of the files that archive jobs write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from dbeta.ecg import ECG
from dbeta.inference.columns import COLUMN_NAMES, COLUMNS
from dbeta.inference.embed import Embedded
from dbeta.inference.findings import Question, findings_of
from dbeta.io.safety.limits import readable_name

_RECORDING = [("file", pa.string()), ("record", pa.string())]
_ABOUT = [("windows", pa.int32()), ("warnings", pa.string())]


def _schema(*, windows: bool) -> list[tuple[str, pa.DataType]]:
    types = {name: pa.float64() if COLUMNS[name].number else pa.string() for name in COLUMN_NAMES[windows]}
    return [("file", pa.string()), *types.items()]


#: Columns of `dbeta embed` and, without the embedding, `dbeta index`; `windows` is the number of averaged windows.
EMBEDDINGS = pa.schema([*_RECORDING, *_ABOUT, ("embedding", pa.list_(pa.float32()))])
#: Columns of `dbeta diagnose --output`.
FINDINGS = pa.schema([*_schema(windows=False), *_ABOUT])
#: Columns of `dbeta diagnose --windows --output`, one row per window and condition; `start` in seconds.
WINDOW_FINDINGS = pa.schema(_schema(windows=True))


def file_name(one: Embedded | str | Path) -> str:
    """Return a recording's file name as valid text; for an `ECG`, the file that it was read from, if any."""
    file = one.file if isinstance(one, Embedded) else one
    if isinstance(file, ECG):
        file = str(file.meta.get("source", ""))
    return readable_name(file)


def embedding_rows(recordings: Sequence[Embedded]) -> pa.Table:
    """Return one row of `EMBEDDINGS` per recording."""
    columns = {
        "file": [file_name(one) for one in recordings],
        "record": [one.record for one in recordings],
        "windows": [len(one.starts) for one in recordings],
        "warnings": ["; ".join(one.notes) for one in recordings],
        "embedding": [one.embedding for one in recordings],
    }
    return pa.table(columns, EMBEDDINGS)


def finding_rows(recordings: Sequence[Embedded], question: Question, *, windows: bool) -> pa.Table:
    """Return rows of `FINDINGS` or `WINDOW_FINDINGS`; one row without a condition if there is no usable signal."""
    schema = WINDOW_FINDINGS if windows else FINDINGS
    tables = [schema.empty_table()]
    for one in recordings:
        table = findings_of(question, one, one.name, windows=windows)
        table = table.assign(
            file=file_name(one),
            windows=len(one.starts),
            warnings="; ".join(filter(None, [*one.notes, question.note(one)])),
        )
        tables.append(pa.Table.from_pandas(table.reindex(columns=schema.names), schema, preserve_index=False))
    return pa.concat_tables(tables)
