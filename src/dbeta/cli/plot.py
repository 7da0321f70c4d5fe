"""The command `dbeta plot`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.options import Model, OneFile, Reading, check_output_file, load_model, with_groups
from dbeta.errors import DBetaWarning
from dbeta.io.read import read_ecg
from dbeta.report.console import note


@with_groups
def plot(
    file: OneFile,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg")],
    findings: Annotated[bool, typer.Option(help="Show the model's findings beside the leads")] = True,
    model: Model = None,
    reading: Reading,
) -> None:
    """Draw the leads on ECG paper, 25 mm/s and 10 mm/mV.

    The first 10 s of 12 leads in 3 rows of 4 leads and a rhythm strip; up to 7 leads in a row each; 30 s of a single
    lead.

    Example: dbeta plot record.hea -o record.png
    """
    from dbeta.report.plot import SHOWN_S, check_format, plot_ecg, save_plot, seconds_shown

    check_format(output)
    check_output_file(output)
    options = reading.arguments()
    dbeta = load_model(model) if findings else None
    seconds = max(SHOWN_S, dbeta.processor.duration if dbeta else 0.0)
    ecg = read_ecg(file, duration=seconds + 1, **options)
    if seconds_shown(ecg) > seconds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DBetaWarning)  # they were given before
            ecg = read_ecg(file, duration=seconds_shown(ecg), **options)
    save_plot(plot_ecg(ecg, dbeta.diagnose(ecg) if dbeta else None), output)
    note(f"{output} written")
