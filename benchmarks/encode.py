"""How fast are ECGs embedded? The published code, this project in float32, and its default, side by side.

    python benchmarks/encode.py [--json FILE] [--quick]

Three ways, on the same 64 recordings and the same weights, at base size (random) and tiny (bundled):
(a) published: eager float32 as the published code computes it (`published.py`);
(b) float32: this project in float32;
(c) default: this project as `dbeta.load()` sets it up on this machine.
The ways take turns, so that other load on the machine affects all of them; the best turn counts. Also measured: what
(c) spends its time on, its share of the machine's matrix peak, batch sizes, and the time for one recording, cold
(process start to answer) and warm. If there is a GPU, everything is repeated on it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom.data import get_testdata_file
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

import dbeta
from dbeta.checkpoints.names import WEIGHTS_FILE
from dbeta.checkpoints.read import bundled_checkpoint, fastest_dtype
from dbeta.model.config import DBetaConfig
from dbeta.model.dual_encoder import DualEncoder, ECGTower
from dbeta.model.processor import DBetaProcessor
from published import published_embed

WAYS = ("published", "float32", "default")
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
console = Console(width=120)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few recordings, one turn: does it run at all?")
    parser.add_argument("--peak", nargs=3, metavar=("FOLDER", "WAY", "DEVICE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.records, args.batch_size, args.turns = 4, 2, 1
    if args.peak:
        print(peak_memory(Path(args.peak[0]), args.peak[1], args.peak[2], args.batch_size))
        return
    figures: dict[str, Any] = {"machine": machine(), "records": args.records, "batch_size": args.batch_size}
    console.print(figures["machine"])
    with tempfile.TemporaryDirectory() as folder:
        models = {"base": random_base(Path(folder)), "tiny": bundled_checkpoint()}
        for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
            peaks = figures.setdefault("matrix_peak_tflops", {})[device] = matrix_peaks(torch.device(device))
            for name, checkpoint in models.items():
                figures[f"{name}-{device}"] = compare(name, checkpoint, torch.device(device), args, peaks)
    figures["latency"] = latency(args.turns)
    figures["ratio"] = {key: one["ways"]["default"]["ratio"] for key, one in figures.items() if "-" in key}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Describe the machine."""
    able = torch.cpu.get_capabilities()
    return {
        "processor": able.get("cpu_name") or able.get("architecture"),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "amx_bf16": bool(able.get("amx_bf16")),
        "avx512_bf16": bool(able.get("avx512_bf16")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def random_base(folder: Path) -> Path:
    """Save a checkpoint of the paper's size with random weights, with the parts needed to embed ECGs."""
    torch.manual_seed(0)
    config = DBetaConfig.base(voltage=False)  # the published code has none
    config.save_pretrained(folder)
    save_file(ECGTower(config).state_dict(), folder / WEIGHTS_FILE)
    return folder


def recordings(count: int) -> torch.Tensor:
    """Make different recordings (count, 12, 5000): the ECG that pydicom ships with varied gain, offset and noise."""
    signal = DBetaProcessor().signal(dbeta.read_ecg(get_testdata_file("waveform_ecg.dcm")))
    random = np.random.default_rng(0)
    shape = (count, 12, 1)
    ecgs = np.stack([np.roll(signal, random.integers(5000), axis=1) for _ in range(count)])
    ecgs = ecgs * random.uniform(0.5, 1.5, shape) + random.normal(0, 0.3, shape)
    return torch.from_numpy((ecgs + 0.02 * random.standard_normal(ecgs.shape)).astype(np.float32))


def encoder(checkpoint: Path, way: str, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function (B, leads, samples) → (B, D) that computes one of the ways."""
    config = DBetaConfig.from_pretrained(checkpoint)
    if way == "published":
        stored = load_file(checkpoint / WEIGHTS_FILE, device=str(device))
        weights = {name: tensor for name, tensor in stored.items() if name.startswith("ecg_")}
        return lambda ecg: published_embed(weights, config, ecg)
    return DualEncoder(config, checkpoint / WEIGHTS_FILE, device, dtype_of(way, device)).embed_ecg


def dtype_of(way: str, device: torch.device) -> torch.dtype:
    """What a way computes in."""
    return fastest_dtype(device) if way == "default" else torch.float32


@torch.inference_mode()
def timed(encode: Callable[[torch.Tensor], torch.Tensor], ecgs: torch.Tensor, batch_size: int) -> tuple[float, Any]:
    """Seconds for all recordings, and their embeddings."""
    start = time.perf_counter()
    parts = [encode(batch).float().cpu() for batch in ecgs.split(batch_size)]
    return time.perf_counter() - start, torch.cat(parts)


def compare(
    name: str, checkpoint: Path, device: torch.device, args: argparse.Namespace, peaks: dict[str, float]
) -> dict[str, Any]:
    """The ways taking turns."""
    ecgs = recordings(args.records).to(device)
    encoders = {way: encoder(checkpoint, way, device) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    embeds: dict[str, torch.Tensor] = {}
    for encode in encoders.values():
        timed(encode, ecgs[: args.batch_size], args.batch_size)
    for _ in range(args.turns):
        for way, encode in encoders.items():
            spent, embeds[way] = timed(encode, ecgs, args.batch_size)
            seconds[way].append(spent)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoders["float32"](ecgs[:1])
    flops = counter.get_total_flops()

    result: dict[str, Any] = {"gflop_per_record": flops / 1e9, "ways": {}}
    table = Table(title=f"{name} on {device}: {len(ecgs)} recordings in batches of {args.batch_size}")
    for column in ("", "computes in", "records/s", "ratio to (a)", "smallest cosine to (a)", "peak memory", "of peak"):
        table.add_column(column, justify="right" if column and column != "computes in" else "left")
    for letter, way in zip("abc", WAYS, strict=True):
        dtype = str(dtype_of(way, device)).removeprefix("torch.")
        rate = len(ecgs) / min(seconds[way])
        one = result["ways"][way] = {
            "dtype": dtype,
            "records_per_s": rate,
            "ratio": min(seconds["published"]) / min(seconds[way]),
            "smallest_cosine": float(torch.cosine_similarity(embeds["published"], embeds[way]).min()),
            "peak_memory_mb": float(child("--peak", checkpoint, way, device, "--batch-size", args.batch_size)),
            "of_matrix_peak": rate * flops / 1e12 / peaks[dtype] if dtype in peaks else None,
        }
        table.add_row(
            f"({letter}) {way}",
            dtype,
            f"{rate:.2f}",
            f"{one['ratio']:.2f}×",
            f"{one['smallest_cosine']:.6f}",
            f"{one['peak_memory_mb']:.0f} MB",
            "" if dtype not in peaks else f"{one['of_matrix_peak']:.0%}",
        )
    console.print(table)
    result["where_time_goes"] = where_time_goes(encoders["default"], ecgs[: args.batch_size])
    result["batch_sizes"] = {
        size: min(timed(encoders["default"], ecgs[:size], size)[0] for _ in range(args.turns)) / size * 1e3
        for size in BATCH_SIZES
        if size <= len(ecgs)
    }
    console.print("ms a record by batch size:", {size: round(ms, 1) for size, ms in result["batch_sizes"].items()})
    return result


def where_time_goes(encode: Callable[[torch.Tensor], torch.Tensor], ecgs: torch.Tensor) -> dict[str, float]:
    """Share of the time by kind of operation, from one percent up."""
    on_gpu = ecgs.is_cuda
    kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=kinds) as profile, torch.inference_mode():
        encode(ecgs)
    spent = {
        one.key.removeprefix("aten::"): float(one.self_device_time_total if on_gpu else one.self_cpu_time_total)
        for one in profile.key_averages()
    }
    shares = {key: value / sum(spent.values()) for key, value in sorted(spent.items(), key=lambda one: -one[1])}
    shares = {key: round(share, 3) for key, share in shares.items() if share >= 0.01}
    console.print("where the time of (c) goes:", shares)
    return shares


def matrix_peaks(device: torch.device) -> dict[str, float]:
    """TFLOP/s of one large matrix product, the machine's practical peak, by data type."""
    peaks = {}
    for dtype in {torch.float32, fastest_dtype(device)}:
        size = 8192 if device.type == "cuda" else 2048
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        spent = []
        for _ in range(6):
            start = time.perf_counter()
            (a @ b)[0, 0].item()
            spent.append(time.perf_counter() - start)
        peaks[str(dtype).removeprefix("torch.")] = 2 * size**3 / min(spent) / 1e12
    console.print("TFLOP/s of a large matrix product:", {key: round(peak, 3) for key, peak in peaks.items()})
    return peaks


def child(*arguments: Any) -> str:
    """Run this script in another process and return its output."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def peak_memory(checkpoint: Path, way: str, device: str, batch_size: int) -> float:
    """Peak memory in MB of one way for one batch: of this process, or of the GPU."""
    target = torch.device(device)
    ecgs = recordings(batch_size).to(target)
    timed(encoder(checkpoint, way, target), ecgs, batch_size)
    if target.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    # Not `resource.getrusage`: Linux lets a child begin with its parent's peak
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def latency(turns: int) -> dict[str, Any]:
    """Time one recording with the bundled model: `dbeta diagnose` from process start, and in a warm process."""
    file = get_testdata_file("waveform_ecg.dcm")
    command = [sys.executable, "-m", "dbeta.cli", "diagnose", file]
    cold = []
    for _ in range(turns + 1):  # the first run finds a cold disk cache
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        cold.append(time.perf_counter() - start)
    told = subprocess.run(
        [sys.executable, "-X", "importtime", *command[1:]], capture_output=True, text=True, check=True
    )
    own: dict[str, float] = {}
    for line in told.stderr.splitlines():
        if line.startswith("import time:") and line.split()[2].isdecimal():
            _, _, rest = line.partition(":")
            spent, _, name = (part.strip() for part in rest.split("|"))
            top = name.partition(".")[0]
            own[top] = own.get(top, 0.0) + int(spent) / 1e6
    largest = dict(sorted(own.items(), key=lambda one: -one[1])[:8])

    model = dbeta.load()
    warm: dict[str, list[float]] = {"file": [], "reading it": []}
    for _ in range(10 * turns + 1):
        start = time.perf_counter()
        model.diagnose(file)
        warm["file"].append(time.perf_counter() - start)
        start = time.perf_counter()
        dbeta.read_ecg(file)
        warm["reading it"].append(time.perf_counter() - start)
    result = {
        "cold_s": min(cold[1:]),
        "cold_imports_s": sum(own.values()),
        "cold_largest_imports_s": {name: round(spent, 2) for name, spent in largest.items()},
        "warm_ms": statistics.median(warm["file"][1:]) * 1e3,
        "warm_reading_ms": statistics.median(warm["reading it"][1:]) * 1e3,
    }
    console.print(
        f"one DICOM file, tiny: cold {result['cold_s']:.2f} s, warm {result['warm_ms']:.0f} ms, "
        f"of which reading {result['warm_reading_ms']:.0f} ms"
    )
    console.print(
        f"imports of a cold start, {result['cold_imports_s']:.2f} s under the profiler, the largest:", largest
    )
    return result


if __name__ == "__main__":
    main()
