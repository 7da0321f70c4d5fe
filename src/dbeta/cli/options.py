"""Options that several commands share, and what they turn into: reading options, a loaded model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta.errors import DBetaError
from dbeta.utils.files import check_writable

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta

# Which recordings
OneFile = Annotated[Path, typer.Argument(help="A recording")]
Paths = Annotated[list[Path] | None, typer.Argument(help="Recordings, folders of recordings, or corpora")]
ListFile = Annotated[
    Path | None,
    typer.Option("--list", metavar="FILE", help='File with further paths, one per line; "-" reads stdin'),
]
Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Process every N-th recording, starting at the I-th: for N parallel jobs"),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any recording fails")]

# How they are read
SamplingRate = Annotated[float | None, typer.Option("--fs", help="Sampling rate in Hz, if the file does not state it")]
Leads = Annotated[
    str | None, typer.Option(help='Lead names in file order, "I,II,V1,-,…", if the file does not state them')
]
Record = Annotated[str | None, typer.Option(help="Recording in an HDF5 file: exam_id or row number")]
Units = Annotated[
    str | None,
    typer.Option(help='Unit of the samples, if not stated: uV, mV, "1e-4 V", 200/mV, or mV per count'),
]
FixLeads = Annotated[bool, typer.Option("--fix-leads", help="Correct swapped, inverted or copied leads")]
KeepIdentifiers = Annotated[
    bool, typer.Option("--keep-identifiers", help="Show the patient's ID, name and date of birth")
]

# The model, and how results are shown
Model = Annotated[
    str | None, typer.Option(help="Checkpoint folder, hub ID, tiny or tiny-sim  \\[default: the bundled tiny]")
]
Precision = Annotated[
    str | None,
    typer.Option(help="float32 or bfloat16  \\[default: bfloat16 if the hardware supports it]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


def reading_options(
    fs: float | None, leads: str | None, record: str | None, units: str | None, fix_leads: bool
) -> dict[str, Any]:
    """Keyword arguments of `read_ecg`."""
    names = None if leads is None else [name.strip() for name in leads.split(",")]
    return {"sampling_rate": fs, "leads": names, "record": record, "units": units, "fix_leads": fix_leads}


def load_model(name: str | None, precision: str | None = None) -> DBeta:
    """Load the model that a command names; None for the bundled one."""
    silence_libraries()
    from dbeta.inference.load import load

    return load(name, precision=precision or "auto")


def silence_libraries() -> None:
    """Turn off log messages and progress bars of transformers and huggingface_hub."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity(hub_logging.CRITICAL)


def check_output_file(output: Path) -> None:
    """Check that a file can be written there, before any work is done.

    Raises:
        DBetaError: its folder does not exist or must not be written, or it is a folder.
    """
    if not output.parent.is_dir():
        raise DBetaError(f"{output}: the folder {output.parent} does not exist; create it first")
    if output.is_dir():
        raise DBetaError(f"{output}: is a folder; name a file")
    check_writable(output)
