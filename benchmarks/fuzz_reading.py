"""Fuzzing of `read_ecg`: does any damaged file cause more than a one-line error?

    python benchmarks/fuzz_reading.py [--files 10000] [--seed 0] [--json FILE] [--workers 2] [--only NUMBER]

A valid file of every format (generated, from pydicom, and from `../shared/data/formats` if present) is damaged: bits
flipped, truncated, blocks doubled or dropped, numbers made huge, negative or NaN, spliced with another format, renamed.
Each is read as `dbeta embed` reads it, in a worker process. Failures are:

- an exception other than `DBetaError`, a message of several lines or without the file's name, a warning other than
  `DBetaWarning`, anything printed, a process that dies;
- more than 5 s of processor time (300 s by the clock), or more than 1 GB of additional memory;
- a file written or removed, or a network connection opened;
- an ECG that is not twelve leads of float32 at a finite rate.

Exits with 1 if there was a failure. `--only` repeats one file, with its traceback, and keeps it in `fuzz-NUMBER/`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import read_ecg
from dbeta.signal.preprocess import InputFormat, prepare_signal
from fuzz_mutations import mutate
from fuzz_seeds import Seed, make_seeds

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "formats"
SECONDS, MEMORY, PATIENCE = 5.0, 10**9, 300.0
#: Address space that a worker may add, so that a memory bomb cannot bring down the machine.
CEILING = 4 * 10**9
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Distribute the files over workers, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, help="repeat the file of this number")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args.worker, args.seed)
    if args.only is not None:
        return repeat(args.seed, args.only)
    start = time.perf_counter()
    results = share_out(args.files, args.seed, args.workers)
    figures = summarise(results, args.seed)
    figures["minutes"] = round((time.perf_counter() - start) / 60, 1)
    print(json.dumps({key: value for key, value in figures.items() if key != "failures"}, indent=1))
    for failure in figures["failures"]:
        print(f"{failure['number']}  {failure['what']}\n    {failure['failure']}")
    print(f"{len(figures['failures'])} failures in {args.files} files, seed {args.seed}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(1 if figures["failures"] else 0)


def summarise(results: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Count the files read and refused by format; list the slowest, the largest, and the failures."""
    formats: dict[str, Counter[str]] = {}
    for one in results:
        formats.setdefault(one["format"], Counter())[one["ended"]] += 1
    return {
        "seed": seed,
        "files": len(results),
        "read": sum(one["ended"] == "read" for one in results),
        "refused": sum(one["ended"] == "refused" for one in results),
        "slowest_s": max(one["seconds"] for one in results),
        "largest_mb": max(one["memory"] for one in results) // 2**20,
        "formats": {name: dict(formats[name]) for name in sorted(formats)},
        "failures": [one for one in results if one["failure"]],
    }


# --- the parent process: hands out numbers and watches the clock


