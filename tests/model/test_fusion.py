"""Which stream reads what in the fusion, and what its masks hide."""

import pytest
import torch

from dbeta.model import DBetaConfig
from dbeta.model.fusion import ECG, TEXT, Fusion, Pooler


@pytest.fixture
def streams():
    """Text (2, 5, 32) and ECG (2, 7, 32)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 5, 32, generator=generator), torch.randn(2, 7, 32, generator=generator)


def perturb(layer: torch.nn.Module) -> None:
    """Change what a fusion layer puts out."""
    with torch.no_grad():
        layer.norm.bias += torch.randn(32)


@pytest.mark.parametrize("changed, other", [("text_layers", 1), ("ecg_layers", 0)])
def test_a_layer_reads_the_inputs_of_the_layer_not_the_fresh_output_of_the_other_side(
    micro_model, streams, changed, other
):
    fusion = micro_model(fusion_layers=1, mem_layer=0).fusion
    before = fusion(*streams)
    perturb(getattr(fusion, changed)[0])
    after = fusion(*streams)
    torch.testing.assert_close(after[other], before[other])
    assert not torch.allclose(after[1 - other], before[1 - other], atol=1e-2)


def test_the_next_layer_does_read_the_other_side(micro_model, streams):
    fusion = micro_model(fusion_layers=2).fusion
    before = fusion(*streams)
    perturb(fusion.text_layers[0])
    assert not torch.allclose(fusion(*streams)[1], before[1], atol=1e-4)


def test_each_side_reads_the_other(micro_model, streams):
    fusion = micro_model(fusion_layers=1, mem_layer=0).fusion
    text, ecg = streams
    plain = fusion(text, ecg)
    assert not torch.allclose(fusion(text.flip(-1), ecg)[1], plain[1], atol=1e-4)
    assert not torch.allclose(fusion(text, ecg.flip(-1))[0], plain[0], atol=1e-4)


def test_padding_reaches_neither_side(micro_model, streams):
    fusion = micro_model().fusion
    text, ecg = streams
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 3:] = False
    other = text.clone()
    other[0, 3:] += 10
    plain, changed = fusion(text, ecg, mask), fusion(other, ecg, mask)
    torch.testing.assert_close(changed[0][mask], plain[0][mask])
    torch.testing.assert_close(changed[1], plain[1])
    short = fusion(text[:1, :3], ecg[:1])
    torch.testing.assert_close(short[0], plain[0][:1, :3])
    torch.testing.assert_close(short[1], plain[1][:1])
    assert not torch.allclose(fusion(other, ecg)[1], fusion(text, ecg)[1], atol=1e-3)


def test_the_modality_is_added_before_the_first_layer(micro_config, streams):
    fusion = Fusion(micro_config(mem_layer=0))
    with torch.no_grad():
        fusion.modality.weight[TEXT] = 100.0
        fusion.modality.weight[ECG] = 7.0
    torch.testing.assert_close(fusion(*streams)[2], streams[1] + 7.0)
    assert (TEXT, ECG) == (0, 1)


def test_the_stream_for_mem_is_the_one_before_its_layer(micro_model, streams):
    fusion = micro_model(fusion_layers=2, mem_layer=1).fusion
    plain = fusion(*streams)[2]
    perturb(fusion.ecg_layers[1])
    torch.testing.assert_close(fusion(*streams)[2], plain)
    perturb(fusion.ecg_layers[0])
    assert not torch.allclose(fusion(*streams)[2], plain, atol=1e-2)


def test_base_fusion_is_bert_sized():
    with torch.device("meta"):
        fusion = Fusion(DBetaConfig.base())
    assert len(fusion.text_layers) == len(fusion.ecg_layers) == 6
    norms = [module for module in fusion.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 36
    assert {norm.eps for norm in norms} == {1e-12}


def test_pooler_reads_the_first_token():
    pooler = Pooler(2)
    torch.nn.init.eye_(pooler.dense.weight)
    torch.nn.init.zeros_(pooler.dense.bias)
    y = pooler(torch.tensor([[[0.5, -2.0], [9.0, 9.0]]]))
    torch.testing.assert_close(y, torch.tensor([[0.4621172, -0.9640276]]))
