"""Texts made of single statements: findings, negations, numbers and waves, of a record or of nobody's.

A text is planned as `Statement`s, so that whatever it says is known, and one of them can be exchanged
(`one_difference`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from dbeta.conditions.statements import (
    NUMBERS,
    Band,
    lead_groups,
    negation,
    numbered,
    sentence_words,
    sentences,
    wave_fact,
    wave_names,
    wave_words,
)
from dbeta.conditions.wordings import wordings, write_report
from dbeta.simulation.wave_facts import facts_of_findings
from dbeta.training.pairs import Record, Text

#: Between the statements of a text.
JOINTS = (". ", ", ", "; ", " ", " - ", ". ")
#: Smallest, most frequent and largest value of the numbers that are asked about.
ASKED = {
    "rate": (32, 72, 190),
    "pr": (100, 165, 330),
    "qrs": (62, 96, 185),
    "qt": (270, 390, 560),
    "qtc": (330, 415, 570),
    "axis": (-110, 40, 160),
}
#: Of which limits are asked, and of how many texts of a number.
LIMITED, LIMIT_SHARE = ("rate", "pr", "qrs", "qtc"), 0.2
#: Of a text with further statements, how often it has no findings beside them.
ALONE = 0.4


@dataclass(frozen=True)
class Statement:
    """One thing that a text says.

    Attributes:
        kind: "finding", "negation", "number", "wave", "no wave" or "sentence".
        name: of the finding, the measure, what leads show, or the sentence.
        value: of a number.
        how: "at", "above" or "below" a number.
        leads: of a wave.
    """

    kind: str
    name: str
    value: float = math.nan
    how: str = "at"
    leads: tuple[str, ...] = ()

    @property
    def facts(self) -> frozenset[str]:
        """What it states or denies, numbers aside."""
        if self.kind in ("wave", "no wave"):
            return frozenset(wave_fact(self.name, lead) for lead in self.leads)
        return frozenset() if self.kind == "number" else frozenset([self.name])

    @property
    def denies(self) -> bool:
        """Whether it says that these are absent."""
        return self.kind in ("negation", "no wave")


def sign_of(statement: Statement, record: Record) -> int:
    """Whether a statement holds for a record: +1 yes, −1 no, 0 not known."""
    if statement.kind == "number":
        return Band.of(statement.name, statement.value, statement.how).sign(record.value(statement.name))
    signs = [record.sign(fact) for fact in statement.facts]
    return -max(signs) if statement.denies else min(signs)


def with_waves(records: Sequence[Record], rows: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Records with the numbers and waves of their rows, or where there are none with what findings say of waves."""
    bare = [i for i, row in enumerate(rows) if "waves" not in row]
    names = frozenset().union(*(records[i].decided | records[i].findings for i in bare))
    signs = {name: np.array([records[i].sign(name) for i in bare], np.int8) for name in names}
    implied = dict(zip(bare, facts_of_findings(signs, len(bare)), strict=True)) if bare else {}
    return [
        replace(record, waves=implied[i])
        if i in implied
        else replace(record, waves=rows[i]["waves"], numbers=tuple(rows[i]["numbers"].tolist()))
        for i, record in enumerate(records)
    ]


def written(statements: Sequence[Statement], rng: random.Random) -> Text:
    """A text that makes statements, and nothing else; the findings among them stand together."""
    findings = [one.name for one in statements if one.kind == "finding"]
    parts = [write_report(findings, rng).rstrip(".")] if findings else []
    bands = []
    for statement in statements:
        if statement.kind == "finding":
            continue
        words, band = _words(statement, rng)
        parts.append(words)
        bands += [band] if band is not None else []
    rng.shuffle(parts)
    stated = frozenset().union(*(one.facts for one in statements if not one.denies))
    denied = frozenset().union(*(one.facts for one in statements if one.denies))
    return Text(rng.choice(JOINTS).join(parts) + rng.choice((".", "")), stated, True, denied, tuple(bands))


