"""Recordings → windows of model input, files in worker processes, so that the model never waits for a disk or a parser.

Special here: results come in the order of the recordings, and no more than a few batches wait in memory; a recording of
a day comes in pieces.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError
from dbeta.io.read import as_ecg, read_ecg
from dbeta.signal.preprocess import InputFormat
from dbeta.signal.quality import assess_quality
from dbeta.signal.windows import cut_windows, first_stretch, later_stretches, window_at, window_starts
from dbeta.utils.workers import KILLED, default_workers, map_in_workers

#: Fewer files are read sooner than workers start.
FEWEST_FILES = 32
#: Files that are read or lie ready while the model works, besides one for each worker.
AHEAD = 96
#: The same for pieces of one long recording.
PIECES_AHEAD = 2
#: One long recording is read faster than any model takes it by so many processes.
MOST_FOR_ONE = 4


@dataclass
class Prepared:
    """A recording as the model reads it, or a piece of it, or why it cannot be used.

    Attributes:
        file: the recording as it was given.
        record: its id in its file, or the file's name; empty for an `ECG` that has none.
        name: file's name and id, as in "exams.hdf5#17".
        starts: (n,) seconds at which windows begin, of those that hold a signal.
        windows: (n, leads, samples) float32; None where the recording cannot be used.
        qualities: verdict on each window, and the reason where it is "unusable" (see `dbeta.signal.quality`).
        lost: further windows, in which there is no signal.
        end: seconds of the recording that this piece and those before it cover.
        duration: of the whole recording, seconds.
        last: no further piece of this recording follows.
        error: the sentence that says why it cannot be used.
        notes: what it was warned of.
    """

    file: ECG | str | Path
    record: str = ""
    name: str = ""
    starts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    windows: np.ndarray | None = None
    qualities: list[tuple[str, str]] = field(default_factory=list)
    lost: int = 0
    end: float = 0.0
    duration: float = 0.0
    last: bool = True
    error: str | None = None
    notes: list[str] = field(default_factory=list)


def prepare_file(
    file: ECG | str | Path, wanted: InputFormat, options: dict[str, Any], starts: np.ndarray | None = None
) -> Prepared:
    """Read a recording and prepare its windows.

    Args:
        file: an `ECG`, or what `read_ecg` can read.
        wanted: the model's input.
        options: those of `read_ecg`.
        starts: of the windows that are wanted, seconds; None for those at the beginning, which are all of a recording
            of ten seconds or a minute.
    """
    done = Prepared(file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DBetaWarning)
        try:
            _prepare(done, wanted, options, starts)
        except DBetaError as error:
            done.error, done.windows, done.last = str(error), None, True
    done.notes = [str(one.message) for one in caught if issubclass(one.category, DBetaWarning)]
    return done


def _prepare(done: Prepared, wanted: InputFormat, options: dict[str, Any], starts: np.ndarray | None) -> None:
    window, file = wanted.duration, done.file
    offset = 0.0 if starts is None else float(starts[0])
    seconds = first_stretch(window) if starts is None else float(starts[-1]) - offset + window
    if isinstance(file, str | Path):
        try:
            ecg = read_ecg(file, start=offset, duration=seconds, **options)
        except NoSignalError as error:
            if error.duration is None or error.duration <= seconds:
                raise
            # Hours of a recording may be missing
            silence = np.full((len(wanted.leads), round(seconds * wanted.sampling_rate)), np.nan, np.float32)
            meta = {"source": Path(file).name, "duration": error.duration}
            ecg = ECG(silence, wanted.sampling_rate, wanted.leads, meta=meta)
        done.duration = float(ecg.meta["duration"])
    else:
        whole = as_ecg(file)
        done.duration = whole.duration
        begin, end = (round(at * whole.sampling_rate) for at in (offset, offset + seconds))
        ecg = ECG(whole.signal[:, begin:end], whole.sampling_rate, whole.leads, meta=whole.meta)
    done.record = str(ecg.meta.get("record", ecg.meta.get("source", "")))
    done.name = f"{ecg.meta.get('source', 'recording')}#{ecg.meta['record']}" if "record" in ecg.meta else done.record
    every = window_starts(done.duration, window)
    if starts is None:
        read = offset + ecg.duration
        later = later_stretches(every, read, window)
        starts = every[: len(every) - sum(map(len, later))]
        done.last = not later
    done.starts, done.windows = cut_windows(ecg, starts, wanted, offset)
    found = [assess_quality(window_at(ecg, start, wanted, offset)) for start in done.starts]
    done.qualities = [(one.verdict, one.reason) for one in found]  # thousands of a day are kept
    done.lost = len(starts) - len(done.starts)
    done.end = float(starts[-1]) + window
    full = float(ecg.meta.get("duration", 0.0))
    if isinstance(file, ECG) and done.last and full > done.duration + 1:
        message = f"{done.name}: {full:.1f} s long, only the first {done.end:g} s are used"
        warnings.warn(message, DBetaWarning, stacklevel=2)


def prepare_files(
    files: Iterable[ECG | str | Path], wanted: InputFormat, *, workers: int | None = None, **options: Any
) -> Iterator[Prepared]:
    """Read and prepare recordings, ahead of whoever takes them.

    Args:
        files: what `read_ecg` can read, or ECGs, which are prepared in this process.
        wanted: the model's input.
        workers: processes that read; by default one for each core where there are many files, else none but for what
            is longer than a minute.
        **options: those of `read_ecg`.

    Yields:
        One or more for each recording, in their order; one that cannot be used is told by its `error`, never raised.
    """
    if workers is None:
        # Not any sequence: a corpus would decode each recording to tell
        many = isinstance(files, list | tuple) and len(files) >= FEWEST_FILES
        many = many and not any(isinstance(file, ECG) for file in files)
        workers = default_workers() if many else 0

    def killed(file: ECG | str | Path) -> Prepared:
        return Prepared(file, error=f"{file}: {KILLED}")

    prepare = partial(prepare_file, wanted=wanted, options=options)
    for first in map_in_workers(prepare, files, workers=workers, ahead=AHEAD, killed=killed):
        yield first
        if not first.last:
            yield from _prepare_rest(first, wanted, options, workers)


def _prepare_rest(first: Prepared, wanted: InputFormat, options: dict[str, Any], workers: int) -> Iterator[Prepared]:
    """The further pieces of a long recording, up to the first that cannot be read."""
    pieces = later_stretches(window_starts(first.duration, wanted.duration), first.end, wanted.duration)
    if isinstance(first.file, ECG):
        workers = 0
    elif workers == 0:
        workers = min(default_workers(), MOST_FOR_ONE)

    def killed(starts: np.ndarray) -> Prepared:
        return Prepared(first.file, error=f"{first.file}: {KILLED}")

    prepare = partial(_prepare_piece, first.file, wanted, options)
    for i, piece in enumerate(map_in_workers(prepare, pieces, workers=workers, ahead=PIECES_AHEAD, killed=killed), 1):
        piece.file, piece.last = first.file, piece.error is not None or i == len(pieces)
        piece.end, piece.duration = float(pieces[i - 1][-1]) + wanted.duration, first.duration
        yield piece
        if piece.last:
            return


def _prepare_piece(
    file: ECG | str | Path, wanted: InputFormat, options: dict[str, Any], starts: np.ndarray
) -> Prepared:
    return prepare_file(file, wanted, options, starts)
