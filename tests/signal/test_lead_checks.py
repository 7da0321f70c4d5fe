import numpy as np
import pytest

from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS
from dbeta.io.read import read_ecg
from dbeta.signal.lead_checks import check_leads, fix_leads


def changed(ecg, **rows):
    """The recording with leads made of others: V1="V2" or V1="-V1"."""
    signal = ecg.signal.copy()
    for lead, of in rows.items():
        signal[LEADS.index(lead)] = -ecg[of[1:]] if of[0] == "-" else ecg[of]
    return ECG(signal, ecg.sampling_rate)


def only(errors):
    (error,) = errors
    assert 0 < error.confidence <= 1
    assert "\n" not in error.message
    return error


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sampling_rate", [500, 100, 257])
def test_a_good_recording(make_ecg, seed, sampling_rate):
    ecg = make_ecg(seed=seed, sampling_rate=sampling_rate)
    assert check_leads(ecg) == []
    assert fix_leads(ecg) is ecg


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("exchanged", {"aVR": "aVL", "aVL": "aVR"}),
        ("exchanged", {"aVR": "aVF", "aVF": "aVR"}),
        ("exchanged", {"aVL": "aVF", "aVF": "aVL"}),
        ("exchanged", {"aVR": "aVL", "aVL": "aVF", "aVF": "aVR"}),
        ("exchanged", {"aVR": "aVF", "aVL": "aVR", "aVF": "aVL"}),
        ("exchanged", {"I": "II", "II": "I"}),
        ("exchanged", {"V1": "V6", "V6": "V1"}),
        ("inverted", {"aVR": "-aVR"}),
        ("inverted", {"I": "-I"}),
        ("inverted", {"V2": "-V2"}),
        ("inverted", {"V6": "-V6"}),
        ("copied", {"aVF": "aVL"}),
        ("copied", {"II": "I"}),
        ("contradicted", {"III": "V3"}),
        ("reversed", {"I": "-I", "II": "III", "III": "II", "aVR": "aVL", "aVL": "aVR"}),
        ("reversed", {"I": "-III", "II": "-II", "III": "-I", "aVR": "aVF", "aVF": "aVR"}),
    ],
)
def test_what_is_wrong_is_found_and_put_right(make_ecg, kind, rows):
    ecg = make_ecg()
    wrong = changed(ecg, **rows)
    error = only(check_leads(wrong))
    assert error.kind == kind
    assert set(rows) <= set(error.leads)
    fixed = fix_leads(wrong)
    np.testing.assert_allclose(fixed.signal, ecg.signal, atol=1e-5)
    assert fixed.meta["fixed_leads"] == [error.message]
    assert check_leads(fixed) == []


def test_a_chest_lead_that_copies_another_is_masked(make_ecg):
    error = only(check_leads(changed(make_ecg(), V4="V1")))
    assert (error.kind, set(error.leads)) == ("copied", {"V1", "V4"})
    fixed = fix_leads(changed(make_ecg(), V4="V1"))
    assert fixed.meta["missing_leads"] == [error.leads[0]]
    assert np.isnan(fixed[error.leads[0]]).all()
    error = only(check_leads(changed(make_ecg(), V4="II")))
    assert error.leads == ("V4", "II")


def test_two_errors_at_once(make_ecg):
    ecg = make_ecg()
    wrong = changed(ecg, aVL="aVF", aVF="aVL", V5="-V5")
    assert [error.kind for error in check_leads(wrong)] == ["exchanged", "inverted"]
    np.testing.assert_allclose(fix_leads(wrong).signal, ecg.signal, atol=1e-5)


def test_electrodes_at_one_place(make_ecg):
    ecg = make_ecg(leads=INDEPENDENT_LEADS)
    ecg.signal[1] = 0.02 * ecg.signal[0]
    error = only([error for error in check_leads(ecg) if error.kind == "same place"])
    assert error.leads == ("II",)
    assert not error.repair


def test_limb_leads_that_nothing_explains(make_ecg):
    rng = np.random.default_rng(0)
    ecg = make_ecg()
    ecg.signal[:6] = 0.3 * rng.standard_normal((6, 5000))
    error = check_leads(ecg)[0]
    assert (error.kind, error.repair) == ("contradicted", {})
    np.testing.assert_array_equal(fix_leads(ecg, [error]).signal, ecg.signal)


