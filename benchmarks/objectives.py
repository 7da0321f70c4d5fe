"""Compares D-BETA's training objectives, and the optimizer, in the shipped recipe.

    python benchmarks/objectives.py CORPUS [--steps 1500] [--output runs/objectives] [--json FILE] [--seeds 1] [--quick]

CORPUS is a PTB-XL corpus made by `dbeta corpus build`: its training split is used alongside simulated ECGs, as in
`recipes/tiny.yaml` but from a stored corpus, and its validation split (fold 9) for the measurements. From the same
seed, with the same number of steps:

    ets            encoders alone, sigmoid contrast with entailment labels
    ets mem        also masked ECG modelling
    ets mem text   also masked language modelling and ECG-text matching, a quarter of the texts misaligned in the batch
    all n3s        the same, misaligned texts from the table of farthest reports
    ets adamw      the first again, with AdamW for all weights

The ratio is the steps per second relative to `ets`: an objective has to be worth its cost.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dbeta.corpus.negatives import build_negatives
from dbeta.corpus.simulated import build_simulated
from dbeta.training.pretrain import pretrain
from dbeta.training.recipe import Recipe, load_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "tiny.yaml"
#: Number of simulated records, stored since N3S needs a table of them.
STORED = 8192
#: The model with its fusion and heads.
ALL = "model.parts=all"
NONE = "model.loss_weights.{}=0.0"
WAYS: dict[str, tuple[str, ...]] = {
    "ets": (),
    "ets mem": (ALL, NONE.format("mlm"), NONE.format("etm")),
    "ets mem text": (ALL, "collator.misaligned_share=0.25"),
    "all n3s": (ALL, "collator.misaligned_share=0.25", "negatives=n3s"),
    "ets adamw": ("optimizer.matrices=null",),
}
console = Console(width=110)


def main() -> None:
    """Train, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="a few steps: does it run at all?")
    args = parser.parse_args()
    steps, stored = (3, 64) if args.quick else (args.steps, STORED)
    simulated = args.output / "simulated"
    if not simulated.exists():
        build_simulated(simulated, stored, seed=20)
    for corpus in (simulated, args.corpus):
        if not (corpus / "negatives").exists():
            build_negatives(corpus)
    figures: dict[str, Any] = {way: [run(args, way, seed, steps) for seed in range(args.seeds)] for way in WAYS}
    first = figures["ets"][0]["steps_per_second"]
    figures["ratio"] = {way: figures[way][0]["steps_per_second"] / first for way in WAYS}
    view = Table(title=f"zero-shot AUROC over the findings of fold 9 after {steps} steps, by seed")
    for column in ("objectives", "AUROC", "steps/s", "ratio"):
        view.add_column(column)
    for way in WAYS:
        runs = figures[way]
        aurocs = " ".join(f"{one['auroc']:.3f}" for one in runs)
        view.add_row(way, aurocs, f"{runs[0]['steps_per_second']:.2f}", f"{figures['ratio'][way]:.2f}")
    console.print(view)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def run(args: argparse.Namespace, way: str, seed: int, steps: int) -> dict[str, float]:
    """Train one way, or read the result of a finished run."""
    output = args.output / f"{way.replace(' ', '-')}-{seed}"
    recipe = settings(args, way, seed, steps, output)
    start = time.perf_counter()
    if not (output / "model.safetensors").exists():
        pretrain(recipe, resume=True)
    seconds = time.perf_counter() - start
    history = json.loads((output / "training_log.json").read_text())
    auroc = [entry["eval_zero_shot"] for entry in history if "eval_zero_shot" in entry][-1]
    told = [entry["train_steps_per_second"] for entry in history if "train_steps_per_second" in entry]
    return {"auroc": auroc, "steps_per_second": told[-1] if told else steps / seconds}


def settings(args: argparse.Namespace, way: str, seed: int, steps: int, output: Path) -> Recipe:
    """Return the shipped recipe with the changes of one way."""
    changes = [f"training.max_steps={steps}", f"training.eval_steps={steps}", f"training.save_steps={steps}"]
    changes += [
        "start_from=null",
        "start_share=0",
        f"training.seed={seed}",
        f"output={output}",
        f"validation={args.corpus}",
        *WAYS[way],
    ]
    recipe = load_recipe(RECIPE, changes)
    recipe.corpus = {str(args.output / "simulated"): 0.72, str(args.corpus): 0.28}
    return recipe


if __name__ == "__main__":
    main()
