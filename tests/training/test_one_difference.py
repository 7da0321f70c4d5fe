"""Negatives that differ in exactly one thing, and are false."""

import random

import pytest

from dbeta.conditions.wordings import short_wordings
from dbeta.simulation.finding_table import TABLE
from dbeta.training.one_difference import KINDS, exchange, exchanged_in_report, related
from dbeta.training.pairs import Record, pair_sign
from dbeta.training.statements import Statement, sign_of, written

FINDINGS = ("sinus bradycardia", "left axis deviation", "inferior myocardial infarction", "first-degree av block")
RECORD = Record(
    "sinusbradykardie. inferior infarct. left axis deviation.",
    frozenset(FINDINGS),
    frozenset(TABLE),
    numbers=(52.0, 224.0, 96.0, 420.0, 400.0, -48.0),
)
PLAN = [
    *(Statement("finding", name) for name in FINDINGS),
    Statement("number", "pr", 224.0),
    Statement("negation", "atrial fibrillation"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_one_thing_differs(kind):
    for seed in range(40):
        changed = exchange(PLAN, RECORD, random.Random(seed), kind)
        assert changed is not None and len(changed) == len(PLAN)
        differing = [(old, new) for old, new in zip(PLAN, changed, strict=True) if old != new]
        assert len(differing) == 1
        old, new = differing[0]
        assert sign_of(old, RECORD) == 1 and sign_of(new, RECORD) == -1
        if kind == "number":
            assert (new.kind, new.name) == ("number", "pr")
        if kind == "negation":
            assert new.name == old.name and {new.kind, old.kind} == {"finding", "negation"}
        if kind in ("side", "territory", "degree"):
            assert new.name in related(old.name, kind)
        text = written(changed, random.Random(seed))
        assert pair_sign(text, RECORD) == -1


def test_nothing_is_exchanged_for_what_may_be_true():
    doubtful = Record("", frozenset(["left axis deviation"]), frozenset(["left axis deviation"]))
    assert exchange([Statement("finding", "left axis deviation")], doubtful, random.Random(0), "side") is None
    assert exchange([Statement("finding", "left axis deviation")], doubtful, random.Random(0), "finding") is None


@pytest.mark.parametrize(
    ("name", "kind", "other"),
    [
        ("left axis deviation", "side", "right axis deviation"),
        ("left atrial enlargement", "side", "right atrial enlargement"),
        ("inferior myocardial infarction", "territory", "anteroseptal myocardial infarction"),
        ("inferolateral ischemia", "territory", "lateral ischemia"),
        ("first-degree av block", "degree", "third-degree av block"),
        ("sinus tachycardia", "degree", "sinus bradycardia"),
        ("incomplete right bundle branch block", "degree", "right bundle branch block"),
        ("st depression", "degree", "st elevation"),
    ],
)
def test_related_findings(name, kind, other):
    assert other in related(name, kind)
    assert name not in related(name, kind)


def test_related_names_are_of_findings_for_the_most_part():
    names = {other for name in TABLE for kind in ("side", "territory", "degree") for other in related(name, kind)}
    assert len(names & set(TABLE)) > 30


def test_one_statement_of_a_report_is_exchanged():
    seen = set()
    for seed in range(60):
        text = exchanged_in_report(RECORD.report, RECORD, random.Random(seed))
        assert text is not None and not text.complete
        assert pair_sign(text, RECORD) == -1
        assert len(text.states - RECORD.findings) == 1 == len(RECORD.findings - text.states)
        (new,), (old,) = text.states - RECORD.findings, RECORD.findings - text.states
        assert any(one in text.words for one in [*short_wordings(new, "en"), *short_wordings(new, "de"), new])
        seen.add(old)
        kept = [part for part in RECORD.report.rstrip(".").split(". ") if part in text.words]
        assert len(kept) == 2  # of three statements
    assert len(seen) > 1


def test_a_report_without_words_of_a_finding_stays():
    assert exchanged_in_report("ohne befund", RECORD, random.Random(0)) is None
