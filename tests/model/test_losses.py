"""The losses against numbers worked out by hand."""

import math
from dataclasses import fields

import pytest
import torch

from dbeta.model import DBetaConfig, losses
from dbeta.training.figures import PANELS


def test_mlm_loss_counts_only_labelled_tokens():
    logits = torch.tensor([[[0.0, math.log(3.0)], [50.0, -50.0]], [[0.0, 0.0], [-9.0, 9.0]]])
    labels = torch.tensor([[1, losses.IGNORED], [0, losses.IGNORED]])
    expected = (math.log(4 / 3) + math.log(2)) / 2  # p = 3/4 and p = 1/2
    assert losses.mlm_loss(logits, labels).item() == pytest.approx(expected, abs=1e-6)


def test_mlm_loss_without_labels_is_zero_and_differentiable():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = losses.mlm_loss(logits, torch.full((2, 3), losses.IGNORED))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_mem_targets_are_standardised_over_the_tokenised_samples_with_unbiased_variance():
    ecg = torch.tensor([[[1.0, 3.0, 1.0, 3.0, 1000.0]]])  # the fifth sample belongs to no token
    target = losses.mem_targets(ecg, n_tokens=2, samples_per_token=2)
    high = 1 / math.sqrt(4 / 3 + 1e-6)  # mean 2, squares 1+1+1+1 over 3
    torch.testing.assert_close(target, torch.tensor([[[[-high, high]], [[-high, high]]]]))


def test_mem_targets_add_1e_6_to_the_variance():
    ecg = torch.tensor([[[0.0, 2e-3, 0.0, 2e-3], [7.0, 7.0, 7.0, 7.0]]], dtype=torch.float64)
    target = losses.mem_targets(ecg, n_tokens=1, samples_per_token=4)
    high = 1e-3 / math.sqrt(4e-6 / 3 + 1e-6)  # 0.6547: without the 1e-6 it would be 0.866
    assert target[0, 0, 0].tolist() == pytest.approx([-high, high, -high, high])
    assert target[0, 0, 1].tolist() == [0, 0, 0, 0]


def test_mem_targets_are_ordered_tokens_leads_samples():
    rising, falling = torch.arange(6.0), -10 * torch.arange(6.0)
    target = losses.mem_targets(torch.stack([rising, falling])[None], n_tokens=3, samples_per_token=2)
    assert target.shape == (1, 3, 2, 2)
    step = 1 / math.sqrt(3.5)  # the unbiased variance of 0…5 is 3.5
    for token in range(3):
        first, second = (2 * token - 2.5) * step, (2 * token - 1.5) * step
        assert target[0, token, 0].tolist() == pytest.approx([first, second], abs=1e-5)
        assert target[0, token, 1].tolist() == pytest.approx([-first, -second], abs=1e-5)


def test_token_mask_hides_the_tokens_that_come_after_the_kept_ones():
    hidden = losses.token_mask(torch.tensor([[2, 0, 3, 1], [0, 1, 2, 3]]), n_kept=2)
    assert hidden.tolist() == [[True, False, True, False], [False, False, True, True]]


def test_mem_loss_is_the_mean_over_hidden_tokens_only():
    prediction = torch.zeros(1, 3, 2, 4)
    target = torch.stack([torch.full((2, 4), value) for value in (1.0, 2.0, 3.0)])[None]
    mask = torch.tensor([[False, True, True]])
    assert losses.mem_loss(prediction, target, mask).item() == pytest.approx((4 + 9) / 2)
    prediction[0, 0] = 1e6  # visible: of no interest
    assert losses.mem_loss(prediction, target, mask).item() == pytest.approx(6.5)
    prediction[0, 1, 0] = 2.0  # hidden: half of this token is right now
    assert losses.mem_loss(prediction, target, mask).item() == pytest.approx((2 + 9) / 2)
    assert losses.mem_loss(prediction, target, torch.zeros(1, 3, dtype=torch.bool)).item() == 0


def test_etm_loss():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])  # 3/4 aligned
    assert losses.etm_loss(logits, torch.tensor([True, True])).item() == pytest.approx(math.log(4 / 3), abs=1e-6)
    both = (math.log(4 / 3) + math.log(4)) / 2
    assert losses.etm_loss(logits, torch.tensor([True, False])).item() == pytest.approx(both, abs=1e-6)


def test_ets_labels_without_texts_are_the_signed_diagonal():
    labels = losses.ets_labels(torch.tensor([1, 0, 1]))
    assert labels.tolist() == [[1, -1, -1], [-1, -1, -1], [-1, -1, 1]]


def test_further_texts_belong_to_nobody():
    assert losses.ets_labels(torch.tensor([True, False]), 4).tolist() == [[1, -1, -1, -1], [-1, -1, -1, -1]]


def test_ets_loss_is_the_mean_log_sigmoid_of_signed_similarities():
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    labels = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    # log(1 + exp(-y s)): 0.126928, 0.313262, 0.974077, 0.048587
    assert losses.ets_loss(logits, labels).item() == pytest.approx(1.462854 / 4, abs=1e-5)


def test_ets_loss_leaves_out_pairs_that_say_nothing():
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    labels = torch.tensor([[1.0, -1.0], [0.0, 1.0]])
    assert losses.ets_loss(logits, labels).item() == pytest.approx((0.126928 + 0.313262 + 0.048587) / 3, abs=1e-5)
    assert losses.ets_loss(logits, torch.zeros(2, 2)).item() == 0


def test_ets_loss_stays_finite_for_large_similarities():
    loss = losses.ets_loss(torch.tensor([[1000.0, -1000.0]]), torch.tensor([[-1.0, -1.0]]))
    assert loss.item() == pytest.approx(500.0)


def test_the_table_of_losses_is_the_only_list_of_them():
    assert {one.name for one in fields(losses.LossOutput)} == {"loss", *losses.LOSS_FIELDS}
    assert PANELS["Losses"] == losses.LOSS_FIELDS
    assert DBetaConfig.tiny().loss_weights == {name: row.weight for name, row in losses.LOSSES.items()}


def test_a_loss_is_added_by_its_row(monkeypatch):
    row = losses.Loss(lambda logits, target: (logits - target).abs().mean(), "etm_logits", ("wanted",))
    monkeypatch.setitem(losses.LOSSES, "new", row)
    out = losses.LossOutput()
    out["etm_logits"] = torch.tensor([1.0, 3.0])
    losses.add_losses(out, {"wanted": torch.tensor([0.0, 0.0]), "aligned": None}, {"new": 0.5})
    assert (out["new_loss"].item(), out.loss.item()) == (2.0, 1.0)
    assert out.etm_loss is None
    untouched = losses.LossOutput()
    losses.add_losses(untouched, {"wanted": torch.tensor(0.0)}, {"new": 0.5})
    assert untouched.loss is None
