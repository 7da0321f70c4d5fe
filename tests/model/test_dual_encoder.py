"""The towers alone: the same embeddings as the whole model, from their own tensors only."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from dbeta.model.dual_encoder import DualEncoder, ECGTower, Misfit, TextTower, check_names, load_tower


@pytest.fixture
def saved(micro_model, tmp_path):
    """A whole model and its weights on disk."""
    model = micro_model(initializer_range=0.2)
    model.save_pretrained(tmp_path)
    return model, tmp_path / "model.safetensors"


@pytest.fixture
def ecg():
    return torch.randn(3, 12, 1000, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_embeddings_are_those_of_the_whole_model(saved, ecg):
    model, weights = saved
    both = DualEncoder(model.config, weights, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(both.embed_ecg(ecg), model.embed_ecg(ecg), atol=1e-5, rtol=0)
    ids, mask = torch.tensor([[5, 6, 1, 0], [7, 8, 9, 1]]), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    torch.testing.assert_close(both.embed_text(ids, mask), model.embed_text(ids, mask), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_class_feature_is_the_first_token(saved, ecg):
    model, _ = saved
    whole = model.ecg_encoder(ecg)
    torch.testing.assert_close(model.ecg_encoder.class_feature(ecg), whole[:, :1], atol=1e-5, rtol=0)


def test_loaded_in_evaluation_mode_without_gradients(saved):
    model, weights = saved
    for kind in (ECGTower, TextTower):
        tower = load_tower(kind, model.config, weights)
        assert not any(module.training for module in tower.modules())
        assert not any(one.requires_grad for one in tower.parameters())


def test_the_weight_norm_is_folded(saved):
    model, weights = saved
    tower = load_tower(ECGTower, model.config, weights)
    assert "ecg_encoder.positions.conv.weight" in tower.state_dict()
    assert not any("parametrizations" in name for name in tower.state_dict())
    torch.testing.assert_close(tower.ecg_encoder.positions.conv.weight, model.ecg_encoder.positions.conv.weight)


@torch.no_grad()
def test_bfloat16_but_for_what_sees_millivolts(saved, ecg):
    model, weights = saved
    tower = load_tower(ECGTower, model.config, weights, torch.bfloat16)
    types = {name: one.dtype for name, one in tower.named_parameters()}
    full = {name for name, dtype in types.items() if dtype == torch.float32}
    tokens = "ecg_encoder.tokens"
    assert full == {f"{tokens}.convs.0.weight", f"{tokens}.norm.weight", f"{tokens}.norm.bias"}
    assert set(types.values()) == {torch.float32, torch.bfloat16}
    full_width = load_tower(ECGTower, model.config, weights)
    for offset in (0.0, 2.0):  # millivolts of baseline
        narrow = tower(ecg + offset)
        assert narrow.dtype == torch.bfloat16
        assert torch.cosine_similarity(narrow.float(), full_width(ecg + offset)).min() >= 0.999


@pytest.mark.parametrize("kind", [ECGTower, TextTower])
@pytest.mark.parametrize("change", ["drop", "reshape", "add"])
def test_tensors_that_do_not_fit(saved, kind, change):
    model, weights = saved
    name = {ECGTower: "ecg_proj.weight", TextTower: "text_proj.weight"}[kind]
    state = load_file(weights)
    if change == "drop":
        del state[name]
    elif change == "reshape":
        state[name] = state[name][:5].clone()
    else:
        name = name.replace("weight", "surplus")
        state[name] = torch.zeros(2)
    save_file(state, weights)
    with pytest.raises(Misfit, match=name):
        load_tower(kind, model.config, weights)


def test_another_part_may_be_missing(saved, ecg):
    model, weights = saved
    state = {name: tensor for name, tensor in load_file(weights).items() if name.startswith("ecg_")}
    save_file(state, weights)
    assert load_tower(ECGTower, model.config, weights)(ecg).shape == (3, 32)
    with pytest.raises(Misfit, match="lacks tensors"):
        load_tower(TextTower, model.config, weights)


def test_parts_that_nobody_knows(saved):
    _, weights = saved
    parts = {name.partition(".")[0] for name in load_file(weights)}
    check_names(weights, parts)
    with pytest.raises(Misfit, match="unexpected tensors"):
        check_names(weights, parts - {"mlm_head"})
