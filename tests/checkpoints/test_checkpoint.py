"""Loading a checkpoint: what is read of it, what does not fit, and the texts that are embedded already."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from dbeta.checkpoints.read import fastest_dtype
from dbeta.checkpoints.text_embeddings import save_text_embeddings
from dbeta.conditions.registry import default_conditions
from dbeta.errors import DBetaError
from dbeta.inference.load import load


@pytest.fixture
def checkpoint(micro_checkpoint, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(micro_checkpoint, tmp_path / "model"))


def test_load(micro_checkpoint):
    for name in (micro_checkpoint, str(micro_checkpoint)):
        model = load(name)
        assert not model.model.ecg_tower.training
        assert model.panel.shape == (16, 32)
        assert model.processor.n_samples == 1000
        assert model.processor.tokenizer is not None
        assert "32-d embedding" in repr(model)
        assert "16 ECGs" in repr(model)


def test_only_what_inference_needs_is_in_memory(micro_checkpoint, make_ecg):
    model = load(micro_checkpoint, precision="float32").model
    weights = load_file(micro_checkpoint / "model.safetensors")
    held = model.ecg_tower.state_dict()
    folded = "ecg_encoder.positions.conv.weight"
    assert {name.partition(".")[0] for name in held} == {"ecg_encoder", "ecg_proj", "ecg_pooler"}
    assert all(torch.equal(value, weights[name]) for name, value in held.items() if name != folded)
    g, v = (weights[f"ecg_encoder.positions.conv.parametrizations.weight.original{i}"] for i in (0, 1))
    torch.testing.assert_close(held[folded], g * v / v.norm(dim=(0, 1), keepdim=True))
    assert "text_tower" not in vars(model)
    model.embed_text(torch.tensor([[5, 6, 1]]))
    assert {name.partition(".")[0] for name in model.text_tower.state_dict()} == {
        "text_encoder",
        "text_proj",
        "text_pooler",
    }
    assert not any(one.requires_grad for one in [*model.ecg_tower.parameters(), *model.text_tower.parameters()])


def test_loading_says_nothing(micro_checkpoint, caplog):
    load(micro_checkpoint)
    assert caplog.text == ""


def test_load_twice_gives_the_same(micro_checkpoint, make_ecg):
    one, two = (load(micro_checkpoint).diagnose(make_ecg()) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_load_without_a_panel(checkpoint, make_ecg):
    (checkpoint / "reference_panel.safetensors").unlink()
    model = load(checkpoint)
    assert model.panel is None
    assert "no reference panel" in repr(model)
    assert model.diagnose(make_ecg())["percentile"].isna().all()


def failure(folder) -> str:
    """The message of a failed load, after the checks that hold for all of them."""
    with pytest.raises(DBetaError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    assert len(message) < 600
    return message


def test_a_folder_that_is_missing(tmp_path):
    assert "there is no such folder" in failure(tmp_path / "none")
    assert "there is no such folder" in failure("./none-of-these")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_file_that_is_missing(checkpoint, name):
    (checkpoint / name).unlink()
    assert f"{name} is missing" in failure(checkpoint)


def test_without_a_tokenizer_ecgs_can_still_be_embedded(checkpoint, make_ecg):
    (checkpoint / "tokenizer.json").unlink()
    model = load(checkpoint)
    assert model.embed(make_ecg()).shape == (1, 32)
    with pytest.raises(DBetaError, match=r"no tokenizer\.json"):
        model.diagnose(make_ecg())


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "reference_panel.safetensors", "config.json", "preprocessor_config.json", "tokenizer.json"],
)
@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b"\x80\x04\x95\x00\xff"])
def test_a_file_that_is_damaged(checkpoint, name, content):
    (checkpoint / name).write_bytes(content)
    failure(checkpoint)


def test_weights_cut_short(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot be loaded" in failure(checkpoint)


def change_weights(folder, change):
    """Rewrite the weights of a checkpoint."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["ecg_proj.weight", "ecg_encoder.class_token", "text_pooler.dense.bias"])
def test_missing_tensors_are_not_made_up(checkpoint, name):
    change_weights(checkpoint, lambda weights: weights.pop(name))
    message = failure(checkpoint)
    assert "lacks tensors" in message
    assert name in message


def test_tensors_of_another_shape(checkpoint):
    change_weights(checkpoint, lambda weights: weights.update({"ecg_proj.weight": torch.zeros(5, 32)}))
    message = failure(checkpoint)
    assert "tensors of different shapes" in message
    assert "ecg_proj.weight" in message


def test_tensors_that_the_model_has_no_place_for(checkpoint):
    change_weights(checkpoint, lambda weights: weights.update({"another.weight": torch.zeros(5)}))
    assert "unexpected tensors" in failure(checkpoint)


