"""Maps a function over items in worker processes: results in order, and a crashed worker loses at most its item.

Uses loky, whose workers, unlike those of `multiprocessing`, neither fork a process with threads nor need
`if __name__ == "__main__"` in the caller's script.
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
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: More processes do not make reading faster.
MOST_WORKERS = 16
#: Arguments of glibc's `mallopt`: never trim the top of the heap; allocate large blocks from the heap as well.
KEEP_TOP, KEEP_LARGE = (-1, -1), (-4, 0)
#: Error of a file whose worker died.
KILLED = "reading it killed the process that read it; it may be too large or hostile"


def default_workers() -> int:
    """Number of cores available to this process, up to `MOST_WORKERS`."""
    # Not `cpu_count`, as a cluster may restrict a job to some cores
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
    """Apply a function to each item in worker processes, in order and ahead of the consumer.

    Args:
        function: picklable, as are items and results.
        items: consumed one by one, as needed.
        workers: number of processes; 0 for none but this one.
        ahead: items in progress or waiting, in addition to one per worker.
        killed: gives the result for an item that crashes its worker even when it runs alone.
    """
    if workers == 0:
        yield from map(function, items)
        return
    executor = _start(workers)

    def submit(item: Item) -> Any:
        nonlocal executor
        try:
            return executor.submit(function, item)
        except RuntimeError:  # a worker has died
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
                # All items in progress are lost with the worker: repeat each of them alone
                lost = [item, *(item for item, _ in waiting)]
                waiting.clear()
                yield from map(alone, lost)
    finally:
        for _, future in waiting:
            future.cancel()


def _start(workers: int) -> Any:
    from loky import get_reusable_executor

    # One thread per worker, as all cores are in use
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return get_reusable_executor(max_workers=workers, initializer=start_worker, env=threads)


def start_worker() -> None:
    """Runs at the start of each worker."""
    # Ctrl-C is handled by the main process, which then ends its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        # The model's threads wait for each other, so readers must not delay any of them
        os.nice(10)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(program: int) -> None:
    """End this process soon after the one that started it, which may have been killed."""
    while os.getppid() == program:
        time.sleep(2)
    os._exit(1)


@cache
def keep_freed_memory() -> None:
    """Make this process reuse freed memory, if its C library is glibc.

    For processes that allocate the same large tensors repeatedly: otherwise each is returned to the kernel and zeroed
    again, which is a quarter of the time of a simulation.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    for parameter, value in (KEEP_TOP, KEEP_LARGE):
        library.mallopt(parameter, value)