def _words(statement: Statement, rng: random.Random) -> tuple[str, Band | None]:
    if statement.kind == "number":
        return numbered(statement.name, statement.value, rng, how=statement.how)
    if statement.kind == "negation":
        return negation(statement.name, rng), None
    if statement.kind == "sentence":
        return sentence_words(statement.name, rng), None
    language = rng.choice(("en", "en", "de"))
    words = wave_words(statement.name, statement.leads, rng, language)  # type: ignore[arg-type]
    if statement.kind == "no wave":
        words = rng.choice({"en": ("no ", "without "), "de": ("keine ", "ohne ")}[language]) + words
    return words, None


def further_statements(record: Record, rng: random.Random) -> list[Statement]:
    """One or two statements that hold for a record, besides its findings: what is absent, numbers and waves."""
    kinds = ["negation"]
    if any(not math.isnan(value) for value in record.numbers):
        kinds += ["number", "number"]
    if record.waves is not None:
        kinds += ["wave", "sentence"]
    found: list[Statement] = []
    for _ in range(rng.choice((1, 1, 2))):
        statement = _drawn(rng.choice(kinds), record, rng)
        # One number of a measure, and nothing twice
        if statement is not None and all(statement.name != other.name for other in found):
            found.append(statement)
    return found


def planned(findings: Sequence[str], record: Record, rng: random.Random) -> list[Statement]:
    """What a text of a record says: findings and further statements, or the latter alone."""
    further = further_statements(record, rng)
    if further and rng.random() < ALONE:
        return further
    return [Statement("finding", name) for name in findings] + further


def _drawn(kind: str, record: Record, rng: random.Random) -> Statement | None:
    """A statement of a kind that holds for a record; None where a few draws find none."""
    if kind == "negation":
        absent = sorted(record.decided - record.findings)
        return Statement(kind, rng.choice(absent)) if absent else None
    if kind == "number":
        name = rng.choice([one for one in NUMBERS if not math.isnan(record.value(one))])
        return Statement(kind, name, record.value(name))
    if kind == "sentence":
        for name in rng.sample(sentences(), 24):
            if record.sign(name) > 0:
                return Statement(kind, name)
        return None
    for _ in range(12):
        kind = rng.choice(("wave", "wave", "no wave"))
        statement = Statement(kind, rng.choice(wave_names()), leads=rng.choice(lead_groups()))
        if sign_of(statement, record) > 0:
            return statement
    return None


def asked_statements(names: Sequence[str], count: int, rng: random.Random) -> list[Text]:
    """Texts of one statement each, for a batch to be compared with: negations, numbers and waves in equal parts.

    Args:
        names: of findings.
        count: how many texts.
        rng: source of randomness.
    """
    texts = []
    denied = rng.sample(names, min(len(names), -(-count // 3)))
    for i in range(count):
        kind = i % 3
        if kind == 0 and i // 3 < len(denied):
            statement = Statement("negation", denied[i // 3])
        elif kind == 1:
            name = NUMBERS[(i // 3) % len(NUMBERS)]
            low, usual, high = ASKED[name]
            how = rng.choice(("above", "below")) if name in LIMITED and rng.random() < LIMIT_SHARE else "at"
            statement = Statement("number", name, rng.triangular(low, high, usual), how)
        elif rng.random() < 0.6:
            statement = Statement("sentence", rng.choice(sentences()))
        else:
            statement = Statement("wave", rng.choice(wave_names()), leads=rng.choice(lead_groups()))
        texts.append(written([statement], rng))
    return texts


def finding_prompt(name: str, rng: random.Random) -> Text:
    """A text of a single finding."""
    return Text(rng.choice(wordings(name)), frozenset([name]), complete=True)


@cache
def taught_texts() -> tuple[str, ...]:
    """Texts that use the wordings that are taught, for a tokenizer to be trained on."""
    rng = random.Random(0)
    some = [written([Statement("sentence", one)], rng).words for one in sentences()]
    for wave in wave_names():
        some += [written([Statement("wave", wave, leads=leads)], rng).words for leads in lead_groups()]
    for name in NUMBERS:
        low, usual, high = ASKED[name]
        some += [written([Statement("number", name, rng.triangular(low, high, usual))], rng).words for _ in range(60)]
    return tuple(some)