def change_json(file, **changes):
    """Change entries of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 64},
        {"ecg_layers": 1},
        {"ecg_layers": 3},
        {"conv_layers": 5},
        {"text_config": "x"},
        {"text_config": {"d_model": "x"}},
        {"leads": ["I", "II"]},
        {"hidden_size": -1},
    ],
)
def test_a_configuration_that_does_not_fit_the_weights(checkpoint, change):
    change_json(checkpoint / "config.json", **change)
    failure(checkpoint)


@pytest.mark.parametrize(
    "change",
    [{"sampling_rate": 500}, {"n_samples": 5000}, {"leads": ["II", "I"]}, {"signal_scale": "lead_zscore"}],
)
def test_a_processor_of_another_model(checkpoint, change):
    change_json(checkpoint / "preprocessor_config.json", **change)
    assert f"{next(iter(change))} is " in failure(checkpoint)


@pytest.mark.parametrize("shape", [(16, 7), (16,), (0, 32)])
def test_a_panel_of_another_model(checkpoint, shape):
    save_file({"ecg_embeds": torch.zeros(shape)}, checkpoint / "reference_panel.safetensors")
    assert "reference_panel.safetensors" in failure(checkpoint)


def test_loading_shows_no_progress_bar(micro_checkpoint, capfd):
    load(micro_checkpoint)
    assert capfd.readouterr() == ("", "")


# --- Precision


def test_the_precision_is_chosen(micro_checkpoint, make_ecg):
    full, half = (load(micro_checkpoint, precision=one, device="cpu") for one in ("float32", "bfloat16"))
    ecgs = [make_ecg(seed=seed, rate=50 + 15 * seed) for seed in range(4)]
    one, other = (torch.from_numpy(model.embed(ecgs)) for model in (full, half))
    assert other.dtype == torch.float32
    assert torch.cosine_similarity(one, other).min() >= 0.998
    assert not torch.equal(one, other)
    texts = ["sinus rhythm", "left bundle branch block"]
    one, other = (torch.from_numpy(model.embed_text(texts)) for model in (full, half))
    assert torch.cosine_similarity(one, other).min() >= 0.999
    assert "in bfloat16 on" in repr(half)
    assert "in float32 on" in repr(full)


def test_the_default_precision(micro_checkpoint):
    assert load(micro_checkpoint, device="cpu").model.dtype == fastest_dtype(torch.device("cpu"))


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({}, torch.float32),
        ({"avx2": True, "avx512_f": True}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_tile": True, "amx_bf16": True}, torch.bfloat16),
    ],
)
def test_bfloat16_where_the_processor_has_units_for_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert fastest_dtype(torch.device("cpu")) == expected
    assert fastest_dtype(torch.device("meta")) == torch.float32


def test_an_unknown_precision(micro_checkpoint):
    with pytest.raises(DBetaError, match=r"unknown precision float64; choose auto, float32, bfloat16$"):
        load(micro_checkpoint, precision="float64")
    with pytest.raises(DBetaError, match="unknown device bogus"):
        load(micro_checkpoint, device="bogus")
    with pytest.raises(DBetaError, match="int8 is no longer supported; leave it out"):
        load(micro_checkpoint, precision="int8")


# --- Texts that are embedded already


@pytest.fixture
def with_texts(checkpoint):
    """A checkpoint with the embeddings of the default conditions."""
    save_text_embeddings(checkpoint)
    return checkpoint


def test_the_default_conditions_need_no_text_encoder(with_texts, micro_checkpoint, make_ecg):
    model = load(with_texts, precision="float32")
    table = model.diagnose(make_ecg())
    assert len(table) == len(default_conditions())
    assert "text_tower" not in vars(model.model)
    pd.testing.assert_frame_equal(table, load(micro_checkpoint, precision="float32").diagnose(make_ecg()), atol=1e-5)
    model.embed_text("words of my own")
    assert "text_tower" in vars(model.model)


@pytest.mark.parametrize(
    "name",
    [
        "text_proj.bias",
        "text_encoder.t5.block.0.layer.1.layer_norm.weight",
        "text_encoder.t5.block.0.layer.0.SelfAttention.q.weight",
    ],
)
def test_texts_of_other_weights_are_not_used(with_texts, make_ecg, name):
    change_weights(with_texts, lambda weights: weights.update({name: weights[name] * 1.01 + 0.01}))
    model = load(with_texts)
    model.diagnose(make_ecg())
    assert "text_tower" in vars(model.model)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"text_attention_mask": False}),
        ("preprocessor_config.json", {"max_text_tokens": 4}),
        ("preprocessor_config.json", {"lower_case": False}),
    ],
)
def test_texts_under_other_settings_are_not_used(with_texts, make_ecg, file, changes):
    change_json(with_texts / file, **changes)
    model = load(with_texts)
    model.diagnose(make_ecg())
    assert "text_tower" in vars(model.model)


def test_texts_of_another_tokenizer_are_not_used(with_texts, make_ecg):
    tokenizer = json.loads((with_texts / "tokenizer.json").read_text())
    (with_texts / "tokenizer.json").write_text(json.dumps(tokenizer, indent=3))
    model = load(with_texts)
    model.diagnose(make_ecg())
    assert "text_tower" in vars(model.model)


def test_saving_texts_again_does_not_believe_the_old_ones(with_texts):
    old = load_file(with_texts / "text_embeddings.safetensors")["text_embeds"]
    change_weights(with_texts, lambda weights: weights.update({"text_proj.bias": weights["text_proj.bias"] + 1}))
    save_text_embeddings(with_texts)
    assert (load_file(with_texts / "text_embeddings.safetensors")["text_embeds"] - old).abs().max() > 0.1
    assert not list(with_texts.glob(".*"))


def test_texts_that_are_damaged(with_texts):
    (with_texts / "text_embeddings.safetensors").write_bytes(b"hello")
    failure(with_texts)
