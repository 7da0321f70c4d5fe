"""Matching, fused features and re-ranking through `DBeta`, from recordings and files."""

import numpy as np
import pandas as pd
import pytest

import dbeta
from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.inference.cross_modal import rerank

TEXTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]


@pytest.fixture
def model(micro_checkpoint):
    return dbeta.load(micro_checkpoint, precision="float32")


def test_a_table_best_first_and_a_matrix_in_order(model, make_ecg):
    ecgs = [make_ecg(seed=i) for i in range(3)]
    table, matrix = model.match(ecgs, TEXTS), model.match_matrix(ecgs, TEXTS)
    assert list(table) == ["record", "text", "probability", "quality"] and len(table) == 9
    assert matrix.shape == (3, 3) and ((matrix > 0) & (matrix < 1)).all()
    for i, (name, rows) in enumerate(table.groupby("record", sort=False)):
        assert name == f"recording {i + 1}"
        assert rows["probability"].is_monotonic_decreasing
        wanted = dict(zip(TEXTS, matrix[i], strict=True))
        assert all(row["probability"] == pytest.approx(wanted[row["text"]]) for row in rows.to_dict("records"))


def test_probabilities_depend_on_nothing_else_in_the_batch(model, make_ecg):
    ecg = make_ecg()
    alone = model.match_matrix(ecg, TEXTS[0])
    among = model.match_matrix([make_ecg(seed=1), ecg], [TEXTS[1], TEXTS[0], " ".join(TEXTS)])
    assert alone[0, 0] == pytest.approx(among[1, 1], abs=1e-5)


def test_a_long_recording_gets_the_mean_of_its_windows(model, make_ecg):
    long = make_ecg(seconds=20)
    parts = [ECG(long.signal[:, i : i + 5000], 500) for i in (0, 5000)]
    each = model.match_matrix(parts, TEXTS)
    np.testing.assert_allclose(model.match_matrix(long, TEXTS)[0], each.mean(axis=0), atol=1e-5)
    row = model.match(long, TEXTS[:1]).iloc[0]
    assert row["peak"] == pytest.approx(each[:, 0].max(), abs=1e-5)
    assert row["peak_at"] == [0.0, 10.0][each[:, 0].argmax()]
    np.testing.assert_allclose(model.fuse(long, TEXTS[0])[0], model.fuse(parts, TEXTS[0]).mean(axis=0), atol=1e-5)


def test_fused_features_of_one_text_or_of_pairs(model, make_ecg):
    ecgs = [make_ecg(seed=i) for i in range(3)]
    one = model.fuse(ecgs, TEXTS[0])
    pairs = model.fuse(ecgs, TEXTS)
    assert one.shape == pairs.shape == (3, 64) and one.dtype == np.float32
    np.testing.assert_allclose(one[0], pairs[0], atol=1e-5)
    assert np.abs(one[1] - pairs[1]).max() > 1e-3
    assert model.fuse([], []).shape == (0, 64)


def test_a_recording_without_usable_signal_has_no_rows(model, make_ecg):
    noise = ECG(np.random.default_rng(0).standard_normal((12, 5000)) * 5, 500)
    with pytest.warns(dbeta.DBetaWarning):
        assert model.match([noise], TEXTS).empty
    with pytest.warns(dbeta.DBetaWarning):
        assert np.isnan(model.match_matrix([noise, make_ecg()], TEXTS)).all(axis=1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model, ecg: model.match(ecg, []), "no text"),
        (lambda model, ecg: model.match(ecg, ["a", " "]), "empty"),
        (lambda model, ecg: model.fuse(ecg, ["a", "b"]), "1 recordings and 2 texts"),
        (lambda model, ecg: model.fuse(ecg, ""), "empty"),
        (lambda model, ecg: dbeta.load("tiny").match(ecg, "a"), "two encoders only"),
        (lambda model, ecg: dbeta.load("tiny").fuse(ecg, "a"), "two encoders only"),
    ],
)
def test_errors(model, make_ecg, call, words):
    with pytest.raises(DBetaError, match=words):
        call(model, make_ecg())


def test_reranking_sorts_the_first_and_keeps_the_rest(model, make_ecg, write_record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [write_record(tmp_path, make_ecg(seed=i), f"r{i}").name for i in range(4)]
    hits = pd.DataFrame({"file": files, "record": files, "score": [0.4, 0.3, 0.2, 0.1]})
    found = rerank(model, hits, TEXTS[0], 3)
    wanted = model.match_matrix(files[:3], TEXTS[0])[:, 0]
    assert found["file"].tolist() == [files[i] for i in np.argsort(-wanted)] + files[3:]
    np.testing.assert_allclose(found["match"][:3], np.sort(wanted)[::-1], atol=1e-6)
    assert np.isnan(found["match"][3])
    (tmp_path / files[1]).unlink()
    with pytest.raises(DBetaError, match="re-ranking reads the recordings again"):
        rerank(model, hits, TEXTS[0], 3)
