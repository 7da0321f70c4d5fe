"""What the MEM head reads of the recording: samples that are shown, and regression with known correlations."""

import pytest
import torch

from dbeta.model.shown_samples import NOISE, LeadRegression, shown_samples


@pytest.fixture
def ecg():
    """Two records of three leads, ten tokens of 20 samples: the second lead is the first one with noise, scaled."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 205, generator=generator)
    x[:, 1] = 5 * (0.8 * x[:, 0] + 0.6 * x[:, 1]) + 2
    return x


def taught(*rows):
    """A regression that knows these correlations."""
    model = LeadRegression(len(rows))
    with torch.no_grad():
        model.factor.copy_(torch.linalg.cholesky(torch.tensor(rows)))
    return model


KNOWN = (1.0, 0.8, 0.0), (0.8, 1.0, 0.0), (0.0, 0.0, 1.0)


def standardised(ecg):
    x = ecg[..., :200]
    return ((x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)).unflatten(-1, (10, 20)).transpose(1, 2)


def test_a_missing_lead_is_the_regression_on_the_others(ecg):
    wanted = standardised(ecg)
    ecg[:, 1] = 0
    found = taught(*KNOWN)(*shown_samples(ecg, None, 10, 20))
    assert found.shape == (2, 10, 3, 20)
    torch.testing.assert_close(found[:, :, 1], 0.8 / (1 + NOISE) * wanted[:, :, 0], atol=0.01, rtol=0)
    error = (found[:, :, 1] - wanted[:, :, 1]).square().mean()
    assert error.item() == pytest.approx(0.36, abs=0.08)
    # The set of leads may differ from token to token
    ecg[0, 0, 40:60] = 0
    found = taught(*KNOWN)(*shown_samples(ecg, None, 10, 20))
    assert (found[0, 2, :2] == 0).all() and (found[0, 3, 1] != 0).all()


def test_what_is_shown_is_standardised_over_what_is_shown(ecg):
    wanted = standardised(ecg)
    found, seen = shown_samples(ecg, None, 10, 20)
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0.01)
    assert seen.all()
    ecg[0, 2, :100] = 0
    found, seen = shown_samples(ecg, None, 10, 20)
    assert not seen[0, :5, 2].any() and (found[0, :5, 2] == 0).all()
    rest = ecg[0, 2, 100:200]
    torch.testing.assert_close(
        found[0, 5:, 2].flatten(), (rest - rest.mean()) / rest.std(correction=0), atol=1e-4, rtol=0
    )


def test_a_fresh_regression_predicts_nothing_and_learns(ecg):
    wanted = standardised(ecg)
    ecg[:, 1] = 0
    model = LeadRegression(3)
    assert (model(*shown_samples(ecg, None, 10, 20))[:, :, 1] == 0).all()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        loss = (model(*shown_samples(ecg, None, 10, 20))[:, :, 1] - wanted[:, :, 1]).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.45


def test_hidden_tokens_are_not_read(ecg):
    hidden = torch.zeros(2, 10, dtype=torch.bool)
    hidden[:, ::3] = True
    model = taught(*KNOWN)
    first = model(*shown_samples(ecg, hidden, 10, 20))
    assert (first[:, ::3] == 0).all() and (first[:, 1] != 0).any()
    other = torch.where(torch.nn.functional.pad(hidden.repeat_interleave(20, 1), (0, 5))[:, None], 9.0, ecg)
    torch.testing.assert_close(model(*shown_samples(other, hidden, 10, 20)), first)
