"""The yardstick of reconstruction: 1 for a model that predicts the mean, 0 for one that knows."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dbeta
from dbeta.model.losses import mem_targets

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import originals
import reconstruction


@pytest.fixture
def model(micro_checkpoint):
    return dbeta.load(micro_checkpoint, precision="float32")


@pytest.fixture
def signals(make_ecg):
    return np.stack([make_ecg(seed=i).signal for i in range(3)])  # (3, 12, 5000)


@pytest.mark.parametrize(("knows", "ratio"), [(False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("scope", ["unseen", "tokens"])
def test_ratios(model, signals, monkeypatch, knows, ratio, scope):
    config = model.model.config
    config.mem_scope = scope
    whole = next(reconstruction.batches(model, signals))[0]
    target = mem_targets(whole, config.n_tokens, config.samples_per_token).transpose(1, 2).flatten(2)

    def predict(ecg, hidden, input_ids, attention_mask=None):
        return target if knows else torch.zeros_like(target)

    monkeypatch.setattr(model.model, "predict_signal", predict)
    figures = reconstruction.tokens(model, signals)
    assert list(figures.values()) == pytest.approx([ratio, ratio], abs=1e-6)
    assert reconstruction.missing_leads(model, signals) == pytest.approx([ratio] * 12, abs=1e-6)


def test_regression_knows_limb_leads_from_each_other(signals, monkeypatch, tmp_path):
    monkeypatch.setattr(reconstruction, "original_signals", lambda folder, **_: iter(signals))
    figures = reconstruction.regression(tmp_path, signals)
    assert figures["a missing lead, mean of 12"] < 0.05
    assert reconstruction.summarised("x", np.arange(12.0))["x, mean of V1–V6"] == 8.5


def test_originals_are_those_at_500_hz_that_are_not_restored(micro_ptb_xl, tmp_path):
    for file in micro_ptb_xl.iterdir():
        (tmp_path / file.name).symlink_to(file)
    table = pd.read_csv(tmp_path / "ptbxl_database.csv")
    about = pd.DataFrame({"ecg_id": table["ecg_id"], "restored": table["ecg_id"] % 2 == 0, "rate": 500})
    about.loc[about["ecg_id"] == 13, "rate"] = 100
    about.to_csv(tmp_path / "restored.csv", index=False)
    held_back = list(originals.original_signals(tmp_path, held_back=True))
    others = list(originals.original_signals(tmp_path, held_back=False))
    assert (len(held_back), len(others)) == (9, 6)  # of 13 to 32 the odd ones but 13; of 1 to 12 the odd ones
    assert held_back[0].shape == (12, 5000)
    assert len(list(originals.original_signals(tmp_path, held_back=True, limit=2))) == 2
