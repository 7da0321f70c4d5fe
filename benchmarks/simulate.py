"""How many ECGs are simulated per second, and how many does training need?

    python benchmarks/simulate.py [--json FILE] [--seconds 20] [--batch 256] [--device cpu] [--quick]

Measured in one run: (1) signals and findings alone, with one process per core (on a GPU, one process); (2) corpus rows
with their reports, in a process with one thread, as a loader's worker makes them beside training; (3) training steps of
the shipped recipe's model, on all cores. The ratio is (2) to (3): above 1, training does not have to wait for the
simulation.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console

from dbeta.errors import DBetaWarning
from dbeta.model import DBetaModel
from dbeta.simulation.dataset import SimulatedRows
from dbeta.simulation.simulation import simulate
from dbeta.training.estimate import made_up_batch
from dbeta.training.model_config import make_config
from dbeta.training.recipe import load_recipe
from dbeta.utils.workers import default_workers, keep_freed_memory

RECIPE = Path(__file__).parent.parent / "recipes" / "tiny.yaml"
console = Console(width=110)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each measurement")
    parser.add_argument("--batch", type=int, default=256, help="records simulated at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a second of each: does it run at all?")
    args = parser.parse_args()
    warnings.simplefilter("ignore", DBetaWarning)
    seconds = 1.0 if args.quick else args.seconds
    batch = 8 if args.quick else args.batch

    cores = default_workers() if args.device == "cpu" else 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as workers:
        list(workers.map(signals_per_second, [1.0] * cores, [batch] * cores, [args.device] * cores))  # start them all
        rates = list(workers.map(signals_per_second, [seconds] * cores, [batch] * cores, [args.device] * cores))
    figures: dict[str, float] = {"signals": sum(rates)}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        figures["rows_one_thread"] = worker.submit(rows_per_second, seconds).result()
    figures["training"] = training_per_second(seconds)
    figures["ratio"] = figures["rows_one_thread"] / figures["training"]
    console.print(f"signals and findings   {figures['signals']:8.0f} records/s, {cores} processes")
    console.print(f"rows with reports      {figures['rows_one_thread']:8.0f} records/s, one thread")
    console.print(f"training uses          {figures['training']:8.0f} records/s")
    console.print(f"ratio                  {figures['ratio']:8.1f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def per_second(make: Callable[[int], int], seconds: float) -> float:
    """Count records per second, after one warm-up round."""
    made = make(0)
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        done += make(made + done)
    return done / spent


def signals_per_second(seconds: float, batch: int, device: str) -> float:
    """Measure signals and findings of one process with one thread."""
    if device == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()  # as in processes that build a corpus

    def signals(first: int) -> int:
        simulate(0, range(first, first + batch), device=device)
        if device != "cpu":
            torch.cuda.synchronize()
        return batch

    return per_second(signals, seconds)


def rows_per_second(seconds: float) -> float:
    """Measure rows of one process with one thread, in batches of the recipe's size."""
    torch.set_num_threads(1)
    rows = SimulatedRows(10_000_000, 0)

    def some(first: int) -> int:
        return len(rows[range(first, first + 32)]["report"])

    return per_second(some, seconds)


def training_per_second(seconds: float) -> float:
    """Measure records per second of forward and backward passes of the recipe's model."""
    recipe = load_recipe(RECIPE)
    model = DBetaModel(make_config(recipe)).train()
    batch = made_up_batch(model.config, recipe.training["per_device_train_batch_size"])

    def step(first: int) -> int:
        del first
        model.zero_grad()
        model(**batch).loss.backward()
        return len(batch["ecg"])

    return per_second(step, seconds)


if __name__ == "__main__":
    main()
