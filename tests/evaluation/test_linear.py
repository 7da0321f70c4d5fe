"""Many logistic regressions at once are scikit-learn's, one by one."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dbeta.evaluation.linear import STRENGTHS, Scaler, fit, fit_merl_probe, fit_probe


def problem(n=300, dimension=12, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, dimension)) * rng.uniform(0.1, 10, dimension)).astype(np.float32)
    truth = rng.normal(size=(dimension, labels))
    logits = (features / features.std(axis=0)) @ truth - 1
    return features, (rng.random((n, labels)) < 1 / (1 + np.exp(-logits))).astype(np.int8)


@pytest.mark.parametrize("strength", [1e-3, 1e-1, 10.0])
def test_the_weights_are_scikit_learns(strength):
    features, labels = problem()
    x = Scaler.of(features)(features)
    weights = fit(x, labels, strength).numpy()
    for i in range(labels.shape[1]):
        theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=1000).fit(x.numpy(), labels[:, i])
        np.testing.assert_allclose(weights[:-1, i], theirs.coef_[0], atol=2e-3 * np.abs(theirs.coef_).max() + 1e-4)
        np.testing.assert_allclose(weights[-1, i], theirs.intercept_[0], atol=5e-3)


def test_undecided_records_do_not_count():
    features, labels = problem(labels=2)
    x = Scaler.of(features)(features)
    labels[:100, 0] = -1
    weights = fit(x, labels, 0.1)
    np.testing.assert_allclose(weights[:, :1], fit(x[100:], labels[100:, :1], 0.1), atol=1e-3)


def test_features_that_do_not_vary_are_harmless():
    features, labels = problem()
    features[:, 3] = 7.0
    x = Scaler.of(features)(features)
    assert (x[:, 3] == 0).all()
    assert torch.isfinite(fit(x, labels, 0.1)).all()


def test_the_penalty_is_chosen_on_validation():
    # 40 records of 30 features: without a strong penalty the probe learns its training records by heart
    features, labels = problem(2000, 30)
    _, tested, chosen = fit_probe(features[:40], labels[:40], features[40:1000], labels[40:1000], features[1000:])
    losses = {}
    x, x_test = Scaler.of(features[:40])(features[:40]), Scaler.of(features[:40])(features[40:1000])
    for strength in STRENGTHS:
        weights = fit(x, labels[:40], strength)
        logits = (x_test @ weights[:-1] + weights[-1]).numpy()
        y = labels[40:1000]
        losses[strength] = np.logaddexp(0, np.where(y == 1, -logits, logits)).mean(axis=0)
    for i, one in enumerate(chosen):
        assert one == min(STRENGTHS, key=lambda strength: losses[strength][i])
    assert tested.shape == (1000, 3)
    assert min(chosen) < STRENGTHS[-1]


def test_a_label_that_validation_cannot_choose_for_gets_the_usual_penalty():
    features, labels = problem(400)
    validation = labels[:100].copy()
    validation[:, 1] = 0
    validated, tested, chosen = fit_probe(features[100:], labels[100:], features[:100], validation, features[:50])
    assert chosen[1] == np.median([chosen[0], chosen[2]])
    assert np.isfinite(validated).all()
    assert np.isfinite(tested).all()
    assert np.abs(tested[:, 1]).max() > 0


def test_nothing_to_choose_by_at_all():
    features, labels = problem(100)
    _, tested, _ = fit_probe(features, labels, features[:5], np.zeros((5, 3), np.int8), features)
    assert np.corrcoef(tested[:, 0], labels[:, 0])[0, 1] > 0.3


def test_merls_probe_learns_and_keeps_the_best_epoch():
    features, labels = problem(600)
    features = Scaler.of(features)(features).numpy()
    state = torch.random.get_rng_state()
    arguments = features[:300], labels[:300], features[300:450], labels[300:450], features[450:]
    validated, tested, epoch = fit_merl_probe(*arguments)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert 1 <= epoch <= 100
    again = fit_merl_probe(*arguments)
    np.testing.assert_array_equal(tested, again[1])
    assert validated.shape == (150, 3)
    assert np.corrcoef(tested[:, 0], labels[450:, 0])[0, 1] > 0.4
