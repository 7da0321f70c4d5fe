"""Zero-shot figures: their form, what is left out, and that a planted perfect model scores 1."""

import functools
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dbeta.checkpoint import load
from dbeta.errors import DBetaError
from dbeta.evaluation import zero_shot
from dbeta.evaluation.benchmarks import load_ptb_xl_super
from dbeta.evaluation.metrics import score_labels
from dbeta.evaluation.zero_shot import evaluate_zero_shot, normality, random_twin, read_benchmark, zero_shot_scores
from dbeta.inference import DBeta

LABELS = ["NORM", "MI", "STTC", "CD", "HYP"]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """The intervals have their own tests."""
    monkeypatch.setattr(zero_shot, "score_labels", functools.partial(score_labels, resamples=3))


@pytest.fixture
def model(micro_checkpoint):
    return load(micro_checkpoint)


@pytest.fixture
def task(micro_ptb_xl):
    return load_ptb_xl_super(micro_ptb_xl, 9)


def plant(monkeypatch, model, embeds):
    """Let a model give these embeddings, and a unit vector for each super-class."""
    directions = dict(zip(LABELS, np.eye(5, dtype=np.float32), strict=True))
    monkeypatch.setattr(model, "embed", lambda ecgs: np.asarray(embeds, dtype=np.float32)[: len(ecgs)])
    monkeypatch.setattr(model, "embed_condition", lambda condition: directions[condition.super_class])


def test_the_form_of_the_result(model, task):
    seen = []
    result = evaluate_zero_shot(model, task, lambda done, total: seen.append((done, total)))
    assert json.loads(json.dumps(result)) == result
    assert list(result) == ["benchmark", "protocol", "n_records", "unread", "macro", "classes", "baselines"]
    assert result["benchmark"] == "ptb-xl-super"
    assert "fold 9" in result["protocol"]
    assert "prompts" in result["protocol"]
    assert result["n_records"] == 20
    assert result["unread"] == {}
    for figures in (result, *result["baselines"].values()):
        assert set(figures["macro"]) == {"auroc", "auprc"}
        assert list(figures["classes"]) == LABELS
        for label, positives in zip(LABELS, [10, 5, 0, 5, 5], strict=True):
            one = figures["classes"][label]
            assert set(one) == {"auroc", "auprc", "positives"}
            assert one["positives"] == positives
            if positives == 0:
                assert one["auroc"] is one["auprc"] is None
            else:
                for value, low, high in (one["auroc"], one["auprc"]):
                    assert 0 <= low <= high <= 1
                    assert 0 <= value <= 1
    assert list(result["baselines"]) == ["random", "normality"]
    assert seen == [(i, 20) for i in range(1, 21)]


def test_normality_is_the_score_for_normal_turned_round():
    scores = np.array([[0.9, 0.1, 0.5], [-0.2, 0.3, 0.4]])
    expected = [[-0.1, 0.1, -0.1], [-0.3, 0.3, -0.3]]
    np.testing.assert_allclose(normality(scores, ["MI", "NORM", "CD"]), expected)
    assert normality(scores, ["AFIB", "SR", "PAC"]) is scores


def test_the_same_twice(model, task):
    assert evaluate_zero_shot(model, task) == evaluate_zero_shot(model, task)


def test_a_perfect_model_scores_one(monkeypatch, model, task):
    plant(monkeypatch, model, task.labels * 7.0)
    result = evaluate_zero_shot(model, task)
    for label in ("NORM", "MI", "CD", "HYP"):
        assert result["classes"][label]["auroc"] == [1.0, 1.0, 1.0]
        assert result["classes"][label]["auprc"] == [1.0, 1.0, 1.0]
    assert result["macro"]["auroc"] == [1.0, 1.0, 1.0]
    assert result["baselines"]["random"]["macro"]["auroc"][0] < 1.0


def test_an_inverted_model_scores_zero(monkeypatch, model, task):
    plant(monkeypatch, model, 1.0 - 2.0 * task.labels)
    assert evaluate_zero_shot(model, task)["macro"]["auroc"][0] == 0.0


def test_scores_are_cosines(monkeypatch, model, task):
    plant(monkeypatch, model, [[3.0, 4.0, 0, 0, 0], [0, 0, 0, 0, -2.0], [0, 0, 0, 0, 0]])
    scores = zero_shot_scores(model, task, [None] * 3)
    np.testing.assert_allclose(scores, [[0.6, 0.8, 0, 0, 0], [0, 0, 0, 0, -1], [0, 0, 0, 0, 0]], atol=1e-6)


def test_a_record_that_cannot_be_read_is_counted_and_left_out(monkeypatch, model, task, tmp_path):
    lost = tmp_path / "00001_hr"
    task.files[2] = lost
    rest, ecgs, unread = read_benchmark(task, model)
    assert len(ecgs) == len(rest.files) == len(rest.labels) == len(rest.patients) == 19
    assert list(unread) == [str(lost)]
    assert "no such file" in unread[str(lost)]
    # The labels still belong to their records
    plant(monkeypatch, model, np.delete(task.labels, 2, axis=0))
    result = evaluate_zero_shot(model, task)
    assert result["n_records"] == 19
    assert list(result["unread"]) == [str(lost)]
    assert result["classes"]["HYP"]["positives"] == 4
    assert result["macro"]["auroc"][0] == 1.0


def test_not_one_can_be_read(model, task, tmp_path):
    task.files = [tmp_path / f"{i}" for i in range(len(task.files))]
    with pytest.raises(DBetaError, match="not one recording could be read"):
        evaluate_zero_shot(model, task)


def test_the_random_twin(model, make_ecg, micro_checkpoint):
    ecgs = [make_ecg(seed=1)]
    before = load_file(micro_checkpoint / "model.safetensors")
    state = torch.random.get_rng_state()
    twin, again, other = random_twin(model), random_twin(model), random_twin(model, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(twin, DBeta)
    assert twin.panel is None
    assert not twin.model.training
    assert twin.processor is model.processor
    assert {name: value.shape for name, value in twin.model.state_dict().items()} == {
        name: value.shape for name, value in before.items()
    }
    np.testing.assert_array_equal(twin.embed(ecgs), again.embed(ecgs))
    for unlike in (model, other):
        assert np.abs(twin.embed(ecgs) - unlike.embed(ecgs)).max() > 1e-3
        assert np.abs(twin.embed_text("sinus rhythm") - unlike.embed_text("sinus rhythm")).max() > 1e-3
