"""Muon beside AdamW."""

import pytest
import torch
from torch import nn

from dbeta.model import DBetaModel
from dbeta.training.muon import Muon, hidden_matrices, orthogonalize


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (32, 32)])
def test_singular_values_become_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    made = orthogonalize(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.diagonal(u.mT @ made @ v.mT)
    assert made.shape == matrix.shape
    assert values.min() > 0.5 and values.max() < 1.3
    # The singular vectors are the matrix's own
    assert torch.allclose(u.mT @ made @ v.mT, torch.diag(values), atol=1e-3)


def test_no_gradient_gives_no_update():
    assert torch.equal(orthogonalize(torch.zeros(16, 16)), torch.zeros(16, 16))


def test_which_weights_are_hidden_matrices(micro_config):
    model = DBetaModel(micro_config())
    chosen = hidden_matrices(model)
    parameters = dict(model.named_parameters())
    assert chosen < parameters.keys()
    assert all(parameters[name].ndim >= 2 and min(parameters[name].flatten(1).shape) >= 16 for name in chosen)
    assert "ecg_encoder.tokens.convs.0.weight" in chosen
    assert any(name.startswith("text_encoder.") for name in chosen)
    left = parameters.keys() - chosen
    assert any("embed_tokens" in name for name in left)
    assert any("mlm_head.decoder" in name or "decoder.bias" in name for name in left)
    assert all("bias" not in name and "norm" not in name for name in chosen)


def test_groups_without_muon_are_adamws():
    torch.manual_seed(0)
    model, twin = nn.Linear(20, 20), nn.Linear(20, 20)
    twin.load_state_dict(model.state_dict())
    ours = Muon([{"params": [model.weight], "muon": True}, {"params": [model.bias]}], lr=1e-2, weight_decay=0.1)
    theirs = torch.optim.AdamW([twin.bias], lr=1e-2, weight_decay=0.1)
    before = model.weight.detach().clone()
    for _ in range(3):
        for one, optimizer in ((model, ours), (twin, theirs)):
            optimizer.zero_grad()
            one(torch.ones(1, 20)).square().sum().backward()
            if one is model:
                twin.weight.data.copy_(model.weight.data)
        twin.bias.grad = model.bias.grad.clone()
        ours.step()
        theirs.step()
    assert torch.equal(model.bias, twin.bias)
    assert not torch.equal(model.weight, before)


def test_a_convolution_steps_as_the_matrix_it_is():
    torch.manual_seed(0)
    conv = nn.Conv1d(16, 24, 4, bias=False)
    flat = nn.Linear(64, 24, bias=False)
    flat.weight.data.copy_(conv.weight.data.flatten(1))
    gradient = torch.randn_like(conv.weight)
    conv.weight.grad, flat.weight.grad = gradient, gradient.flatten(1)
    for one in (conv, flat):
        Muon([{"params": [one.weight], "muon": True}], lr=1e-2, weight_decay=0.01).step()
    assert torch.allclose(conv.weight.flatten(1), flat.weight)


def test_an_update_is_about_as_large_as_adamws():
    torch.manual_seed(0)
    layer = nn.Linear(48, 64, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn_like(layer.weight)
    Muon([{"params": [layer.weight], "muon": True}], lr=1e-2, weight_decay=0.0).step()
    rms = (layer.weight.detach() - before).square().mean().sqrt() / 1e-2
    assert 0.15 < float(rms) < 0.25


def test_its_state_is_kept():
    torch.manual_seed(0)
    model = nn.Linear(20, 20)
    groups = [{"params": [model.weight], "muon": True}, {"params": [model.bias]}]
    first = Muon(groups, lr=1e-2)
    model(torch.randn(4, 20)).square().sum().backward()
    first.step()
    second = Muon([{"params": [model.weight], "muon": True}, {"params": [model.bias]}], lr=1e-2)
    second.load_state_dict(first.state_dict())
    kept = second.state[model.weight]["momentum"]
    assert torch.equal(kept, first.state[model.weight]["momentum"])
    assert second.param_groups[0]["muon"] and not second.param_groups[1]["muon"]


def muon_twins(shape):
    """The same matrix under this optimizer and under torch's."""
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(shape) * 0.1)
    theirs = nn.Parameter(ours.detach().clone())
    reference = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    return ours, Muon([{"params": [ours], "muon": True}], lr=1e-2, weight_decay=0.1), theirs, reference


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_matrices_step_as_torchs_muon_moves_them(shape, precision, monkeypatch):
    """Equal where torch's orthogonalizes in float32 too; its bfloat16 is the only difference."""
    ours, optimizer, theirs, reference = muon_twins(shape)
    if precision == "float32":
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    start = ours.detach().clone()
    for _ in range(6):
        ours.grad = torch.randn(shape) * 1e-3
        theirs.grad = ours.grad.clone()
        optimizer.step()
        reference.step()
    moved = float((ours - start).detach().norm())
    apart = float((ours - theirs).detach().norm()) / moved
    assert moved > 0.1
    assert apart < (1e-5 if precision == "float32" else 0.02)


def test_a_closure_is_evaluated_once_before_any_weight_moves():
    torch.manual_seed(0)
    model = nn.Linear(20, 20)
    optimizer = Muon([{"params": [model.weight], "muon": True}, {"params": [model.bias]}], lr=1e-2)
    before = [one.detach().clone() for one in model.parameters()]
    seen = []

    def closure():
        optimizer.zero_grad()
        seen.append(all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True)))
        loss = model(torch.ones(1, 20)).square().sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert seen == [True]
    expected = (before[0].sum(dim=1) + before[1]).square().sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
