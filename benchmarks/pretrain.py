"""How fast pretraining is, side by side in one run.

    python benchmarks/pretrain.py [--json FILE] [--corpus CORPUS] [--quick]

(1) Training records a second at the paper's size, random weights, one after the other: the published recipe as its code
computes it (eager float32, attention written out, a bare loop of forward, backward and AdamW on a batch that is there);
the same recipe through this project's trainer, loader, log and safeguards included (SDPA, bf16 where the processor has
units for it); and this project's default, which computes more (the whole ECG and text besides the masked ones). With
the share of this machine's own matrix peak. Where there is a GPU, there.
(2) Records a second that one loader process makes: 500 Hz recordings in Arrow, read at random, to whole batches with
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

#: The published collator, as far as it makes a step longer or shorter.
PUBLISHED: dict[str, Any] = {"pairs": "pair", "written_share": 0.0}
Preset = Literal["base", "tiny"]
console = Console(width=120)


def main() -> None:
    """Measure, print, and write what was asked for."""
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
    """Records a second of the published code's way and of the trainer."""
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
    """The quickest of some eager float32 steps on the trainer's first batch."""
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
            if turn:  # the first warms up
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
    """The quickest of some steps of the trainer, as it logs them."""
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
    """A trainer on made-up data, ready to go."""
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
    """Attention as the published code computes it: scores, softmax and sums as operations of their own."""

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
    """Records a second of one process, reading and collating."""
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
    """All rows of a corpus."""
    rows = load_corpus(corpus)
    return CorpusRows(rows, np.arange(len(rows)))


def made_up_rows(folder: Path, count: int) -> CorpusRows:
    """The ECG that pydicom ships at other gains, with made-up reports, on disk as a corpus is."""
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
