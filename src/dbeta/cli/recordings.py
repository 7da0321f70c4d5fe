"""The commands over recordings: diagnose, embed, plot, info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dbeta.cli.common import (
    AsJson,
    Files,
    KeepIdentifiers,
    Leads,
    Model,
    OneFile,
    Precision,
    Rate,
    Record,
    Units,
    check_folder,
    lead_names,
    load_model,
    read,
)
from dbeta.console import NOTICE, Failures, note, print_findings, progress
from dbeta.errors import DBetaError
from dbeta.reading import find_ecgs


def diagnose(
    files: Files,
    conditions: Annotated[
        list[str] | None, typer.Option(help='In words, separated by ";"  \\[default: about twenty common ones]')
    ] = None,
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Rank conditions by how well they describe each recording.

    Example: dbeta diagnose record.hea --conditions "atrial fibrillation; left bundle branch block"
    """
    wanted = None
    if conditions:
        named = [one.strip() for text in conditions for one in text.strip().strip(";").split(";")]
        wanted = list(dict.fromkeys(named))
    if wanted is not None and not all(wanted):
        raise DBetaError('--conditions: a condition is empty; write them as "atrial fibrillation; sinus rhythm"')
    dbeta = load_model(model, precision)
    tables = []
    failures = Failures()
    for file in files:
        with failures.of(file):
            ecg = read(file, fs, leads, record, units, duration=dbeta.processor.duration + 1)
            tables.append(dbeta.diagnose(ecg, wanted))
            if not as_json:
                print_findings(tables[-1])
    if as_json:
        from dbeta.inference import to_records

        print(json.dumps([row for table in tables for row in to_records(table)], indent=2))
    elif tables:
        Console().print(f"[dim]percentile: share of the reference ECGs that fit the words less well. {NOTICE}[/]")
    failures.end()


def embed(
    paths: Annotated[list[Path], typer.Argument(help="Recordings or folders of recordings")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write")],
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    precision: Precision = None,
) -> None:
    """Write the embedding of each recording to a Parquet file with columns file, record and embedding.

    Example: dbeta embed recordings/ --output embeddings.parquet
    """
    import pandas as pd

    if output.suffix != ".parquet":
        raise DBetaError(f"{output}: embeddings are written as Parquet; give the file the ending .parquet")
    check_folder(output)
    files = [file for path in paths for file in (find_ecgs(path) if path.is_dir() else [path])]
    if not files:
        raise DBetaError(f"{', '.join(map(str, paths))}: no recording was found there")
    dbeta = load_model(model, precision)
    failures = Failures()
    rows: list[dict[str, Any]] = []
    options: dict[str, Any] = {"sampling_rate": fs, "leads": lead_names(leads), "record": record, "units": units}
    with progress("embedding") as advance:
        for i, (done, embedding) in enumerate(dbeta.embed_files(files, **options), 1):
            if embedding is None:
                failures.add(done.file, str(done.error))
            else:
                rows.append({"file": str(done.file), "record": done.record, "embedding": embedding})
            advance(i, len(files))
    if rows:
        partial = output.with_name(f".{output.name}.partial")
        try:
            pd.DataFrame(rows).to_parquet(partial, index=False)
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
        note(f"{len(rows)} embeddings of {rows[0]['embedding'].size} numbers in {output}")
    failures.end()


def plot(
    file: OneFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg")],
    findings: Annotated[bool, typer.Option(help="Show the model's findings beside the leads")] = True,
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
) -> None:
    """Draw the twelve leads as clinicians read them: 25 mm/s, 10 mm/mV, 3 × 4 and a rhythm strip.

    Example: dbeta plot record.hea -o record.png
    """
    from dbeta.plotting import SHOWN_S, plot_ecg, save_plot

    check_folder(output)
    dbeta = load_model(model) if findings else None
    seconds = max(SHOWN_S, dbeta.processor.duration if dbeta else 0.0)
    ecg = read(file, fs, leads, record, units, duration=seconds + 1)
    save_plot(plot_ecg(ecg, dbeta.diagnose(ecg) if dbeta else None), output)
    note(f"{output} written")


def info(
    file: OneFile,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    keep_identifiers: KeepIdentifiers = False,
    as_json: AsJson = False,
) -> None:
    """Show what a recording holds: rate, length, voltages per lead, patient and report.

    Example: dbeta info record.hea
    """
    import numpy as np

    ecg = read(file, fs, leads, record, units, keep_identifiers=keep_identifiers)
    finite = np.isfinite(ecg.signal)
    facts: dict[str, Any] = {
        "record": ecg.meta.get("record", ecg.meta.get("source")),
        "sampling_rate": ecg.sampling_rate,
        "duration": round(ecg.duration, 3),
        "samples": ecg.signal.shape[1],
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
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
        return
    table = Table(show_header=False, box=None)
    suffixes = {"sampling_rate": " Hz", "duration": " s"}
    for key, value in facts.items():
        if key == "peak_to_peak_mv":
            value = "  ".join(f"{lead} {'–' if size is None else f'{size:.2f}'}" for lead, size in value.items())
            key = "peak to peak, mV"
        if value is not None:
            table.add_row(f"[bold]{key.replace('_', ' ')}[/]", escape(f"{value}{suffixes.get(key, '')}"))
    Console().print(table)
