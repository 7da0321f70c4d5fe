"""Texts of single statements say what their plans say, and hold for the records they were made for."""

import math
import random

import numpy as np
import pytest

from dbeta.conditions.statements import NUMBERS, facts, sentences, wave_fact
from dbeta.training.pairs import FACT_PLACES, Record, pair_sign
from dbeta.training.statements import (
    Statement,
    asked_statements,
    further_statements,
    planned,
    sign_of,
    taught_texts,
    written,
)

FINDINGS = frozenset(["sinus rhythm", "left axis deviation"])
ABSENT = frozenset(["atrial fibrillation", "left bundle branch block"])
NUMBERS_KNOWN = (72.0, 168.0, 92.0, 388.0, math.nan, -50.0)


def record(**facts_known):
    """A record of which a few facts about waves are known."""
    waves = np.zeros(len(facts()), np.int8)
    for name, sign in facts_known.items():
        waves[FACT_PLACES[name.replace("_", " ")]] = sign
    return Record("own", FINDINGS, FINDINGS | ABSENT, waves, NUMBERS_KNOWN)


FLAT = {wave_fact("flat t", lead).replace(" ", "_"): 1 for lead in ("V5", "V6")}
RAISED = {wave_fact("st elevation", lead).replace(" ", "_"): -1 for lead in ("V5", "V6")}


@pytest.mark.parametrize(
    ("statement", "sign"),
    [
        (Statement("finding", "sinus rhythm"), 1),
        (Statement("finding", "atrial fibrillation"), -1),
        (Statement("finding", "bigeminy"), 0),
        (Statement("negation", "atrial fibrillation"), 1),
        (Statement("negation", "sinus rhythm"), -1),
        (Statement("negation", "bigeminy"), 0),
        (Statement("number", "rate", 72), 1),
        (Statement("number", "rate", 120), -1),
        (Statement("number", "rate", 100, "above"), -1),
        (Statement("number", "rate", 100, "below"), 1),
        (Statement("number", "qtc", 400), 0),  # nobody measured it
        (Statement("wave", "flat t", leads=("V5", "V6")), 1),
        (Statement("wave", "flat t", leads=("V4", "V5", "V6")), 0),
        (Statement("wave", "st elevation", leads=("V5", "V6")), -1),
        (Statement("no wave", "st elevation", leads=("V5", "V6")), 1),
        (Statement("no wave", "st elevation", leads=("V4", "V5")), 0),
        (Statement("no wave", "flat t", leads=("V4", "V5")), -1),
        (Statement("sentence", "regular rr intervals"), 1),
    ],
)
def test_what_a_statement_says_of_a_record(statement, sign):
    known = record(regular_rr_intervals=1, **FLAT, **RAISED)
    assert sign_of(statement, known) == sign
    text = written([statement], random.Random(0))
    if statement.kind != "number":  # which may be rounded
        assert pair_sign(text, known) == sign
    assert text.complete and text.words == text.words.lower()


def test_a_plan_is_written_whole():
    known = record(regular_rr_intervals=1)
    plan = [
        Statement("finding", "sinus rhythm"),
        Statement("negation", "atrial fibrillation"),
        Statement("number", "pr", 168.0),
        Statement("sentence", "regular rr intervals"),
    ]
    for seed in range(20):
        text = written(plan, random.Random(seed))
        assert text.states == {"sinus rhythm", "regular rr intervals"}
        assert text.denies == {"atrial fibrillation"}
        assert [band.measure for band in text.numbers] == ["pr"]
        assert pair_sign(text, known) == 1


def test_further_statements_hold():
    known = record(regular_rr_intervals=1, **FLAT, **RAISED)
    kinds = set()
    for seed in range(300):
        rng = random.Random(seed)
        for statement in further_statements(known, rng):
            assert sign_of(statement, known) == 1
            kinds.add(statement.kind)
        assert pair_sign(written(planned(sorted(FINDINGS), known, rng), rng), known) == 1
    assert kinds >= {"negation", "number", "wave", "no wave"}


def test_of_a_real_record_only_absence_is_told():
    real = Record("report", FINDINGS, FINDINGS | ABSENT)
    for seed in range(50):
        found = further_statements(real, random.Random(seed))
        assert {one.kind for one in found} <= {"negation"}
        assert {one.name for one in found} <= ABSENT


def test_asked_statements_are_of_all_kinds_and_none_is_held_back():
    held_back = set(sentences(held_back=True))
    texts = [text for seed in range(60) for text in asked_statements(sorted(ABSENT), 30, random.Random(seed))]
    assert any(text.denies for text in texts) and any(text.numbers for text in texts)
    assert {text.numbers[0].measure for text in texts if text.numbers} == set(NUMBERS)
    assert not any(text.states & held_back for text in texts)
    assert not held_back & {text.rstrip(".") for text in taught_texts()}
