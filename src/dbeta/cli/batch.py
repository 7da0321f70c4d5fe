"""Commands over many recordings: select the recordings, run the job with a progress bar, report failures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dbeta.archive.selection import Selection, select_recordings
from dbeta.report.console import note, progress

if TYPE_CHECKING:
    from dbeta.archive.jobs import Job
    from dbeta.archive.resumable import Parts


def select(paths: list[Path] | None, list_file: Path | None, shard: str | None, record: str | None = None) -> Selection:
    """The recordings that the options select; all those of a file that holds several, unless `record` names one.

    Raises:
        DBetaError: there is none, or an option is invalid.
    """
    if not paths and list_file is None:
        raise typer.BadParameter("name recordings or folders, or a list of them with --list")
    return select_recordings(paths or [], list_file, shard, inside=record is None, note=note)


def run(job: Job) -> Parts:
    """Run a job, or resume it; Ctrl-C keeps what has been computed of several recordings."""
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
    """Say how many recordings have warnings or failed; with `strict`, exit with 1 if any failed."""
    if parts.warned and job.selection.many:
        note(f"{parts.warned} recordings have warnings; see the column warnings")
    if parts.failed:
        note(f"{len(parts.failed)} of {len(job.files)} recordings could not be used: see {job.errors}")
        if strict:
            raise typer.Exit(1)
