"""Effect of each correction of the published method: many small runs of the same length, side by side.

    dbeta corpus build ptb-xl PTB-XL-FOLDER runs/corpus/ptb-xl && dbeta corpus negatives runs/corpus/ptb-xl
    python benchmarks/ablation.py runs/corpus/ptb-xl [--json FILE] [--steps 228] [--seeds 3] [--only NAME ...]

Every run trains a model of 0.6 M parameters at 125 Hz from random weights on the available records of PTB-XL's folds
1–8 and is measured on fold 9, after the last step, so fold 9 selects nothing. Zero-shot: macro AUROC of the five
super-classes, and of all findings with at least ten positives, with their prompts. Probe: logistic regression on frozen
embeddings of a tenth of the training patients, super-classes; hypertrophy and low voltage from all training records.
ETM: how often the model tells a record's own report from another one of fold 9. Figures are means over the seeds with
95 % intervals by bootstrap over patients; ± is the standard deviation over seeds. Below each figure is its difference
from the first variant, on the same patients.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import PrinterCallback

from dbeta.corpus.store import CorpusRows, decode_signal, encode_signal, read_counts
from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaWarning
from dbeta.inference.dbeta import DBeta
from dbeta.signal.preprocess import InputFormat, prepare_signal
from dbeta.training.collate import PretrainCollator
from dbeta.training.data import Data, load_data
from dbeta.training.pairs import with_signs
from dbeta.training.pretrain import make_trainer
from dbeta.training.recipe import CollatorSettings, Optimization, Recipe
from dbeta.training.validation import Validation, evaluating
from scoring import Fold, Scores, fit_probe, fold, interval, macro, super_labels, tenth_of_patients

RATE = 125
SIZES: dict[str, Any] = {
    "sampling_rate": RATE,
    "n_samples": 10 * RATE,
    "conv_layers": [[48, 8, 5], [96, 5, 4]],
    "conv_pos_kernel": 24,
    "conv_pos_groups": 8,
    "hidden_size": 96,
    "ecg_layers": 2,
    "ecg_heads": 3,
    "ecg_intermediate_size": 192,
    "text_config": {
        "vocab_size": 1024,
        "d_model": 96,
        "d_kv": 32,
        "d_ff": 192,
        "num_layers": 2,
        "num_heads": 3,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
    },
    "max_text_tokens": 32,
    "fusion_layers": 2,
    "fusion_heads": 3,
    "fusion_intermediate_size": 192,
    "mem_layer": 1,
    "mem_hidden_size": 48,
    "mem_layers": 1,
    "mem_heads": 2,
    "initializer_range": 0.05,
}
#: The published method, including its defects, as far as data and size allow.
FAITHFUL = Recipe(
    preset="tiny",
    negatives="n3s",
    model=SIZES | {"faithful": True},
    collator=CollatorSettings(written_share=0.0, misaligned_share=0.5, negatives_seen=False, pairs="pair"),
    optimizer=Optimization(head_rate=1.0, schedule="three_stage"),
    training={
        "per_device_train_batch_size": 64,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "adam_beta2": 0.98,
        "adam_epsilon": 1e-6,
        "logging_steps": 20,
        "save_strategy": "no",
        "eval_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    },
)
SEEN = {"negatives_seen": True}
ENTAILMENT = {"pairs": "entailment", "written_share": 0.5, "prompts": 24}
#: Name → changes to the model and to the collator.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "faithful": ({}, {}),
    "N3S seen": ({}, SEEN),
    "text mask": ({"text_attention_mask": True}, {}),
    "equal reports": ({}, {"pairs": "equal"}),
    "MEM target": ({"mem_target": "full"}, {}),
    "voltage": ({"voltage": True}, {}),
    "full view": ({"ets_full_view": True}, {}),
    "learnt scale": ({"ets_cosine": True}, {}),
    "written texts": ({}, {"written_share": 0.5}),  # control: entailment's texts without its labels and prompts
    "entailment": ({}, ENTAILMENT),
    "all together": ({"faithful": False}, SEEN | ENTAILMENT),
    "all but voltage": ({"faithful": False, "voltage": False}, SEEN | ENTAILMENT),
}
#: Findings that are defined by voltage.
VOLTAGE = ("left ventricular hypertrophy", "low qrs voltage")
console = Console(width=150)


def main() -> None:
    """Train, measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there; runs already in it are not repeated")
    parser.add_argument("--steps", type=int, default=228)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS)[:-1])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, each on one thread")
    args = parser.parse_args()
    done: dict[str, Any] = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    settings = {"corpus": read_counts(args.corpus)["records"], "sizes": SIZES, "training": FAITHFUL.training}
    if done.setdefault("settings", settings) != settings:
        sys.exit(f"{args.json}: contains runs with another corpus or other settings; name another file")
    runs = done.setdefault("runs", {})
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as executor:
        waiting = {
            executor.submit(run, name, seed, args.steps, args.corpus): f"{name}/{seed}/{args.steps}"
            for seed in range(args.seeds)
            for name in args.only
            if f"{name}/{seed}/{args.steps}" not in runs
        }
        for future in as_completed(waiting):
            key = waiting[future]
            runs[key] = future.result()
            console.print(f"{key}: {runs[key]['seconds']:.0f} s, super {runs[key]['super']:.3f}")
            save(args.json, done)
    data, _, test = prepare(args.corpus)
    done["table"] = summarise(args, runs, test, data.validation.common)
    save(args.json, done)


