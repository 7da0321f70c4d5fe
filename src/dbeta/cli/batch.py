"""Common parts of commands over many recordings: selection, progress bar, report of failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dbeta.archive.selection import Selection, select_recordings
from dbeta.cli.options import Batch, Reading
from dbeta.errors import DBetaError
from dbeta.report.console import note, progress

if TYPE_CHECKING:
    from dbeta.archive.jobs import Job
    from dbeta.archive.resumable import Parts


def select(batch: Batch, reading: Reading) -> Selection:
    """Return the recordings that the options select: all of a file that holds several, unless `--record` names one.

    Raises:
        DBetaError: there are none, or an option is invalid.
    """
    if not batch.paths and batch.list_file is None:
        raise typer.BadParameter("name recordings or folders, or a list of them with --list")
    selection = select_recordings(
        batch.paths or [], batch.list_file, batch.shard, inside=reading.record is None, note=note
    )
    if selection.corpora and not selection.files and any(reading.arguments().values()):
        raise DBetaError(
            f"{selection.corpora[0].path}: is a corpus, whose recordings are stored in mV with their rate and leads; "
            "leave out the options that say how files are to be read"
        )
    return selection


def run(job: Job) -> Parts:
    """Run or resume a job; after Ctrl-C, the results so far of several recordings are kept."""
    try:
        with job.open() as parts, progress(job.name, lines=job.selection.many) as advance:
            if parts.done:
                note(f"resuming: {parts.done} of {len(job.files)} recordings were done before")
            job.run(parts, advance, advance.within)
    except KeyboardInterrupt:
        note("interrupted; run the same command again to resume")
        raise
    return parts


def report_failures(job: Job, parts: Parts, *, strict: bool) -> None:
    """Report how many recordings have warnings or failed; with `strict`, exit with 1 if any failed."""
    if parts.warned and job.selection.many:
        note(f"{parts.warned} recordings have warnings; see the column warnings")
    if parts.failed:
        note(f"{len(parts.failed)} of {len(job.files)} recordings could not be used: see {job.errors}")
        if strict:
            raise typer.Exit(1)
