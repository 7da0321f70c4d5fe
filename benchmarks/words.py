"""Do words mean what they say? Negations, numbers, sentences about waves, and texts that differ in one thing.

    python benchmarks/words.py PTB-XL-FOLDER [--model tiny …] [--ludb FOLDER] [--measured FILE] [--json FILE]

On the originals at 500 Hz of PTB-XL's fold 9, on LUDB with its experts' boundaries, and on simulated records:

- zero-shot: macro AUROC of the four tasks, by the prompts of `dbeta evaluate zero-shot`;
- negation: AUROC of "no X" for the absence of X, mean over the default conditions with enough records; how many of the
  first ten of a search for "without X" do not have X;
- numbers: Spearman's rank correlation of the number that matches a record best with the measured one;
- waves: AUROC of the `for` minus the `against` sentences of each condition, and of single sentences and wordings on
  simulated records, where all are known;
- one difference: how often the true text is nearer than one in which a finding, side, territory or number is another.

Held back: wordings that no recipe trains on (`dbeta/conditions/statements.yaml`).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import dbeta
from dbeta.conditions.registry import Condition
from dbeta.conditions.statements import (
    NUMBERS,
    lead_groups,
    negation_forms,
    number_forms,
    number_words,
    sentences,
    wave_names,
    wave_words,
)
from dbeta.conditions.wordings import deniable_wordings
from dbeta.evaluation.zero_shot import zero_shot_scores
from dbeta.inference.dbeta import DBeta
from dbeta.training.one_difference import KINDS, exchange, exchanged_in_report
from dbeta.training.pairs import Record
from dbeta.training.statements import Statement, sign_of, written
from word_records import Records, ludb, ptb_xl_originals, scored_conditions, simulated

FORMS = ("no {x}", "without {x}", "{x} absent", "not {x}", "free of {x}", "kein {x}", "ohne {x}")
#: The form of a number that people type, and the numbers that are tried.
TYPED = {
    "rate": ("heart rate {n}", range(35, 196, 5)),
    "pr": ("PR {n} ms", range(100, 321, 10)),
    "qrs": ("QRS duration {n} ms", range(60, 191, 5)),
    "qtc": ("QTc {n} ms", range(340, 561, 10)),
    "axis": ("axis {n} degrees", range(-90, 151, 10)),
}
FEWEST = 8
console = Console(width=130)
Figures = dict[str, float]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ptb_xl", type=Path)
    parser.add_argument("--model", nargs="+", default=["tiny"], help="name or folder of a checkpoint")
    parser.add_argument("--ludb", type=Path, help="folder of LUDB as published")
    parser.add_argument("--simulated", type=int, default=512, help="simulated records")
    parser.add_argument("--limit", type=int, help="at most so many records of PTB-XL")
    parser.add_argument("--measured", type=Path, help="JSON file to keep the delineation of PTB-XL in")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    real = ptb_xl_originals(args.ptb_xl, args.limit, args.measured)
    computed = simulated(args.simulated)
    expert = ludb(args.ludb) if args.ludb else None
    figures = {name: measured(dbeta.load(name), real, computed, expert) for name in args.model}
    view = Table(title=f"{len(real)} originals of fold 9, {len(computed)} simulated records")
    for column in ("", *figures):
        view.add_column(column)
    for key in next(iter(figures.values())):
        view.add_row(key, *(f"{one[key]:.3f}" for one in figures.values()))
    console.print(view)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def measured(model: DBeta, real: Records, computed: Records, expert: Records | None) -> Figures:
    """All figures of one model."""
    there, made = real.embeds(model), computed.embeds(model)
    figures = zero_shot(model, real, there)
    figures |= negation(model, real, there)
    sources = {"fold 9": (real, there), "simulated": (computed, made)}
    if expert is not None:
        sources["LUDB"] = expert, expert.embeds(model)
    for name, (records, embeds) in sources.items():
        figures |= {f"{key}, {name}": value for key, value in numbers(model, records, embeds).items()}
    figures |= waves(model, real, there, computed, made)
    return figures | one_difference(model, real, there, computed, made)


def auroc(has: np.ndarray, scores: np.ndarray) -> float:
    """Of the records that are decided (1 or 0, not −1); NaN where one side is too rare."""
    kept = has >= 0
    y = has[kept]
    return float(roc_auc_score(y, scores[kept])) if min(y.sum(), (1 - y).sum()) >= FEWEST else float("nan")


def zero_shot(model: DBeta, records: Records, embeds: np.ndarray) -> Figures:
    """Macro AUROC of PTB-XL's tasks over the classes that occur."""
    figures = {}
    for task, (labels, conditions, rows) in records.super_tasks().items():
        scores = zero_shot_scores(model, embeds[rows], conditions)
        columns = zip(labels.T, scores.T, strict=True)
        figures[f"zero-shot {task}"] = float(np.mean([roc_auc_score(y, x) for y, x in columns if 0 < y.sum() < len(y)]))
    return figures


