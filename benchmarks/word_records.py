"""Records that wordings are measured on: originals of PTB-XL's fold 9, LUDB with experts' marks, simulated ones."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import wfdb
from rich.progress import track

from dbeta.conditions.registry import Condition, default_conditions
from dbeta.conditions.statements import NUMBERS
from dbeta.corpus.report_text import clean_report
from dbeta.corpus.sources.ptb_xl import VALIDATION_FOLD, read_ptb_xl, read_ptb_xl_table
from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaWarning
from dbeta.evaluation.benchmarks.ptb_xl import TASKS, ptb_xl_conditions, ptb_xl_labels
from dbeta.inference.dbeta import DBeta
from dbeta.io.read import read_ecg
from dbeta.simulation.dataset import rows_of
from dbeta.simulation.delineate import delineate
from dbeta.simulation.finding_table import members
from dbeta.simulation.simulation import RATE, simulate
from dbeta.simulation.wave_facts import numbers_of, wave_facts
from dbeta.training.pairs import Record

#: Infarcts of one wall, of which a reader who names one may mean another.
ANY_EXTENT = (
    "anterior myocardial infarction of any extent",
    "inferior myocardial infarction of any extent",
)
#: Another seed than those of the recipes.
SEED = 907


@dataclass
class Records:
    """Recordings and what is known of them.

    Attributes:
        ecgs: n.
        known: what a collator would know of each.
        numbers: (n, `NUMBERS`), NaN where unknown.
        statements: PTB-XL's codes of each.
        patients: of each.
    """

    ecgs: list[ECG]
    known: list[Record]
    numbers: np.ndarray
    statements: list[list[str]] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self.ecgs)

    def embeds(self, model: DBeta) -> np.ndarray:
        """(n, D) of unit length."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DBetaWarning)
            found = model.embed(self.ecgs)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def labels(self, condition: Condition) -> np.ndarray:
        """1 where a record has a condition, 0 where not, −1 where that is undecided."""
        name = condition.name.lower()
        wider = [one for one in ANY_EXTENT if name in members(one)]
        signs = np.array([max(0, sign) if (sign := one.sign(name)) else -1 for one in self.known])
        for parent in wider:
            near = np.array([any(one.sign(member) > 0 for member in members(parent)) for one in self.known])
            signs[near & (signs == 0)] = -1
        return signs

    def super_tasks(self) -> dict[str, tuple[np.ndarray, dict[str, Condition], np.ndarray]]:
        """PTB-XL's four tasks: labels of the records that have any, conditions, and which records these are."""
        tasks = {}
        for task in [one for one in TASKS if one != "all"]:
            labels = ptb_xl_labels(pd.Series(self.statements), task)
            rows = np.flatnonzero(labels.any(axis=1))
            tasks[task] = labels[rows], ptb_xl_conditions(task), rows
        return tasks


def ptb_xl_originals(raw: Path, limit: int | None, cache: Path | None) -> Records:
    """Fold 9's recordings at 500 Hz as their machines wrote them; numbers by NeuroKit2, kept in `cache`.

    A folder with `restored.csv` says which are not original; without it all are taken to be.
    """
    source = read_ptb_xl(raw)
    table = source.table
    table = table[read_ptb_xl_table(raw)["strat_fold"].to_numpy() == VALIDATION_FOLD]
    listed = raw / "restored.csv"
    if listed.is_file():
        about = pd.read_csv(listed, dtype={"ecg_id": str})
        originals = about["ecg_id"][~about["restored"].astype(bool) & (about["rate"] == 500)]
        table = table[table["record_id"].isin(set(originals))]
    table = table[[(raw / file).with_suffix(".dat").is_file() for file in table["file"]]][:limit]
    ecgs = [read_ecg(raw / file) for file in table["file"]]
    decided = frozenset(source.vocabulary)
    known = [
        Record(clean_report(report), frozenset(findings), decided - frozenset(unknown))
        for report, findings, unknown in zip(table["report"], table["findings"], table["unknown"], strict=True)
    ]
    numbers = _delineated(ecgs, list(table["record_id"]), cache)
    has_p = np.array([one.sign("atrial fibrillation") < 0 and one.sign("atrial flutter") <= 0 for one in known])
    numbers[~has_p, NUMBERS.index("pr")] = np.nan
    return Records(ecgs, known, numbers, list(table["statements"]), list(table["patient_id"]))