def share_out(files: int, seed: int, workers: int) -> list[dict[str, Any]]:
    """Yield results in the order of the files; ends workers that hang."""
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(files):
        numbers.put(number)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        threads = [
            threading.Thread(target=_drive, args=(numbers, results, seed, Path(folder) / str(i)))
            for i in range(workers)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(10)
            found = sum(bool(one["failure"]) for one in results)
            print(f"{len(results)} of {files} files, {found} failures", file=sys.stderr, flush=True)
    return sorted(results, key=lambda one: one["number"])


def _drive(numbers: queue.SimpleQueue[int], results: list[dict[str, Any]], seed: int, folder: Path) -> None:
    worker, round_ = None, 0
    while True:
        try:
            number = numbers.get_nowait()
        except queue.Empty:
            break
        if worker is None:
            round_ += 1
            worker = _Worker(seed, folder / str(round_))
        answer = worker.ask(number)
        if "died" in answer:
            worker = None
        results.append(answer)
    if worker:
        worker.close()


class _Worker:
    """A process that reads damaged files one after another."""

    def __init__(self, seed: int, folder: Path) -> None:
        folder.mkdir(parents=True)
        command = [sys.executable, __file__, "--worker", str(folder), "--seed", str(seed)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.answers.get()  # ready

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put("")

    def ask(self, number: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        started, before = time.perf_counter(), self._seconds()
        line = None
        while line is None:
            try:
                line = self.answers.get(timeout=1)
            except queue.Empty:
                # By processor time, as the machine may be busy; by the clock for files that block
                if self._seconds() - before > 2 * SECONDS or time.perf_counter() - started > PATIENCE:
                    line = ""
        if line:
            return json.loads(line)
        late = self.process.poll() is None
        self.process.kill()
        code = self.process.wait()
        return {
            "number": number,
            "format": "?",
            "what": f"repeat it with --only {number}",
            "ended": "died",
            "seconds": round(time.perf_counter() - started, 2),
            "memory": 0,
            "failure": "took too long and was ended" if late else f"the process died ({code})",
            "died": True,
        }

    def _seconds(self) -> float:
        """Processor time used by the worker."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


# --- the worker


def work(folder: Path, seed: int) -> None:
    """Read the files whose numbers arrive on stdin; write a line of JSON for each."""
    seeds = _seeds(folder)
    inside = folder / "files"
    inside.mkdir()
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = str(inside)
    os.chdir(inside)
    answers = os.fdopen(os.dup(1), "w")
    printed = (folder / "printed").open("w+b")
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    logging.raiseExceptions = False
    watcher = _Watcher()
    sys.addaudithook(watcher)
    for one in seeds:  # all libraries are loaded, and their caches filled, before memory is measured
        _read_one(one, inside, watcher, printed)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + CEILING, in_use + CEILING))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        number = int(line)
        what, damaged = mutate(seeds, seed, number)
        result = _read_one(damaged, inside, watcher, printed)
        print(json.dumps({"number": number, "what": what, **result}), file=answers, flush=True)


def _seeds(folder: Path) -> list[Seed]:
    made = folder / "seeds"
    made.mkdir()
    return make_seeds(made, REAL)


class _Watcher:
    """Audit hook that records files opened for writing, renamed files and connections, while enabled."""

    _CHANGES = (
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "shutil.rmtree",
    )
    _CALLS = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "pickle.find_class")

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES and arguments[0] != os.devnull:
            self.seen.append(f"opened {arguments[0]!r} for writing")
        elif event in self._CHANGES or event in self._CALLS:
            self.seen.append(f"{event} {arguments[:1]!r}"[:200])


def _read_one(one: Seed, folder: Path, watcher: _Watcher, printed: Any) -> dict[str, Any]:
    for name, content in one.files.items():
        (folder / name).write_bytes(content)
    before = _listing(folder)
    path = folder / next(iter(one.files))
    watcher.seen = []
    printed.truncate(0)
    base = _reset_peak()
    start = time.process_time()  # independent of other load on the machine
    watcher.on = True
    ended, failure = attempt(path, one.options)
    watcher.on = False
    seconds = time.process_time() - start
    memory = max(_peak() - base, 0)
    after = _listing(folder)
    said = os.pread(printed.fileno(), 500, 0)
    found = [failure] if failure else []
    found += [f"took {seconds:.1f} s"] if seconds > SECONDS else []
    found += [f"took {memory / 1e9:.2f} GB"] if memory > MEMORY else []
    found += ["changed files"] if before != after else []
    found += watcher.seen
    found += [f"printed {said.decode(errors='replace')!r}"] if said else []
    for name in after:
        leftover = folder / name
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    return {
        "format": one.name,
        "ended": ended,
        "seconds": round(seconds, 2),
        "memory": memory,
        "failure": "; ".join(found),
    }


def attempt(path: Path, options: dict[str, Any]) -> tuple[str, str]:
    """Read one file and prepare it for a model; returns the outcome and any failure."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            ecg = read_ecg(path, **options)
            ended, failure = "read", ""
            sound = ecg.signal.dtype == np.float32 and ecg.signal.ndim == 2 and len(ecg.signal) == len(ecg.leads) == 12
            if not (sound and ecg.signal.size and np.isfinite(ecg.sampling_rate) and ecg.sampling_rate > 0):
                failure = f"gave {ecg.signal.dtype} {ecg.signal.shape} at {ecg.sampling_rate} Hz"
            elif np.isinf(ecg.signal).any():
                failure = "gave infinite samples"
            else:
                prepare_signal(ecg, InputFormat())
        except DBetaError as error:
            ended, failure = "refused", ""
            message = str(error)
            if "\n" in message or len(message) > 600 + len(str(path)):
                failure = f"long message: {message[:200]!r}"
        except BaseException as error:
            ended, failure = "failed", f"{type(error).__name__}: {str(error)[:200]} ({_where(error)})"
    leaked = [one for one in caught if not issubclass(one.category, DBetaWarning)]
    if leaked and not failure:
        failure = f"warned {leaked[0].category.__name__}: {str(leaked[0].message)[:200]} ({leaked[0].filename})"
    return ended, failure


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-3:]))


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(file.relative_to(folder)): (file.stat().st_size, file.stat().st_mtime_ns)
        for file in sorted(folder.rglob("*"))
    }


def _reset_peak() -> int:
    """Current resident memory; resets the kernel's peak measurement."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def repeat(seed: int, number: int) -> None:
    """Repeat one file in this process, with the full traceback."""
    with tempfile.TemporaryDirectory() as made:
        what, damaged = mutate(make_seeds(Path(made), REAL), seed, number)
    folder = Path(f"fuzz-{number}")
    folder.mkdir(exist_ok=True)
    for name, content in damaged.files.items():
        (folder / name).write_bytes(content)
    print(what, damaged.options)
    print(attempt(folder / next(iter(damaged.files)), damaged.options))
    print(prepare_signal(read_ecg(folder / next(iter(damaged.files)), **damaged.options), InputFormat()).shape)


if __name__ == "__main__":
    main()
