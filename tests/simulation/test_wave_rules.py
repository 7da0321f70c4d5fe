"""Rules of sentences about waves: each sentence has one, and it says yes, no or undetermined."""

import ast

import numpy as np
import pytest

from dbeta.conditions.registry import load_conditions
from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.simulation import wave_rules
from dbeta.simulation.finding_table import TABLE
from dbeta.simulation.wave_rules import decide_sentences, leads_needed, rules


def test_every_sentence_has_a_rule():
    said = {text for one in load_conditions().values() for text in (*one.prompts_for, *one.prompts_against)}
    assert set(rules()) == said


def test_rules_name_findings_that_exist():
    names = {
        node.value
        for rule in rules().values()
        for node in ast.walk(rule)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for name in names - set(TABLE):
        wave_rules.leads_of(name)  # all others are leads


def decide(sentence, *, findings=None, values=None, leads=None):
    """Of one record; leads maps a measure to its values in some leads, 0 elsewhere."""
    table = {name: np.array([[of.get(lead, 0.0) for lead in LEADS]]) for name, of in (leads or {}).items()}
    found = decide_sentences(
        [sentence],
        {name: np.array([sign]) for name, sign in (findings or {}).items()},
        {name: np.array([value], float) for name, value in (values or {}).items()},
        table,
        1,
    )
    return int(found[0, 0])


@pytest.mark.parametrize(
    ("sentence", "known", "sign"),
    [
        ("a rate below 60 per minute", {"values": {"rate": 45}}, 1),
        ("a rate below 60 per minute", {"values": {"rate": 75}}, -1),
        ("a rate below 60 per minute", {"values": {"rate": 60.5}}, 0),  # within the margin
        ("a rate below 60 per minute", {}, 0),
        ("a pr interval of 120 to 200 ms", {"values": {"pr": 160}}, 1),
        ("a pr interval of 120 to 200 ms", {"values": {"pr": 240}}, -1),
        ("irregularly irregular rr intervals", {"findings": {"atrial fibrillation": 1}}, 1),
        ("irregularly irregular rr intervals", {"findings": {"atrial fibrillation": 0}}, 0),
        ("upright t waves in v2 to v4", {"leads": {"t": dict.fromkeys(LEADS, 0.4)}}, 1),
        ("upright t waves in v2 to v4", {"leads": {"t": dict.fromkeys(LEADS, 0.4) | {"V3": -0.3}}}, -1),
        ("symmetric t-wave inversion in ii, iii and avf", {"leads": {"t": {"II": -0.3, "aVF": -0.2}}}, 1),
        ("symmetric t-wave inversion in ii, iii and avf", {"leads": {"t": {"II": -0.3}}}, -1),  # one lead is too few
        ("st elevation in ii, iii and avf", {"leads": {"st": {"II": 0.2, "III": 0.25, "aVF": 0.2}}}, 1),
        ("st depression confined to ii, iii and avf", {"leads": {"st": {"II": -0.2, "aVF": -0.2, "V4": -0.2}}}, -1),
        ("p waves that change shape from beat to beat", {"findings": {"atrial fibrillation": 1}}, 0),
    ],
)
def test_some_rules(sentence, known, sign):
    assert decide(sentence, **known) == sign


def test_opposite_sentences_contradict_each_other():
    for rate, pr in ((45, 150), (80, 260), (130, 130)):
        values = {"rate": rate, "pr": pr}
        slow = decide("a rate below 60 per minute", values=values)
        assert slow == -decide("a rate of 60 per minute or more", values=values) != 0


def test_leads_that_a_sentence_needs():
    assert leads_needed("upright t waves in v2 to v4") == {"V2", "V3", "V4"}
    assert leads_needed("a rate below 60 per minute") == frozenset()
    assert {"I", "aVF"} <= leads_needed("qrs axis between -30 and 90 degrees")


@pytest.mark.parametrize(
    "rule", ["rate + 1", "every('V1', 3)", "nobody('V1', st > 1)", "__import__('os')", "rate < foo"]
)
def test_what_is_no_rule(monkeypatch, rule):
    monkeypatch.setattr(wave_rules, "rules", lambda: {"x": ast.parse(rule, mode="eval").body})
    with pytest.raises(DBetaError, match=r"see the top of the file"):
        decide("x")
