"""How fast pretraining is, side by side in one run.

    python benchmarks/pretrain.py [--json FILE] [--corpus CORPUS] [--quick]

(1) Training records a second, base-size with random weights, on the same made-up batch: as published (eager float32,
softmax attention written out, T5's eager attention) and as this project's recipes train (SDPA, bf16 where the processor
has units for it), with the share of this machine's own matrix peak. The two take turns; the best turn counts. Where
there is a GPU, all of it there.
(2) Records a second that one loader process makes: a corpus of 500 Hz recordings in Arrow, read at random, to whole
batches with masks, texts, tokens and facts; `--corpus` reads a real one.
(3) Microseconds per negative by table, against computing it in the collator: see `benchmarks/negatives.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from pydicom.data import get_testdata_file
from rich.console import Console
from rich.table import Table
from torch import Tensor

import dbeta
from dbeta.checkpoint import fastest_dtype
from dbeta.corpus.store import CorpusRows, encode_signal, load_corpus
from dbeta.corpus.tokenizer import train_tokenizer
from dbeta.model import DBetaModel
from dbeta.model.config import DBetaConfig
from dbeta.processing import DBetaProcessor
from dbeta.training.collate import PretrainCollator
from dbeta.training.estimate import made_up_batch
from dbeta.training.flops import count_flops, matrix_peak
from dbeta.training.stream import TrainingStream

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
    config = DBetaConfig.tiny() if args.quick else DBetaConfig.base()
    if args.quick:
        args.turns, args.batch_size = 1, 2
    figures: dict[str, Any] = {"batch_size": args.batch_size, "threads": torch.get_num_threads()}
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        figures[f"training-{device}"] = training(config, torch.device(device), args.batch_size, args.turns)
    figures["loader"] = loader(args.corpus, 128 if args.quick else 4096)
    figures["ratio"] = {name: one["ratio"] for name, one in figures.items() if name.startswith("training")}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def training(config: DBetaConfig, device: torch.device, batch_size: int, turns: int) -> dict[str, Any]:
    """Steps as published and as the recipes make them, in turns."""
    torch.manual_seed(0)
    dtype = fastest_dtype(device)
    batch = {name: value.to(device) for name, value in made_up_batch(config, batch_size).items()}
    model = DBetaModel(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    flops = 3 * count_flops(model, batch)
    peaks = {"published": matrix_peak(device, torch.float32), "default": matrix_peak(device, dtype)}

    def step(narrow: bool) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    def published() -> None:
        with eager_attention(model):
            step(False)

    ways: dict[str, Callable[[], None]] = {"published": published, "default": lambda: step(dtype == torch.bfloat16)}
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(turns + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:  # the first warms up
                best[name] = min(best[name], time.perf_counter() - start)
    view = Table(title=f"training, {device}, {batch_size} records a step", title_justify="left")
    for column in ("way", "records/s", "ratio", "share of matrix peak"):
        view.add_column(column, justify="left" if column == "way" else "right")
    found: dict[str, Any] = {"dtype": str(dtype), "parameters": sum(one.numel() for one in model.parameters())}
    for name, seconds in best.items():
        mfu = flops / seconds / peaks[name]
        found[name] = {"records_per_second": batch_size / seconds, "mfu": mfu}
        view.add_row(name, f"{batch_size / seconds:.2f}", f"{best['published'] / seconds:.2f}", f"{mfu:.0%}")
    found["ratio"] = best["published"] / best["default"]
    console.print(view)
    return found


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


def loader(corpus: Path | None, records: int) -> dict[str, Any]:
    """Records a second of one process, reading and collating."""
    with tempfile.TemporaryDirectory() as folder:
        rows = real_rows(corpus) if corpus else made_up_rows(Path(folder), 512)
        texts = [text for text in rows.table.column("report").to_pylist() if text]
        findings = [one for row in rows.table.column("findings").to_pylist() for one in row]
        processor = DBetaProcessor(train_tokenizer([*texts, *findings], 2048), max_text_tokens=96)
        decided = sorted(set(findings))
        found: dict[str, Any] = {"corpus": str(corpus or "made up")}
        view = Table(title="one loader process", title_justify="left")
        for column in ("settings", "records/s"):
            view.add_column(column, justify="left" if column == "settings" else "right")
        for name, settings in {
            "reports, masks (paper)": {"pairs": "pair", "written_share": 0.0},
            "written texts, entailment": {"pairs": "entailment", "written_share": 0.5, "prompts": 64},
            "the same, gains and crops": {
                "pairs": "entailment",
                "written_share": 0.5,
                "prompts": 64,
                "gain_jitter": 0.1,
                "crop": 0.5,
            },
        }.items():
            collator = PretrainCollator(
                processor,
                DBetaConfig.base(),
                decided=[decided],
                **settings,  # type: ignore[arg-type]
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
