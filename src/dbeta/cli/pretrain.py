"""The command `dbeta pretrain`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.options import AsJson, silence_libraries
from dbeta.report.console import note, print_estimate


def pretrain(
    recipe: Annotated[Path, typer.Argument(help="Training recipe, such as recipes/tiny.yaml")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, such as training.num_train_epochs=2"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Checkpoint folder  \\[default: from the recipe]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the recipe and its parameters, memory, steps and time")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model according to a recipe.

    Example: dbeta pretrain recipes/tiny.yaml --set training.num_train_epochs=2 --output runs/short

    Several processes: torchrun --nproc-per-node 2 -m dbeta.cli pretrain recipes/base.yaml
    """
    from dbeta.training.recipe import load_recipe

    if as_json and not dry_run:
        raise typer.BadParameter("--json requires --dry-run")
    silence_libraries()
    changes = [*(changes or []), *([f"output={output}"] if output else [])]
    settings = load_recipe(recipe, changes)
    if dry_run:
        from dbeta.training.estimate import estimate, show

        found = show(settings, estimate(settings))
        if as_json:
            print(json.dumps(found, indent=2))
        else:
            print_estimate(found)
        return
    from dbeta.training.pretrain import pretrain as run

    written = run(settings, resume=resume)
    if int(os.environ.get("RANK", "0")) == 0:
        note(f"checkpoint in {written}")