def negation(model: DBeta, records: Records, embeds: np.ndarray) -> Figures:
    """AUROC for the absence of each condition by each form, and the precision of a search for "without X"."""
    conditions = scored_conditions(records, FEWEST)
    has = {one.key: records.labels(one) for one in conditions}

    def absence(forms: Sequence[str], language: str) -> float:
        return float(
            np.mean([_absence(model, embeds, has[one.key], _denied(one, forms, language)) for one in conditions])
        )

    figures = {
        f'negation "{form}"': absence([form], "de" if form.startswith(("kein ", "ohne ")) else "en") for form in FORMS
    }
    figures["negation, mean of these"] = float(np.mean(list(figures.values())))
    figures["negation, held back, English"] = absence(negation_forms("en", held_back=True), "en")
    figures["negation, held back, German"] = absence(negation_forms("de", held_back=True), "de")
    lacking, clean = [], 0
    for one in conditions:
        first = np.argsort(-(embeds @ _unit(model.embed_text(f"without {one.name.lower()}"))[0]))[:10]
        lacking.append(float((has[one.key][first] != 1).mean()))
        clean += lacking[-1] == 1
    figures['search for "without X": precision among the first ten'] = float(np.mean(lacking))
    figures['search for "without X": share of X with none of it there'] = clean / len(conditions)
    return figures


def _denied(condition: Condition, forms: Sequence[str], language: str) -> list[str]:
    name = condition.name.lower() if language == "en" else deniable_wordings(condition.name.lower(), language)[0]
    return [form.format(x=name) for form in forms]


def _absence(model: DBeta, embeds: np.ndarray, has: np.ndarray, texts: Sequence[str]) -> float:
    lacks = np.where(has < 0, -1, 1 - has)
    return float(np.mean([auroc(lacks, embeds @ one) for one in _unit(model.embed_text(texts))]))


def numbers(model: DBeta, records: Records, embeds: np.ndarray) -> Figures:
    """Rank correlation of the best-matching number with the measured one, as typed and by wordings held back."""
    figures = {}
    for name, (typed, tried) in TYPED.items():
        true = records.numbers[:, NUMBERS.index(name)]
        kept = np.isfinite(true)
        if kept.sum() < FEWEST:
            continue
        for kind, forms in (("", (typed,)), (", held back", number_forms(name, "en", held_back=True))):
            found = []
            for form in forms:
                texts = [number_words(form, number).lower() for number in tried]
                best = (embeds[kept] @ _unit(model.embed_text(texts)).T).argmax(axis=1)
                rank = spearmanr(np.array(tried)[best], true[kept]).statistic if len(set(best)) > 1 else 0.0
                found.append(float(rank))
            figures[f"number {name}{kind}"] = float(np.mean(found))
    return figures


