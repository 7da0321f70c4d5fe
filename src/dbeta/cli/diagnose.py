"""The command `dbeta diagnose`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import (
    AsJson,
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
    check_output_file,
    load_model,
    reading_options,
)
from dbeta.conditions.registry import find_condition, known_parts
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.safety.limits import is_file, is_folder
from dbeta.report.console import Failures, note, print_findings, print_notice, print_windows, progress

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta


def diagnose(
    paths: Paths = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            help='In words, separated by ";", or by "," if all are known conditions; may be given several times  '
            "\\[default: 22 common conditions]"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write, .parquet or .csv; required for folders")
    ] = None,
    windows: Annotated[bool, typer.Option("--windows", help="Report findings per 10 s window")] = False,
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
    as_json: AsJson = False,
) -> None:
    """Rank conditions by how well they match each recording.

    Example: dbeta diagnose record.hea --conditions "atrial fibrillation; left bundle branch block"

    With --output, an interrupted run resumes when the same command is run again. Recordings that cannot be used are
    listed beside the output, as in findings.errors.csv.

    Example: dbeta diagnose archive/ --output findings.parquet
    """
    wanted = _split_conditions(conditions)
    options = reading_options(fs, leads, record, units, fix_leads)
    if output is not None:
        if as_json:
            raise typer.BadParameter("--json prints, --output writes a file; choose one")
        if output.suffix not in (".parquet", ".csv"):
            raise DBetaError(f"{output}: findings are written as .parquet or .csv; use one of these suffixes")
        check_output_file(output)
        selection = select(paths, list_file, shard, options)
        dbeta = load_model(model, precision)
        from dbeta.archive.jobs import DiagnoseJob

        job = DiagnoseJob(dbeta, selection, output, options, conditions=wanted, windows=windows)
        parts = run(job)
        note(f"{parts.rows} findings of {len(job.files) - len(parts.failed)} recordings in {output}")
        report_failures(job, parts, strict=strict)
        return
    for path in paths or []:
        if is_folder(path):
            raise DBetaError(f"{path}: is a folder; name a table for its findings with --output, or a file in it")
    files = select(paths, list_file, shard, options).files
    _print(files, load_model(model, precision), wanted, options, windows=windows, as_json=as_json)


def _split_conditions(given: list[str] | None) -> list[str] | None:
    """Each condition once; a separator at either end does no harm.

    Semicolons separate. Commas may be part of a description, so they separate only where every part is a known
    condition; any other text with a comma stays whole, with a warning.
    """
    if not given:
        return None
    texts = [one.strip() for text in given for one in text.strip().strip(";").split(";")]
    if not all(texts):
        raise DBetaError('--conditions: a condition is empty; write them as "atrial fibrillation; sinus rhythm"')
    conditions = []
    for text in texts:
        if is_file(Path(text)):
            raise DBetaError(f'--conditions: {text} is a file; write the conditions themselves, separated by ";"')
        parts = known_parts(text)
        if "," in text and not parts and find_condition(text) is None:
            message = f'--conditions: "{text}" is taken as one description; separate conditions with ";"'
            warnings.warn(message, DBetaWarning, stacklevel=2)
        conditions += parts or [text]
    return list(dict.fromkeys(conditions))


def _print(
    files: list[Path],
    dbeta: DBeta,
    conditions: list[str] | None,
    options: dict[str, Any],
    *,
    windows: bool,
    as_json: bool,
) -> None:
    """Print the findings of recordings that need no table; a bad one does not hold up the others."""
    from dbeta.inference.findings import tabulate, to_records
    from dbeta.signal.windows import warn_all

    question = dbeta.ask(conditions)
    tables = []
    failures = Failures()
    with progress("diagnosing") as advance:
        for i, one in enumerate(dbeta.embed_files(files, watch=advance.within, **options), 1):
            warn_all(one.notes)
            if one.error is not None:
                failures.add(str(one.file), one.error)
            else:
                tables.append(tabulate(question, [one], windows=windows, unusable=True))
            advance(i, len(files))
    if as_json:
        print(json.dumps([row for table in tables for row in to_records(table)], indent=2))
    else:
        usable = [table for table in tables if table["condition"].notna().all()]
        for table in usable:
            print_windows(table) if windows else print_findings(table)
        if usable:
            print_notice("percentile: percentage of reference ECGs that match less closely")
    failures.end()