def _delineated(ecgs: list[ECG], names: list[str], cache: Path | None) -> np.ndarray:
    """Numbers of records, (n, `NUMBERS`)."""
    kept = json.loads(cache.read_text()) if cache is not None and cache.is_file() else {}
    for name, ecg in track(list(zip(names, ecgs, strict=True)), "delineating", disable=len(kept) >= len(names)):
        if name in kept:
            continue
        found = delineate(ecg.standard().signal.astype(float), ecg.sampling_rate)
        qtc = found.qt / (60 / found.rate) ** (1 / 3)
        values = [found.rate, 1e3 * found.pr, 1e3 * found.qrs, 1e3 * found.qt, 1e3 * qtc, found.axis]
        kept[name] = [None if np.isnan(value) else round(float(value), 1) for value in values]
    if cache is not None:
        cache.write_text(json.dumps(kept))
    return np.array([[np.nan if value is None else value for value in kept[name]] for name in names], dtype=float)


def ludb(folder: Path) -> Records:
    """LUDB's recordings with rates, PR, QRS and QT by the cardiologists' boundaries: medians over leads of medians.

    The raw numbers are microvolts in every lead, whatever gains the headers state.
    """
    ecgs, numbers = [], []
    for header in sorted(folder.glob("data/*.hea"), key=lambda path: int(path.stem)):
        stem = str(header.with_suffix(""))
        record = wfdb.rdrecord(stem, physical=False)
        order = [[name.lower() for name in record.sig_name].index(lead.lower()) for lead in LEADS]
        ecgs.append(ECG(record.d_signal[:, order].T.astype(np.float32) / 1000, float(record.fs), LEADS))
        each = [_boundaries(wfdb.rdann(stem, lead.lower()), record.fs) for lead in LEADS]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            rate, pr, qrs, qt = np.nanmedian(each, axis=0)
        numbers.append([rate, pr, qrs, qt, qt / (60 / rate) ** (1 / 3), np.nan])
    nothing = Record("", frozenset(), frozenset())
    return Records(ecgs, [nothing] * len(ecgs), np.array(numbers))


def _boundaries(marks: wfdb.Annotation, rate: float) -> list[float]:
    """Rate, PR, QRS and QT of one lead; NaN where a wave is not marked."""
    waves: list[tuple[str, int, int, int]] = []
    for i, symbol in enumerate(marks.symbol):
        if symbol in "pNt" and 0 < i < len(marks.symbol) - 1:
            around = marks.symbol[i - 1], marks.symbol[i + 1]
            if around == ("(", ")"):
                waves.append((symbol, *(int(marks.sample[j]) for j in (i - 1, i, i + 1))))
    milli = 1000 / rate
    pr = [b[1] - a[1] for a, b in pairwise(waves) if a[0] == "p" and b[0] == "N"]
    qt = [b[3] - a[1] for a, b in pairwise(waves) if a[0] == "N" and b[0] == "t"]
    qrs = [one[3] - one[1] for one in waves if one[0] == "N"]
    beats = np.diff([one[2] for one in waves if one[0] == "N"])
    middle = [float(np.median(values)) * milli if len(values) else np.nan for values in (beats, pr, qrs, qt)]
    return [60_000 / middle[0], *middle[1:]]


def simulated(count: int, mix: str = "balanced") -> Records:
    """Simulated records with all that is known of them."""
    ecgs: list[ECG] = []
    known: list[Record] = []
    numbers = []
    for start in range(0, count, 128):
        records = range(start, min(start + 128, count))
        some = simulate(SEED, records, mix)
        rows = rows_of(some, SEED, records)
        waves, values = wave_facts(some), numbers_of(some)
        numbers.append(values)
        ecgs += [ECG(signal.numpy(), RATE, LEADS) for signal in some.signals]
        decided = frozenset(some.findings)
        known += [
            Record(
                rows["report"][i],
                frozenset(rows["findings"][i]),
                decided - frozenset(rows["unknown"][i]),
                waves[i],
                tuple(values[i].tolist()),
            )
            for i in range(len(records))
        ]
    return Records(ecgs, known, np.concatenate(numbers))


def scored_conditions(records: Records, fewest: int) -> list[Condition]:
    """The default conditions that enough records have, and enough lack."""
    counts = [(one, records.labels(one)) for one in default_conditions()]
    return [one for one, labels in counts if (labels == 1).sum() >= fewest and (labels == 0).sum() >= fewest]
