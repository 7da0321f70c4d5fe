"""Attention against numbers worked out by hand."""

import math

import pytest
import torch
from torch import nn

from dbeta.model.attention import Attention


def identity(dim: int, heads: int, dropout: float = 0.0) -> Attention:
    """Attention whose four projections do nothing."""
    attention = Attention(dim, heads, dropout)
    for layer in (attention.query, attention.key, attention.value, attention.out):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    return attention


def test_one_head():
    x = torch.eye(2)[None]
    share = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 1)  # scores 1/√2 and 0
    expected = torch.tensor([[[share, 1 - share], [1 - share, share]]])
    torch.testing.assert_close(identity(2, 1)(x), expected)


def test_each_head_reads_its_own_part_of_the_width():
    share = math.e / (math.e + 1)  # scores 1 and 0 in the head that sees the one, 0 and 0 in the other
    torch.testing.assert_close(identity(2, 2)(torch.eye(2)[None]), torch.tensor([[[share, 0.5], [0.5, share]]]))


def test_masked_sources_are_not_seen():
    x, source = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 1] = mask[1, 4] = True
    y = identity(4, 2)(x, source, mask)
    torch.testing.assert_close(y[0], source[0, 1].expand(3, 4))
    torch.testing.assert_close(y[1], source[1, 4].expand(3, 4))
    torch.testing.assert_close(identity(4, 2)(x, source, mask.long()), y)


def test_the_projections_have_biases():
    attention = identity(2, 1)
    nn.init.constant_(attention.value.bias, 2.0)
    nn.init.constant_(attention.out.bias, 0.5)
    plain = identity(2, 1)(torch.eye(2)[None])
    torch.testing.assert_close(attention(torch.eye(2)[None]), plain + 2.5)


def test_dropout_only_in_training():
    attention = identity(8, 2, dropout=0.5)
    x = torch.randn(1, 16, 8)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))
    assert attention(x).detach().numpy() == pytest.approx(identity(8, 2)(x).detach().numpy(), abs=1e-6)
