"""Measures the cost of N3S negatives: building the table, and drawing in training.

    python benchmarks/negatives.py [--reports N] [--draws N] [--table CSV] [--json FILE]

N unique reports are composed of typical machine statements. (1) Seconds and peak memory of building the table with the
default encoder, for texts and findings as in a corpus. (2) Microseconds per negative: by look-up in that table, from
the record's row to the negative's text; and computed at each draw, as published: the report goes through a text encoder
of Flan-T5-small's size (random weights, which take the same time), then all embeddings are searched. The dictionary of
all reports, which the published code also builds at each draw, is left out.

With `--table ptbxl_database.csv`, or another CSV with a column `report`: measures whether a few of its reports (folds
1–9) supply most of the negatives, for plain, centred and, as by default, halfway whitened embeddings.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from transformers import T5Config, T5EncoderModel
from transformers.utils import logging

from dbeta.corpus.negative_search import COUNT, find_negatives, record_text, spread
from dbeta.corpus.negatives import Negatives
from dbeta.corpus.report_text import clean_report
from dbeta.corpus.text_embeddings import embed_texts, open_encoder
from dbeta.corpus.tokenizer import train_tokenizer

RHYTHMS = (
    "sinus rhythm",
    "sinus tachycardia",
    "sinus bradycardia",
    "sinus arrhythmia",
    "atrial fibrillation",
    "atrial flutter",
    "ectopic atrial rhythm",
    "junctional rhythm",
    "ventricular-paced rhythm",
    "av-paced rhythm",
)
STATEMENTS = (
    "left axis deviation",
    "right axis deviation",
    "indeterminate axis",
    "leftward axis",
    "rightward axis",
    "left bundle branch block",
    "right bundle branch block",
    "incomplete right bundle branch block",
    "left anterior fascicular block",
    "left posterior fascicular block",
    "bifascicular block",
    "first degree av block",
    "nonspecific intraventricular conduction delay",
    "short pr interval",
    "prolonged qt interval",
    "early repolarization",
    "left ventricular hypertrophy",
    "left ventricular hypertrophy by voltage only",
    "right ventricular hypertrophy",
    "left atrial enlargement",
    "right atrial enlargement",
    "low qrs voltages in limb leads",
    "low qrs voltages",
    "premature ventricular contractions",
    "premature atrial contractions",
    "ventricular bigeminy",
    "fusion complexes",
    "poor r wave progression",
    "pulmonary disease pattern",
    "tall t waves",
    "st elevation",
    "artifact in lead(s) v1",
)
PLACES = ("anterior", "inferior", "lateral", "septal", "anteroseptal", "anterolateral", "inferolateral", "posterior")
CHANGES = (
    "st-t changes",
    "t wave changes",
    "infarct, old",
    "infarct, age undetermined",
    "infarct, possibly acute",
    "st depression",
    "st elevation",
    "t wave inversion",
    "ischemia",
    "q waves",
)
GRADES = ("", "", "possible ", "probable ", "borderline ", "consider ", "marked ", "minor nonspecific ")
SUMMARIES = ("normal ecg", "abnormal ecg", "borderline ecg", "otherwise normal ecg")


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=20, help="number of negatives computed as published")
    parser.add_argument("--table", type=Path, help="CSV of real reports: measure how evenly they are used instead")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    logging.disable_progress_bar()
    figures = measure_hubs(args.table) if args.table else measure(write_rows(args.reports), args.draws)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def write_rows(count: int) -> list[dict[str, Any]]:
    """Make rows with unique reports: a rhythm, up to six statements and a summary; findings are the statements."""
    rng = random.Random(0)
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < count:
        findings = [rng.choice(RHYTHMS)]
        for _ in range(rng.randint(0, 6)):
            change = f"{rng.choice(PLACES)} {rng.choice(CHANGES)}" if rng.random() < 0.5 else rng.choice(STATEMENTS)
            findings.append(change)
        report = ". ".join([findings[0], *(rng.choice(GRADES) + one for one in findings[1:]), rng.choice(SUMMARIES)])
        rows.setdefault(report, {"report": report, "findings": findings, "unknown": []})
    return list(rows.values())


def measure(rows: list[dict[str, Any]], draws: int) -> dict[str, Any]:
    """Measure seconds, memory and microseconds per negative, and statistics of the table."""
    start = time.perf_counter()
    table, about = find_negatives(rows, count=COUNT)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    findings = [frozenset(row["findings"]) for row in rows]
    negatives = Negatives(table, [row["report"] for row in rows], findings, findings, about)
    rng = random.Random(0)
    chosen = rng.choices(rows, k=200_000)
    start = time.perf_counter()
    for row in chosen:
        negatives.reports[negatives.draw(negatives.id_of(record_text(row)), rng.random())]
    look_up = (time.perf_counter() - start) / len(chosen) * 1e6

    computed = compute_draws(negatives.reports, draws, rng)
    figures = {
        "reports": len(rows),
        "seconds to build": seconds,
        "peak memory, MB": peak,
        "µs per negative, look-up": look_up,
        "µs per negative, computed as published": computed,
        "ratio": computed / look_up,
        **{name: about[name] for name in ("most_used_percent_share", "ever_used", "may_be_true")},
    }
    show(figures)
    return figures


def show(figures: dict[str, Any]) -> None:
    """Print a table."""
    view = Table("", "figure", title="Negatives")
    for name, figure in figures.items():
        view.add_row(name, f"{figure:,.4g}" if isinstance(figure, float) else f"{figure:,}")
    Console().print(view)


def measure_hubs(file: Path) -> dict[str, Any]:
    """Measure how unevenly the negatives fall on a table's unique reports, for plain and whitened embeddings."""
    table = pd.read_csv(file)
    if "strat_fold" in table:
        table = table[table["strat_fold"] < 10]
    texts = [text for text in dict.fromkeys(clean_report(str(one)) for one in table["report"]) if text]
    plain = embed_texts(texts)
    centred = plain - plain.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    figures: dict[str, Any] = {"unique reports": len(texts)}
    for name, embeddings in (("plain", plain), ("centred", centred), ("halfway whitened", spread(plain))):
        index = faiss.IndexFlatIP(embeddings.shape[1])
        index.add(embeddings)
        used = np.bincount(index.search(-embeddings, COUNT)[1].ravel(), minlength=len(texts))
        top = np.sort(used)[::-1][: -(-len(texts) // 100)]
        figures[f"{name}: share of the 1 % used most"] = float(top.sum() / used.sum())
        figures[f"{name}: reports ever used"] = float((used > 0).mean())
    share = ": share of the 1 % used most"
    figures["ratio"] = figures["plain" + share] / figures["halfway whitened" + share]
    show(figures)
    return figures


def compute_draws(reports: list[str], draws: int, rng: random.Random) -> float:
    """Microseconds per negative if each draw encodes its report and searches all reports."""
    config = T5Config(
        vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu"
    )
    with tempfile.TemporaryDirectory() as folder:
        T5EncoderModel(config).save_pretrained(folder)
        train_tokenizer(reports[:2000], 2000).save_pretrained(folder)
        encode = open_encoder(folder)
        # The search time does not depend on the numbers
        embeddings = np.random.default_rng(0).standard_normal((len(reports), config.d_model), np.float32)
        index = faiss.IndexFlatIP(config.d_model)
        index.add(embeddings)
        encode(reports[:1])
        start = time.perf_counter()
        for text in rng.choices(reports, k=draws):
            query = encode([text])
            rng.choice(index.search(-query / np.linalg.norm(query), COUNT)[1][0])
        return (time.perf_counter() - start) / draws * 1e6


if __name__ == "__main__":
    main()
