"""Does the encoder see voltage? Real records, with and without `voltage`, trained and untrained.

    python benchmarks/voltage.py CORPUS [--json FILE] [--steps 228] [--seeds 2]

CORPUS is as for `ablation.py`, whose small models these are: all corrections together, and all but voltage; the
untrained ones have made one step. Figures are AUROCs on the available records of PTB-XL's fold 9 of linear probes on
frozen embeddings, fitted on folds 1–8, means over the seeds with 95 % intervals by bootstrap over patients. Besides
hypertrophy and low voltage: telling records from copies at 40 % of their voltage, which differ in nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ablation import VOLTAGE, Fold, fit_probe, interval, prepare, train
from dbeta.corpus.store import decode_signal
from dbeta.model.embed import embed_signals
from dbeta.training.validation import evaluating

FAINT = 0.4
SAME = f"the same records at {FAINT:.0%}"
ENCODERS = {
    f"{kind}, {'with' if name == 'all together' else 'without'} voltage": (name, kind == "trained")
    for kind in ("untrained", "trained")
    for name in ("all but voltage", "all together")
}


def main() -> None:
    """Train, probe, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--steps", type=int, default=228)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, each on one thread")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as executor:
        waiting = {
            (name, seed): executor.submit(probes, variant, args.steps if trained else 1, seed, args.corpus)
            for name, (variant, trained) in ENCODERS.items()
            for seed in range(args.seeds)
        }
        found = {key: future.result() for key, future in waiting.items()}
    _, _, test = prepare(args.corpus)
    twice = Fold(test.rows, test.patients * 2, {SAME: np.repeat([0, 1], len(test.patients))})
    counts = ", ".join(f"{int(test.labels[one].sum())} {one}" for one in VOLTAGE)
    view = Table(title=f"fold 9, {len(test.rows)} records: {counts}; {args.seeds} seeds", title_justify="left")
    view.add_column("encoder")
    for name in (*VOLTAGE, SAME):
        view.add_column(name, justify="right")
    figures: dict[str, Any] = {}
    for encoder in ENCODERS:
        scores = [found[encoder, seed] for seed in range(args.seeds)]
        figures[encoder] = {
            name: interval(twice if name == SAME else test, [{name: one[name]} for one in scores])
            for name in (*VOLTAGE, SAME)
        }
        view.add_row(encoder, *("{:.3f} ({:.3f}–{:.3f})".format(*figure) for figure in figures[encoder].values()))
    Console(width=140).print(view)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def probes(variant: str, steps: int, seed: int, corpus: Path) -> dict[str, np.ndarray]:
    """Scores of fold 9 by finding; for `SAME`, of the original and then of the attenuated records."""
    data, training, test = prepare(corpus)
    trainer = train(variant, seed, steps, data)

    def embed(fold: Fold, gain: float = 1.0) -> np.ndarray:
        with evaluating(trainer.model):
            processor = trainer.processor
            ecgs = (decode_signal(row) for row in fold.rows)
            signals = [gain * processor.signal(ecg) for ecg in ecgs]
            return np.concatenate(
                [embed_signals(trainer.model, signals[at : at + 64]) for at in range(0, len(signals), 64)]
            )

    x, y = embed(training), embed(test)
    scores = {name: fit_probe(x, training.labels[name], y) for name in VOLTAGE}
    faint = embed(training, FAINT)
    which = np.repeat([0, 1], [len(x), len(faint)])
    both = np.concatenate([y, embed(test, FAINT)])
    return scores | {SAME: fit_probe(np.concatenate([x, faint]), which, both)}


if __name__ == "__main__":
    main()
