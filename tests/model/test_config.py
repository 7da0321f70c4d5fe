"""Sizes, switches and the two presets."""

import inspect
import re

import pytest
import torch

from dbeta.ecg import LEADS
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.model.config import PRESETS


def test_base_has_the_sizes_of_the_paper():
    config = DBetaConfig.base()
    assert (config.sampling_rate, config.n_samples, tuple(config.leads)) == (500, 5000, LEADS)
    assert (config.n_tokens, config.samples_per_token, config.n_kept_tokens) == (312, 16, 78)
    assert (config.text_config.num_layers, config.text_config.d_ff, config.text_config.vocab_size) == (12, 2048, 32128)
    assert config.loss_weights == {"mlm": 1.0, "mem": 1.0, "etm": 1.0, "ets": 1.0}


@pytest.mark.parametrize("preset", PRESETS)
def test_tokens_are_as_many_as_the_convolutions_give(preset):
    config = PRESETS[preset]()
    with torch.device("meta"):
        x = torch.empty(1, 12, config.n_samples)
        for channels, kernel, stride in config.conv_layers:
            x = torch.nn.Conv1d(x.shape[1], channels, kernel, stride)(x)
    assert config.n_tokens == x.shape[-1]
    assert config.n_tokens * config.samples_per_token <= config.n_samples


def test_tiny_is_small_and_cuts_the_recording_into_160_ms():
    config = DBetaConfig.tiny()
    assert config.samples_per_token / config.sampling_rate == 0.16
    with torch.device("meta"):
        assert sum(p.numel() for p in DBetaModel(config).parameters()) <= 5e6


def test_faithful_takes_over_the_published_defects():
    better, published = DBetaConfig.base(), DBetaConfig.base(faithful=True)
    switches = (
        "text_attention_mask",
        "mem_target",
        "ets_full_view",
        "ets_cosine",
        "voltage",
        "reconstruct_misaligned",
        "mem_scope",
        "hide_samples",
    )
    corrected = [True, "full", True, True, True, False, "unseen", True]
    defects = [False, "lead_masked", False, False, False, True, "tokens", False]
    assert [getattr(better, name) for name in switches] == corrected
    assert [getattr(published, name) for name in switches] == defects
    assert (published.mem_skip, published.mem_regression, published.fusion_gradient) == (False, False, 1.0)
    small = DBetaConfig.tiny(faithful=True)
    assert [getattr(small, name) for name in switches] == [getattr(published, name) for name in switches]
    assert DBetaConfig.base(faithful=True, mem_target="full").mem_target == "full"


def test_changes_reach_the_presets():
    assert DBetaConfig.tiny(ecg_mask_ratio=0.5).ecg_mask_ratio == 0.5
    assert DBetaConfig.tiny(loss_weights={"etm": 0.5}).loss_weights == {"mlm": 1.0, "mem": 1.0, "etm": 0.5, "ets": 1.0}


def test_one_configuration_does_not_change_another():
    first = DBetaConfig.base()
    first.conv_layers[0][0] = 1
    first.text_config.pad_token_id = 77
    first.loss_weights["mlm"] = 9.0
    second = DBetaConfig.base()
    assert second.conv_layers[0] == [256, 2, 2]
    assert second.text_config.pad_token_id != 77
    assert second.loss_weights["mlm"] == 1.0


@pytest.mark.parametrize("kept, ratio", [(6, 0.75), (12, 0.5), (24, 0.0)])
def test_kept_tokens(micro_config, kept, ratio):
    assert micro_config(ecg_mask_ratio=ratio).n_kept_tokens == kept


def test_json_round_trip(micro_config, tmp_path):
    config = micro_config(mem_target="lead_masked", loss_weights={"mlm": 0.5}, ets_cosine=False)
    config.text_config.pad_token_id = 7
    config.save_pretrained(tmp_path)
    again = DBetaConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert again.text_config.d_model == 32
    assert again.text_config.pad_token_id == 7
    assert again.text_config.dense_act_fn == "gelu_new"
    assert again.leads == list(LEADS)


@pytest.mark.parametrize("parts", ["", "ECG", "heads", None])
def test_unknown_parts_are_refused(parts):
    with pytest.raises(ValueError, match="parts must be one of all, encoders, ecg"):
        DBetaConfig(parts=parts)


def test_every_setting_is_documented():
    described = re.findall(r"^ {8}(\w+): ", DBetaConfig.__doc__, re.MULTILINE)
    assert described == list(inspect.signature(DBetaConfig.__init__).parameters)[1:-1]  # no self, kwargs
