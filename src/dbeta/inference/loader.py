"""Reads recordings and prepares windows of model input, ahead of the model in worker processes.

Results come in the order of the recordings, and only a few batches wait in memory; long recordings come in pieces.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import ECG, FLAT
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError
from dbeta.io.read import as_ecg, read_ecg
from dbeta.signal.preprocess import InputFormat
from dbeta.signal.quality import assess_quality
from dbeta.signal.windows import cut_windows, first_stretch, later_stretches, window_at, window_starts
from dbeta.utils.workers import KILLED, default_workers, map_in_workers

#: With fewer files, starting workers takes longer than reading.
FEWEST_FILES = 32
#: Files being read or waiting for the model, in addition to one per worker.
AHEAD = 96
#: The same for pieces of one long recording.
PIECES_AHEAD = 2
#: Processes that read one long recording; more would outpace any model.
MOST_FOR_ONE = 4


@dataclass
class Prepared:
    """A recording or a piece of it as model input, or the reason it cannot be used.

    Attributes:
        file: the recording as it was given.
        record: its ID in the file, or the file's name; empty for an `ECG` without either.
        name: file name and ID, as in "exams.hdf5#17".
        starts: (n,) start in seconds of each window that holds a signal.
        windows: (n, leads, samples) float32; None if the recording cannot be used.
        qualities: verdict on each window, and the reason if it is "unusable" (see `dbeta.signal.quality`).
        alive: (n, leads) bool, which leads carry a signal in each window.
        lost: number of windows without any signal.
        end: where this piece ends, in seconds from the recording's start.
        duration: of the whole recording, in seconds.
        last: whether this is the last piece of the recording.
        error: why the recording cannot be used.
        notes: warnings about it.
    """

    file: ECG | str | Path
    record: str = ""
    name: str = ""
    starts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    windows: np.ndarray | None = None
    qualities: list[tuple[str, str]] = field(default_factory=list)
    alive: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
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
        file: an `ECG`, or a file that `read_ecg` can read.
        wanted: the model's input format.
        options: keyword arguments of `read_ecg`.
        starts: of the windows to prepare, in seconds; None for those of the first minute, which are all windows of most
            recordings.
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
            # Only this stretch lacks signal; others may have some
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
    done.qualities = [(one.verdict, one.reason) for one in found]  # compact: a day has thousands
    done.alive = np.ptp(done.windows, axis=2) >= FLAT
    done.lost = len(starts) - len(done.starts)
    done.end = float(starts[-1]) + window
    full = float(ecg.meta.get("duration", 0.0))
    if isinstance(file, ECG) and done.last and full > done.duration + 1:
        message = f"{done.name}: {full:.1f} s long, only the first {done.end:g} s are used"
        warnings.warn(message, DBetaWarning, stacklevel=2)


def prepare_files(
    files: Iterable[ECG | str | Path], wanted: InputFormat, *, workers: int | None = None, **options: Any
) -> Iterator[Prepared]:
    """Read and prepare recordings ahead of the caller.

    Args:
        files: that `read_ecg` can read, or ECGs, which are prepared in this process.
        wanted: the model's input format.
        workers: number of reading processes; by default one per core if there are many files, else none except for
            recordings longer than a minute.
        **options: keyword arguments of `read_ecg`.

    Yields:
        One or more pieces per recording, in order; errors are stored in `error`, never raised.
    """
    if workers is None:
        # Only lists and tuples: a corpus would decode every recording for this check
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
    """The remaining pieces of a long recording, up to the first that cannot be read."""
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
