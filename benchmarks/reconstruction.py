"""How well hidden parts of real recordings are predicted (MEM, `DBeta.reconstruct`).

    python benchmarks/reconstruction.py PTB-XL-FOLDER --model CHECKPOINT … [--limit N] [--pictures FOLDER] [--json FILE]

On the originals at 500 Hz of PTB-XL's fold 9, whose reports are not told. Each figure is the squared error of what was
hidden as a share of its variance: 1 is as good as predicting the mean, 0 is perfect.

- tokens: half of the tokens hidden at random, as the model's pretraining hides them, and with their samples hidden from
  overlapping convolutions too; standardised as MEM's target is.
- a missing lead: each lead in turn, standardised; the six limb leads follow from each other exactly. By ridge
  regression on the other leads' samples (folds 1–8) as a yardstick.
- `reconstruct`: chest leads in millivolts, a whole lead or two seconds of it; for the whole lead with the error
  of its size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

import dbeta
from dbeta.ecg import ECG, LEADS
from dbeta.inference.dbeta import DBeta
from dbeta.inference.reconstruct import NO_REPORT, PASSES
from dbeta.model.losses import mem_targets
from originals import original_signals

CHEST = range(6, 12)
RATE = 500
#: Samples of a dead stretch, and records of folds 1–8 that the regression is fitted on.
STRETCH, FITTED = 2 * RATE, 300
BATCH = 16
console = Console(width=110)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", required=True, help="folder of a checkpoint with the fusion half")
    parser.add_argument("--limit", type=int, help="at most so many records")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the first records")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    signals = np.stack(list(original_signals(args.folder, held_back=True, limit=args.limit)))  # (n, 12, 5000)
    figures = {"regression": regression(args.folder, signals)}
    for name in args.model:
        model = dbeta.load(name)
        figures[name] = measured(model, signals)
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            draw(model, signals[:4], args.pictures / f"{Path(name).name}.png")
    view = Table(title=f"squared error / variance, {len(signals)} originals of fold 9")
    for column in ("hidden", *figures):
        view.add_column(column)
    for key in figures[args.model[0]]:
        view.add_row(key, *(f"{one[key]:.3f}" if key in one else "" for one in figures.values()))
    console.print(view)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def measured(model: DBeta, signals: np.ndarray) -> dict[str, float]:
    """All figures of one model."""
    figures = tokens(model, signals)
    figures |= summarised("a missing lead", missing_leads(model, signals))
    return figures | reconstructed(model, signals)


@torch.inference_mode()
def tokens(model: DBeta, signals: np.ndarray) -> dict[str, float]:
    """Half of the tokens hidden."""
    config, encoder = model.model.config, model.model._ecg_parts()[0]
    order = np.argsort(np.random.default_rng(0).random((len(signals), config.n_tokens)), axis=1)
    hidden = torch.from_numpy(order < config.n_tokens // 2)
    figures = {}
    hides = encoder.hide_samples
    for name, hides_samples in (("half of the tokens, as in training", hides), ("half of the tokens, samples", True)):
        encoder.hide_samples = hides_samples
        error = variance = 0.0
        for ecg, rows in batches(model, signals):
            target = mem_targets(ecg, config.n_tokens, config.samples_per_token).transpose(1, 2).flatten(2)
            found = predicted(model, ecg, hidden[rows])
            at = hidden[rows].repeat_interleave(config.samples_per_token, 1)[:, None].expand_as(target)
            error += float((found - target)[at].square().sum())
            variance += float(target[at].square().sum())
        figures[name] = error / variance
    encoder.hide_samples = hides
    return figures


@torch.inference_mode()
def missing_leads(model: DBeta, signals: np.ndarray) -> np.ndarray:
    """Ratio of each lead, (12,)."""
    config = model.model.config
    ratios = []
    for lead in track(range(12), "a missing lead"):
        error = variance = 0.0
        for ecg, _ in batches(model, signals):
            target = mem_targets(ecg, config.n_tokens, config.samples_per_token).transpose(1, 2).flatten(2)[:, lead]
            shown = ecg.clone()
            shown[:, lead] = 0.0
            nothing = torch.zeros(len(ecg), config.n_tokens, dtype=torch.bool)
            if config.mem_scope == "unseen":
                found = predicted(model, shown, nothing)[:, lead]
            else:
                found = torch.zeros_like(target)
                for turn in range(PASSES):
                    hidden = nothing | (torch.arange(config.n_tokens) % PASSES == turn)
                    here = hidden.repeat_interleave(config.samples_per_token, 1)
                    found = torch.where(here, predicted(model, shown, hidden)[:, lead], found)
            error += float((found - target).square().sum())
            variance += float(target.square().sum())
        ratios.append(error / variance)
    return np.array(ratios)


def reconstructed(model: DBeta, signals: np.ndarray) -> dict[str, float]:
    """Chest leads by `DBeta.reconstruct`, in millivolts."""
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = {"reconstruct, a chest lead, mV": [], "reconstruct, 2 s of a chest lead, mV": []}
    for i, signal in enumerate(track(signals, "reconstruct")):
        lead, start = 6 + i % 6, int(rng.integers(0, signal.shape[1] - STRETCH))
        for name, part in zip(errors, (slice(None), slice(start, start + STRETCH)), strict=True):
            lacking = signal.astype(np.float32)
            lacking[lead, part] = np.nan
            done = model.reconstruct(ECG(lacking, RATE))
            true = signal[lead, part]
            level = signal[lead].mean()
            off = done.signal[lead, part] - true
            errors[name].append(float((off**2).mean() / max(((true - level) ** 2).mean(), 1e-6)))
    return {f"{name}, median": float(np.median(values)) for name, values in errors.items()}


def regression(folder: Path, signals: np.ndarray) -> dict[str, float]:
    """Ratios of each lead by ridge regression on the others' samples, standardised."""
    fitted = np.concatenate([standardised(one) for one in original_signals(folder, held_back=False, limit=FITTED)], 1)
    inner = fitted @ fitted.T / fitted.shape[1]  # (12, 12)
    ratios = []
    for lead in range(12):
        others = [i for i in range(12) if i != lead]
        weights = np.linalg.solve(inner[np.ix_(others, others)] + 1e-3 * np.eye(11), inner[others, lead])
        errors = [np.mean((weights @ x[others] - x[lead]) ** 2) for x in map(standardised, signals)]
        ratios.append(float(np.mean(errors)))
    return summarised("a missing lead", np.array(ratios))


