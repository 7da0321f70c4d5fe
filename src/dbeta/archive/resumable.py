"""Stores results of many recordings as they are computed, so that an interrupted run can be resumed.

Finished parts are stored beside the output in the folder `.OUTPUT.partial`; each is written under a temporary name and
then renamed. A part's name gives the positions of its recordings in the list, and the part also contains the names of
those that failed, so no other file has to be kept in sync. The output itself is written at the end, in one step.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from dbeta.errors import DBetaError
from dbeta.utils.files import load_json, replacing, write_text
from dbeta.utils.fingerprints import names_fingerprint

#: A part is written after this many recordings or seconds. A killed run loses at most one part plus one batch.
PART_RECORDINGS, PART_SECONDS = 1024, 10.0
#: Rows per row group of the output.
ROW_GROUP = 32_768
FORMAT = 1

_PART = re.compile(r"(\d{9})-(\d{9})\.parquet")


def make_plan(command: str, model: str, recordings: Iterable[str], **settings: Any) -> dict[str, Any]:
    """Describe everything that must match for a run to resume an interrupted one.

    Args:
        command: name of the computation.
        model: fingerprint of the model.
        recordings: names of the recordings, in order.
        **settings: everything else that affects the results.
    """
    return {
        "format": FORMAT,
        "command": command,
        "model": model,
        "recordings": names_fingerprint(recordings),
        **settings,
    }


class Parts:
    """The results of a run, on disk or waiting to be written; as a context manager, locks out other runs.

    Args:
        output: final file or folder of the run.
        plan: plan of the run (`make_plan`).
        schema: schema of the rows.

    Attributes:
        done: number of recordings processed, including failed ones; always the first ones of the list.
        failed: name of a recording → why it has no result.
        warned: number of recordings with a result and a warning.
        rows: number of rows written.

    Raises:
        DBetaError: on entering, if a run with another plan was interrupted here, or another run is writing.
    """

    def __init__(self, output: Path, plan: dict[str, Any], schema: pa.Schema) -> None:
        """Store the arguments; nothing on disk is touched yet."""
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
        """Start, or resume an interrupted run."""
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DBetaError(f"{self.output}: another run is writing it; wait, or name another output") from None
        try:
            self._resume()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock; after Ctrl-C, first write the results so far."""
        try:
            if kind is KeyboardInterrupt:
                self.flush()
        finally:
            self._lock.release()

    def _resume(self) -> None:
        before = load_json(self.folder / "plan.json")
        if before is None:
            for rest in self.folder.glob("*.parquet*"):
                rest.unlink()
            write_text(self.folder / "plan.json", json.dumps(self.plan, indent=1))
        elif before != self.plan:
            differ = sorted(key for key in {*before, *self.plan} if before.get(key) != self.plan.get(key))
            raise DBetaError(
                f"{self.output}: {self.folder} holds an interrupted run with a different {', '.join(differ)}; resume "
                "that one, name another output, or delete that folder to start over"
            )
        for part in sorted(self.folder.glob("*.parquet*")):
            ends = _PART.fullmatch(part.name)
            about = None
            if ends and int(ends[1]) == self.done:
                with suppress(pa.ArrowException, OSError):  # such as a file cut short by a power failure
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
        """Add the results of the next recordings.

        Args:
            count: number of recordings.
            table: rows of those that could be used.
            failed: recordings that could not be used, with the reason.
            warned: number of usable recordings with warnings.
        """
        self._waiting.append(table)
        self._failed |= failed
        self._warned += warned
        self.done += count
        if self.done - self._begin >= PART_RECORDINGS or time.monotonic() - self._since >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the pending results as a part."""
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
        """Return the rows in order as several tables; one empty table if there are no rows."""
        some = [self.schema.empty_table()]
        for part in self.parts:
            some.append(pq.read_table(part, schema=self.schema))
            if sum(table.num_rows for table in some) >= ROW_GROUP:
                yield pa.concat_tables(some)
                some = []
        if some:
            yield pa.concat_tables(some)

    def write_output(self) -> None:
        """Merge the parts into the output, Parquet or CSV by its suffix, and remove them."""
        # Inside the folder of parts, which a run resumed after a kill removes; `replacing` would leave its file behind
        whole = self.folder / "output"
        writer = (pa_csv.CSVWriter if self.output.suffix == ".csv" else pq.ParquetWriter)(whole, self.schema)
        with writer:
            for table in self.tables():
                writer.write_table(table)
        whole.replace(self.output)
        self.remove()

    def become_output(self) -> None:
        """Rename the folder of parts to the output, including any other files in it, and remove the parts."""
        # Not `replacing`: the folder outlives an interrupted run, which continues in it
        self.folder.rename(self.output)
        for rest in [*self.parts, self.folder / "plan.json", self.folder / "lock"]:
            (self.output / rest.name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the parts and their folder."""
        # The plan first, so that an interrupted removal is not mistaken for an interrupted run
        (self.folder / "plan.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder)


def one_line(name: str, error: str) -> str:
    """Format an error message on one line, without the file name, which has its own column."""
    return " ".join(error.removeprefix(f"{name}: ").removeprefix(f"{Path(name).name}: ").split())


def check_errors_file(file: Path) -> None:
    """Check that the list of failed recordings would not overwrite some other file.

    Raises:
        DBetaError: it would.
    """
    with suppress(FileNotFoundError), file.open("rb") as stream:
        if not stream.readline(64).startswith(b"file,error"):
            raise DBetaError(f"{file}: exists and would be overwritten by the list of failed files; move it elsewhere")


def write_errors(file: Path, failed: dict[str, str]) -> None:
    """Write a CSV file of the recordings that failed and why; remove it if none did."""
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
