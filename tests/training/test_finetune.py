"""Fine-tuning: what the network sees, learns and leaves behind."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.metrics import roc_auc_score

from dbeta.errors import DBetaError
from dbeta.inference.load import load
from dbeta.training import finetune as module
from dbeta.training.finetune import (
    HEAD_FILE,
    LEAD_SETS,
    PATIENT_SCALE,
    Classifier,
    Settings,
    finetune,
    lead_mask,
    load_trainable,
    predict,
    save_encoder,
)


@pytest.fixture
def model(micro_checkpoint):
    return load(micro_checkpoint, precision="float32")


@pytest.fixture
def signals(model, make_ecg):
    """Twelve slow and twelve fast hearts."""
    ecgs = [make_ecg(rate=rate, seed=seed) for seed in range(12) for rate in (50, 110)]
    return np.stack([model.processor.signal(ecg) for ecg in ecgs]).astype(np.float16)


FAST = np.array([0, 1] * 12)[:, None].astype(np.int64)
ROWS = np.arange(24)
QUICK = Settings(epochs=12, batch_size=8, learning_rate=3e-3)


def test_it_learns_what_tells_the_records_apart(model, signals, tmp_path):
    network = finetune(model.model, signals, FAST, ROWS[:18], ROWS[18:], tmp_path, settings=QUICK)
    scores = predict(network, signals, ROWS)
    assert scores.shape == (24, 1)
    assert roc_auc_score(FAST[18:, 0], scores[18:, 0]) == 1.0
    untrained = finetune(
        model.model, signals, FAST, ROWS[:18], ROWS[18:], tmp_path / "b", settings=Settings(1, 18, 1e-9)
    )
    assert roc_auc_score(FAST[:, 0], predict(untrained, signals, ROWS)[:, 0]) < 0.9


def test_the_model_that_it_came_from_is_left_alone(model, signals, tmp_path, make_ecg):
    before = model.embed(make_ecg())
    finetune(model.model, signals, FAST, ROWS[:18], ROWS[18:], tmp_path, settings=Settings(epochs=1, batch_size=8))
    np.testing.assert_array_equal(model.embed(make_ecg()), before)
    assert not any(weight.requires_grad for weight in model.model.ecg_tower.parameters())


def test_the_same_twice(model, signals, tmp_path):
    settings = Settings(epochs=2, batch_size=8, lead_dropout=0.3)
    first, again = (
        predict(
            finetune(model.model, signals, FAST, ROWS[:18], ROWS[18:], tmp_path / name, settings=settings),
            signals,
            ROWS,
        )
        for name in "ab"
    )
    np.testing.assert_array_equal(first, again)


def test_an_interrupted_run_goes_on(model, signals, tmp_path, monkeypatch):
    settings = Settings(epochs=4, batch_size=8, learning_rate=1e-3)
    arguments = (model.model, signals, FAST, ROWS[:18], ROWS[18:])
    whole = predict(finetune(*arguments, tmp_path / "whole", settings=settings), signals, ROWS)
    evaluations = []

    def stop(prediction):
        evaluations.append(1)
        if len(evaluations) == 3:
            raise KeyboardInterrupt
        return inner(prediction)

    inner = module._macro
    monkeypatch.setattr(module, "_macro", stop)
    with pytest.raises(KeyboardInterrupt):
        finetune(*arguments, tmp_path / "cut", settings=settings)
    monkeypatch.setattr(module, "_macro", inner)
    resumed = predict(finetune(*arguments, tmp_path / "cut", settings=settings), signals, ROWS)
    np.testing.assert_allclose(resumed, whole, atol=1e-5)


def test_missing_leads_are_zero_in_training_and_test(model, signals):
    network = Classifier(load_trainable(model.model), 1, lead_mask(model.model.config, 2)).eval()
    x = torch.from_numpy(signals[:3]).float()
    others = x.clone()
    others[:, 2:] = torch.randn(3, 10, x.shape[2])
    torch.testing.assert_close(network(x)["logits"], network(others)["logits"])
    others[:, 1] += torch.randn(3, x.shape[2])
    assert (network(x)["logits"] - network(others)["logits"]).abs().max() > 1e-5


def test_lead_sets_are_the_challenges():
    assert {count: len(leads) for count, leads in LEAD_SETS.items()} == {12: 12, 6: 6, 4: 4, 3: 3, 2: 2, 1: 1}
    assert LEAD_SETS[4] == ("I", "II", "III", "V2")
    assert LEAD_SETS[3] == ("I", "II", "V2")


def test_lead_dropout_spares_some(model, signals, monkeypatch):
    network = Classifier(load_trainable(model.model), 1, lead_mask(model.model.config, 3), lead_dropout=0.9).train()
    seen = []
    monkeypatch.setattr(network.tower, "forward", lambda ecg: seen.append(ecg) or torch.zeros(len(ecg), 32))
    network(torch.ones(64, 12, 10))
    kept = seen[0][..., 0].sum(dim=1)
    assert kept.min() >= 1
    assert kept.max() <= 3
    assert (kept == 1).sum() > 10
    network.eval()(torch.ones(4, 12, 10))
    assert seen[1][..., 0].sum(dim=1).tolist() == [3, 3, 3, 3]


def test_undecided_labels_teach_nothing(model):
    network = Classifier(load_trainable(model.model), 2, lead_mask(model.model.config, 12)).eval()
    x = torch.randn(2, 12, model.processor.n_samples)
    logits = network(x)["logits"]
    loss = network(x, torch.tensor([[1, -1], [-1, -1]]))["loss"]
    torch.testing.assert_close(loss, torch.nn.functional.softplus(-logits[0, 0]))


def test_patients_are_told_apart_by_cosine(model):
    network = Classifier(load_trainable(model.model), 5, lead_mask(model.model.config, 12), patients=True).eval()
    x = torch.randn(3, 12, model.processor.n_samples)
    out = network(x, torch.tensor([0, 4, 2]))
    assert out["logits"].abs().max() <= PATIENT_SCALE
    torch.testing.assert_close(out["loss"], torch.nn.functional.cross_entropy(out["logits"], torch.tensor([0, 4, 2])))
    assert network.head.bias is None


def test_a_trainable_tower_computes_what_inference_does(model, signals):
    tower = load_trainable(model.model).eval()
    with torch.no_grad():
        found = tower(torch.from_numpy(signals[:2]).float()).numpy()
    np.testing.assert_allclose(found, model.embed_signals(list(signals[:2].astype(np.float32))), atol=1e-5)
    assert all(weight.requires_grad for weight in tower.parameters())


def test_the_encoder_is_a_checkpoint(model, signals, tmp_path):
    network = finetune(
        model.model, signals, FAST, ROWS[:18], ROWS[18:], tmp_path / "work", settings=Settings(epochs=1, batch_size=8)
    )
    save_encoder(
        network,
        model.model.config,
        model.processor,
        tmp_path / "tuned",
        classes=["fast"],
        dataset="hearts",
        about={"fine-tuned on": "hearts"},
    )
    tuned = load(tmp_path / "tuned", precision="float32")
    assert tuned.model.config.trained_on == ["hearts", "unknown"]
    with torch.no_grad():
        expected = network.tower(torch.from_numpy(signals[:2]).float()).numpy()
    embeds = tuned.embed_signals(list(signals[:2].astype(np.float32)))
    np.testing.assert_allclose(embeds, expected, atol=1e-5)
    with safe_open(tmp_path / "tuned" / HEAD_FILE, framework="np") as head:
        assert json.loads(head.metadata()["classes"]) == ["fast"]
        assert len(json.loads(head.metadata()["leads"])) == 12
        logits = embeds @ head.get_tensor("weight").T + head.get_tensor("bias")
    np.testing.assert_allclose(logits, predict(network, signals, ROWS[:2]), atol=1e-4)
    assert "Not a medical device" in (tmp_path / "tuned" / "README.md").read_text().replace("\n", " ")
    with pytest.raises(DBetaError, match="no text encoder"):
        tuned.embed_text("sinus rhythm")


def test_a_loss_that_is_no_number_ends_it(model, signals, tmp_path):
    broken = signals.copy()
    broken[0] = np.inf
    with pytest.raises(DBetaError, match="diverged"):
        finetune(model.model, broken, FAST, ROWS[:18], ROWS[18:], tmp_path, settings=Settings(epochs=1, batch_size=8))


def test_what_a_killed_run_half_wrote_is_no_obstacle(model, signals, tmp_path):
    settings = Settings(epochs=2, batch_size=8)
    arguments = (model.model, signals, FAST, ROWS[:18], ROWS[18:])
    whole = predict(finetune(*arguments, tmp_path / "whole", settings=settings), signals, ROWS)
    (tmp_path / "cut" / "checkpoint-1").mkdir(parents=True)
    found = predict(finetune(*arguments, tmp_path / "cut", settings=settings), signals, ROWS)
    np.testing.assert_array_equal(found, whole)
