"""The command `dbeta reconstruct`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.options import Model, OneFile, Precision, Reading, check_output_file, load_model, with_groups
from dbeta.errors import DBetaError
from dbeta.io.detect import is_recording
from dbeta.io.read import read_ecg
from dbeta.io.safety.limits import is_file
from dbeta.report.console import note
from dbeta.utils.notice import NOTICE


@with_groups
def reconstruct(
    file: OneFile,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Recording to write: .hea, .csv or .parquet")],
    replace: Annotated[
        str | None, typer.Option(help='Recorded leads to predict from the others all the same, as in "V3,V4"')
    ] = None,
    text: Annotated[str | None, typer.Option(help="What is known of the recording  \\[default: its report]")] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Picture to write too: .png, .pdf or .svg, made-up parts in colour")
    ] = None,
    model: Model = None,
    reading: Reading,
    precision: Precision = None,
) -> None:
    """Fill in the missing leads and dead stretches of a recording.

    What is filled in is made up by the model: plausible, not measured, and no basis for a finding. Measured samples are
    unchanged. The command says which samples are made up, and so does the file: columns such as "V1 reconstructed" in
    tables, comments in WFDB headers and a mask in NAME.reconstructed.npz beside them.

    Example: dbeta reconstruct record.hea -o complete.csv --model runs/base --plot complete.png
    """
    from dbeta.io.write import check_ending, write_ecg

    check_ending(output)
    for one in (output, *([picture] if picture else [])):
        check_output_file(one)
    if is_file(output) and (output.samefile(file) or (is_recording(output) and output.resolve() == file.resolve())):
        raise DBetaError(f"{output}: would overwrite the input; name another output")
    ecg = read_ecg(file, **reading.arguments())
    dbeta = load_model(model, precision)
    from dbeta.inference.reconstruct import describe_reconstruction

    leads = [lead.strip() for lead in replace.split(",")] if replace else None
    done = dbeta.reconstruct(ecg, leads, text=text)
    write_ecg(done, output)
    if picture:
        from dbeta.report.plot import plot_ecg, save_plot

        save_plot(plot_ecg(done), picture)
        note(f"{picture} written")
    lines = describe_reconstruction(done)
    note(
        f"{output} written; "
        + ("made up, not measured:" if lines else "nothing was missing, so nothing to reconstruct")
    )
    for line in lines:
        note(f"  {line}")
    note(NOTICE)
