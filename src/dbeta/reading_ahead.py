"""Files → model input in worker processes, so that the model never waits for a disk or a parser.

Special here: workers are loky's, which, unlike those of `multiprocessing`, neither copy a process that runs threads
nor need the `if __name__ == "__main__"` of their caller's script; results come in the order of the files, and no more
than a few batches wait in memory.
"""

from __future__ import annotations

import itertools
import os
import signal
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from dbeta.errors import DBetaError, DBetaWarning
from dbeta.preparing import InputFormat, prepare_signal
from dbeta.reading import read_ecg

#: Fewer files are read sooner than workers start.
FEWEST_FILES = 32
#: Reading is done before so many processes share it.
MOST_WORKERS = 16
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
        workers = min(_cores(), MOST_WORKERS) if len(files) >= FEWEST_FILES else 0
    if workers == 0:
        for file in files:
            yield prepare_file(file, wanted, options)
        return
    executor = _start(workers)

    def submit(file: str | Path) -> Any:
        nonlocal executor
        try:
            return executor.submit(prepare_file, file, wanted, options)
        except RuntimeError:  # a worker died since
            executor = _start(workers)
            return executor.submit(prepare_file, file, wanted, options)

    def alone(file: str | Path) -> Prepared:
        try:
            return submit(file).result()
        except BrokenExecutor:
            reason = "reading it killed the process that read it; it may be too large or hostile"
            return Prepared(file, error=f"{file}: {reason}")

    waiting: deque[tuple[str | Path, Any]] = deque()
    left = iter(files)
    try:
        while True:
            for file in itertools.islice(left, AHEAD + workers - len(waiting)):
                waiting.append((file, submit(file)))
            if not waiting:
                return
            file, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenExecutor:
                # A worker died, perhaps of its file, and with it all that was under way: each is read again, alone
                lost = [file, *(file for file, _ in waiting)]
                waiting.clear()
                yield from map(alone, lost)
    finally:
        for _, future in waiting:
            future.cancel()


def _start(workers: int) -> Any:
    from loky import get_reusable_executor

    # One thread for each worker: the cores are shared already
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return get_reusable_executor(max_workers=workers, initializer=start_worker, env=threads)


def start_worker() -> None:
    """What each worker does first."""
    # Ctrl-C is for the program, which then ends its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        # The model's threads wait for each other, so one that must wait for a reader holds up all
        os.nice(10)
    quicken_wfdb()


def quicken_wfdb() -> None:
    """Give wfdb its tables of header fields as dictionaries, in a process of our own.

    It looks each field of each lead up in a DataFrame, which is 12 of the 14 ms that reading a 12-lead record takes.
    """
    from wfdb.io import _header

    for name in ("SIGNAL_SPECS", "RECORD_SPECS"):
        table: Any = getattr(_header, name, None)
        if hasattr(table, "loc") and hasattr(table, "columns"):
            cells = {(row, column): table.at[row, column] for row in table.index for column in table.columns}
            setattr(_header, name, SimpleNamespace(index=list(table.index), loc=cells))


def _cores() -> int:
    # Not `cpu_count`: a job on a cluster may be confined to some of them
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
