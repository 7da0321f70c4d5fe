"""The command `dbeta match`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import AsJson, Batch, Model, Precision, Reading, check_output_file, load_model, with_groups
from dbeta.errors import DBetaError
from dbeta.io.safety.limits import is_folder
from dbeta.report.console import Failures, note, print_matches, print_notice, progress

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta


@with_groups
def match(
    *,
    text: Annotated[
        list[str], typer.Option("--text", help="Text to compare, as a report would say it; repeat for more")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write, .parquet or .csv; required for folders")
    ] = None,
    model: Model = None,
    reading: Reading,
    precision: Precision = None,
    batch: Batch,
    as_json: AsJson = False,
) -> None:
    """Compute the probability that texts belong to recordings.

    It comes from the fusion of text and ECG, which models of two encoders alone do not have.

    Example: dbeta match record.hea --text "sinus rhythm. normal ecg." --text "atrial fibrillation" --model runs/base

    With --output, an interrupted run resumes when the same command is run again.

    Example: dbeta match archive/ --text "left bundle branch block" --output matches.parquet --model runs/base
    """
    options = reading.arguments()
    texts = list(dict.fromkeys(text))
    if output is not None:
        if as_json:
            raise typer.BadParameter("--json prints, --output writes a file; choose one")
        if output.suffix not in (".parquet", ".csv"):
            raise DBetaError(f"{output}: matches can only be written as .parquet or .csv; use one of these suffixes")
        check_output_file(output)
        selection = select(batch, reading)
        dbeta = load_model(model, precision)
        from dbeta.archive.match_job import MatchJob

        job = MatchJob(dbeta, selection, output, options, texts=texts)
        parts = run(job)
        note(f"{parts.rows} matches of {len(job.files) - len(parts.failed)} recordings in {output}")
        report_failures(job, parts, strict=batch.strict)
        return
    for path in batch.paths or []:
        if is_folder(path):
            raise DBetaError(f"{path}: is a folder; add --output matches.parquet, or name a single file")
    _print(select(batch, reading).files, load_model(model, precision), texts, options, as_json=as_json)


def _print(files: Any, dbeta: DBeta, texts: list[str], options: dict[str, Any], *, as_json: bool) -> None:
    """Print the matches of recordings that are not written to a table; failures are reported at the end."""
    from dbeta.inference.findings import to_records
    from dbeta.signal.quality import UNUSABLE
    from dbeta.signal.windows import warn_all

    matcher = dbeta.matcher(texts)
    tables = []
    failures = Failures()
    with progress("matching") as advance:
        found = dbeta.embed_files(files, watch=advance.within, compute=matcher.probabilities, **options)
        for i, one in enumerate(found, 1):
            warn_all(one.notes)
            if one.error is not None:
                failures.add(str(one.file), one.error)
            else:
                table = matcher.table(one, one.name or f"recording {i}")
                single = len(one.starts) == 1
                tables.append(table.drop(columns=["peak", "peak_at"], errors="ignore") if single else table)
            advance(i, len(files))
    if as_json:
        print(json.dumps([row for table in tables for row in to_records(table)], indent=2))
    else:
        usable = [table for table in tables if (table["quality"] != UNUSABLE).all()]
        for table in usable:
            print_matches(table)
        if usable:
            print_notice("probability: that the text belongs to the recording, by the model")
    failures.end()
