"""Results of thousands of recordings, written as they come, so that a run that was killed goes on where it was.

Special here: what is done lies beside the output as `.OUTPUT.partial`, in parts that are renamed when they are whole. A
part is named by the places of its recordings in the list and carries the names of those that failed, so that nothing
else need be kept in step with it. The output itself appears at the end, at once.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from dbeta.errors import DBetaError
from dbeta.inference.embed import Embedded
from dbeta.utils.files import load_json, replacing, write_text

#: A part is written after so many recordings or seconds: what a killed run loses at most, besides one group.
PART_RECORDINGS, PART_SECONDS = 1024, 10.0
#: Rows of the output's row groups.
ROW_GROUP = 32_768
FORMAT = 1

_PART = re.compile(r"(\d{9})-(\d{9})\.parquet")


def make_plan(command: str, model: str, recordings: Iterable[str], **settings: Any) -> dict[str, Any]:
    """What must be the same for a run to go on with what another began.

    Args:
        command: what is computed.
        model: fingerprint of the model.
        recordings: names in order.
        **settings: whatever else decides the results.
    """
    digest = hashlib.sha256()
    for name in recordings:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return {"format": FORMAT, "command": command, "model": model, "recordings": digest.hexdigest(), **settings}


class Parts:
    """The results of a run that are on the disk, and those that soon will be; a context in which no other run writes.

    Args:
        output: what the run makes in the end.
        plan: of the run (`make_plan`).
        schema: of the rows.

    Attributes:
        done: recordings of which results are here, those that failed included; they are the first of the list.
        failed: name of a recording → why it has no result.
        warned: how many recordings have a result and a warning.
        rows: how many results are here.

    Raises:
        DBetaError: a run with another plan was interrupted here, or another run is writing.
    """

    def __init__(self, output: Path, plan: dict[str, Any], schema: pa.Schema) -> None:
        """Find what an earlier start left."""
        self.output, self.plan, self.schema = output, plan, schema
        self.folder = output.with_name(f".{output.name}.partial")
        self.done = self.rows = self.warned = 0
        self.failed: dict[str, str] = {}
        self.parts: list[Path] = []
        self._lock = FileLock(self.folder / "lock")
        self._waiting: list[pa.Table] = []
        self._failed: dict[str, str] = {}
        self._warned = 0
        self._begin, self._since = 0, time.monotonic()

    def __enter__(self) -> Parts:
        """Begin, or go on."""
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DBetaError(f"{self.output}: another run is writing it; wait for that, or name another file") from None
        try:
            self._go_on()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others write; keep what was computed until Ctrl-C."""
        try:
            if kind is KeyboardInterrupt:
                self.flush()
        finally:
            self._lock.release()

    def _go_on(self) -> None:
        before = load_json(self.folder / "plan.json")
        if before is None:
            for rest in self.folder.glob("*.parquet*"):
                rest.unlink()
            write_text(self.folder / "plan.json", json.dumps(self.plan, indent=1))
        elif before != self.plan:
            differ = sorted(key for key in {*before, *self.plan} if before.get(key) != self.plan.get(key))
            raise DBetaError(
                f"{self.output}: an interrupted run with another {', '.join(differ)} lies in {self.folder}; start that "
                "one again, name another output, or delete that folder to start anew"
            )
        for part in sorted(self.folder.glob("*.parquet*")):
            ends = _PART.fullmatch(part.name)
            about = None
            if ends and int(ends[1]) == self.done:
                with suppress(pa.ArrowException, OSError):  # no more than a power failure leaves
                    about = pq.read_metadata(part)
            if ends is None or about is None:
                part.unlink()
                continue
            outcome = json.loads(about.metadata[b"outcome"])
            self.failed |= outcome["failed"]
            self.warned += outcome["warned"]
            self.rows += about.num_rows
            self.parts.append(part)
            self.done = self._begin = int(ends[2])

    def add(self, count: int, table: pa.Table, failed: dict[str, str], warned: int) -> None:
        """Take the results of the next recordings.

        Args:
            count: how many they are.
            table: rows of those that could be used.
            failed: the others, with the reason.
            warned: how many of those that could be used have warnings.
        """
        self._waiting.append(table)
        self._failed |= failed
        self._warned += warned
        self.done += count
        if self.done - self._begin >= PART_RECORDINGS or time.monotonic() - self._since >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        if self.done > self._begin:
            part = self.folder / f"{self._begin:09d}-{self.done:09d}.parquet"
            table = pa.concat_tables(self._waiting)
            outcome = json.dumps({"failed": self._failed, "warned": self._warned})
            with replacing(part) as temporary:
                pq.write_table(table.replace_schema_metadata({"outcome": outcome}), temporary)
            self.parts.append(part)
            self.rows += table.num_rows
            self.failed |= self._failed
            self.warned += self._warned
        self._waiting, self._failed, self._warned = [], {}, 0
        self._begin, self._since = self.done, time.monotonic()

    def tables(self) -> Iterator[pa.Table]:
        """The rows in order, some at a time; one empty table where there are none."""
        some = [self.schema.empty_table()]
        for part in self.parts:
            some.append(pq.read_table(part, schema=self.schema))
            if sum(table.num_rows for table in some) >= ROW_GROUP:
                yield pa.concat_tables(some)
                some = []
        if some:
            yield pa.concat_tables(some)

    def write_output(self) -> None:
        """Make the output of the parts, a Parquet or CSV file by its name's ending, and remove them."""
        with replacing(self.output) as temporary:
            if self.output.suffix == ".csv":
                writer = pa_csv.CSVWriter(temporary, self.schema)
            else:
                writer = pq.ParquetWriter(temporary, self.schema)
            with writer:
                for table in self.tables():
                    writer.write_table(table)
        self.remove()

    def become_output(self) -> None:
        """Make the folder the output, with what else was written into it."""
        self.folder.rename(self.output)
        for rest in [*self.parts, self.folder / "plan.json", self.folder / "lock"]:
            (self.output / rest.name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the parts, and their folder."""
        # First, so that what a kill leaves is begun anew and never taken for a run
        (self.folder / "plan.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder)


def run_batch(
    parts: Parts,
    groups: Iterable[Sequence[Embedded]],
    names: Sequence[str],
    tabulate: Callable[[Sequence[Embedded]], pa.Table],
    advance: Callable[[int], None],
) -> None:
    """Work through the recordings that are left, and write what comes.

    Args:
        parts: what is done and where the rest goes.
        groups: the recordings behind `parts.done`, in order.
        names: of all recordings.
        tabulate: makes rows of recordings that could be used.
        advance: is told how many are done.
    """
    for group in groups:
        pairs = zip(names[parts.done : parts.done + len(group)], group, strict=True)
        failed = {name: _reason(name, one.error) for name, one in pairs if one.error is not None}
        used = [one for one in group if one.error is None]
        parts.add(len(group), tabulate(used), failed, sum(bool(one.notes) for one in used))
        advance(parts.done)
    parts.flush()


def _reason(name: str, error: str) -> str:
    """The sentence in one line, without the file's name, which stands beside it."""
    return " ".join(error.removeprefix(f"{name}: ").removeprefix(f"{Path(name).name}: ").split())


def check_errors_file(file: Path) -> None:
    """Refuse to overwrite a file of errors that is not one.

    Raises:
        DBetaError: it is something else.
    """
    with suppress(FileNotFoundError), file.open("rb") as stream:
        if not stream.readline(64).startswith(b"file,error"):
            raise DBetaError(f"{file}: is in the way, the files that fail are listed there; move it elsewhere")


def write_errors(file: Path, failed: dict[str, str]) -> None:
    """Write a table of errors: a line for each recording that failed, with the reason; no file where none did."""
    if not failed:
        file.unlink(missing_ok=True)
        return
    with (
        replacing(file) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        lines = csv.writer(stream)
        lines.writerow(["file", "error"])
        lines.writerows(failed.items())
