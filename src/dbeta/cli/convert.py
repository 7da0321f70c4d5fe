"""The command `dbeta convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbeta.cli.options import silence_libraries
from dbeta.errors import DBetaError
from dbeta.report.console import note, progress

if TYPE_CHECKING:
    from dbeta.model.config import DBetaConfig


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' .pt file, or with --to-official a dbeta folder")],
    out: Annotated[Path, typer.Argument(help="Folder to create, or with --to-official the .pt file to write")],
    tokenizer: Annotated[Path | None, typer.Option(help="Folder of the text encoder's tokenizer")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Setting not stored in the tensors, such as ecg_heads=12"),
    ] = None,
    to_official: Annotated[bool, typer.Option("--to-official", help="Convert back to the authors' layout")] = False,
) -> None:
    """Convert a checkpoint of the authors' code, or convert it back.

    Sizes are inferred from the tensors. Other settings are those of the published model, unless --set overrides them.

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
            raise DBetaError("--tokenizer: the authors' layout has no tokenizer; leave it out")
        with progress("converting") as advance:
            lost = export_official(checkpoint, out, settings=settings, advance=advance)
        note(f"{out} written")
        if lost:
            note(f"not stored in that layout; pass with --set when converting back: {_in_words(lost)}")
        return
    with progress("converting") as advance:
        config = convert_official(checkpoint, out, tokenizer=tokenizer, settings=settings, advance=advance)
    note(f"{out} contains {PARTS_IN_WORDS[config.parts]}; layers: {layer_counts(config)}")
    guessed = {name: value for name, value in unheld(config).items() if name.endswith(("_heads", "_layer"))}
    note(f"assumed, as not stored in the tensors: {_in_words(guessed)} and more (see README.md); --set overrides it")
    if tokenizer is None and config.parts != "ecg":
        note(f"no tokenizer: the model can embed recordings, but diagnose needs one. {TOKENIZER_HINT.replace('`', '')}")


def layer_counts(config: DBetaConfig) -> str:
    """Count the layers of each stack: the only sign that a checkpoint lost its last layer."""
    counts = {"ECG encoder": config.ecg_layers}
    if config.parts != "ecg":
        counts["text encoder"] = config.text_config.num_layers
    if config.parts == "all":
        counts |= {"fusion": config.fusion_layers, "MEM decoder": config.mem_layers}
    return ", ".join(f"{part} {count}" for part, count in counts.items())


def _in_words(settings: dict[str, object]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())
