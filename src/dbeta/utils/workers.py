"""A function over many items in worker processes: results in order, and a process that dies costs at most its item.

Special here: workers are loky's, which, unlike those of `multiprocessing`, neither copy a process that runs threads
nor need the `if __name__ == "__main__"` of their caller's script.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import BrokenExecutor
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Reading is done before so many processes share it.
MOST_WORKERS = 16
#: `mallopt` of the GNU C library: never give memory back at the heap's top; large blocks come from the heap, too.
KEEP_TOP, KEEP_LARGE = (-1, -1), (-4, 0)
#: Why a file has no result, when the process that read it died.
KILLED = "reading it killed the process that read it; it may be too large or hostile"


def default_workers() -> int:
    """One process for each core that this one may use, up to `MOST_WORKERS`."""
    # Not `cpu_count`: a job on a cluster may be confined to some of them
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def map_in_workers(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int,
    killed: Callable[[Item], Result],
) -> Generator[Result, None, None]:
    """The function of each item, in the items' order, worked out ahead of whoever takes the results.

    Args:
        function: is pickled, as are items and results.
        items: are taken one by one, as they are needed.
        workers: processes; 0 works in this one.
        ahead: items under way or waiting, besides one for each worker.
        killed: the result for an item that ended the process which worked on it, also when it was alone.
    """
    if workers == 0:
        yield from map(function, items)
        return
    executor = _start(workers)

    def submit(item: Item) -> Any:
        nonlocal executor
        try:
            return executor.submit(function, item)
        except RuntimeError:  # a worker died since
            executor = _start(workers)
            return executor.submit(function, item)

    def alone(item: Item) -> Result:
        try:
            return submit(item).result()
        except BrokenExecutor:
            return killed(item)

    waiting: deque[tuple[Item, Any]] = deque()
    left = iter(items)
    try:
        while True:
            for item in itertools.islice(left, ahead + workers - len(waiting)):
                waiting.append((item, submit(item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenExecutor:
                # A worker died, perhaps of its item, and with it all that was under way: each is done again, alone
                lost = [item, *(item for item, _ in waiting)]
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
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    quicken_wfdb()


def _end_with(program: int) -> None:
    """End this process soon after the program that started it, which may have been killed without a word."""
    while os.getppid() == program:
        time.sleep(2)
    os._exit(1)


@cache
def keep_freed_memory() -> None:
    """Have this process use memory again that it freed, where its C library is GNU's; elsewhere nothing happens.

    For one that needs the same large tensors again and again: else each is given back to the kernel and filled with
    zeros by it anew, which is a quarter of the time that a simulation takes.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    for parameter, value in (KEEP_TOP, KEEP_LARGE):
        library.mallopt(parameter, value)


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
