"""Plots a run's log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dbeta.model.losses import LOSS_FIELDS

#: Title of each panel → the log's figures that it shows.
PANELS = {
    "Losses": LOSS_FIELDS,
    "Loss, weighted sum": ("loss",),
    "Accuracy": ("etm_accuracy", "mlm_accuracy"),
    "Zero-shot AUROC on the validation split": ("eval_zero_shot",),
    "Embedding rank of a batch": ("embedding_rank",),
    "Gradient norm": ("grad_norm",),
    "Encoders' learning rate": ("learning_rate",),
    "Records a second": ("samples_per_second",),
    "Model FLOP utilisation": ("mfu",),
}


def draw_log(log: Sequence[dict[str, Any]], file: Path) -> None:
    """Plot a run's log into a PNG, with one panel per kind of figure.

    Args:
        log: entries with `step` and figures, as `Trainer` keeps them.
        file: PNG file to write.
    """
    figure = Figure(figsize=(15, 10), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(3, 3).flat, PANELS.items(), strict=True):
        for name in names:
            points = [(entry["step"], entry[name]) for entry in log if name in entry]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 50 else None)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if len(names) > 1 and axes.lines:
            axes.legend(fontsize=8)
    figure.savefig(file, dpi=100)
