"""Builds a corpus from a raw dataset (`dbeta.corpus.store` describes the format).

Shards are written one at a time and renamed only when complete, so an interrupted build resumes at the first missing
shard. Memory holds the table of records and the few records in progress, never the whole corpus.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dbeta.corpus.card import Tally, write_card
from dbeta.corpus.records import READ_COLUMNS, Outcome, complete_row, read_records
from dbeta.corpus.sources import SOURCES
from dbeta.corpus.sources.base import Source
from dbeta.corpus.store import FORMAT, LISTS, read_shard, shard_name, write_shard
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.utils.files import load_json, remove_unfinished, replacing, unwritable, write_text
from dbeta.utils.fingerprints import source_fingerprint
from dbeta.utils.workers import KILLED, default_workers, map_in_workers

#: Rows per shard: 120 MB for 10 s records at 500 Hz.
SHARD_SIZE = 1024
#: Records per task of a worker.
CHUNK_SIZE = 16
#: Below this many records, starting workers takes longer than reading.
FEWEST_RECORDS = 32
#: Default limit in seconds on the stored length of a recording.
SECONDS = 60.0

Progress = Callable[[int, int], None]


def build_corpus(
    source: str,
    raw: Path,
    out: Path,
    progress: Progress | None = None,
    *,
    seconds: float = SECONDS,
    reading: Mapping[str, Any] | None = None,
    workers: int | None = None,
    shard_size: int = SHARD_SIZE,
) -> dict[str, Any]:
    """Build a corpus folder, or resume an interrupted build.

    Args:
        source: one of `dbeta.corpus.sources.SOURCES`.
        raw: the dataset as downloaded; for "manifest", the CSV or Parquet file.
        out: folder to create; written as `out.partial` and renamed when complete.
        progress: called with (records done, total), including records of an interrupted build.
        seconds: longer recordings are cut to this.
        reading: `sampling_rate`, `leads` and `units` for the files of a manifest, where its own columns are empty.
        workers: reader processes; by default one per core for large datasets, otherwise none.
        shard_size: records per shard.

    Returns:
        The content of `corpus.json`: `records`, `rejected`, `patients`, records per split, `vocabulary`.

    Raises:
        DBetaError: the source is unknown, `raw` is not such a dataset, `out` exists or cannot be written, or no record
            is readable.
    """
    if source not in SOURCES:
        raise DBetaError(f"{source}: unknown source; choose one of {', '.join(SOURCES)}")
    if not raw.exists():
        raise DBetaError(f"{raw}: no such file or folder; name the dataset's folder as downloaded, or a manifest file")
    if source != "manifest" and not raw.is_dir():
        raise DBetaError(f"{raw}: is not a folder; name the folder of the dataset as downloaded")
    if out.exists():
        raise DBetaError(f"{out}: already exists; name a new folder or remove this one")
    if not out.parent.is_dir():
        raise DBetaError(f"{out.parent}: no such folder; create it first")
    if not (math.isfinite(seconds) and seconds > 0):
        raise DBetaError(f"the seconds to store must be a positive number, not {seconds}")
    given = {name: value for name, value in (reading or {}).items() if value is not None}
    if given and source != "manifest":
        options = ", ".join(_OPTIONS[name] for name in given)
        raise DBetaError(f"{options}: {source} states how its files are to be read; leave out {options}")
    content = SOURCES[source](raw)
    _fill(content.table, given)
    if workers is None:
        workers = default_workers() if len(content.table) >= FEWEST_RECORDS else 0
    build = _Build(source, content, out.with_name(out.name + ".partial"), seconds, shard_size, workers)
    words = ["dbeta", "corpus", "build", source, str(raw), str(out)]
    words += ["--seconds", f"{seconds:g}"] if seconds != SECONDS else []
    for name, value in given.items():
        words += [_OPTIONS[name], value if isinstance(value, str) else _in_words(value)]
    command = shlex.join(words)
    try:
        build.prepare()
        build.read(progress or (lambda done, total: None))
        counts = build.finish(raw, command)
        build.folder.rename(out)  # not `replacing`: an interrupted build continues in this folder
        for rest in [out / "plan.json", *out.glob("*.outcome.json")]:
            rest.unlink()
    except OSError as error:
        raise unwritable(out, error, "finished shards") from error
    return counts


#: Columns that say how a file is to be read → options of the command line.
_OPTIONS = {"sampling_rate": "--fs", "leads": "--leads", "units": "--units"}


def _in_words(value: float | list[str]) -> str:
    return ",".join(value) if isinstance(value, list) else f"{value:g}"


def _fill(table: pd.DataFrame, given: Mapping[str, Any]) -> None:
    """Put values into the cells of a table that are empty, and into columns that it lacks."""
    for name, value in given.items():
        own = table[name] if name in table else [None] * len(table)
        table[name] = [value if one is None or one != one or not one else one for one in own]


@dataclass
class _Build:
    """One build; its progress is the content of its folder."""

    source: str
    content: Source
    folder: Path
    seconds: float
    shard_size: int
    workers: int
    shards: list[range] = field(init=False)

    def __post_init__(self) -> None:
        self.shards = _cut(range(len(self.content.table)), self.shard_size)

    def path(self, number: int) -> Path:
        return self.folder / shard_name(number, len(self.shards))

    def outcome(self, number: int) -> Path:
        return self.path(number).with_suffix(".outcome.json")

    def prepare(self) -> None:
        """Create the folder, keeping what an interrupted build with the same plan left there."""
        plan = {
            "format": FORMAT,
            "source": self.source,
            "records": len(self.content.table),
            "table": source_fingerprint(self.content.table, [*LISTS, "leads"]),
            "seconds": self.seconds,
            "shard_size": self.shard_size,
        }
        file = self.folder / "plan.json"
        discard_other_build(self.folder, plan)
        self.folder.mkdir(exist_ok=True)
        if not file.exists():
            write_text(file, json.dumps(plan, indent=2))

    def read(self, progress: Progress) -> None:
        """Read and write the missing shards."""
        table = self.content.table
        missing = [number for number in range(len(self.shards)) if not self.path(number).exists()]
        done = len(table) - sum(len(self.shards[number]) for number in missing)
        if done:
            progress(done, len(table))

        def chunks() -> Iterator[list[dict[str, Any]]]:
            columns = [name for name in READ_COLUMNS if name in table]
            for number in missing:
                yield from (self._records(rows, columns) for rows in _cut(self.shards[number], CHUNK_SIZE))

        def rows(number: int, rejected: list[Any], notes: Counter[str]) -> Iterator[dict[str, Any]]:
            nonlocal done
            for chunk in _cut(self.shards[number], CHUNK_SIZE):
                for record, outcome in zip(self._records(chunk), next(results), strict=True):
                    notes.update(outcome.notes)
                    if outcome.columns is None:
                        rejected.append([record["file"], outcome.error])
                    else:
                        yield complete_row(self.source, record, outcome.columns)
                    done += 1
                    progress(done, len(table))

        with closing(self._outcomes(chunks())) as results:
            for number in missing:
                rejected: list[Any] = []
                notes: Counter[str] = Counter()
                with replacing(self.path(number)) as temporary:
                    write_shard(temporary, rows(number, rejected, notes))
                    write_text(self.outcome(number), json.dumps({"rejected": rejected, "notes": notes}))

    def _records(self, rows: range, columns: list[str] | None = None) -> list[dict[str, Any]]:
        table = self.content.table if columns is None else self.content.table[columns]
        return [
            {str(name): value for name, value in row.items()}
            for row in table[rows.start : rows.stop].to_dict("records")
        ]

    def _outcomes(self, chunks: Iterator[list[dict[str, Any]]]) -> Generator[list[Outcome], None, None]:
        read = partial(read_records, folder=self.content.folder, seconds=self.seconds)

        def killed(chunk: list[dict[str, Any]]) -> list[Outcome]:
            if len(chunk) == 1:
                return [Outcome(None, KILLED)]
            # One of the records kills its process: read each again on its own
            ones = ([record] for record in chunk)
            again = map_in_workers(read, ones, workers=self.workers, ahead=0, killed=killed)
            return [outcome for outcomes in again for outcome in outcomes]

        yield from map_in_workers(read, chunks, workers=self.workers, ahead=2 * self.workers, killed=killed)

    def finish(self, raw: Path, command: str) -> dict[str, Any]:
        """Write the files beside the shards, and return the content of `corpus.json`."""
        tally = Tally()
        rejected: list[tuple[str, str]] = []
        for number in range(len(self.shards)):
            tally.add(read_shard(self.path(number)))
            outcome = json.loads(self.outcome(number).read_text(encoding="utf-8"))
            rejected += [(file, reason) for file, reason in outcome["rejected"]]
            tally.notes.update(outcome["notes"])
        if not tally.records:
            shutil.rmtree(self.folder)
            file, reason = rejected[0]
            raise DBetaError(f"{raw}: no record is readable ({file}: {reason})")
        counts = {
            "format": FORMAT,
            "source": self.source,
            "records": tally.records,
            "patients": len(tally.patients),
            "rejected": len(rejected),
            "splits": dict(tally.splits.most_common()),
            "shards": len(self.shards),
            "vocabulary": self.content.vocabulary,
        }
        pd.DataFrame(rejected, columns=["record", "reason"]).to_csv(self.folder / "rejected.csv", index=False)
        card = write_card(
            counts,
            tally,
            rejected,
            notes=self.content.notes,
            split_rule=self.content.split_rule,
            seconds=self.seconds,
            command=command,
        )
        (self.folder / "README.md").write_text(card, encoding="utf-8")
        write_text(self.folder / "corpus.json", json.dumps(counts, indent=2, ensure_ascii=False) + "\n")
        return counts


def _cut(rows: range, size: int) -> list[range]:
    return [range(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]


def discard_other_build(folder: Path, plan: Mapping[str, Any]) -> None:
    """Delete the folder of an interrupted build that had another plan.

    Args:
        folder: of the build, `out.partial`.
        plan: of the new build.

    Raises:
        DBetaError: the folder holds something other than an interrupted build.
    """
    file = folder / "plan.json"
    if not folder.exists() or load_json(file) == plan:
        remove_unfinished(folder)
        return
    if not file.exists() and any(folder.iterdir()):
        raise DBetaError(f"{folder}: exists but is not an interrupted build; move it or name another folder")
    if file.exists():
        message = "was started from other records or with other settings; starting over"
        warnings.warn(f"{folder}: {message}", DBetaWarning, stacklevel=4)
    shutil.rmtree(folder)
