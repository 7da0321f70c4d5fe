"""Arithmetic of a step against a count by hand."""

import pytest
import torch

from dbeta.training.flops import count_flops, matrix_peak


class Linear(torch.nn.Module):
    """A model whose arithmetic is known: one matrix product per record."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(30, 7))

    def forward(self, ecg, ets_labels):
        assert not self.training
        assert len(ecg) == 2
        return ecg @ self.weight


def test_flops_of_two_records_are_scaled_to_the_batch():
    model = Linear().train()
    batch = {"ecg": torch.zeros(10, 30), "ets_labels": torch.zeros(10, 14), "prompt_ids": torch.zeros(4, 3)}
    assert count_flops(model, batch) == 2 * 30 * 7 * 10
    assert model.training


def test_a_forward_pass_of_the_model_costs_what_its_matrices_say(micro_model, make_ecg):
    """The micro model's attention, projections and feed-forward layers, to a tenth."""
    model = micro_model()
    ecg = torch.randn(2, 12, 1000)
    ids = torch.randint(4, 400, (2, 6))
    batch = {"ecg": ecg, "input_ids": ids, "attention_mask": torch.ones_like(ids), "ets_labels": torch.ones(2, 2)}
    tokens, width = 25, 32
    convs = 2 * (198 * 16 * 12 * 10 + 98 * 32 * 16 * 4 + 24 * 32 * 32 * 4)
    positions = 2 * 25 * 32 * 8 * 8
    layer = 2 * tokens * (4 * width * width + 2 * width * 64) + 2 * 2 * tokens * tokens * width
    head = 2 * 6 * (width * width + width * 400)
    at_least = 2 * (convs + positions + 2 * layer + head)
    fusion = 2 * 2 * 2 * (2 * (tokens + 6) * (8 * width * width + 2 * width * 64))
    assert at_least < count_flops(model, batch) < 1.5 * (at_least + fusion)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_machine_has_a_peak(dtype, monkeypatch):
    monkeypatch.setitem(__import__("dbeta.training.flops", fromlist=["SIDE"]).SIDE, "cpu", 128)
    assert 1e6 < matrix_peak(torch.device("cpu"), dtype) < 1e15
