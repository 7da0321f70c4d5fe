"""Is a pretraining run reproducible? The same recipe four times: once, again, over two processes, killed and resumed.

    python benchmarks/repeat.py RECIPE CORPUS [--json FILE] [--steps 40] [--set key=value ...]

CORPUS is a folder, or "simulated". Prints each run's zero-shot AUROC on the validation split after its last step, and
the largest differences from the first run: of the loss at any step, and of any weight at the end. The two processes
share the batch; the killed run gets SIGKILL, which cannot be caught, after its first checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor

from dbeta.training.recipe import load_recipe
from dbeta.training.trainer import last_checkpoint

TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WAYS = ("one process", "one process again", "two processes", "killed and resumed")


def main() -> None:
    """Run, compare, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    args = parser.parse_args()
    every = max(1, args.steps // 4)
    changes = [
        f"corpus={args.corpus}",
        f"training.max_steps={args.steps}",
        "training.load_best_model_at_end=false",
        f"training.save_steps={every}",
        f"training.eval_steps={every}",
        "training.logging_steps=1",
        *args.changes,
    ]
    batch = load_recipe(args.recipe, changes).training["per_device_train_batch_size"]
    figures: dict[str, dict[str, float]] = {}
    first: tuple[list[dict[str, Any]], dict[str, Tensor]] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            output = Path(folder) / way.replace(" ", "-")
            mine = [*changes, f"output={output}"]
            if way == "two processes":
                mine.append(f"training.per_device_train_batch_size={batch // 2}")
            command = [sys.executable, *(TWO if way == "two processes" else []), "-m", "dbeta.cli", "pretrain"]
            command += [str(args.recipe), *(word for change in mine for word in ("--set", change))]
            if way == "killed and resumed":
                kill(command, output)
                command.append("--resume")
            quietly(command)
            done = json.loads((output / "training_log.json").read_text()), load_file(output / "model.safetensors")
            first = first or done
            figures[way] = compare(done, first)
            shutil.rmtree(output)
    view = Table(title=f"{args.recipe}, {args.steps} steps of {batch} records", title_justify="left")
    view.add_column("run")
    for column in ("zero-shot AUROC, validation", "last loss", "largest difference of the loss", "of a weight"):
        view.add_column(column, justify="right")
    for way, one in figures.items():
        differences = (f"{one[name]:.2g}" for name in ("difference", "weight_difference"))
        view.add_row(way, f"{one['zero_shot']:.6f}", f"{one['loss']:.6f}", *differences)
    Console(width=120).print(view)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def quietly(command: list[str]) -> None:
    """Run a command to the end; its output is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


def kill(command: list[str], output: Path) -> None:
    """Run until one step after the first checkpoint, then kill the process."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while last_checkpoint(output / "steps") is None:
            if process.poll() is not None:
                sys.exit("the run ended before it wrote a checkpoint")
            time.sleep(0.1)
        time.sleep(3)
        os.kill(process.pid, signal.SIGKILL)


def compare(
    run: tuple[list[dict[str, Any]], dict[str, Tensor]], first: tuple[Any, dict[str, Tensor]]
) -> dict[str, float]:
    """Return a run's last figures, and the differences of its losses and weights from the first run's."""
    (log, weights), (others, other_weights) = run, first
    mine, theirs = ([one["loss"] for one in entries if "loss" in one] for entries in (log, others))
    return {
        "zero_shot": [one["eval_zero_shot"] for one in log if "eval_zero_shot" in one][-1],
        "loss": mine[-1],
        "difference": max(abs(a - b) for a, b in zip(mine, theirs, strict=True)),
        "weight_difference": max(float((one - other_weights[name]).abs().max()) for name, one in weights.items()),
    }


if __name__ == "__main__":
    main()
