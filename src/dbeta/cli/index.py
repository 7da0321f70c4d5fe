"""The command `dbeta index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dbeta.archive.selection import Selection
from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import (
    FixLeads,
    Leads,
    ListFile,
    Model,
    Paths,
    Precision,
    RawGain,
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


def index(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to create")],
    paths: Paths = None,
    model: Model = None,
    fs: SamplingRate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    raw_gain: RawGain = None,
    fix_leads: FixLeads = False,
    precision: Precision = None,
    list_file: ListFile = None,
    shard: Shard = None,
    strict: Strict = False,
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
    if paths and len(paths) == 1 and (paths[0] / "corpus.json").is_file():
        if shard is not None or list_file is not None:
            raise DBetaError("a corpus is indexed as a whole; leave out --shard and --list")
        from dbeta.corpus.store import CorpusRecordings

        corpus = CorpusRecordings(paths[0])
        selection = Selection([Path(name) for name in corpus.names], many=True)
    else:
        selection = select(paths, list_file, shard)
    dbeta = load_model(model, precision)
    from dbeta.archive.jobs import IndexJob

    options = reading_options(fs, leads, record, units, raw_gain, fix_leads)
    job = IndexJob(dbeta, selection, output, options, model_name=model, recordings=corpus)
    parts = run(job)
    note(f"{parts.rows} recordings in {output}")
    report_failures(job, parts, strict=strict)
