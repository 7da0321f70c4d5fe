"""Zero-shot scores, ways of asking, baselines; and that a planted perfect model scores 1."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dbeta.conditions.registry import condition_of_label, plain_condition
from dbeta.evaluation.benchmarks import load_benchmark
from dbeta.evaluation.zero_shot import (
    PROMPTS,
    direction,
    normality,
    random_twin,
    unit,
    zero_shot,
    zero_shot_baselines,
    zero_shot_scores,
)
from dbeta.inference.dbeta import DBeta
from dbeta.inference.load import load

LABELS = ["NORM", "MI", "STTC", "CD", "HYP"]


@pytest.fixture
def model(micro_checkpoint):
    return load(micro_checkpoint)


@pytest.fixture
def task(micro_ptb_xl):
    return load_benchmark("ptb-xl-super", micro_ptb_xl, 9)


def plant(monkeypatch, model):
    """Let the texts of each super-class be a unit vector of its own, those against it the opposite."""
    axes = {}
    for label, axis in zip(LABELS, np.eye(5, dtype=np.float32), strict=True):
        condition = condition_of_label("ptb-xl-super", label)
        axes |= dict.fromkeys((*condition.prompts, *condition.prompts_for), axis)
        axes |= dict.fromkeys(condition.prompts_against, -axis)
    monkeypatch.setattr(model, "embed_text", lambda texts: np.stack([axes[text] for text in texts]))


def test_a_perfect_model_scores_one_however_it_is_asked(monkeypatch, model, task):
    plant(monkeypatch, model)
    best, found = zero_shot(model, task, task.labels * 7.0, resamples=5)
    assert list(found) == list(PROMPTS)
    for one in (best.metrics, *found.values()):
        assert one["macro"]["auroc"] == [1.0, 1.0, 1.0]
        assert one["macro"]["auprc"] == [1.0, 1.0, 1.0]
        assert one["classes"]["STTC"]["auroc"] is None


def test_an_inverted_model_scores_zero(monkeypatch, model, task):
    plant(monkeypatch, model)
    best, found = zero_shot(model, task, 1.0 - 2.0 * task.labels, resamples=5)
    assert best.metrics["macro"]["auroc"][0] == found["ensemble"]["macro"]["auroc"][0] == 0.0


def test_scores_are_cosines(monkeypatch, model, task):
    plant(monkeypatch, model)
    embeds = np.array([[3.0, 4.0, 0, 0, 0], [0, 0, 0, 0, -2.0], [0, 0, 0, 0, 0]])
    scores = zero_shot_scores(model, embeds, task.conditions)
    np.testing.assert_allclose(scores, [[0.6, 0.8, 0, 0, 0], [0, 0, 0, 0, -1], [0, 0, 0, 0, 0]], atol=1e-6)


def test_the_four_ways_of_asking(model):
    condition = condition_of_label("ptb-xl", "AFIB")
    texts = unit(model.embed_text(condition.prompts))
    np.testing.assert_allclose(direction(model, condition, "name"), texts[0], atol=1e-6)
    np.testing.assert_allclose(direction(model, condition, "description"), texts[-1], atol=1e-6)
    np.testing.assert_allclose(direction(model, condition, "ensemble"), unit(texts.mean(axis=0)), atol=1e-6)
    pro, con = (
        unit(unit(model.embed_text(one)).mean(axis=0)) for one in (condition.prompts_for, condition.prompts_against)
    )
    np.testing.assert_allclose(direction(model, condition, "pairs"), unit(pro - con), atol=1e-6)


def test_validation_calibrates_where_there_is_any(model, task):
    embeds = np.random.default_rng(0).normal(size=(len(task), 32)).astype(np.float32)
    assert "calibration" in zero_shot(model, task, embeds, resamples=5)[0].metrics
    rows = task.rows("test")
    assert "calibration" not in zero_shot(model, task.take(rows), embeds[rows], resamples=5)[0].metrics


def test_normality_is_the_score_for_normal_turned_round():
    scores = np.array([[0.9, 0.1, 0.5], [-0.2, 0.3, 0.4]])
    conditions = {label: condition_of_label("ptb-xl-super", label) for label in ("MI", "NORM", "CD")}
    np.testing.assert_allclose(normality(scores, conditions), [[-0.1, 0.1, -0.1], [-0.3, 0.3, -0.3]])
    rhythms = {label: condition_of_label("ptb-xl", label) for label in ("AFIB", "PACE", "SR")}
    np.testing.assert_allclose(normality(scores, rhythms), [[-0.5, -0.5, 0.5], [-0.4, -0.4, 0.4]])
    assert normality(scores, dict.fromkeys("abc", plain_condition("x"))) is None


def test_baselines(model, task):
    embeds = np.random.default_rng(0).normal(size=(len(task), 32)).astype(np.float32)
    twin = random_twin(model)
    found = zero_shot_baselines(model, twin, task, embeds, embeds, resamples=5)
    assert set(found) == {"random", "normality"}
    assert found["normality"]["classes"]["NORM"]["auroc"] is not None
    # The mean over several random text encoders, not the luck of one
    single = zero_shot(twin, task, embeds, resamples=5)[0].metrics
    assert found["random"]["macro"]["auroc"][0] != single["macro"]["auroc"][0]
    test = task.take(task.rows("test"))
    test.readers["somebody"] = test.labels
    readers = zero_shot_baselines(model, twin, test, embeds, embeds, resamples=5)["readers"]
    assert readers == {"somebody": 1.0}


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
