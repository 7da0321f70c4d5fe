"""The heads against numbers worked out by hand."""

import math

import pytest
import torch
from torch import nn

from dbeta.model import DBetaConfig
from dbeta.model.heads import DecoderBlock, ETMHead, MEMHead, MLMHead, sinusoidal_positions


def test_sinusoidal_positions():
    table = sinusoidal_positions(3, 4)
    expected = [
        [0, 1, 0, 1],
        [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)],
        [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)],
    ]
    torch.testing.assert_close(table, torch.tensor(expected))


def test_decoder_block_uses_quick_gelu_and_norms_before():
    block = DecoderBlock(2, 1)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        block.norm.weight.fill_(1.0)
        block.fc1.weight[0, 0] = 1.0
        block.fc2.weight[0, 0] = 1.0
    y = block(torch.tensor([[[3.0, -3.0]]]))  # normed to (1, −1); 1·σ(1.702) = 0.84579
    torch.testing.assert_close(y, torch.tensor([[[3.84579, -3.0]]]), atol=1e-4, rtol=0)


def test_mlm_head_transforms_before_it_decodes():
    head = MLMHead(2, 3)
    nn.init.eye_(head.dense.weight)
    nn.init.zeros_(head.dense.bias)
    with torch.no_grad():
        head.decoder.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]))
        head.decoder.bias.copy_(torch.tensor([0.0, 0.0, 0.25]))
    # GELU keeps (20, 10) as it is, the norm makes (1, −1) of it
    torch.testing.assert_close(head(torch.tensor([[[20.0, 10.0]]])), torch.tensor([[[1.0, -1.0, 1.25]]]))
    assert head.norm.eps == 1e-12


def test_etm_head_reads_text_first():
    head = ETMHead(1)
    with torch.no_grad():
        head.classifier.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 1.0]]))
        head.classifier.bias.zero_()
    assert head(torch.tensor([[2.0]]), torch.tensor([[3.0]])).tolist() == [[32.0, 3.0]]


@pytest.fixture
def mem_head(micro_model):
    """A MEM head without blocks, so that tokens do not mix."""
    head = micro_model(mem_layers=0).mem_head
    nn.init.normal_(head.mask_token)
    return head


def test_mem_head_puts_the_tokens_back_in_order(mem_head):
    full = torch.randn(1, 25, 32)
    restore = torch.randperm(24)[None]
    kept = torch.cat([full[:, :1], full[:, 1:].gather(1, restore.argsort(1)[:, :6, None].expand(-1, -1, 32))], dim=1)
    unmasked, masked = mem_head(full), mem_head(kept, restore)
    assert masked.shape == (1, 24, 12, 40)
    visible = restore[0] < 6
    assert visible.sum() == 6
    torch.testing.assert_close(masked[0, visible], unmasked[0, visible])
    assert not torch.allclose(masked[0, ~visible], unmasked[0, ~visible], atol=1e-2)


def test_mem_head_knows_of_a_hidden_token_only_its_position(mem_head):
    restore = torch.arange(24).flip(0)[None].expand(2, -1)  # the first 18 are hidden
    prediction = mem_head(torch.randn(2, 7, 32), restore)
    torch.testing.assert_close(prediction[0, :18], prediction[1, :18])
    assert not torch.allclose(prediction[0, 0], prediction[0, 1], atol=1e-3)
    assert not torch.allclose(prediction[0, 18:], prediction[1, 18:], atol=1e-3)


def test_mem_head_gives_the_class_token_position_zero(mem_head):
    for parameter in (mem_head.embed.weight, mem_head.embed.bias, mem_head.norm.bias):
        nn.init.zeros_(parameter)
    nn.init.zeros_(mem_head.predict.bias)
    first = sinusoidal_positions(2, 24)[1]  # what is left of the first token is position 1
    expected = mem_head.predict(nn.functional.layer_norm(first, (24,)))
    torch.testing.assert_close(mem_head(torch.randn(1, 25, 32))[0, 0].flatten(), expected)


def test_base_mem_head_has_the_sizes_of_the_paper():
    with torch.device("meta"):
        head = MEMHead(DBetaConfig.base())
        assert head(torch.empty(1, 79, 768), torch.zeros(1, 312, dtype=torch.long)).shape == (1, 312, 12, 16)
    assert tuple(head.embed.weight.shape) == (384, 768)
    assert tuple(head.predict.weight.shape) == (192, 384)
    assert len(head.blocks) == 4
