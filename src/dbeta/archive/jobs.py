"""Jobs over many recordings: embed them, diagnose them, or build an index.

An interrupted job resumes when it is started again (see `dbeta.archive.resumable`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from dbeta.archive.index import write_index
from dbeta.archive.resumable import Parts, check_errors_file, make_plan, one_line, write_errors
from dbeta.archive.selection import Selection
from dbeta.archive.tables import (
    EMBEDDINGS,
    FINDINGS,
    WINDOW_FINDINGS,
    embedding_rows,
    finding_rows,
)
from dbeta.errors import DBetaError
from dbeta.inference.dbeta import Compute, DBeta
from dbeta.inference.embed import Embedded, Watch
from dbeta.io.detect import is_recording
from dbeta.io.safety.limits import is_file
from dbeta.signal.windows import warn_all
from dbeta.utils.files import unwritable


class Job(ABC):
    """Embeds recordings and writes rows about them.

        with job.open() as parts:
            job.run(parts, advance)

    Args:
        model: model that embeds the recordings.
        selection: the recordings.
        output: file or folder to write.
        options: keyword arguments of `read_ecg`, for the files.
    """

    name: str
    schema: pa.Schema
    #: What is computed of each window instead of its embedding.
    compute: Compute | None = None

    def __init__(self, model: DBeta, selection: Selection, output: Path, options: dict[str, Any]) -> None:
        """Store the arguments; nothing is computed yet."""
        self.model, self.selection, self.output, self.options = model, selection, output, options
        #: CSV file listing the recordings that failed; named after the output, so that each job has its own.
        self.errors = output.with_name(f"{output.stem}.errors.csv")

    @abstractmethod
    def rows(self, used: Sequence[Embedded]) -> pa.Table:
        """Return the output rows for recordings that could be used."""

    def settings(self) -> dict[str, Any]:
        """Everything that affects the results besides the model and the recordings."""
        return self.options

    def finish(self, parts: Parts) -> None:
        """Write the output once all rows have been computed."""
        parts.write_output()

    def open(self) -> Parts:
        """Open the results computed so far; a context manager that locks out other runs.

        Raises:
            DBetaError: the output would overwrite a recording, or the error file some other file.
        """
        if is_file(self.output) and is_recording(self.output):
            raise DBetaError(f"{self.output}: is a recording and would be overwritten; name another output")
        if self.selection.many:
            check_errors_file(self.errors)
        self.files = self.selection.names
        plan = make_plan(
            self.name,
            self.model.checkpoint_fingerprint(),
            self.files,
            precision=str(self.model.model.dtype),
            settings=self.settings(),
            shard=self.selection.shard,
            version=version("dbeta"),
        )
        return Parts(self.output, plan, self.schema)

    def run(self, parts: Parts, advance: Callable[[int, int], None], watch: Watch | None = None) -> None:
        """Process the remaining recordings, then write the output and the error file.

        Args:
            parts: the results so far, already entered.
            advance: called with the number of recordings processed and in total.
            watch: reports progress within a long recording.

        Raises:
            DBetaError: the output cannot be written; or the recording cannot be used, and it is the only one.
        """
        try:
            advance(parts.done, len(self.files))
            begin = 0
            for source in self.selection.sources:
                rest = source[max(parts.done - begin, 0) :]
                begin += len(source)
                for group in self.model.embed_groups(rest, watch=watch, compute=self.compute, **self.options):
                    self._add(parts, group)
                    advance(parts.done, len(self.files))
            parts.flush()
            if self.selection.many:
                write_errors(self.errors, parts.failed)
            elif parts.failed:
                parts.remove()
                file, reason = next(iter(parts.failed.items()))
                raise DBetaError(f"{file}: {reason}")
            self.finish(parts)
        except OSError as error:
            if not self.selection.many:
                parts.remove()
            raise unwritable(self.output, error, "finished recordings" if self.selection.many else "") from error

    def _add(self, parts: Parts, group: list[Embedded]) -> None:
        files = self.files[parts.done : parts.done + len(group)]
        failed = {
            file: one_line(file, one.error) for file, one in zip(files, group, strict=True) if one.error is not None
        }
        used = [one for one in group if one.error is None]
        if not self.selection.many or "warnings" not in self.schema.names:
            warn_all(note for one in used for note in one.notes)
        parts.add(len(group), self.rows(used), failed, sum(bool(one.notes) for one in used))


class EmbedJob(Job):
    """Writes the embedding of each recording to a Parquet file."""

    name = "embed"
    schema = EMBEDDINGS

    def rows(self, used: Sequence[Embedded]) -> pa.Table:
        """Return one row per recording."""
        return embedding_rows(used)


class DiagnoseJob(Job):
    """Writes the findings of each recording to a Parquet or CSV file.

    Args:
        conditions: conditions in words; None for the common ones.
        windows: write one row per window and condition instead of one per recording and condition.
    """

    def __init__(
        self,
        model: DBeta,
        selection: Selection,
        output: Path,
        options: dict[str, Any],
        *,
        conditions: list[str] | None = None,
        windows: bool = False,
    ) -> None:
        """Embed the conditions."""
        super().__init__(model, selection, output, options)
        self.name = "windows" if windows else "diagnose"
        self.schema = WINDOW_FINDINGS if windows else FINDINGS
        self.windows, self.question = windows, model.ask(conditions)

    def settings(self) -> dict[str, Any]:
        """The conditions and the options."""
        return {"conditions": self.question.names, **self.options}

    def rows(self, used: Sequence[Embedded]) -> pa.Table:
        """Return one row per condition and recording, or per condition and window."""
        return finding_rows(used, self.question, windows=self.windows)


class IndexJob(Job):
    """Builds an index, a folder that `dbeta.inference.search` reads.

    Args:
        model_name: model name as the user gave it; None for the bundled model.
    """

    name = "index"
    schema = EMBEDDINGS

    def __init__(
        self,
        model: DBeta,
        selection: Selection,
        output: Path,
        options: dict[str, Any],
        *,
        model_name: str | None = None,
    ) -> None:
        """Store the arguments; nothing is computed yet."""
        super().__init__(model, selection, output, options)
        self.model_name = model_name
        # Within the folder of parts, which becomes the output
        self.errors = output.with_name(f".{output.name}.partial") / "errors.csv"

    def rows(self, used: Sequence[Embedded]) -> pa.Table:
        """Return one row per recording."""
        return embedding_rows(used)

    def finish(self, parts: Parts) -> None:
        """Write the index next to the parts and turn their folder into the output."""
        width, fingerprint = self.model.model.config.hidden_size, self.model.checkpoint_fingerprint()
        write_index(parts.folder, parts.tables(), width, fingerprint, self.model_name)
        parts.become_output()
        self.errors = self.output / "errors.csv"
