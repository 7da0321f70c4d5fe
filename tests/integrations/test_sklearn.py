"""The door of scikit-learn."""

import pickle
import shutil
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from pydicom.data import get_testdata_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

import dbeta
from dbeta import DBetaTransformer
from dbeta.errors import DBetaError
from dbeta.integrations import sklearn as features


@pytest.fixture
def loads(monkeypatch):
    """The models that were loaded, by name, with none in memory at first."""
    names = []
    load = features.load

    def counting(name, **options):
        names.append(name)
        return load(name, **options)

    features._load.cache_clear()
    monkeypatch.setattr(features, "load", counting)
    yield names
    features._load.cache_clear()


@pytest.fixture
def ecgs(make_ecg):
    """Slow and fast hearts in turn."""
    return [make_ecg(seed=seed, rate=(50, 130)[seed % 2]) for seed in range(8)]


@pytest.fixture
def transformer(micro_checkpoint):
    return DBetaTransformer(str(micro_checkpoint), precision="float32")


def column(values):
    """An array of recordings, which NumPy does not look into."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


# --- Embeddings


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        column,
        lambda ecgs: column(ecgs)[:, None],
        lambda ecgs: pd.Series(ecgs, index=range(10, 10 + len(ecgs))),
        lambda ecgs: pd.DataFrame({"ecg": ecgs}),
    ],
)
def test_embeddings_of_recordings_in_any_row(form, transformer, micro_checkpoint, ecgs):
    embeds = transformer.fit(form(ecgs)).transform(form(ecgs))
    assert embeds.shape == (8, 32)
    assert embeds.dtype == np.float32
    np.testing.assert_allclose(embeds, dbeta.load(micro_checkpoint, precision="float32").embed(ecgs), atol=1e-5)


def test_files(transformer, micro_checkpoint, make_ecg):
    file = get_testdata_file("waveform_ecg.dcm")
    expected = dbeta.load(micro_checkpoint, precision="float32").embed([file, make_ecg()])
    for given in ([file], [Path(file)], np.array([file]), pd.Series([file])):
        np.testing.assert_allclose(transformer.fit_transform(given), expected[:1], atol=1e-5)
    np.testing.assert_allclose(transformer.transform([file, make_ecg()]), expected, atol=1e-5)


def test_batches_are_no_larger_than_asked(micro_checkpoint, ecgs, monkeypatch):
    model = dbeta.load(micro_checkpoint)
    sizes = []
    inner = model.model.embed_ecg
    monkeypatch.setattr(model.model, "embed_ecg", lambda ecg: sizes.append(len(ecg)) or inner(ecg))
    DBetaTransformer(model, batch_size=3).transform(ecgs)
    assert sizes == [3, 3, 2]


def test_the_bundled_model_is_the_default(make_ecg):
    np.testing.assert_allclose(DBetaTransformer().transform([make_ecg()]), dbeta.load().embed(make_ecg()), atol=1e-5)


def test_names_and_tables(transformer, ecgs):
    names = [f"dbeta{i}" for i in range(32)]
    assert transformer.get_feature_names_out().tolist() == names
    table = clone(transformer).set_output(transform="pandas").fit_transform(pd.Series(ecgs, index=list("abcdefgh")))
    assert table.columns.tolist() == names
    assert table.index.tolist() == list("abcdefgh")
    np.testing.assert_array_equal(table.to_numpy(), transformer.transform(ecgs))


# --- As a part of scikit-learn


def test_settings_are_kept_as_given(micro_checkpoint):
    given = {"model": Path(micro_checkpoint), "device": "cpu", "precision": "bfloat16", "batch_size": 2}
    transformer = DBetaTransformer(**given)
    copy = clone(transformer)
    assert all(transformer.get_params()[name] is value for name, value in given.items())
    assert copy.get_params() == given
    assert copy.set_params(batch_size=5).batch_size == 5


def test_nothing_is_fitted(transformer):
    check_is_fitted(transformer)
    assert not get_tags(transformer).requires_fit


def test_clones_share_a_loaded_model(micro_checkpoint, ecgs):
    model = dbeta.load(micro_checkpoint)
    copy = clone(DBetaTransformer(model))
    assert copy.model is model
    again = pickle.loads(pickle.dumps(copy))
    np.testing.assert_allclose(again.transform(ecgs), model.embed(ecgs), atol=1e-5)


def test_a_model_is_loaded_once(loads, transformer, ecgs, micro_checkpoint):
    assert transformer.fit(ecgs) is transformer
    assert loads == []
    for one in (transformer, clone(transformer), pickle.loads(pickle.dumps(transformer))):
        one.transform(ecgs[:1])
        one.get_feature_names_out()
    assert loads == [str(micro_checkpoint)]


def test_a_model_that_was_trained_anew_is_loaded_anew(loads, micro_checkpoint, tmp_path, ecgs):
    folder = shutil.copytree(micro_checkpoint, tmp_path / "model")
    transformer = DBetaTransformer(folder)
    transformer.transform(ecgs[:1])
    (folder / "model.safetensors").touch()
    transformer.transform(ecgs[:1])
    assert loads == [str(folder)] * 2


def test_files_of_it_carry_no_weights(transformer, ecgs, tmp_path):
    expected = transformer.transform(ecgs)
    joblib.dump(transformer, tmp_path / "transformer.joblib")
    assert (tmp_path / "transformer.joblib").stat().st_size < 1000
    np.testing.assert_array_equal(joblib.load(tmp_path / "transformer.joblib").transform(ecgs), expected)


def test_in_a_pipeline_under_cross_validation(loads, transformer, ecgs):
    pipeline = make_pipeline(transformer, LogisticRegression(max_iter=1000))
    scores = cross_val_score(pipeline, ecgs, [0, 1] * 4, cv=2, scoring="neg_log_loss")
    expected = cross_val_score(pipeline[1], transformer.transform(ecgs), [0, 1] * 4, cv=2, scoring="neg_log_loss")
    np.testing.assert_allclose(scores, expected, rtol=1e-3)
    assert len(loads) == 1


def test_a_grid_search_embeds_each_fold_once(transformer, ecgs, tmp_path, monkeypatch):
    embedded = []
    inner = DBetaTransformer.transform

    def counting(self, X):
        embedded.append(len(X))
        return inner(self, X)

    steps = [("embed", transformer), ("classify", LogisticRegression(max_iter=1000))]
    pipeline = Pipeline(steps, memory=joblib.Memory(tmp_path, verbose=0))
    search = GridSearchCV(pipeline, {"classify__C": [0.1, 1.0, 10.0]}, cv=2, refit=False)
    monkeypatch.setattr(DBetaTransformer, "transform", counting)
    search.fit(ecgs, [0, 1] * 4)
    # Each fold's training half once, kept in the cache; its other half once for each setting
    assert embedded == [4] * (2 + 2 * 3)


# --- What cannot be used


@pytest.mark.parametrize(
    ("X", "reason"),
    [
        ([], "X contains no recordings"),
        (pd.Series([], dtype=object), "X contains no recordings"),
        ("record.hea", "X is a single recording; put it into a list"),
        (Path("record.hea"), "X is a single recording; put it into a list"),
        (iter(["record.hea"]), "only once.*make it a list"),
        (np.zeros((3, 12, 5000)), r"not an array of shape \(3, 12, 5000\); give a list of dbeta\.ECG"),
        (pd.DataFrame({"file": ["a.hea"], "age": [50]}), r"not an array of shape \(1, 2\)"),
        (["a.hea", None], "row 1 of X is not a recording but NoneType; give a list of"),
        ([np.zeros((12, 5000))], r"row 0 of X is not a recording but ndarray; give a list of dbeta\.ECG"),
        (7, "X must be a list of recordings, not int"),
    ],
)
def test_what_holds_no_recordings(transformer, X, reason):
    for method in (transformer.fit, transformer.transform):
        with pytest.raises(DBetaError, match=reason):
            method(X)


def test_a_single_ecg(transformer, make_ecg):
    with pytest.raises(DBetaError, match="put it into a list"):
        transformer.transform(make_ecg())


def test_a_file_that_is_missing(transformer):
    with pytest.raises(DBetaError, match=r"none\.hea"):
        transformer.transform(["none.hea"])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"precision": "float16"}, "unknown precision float16; choose auto, float32, bfloat16"),
        ({"batch_size": 0}, "the batch size must be a positive whole number, not 0"),
        ({"batch_size": True}, "the batch size must be a positive whole number, not True"),
        ({"batch_size": 2.5}, "the batch size must be a positive whole number, not 2.5"),
    ],
)
def test_settings_that_mean_nothing(settings, reason, ecgs):
    for method in (DBetaTransformer(**settings).fit, DBetaTransformer(**settings).transform):
        with pytest.raises(DBetaError, match=reason):
            method(ecgs)


def test_a_loaded_model_has_its_device_and_precision(micro_checkpoint, ecgs):
    model = dbeta.load(micro_checkpoint)
    for setting in ({"device": "cpu"}, {"precision": "float32"}):
        with pytest.raises(DBetaError, match="loaded already; leave device and precision out"):
            DBetaTransformer(model, **setting).fit(ecgs)


def test_a_model_that_is_missing(tmp_path, ecgs):
    with pytest.raises(DBetaError, match="there is no such folder"):
        DBetaTransformer(tmp_path / "none").transform(ecgs)
