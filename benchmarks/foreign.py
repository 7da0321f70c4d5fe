"""Evaluates how the bundled models rank the recordings of an archive that they have never seen, all splits together.

    python benchmarks/foreign.py challenge-2021 FOLDER [--resamples 500]

For samples too small for the splits of `dbeta evaluate`: zero-shot fits nothing, so every record can be a test record.
Shows each class with a positive record for both models and one with random weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

import dbeta
from dbeta.checkpoints.names import BUNDLED
from dbeta.evaluation.benchmarks import load_benchmark
from dbeta.evaluation.embeddings import embed_benchmark
from dbeta.evaluation.metrics import score_labels
from dbeta.evaluation.zero_shot import random_twin, zero_shot_scores

console = Console(width=110)


def main() -> None:
    """Embed, rank and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", help="benchmark name, as in `dbeta evaluate zero-shot`")
    parser.add_argument("raw", type=Path)
    parser.add_argument("--resamples", type=int, default=500)
    args = parser.parse_args()
    task = load_benchmark(args.benchmark, args.raw, subset_ok=True)
    models = {name: dbeta.load(name) for name in BUNDLED}
    models["random weights"] = random_twin(models[BUNDLED[0]])
    embedded = embed_benchmark(models, task)
    task = embedded.benchmark
    view = Table(title=f"{args.benchmark}: zero-shot AUROC (95 %) over all {len(task)} records")
    for column in ("class", "positives", *models):
        view.add_column(column)
    figures = {
        name: score_labels(
            task.labels,
            zero_shot_scores(model, embedded.embeds[name], task.conditions),
            task.classes,
            task.patients,
            resamples=args.resamples,
        )
        for name, model in models.items()
    }
    for number, label in enumerate(task.classes):
        positives = int((task.labels[:, number] == 1).sum())
        if positives:
            view.add_row(label, str(positives), *(written(one["classes"][label]["auroc"]) for one in figures.values()))
    view.add_row("macro", "", *(written(one["macro"]["auroc"]) for one in figures.values()))
    console.print(view)


def written(figure: list[float] | None) -> str:
    """Format a figure with its interval."""
    return "–" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"


if __name__ == "__main__":
    main()
