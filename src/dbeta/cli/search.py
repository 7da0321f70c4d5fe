"""The command `dbeta search`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.options import AsJson, Precision, Reading, load_model, with_groups
from dbeta.errors import DBetaError
from dbeta.io.detect import is_recording
from dbeta.io.read import split_record
from dbeta.io.safety.limits import is_file, is_folder
from dbeta.report.console import print_hits, print_notice


@with_groups
def search(
    *,
    query: Annotated[
        str, typer.Argument(help="What to look for, in the words of a report; or a recording's file, as exams.hdf5#17")
    ],
    index: Annotated[Path, typer.Option("--index", help="Index folder written by `dbeta index`")],
    count: Annotated[int, typer.Option("-k", help="Number of recordings to show")] = 10,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint folder or hub ID  \\[default: the index's own model]")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Search for the words, even if they name a file")] = False,
    rerank: Annotated[
        int,
        typer.Option(min=0, help="Read this many of the best again, and sort them by the probability of `dbeta match`"),
    ] = 0,
    reading: Reading,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Find the recordings that match a text best, or that resemble a recording most.

    Example: dbeta search "anterior st elevation" --index runs/index -k 10

    Example: dbeta search record.hea --index runs/index
    """
    from dbeta.inference.search import read_about

    options = reading.arguments()
    file = None if text else _file(query)
    if file is not None and rerank:
        raise DBetaError("--rerank compares recordings with a text; leave it out, or search for words")
    if file is None and any(options.values()):
        raise DBetaError(f"{query!r} is a text query; leave out the options that say how a file is to be read")
    name = read_about(index).get("model") if model is None else model
    hits = load_model(name, precision).search(
        file or query, index, count, rerank_first=rerank, **(options if file else {})
    )
    if as_json:
        from dbeta.inference.findings import to_records

        print(json.dumps(to_records(hits), indent=2))
        return
    print_hits(hits)
    meaning = f"score: cosine similarity of {'the two recordings' if file else 'text and recording'}"
    print_notice(f"{meaning}; match: probability in per cent that the text belongs to it" if rerank else meaning)


def _file(query: str) -> Path | None:
    """The recording that a query names; None if it is words.

    Raises:
        DBetaError: it is a folder, or written like a path without there being such a file.
    """
    if not query.strip():
        return None
    path = Path(query).expanduser()
    _, record = split_record(path)
    if record is not None or is_file(path):
        return path
    name = path.name.partition("#")[0]
    named = path.with_name(name) if name else path
    written = query.startswith(("/", "./", "../", "~")) or is_recording(named) or named.suffix.lower() == ".dat"
    if written and path.name and is_file(path.with_name(f"{path.name}.hea")):
        return path
    if is_folder(path):
        raise DBetaError(f"{query}: is a folder; give a file in it, or add --text to search for these words")
    if written:
        raise DBetaError(f"{query}: there is no such file; check the path, or add --text to search for these words")
    return None
