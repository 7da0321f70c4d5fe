"""The model that comes with the package."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

import dbeta
from dbeta.checkpoints.names import BUNDLED
from dbeta.checkpoints.read import bundled_checkpoint
from dbeta.errors import DBetaError

#: All files of the bundled model together: a wheel should stay small.
MOST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def model():
    return dbeta.load()


@pytest.fixture(scope="module")
def demo():
    """The real ECG that pydicom ships; its own annotation says normal sinus rhythm."""
    return Path(get_testdata_file("waveform_ecg.dcm"))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_folder_is_complete_and_small(name):
    folder = bundled_checkpoint(name)
    files = {file.name: file.stat().st_size for file in folder.iterdir()}
    wanted = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "README.md"}
    assert wanted | {"reference_panel.safetensors"} <= set(files)
    assert sum(files.values()) <= MOST_BYTES
    assert not [name for name in files if Path(name).suffix in (".bin", ".pt", ".pkl", ".ckpt")]


def test_load_without_an_argument(model):
    assert model.processor.sampling_rate == 500
    assert model.processor.n_samples == 5000
    assert model.panel is not None
    np.testing.assert_allclose(np.linalg.norm(model.panel.float().numpy(), axis=1), 1.0, atol=1e-2)


def test_one_saw_no_patients_data(monkeypatch, tmp_path):
    assert dbeta.load("tiny-sim").model.config.trained_on == ["simulated"]
    assert dbeta.load("tiny").model.config.trained_on == ["ptb-xl", "simulated"]
    # A folder of one's own goes before a name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    with pytest.raises(DBetaError, match=r"tiny: config\.json is missing"):
        dbeta.load("tiny")


def test_the_demo_is_normal(model, demo):
    table = model.diagnose(demo)
    assert len(table) == 22
    assert table["percentile"].between(0, 100).all()
    score = table.set_index("condition")["score"]
    for present in ("normal ECG", "sinus rhythm"):
        for absent in ("atrial fibrillation", "left bundle branch block"):
            assert score[present] > score[absent]


def test_words_of_the_users_own(model, demo):
    table = model.diagnose(demo, ["sinus rhythm", "complete left bundle branch block with wide QRS"])
    assert list(table["condition"]) == ["sinus rhythm", "complete left bundle branch block with wide QRS"]


def cosine(one, two):
    return one @ two / np.linalg.norm(one) / np.linalg.norm(two)


def test_normal_and_abnormal_differ(model, make_ecg):
    assert cosine(*model.embed([make_ecg(rate=70), make_ecg(rate=150)])) < 0.95


def test_slow_and_fast_differ(model, make_ecg):
    slow, fast = make_ecg(rate=45), make_ecg(rate=130)
    assert cosine(*model.embed([slow, fast])) < 0.95
    lead = [
        table.set_index("condition")["score"]["sinus bradycardia"]
        - table.set_index("condition")["score"]["sinus tachycardia"]
        for table in (model.diagnose(slow), model.diagnose(fast))
    ]
    assert lead[0] > 0 > lead[1]
