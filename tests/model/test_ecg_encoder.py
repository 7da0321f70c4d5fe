"""Tokens, positions, masking and the sizes of the ECG encoder."""

import math

import pytest
import torch

from dbeta.model import DBetaConfig
from dbeta.model.ecg_encoder import ConvPositions, ConvTokens, ECGEncoder, log_amplitude


def recordings(make_ecg, *rates: float) -> torch.Tensor:
    """Synthetic recordings at the micro model's rate: (B, 12, 1000)."""
    ecgs = [make_ecg(sampling_rate=100, rate=rate, seed=int(rate)) for rate in rates]
    return torch.stack([torch.from_numpy(ecg.signal) for ecg in ecgs])


def test_base_has_62_million_parameters():
    with torch.device("meta"):
        encoder = ECGEncoder(DBetaConfig.base())
    assert round(sum(p.numel() for p in encoder.parameters()) / 1e6, 1) == 62.0


def test_base_makes_312_tokens_and_a_class_token():
    with torch.device("meta"):
        encoder = ECGEncoder(DBetaConfig.base())
        assert encoder.embed(torch.empty(2, 12, 5000)).shape == (2, 312, 768)
        assert encoder(torch.empty(2, 12, 5000)).shape == (2, 313, 768)
        masked = encoder(torch.empty(2, 12, 5000), torch.zeros(2, 312, dtype=torch.long))
        assert masked.shape == (2, 79, 768)


def test_position_weight_norm_is_over_the_kernel_axis():
    positions = ConvPositions(DBetaConfig.base())
    shapes = sorted(tuple(p.shape) for p in positions.parameters())
    assert shapes == [(1, 1, 128), (768,), (768, 48, 128)]


def test_positions_keep_the_length_for_even_and_odd_kernels(micro_config):
    x = torch.randn(2, 24, 32)
    for kernel in (7, 8):
        assert ConvPositions(micro_config(conv_pos_kernel=kernel))(x).shape == x.shape


def test_an_even_kernel_drops_the_last_output(micro_config):
    positions = ConvPositions(micro_config(conv_pos_kernel=2, conv_pos_groups=32, hidden_size=32))
    with torch.no_grad():
        positions.conv.weight = torch.tensor([1.0, 1e-7]).expand(32, 1, 2)  # reads the token before
    x = 10 + torch.randn(1, 5, 32)
    y = positions(x)
    torch.testing.assert_close(y[:, 1:], x[:, :-1], atol=1e-4, rtol=1e-4)  # GELU does nothing that far from zero
    torch.testing.assert_close(y[:, 0], torch.zeros(1, 32), atol=1e-4, rtol=0)


def test_the_first_convolution_is_normalised_over_time_for_each_channel(micro_config, make_ecg):
    tokens = ConvTokens(micro_config())
    ecg = recordings(make_ecg, 70)
    normed = tokens.norm(tokens.convs[0](ecg))
    torch.testing.assert_close(normed.mean(-1), torch.zeros(1, 16), atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.var(-1, unbiased=False), torch.ones(1, 16), atol=0.05, rtol=0)


def test_without_voltage_gain_and_offset_do_not_matter_but_the_rhythm_does(micro_model, make_ecg):
    encoder = micro_model(voltage=False).ecg_encoder
    ecg = recordings(make_ecg, 60, 95)
    with torch.no_grad():
        plain, louder, shifted = encoder(ecg), encoder(10 * ecg), encoder(ecg + 3)
    between_records = (plain[0] - plain[1]).abs().mean()
    assert (plain - louder).abs().mean() < 0.02 * between_records
    assert (plain - shifted).abs().mean() < 0.02 * between_records


def test_voltage_reaches_the_class_token_and_offset_does_not(micro_model, make_ecg):
    encoder = micro_model(initializer_range=0.1).ecg_encoder
    ecg = recordings(make_ecg, 60, 95)
    with torch.no_grad():
        plain, louder, shifted = (encoder(x)[:, 0] for x in (ecg, 1.5 * ecg, ecg + 3))
    assert (plain - louder).abs().mean() > 0.1
    torch.testing.assert_close(plain, shifted, atol=1e-2, rtol=0)


