from itertools import combinations

import numpy as np
import pytest

from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS, standard_lead_name
from dbeta.errors import DBetaError


@pytest.mark.parametrize(
    ("name", "lead"),
    [(lead, lead) for lead in LEADS]
    + [
        ("avr", "aVR"),
        ("AVL", "aVL"),
        (" v1 ", "V1"),
        ("Lead aVF", "aVF"),
        ("LeadII", "II"),
        ("V1-wct", "V1"),
        ("V2 (WCT)", "V2"),
        ("I-Einthoven", "I"),
        ("Lead III (Einthoven)", "III"),
        ("Lead aVR, augmented voltage, right", "aVR"),
        ("aVF-Goldberger", "aVF"),
        ("D II", "II"),
        ("V_4", "V4"),
        ("ECG:V6", "V6"),
        ("Ableitung III", "III"),
        ("Lead I (Einthoven)", "I"),
        ("ECG V1", "V1"),
        ("ECG Lead III", "III"),
        ("EKG II", "II"),
        ("ECG_V6", "V6"),
        ("lead-V2", "V2"),
        ("MDC_ECG_LEAD_AVR", "aVR"),
        ("DIII", "III"),
        ("D1", "I"),
        ("C4", "V4"),
        ('"aVR"', "aVR"),
        ("'V2'", "V2"),
        ("Lead 1", "I"),
        ("ECG lead_3", "III"),
        ("L2", "II"),
        ("VR", "aVR"),
        ("vl", "aVL"),
        ("VF", "aVF"),
        ("V1.", "V1"),
        ("aVR+", "aVR"),
        ("DERIVACION DII", "II"),
        ("Derivación V3", "V3"),
        ("ECG I-Ref", "I"),
        ("Abl. II", "II"),
        ("V₁", "V1"),
        ("Ⅱ", "II"),
        ("V1 [mV]", "V1"),
        ("aVF (µV)", "aVF"),
    ],
)
def test_usual_spellings_are_known(name, lead):
    assert standard_lead_name(name) == lead


@pytest.mark.parametrize(
    "name",
    [
        "",
        "MLII",
        "V7",
        "V3R",
        "vx",
        "-aVR",
        "ECG -aVR",
        '"-aVR"',
        "-aVR+",
        "Lead 4",
        "L12",
        "PLETH",
        "II_2",
        "1",
        "lead",
        "I, II",
        "aVR-",
        "V1-V2",
        3,
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(DBetaError, match="twelve standard leads"):
        standard_lead_name(name)


def test_signal_is_stored_as_float32_under_standard_names():
    ecg = ECG(np.ones((2, 50), dtype=np.int16), 250, ["avr", "Lead V1"])
    assert ecg.signal.dtype == np.float32
    assert ecg.leads == ("aVR", "V1")
    assert ecg.duration == 0.2
    assert repr(ecg) == "ECG(2 leads, 0.2 s at 250 Hz)"


@pytest.mark.parametrize(
    ("signal", "rate", "leads", "message"),
    [
        (np.zeros(10), 500, ["I"], "leads, samples"),
        (np.zeros((1, 0)), 500, ["I"], "leads, samples"),
        (np.zeros((2, 5)), 500, ["I"], "2 rows"),
        (np.zeros((2, 5)), 500, ["I", "i"], "twice"),
        (np.zeros((1, 5)), 500, ["X"], "'X'"),
        (np.zeros((1, 5)), 0, ["I"], "sampling rate"),
        (np.zeros((1, 5)), np.nan, ["I"], "sampling rate"),
    ],
)
def test_a_wrong_ecg_cannot_be_made(signal, rate, leads, message):
    with pytest.raises(DBetaError, match=message):
        ECG(signal, rate, leads)


def test_a_lead_is_taken_by_name(make_ecg):
    ecg = make_ecg(leads=("V1", "II"))
    assert np.array_equal(ecg["lead II"], ecg.signal[1])
    with pytest.raises(DBetaError, match="lead I is not in this recording"):
        ecg["I"]


def test_the_four_dependent_leads_are_computed(make_ecg):
    full = make_ecg()
    eight = make_ecg(leads=tuple(reversed(INDEPENDENT_LEADS))).standard()
    assert eight.leads == LEADS
    np.testing.assert_allclose(eight.signal, full.signal, atol=1e-6)
    np.testing.assert_allclose(eight["I"] + eight["III"], eight["II"], atol=1e-6)
    np.testing.assert_allclose(eight["aVR"] + eight["aVL"] + eight["aVF"], 0, atol=1e-6)


def test_recorded_leads_are_kept_rather_than_computed(make_ecg):
    ecg = make_ecg()
    ecg.signal[LEADS.index("aVR")] = 7
    assert np.all(ecg.standard()["aVR"] == 7)


def test_standard_keeps_everything_else(make_ecg):
    ecg = make_ecg(leads=INDEPENDENT_LEADS)
    ecg.report, ecg.patient_id, ecg.meta = "sinus rhythm", "p1", {"age": 50}
    standard = ecg.standard()
    assert (standard.report, standard.patient_id, standard.meta) == ("sinus rhythm", "p1", {"age": 50})
    standard.meta["age"] = 51
    assert ecg.meta == {"age": 50}


@pytest.mark.parametrize("pair", combinations(LEADS[:6], 2))
def test_any_two_limb_leads_give_the_others(make_ecg, pair):
    standard = make_ecg(leads=(*reversed(pair), *LEADS[6:])).standard()
    np.testing.assert_allclose(standard.signal, make_ecg().signal, atol=1e-5)
    assert "missing_leads" not in standard.meta


def test_a_lead_that_cannot_be_computed_is_missing(make_ecg):
    ecg = make_ecg(leads=("V2", "aVR", "V6"))
    standard = ecg.standard()
    assert standard.leads == LEADS
    assert standard.meta["missing_leads"] == [*(lead for lead in LEADS[:6] if lead != "aVR"), "V1", "V3", "V4", "V5"]
    assert np.isnan(standard.signal).all(axis=1).sum() == 9
    np.testing.assert_array_equal(standard["aVR"], ecg["aVR"])
    assert standard.standard() is standard


def test_a_lead_without_samples_is_computed_or_missing(make_ecg):
    ecg = make_ecg()
    ecg.signal[[0, 7]] = np.nan
    standard = ecg.standard()
    assert standard.meta["missing_leads"] == ["V2"]
    np.testing.assert_allclose(standard["I"], make_ecg()["I"], atol=1e-5)


def test_nothing_but_missing_samples(make_ecg):
    with pytest.raises(DBetaError, match="every sample is missing"):
        ECG(np.full((12, 50), np.nan), 500).standard()


@pytest.mark.parametrize("rate", ["500", None, 0, -1, float("nan")])
def test_what_is_no_sampling_rate(rate):
    with pytest.raises(DBetaError, match="positive number of Hz"):
        ECG(np.zeros((12, 10)), rate)
