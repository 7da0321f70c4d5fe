"""The command `dbeta index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dbeta.archive.selection import Selection
from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import Batch, Model, Precision, Reading, load_model, with_groups
from dbeta.errors import DBetaError
from dbeta.report.console import note


@with_groups
def index(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to create")],
    *,
    model: Model = None,
    reading: Reading,
    precision: Precision = None,
    batch: Batch,
) -> None:
    """Build an index of recordings or of a corpus, for `dbeta search`.

    Example: dbeta index recordings/ --output runs/index

    An interrupted run resumes when the same command is run again. Recordings that cannot be used are listed in
    errors.csv in the folder.
    """
    if output.exists():
        raise DBetaError(f"{output}: already exists; name a new folder or remove this one")
    if not output.parent.is_dir():
        raise DBetaError(f"{output}: the folder {output.parent} does not exist; create it first")
    corpus: Any = None
    paths = batch.paths
    if paths and len(paths) == 1 and (paths[0] / "corpus.json").is_file():
        if batch.shard is not None or batch.list_file is not None:
            raise DBetaError("a corpus can only be indexed as a whole; leave out --shard and --list")
        from dbeta.corpus.store import CorpusRecordings

        corpus = CorpusRecordings(paths[0])
        selection = Selection([Path(name) for name in corpus.names], many=True)
    else:
        selection = select(batch, reading.record)
    dbeta = load_model(model, precision)
    from dbeta.archive.jobs import IndexJob

    job = IndexJob(dbeta, selection, output, reading.arguments(), model_name=model, recordings=corpus)
    parts = run(job)
    note(f"{parts.rows} recordings in {output}")
    report_failures(job, parts, strict=batch.strict)