@pytest.mark.parametrize("leads", [INDEPENDENT_LEADS, ("II",), ("V1", "V2"), LEADS[:6], LEADS[6:]])
def test_few_leads_are_no_error(make_ecg, leads):
    assert check_leads(make_ecg(leads=leads)) == []


def test_exchanged_arms_of_eight_leads(make_ecg):
    ecg = make_ecg()
    wrong = changed(ecg, I="-I", II="III")
    eight = ECG(np.stack([wrong[lead] for lead in INDEPENDENT_LEADS]), 500, INDEPENDENT_LEADS)
    assert only(check_leads(eight)).kind == "reversed"
    np.testing.assert_allclose(fix_leads(eight).signal, ecg.signal, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.5, np.nan, np.inf])
def test_no_signal_is_no_error(value):
    signal = np.full((12, 1000), value, np.float32)
    signal[0, 5] = 0
    assert check_leads(ECG(signal, 500)) == []


def test_an_error_as_json(make_ecg):
    said = only(check_leads(changed(make_ecg(), V1="-V1"))).as_dict()
    assert said["kind"] == "inverted"
    assert said["leads"] == ["V1"]
    assert said["repair"] == {"V1": {"V1": -1.0}}


def test_fifteen_leads(tmp_path, make_ecg):
    names = (*LEADS, "V3R", "V7", "V8", "V9", "X", "Y", "Z")
    signal = np.concatenate([make_ecg(seconds=4).signal, np.zeros((7, 2000), np.float32)])
    rows = [",".join(names), *(",".join(f"{value:.5f}" for value in row) for row in signal.T)]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    read = read_ecg(tmp_path / "a.csv", sampling_rate=500)
    assert read.leads == LEADS
    assert read.meta["other_channels"] == ["V3R", "V7", "V8", "V9", "X", "Y", "Z"]
    np.testing.assert_allclose(read.signal, signal[:12], atol=1e-4)


def test_limb_leads_that_disagree_say_nothing_of_the_others(make_ecg):
    ecg = make_ecg()
    noise = np.random.default_rng(0).standard_normal((6, ecg.signal.shape[1])).astype(np.float32)
    ecg.signal[:6] += 0.5 * noise
    ecg.signal[6] = -ecg.signal[6]
    error = only(check_leads(ecg))
    assert error.kind == "contradicted"
    assert not error.repair


def printout(ecg, columns):
    """Leads shown one after the other, as on paper."""
    samples = ecg.signal.shape[1] // columns
    signal = np.full_like(ecg.signal, np.nan)
    for row in range(12):
        at = row * columns // 12 * samples
        signal[row, at : at + samples] = ecg.signal[row, at : at + samples]
    return ECG(signal, ecg.sampling_rate)


@pytest.mark.parametrize("columns", [2, 4, 12])
def test_leads_of_different_times_do_not_contradict_one_another(make_ecg, columns):
    assert check_leads(printout(make_ecg(), columns)) == []


def test_errors_among_the_leads_of_a_column(make_ecg):
    ecg = make_ecg()
    ecg.signal[[0, 1]] = ecg.signal[[1, 0]]
    ecg.signal[7] = ecg.signal[6]
    found = {error.kind: error.leads for error in check_leads(printout(ecg, 2))}
    assert set(found["exchanged"]) == {"I", "II"}
    assert set(found["copied"]) == {"V1", "V2"}
    assert [error.kind for error in check_leads(printout(ecg, 4))] == ["copied"]


def test_leads_with_little_time_in_common_are_not_compared(make_ecg):
    ecg = make_ecg()
    ecg.signal[[0, 1]] = ecg.signal[[1, 0]]
    ecg.signal[:6, 400:] = np.nan
    assert not any(error.kind == "exchanged" for error in check_leads(ecg))
    longer = make_ecg()
    longer.signal[[0, 1]] = longer.signal[[1, 0]]
    longer.signal[:6, 600:] = np.nan
    assert any(error.kind == "exchanged" for error in check_leads(longer))
