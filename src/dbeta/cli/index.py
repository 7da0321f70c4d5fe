"""The command `dbeta index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import Batch, Model, Precision, Reading, load_model, with_groups
from dbeta.errors import DBetaError
from dbeta.report.console import note
from dbeta.utils.files import check_writable


@with_groups
def index(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to create")],
    *,
    model: Model = None,
    reading: Reading,
    precision: Precision = None,
    batch: Batch,
) -> None:
    """Build an index of recordings and corpora, for `dbeta search`.

    Example: dbeta index recordings/ runs/corpus/ptb-xl --output runs/index

    An interrupted run resumes when the same command is run again. Recordings that cannot be used are listed in
    errors.csv in the folder.
    """
    if output.exists():
        raise DBetaError(f"{output}: already exists; name a new folder or remove this one")
    if not output.parent.is_dir():
        raise DBetaError(f"{output}: the folder {output.parent} does not exist; create it first")
    check_writable(output)
    selection = select(batch, reading)
    dbeta = load_model(model, precision)
    from dbeta.archive.jobs import IndexJob

    job = IndexJob(dbeta, selection, output, reading.arguments(), model_name=model)
    parts = run(job)
    note(f"{parts.rows} recordings in {output}")
    report_failures(job, parts, strict=batch.strict)
