"""A job that compares the recordings of an archive with texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dbeta.archive.jobs import Job
from dbeta.archive.selection import Selection
from dbeta.archive.tables import file_name
from dbeta.inference.dbeta import DBeta
from dbeta.inference.embed import Embedded

#: Columns of `dbeta match --output`.
MATCHES = pa.schema(
    [
        ("file", pa.string()),
        ("record", pa.string()),
        ("text", pa.string()),
        ("probability", pa.float64()),
        ("quality", pa.string()),
        ("peak", pa.float64()),
        ("peak_at", pa.float64()),
        ("windows", pa.int32()),
        ("warnings", pa.string()),
    ]
)


class MatchJob(Job):
    """Writes the probability of each text for each recording to a Parquet or CSV file.

    Args:
        texts: what the recordings are compared with.
    """

    name = "match"
    schema = MATCHES

    def __init__(
        self, model: DBeta, selection: Selection, output: Path, options: dict[str, Any], *, texts: list[str]
    ) -> None:
        """Encode the texts."""
        super().__init__(model, selection, output, options)
        self.matcher = model.matcher(texts)
        self.compute = self.matcher.probabilities

    def settings(self) -> dict[str, Any]:
        """The texts and the options."""
        return {"texts": self.matcher.texts, **self.options}

    def rows(self, used: Sequence[Embedded]) -> pa.Table:
        """Return one row per recording and text; one without a text for a recording without usable signal."""
        tables = [MATCHES.empty_table()]
        for one in used:
            table = self.matcher.table(one, one.name)
            table = table.assign(file=file_name(one), windows=len(one.starts), warnings="; ".join(one.notes))
            tables.append(pa.Table.from_pandas(table.reindex(columns=MATCHES.names), MATCHES, preserve_index=False))
        return pa.concat_tables(tables)
