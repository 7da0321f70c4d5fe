"""The command `dbeta plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.options import (
    FixLeads,
    Leads,
    Model,
    OneFile,
    RawGain,
    Record,
    SamplingRate,
    Units,
    check_output_file,
    load_model,
    reading_options,
)
from dbeta.io.read import read_ecg
from dbeta.report.console import note


def plot(
    file: OneFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg")],
    findings: Annotated[bool, typer.Option(help="Show the model's findings beside the leads")] = True,
    model: Model = None,
    fs: SamplingRate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    raw_gain: RawGain = None,
    fix_leads: FixLeads = False,
) -> None:
    """Draw the 12 leads in the clinical layout.

    25 mm/s, 10 mm/mV, 3 rows of 4 leads and a rhythm strip.

    Example: dbeta plot record.hea -o record.png
    """
    from dbeta.report.plot import SHOWN_S, plot_ecg, save_plot

    check_output_file(output)
    dbeta = load_model(model) if findings else None
    seconds = max(SHOWN_S, dbeta.processor.duration if dbeta else 0.0)
    ecg = read_ecg(file, duration=seconds + 1, **reading_options(fs, leads, record, units, raw_gain, fix_leads))
    save_plot(plot_ecg(ecg, dbeta.diagnose(ecg) if dbeta else None), output)
    note(f"{output} written")
