"""How fast is pretraining? The published way and this project's, side by side.

    python benchmarks/pretrain.py [--json FILE] [--corpus CORPUS] [--quick]

(1) Training records per second at the paper's size, random weights: the published recipe as its code computes it (eager
float32, explicit attention, a bare loop of forward, backward and AdamW on a batch in memory); the same recipe with this
project's trainer, including loader, log and safeguards (SDPA, bf16 if the hardware supports it); and this project's
default, which computes more (the full ECG and text besides the masked ones). Each with its share of this machine's
matrix peak; on the GPU if there is one.
(2) Records per second of one loader process: 500 Hz recordings in Arrow, read in random order, to complete batches with
masks, texts, tokens and facts; `--corpus` reads a real corpus.
(3) Microseconds per negative: looked up in the table, and computed in the collator as published (`negatives.py`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from pydicom.data import get_testdata_file
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import PrinterCallback

import dbeta
from dbeta.corpus.store import CorpusRows, encode_signal, load_corpus
from dbeta.corpus.tokenizer import train_tokenizer
from dbeta.model import DBetaModel
from dbeta.model.config import DBetaConfig
from dbeta.model.processor import DBetaProcessor
from dbeta.training.collate import PretrainCollator
from dbeta.training.data import Data
from dbeta.training.flops import count_flops, matrix_peak
from dbeta.training.pairs import with_signs
from dbeta.training.pretrain import make_trainer
from dbeta.training.recipe import CollatorSettings, Recipe
from dbeta.training.stream import TrainingStream
from dbeta.training.trainer import PretrainTrainer
from dbeta.training.validation import Validation
from negatives import measure, write_rows

#: Settings of the published collator that affect the time of a step.
PUBLISHED: dict[str, Any] = {"pairs": "pair", "written_share": 0.0}
Preset = Literal["base", "tiny"]
console = Console(width=120)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--corpus", type=Path, help="a corpus to load from instead of a made-up one")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one turn: does it run at all?")
    args = parser.parse_args()
    if args.quick:
        args.turns, args.batch_size = 1, 2
    gpu = torch.cuda.is_available()
    figures: dict[str, Any] = {"batch_size": args.batch_size, "threads": torch.get_num_threads(), "gpu": gpu}
    with tempfile.TemporaryDirectory() as folder:
        rows = real_rows(args.corpus) if args.corpus else made_up_rows(Path(folder), 512)
        figures["training"] = training("tiny" if args.quick else "base", rows, args.batch_size, args.turns)
        figures["loader"] = loader(rows, 128 if args.quick else 4096)
    figures["negatives"] = measure(write_rows(500 if args.quick else 20_000), 3 if args.quick else 20)
    figures["ratio"] = {
        "training": figures["training"]["faithful"]["ratio"],
        "negatives": figures["negatives"]["ratio"],
    }
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def training(preset: Preset, rows: CorpusRows, batch_size: int, turns: int) -> dict[str, Any]:
    """Measure records per second of the published code's way and of the trainer."""
    found: dict[str, Any] = {
        "published": published_step(preset, rows, batch_size, turns),
        "faithful": trained(
            preset, {"faithful": True}, {"pairs": "pair", "written_share": 0.0}, rows, batch_size, turns
        ),
        "default": trained(preset, {}, {"prompts": 4}, rows, batch_size, turns),
    }
    view = Table(title=f"training, {preset}, {batch_size} records a step", title_justify="left")
    for column in ("way", "records/s", "ratio", "share of matrix peak"):
        view.add_column(column, justify="left" if column == "way" else "right")
    names = ("the published recipe, as published", "the published recipe, this trainer", "the default, this trainer")
    for name, one in zip(names, found.values(), strict=True):
        one["ratio"] = one["records_per_second"] / found["published"]["records_per_second"]
        view.add_row(name, f"{one['records_per_second']:.2f}", f"{one['ratio']:.2f}", f"{one['mfu']:.0%}")
    console.print(view)
    return found


def published_step(preset: Preset, rows: CorpusRows, batch_size: int, turns: int) -> dict[str, float]:
    """Time eager float32 steps on the trainer's first batch; the fastest counts."""
    trainer = make(preset, {"faithful": True}, PUBLISHED, rows, batch_size, turns)
    device, model = trainer.args.device, trainer.model.train()
    first = with_signs(trainer.data_collator(trainer.train_dataset.__getitems__(range(batch_size))), "pair")
    batch = {name: value.to(device) for name, value in first.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    flops = 3 * count_flops(model, batch)
    best = float("inf")
    with eager_attention(model):
        for turn in range(turns + 1):
            start = time.perf_counter()
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first is a warm-up
                best = min(best, time.perf_counter() - start)
    return {"records_per_second": batch_size / best, "mfu": flops / best / matrix_peak(device, torch.float32)}


def trained(
    preset: Preset,
    model: dict[str, Any],
    collator: dict[str, Any],
    rows: CorpusRows,
    batch_size: int,
    turns: int,
) -> dict[str, float]:
    """Time steps of the trainer, as it logs them; the fastest counts."""
    trainer = make(preset, model, collator, rows, batch_size, turns)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "samples_per_second" in entry][1:]
    best = max(steps, key=lambda entry: entry["samples_per_second"])
    return {"records_per_second": best["samples_per_second"], "mfu": best["mfu"]}


