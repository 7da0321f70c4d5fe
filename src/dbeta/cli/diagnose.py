"""The command `dbeta diagnose`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta.cli.batch import report_failures, run, select
from dbeta.cli.options import AsJson, Batch, Model, Precision, Reading, check_output_file, load_model, with_groups
from dbeta.conditions.registry import find_condition, known_parts
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.safety.limits import is_file, is_folder
from dbeta.report.console import Failures, note, print_findings, print_notice, print_windows, progress

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta


#: Recordings whose findings are printed rather than written.
_MOST_PRINTED = 1000


@with_groups
def diagnose(
    *,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            help='Conditions in words, separated by ";", or by "," if all are known conditions; may be given several '
            "times  \\[default: 22 common conditions]"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write, .parquet or .csv; required for folders")
    ] = None,
    windows: Annotated[bool, typer.Option("--windows", help="Report findings per 10 s window")] = False,
    model: Model = None,
    reading: Reading,
    precision: Precision = None,
    batch: Batch,
    as_json: AsJson = False,
) -> None:
    """Rank conditions by how well they match each recording.

    Example: dbeta diagnose record.hea --conditions "atrial fibrillation; left bundle branch block"

    With --output, an interrupted run resumes when the same command is run again. Recordings that cannot be used are
    listed beside the output, as in findings.errors.csv.

    Example: dbeta diagnose archive/ --output findings.parquet
    """
    wanted = _split_conditions(conditions)
    options = reading.arguments()
    if output is not None:
        if as_json:
            raise typer.BadParameter("--json prints, --output writes a file; choose one")
        if output.suffix not in (".parquet", ".csv"):
            raise DBetaError(f"{output}: findings can only be written as .parquet or .csv; use one of these suffixes")
        check_output_file(output)
        selection = select(batch, reading)
        dbeta = load_model(model, precision)
        from dbeta.archive.jobs import DiagnoseJob

        job = DiagnoseJob(dbeta, selection, output, options, conditions=wanted, windows=windows)
        parts = run(job)
        note(f"{parts.rows} findings of {len(job.files) - len(parts.failed)} recordings in {output}")
        report_failures(job, parts, strict=batch.strict)
        return
    for path in batch.paths or []:
        if is_folder(path):
            raise DBetaError(f"{path}: is a folder; add --output findings.parquet, or name a single file")
    files = select(batch, reading).files
    if len(files) > _MOST_PRINTED:
        raise DBetaError(f"{files[0]}: is one of {len(files):,} recordings; add --output findings.parquet")
    _print(files, load_model(model, precision), wanted, options, windows=windows, as_json=as_json)


def _split_conditions(given: list[str] | None) -> list[str] | None:
    """Split conditions and remove duplicates; a separator at either end is ignored.

    Semicolons separate. Commas may be part of a description, so they separate only if every part is a known condition;
    any other text with a comma stays whole, with a warning.
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
    """Print the findings of recordings that are not written to a table; failures are reported at the end."""
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
                warn_all(filter(None, [question.note(one)]))
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
