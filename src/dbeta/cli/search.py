"""The command `dbeta search`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.options import AsJson, Precision, load_model
from dbeta.report.console import print_hits, print_notice


def search(
    text: Annotated[str, typer.Argument(help="What to look for, in the words of a report")],
    index: Annotated[Path, typer.Option("--index", help="Index folder written by `dbeta index`")],
    count: Annotated[int, typer.Option("-k", help="Number of recordings to show")] = 10,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint folder or hub ID  \\[default: the index's own model]")
    ] = None,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Find the recordings that match a text best.

    Example: dbeta search "anterior st elevation" --index runs/index -k 10
    """
    from dbeta.inference.search import read_about

    name = read_about(index).get("model") if model is None else model
    hits = load_model(name, precision).search(text, index, k=count)
    if as_json:
        from dbeta.inference.findings import to_records

        print(json.dumps(to_records(hits), indent=2))
        return
    print_hits(hits)
    print_notice("score: cosine similarity of text and recording")