def waves(model: DBeta, real: Records, there: np.ndarray, computed: Records, made: np.ndarray) -> Figures:
    """Sentences of conditions.yaml, of conditions on real records and one by one on simulated ones."""
    pairs, single = [], []
    for one in scored_conditions(real, FEWEST):
        has = real.labels(one)
        texts = [_unit(model.embed_text(some)) for some in (one.prompts_for, one.prompts_against)]
        pairs.append(auroc(has, there @ (_unit(texts[0].mean(axis=0)) - _unit(texts[1].mean(axis=0)))))
        single += [auroc(has, there @ text) for text in texts[0]]
    figures = {
        "waves: for minus against, fold 9": float(np.mean(pairs)),
        "waves: single sentences for, fold 9": float(np.mean(single)),
    }
    for held_back in (False, True):
        kind = "held back" if held_back else "taught"
        known = {one: np.array([record.sign(one) for record in computed.known]) for one in sentences(held_back)}
        figures[f"waves: sentences, simulated, {kind}"] = _mean_auroc(model, made, known)
        known = {}
        rng = random.Random(0)
        for wave in wave_names():
            for leads in rng.sample(lead_groups(), 8):
                words = wave_words(wave, leads, rng, "en", held_back=held_back)
                statement = Statement("wave", wave, leads=leads)
                known[words] = np.array([sign_of(statement, record) for record in computed.known])
        figures[f"waves: waves in leads, simulated, {kind}"] = _mean_auroc(model, made, known)
    return figures


def _mean_auroc(model: DBeta, embeds: np.ndarray, known: dict[str, np.ndarray]) -> float:
    """Mean over texts of which enough records are known to fit, and as many not to."""
    texts = list(known)
    scores = embeds @ _unit(model.embed_text(texts)).T
    signs = [np.where(known[text] == 0, -1, (known[text] > 0).astype(int)) for text in texts]
    return float(np.nanmean([auroc(one, column) for one, column in zip(signs, scores.T, strict=True)]))


def one_difference(model: DBeta, real: Records, there: np.ndarray, computed: Records, made: np.ndarray) -> Figures:
    """How often the true text wins, by the cosine, and by `match` where the model has it."""
    figures: Figures = {}
    for kind in KINDS:
        drawn = (simulated_pair(i, record, kind) for i, record in enumerate(computed.known))
        pairs = [pair for pair in drawn if pair is not None]
        figures |= chosen(model, computed, made, pairs, f"one difference, simulated: {kind}")
    for how in ("", ", by match"):
        values = [figures[key] for kind in KINDS if (key := f"one difference, simulated: {kind}{how}") in figures]
        if values:
            figures[f"one difference, simulated: mean of the kinds{how}"] = float(np.mean(values))
    pairs = []
    for i, record in enumerate(real.known):
        text = exchanged_in_report(record.report, record, random.Random(i)) if record.report else None
        if text is not None:
            pairs.append((i, record.report, text.words))
    return figures | chosen(model, real, there, pairs, "one difference, reports of fold 9")


def simulated_pair(number: int, record: Record, kind: str) -> tuple[int, str, str] | None:
    """A true text of up to three findings, or of one and a number, and one that differs in this; None if none can."""
    rng = random.Random(f"{kind} {number}")
    for _ in range(8):
        names = rng.sample(sorted(record.findings), min(len(record.findings), 3))
        plan = [Statement("finding", name) for name in names]
        if kind == "number":
            name = rng.choice([name for name in NUMBERS if np.isfinite(record.value(name))])
            plan = [*plan[:1], Statement("number", name, record.value(name))]
        changed = exchange(plan, record, rng, kind)
        if changed is not None:
            true, false = (written(one, random.Random(number)) for one in (plan, changed))
            return number, true.words, false.words
    return None


def chosen(
    model: DBeta, records: Records, embeds: np.ndarray, pairs: Sequence[tuple[int, str, str]], name: str
) -> Figures:
    """Accuracy over (record, true text, false text)."""
    if not pairs:
        return {}
    rows = [i for i, _, _ in pairs]
    true, false = (_unit(model.embed_text(texts)) for texts in ([a for _, a, _ in pairs], [b for _, _, b in pairs]))
    right = ((true - false) * embeds[rows]).sum(axis=1) > 0
    figures = {f"{name}, n": float(len(pairs)), name: float(right.mean())}
    match: Callable[[Any, list[str]], np.ndarray] | None = getattr(model, "match_matrix", None)
    if match is not None and getattr(model.model.config, "parts", "encoders") == "all":
        scores = [match(records.ecgs[i], [one, other])[0] for i, one, other in pairs]
        figures[f"{name}, by match"] = float(np.mean([score[0] > score[1] for score in scores]))
    return figures


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-12)


if __name__ == "__main__":
    main()
