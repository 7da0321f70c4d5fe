"""Texts that differ from a record's own in exactly one thing: a finding, a side, a territory, a degree or a number.

They are the negatives that say what a word means: everything else in them holds, so only that word can tell.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

from dbeta.conditions.statements import Band
from dbeta.conditions.wordings import short_wordings
from dbeta.training.pairs import Record, Text, pair_sign
from dbeta.training.statements import ASKED, Statement, sign_of

#: What one difference may be about; "negation": what is stated is denied, or the other way round.
KINDS = ("finding", "side", "territory", "degree", "number", "negation")
#: Words of which one stands for another; longer ones first, and "" for none.
EXCHANGED: dict[str, tuple[tuple[str, ...], ...]] = {
    "side": (("left", "right"), ("counterclockwise", "clockwise")),
    "territory": (
        (
            "inferoposterolateral",
            "inferoposterior",
            "inferolateral",
            "inferior",
            "anteroseptal",
            "anterolateral",
            "anterior",
            "lateral",
            "posterior",
        ),
    ),
    "degree": (
        ("first-degree", "second-degree", "third-degree"),
        ("bradycardia", "tachycardia"),
        ("high", "low"),
        ("long", "short"),
        ("elevation", "depression"),
        ("hyperkalemia", "hypokalemia"),
        ("hypercalcemia", "hypocalcemia"),
    ),
}
#: Names that a degree tells apart by a word that one of them lacks.
_DEGREES = (
    ("incomplete right bundle branch block", "right bundle branch block"),
    ("incomplete left bundle branch block", "left bundle branch block"),
)


@cache
def related(finding: str, kind: str) -> tuple[str, ...]:
    """Names that differ from a finding's in its side, its territory or its degree only; not all are findings."""
    names = []
    for words in EXCHANGED[kind]:
        found = re.search(r"\b(" + "|".join(map(re.escape, words)) + r")\b", finding)
        if found:
            names += [
                finding[: found.start()] + word + finding[found.end() :] for word in words if word != found.group()
            ]
    if kind == "degree":
        names += [other for pair in _DEGREES if finding in pair for other in pair if other != finding]
    return tuple(names)


def exchange(
    statements: Sequence[Statement], record: Record, rng: random.Random, kind: str | None = None
) -> list[Statement] | None:
    """Statements of which exactly one is exchanged for another that does not hold for the record.

    Args:
        statements: that hold for the record.
        record: what is known of it.
        rng: source of randomness.
        kind: one of `KINDS`; None for any that is possible.

    Returns:
        None where no statement can be exchanged so.
    """
    for one in [kind] if kind else rng.sample(KINDS, len(KINDS)):
        for i in rng.sample(range(len(statements)), len(statements)):
            other = _other(statements[i], statements, record, rng, one)
            if other is not None:
                return [*statements[:i], other, *statements[i + 1 :]]
    return None


def _other(
    old: Statement, beside: Sequence[Statement], record: Record, rng: random.Random, kind: str
) -> Statement | None:
    """A false statement in place of one."""
    if kind == "negation":
        flipped = {"finding": "negation", "negation": "finding"}.get(old.kind)
        new = Statement(flipped, old.name) if flipped else None
        return new if new is not None and sign_of(new, record) < 0 else None
    if kind == "number":
        return _other_number(old, record, rng) if old.kind == "number" and old.how == "at" else None
    if old.kind != "finding":
        return None
    said = {one.name for one in beside}
    names = sorted(record.decided - record.findings) if kind == "finding" else related(old.name, kind)
    possible = [name for name in names if record.sign(name) < 0 and name not in said]
    return Statement("finding", rng.choice(possible)) if possible else None


def _other_number(old: Statement, record: Record, rng: random.Random) -> Statement | None:
    low, usual, high = ASKED[old.name]
    for _ in range(8):
        value = rng.triangular(low, high, usual)
        new = Statement("number", old.name, value)
        if sign_of(new, record) < 0 and Band.of(old.name, value).sign(old.value) < 0:
            return new
    return None


def exchanged_in_report(
    report: str, record: Record, rng: random.Random, kind: str | None = None, language: str | None = None
) -> Text | None:
    """A report with the words of one of its findings replaced by those of one that its record does not have.

    Args:
        report: lower case.
        record: its record.
        rng: source of randomness.
        kind: of `KINDS` except "number" and "negation"; None for any that is possible.
        language: of the wordings that are looked for; None for both.

    Returns:
        None where no finding's words are in the report, or nothing may replace them.
    """
    findings = sorted(record.findings)
    kinds = [kind] if kind else rng.sample(("finding", "side", "territory", "degree"), 4)
    for name in rng.sample(findings, len(findings)):
        for tongue in (language,) if language else ("de", "en"):
            old = _longest_in(report, short_wordings(name, tongue))
            if old is None:
                continue
            for one in kinds:
                others = sorted(record.decided - record.findings) if one == "finding" else related(name, one)
                possible = {
                    other: new
                    for other in others
                    if record.sign(other) < 0
                    and _longest_in(report, _short(other, tongue)) is None
                    and (new := [words for words in _short(other, tongue) if old not in words])
                }
                if not possible:
                    continue
                other = rng.choice(list(possible))
                new_words = rng.choice(possible[other])
                found = re.search(_whole(old), report)
                assert found is not None
                replaced = report[: found.start()] + new_words + report[found.end() :]
                text = Text(replaced, frozenset(record.findings - {name} | {other}))
                if pair_sign(text, record) < 0:
                    return text
    return None


def _short(name: str, language: str) -> list[str]:
    return [one for one in short_wordings(name, language) if len(one) > 2] or [name]


def _whole(words: str) -> str:
    return rf"(?<!\w){re.escape(words)}(?!\w)"


def _longest_in(report: str, wordings: Sequence[str]) -> str | None:
    """The longest of some wordings that is in a report; abbreviations of two letters say too little."""
    found = [one for one in wordings if len(one) > 2 and one in report and re.search(_whole(one), report)]
    return max(found, key=len, default=None)