def save(file: Path | None, content: dict[str, Any]) -> None:
    """Write the figures so far, atomically."""
    if file is not None:
        partial = file.with_name(file.name + ".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(file)


@cache
def prepare(corpus: Path) -> tuple[Data, Fold, Fold]:
    """Load the corpus at 125 Hz into memory, once for all runs of a process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DBetaWarning)
    datasets.disable_progress_bars()
    data = load_data(replace(FAITHFUL, corpus=str(corpus)))
    rows = data.training[0]
    assert isinstance(rows, CorpusRows)
    training = at_rate(rows.corpus.select(rows.rows))
    test = at_rate(data.validation.corpus)
    small = replace(
        data,
        training=[CorpusRows(training, np.arange(len(training)))],
        validation=Validation.of([(test, data.decided[0])]),
    )
    return small, fold(training), fold(test)


def at_rate(corpus: Any) -> Any:
    """Resample the signals of all rows."""
    wanted = InputFormat(RATE, 10 * RATE)

    def resample(row: dict[str, Any]) -> dict[str, Any]:
        return encode_signal(ECG(prepare_signal(decode_signal(row), wanted), RATE, LEADS))

    return datasets.Dataset.from_list([row | resample(row) for row in corpus])


def train(name: str, seed: int, steps: int, data: Data) -> Any:
    """Train one model and return its trainer."""
    model_changes, collator_changes = VARIANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        recipe = replace(
            FAITHFUL,
            output=folder,
            model=FAITHFUL.model | model_changes,
            collator=replace(FAITHFUL.collator, **collator_changes),
            training=FAITHFUL.training | {"max_steps": steps, "seed": seed},
        )
        trainer = make_trainer(recipe, data)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer


def run(name: str, seed: int, steps: int, corpus: Path) -> dict[str, Any]:
    """Train one model and measure it; scores are kept, so that intervals can be computed over several seeds."""
    data, training, test = prepare(corpus)
    start = time.perf_counter()
    trainer = train(name, seed, steps, data)
    seconds = time.perf_counter() - start
    model, processor = trainer.model, trainer.processor
    with evaluating(model):
        dbeta = DBeta(model, processor, batch_size=64)
        embeds = dbeta.embed(decode_signal(row) for row in test.rows)
        train_embeds = dbeta.embed(decode_signal(row) for row in training.rows)
        asked = list(dict.fromkeys([*super_labels(test), *data.validation.common]))
        directions = np.stack([dbeta.embed_condition(one) for one in asked])
    unit = embeds / np.linalg.norm(embeds, axis=1, keepdims=True)
    scores = dict(zip(asked, (unit @ directions.T).T, strict=True))
    tenth = tenth_of_patients(training.patients)
    supers = list(super_labels(test))
    probe = {one: fit_probe(train_embeds[tenth], training.labels[one][tenth], embeds) for one in supers}
    volts = {
        one: fit_probe(train_embeds, training.labels[one], embeds)
        for one in VOLTAGE
        if one in test.labels and one in training.labels
    }
    return {
        "seconds": seconds,
        "super": macro(test, {one: scores[one] for one in supers}),
        "etm_accuracy": etm_accuracy(trainer, data, test),
        "last_losses": {key: value for key, value in trainer.state.log_history[-2].items() if key.endswith("loss")},
        "scores": {
            kind: {one: rounded(x) for one, x in table.items()}
            for kind, table in {"zero-shot": scores, "probe": probe, "voltage": volts}.items()
        },
    }


def rounded(scores: np.ndarray) -> list[float]:
    """Round scores for JSON."""
    return [round(float(x), 5) for x in scores]


@torch.no_grad()
def etm_accuracy(trainer: Any, data: Data, test: Fold) -> float:
    """Accuracy of the ETM head on full ECGs and texts of fold 9, half of them with another record's report."""
    model, device = trainer.model.eval(), trainer.args.device
    settings = CollatorSettings(written_share=0.0, misaligned_share=0.5, pairs="equal")
    collator = PretrainCollator(trainer.processor, model.config, settings, decided=data.decided)
    right = total = 0
    rows = [row | {"position": i} for i, row in enumerate(test.rows) if row["report"]]
    for at in range(0, len(rows) - 1, 64):
        batch = with_signs(collator(rows[at : at + 64]), "pair")
        output = model(batch["target_ecg"].to(device), batch["target_ids"], batch["attention_mask"])
        right += int((output.etm_logits.argmax(dim=-1) == batch["aligned"].long()).sum())
        total += len(batch["aligned"])
    return right / total


def summarise(args: argparse.Namespace, runs: dict[str, Any], test: Fold, common: list[str]) -> dict[str, Any]:
    """Print the table, variants × figures, and return it."""
    supers = list(super_labels(test))
    figures: dict[str, tuple[str, Any]] = {
        "zero-shot super": ("zero-shot", supers),
        "zero-shot findings": ("zero-shot", common),
        "10 % probe super": ("probe", supers),
        "probe LVH": ("voltage", VOLTAGE[:1]),
        "probe low voltage": ("voltage", VOLTAGE[1:]),
    }
    counts = {one: int(test.labels[one].sum()) for one in (*supers, *VOLTAGE) if one in test.labels}
    view = Table(title=f"fold 9: {len(test.rows)} records, positives {counts}; {args.steps} steps, {args.seeds} seeds")
    view.add_column("variant")
    for column in (*figures, "ETM accuracy"):
        view.add_column(column, justify="right")

    def scores(name: str, kind: str, asked: Any) -> list[Scores]:
        found = [runs[f"{name}/{seed}/{args.steps}"]["scores"][kind] for seed in range(args.seeds)]
        return [{one: np.array(table[one]) for one in asked} for table in found]

    first = args.only[0]
    table: dict[str, Any] = {}
    for name in args.only:
        cells: list[str] = []
        row: dict[str, Any] = {}
        for column, (kind, asked) in figures.items():
            mine, other = scores(name, kind, asked), scores(first, kind, asked)
            spread = statistics.pstdev([macro(test, one) for one in mine])
            whole, difference = interval(test, mine), interval(test, mine, other)
            row[column] = {"auroc": whole, "sd": round(spread, 4), "difference": difference}
            cell = "{:.3f} ({:.3f}–{:.3f})".format(*whole) + f" ±{spread:.3f}"
            cells.append(cell if name == first else cell + "\n{:+.3f} ({:+.3f} to {:+.3f})".format(*difference))
        accuracy = [runs[f"{name}/{seed}/{args.steps}"]["etm_accuracy"] for seed in range(args.seeds)]
        row["ETM accuracy"] = {"mean": round(statistics.mean(accuracy), 4), "sd": round(statistics.pstdev(accuracy), 4)}
        view.add_row(name, *cells, f"{statistics.mean(accuracy):.3f} ±{statistics.pstdev(accuracy):.3f}")
        table[name] = row
    console.print(view)
    return table


if __name__ == "__main__":
    main()
