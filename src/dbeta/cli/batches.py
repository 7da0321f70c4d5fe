"""The commands over many recordings: which ones are meant, and the run that writes their results."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta import __version__
from dbeta.errors import DBetaError
from dbeta.io.detect import is_recording
from dbeta.io.read import search_folder
from dbeta.io.safety.limits import is_file, is_folder
from dbeta.report.console import note, progress

if TYPE_CHECKING:
    import pyarrow as pa

    from dbeta.archive.resumable import Parts
    from dbeta.ecg import ECG
    from dbeta.inference.dbeta import DBeta
    from dbeta.inference.embed import Embedded

Paths = Annotated[list[Path] | None, typer.Argument(help="Recordings or folders of recordings")]
ListFile = Annotated[
    Path | None, typer.Option("--list", metavar="FILE", help='Further paths, one a line; "-" reads them from stdin')
]
Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Only every N-th recording, from the I-th on: for N jobs with an output each"),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any recording of many cannot be used")]


@dataclass
class Batch:
    """Recordings that a command was given.

    Attributes:
        files: in order, each once; those of the shard.
        many: whether they are a batch: several, a folder, a list, a shard.
        shard: as in "2/8".
    """

    files: list[Path]
    many: bool
    shard: str


def gather(paths: Sequence[Path] | None, list_file: Path | None, shard: str | None) -> Batch:
    """The recordings that are meant; those of a folder are sorted by name.

    Raises:
        DBetaError: there is none, the list cannot be read, or the shard is none.
    """
    if not paths and list_file is None:
        raise typer.BadParameter("name recordings or folders, or a list of them with --list")
    number, count = _parse_shard(shard) if shard is not None else (1, 1)
    given = [*(paths or []), *([] if list_file is None else _read_list(list_file))]
    found: list[Path] = []
    many = list_file is not None
    for path in given:
        if not is_folder(path):
            found.append(path)
            continue
        many = True
        inside, notes = search_folder(path)
        found += inside
        for text in notes:
            note(text)
    files = list(dict.fromkeys(found))
    if not files:
        places = [*(paths or []), *([list_file] if list_file else [])]
        raise DBetaError(f"{', '.join(map(str, places))}: no recording was found there")
    if shard is None:
        return Batch(files, many or len(files) > 1, "1/1")
    return Batch(files[number - 1 :: count], True, f"{number}/{count}")


def _parse_shard(shard: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise DBetaError(f"--shard: write it as I/N, from 1/N to N/N, not {shard!r}")
    return number, count


def _read_list(file: Path) -> list[Path]:
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise DBetaError(f"{file}: the list cannot be read ({error.strerror}); check the path") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes one
        content = content.decode("utf-16", "replace").encode()
    if b"\0" in content:
        raise DBetaError(f"{file}: is no list of paths; write one a line, in UTF-8")
    return [Path(line.strip()) for line in os.fsdecode(content).split("\n") if line.strip()]


def errors_file(output: Path) -> Path:
    """Where the recordings that failed are listed: beside the output and named for it, so that each run has its own."""
    return output.with_name(f"{output.stem}.errors.csv")


def write_batch(
    command: str,
    batch: Batch,
    dbeta: DBeta,
    output: Path,
    schema: pa.Schema,
    tabulate: Callable[[Sequence[Embedded]], pa.Table],
    finish: Callable[[Parts], None],
    *,
    errors: Path,
    recordings: Sequence[ECG | Path] | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Parts:
    """Embed the recordings that are not done yet, and write what is made of them.

    Args:
        command: its name.
        batch: the recordings' files.
        dbeta: the model.
        output: what is made in the end.
        schema: of the rows.
        tabulate: makes rows of recordings that could be used.
        finish: makes the output of all rows.
        errors: where those that failed are listed.
        recordings: what is embedded, where it is not files; the batch's are their names then.
        settings: what else decides the results.
        **options: those of `read_ecg`.

    Raises:
        DBetaError: the recording cannot be used, and there is no other; or the output would replace a recording.
    """
    from dbeta.archive.resumable import Parts, check_errors_file, make_plan, run_batch, write_errors
    from dbeta.archive.tables import file_name
    from dbeta.signal.windows import warn_all

    if is_file(output) and is_recording(output):
        raise DBetaError(f"{output}: is a recording, which would be replaced; name another output")
    names = [file_name(file) for file in batch.files]
    if batch.many:
        check_errors_file(errors)
    plan = make_plan(
        *(command, dbeta.checkpoint_fingerprint(), names),
        precision=str(dbeta.model.dtype),
        settings={**(settings or {}), **options},
        shard=batch.shard,
        version=__version__,
    )
    found = batch.files if recordings is None else recordings

    def rows(used: Sequence[Embedded]) -> pa.Table:
        if not batch.many or "warnings" not in schema.names:
            warn_all(note for one in used for note in one.notes)
        return tabulate(used)

    with Parts(output, plan, schema) as parts, abandoned(parts, batch), progress(command, lines=batch.many) as advance:
        if parts.done:
            note(f"{parts.done} of {len(names)} recordings were done before; goes on from there")
        advance(parts.done, len(names))
        groups = dbeta.embed_groups(found[parts.done :], watch=advance.within, **options)
        run_batch(parts, groups, names, rows, lambda done: advance(done, len(names)))
        if batch.many:
            write_errors(errors, parts.failed)
        elif parts.failed:
            parts.remove()
            name, reason = next(iter(parts.failed.items()))
            raise DBetaError(f"{name}: {reason}")
        finish(parts)
    return parts


@contextmanager
def abandoned(parts: Parts, batch: Batch) -> Iterator[None]:
    """What remains of a run that ends early: of many recordings all that was done, of one nothing."""
    try:
        yield
    except KeyboardInterrupt:
        note("interrupted; the same command goes on from here")
        raise
    except OSError:
        if not batch.many:
            parts.remove()
        raise


def report(parts: Parts, errors: Path, batch: Batch, strict: bool) -> None:
    """Say what could not be used, and exit accordingly."""
    if parts.warned and batch.many:
        note(f"{parts.warned} recordings have warnings; the column warnings has them")
    if parts.failed:
        note(f"{len(parts.failed)} of {len(batch.files)} recordings could not be used: see {errors}")
        if strict:
            raise typer.Exit(1)