def test_log_amplitude_is_how_far_each_lead_swings():
    ecg = torch.zeros(1, 2, 1000)
    ecg[0, 0, 50::200] = 2.0  # one beat in each of the five windows
    ecg[0, 1, 50::200] = -0.5
    found = log_amplitude(ecg).exp()
    assert found.shape == (1, 4)
    assert found[0].tolist() == pytest.approx([2 * 199 / 200, 0.01, 0.01, 0.5 * 199 / 200], abs=1e-4)
    torch.testing.assert_close(log_amplitude(10 * ecg + 5)[0, 0], found.log()[0, 0] + math.log(10))


def test_one_artefact_or_half_a_recording_of_padding_does_not_decide_the_amplitude():
    ecg = torch.zeros(2, 1, 1000)
    ecg[:, 0, 50::200] = 1.0
    ecg[0, 0, 333] = 40.0
    ecg[1, 0, 500:] = 0.0
    found = log_amplitude(ecg).exp()
    assert found[:, 0].tolist() == pytest.approx([199 / 200] * 2, abs=1e-3)


def test_voltage_needs_millivolts(micro_config):
    with pytest.raises(ValueError, match="voltage needs signal_scale"):
        micro_config(signal_scale="lead_zscore")
    assert not micro_config(signal_scale="lead_zscore", voltage=False).voltage


def test_the_class_token_comes_first_and_after_the_positions(micro_model, make_ecg):
    encoder = micro_model(ecg_layers=0, voltage=False).ecg_encoder
    x = encoder(recordings(make_ecg, 60, 95))
    expected = torch.nn.functional.layer_norm(encoder.class_token, (32,))
    torch.testing.assert_close(x[:, 0], expected.expand(2, 32))
    assert not torch.allclose(x[0, 1:], x[1, 1:], atol=1e-3)


def test_masking_keeps_the_tokens_that_ids_restore_says_in_that_order(micro_model, make_ecg):
    encoder = micro_model(ecg_layers=0, ecg_mask_ratio=0.5).ecg_encoder  # 12 of 24 stay; no layer mixes the tokens
    restore = torch.stack([torch.randperm(24), torch.randperm(24)])
    ecg = recordings(make_ecg, 60, 95)
    tokens = encoder.embed(ecg)
    kept = encoder.encode(tokens, ecg, restore)
    assert kept.shape == (2, 13, 32)
    seen = 0
    for row in range(2):
        for position in range(24):
            place = int(restore[row, position])
            if place < 12:
                expected = torch.nn.functional.layer_norm(tokens[row, position], (32,))
                torch.testing.assert_close(kept[row, 1 + place], expected)
                seen += 1
    assert seen == 24


def test_hidden_tokens_do_not_reach_the_encoder(micro_model, make_ecg):
    encoder = micro_model(ecg_mask_ratio=0.5).ecg_encoder
    restore = torch.arange(24).flip(0)[None]  # the last twelve stay
    ecg = recordings(make_ecg, 60)
    tokens = encoder.embed(ecg)
    plain = encoder.encode(tokens, ecg, restore)
    hidden, visible = tokens.clone(), tokens.clone()
    hidden[:, :12] += 5 * torch.randn(1, 12, 32)
    visible[:, 12:] += 5 * torch.randn(1, 12, 32)
    torch.testing.assert_close(encoder.encode(hidden, ecg, restore), plain)
    assert not torch.allclose(encoder.encode(visible, ecg, restore), plain, atol=1e-2)


def test_masking_nothing_equals_no_masking(micro_model, make_ecg):
    encoder = micro_model(ecg_mask_ratio=0.0).ecg_encoder
    ecg = recordings(make_ecg, 60)
    torch.testing.assert_close(encoder(ecg, torch.arange(24)[None]), encoder(ecg))


def test_layers_are_post_norm_and_the_stack_has_no_final_norm(micro_model, make_ecg):
    encoder = micro_model().ecg_encoder
    last = encoder.layers[-1]
    torch.nn.init.constant_(last.norm.bias, 3.0)
    x = encoder(recordings(make_ecg, 60))
    torch.testing.assert_close(x.mean(-1), torch.full((1, 25), 3.0), atol=1e-4, rtol=0)  # nothing comes after that norm
