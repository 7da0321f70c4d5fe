"""The command `dbeta convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbeta.cli.common import silence_libraries
from dbeta.errors import DBetaError
from dbeta.report.console import note, progress

if TYPE_CHECKING:
    from dbeta.model.config import DBetaConfig


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' .pt file; with --to-official, a dbeta folder")],
    out: Annotated[Path, typer.Argument(help="Folder to make; with --to-official, the .pt file to write")],
    tokenizer: Annotated[Path | None, typer.Option(help="Folder of the text encoder's tokenizer")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Setting that no tensor shows, such as ecg_heads=12"),
    ] = None,
    to_official: Annotated[bool, typer.Option("--to-official", help="Write the authors' layout instead")] = False,
) -> None:
    """Turn a checkpoint of the authors' published code into a dbeta folder, or one of those back.

    Sizes are read from the tensors; what no tensor shows is as in the published model, unless --set says otherwise.

    Example: dbeta convert checkpoint.pt runs/published --tokenizer flan-t5-base/
    """
    silence_libraries()
    from dbeta.checkpoints.convert import (
        PARTS_IN_WORDS,
        TOKENIZER_HINT,
        convert_official,
        export_official,
        parse_settings,
        unheld,
    )

    settings = parse_settings(changes or [])
    if to_official:
        if tokenizer is not None:
            raise DBetaError("--tokenizer: the authors' layout holds no tokenizer; leave it out")
        with progress("converting") as advance:
            lost = export_official(checkpoint, out, settings=settings, advance=advance)
        note(f"{out} written")
        if lost:
            note(f"not held by that layout, to be given with --set on the way back: {_in_words(lost)}")
        return
    with progress("converting") as advance:
        config = convert_official(checkpoint, out, tokenizer=tokenizer, settings=settings, advance=advance)
    note(f"{out} holds {PARTS_IN_WORDS[config.parts]}; layers: {layer_counts(config)}")
    guessed = {name: value for name, value in unheld(config).items() if name.endswith(("_heads", "_layer"))}
    note(f"assumed, as no tensor shows it: {_in_words(guessed)} and more that README.md lists; --set changes it")
    if tokenizer is None and config.parts != "ecg":
        note(f"no tokenizer: it can embed recordings, but diagnose needs one. {TOKENIZER_HINT.replace('`', '')}")


def layer_counts(config: DBetaConfig) -> str:
    """Layers of each stack: a checkpoint that lost its last one is complete by all else."""
    counts = {"ECG encoder": config.ecg_layers}
    if config.parts != "ecg":
        counts["text encoder"] = config.text_config.num_layers
    if config.parts == "all":
        counts |= {"fusion": config.fusion_layers, "MEM decoder": config.mem_layers}
    return ", ".join(f"{part} {count}" for part, count in counts.items())


def _in_words(settings: dict[str, object]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())
