"""Files → model input in worker processes, so that the model never waits for a disk or a parser.

Special here: results come in the order of the files, and no more than a few batches wait in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError, DBetaWarning
from dbeta.preparing import InputFormat, prepare_signal
from dbeta.reading import read_ecg
from dbeta.workers import KILLED, default_workers, map_in_workers

#: Fewer files are read sooner than workers start.
FEWEST_FILES = 32
#: Files that are read or lie ready while the model works, besides one for each worker.
AHEAD = 96


@dataclass
class Prepared:
    """A file as the model reads it, or why it cannot.

    Attributes:
        file: as it was given.
        record: name of the recording.
        signal: (leads, samples) float32; None where the file cannot be used.
        error: the sentence that says why not.
        notes: what it was warned of.
    """

    file: str | Path
    record: str = ""
    signal: np.ndarray | None = None
    error: str | None = None
    notes: list[str] = field(default_factory=list)


def prepare_file(file: str | Path, wanted: InputFormat, options: dict[str, Any]) -> Prepared:
    """Read one file and prepare it; `options` are those of `read_ecg`."""
    done = Prepared(file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DBetaWarning)
        try:
            # A second more than needed, so that resampling has its margin
            ecg = read_ecg(file, duration=wanted.duration + 1, **options)
            done.signal = prepare_signal(ecg, wanted)
            done.record = str(ecg.meta.get("record", ecg.meta["source"]))
        except DBetaError as error:
            done.error = str(error)
    done.notes = [str(one.message) for one in caught if issubclass(one.category, DBetaWarning)]
    return done


def prepare_files(
    files: Sequence[str | Path], wanted: InputFormat, *, workers: int | None = None, **options: Any
) -> Iterator[Prepared]:
    """Read and prepare files, ahead of whoever takes them.

    Args:
        files: what `read_ecg` can read.
        wanted: the model's input.
        workers: processes that read; by default one for each core where there are many files, else none.
        **options: those of `read_ecg`.

    Yields:
        One for each file, in their order; a file that cannot be used is told by its `error`, never raised.
    """
    if workers is None:
        workers = default_workers() if len(files) >= FEWEST_FILES else 0

    def killed(file: str | Path) -> Prepared:
        return Prepared(file, error=f"{file}: {KILLED}")

    prepare = partial(prepare_file, wanted=wanted, options=options)
    yield from map_in_workers(prepare, files, workers=workers, ahead=AHEAD, killed=killed)