def make(
    preset: Preset,
    model: dict[str, Any],
    collator: dict[str, Any],
    rows: CorpusRows,
    batch_size: int,
    turns: int,
) -> PretrainTrainer:
    """Make a trainer with synthetic data."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(
            preset=preset,
            output=folder,
            model=model,
            collator=CollatorSettings(**collator),
            training={
                "bf16": "auto",
                "max_steps": turns + 1,
                "per_device_train_batch_size": batch_size,
                "learning_rate": 1e-6,
                "logging_steps": 1,
                "save_strategy": "no",
                "disable_tqdm": True,
            },
        )
        names = sorted({one for row in rows.table.column("findings").to_pylist() for one in row})
        validation = Validation.of([(rows.corpus.select(range(1)), names)])
        return make_trainer(recipe, Data([rows], [1.0], validation, [names], None))


@contextmanager
def eager_attention(model: DBetaModel) -> Any:
    """Compute attention as the published code does: scores, softmax and sums as separate operations."""

    def attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0) -> Tensor:
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
        return F.dropout(scores.softmax(dim=-1), dropout_p) @ v

    text = model.text_encoder.t5.config
    before = text._attn_implementation
    text._attn_implementation = "eager"
    try:
        with mock.patch("torch.nn.functional.scaled_dot_product_attention", attention):
            yield
    finally:
        text._attn_implementation = before


def loader(rows: CorpusRows, records: int) -> dict[str, Any]:
    """Measure records per second of one process, reading and collating."""
    texts = [text for text in rows.table.column("report").to_pylist() if text]
    findings = [one for row in rows.table.column("findings").to_pylist() for one in row]
    processor = DBetaProcessor(train_tokenizer([*texts, *findings], 2048), max_text_tokens=96)
    written: dict[str, Any] = {"pairs": "entailment", "written_share": 0.5, "prompts": 64}
    ways: dict[str, dict[str, Any]] = {
        "reports and masks (paper)": {"pairs": "pair", "written_share": 0.0},
        "written texts, entailment, 64 prompts": written,
        "the same with gains and crops": written | {"gain_jitter": 0.1, "crop": 0.5},
    }
    found: dict[str, Any] = {}
    view = Table(title="one loader process, batches of 128", title_justify="left")
    view.add_column("settings")
    view.add_column("records/s", justify="right")
    for name, settings in ways.items():
        collator = PretrainCollator(
            processor, DBetaConfig.base(), CollatorSettings(**settings), decided=[sorted(set(findings))]
        )
        stream = TrainingStream([rows], [1.0], records, seed=0)
        best = float("inf")
        for turn in range(3):
            start = time.perf_counter()
            for at in range(0, records, 128):
                collator(stream.__getitems__(range(at, min(at + 128, records))))
            if turn:
                best = min(best, time.perf_counter() - start)
        found[name] = records / best
        view.add_row(name, f"{records / best:,.0f}")
    console.print(view)
    return found


def real_rows(corpus: Path) -> CorpusRows:
    """Load all rows of a corpus."""
    rows = load_corpus(corpus)
    return CorpusRows(rows, np.arange(len(rows)))


def made_up_rows(folder: Path, count: int) -> CorpusRows:
    """Write the ECG that pydicom ships, at various gains and with made-up reports, as a corpus on disk."""
    ecg = dbeta.read_ecg(get_testdata_file("waveform_ecg.dcm")).standard()
    signal = DBetaProcessor().signal(ecg)
    random = np.random.default_rng(0)
    names = ["sinus rhythm", "left axis deviation", "atrial fibrillation", "left ventricular hypertrophy", "normal ecg"]
    rows = []
    for _ in range(count):
        chosen = [str(one) for one in random.choice(names, size=int(random.integers(1, 4)), replace=False)]
        gain = random.uniform(0.5, 1.5)
        rows.append(
            encode_signal(dbeta.ECG(signal * gain, 500, dbeta.ecg.LEADS))
            | {"report": f"{'. '.join(chosen)}. rate {random.integers(40, 150)}.", "findings": chosen, "unknown": []}
        )
    Dataset.from_list(rows).save_to_disk(folder / "rows")
    corpus = Dataset.load_from_disk(str(folder / "rows"))
    return CorpusRows(corpus, np.arange(len(corpus)))


if __name__ == "__main__":
    main()
