"""The command `dbeta embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import Batch, Model, Precision, Reading, check_output_file, load_model, with_groups
from dbeta.errors import DBetaError
from dbeta.report.console import note


@with_groups
def embed(
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write")],
    *,
    model: Model = None,
    reading: Reading,
    precision: Precision = None,
    batch: Batch,
) -> None:
    """Write the embedding of each recording to a Parquet file.

    The columns are file, record, windows, warnings and embedding.

    Example: dbeta embed recordings/ --output embeddings.parquet

    An interrupted run resumes when the same command is run again. Recordings that cannot be used are listed beside the
    output, as in embeddings.errors.csv.
    """
    if output.suffix != ".parquet":
        raise DBetaError(f"{output}: embeddings can only be written as Parquet; use the suffix .parquet")
    check_output_file(output)
    selection = select(batch, reading)
    dbeta = load_model(model, precision)
    from dbeta.archive.jobs import EmbedJob

    job = EmbedJob(dbeta, selection, output, reading.arguments())
    parts = run(job)
    note(f"{parts.rows} embeddings of {dbeta.model.config.hidden_size} numbers in {output}")
    report_failures(job, parts, strict=batch.strict)
