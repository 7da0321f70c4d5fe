"""The command `dbeta embed`."""

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
    RawGain,
    Record,
    SamplingRate,
    Shard,
    Strict,
    Units,
    check_output_file,
    load_model,
    reading_options,
)
from dbeta.errors import DBetaError
from dbeta.report.console import note


def embed(
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write")],
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
    """Write the embedding of each recording to a Parquet file.

    The columns are file, record, windows, warnings and embedding.

    Example: dbeta embed recordings/ --output embeddings.parquet

    An interrupted run resumes when the same command is run again. Recordings that cannot be used are listed beside the
    output, as in embeddings.errors.csv.
    """
    if output.suffix != ".parquet":
        raise DBetaError(f"{output}: embeddings are written as Parquet; use the suffix .parquet")
    check_output_file(output)
    selection = select(paths, list_file, shard)
    dbeta = load_model(model, precision)
    from dbeta.archive.jobs import EmbedJob

    job = EmbedJob(dbeta, selection, output, reading_options(fs, leads, record, units, raw_gain, fix_leads))
    parts = run(job)
    note(f"{parts.rows} embeddings of {dbeta.model.config.hidden_size} numbers in {output}")
    report_failures(job, parts, strict=strict)