def standardised(signal: np.ndarray) -> np.ndarray:
    """(12, samples)."""
    centred = signal - signal.mean(axis=1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=1, keepdims=True, ddof=1) + 1e-6)


def summarised(name: str, ratios: np.ndarray) -> dict[str, float]:
    """Means over leads, and each chest lead."""
    figures = {f"{name}, mean of 12": float(ratios.mean()), f"{name}, mean of V1–V6": float(ratios[6:].mean())}
    return figures | {f"{name}, {LEADS[i]}": float(ratios[i]) for i in CHEST}


def batches(model: DBeta, signals: np.ndarray) -> Any:
    """The model's input, (B, 12, samples), and which records they are."""
    for start in range(0, len(signals), BATCH):
        rows = slice(start, start + BATCH)
        windows = [model.processor.signal(ECG(one.astype(np.float32), RATE)) for one in signals[rows]]
        yield torch.from_numpy(np.stack(windows)), rows


def predicted(model: DBeta, ecg: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Standardised, (B, 12, tokenised samples)."""
    return model.model.predict_signal(ecg, hidden, **model.processor.tokens([NO_REPORT]))


def draw(model: DBeta, signals: np.ndarray, file: Path) -> None:
    """Draw what was hidden (grey) and what was made up (blue): V2 for one record, a stretch for the next, and so on."""
    figure = Figure(figsize=(16, 2.6 * len(signals)), layout="constrained")
    FigureCanvasAgg(figure)
    time = np.arange(signals.shape[2]) / RATE
    for i, (signal, axes) in enumerate(zip(signals, figure.subplots(len(signals), 1), strict=True)):
        lead = (7, 9, 6, 10)[i % 4]
        part = slice(None) if i % 2 == 0 else slice(3 * RATE, 5 * RATE)
        lacking = signal.astype(np.float32)
        lacking[lead, part] = np.nan
        done = model.reconstruct(ECG(lacking, RATE))
        axes.plot(time, signal[lead], color="0.6", linewidth=1.6, label="recorded")
        axes.plot(time[part], done.signal[lead, part], color="tab:blue", linewidth=0.9, label="made up")
        axes.set_title(f"{LEADS[lead]}, mV", loc="left", fontsize=9)
        axes.legend(loc="upper right", fontsize=8)
    figure.savefig(file, dpi=80)


if __name__ == "__main__":
    main()
