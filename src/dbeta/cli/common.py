"""What the commands share: their options, the model a user names, reading with the options of the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.io.read import read_ecg

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta

OneFile = Annotated[Path, typer.Argument(help="A recording")]
Model = Annotated[str | None, typer.Option(help="Folder, hub id, tiny or tiny-sim  \\[default: the bundled model]")]
Rate = Annotated[float | None, typer.Option("--fs", help="Sampling rate in Hz, for files that do not carry it")]
Leads = Annotated[str | None, typer.Option(help='Lead names in file order, "I,II,V1,-,…", for files without them')]
Record = Annotated[str | None, typer.Option(help="Which recording of an HDF5 file: exam_id or row number")]
Units = Annotated[
    str | None, typer.Option(help='Unit of samples without one: uV, mV, "1e-4 V", 200/mV, or mV per count')
]
FixLeads = Annotated[
    bool, typer.Option("--fix-leads", help="Put right leads that are exchanged, upside down or copies")
]
KeepIdentifiers = Annotated[bool, typer.Option("--keep-identifiers", help="Show the patient's id, name and birth date")]
Precision = Annotated[
    str | None,
    typer.Option(help="float32 or bfloat16  \\[default: bfloat16 where the processor has units for it]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


def load_model(name: str | None, precision: str | None = None) -> DBeta:
    """The model a command names."""
    silence_libraries()
    from dbeta.inference.load import load

    return load(name, precision=precision or "auto")


def silence_libraries() -> None:
    """Turn off the libraries' own chatter and progress bars, which are not meant for this command line's users."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity(hub_logging.CRITICAL)


def read(
    file: Path,
    fs: float | None,
    leads: str | None,
    record: str | None,
    units: str | None,
    fix_leads: bool = False,
    *,
    duration: float | None = None,
    keep_identifiers: bool = False,
) -> ECG:
    """`read_ecg` with the options as the command line gives them."""
    options = reading_options(fs, leads, record, units, fix_leads)
    return read_ecg(file, duration=duration, keep_identifiers=keep_identifiers, **options)


def reading_options(
    fs: float | None, leads: str | None, record: str | None, units: str | None, fix_leads: bool = False
) -> dict[str, Any]:
    """What `read_ecg` takes, of options of the command line."""
    names = None if leads is None else [name.strip() for name in leads.split(",")]
    return {"sampling_rate": fs, "leads": names, "record": record, "units": units, "fix_leads": fix_leads}


def check_folder(output: Path) -> None:
    """Refuse early to write where there is no folder."""
    if not output.parent.is_dir():
        raise DBetaError(f"{output}: the folder {output.parent} does not exist; create it first")
    if output.is_dir():
        raise DBetaError(f"{output}: is a folder; name a file")
