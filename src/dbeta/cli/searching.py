"""The commands index and search: recordings found by words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dbeta.cli.batches import Batch, ListFile, Paths, Shard, Strict, gather, report, write_batch
from dbeta.cli.common import AsJson, FixLeads, Leads, Model, Precision, Rate, Record, Units, load_model, reading_options
from dbeta.errors import DBetaError
from dbeta.report.console import note
from dbeta.utils.notice import NOTICE

if TYPE_CHECKING:
    from dbeta.archive.resumable import Parts


def index(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make")],
    paths: Paths = None,
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    fix_leads: FixLeads = False,
    precision: Precision = None,
    list_file: ListFile = None,
    shard: Shard = None,
    strict: Strict = False,
) -> None:
    """Make an index of recordings, of folders of them or of a corpus, in which `dbeta search` finds them by words.

    Example: dbeta index recordings/ --output runs/index

    What was interrupted goes on when the same command is started again; recordings that cannot be used are listed in
    errors.csv in the folder.
    """
    if output.exists():
        raise DBetaError(f"{output}: already exists; name a new folder or remove this one")
    if not output.parent.is_dir():
        raise DBetaError(f"{output}: the folder {output.parent} does not exist; create it first")
    corpus: Any = None
    if paths and len(paths) == 1 and (paths[0] / "corpus.json").is_file():
        if shard is not None or list_file is not None:
            raise DBetaError("a corpus is indexed as a whole; leave out --shard and --list")
        from dbeta.corpus.store import CorpusRecordings

        corpus = CorpusRecordings(paths[0])
        batch = Batch([Path(name) for name in corpus.names], True, "1/1")
    else:
        batch = gather(paths, list_file, shard)
    dbeta = load_model(model, precision)
    from dbeta.archive.index import write_index
    from dbeta.archive.tables import EMBEDDINGS, embedding_rows

    def finish(parts: Parts) -> None:
        width = dbeta.model.config.hidden_size
        write_index(parts.folder, parts.tables(), width, dbeta.checkpoint_fingerprint(), model)
        parts.become_output()

    options = reading_options(fs, leads, record, units, fix_leads)
    errors = output.with_name(f".{output.name}.partial") / "errors.csv"
    write = (batch, dbeta, output, EMBEDDINGS, embedding_rows, finish)
    parts = write_batch("index", *write, errors=errors, recordings=corpus, **options)
    note(f"{parts.rows} recordings in {output}")
    report(parts, output / "errors.csv", batch, strict)


def search(
    text: Annotated[str, typer.Argument(help="In words, as in a report")],
    index: Annotated[Path, typer.Option("--index", help="Folder that `dbeta index` made")],
    count: Annotated[int, typer.Option("-k", help="How many recordings to show")] = 10,
    model: Annotated[str | None, typer.Option(help="As elsewhere  \\[default: the model that made the index]")] = None,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Find the recordings that words describe best.

    Example: dbeta search "anterior st elevation" --index runs/index -k 10
    """
    from dbeta.inference.search import read_about

    name = read_about(index).get("model") if model is None else model
    dbeta = load_model(name, precision)
    hits = dbeta.search(text, index, k=count)
    if as_json:
        from dbeta.inference.dbeta import to_records

        print(json.dumps(to_records(hits), indent=2))
        return
    view = Table()
    for column in ("file", "record", "score"):
        view.add_column(column, justify="right" if column == "score" else "left", overflow="fold")
    for row in hits.to_dict("records"):
        view.add_row(escape(row["file"]), escape(row["record"]), f"{row['score']:+.3f}")
    Console().print(view)
    Console().print(f"[dim]score: cosine of words and recording. {NOTICE}[/]")
