"""Facts of simulated records that texts may state agree with what was measured."""

import numpy as np
import pytest

from dbeta.conditions.statements import NUMBERS, facts, wave_fact
from dbeta.ecg import LEADS
from dbeta.simulation.dataset import SimulatedRows
from dbeta.simulation.simulation import simulate
from dbeta.simulation.wave_facts import fact_leads, numbers_of, wave_facts


@pytest.fixture(scope="module")
def some():
    return simulate(11, range(192))


@pytest.fixture(scope="module")
def table(some):
    return dict(zip(facts(), wave_facts(some).T, strict=True))


def test_numbers_are_the_measures(some):
    numbers = dict(zip(NUMBERS, numbers_of(some).T, strict=True))
    assert numbers["rate"] == pytest.approx(some.measures.rate.numpy(), rel=1e-5)
    assert numbers["qrs"] == pytest.approx(1000 * some.measures.qrs.numpy(), rel=1e-5)
    fibrillating = (some.findings["atrial fibrillation"] > 0).numpy()
    assert fibrillating.any() and np.isnan(numbers["pr"][fibrillating]).all()
    exchanged = np.any([one.numpy() for one in some.recordings.exchanged.values()], axis=0)
    assert exchanged.any() and np.isnan(numbers["axis"][exchanged]).all()
    assert np.isfinite(numbers["axis"][~exchanged]).all()


def test_waves_are_the_measures(some, table):
    v5 = LEADS.index("V5")
    t = some.measures.t[:, v5].numpy()
    inverted, upright = (table[wave_fact(wave, "V5")] for wave in ("inverted t", "upright t"))
    assert (t[inverted > 0] < -0.1).all() and (inverted > 0).any()
    assert (t[upright > 0] > 0.1).all() and (upright > 0).any()
    assert not ((inverted > 0) & (upright > 0)).any()


def test_sentences_follow_findings(some, table):
    sign = some.findings["atrial fibrillation"].numpy()
    readable = ~np.any([one.numpy() for one in some.recordings.exchanged.values()], axis=0)
    found = table["irregularly irregular rr intervals"]
    assert (found[readable] == sign[readable]).all()


def test_nobody_decides_in_a_lead_that_shows_nothing(some, table):
    flat = some.recordings.flat.numpy()
    assert flat.any()
    for number, lead in enumerate(LEADS):
        for wave in ("st elevation", "inverted t", "dominant r"):
            assert not table[wave_fact(wave, lead)][flat[:, number]].any()
    assert not table["upright t waves in v2 to v4"][flat[:, 6:10].any(axis=1) & flat[:, 7]].any()


def test_a_sentence_is_undetermined_where_it_cannot_be_known(table):
    assert not table["p waves that change shape from beat to beat"].any()


def test_leads_of_facts():
    assert fact_leads(wave_fact("inverted t", "V2")) == {"V2"}
    assert fact_leads("upright t waves in v2 to v4") == {"V2", "V3", "V4"}


def test_rows_have_them_when_asked():
    plain, told = SimulatedRows(8, 3), SimulatedRows(8, 3, waves=True)
    assert "waves" not in plain[[0]]
    row = told[[5, 6]]
    assert row["waves"][1].shape == (len(facts()),) and row["numbers"][1].shape == (len(NUMBERS),)
    assert row["report"] == plain[[5, 6]]["report"]
    assert set(told.validation().column_names) == set(plain.validation().column_names)
