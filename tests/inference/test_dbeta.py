"""Loading a checkpoint, embedding, and ranking conditions."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dbeta
from dbeta.conditions.registry import default_conditions, find_condition
from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.inference.dbeta import DBeta
from dbeta.inference.findings import to_records
from dbeta.inference.load import load


@pytest.fixture
def model(micro_checkpoint):
    return load(micro_checkpoint, precision="float32")


def save_csv(ecg, path):
    """A recording as a file."""
    pd.DataFrame(ecg.signal.T, columns=list(ecg.leads)).to_csv(path, index=False)
    return path


# --- Embeddings


def test_embed(model, make_ecg):
    embeds = model.embed([make_ecg(seed=1), make_ecg(seed=2, rate=120)])
    assert embeds.shape == (2, 32)
    assert embeds.dtype == np.float32
    assert np.isfinite(embeds).all()
    assert np.abs(embeds[0] - embeds[1]).max() > 1e-3


def test_embed_is_what_the_model_says(model, make_ecg):
    ecg = make_ecg(seed=3)
    with torch.no_grad():
        expected = model.model.embed_ecg(model.processor(ecg=ecg)["ecg"])
    np.testing.assert_allclose(model.embed(ecg), expected.numpy(), atol=1e-6)


def test_one_recording_or_several_or_none(model, make_ecg):
    one, two = make_ecg(seed=1), make_ecg(seed=2)
    both = model.embed([one, two])
    np.testing.assert_allclose(model.embed(one), both[:1], atol=1e-5)
    np.testing.assert_allclose(model.embed(ecg for ecg in (one, two)), both, atol=1e-6)
    np.testing.assert_allclose(model.embed([two, one]), both[::-1], atol=1e-5)
    assert model.embed([]).shape == (0, 32)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_do_not_change_the_result(model, make_ecg, batch_size):
    ecgs = [make_ecg(seed=seed, rate=50 + 10 * seed) for seed in range(5)]
    other = DBeta(model.model, model.processor, batch_size=batch_size)
    np.testing.assert_allclose(other.embed(ecgs), model.embed(ecgs), atol=1e-5)


def test_batches_are_no_larger_than_asked(model, make_ecg, monkeypatch):
    sizes = []
    inner = model.model.embed_ecg
    monkeypatch.setattr(model.model, "embed_ecg", lambda ecg: sizes.append(len(ecg)) or inner(ecg))
    DBeta(model.model, model.processor, batch_size=2).embed([make_ecg()] * 5)
    assert sizes == [2, 2, 1]


def test_files_are_read(model, make_ecg, tmp_path):
    ecg = make_ecg()
    np.save(tmp_path / "a.npy", ecg.signal)
    with pytest.raises(DBetaError, match=r"a\.npy"):
        model.embed(tmp_path / "a.npy")
    from pydicom.data import get_testdata_file

    path = get_testdata_file("waveform_ecg.dcm")
    by_ecg = model.embed(dbeta.read_ecg(path))
    for file in (path, Path(path), [path], [Path(path)]):
        np.testing.assert_allclose(model.embed(file), by_ecg, atol=1e-4)


def test_a_bad_recording_stops_the_batch_and_is_named(model, make_ecg):
    flat = make_ecg()
    flat.signal[:] = 0.0
    flat.meta["source"] = "flat.hea"
    with pytest.raises(DBetaError, match=r"flat\.hea.*flat"):
        model.embed([make_ecg(), flat])


def test_an_array_is_no_recording(model, make_ecg):
    for given in (make_ecg().signal, [make_ecg().signal]):
        with pytest.raises(DBetaError, match=r"not ndarray; write dbeta\.ECG"):
            model.embed(given)


# --- Texts


def test_texts_are_embedded_once(model, monkeypatch):
    calls = []
    inner = model.model.embed_text

    def counting(**tokens):
        calls.append(len(tokens["input_ids"]))
        return inner(**tokens)

    monkeypatch.setattr(model.model, "embed_text", counting)
    first = model.embed_text(["sinus rhythm", "pause", "sinus rhythm"])
    assert first.shape == (3, 32)
    assert first.dtype == np.float32
    assert calls == [2]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(model.embed_text("pause"), first[1:2])
    assert calls == [2]
    model.embed_text(["pause", "new words"])
    assert calls == [2, 1]


def test_padding_does_not_change_a_text(model):
    short = model.embed_text("pause")
    fresh = DBeta(model.model, model.processor)
    np.testing.assert_allclose(
        fresh.embed_text(["pause", "a much longer text about sinus rhythm"])[:1], short, atol=1e-5
    )


def test_more_texts_than_fit_a_batch(model):
    texts = [f"finding number {i}" for i in range(7)]
    small = DBeta(model.model, model.processor, batch_size=3)
    np.testing.assert_allclose(small.embed_text(texts), model.embed_text(texts), atol=1e-5)


def test_a_known_condition_is_the_mean_of_its_prompts(model):
    condition = find_condition("atrial fibrillation")
    units = model.embed_text(condition.prompts)
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    mean = units.mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    for asked in ("atrial fibrillation", "Atrial Fibrillation", condition.synonyms[0], condition):
        direction = model.embed_condition(asked)
        assert direction.shape == (32,)
        np.testing.assert_allclose(direction, expected, atol=1e-5)


def test_other_words_stand_for_themselves(model):
    text = "tall peaked waves over the right chest"
    assert find_condition(text) is None
    embed = model.embed_text(text)[0]
    np.testing.assert_allclose(model.embed_condition(text), embed / np.linalg.norm(embed), atol=1e-6)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_refused(model, make_ecg, text):
    with pytest.raises(DBetaError, match="empty"):
        model.embed_text([text])
    with pytest.raises(DBetaError, match="empty"):
        model.diagnose(make_ecg(), ["sinus rhythm", text])


# --- Findings


def plant(monkeypatch, embeds, directions, panel=None):
    """A model of two dimensions that gives these embeddings, in order, and these directions by condition."""
    model = DBeta.__new__(DBeta)
    model.processor = dbeta.DBetaProcessor()
    model.batch_size = 1
    model.panel = None if panel is None else torch.tensor(panel)
    rows = iter(np.array(embeds, dtype=np.float32))
    monkeypatch.setattr(model, "embed_signals", lambda windows: [next(rows) for _ in windows], raising=False)
    vectors = {name: np.array(one, dtype=np.float32) for name, one in directions.items()}
    monkeypatch.setattr(model, "embed_condition", vectors.__getitem__, raising=False)
    return model


def test_scores_and_percentiles_by_hand(monkeypatch, make_ecg):
    # Panel scores for x: 1, 0.6, 0, −1; for y: 0, 0.8, 1, 0
    model = plant(
        monkeypatch,
        [[3.0, 4.0], [2.0, 0.0]],
        {"x": [1.0, 0.0], "y": [0.0, 1.0]},
        [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]],
    )
    table = model.diagnose([make_ecg(), make_ecg()], ["x", "y"])
    assert list(table.columns) == ["record", "condition", "score", "percentile", "quality"]
    assert list(table["record"]) == ["recording 1"] * 2 + ["recording 2"] * 2
    assert list(table["condition"]) == ["y", "x", "x", "y"]
    np.testing.assert_allclose(table["score"], [0.8, 0.6, 1.0, 0.0], atol=1e-6)
    # y 0.8: two below, one tied → 2.5 of 4. x 0.6: likewise. x 1: three below, one tied. y 0: none below, two tied
    np.testing.assert_allclose(table["percentile"], [62.5, 62.5, 87.5, 25.0])


def test_percentiles_reach_both_ends(monkeypatch, make_ecg):
    panel = [[0.6, 0.8], [0.8, 0.6]]
    model = plant(monkeypatch, [[5.0, 0.0]], {"x": [1.0, 0.0], "minus x": [-1.0, 0.0]}, panel)
    table = model.diagnose(make_ecg(), ["minus x", "x"])
    assert table["condition"].tolist() == ["x", "minus x"]
    assert table["percentile"].tolist() == [100.0, 0.0]


def test_no_percentile_without_a_panel(monkeypatch, make_ecg):
    model = plant(monkeypatch, [[3.0, 4.0]], {"x": [1.0, 0.0], "y": [0.0, 1.0]})
    table = model.diagnose(make_ecg(), ["x", "y"])
    assert table["percentile"].isna().all()
    rows = to_records(table)
    said = {"condition": "y", "score": pytest.approx(0.8), "percentile": None, "quality": "good"}
    assert rows[0] == {"record": "recording 1"} | said
    assert "NaN" not in json.dumps(rows)


def test_the_default_conditions(model, make_ecg):
    table = model.diagnose(make_ecg())
    assert sorted(table["condition"]) == sorted(condition.name for condition in default_conditions())
    assert len(table) == 22
    assert table["score"].is_monotonic_decreasing
    assert table["score"].between(-1, 1).all()
    assert table["percentile"].between(0, 100).all()


def test_names_stay_as_they_were_asked(model, make_ecg):
    table = model.diagnose(make_ecg(), ["LBBB", "left bundle branch block", "my own words"])
    assert set(table["condition"]) == {"LBBB", "left bundle branch block", "my own words"}
    score = table.set_index("condition")["score"]
    assert score["LBBB"] == pytest.approx(score["left bundle branch block"], abs=1e-6)


def test_one_condition_may_be_a_string(model, make_ecg):
    pd.testing.assert_frame_equal(model.diagnose(make_ecg(), "pause"), model.diagnose(make_ecg(), ["pause"]))


@pytest.mark.parametrize("text", ["AFIB, LBBB", "AFIB; LBBB"])
def test_a_list_in_one_string_is_one_condition_and_is_warned_of(model, make_ecg, text):
    with pytest.warns(DBetaWarning, match=r"taken as one condition; for several, pass a list: \['AFIB', 'LBBB'\]"):
        assert model.diagnose(make_ecg(), text)["condition"].tolist() == [text]
    with warnings.catch_warnings():
        warnings.simplefilter("error", DBetaWarning)
        model.diagnose(make_ecg(), "AFIB, with a wide QRS")


def test_each_record_is_ranked_on_its_own(model, make_ecg):
    one, two = make_ecg(seed=1, rate=45), make_ecg(seed=2, rate=140)
    one.meta["source"], two.meta = "one.hea", {"source": "two.h5", "record": 17}
    both = model.diagnose([one, two], ["pause", "sinus rhythm", "wide QRS"])
    assert both["record"].tolist() == ["one.hea"] * 3 + ["two.h5#17"] * 3
    for _, rows in both.groupby("record"):
        assert rows["score"].is_monotonic_decreasing
    alone = model.diagnose(two, ["pause", "sinus rhythm", "wide QRS"])
    np.testing.assert_allclose(both["score"][3:], alone["score"], atol=1e-5)
    assert both["condition"][3:].tolist() == alone["condition"].tolist()


def test_no_finding_without_usable_signal(model, make_ecg):
    noise = ECG(0.1 * np.random.default_rng(0).standard_normal((12, 5000)), 500, meta={"source": "noise.hea"})
    with pytest.warns(DBetaWarning, match=r"noise\.hea: has no usable signal, noise and no heartbeat"):
        table = model.diagnose([make_ecg(), noise, make_ecg()], ["atrial fibrillation"])
    assert table["record"].tolist() == ["recording 1", "recording 3"]
    assert table["quality"].tolist() == ["good", "good"]
    with pytest.warns(DBetaWarning):
        assert len(model.diagnose(noise)) == 0


def test_windows_without_usable_signal_are_left_out(model, make_ecg):
    ecg = make_ecg(seconds=30)
    rng = np.random.default_rng(0)
    ecg.signal[:, 5000:10000] = 0.1 * rng.standard_normal((12, 5000))
    with pytest.warns(DBetaWarning, match="1 of 3 windows have no usable signal"):
        table = model.diagnose(ecg, ["atrial fibrillation"], windows=True)
    assert table["start"].tolist() == [0, 20]
    with pytest.warns(DBetaWarning):
        whole = model.diagnose(ecg, ["atrial fibrillation"])
    assert whole["quality"].tolist() == ["fair"]
    halves = [model.embed(ECG(ecg.signal[:, at : at + 5000], 500))[0] for at in (0, 10000)]
    direction = model.embed_condition("atrial fibrillation")
    mean = np.mean(halves, axis=0)
    assert whole["score"][0] == pytest.approx(mean @ direction / np.linalg.norm(mean), abs=1e-5)


def test_a_single_lead_is_asked_with_the_others_masked(model, make_ecg):
    with pytest.warns(DBetaWarning, match="only II is present"):
        table = model.diagnose(make_ecg(leads=("II",)))
    assert set(table["quality"]) == {"fair"}


def test_nothing_to_ask_or_to_ask_of(model, make_ecg):
    with pytest.raises(DBetaError, match="no condition was named"):
        model.diagnose(make_ecg(), [])
    empty = model.diagnose([])
    assert len(empty) == 0
    assert list(empty.columns) == ["record", "condition", "score", "percentile", "quality"]


def test_a_short_recording_is_warned_of(model, make_ecg):
    with pytest.warns(DBetaWarning, match=r"only 3\.0 s"):
        model.diagnose(make_ecg(seconds=3), ["pause"])


# --- Real recordings


@pytest.mark.shared
def test_real_recordings(model, shared):
    training = shared / "challenge-2021" / "training"
    files = [training / "georgia/g1/E07541.hea", training / "cpsc_2018/g1/A0026.hea"]
    table = model.diagnose(files)
    assert table["record"].unique().tolist() == ["E07541.hea", "A0026.hea"]
    assert len(table) == 44
    assert table["score"].notna().all()


def test_what_is_no_condition(model, make_ecg):
    with pytest.raises(DBetaError, match="must be text"):
        model.diagnose(make_ecg(), [None])


def test_no_text_no_embedding(model):
    assert model.embed_text([]).shape == (0, model.model.config.hidden_size)
