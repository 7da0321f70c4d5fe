"""Robustness of batches: a folder with thousands of files, some of them bad, and a killed and resumed run.

    python benchmarks/batches.py [--files 5000] [--bad 50] [--seed S] [--json FILE]

Writes simulated recordings as WFDB records to a temporary folder, some damaged in one of eight ways. `dbeta embed` runs
over them uninterrupted, then again into another file, is killed (SIGKILL, with its worker processes) at a random moment
and restarted. Both outputs must contain each good file exactly once, with equal numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wfdb
from rich.console import Console
from rich.progress import track

import dbeta
from dbeta.simulation.simulation import simulate

#: Ways of damaging a file.
WAYS = (
    "no header",
    "no signal file",
    "truncated",
    "flat",
    "missing samples",
    "no leads of an ECG",
    "20 Hz",
    "a path as name",
)
console = Console(width=110)


def main() -> None:
    """Measure, print and write the results; exit with 1 if any is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--bad", type=int, default=50)
    parser.add_argument("--seed", type=int, help="determines the moment of the kill and which files are bad")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    console.print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), args.files, args.bad, seed)
    if args.json:
        args.json.write_text(json.dumps({"seed": seed} | figures, indent=1) + "\n")
    sys.exit(0 if figures["as it must be"] else 1)


def measure(folder: Path, count: int, bad: int, seed: int) -> dict[str, Any]:
    """Run both ways and compare their outputs."""
    generator = random.Random(seed)
    archive = folder / "archive"
    archive.mkdir()
    spoilt = set(generator.sample(range(count), bad))
    write_archive(archive, count, spoilt)
    good = {str(archive / f"r{number:05d}.hea") for number in range(count) if number not in spoilt}
    for name in ("whole", "killed"):
        (folder / name).mkdir()

    start = time.perf_counter()
    embed(archive, folder / "whole").wait()
    seconds = time.perf_counter() - start
    whole = pd.read_parquet(folder / "whole" / "e.parquet")

    moment = generator.uniform(0.1, 0.9) * seconds
    process = embed(archive, folder / "killed")
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = sum(int(part.name[10:19]) - int(part.name[:9]) for part in folder.glob("killed/.*/*-*.parquet"))
    begun = (folder / "killed" / "e.parquet").exists()
    start = time.perf_counter()
    embed(archive, folder / "killed").wait()
    rest = time.perf_counter() - start
    killed = pd.read_parquet(folder / "killed" / "e.parquet")

    one, other = (np.stack(table["embedding"].to_list()) for table in (whole, killed))
    same = whole["file"].tolist() == killed["file"].tolist()
    figures: dict[str, Any] = {
        "files": count,
        "seconds in one go": round(seconds, 1),
        "files/s": round(count / seconds, 1),
        "killed after s": round(moment, 1),
        "files done when killed": kept,
        "seconds after it": round(rest, 1),
        "good files": len(good),
        "each good file once, in one go": sorted(whole["file"]) == sorted(good),
        "each good file once, killed": sorted(killed["file"]) == sorted(good),
        "in order": whole["file"].is_monotonic_increasing and same,
        "largest difference": float(np.abs(one - other).max()) if same else None,
        "lines of errors, in one go": len(pd.read_csv(folder / "whole" / "e.errors.csv")),
        "lines of errors, killed": len(pd.read_csv(folder / "killed" / "e.errors.csv")),
        "left over": [str(path.name) for path in folder.glob("*/.*")],
    }
    lines = {figures["lines of errors, in one go"], figures["lines of errors, killed"]}
    figures["as it must be"] = (
        all(figures[name] for name in ("each good file once, in one go", "each good file once, killed", "in order"))
        and lines == {bad}
        and figures["largest difference"] == 0
        and not figures["left over"]
        and not begun
    )
    for name, value in figures.items():
        console.print(f"{name:32} {value}", highlight=False)
    return figures


def embed(archive: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start `dbeta embed` in its own process group."""
    command = [sys.executable, "-m", "dbeta.cli", "embed", archive, "--output", output / "e.parquet"]
    return subprocess.Popen(list(map(str, command)), start_new_session=True)


def write_archive(folder: Path, count: int, spoilt: set[int]) -> None:
    """Simulate recordings of 10 s at 500 Hz as r00000.hea and so on, some of them damaged."""
    for start in track(range(0, count, 100), "simulating", console=Console(stderr=True), transient=True):
        numbers = range(start, min(start + 100, count))
        for number, signal_ in zip(numbers, simulate(0, numbers).signals.numpy(), strict=True):
            wfdb.wrsamp(
                f"r{number:05d}",
                fs=500,
                units=["mV"] * 12,
                sig_name=list(dbeta.LEADS),
                p_signal=signal_.T.astype(np.float64),
                fmt=["16"] * 12,
                adc_gain=[1000.0] * 12,
                baseline=[0] * 12,
                write_dir=str(folder),
            )
    for i, number in enumerate(sorted(spoilt)):
        spoil(folder / f"r{number:05d}.hea", WAYS[i % len(WAYS)])


def spoil(header: Path, way: str) -> None:
    """Damage a record."""
    samples = header.with_suffix(".dat")
    lines = header.read_text().splitlines()
    if way == "no header":
        header.write_text("This is no header.\n")
    elif way == "no signal file":
        samples.unlink()
    elif way == "truncated":
        os.truncate(samples, samples.stat().st_size // 3)
    elif way in ("flat", "missing samples"):
        value = 17 if way == "flat" else -32768
        samples.write_bytes(np.full(12 * 5000, value, "<i2").tobytes())
    elif way == "no leads of an ECG":
        header.write_text(
            "\n".join([lines[0], *(line.rsplit(" ", 1)[0] + f" EEG{i}" for i, line in enumerate(lines[1:]))])
        )
    elif way == "20 Hz":
        header.write_text("\n".join([lines[0].replace(" 500 ", " 20 ", 1), *lines[1:]]) + "\n")
    elif way == "a path as name":
        shutil.copy(samples, header.parent.parent / samples.name)
        header.write_text(header.read_text().replace(samples.name, f"../{samples.name}"))


if __name__ == "__main__":
    main()
