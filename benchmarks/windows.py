"""Memory for diagnosing a 24-hour recording by window, and detection of an hour of atrial fibrillation in it.

    python benchmarks/windows.py [--hours 24] [--seed S] [--json FILE]

Concatenates simulated recordings of 10 s to a WFDB record of 12 leads at 500 Hz and 16 bits: normal ones and, in one
hour chosen by the seed, ones with atrial fibrillation. Another process loads the bundled model and diagnoses the
record by window, asking for the default conditions; its memory, including that of its worker processes, is compared
with that after loading the model.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track

import dbeta
from dbeta.simulation.simulation import simulate

#: Conditions in that hour and in the others.
EVENT, REST = "atrial fibrillation", "normal ecg"
RATE, SECONDS, HOUR = 500, 10, 3600
MIB = 1 << 20
console = Console(width=110)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="of the hour")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(diagnose(args.measure)))
        return
    hour = random.Random(args.seed).randrange(args.hours)
    with tempfile.TemporaryDirectory() as folder:
        record = write_day(Path(folder), args.hours, hour)
        size = record.with_suffix(".dat").stat().st_size
        command = [sys.executable, __file__, "--measure", str(record)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    scores = np.array(found.pop("scores"))
    starts = np.array(found.pop("starts"))
    event = starts // HOUR == hour
    highest = np.argsort(-scores)[: event.sum()]
    figures = {
        "hours": args.hours,
        "megabytes of the file": round(size / 1e6),
        **found,
        "hour of the event": hour,
        "strongest window, hours": round(float(starts[scores.argmax()]) / HOUR, 3),
        "strongest in the right hour": bool(event[scores.argmax()]),
        "of as many strongest windows as the hour has, share in it": round(float(event[highest].mean()), 3),
    }
    for name, value in figures.items():
        console.print(f"{name:56} {value}", highlight=False)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def write_day(folder: Path, hours: int, hour: int) -> Path:
    """Write the record piece by piece and return its header."""
    pools: dict[str, list[np.ndarray]] = {EVENT: [], REST: []}
    for first in range(0, 4096, 128):
        made = simulate(0, range(first, first + 128))
        for name, pool in pools.items():
            pool += list(made.signals[made.findings[name] == 1].numpy())
        if min(map(len, pools.values())) >= 24:
            break
    counts: dict[str, list[bytes]] = {
        name: [np.clip(np.round(one * 1000), -32767, 32767).astype("<i2").T.tobytes() for one in pool]
        for name, pool in pools.items()
    }
    choose = random.Random(1)
    with (folder / "day.dat").open("wb") as file:
        for now in track(range(hours), "writing", console=Console(stderr=True), transient=True):
            ready = counts[EVENT if now == hour else REST]
            for _ in range(HOUR // SECONDS):
                file.write(choose.choice(ready))
    samples = hours * HOUR * RATE
    lines = [f"day 12 {RATE} {samples}", *(f"day.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in dbeta.LEADS)]
    (folder / "day.hea").write_text("\n".join(lines) + "\n")
    return folder / "day.hea"


def diagnose(record: Path) -> dict[str, Any]:
    """Load the model and diagnose by window; return memory in MiB, speed, and scores of the event."""
    model = dbeta.load()
    before = memory()
    peak = before
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        table = model.diagnose(record, windows=True)
    finally:
        over.set()
        watcher.join()
    seconds = time.perf_counter() - start
    asked = table[table["condition"] == EVENT]
    return {
        "MiB with the model loaded": round(before / MIB),
        "peak MiB above it, workers included": round((peak - before) / MIB),
        "windows": len(asked),
        "windows/s": round(len(asked) / seconds, 1),
        "starts": asked["start"].tolist(),
        "scores": asked["score"].tolist(),
    }


def memory() -> int:
    """Memory in bytes of this process and its children; shared memory counts for each."""
    total, me = 0, psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    main()
