"""The commands over recordings: diagnose, embed, plot, info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dbeta.cli.batches import Batch, ListFile, Paths, Shard, Strict, errors_file, gather, report, write_batch
from dbeta.cli.common import (
    AsJson,
    FixLeads,
    KeepIdentifiers,
    Leads,
    Model,
    OneFile,
    Precision,
    Rate,
    Record,
    Units,
    check_folder,
    load_model,
    read,
    reading_options,
)
from dbeta.errors import DBetaError, NoSignalError
from dbeta.io.safety.limits import is_folder
from dbeta.report.console import Failures, note, print_findings, print_quality, print_windows, progress
from dbeta.utils.notice import NOTICE

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta


def diagnose(
    paths: Paths = None,
    conditions: Annotated[
        list[str] | None, typer.Option(help='In words, separated by ";"  \\[default: about twenty common ones]')
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write, .parquet or .csv; folders need one")
    ] = None,
    windows: Annotated[bool, typer.Option("--windows", help="Of each 10 s, not of the whole recording")] = False,
    model: Model = None,
    fs: Rate = None,
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
    """Rank conditions by how well they describe each recording.

    Example: dbeta diagnose record.hea --conditions "atrial fibrillation; left bundle branch block"

    With --output, what was interrupted goes on when the same command is started again, and recordings that cannot be
    used are listed beside the output, as in findings.errors.csv.

    Example: dbeta diagnose archive/ --output findings.parquet
    """
    wanted = None
    if conditions:
        named = [one.strip() for text in conditions for one in text.strip().strip(";").split(";")]
        wanted = list(dict.fromkeys(named))
    if wanted is not None and not all(wanted):
        raise DBetaError('--conditions: a condition is empty; write them as "atrial fibrillation; sinus rhythm"')
    options = reading_options(fs, leads, record, units, fix_leads)
    if output is not None:
        if output.suffix not in (".parquet", ".csv"):
            raise DBetaError(f"{output}: findings are written as .parquet or .csv; give the file one of these endings")
        if as_json:
            raise typer.BadParameter("--json prints, --output writes a file; choose one")
        check_folder(output)
        batch = gather(paths, list_file, shard)
        _write_findings(batch, load_model(model, precision), output, wanted, windows, strict, options)
        return
    for path in paths or []:
        if is_folder(path):
            raise DBetaError(f"{path}: is a folder; name a table for its findings with --output, or a file in it")
    batch = gather(paths, list_file, shard)
    from dbeta.archive.tables import unusable
    from dbeta.inference.dbeta import to_records
    from dbeta.inference.findings import tabulate
    from dbeta.signal.quality import UNUSABLE
    from dbeta.signal.windows import warn_all

    dbeta = load_model(model, precision)
    question = dbeta.ask(wanted)
    tables = []
    lines: list[dict[str, Any]] = []
    failures = Failures()
    with progress("diagnosing") as advance:
        for i, one in enumerate(dbeta.embed_files(batch.files, watch=advance.within, **options), 1):
            warn_all(one.notes)
            if one.error is not None:
                failures.add(str(one.file), one.error)
            elif one.quality == UNUSABLE:
                lines.append(unusable(one))
            else:
                tables.append(tabulate(question, [one], windows=windows))
                lines += to_records(tables[-1])
            advance(i, len(batch.files))
    if as_json:
        print(json.dumps(lines, indent=2))
    elif tables:
        for table in tables:
            print_windows(table) if windows else print_findings(table)
        Console().print(f"[dim]percentile: share of the reference ECGs that fit the words less well. {NOTICE}[/]")
    failures.end()


def _write_findings(
    batch: Batch,
    dbeta: DBeta,
    output: Path,
    wanted: list[str] | None,
    windows: bool,
    strict: bool,
    options: dict[str, Any],
) -> None:
    """Write the findings of a batch to a table."""
    from dbeta.archive.resumable import Parts
    from dbeta.archive.tables import FINDINGS, WINDOW_FINDINGS, finding_rows

    question = dbeta.ask(wanted)
    errors = errors_file(output)
    parts = write_batch(
        *("windows" if windows else "diagnose", batch, dbeta, output, WINDOW_FINDINGS if windows else FINDINGS),
        *(lambda some: finding_rows(some, question, windows=windows), Parts.write_output),
        errors=errors,
        settings={"conditions": question.names},
        **options,
    )
    note(f"{parts.rows} findings of {len(batch.files) - len(parts.failed)} recordings in {output}")
    report(parts, errors, batch, strict)


def embed(
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write")],
    paths: Paths = None,
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    fix_leads: FixLeads = False,
    precision: Precision = None,
    list_file: ListFile = None,
    shard: Shard = None,
    strict: Strict = False,
) -> None:
    """Write the embedding of each recording to a Parquet file: file, record, windows, warnings, embedding.

    Example: dbeta embed recordings/ --output embeddings.parquet

    What was interrupted goes on when the same command is started again; recordings that cannot be used are listed
    beside the output, as in embeddings.errors.csv.
    """
    if output.suffix != ".parquet":
        raise DBetaError(f"{output}: embeddings are written as Parquet; give the file the ending .parquet")
    check_folder(output)
    batch = gather(paths, list_file, shard)
    dbeta = load_model(model, precision)
    from dbeta.archive.resumable import Parts
    from dbeta.archive.tables import EMBEDDINGS, embedding_rows

    errors = errors_file(output)
    options = reading_options(fs, leads, record, units, fix_leads)
    write = (batch, dbeta, output, EMBEDDINGS, embedding_rows, Parts.write_output)
    parts = write_batch("embed", *write, errors=errors, **options)
    note(f"{parts.rows} embeddings of {dbeta.model.config.hidden_size} numbers in {output}")
    report(parts, errors, batch, strict)


def plot(
    file: OneFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg")],
    findings: Annotated[bool, typer.Option(help="Show the model's findings beside the leads")] = True,
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    fix_leads: FixLeads = False,
) -> None:
    """Draw the twelve leads as clinicians read them: 25 mm/s, 10 mm/mV, 3 × 4 and a rhythm strip.

    Example: dbeta plot record.hea -o record.png
    """
    from dbeta.report.plot import SHOWN_S, plot_ecg, save_plot

    check_folder(output)
    dbeta = load_model(model) if findings else None
    seconds = max(SHOWN_S, dbeta.processor.duration if dbeta else 0.0)
    ecg = read(file, fs, leads, record, units, fix_leads, duration=seconds + 1)
    save_plot(plot_ecg(ecg, dbeta.diagnose(ecg) if dbeta else None), output)
    note(f"{output} written")


def info(
    file: OneFile,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    fix_leads: FixLeads = False,
    keep_identifiers: KeepIdentifiers = False,
    as_json: AsJson = False,
) -> None:
    """Show what a recording holds: rate, length, patient, report, and of each lead the voltage and signal quality.

    Voltage and quality are of the first minute.

    Example: dbeta info record.hea
    """
    import numpy as np

    from dbeta.signal.quality import ASSESSED, assess_quality

    try:
        options = (fs, leads, record, units, fix_leads)
        ecg = read(file, *options, duration=ASSESSED, keep_identifiers=keep_identifiers)
    except NoSignalError as error:
        if error.duration is None or error.duration <= ASSESSED:
            raise
        raise DBetaError(
            f"{file}: holds no signal in its first {ASSESSED:g} s of {error.duration:.0f} s, which is all that info "
            "looks at; dbeta diagnose --windows finds where there is some"
        ) from error
    duration = float(ecg.meta.get("duration", ecg.duration))
    quality = assess_quality(ecg)
    finite = np.isfinite(ecg.signal)
    facts: dict[str, Any] = {
        "record": ecg.meta.get("record", ecg.meta.get("source")),
        "sampling_rate": ecg.sampling_rate,
        "duration": round(duration, 3),
        "samples": round(duration * ecg.sampling_rate),
        "looked_at": round(ecg.duration, 3),
        "missing": round(float((~finite).mean()), 4),
        "patient_id": ecg.patient_id,
        **{key: ecg.meta[key] for key in ("patient_name", "birth_date") if key in ecg.meta},
        "age": ecg.meta.get("age"),
        "sex": ecg.meta.get("sex"),
        "report": ecg.report or None,
        "peak_to_peak_mv": {
            lead: round(float(np.ptp(row[good])), 3) if good.any() else None
            for lead, row, good in zip(ecg.leads, ecg.signal, finite, strict=True)
        },
    }
    listed = ("other_channels", "missing_leads", "fixed_leads")
    facts |= {name: ecg.meta[name] for name in listed if name in ecg.meta}
    facts["quality"] = quality.verdict
    if as_json:
        about = {"quality_reason": quality.reason or None, "leads": quality.rows()}
        print(json.dumps(facts | about | {"lead_errors": ecg.meta.get("lead_errors", [])}, indent=2, default=str))
        return
    table = Table(show_header=False, box=None)
    suffixes = {"sampling_rate": " Hz", "duration": " s", "looked_at": " s, the first, for voltages and quality"}
    for key, value in facts.items():
        if key == "peak_to_peak_mv" or (key == "looked_at" and ecg.duration >= duration - 1 / ecg.sampling_rate):
            continue
        if key in listed:
            value = ", ".join(value)
        if key == "quality" and quality.reason:
            value = f"{value}: {quality.reason}"
        if value is not None:
            table.add_row(f"[bold]{key.replace('_', ' ')}[/]", escape(f"{value}{suffixes.get(key, '')}"))
    Console().print(table)
    print_quality(quality, facts["peak_to_peak_mv"])
