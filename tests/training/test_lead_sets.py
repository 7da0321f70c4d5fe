"""Records shown in a few leads: which leads, and what is then not known."""

import math

import numpy as np

from dbeta.conditions.statements import facts, wave_fact
from dbeta.ecg import LEADS
from dbeta.training.few_leads import readable
from dbeta.training.masking import LEAD_SETS, choose_lead_set
from dbeta.training.pairs import Record

EVERY = frozenset(["anterior myocardial infarction", "atrial fibrillation", "left axis deviation", "sinus bradycardia"])
WHOLE = Record("r", EVERY, EVERY | {"right bundle branch block"}, np.ones(len(facts()), np.int8), (60.0,) * 6)


def test_what_one_lead_cannot_show_is_unknown():
    one = readable(WHOLE, frozenset(["I"]))
    assert one.findings == {"atrial fibrillation", "sinus bradycardia"}
    assert one.sign("right bundle branch block") == 0
    assert one.sign(wave_fact("inverted t", "I")) == 1
    assert one.sign(wave_fact("inverted t", "V2")) == 0
    assert one.sign("upright t waves in v2 to v4") == 0
    assert one.sign("a rate below 60 per minute") == 1
    assert math.isnan(one.value("axis")) and one.value("rate") == 60.0


def test_two_limb_leads_give_the_other_four():
    two = readable(WHOLE, frozenset(["I", "II"]))
    assert two.sign("left axis deviation") == 1 and two.value("axis") == 60.0
    assert two.sign(wave_fact("inverted t", "aVF")) == 1
    assert two.sign("anterior myocardial infarction") == 0


def test_all_leads_hide_nothing():
    assert readable(WHOLE, frozenset(LEADS)).findings == WHOLE.findings


def test_lead_sets_are_drawn_as_often_as_asked():
    rng = np.random.default_rng(0)
    drawn = [choose_lead_set(LEADS, 0.5, rng) for _ in range(2000)]
    shown = [one for one in drawn if one is not None]
    assert 0.45 < len(shown) / len(drawn) < 0.55
    assert {len(one) for one in shown} == {1, 2, 3, 6, 8}
    assert {next(iter(one)) for one in shown if len(one) == 1} == set(LEADS)
    assert all(set(one) <= set(LEADS) for one in LEAD_SETS)


def test_nothing_is_drawn_where_none_is_asked_for():
    rng = np.random.default_rng(0)
    assert choose_lead_set(LEADS, 0.0, rng) is None
    assert rng.random() == np.random.default_rng(0).random()
