"""The command `dbeta index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import (
    FixLeads,
    Leads,
    ListFile,
    Model,
    Paths,
    Precision,
    Record,
    SamplingRate,
    Shard,
    Strict,
    Units,
    load_model,
    reading_options,
)
from dbeta.errors import DBetaError
from dbeta.report.console import note
from dbeta.utils.files import check_writable


def index(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to create")],
    paths: Paths = None,
    model: Model = None,
    fs: SamplingRate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    fix_leads: FixLeads = False,
    precision: Precision = None,
    list_file: ListFile = None,
    shard: Shard = None,
    strict: Strict = False,
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
    options = reading_options(fs, leads, record, units, fix_leads)
    selection = select(paths, list_file, shard, options)
    dbeta = load_model(model, precision)
    from dbeta.archive.jobs import IndexJob

    job = IndexJob(dbeta, selection, output, options, model_name=model)
    parts = run(job)
    note(f"{parts.rows} recordings in {output}")
    report_failures(job, parts, strict=strict)
