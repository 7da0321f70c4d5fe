"""Gaps of a recording, and limb leads that follow from others."""

import numpy as np
import pytest

from dbeta.ecg import LEADS
from dbeta.signal.gaps import fill_limb_leads, gaps
from dbeta.signal.lead_sizes import probable_sizes


@pytest.mark.parametrize("rate", [100, 257])
@pytest.mark.parametrize(("begin", "seconds", "found"), [(2.0, 1.5, True), (0.0, 1.1, True), (2.0, 0.5, False)])
def test_a_lead_that_is_flat_while_others_are_not_lacks_samples(make_ecg, rate, begin, seconds, found):
    signal = make_ecg(sampling_rate=rate).signal.copy()
    stretch = slice(round(begin * rate), round((begin + seconds) * rate))
    signal[7, stretch] = 0.25
    signal[3, 5] = np.nan
    signal[4, 6] = np.inf
    wanted = np.zeros(signal.shape, bool)
    wanted[7, stretch] = found
    wanted[3, 5] = wanted[4, 6] = True
    assert (gaps(signal, rate) == wanted).all()


def test_a_pause_in_all_leads_is_measured(make_ecg):
    signal = make_ecg().signal.copy()
    signal[:, 1000:3000] = 0.0
    assert not gaps(signal, 500).any()


def test_limb_leads_follow_from_any_two(make_ecg):
    whole = make_ecg().signal.astype(np.float64)
    signal, missing = whole.copy(), np.zeros(whole.shape, bool)
    missing[[0, 2, 3, 4], 100:200] = True
    missing[8, 150:160] = True
    signal[missing] = np.nan
    followed = fill_limb_leads(signal, missing)
    assert (followed == missing & (np.arange(12) < 6)[:, None]).all()
    np.testing.assert_allclose(signal[:6], whole[:6], atol=1e-6)
    assert np.isnan(signal[8, 150:160]).all()


@pytest.mark.parametrize("known", [[], [0], [3], [4]])
def test_guessed_limb_leads_agree_with_one_another_and_with_the_known_one(make_ecg, known):
    whole = make_ecg().signal.astype(np.float64)
    guess = whole + 0.2 * np.random.default_rng(0).standard_normal(whole.shape)
    signal, missing = whole.copy(), np.zeros(whole.shape, bool)
    missing[[row for row in range(6) if row not in known], :100] = True
    signal[missing] = np.nan
    assert not fill_limb_leads(signal, missing).any()
    assert np.isnan(signal[missing]).all()
    fill_limb_leads(signal, missing, guess)
    one, two, three, avr, avl, avf = signal[:6, :100]
    np.testing.assert_allclose(three, two - one, atol=1e-9)
    np.testing.assert_allclose(avr, -(one + two) / 2, atol=1e-6)
    np.testing.assert_allclose(avl, one - two / 2, atol=1e-6)
    np.testing.assert_allclose(avf, two - one / 2, atol=1e-6)
    assert (signal[known] == whole[known]).all()
    rest = [row for row in range(6) if row not in known]
    # Agreeing with the equations brings the guesses nearer to the truth, on the average
    assert np.square(signal[rest, :100] - whole[rest, :100]).mean() < np.square(guess - whole)[rest, :100].mean()


def test_sizes_of_missing_leads_follow_those_of_the_others():
    sizes = np.full(12, np.nan)
    usual = probable_sizes(sizes)
    assert ((usual > 0.08) & (usual < 0.4)).all()
    sizes[:6] = 3 * usual[:6]
    found = probable_sizes(sizes)
    assert (found[:6] == sizes[:6]).all()
    assert ((found[6:] > 1.1 * usual[6:]) & (found[6:] < 3 * usual[6:])).all()
    sizes[6:] = usual[6:]
    sizes[LEADS.index("V3")] = np.nan
    assert 0.7 < probable_sizes(sizes)[8] / usual[8] < 1.5
