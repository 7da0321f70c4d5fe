"""Few leads: percentiles among ECGs with the same leads, and findings that the leads at hand cannot show."""

import numpy as np
import pytest

import dbeta
from dbeta.conditions.registry import find_condition, load_conditions
from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaWarning
from dbeta.inference import few_leads
from dbeta.inference.findings import findings_of
from dbeta.simulation.finding_table import TABLE

ASKED = ["atrial fibrillation", "anterior myocardial infarction", "my own words"]


@pytest.fixture
def model(micro_checkpoint, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(few_leads, "PANEL_SIZE", 32)
    simulated = few_leads.simulated_signals
    simulated.cache_clear()
    yield dbeta.load(micro_checkpoint, precision="float32")
    simulated.cache_clear()


def single(ecg, lead="I"):
    return ECG(ecg[lead][None], ecg.sampling_rate, [lead])


def test_percentiles_are_those_among_ecgs_with_the_same_leads(model, make_ecg):
    with pytest.warns(DBetaWarning, match="cannot show anterior myocardial infarction; not answered"):
        table = model.diagnose(single(make_ecg()), ASKED).set_index("condition")
    assert table.loc["anterior myocardial infarction", ["score", "percentile"]].isna().all()
    assert table.index[-1] == "anterior myocardial infarction"
    signals = few_leads.simulated_signals(model.processor.input_format).astype(np.float32)
    signals[:, 1:] = 0
    embeds = model.embed_signals(signals)
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    for name in ("atrial fibrillation", "my own words"):
        scores = embeds @ model.embed_condition(name)
        # Panels are kept in half precision
        assert table.loc[name, "percentile"] == pytest.approx(100 * (scores < table.loc[name, "score"]).mean(), abs=4)


def test_panels_are_kept_in_memory_and_on_disk(model, make_ecg, micro_checkpoint, tmp_path, monkeypatch):
    few = single(make_ecg())
    first = model.diagnose(few, ASKED[0])
    (file,) = (tmp_path / "dbeta" / "panels").iterdir()
    assert file.name.endswith("-100000000000.safetensors")

    def fail(*_):
        raise AssertionError("simulated again")

    monkeypatch.setattr(few_leads, "simulated_signals", fail)
    again = dbeta.load(micro_checkpoint, precision="float32")
    assert again.diagnose(few, ASKED[0])["percentile"].tolist() == pytest.approx(first["percentile"], abs=4)
    file.unlink()
    assert (model.diagnose(few, ASKED[0])["percentile"] == first["percentile"]).all()
    file.write_bytes(b"damaged")
    monkeypatch.undo()
    assert dbeta.load(micro_checkpoint).diagnose(few, ASKED[0])["percentile"].notna().all()


def test_all_leads_use_the_stored_panel(model, make_ecg, monkeypatch):
    monkeypatch.setattr(few_leads, "simulated_signals", None)
    assert model.diagnose(make_ecg(), ASKED)["percentile"].notna().all()


def test_a_flat_lead_is_a_missing_one(model, make_ecg):
    ecg = make_ecg()
    flat, gone = ecg.signal.copy(), ecg.signal.copy()
    flat[8] = 0.0
    gone[8] = np.nan
    tables = [model.diagnose(ECG(one, 500), ASKED) for one in (flat, gone)]
    assert (tables[0]["percentile"] == tables[1]["percentile"]).all()
    assert tables[0]["score"].notna().all()  # one chest lead of three does not hide it


def test_the_leads_of_most_windows_count(model, make_ecg):
    signal = make_ecg(seconds=30).signal.copy()
    signal[8, :5000] = 0.0
    (one,) = model.embed_files([ECG(signal, 500)])
    assert one.alive.shape == (3, 12) and one.alive[:, 8].tolist() == [False, True, True]
    assert one.leads.all()
    signal[8, :10000] = 0.0
    (one,) = model.embed_files([ECG(signal, 500)])
    assert (np.flatnonzero(~one.leads) == [8]).all()


def test_conditions_not_answered_have_no_peak(model, make_ecg):
    question = model.ask(ASKED)
    (one,) = model.embed_files([single(make_ecg(seconds=20))])
    table = findings_of(question, one, "r").set_index("condition")
    assert table.loc["anterior myocardial infarction", ["peak", "peak_at"]].isna().all()
    assert table.loc[["atrial fibrillation", "my own words"], ["peak", "peak_at"]].notna().all(axis=None)
    windows = findings_of(question, one, "r", windows=True)
    assert windows.loc[windows["condition"] == ASKED[1], "score"].isna().all()
    assert windows["score"].notna().sum() == 4


@pytest.mark.parametrize(
    ("name", "present", "readable"),
    [
        ("anterior myocardial infarction", ["I"], False),
        ("anterior myocardial infarction", LEADS[:6], False),
        ("anterior myocardial infarction", ["I", "II", "V2", "V3"], True),
        ("inferior myocardial infarction", ["II"], False),
        ("inferior myocardial infarction", ["I", "II"], True),
        ("right bundle branch block", ["I", "II", "V2", "V5"], False),
        ("left ventricular hypertrophy", ["I", "II", "V1", "V2", "V4", "V5"], True),
        ("normal ECG", ["I", "II", "V1", "V2", "V3"], False),
        ("atrial fibrillation", ["V6"], True),
    ],
)
def test_what_leads_can_show(name, present, readable):
    assert find_condition(name).readable_in(present) == readable


def test_lead_needs_are_those_of_the_simulator_and_more():
    stricter = []
    for condition in load_conditions().values():
        assert set(condition.leads) <= set(LEADS)
        row = TABLE.get(condition.name.lower())
        if row is None:
            assert condition.leads == ()
        elif row.leads != condition.leads:
            assert set(row.leads) < set(condition.leads)
            stricter.append(condition.key)
    # The simulator knows their cause; a reader has to see it
    assert sorted(stricter) == [
        "early_repolarization",
        "hypertrophy",
        "ischemic_st_t_changes",
        "nonspecific_st_t_changes",
        "pericarditis",
        "st_t_change",
        "ventricular_aneurysm",
    ]
