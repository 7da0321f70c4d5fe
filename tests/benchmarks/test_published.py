"""The benchmark's yardstick computes what the model computes."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from published import published_embed


@pytest.mark.parametrize("kernel", [7, 8])
@torch.no_grad()
def test_the_same_embedding(micro_model, kernel):
    model = micro_model(conv_pos_kernel=kernel, initializer_range=0.2, voltage=False)
    ecg = torch.randn(2, 12, 1000, generator=torch.Generator().manual_seed(0))
    expected = model.embed_ecg(ecg)
    assert expected.std() > 0.1
    torch.testing.assert_close(published_embed(model.state_dict(), model.config, ecg), expected, atol=1e-5, rtol=0)
