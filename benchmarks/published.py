"""Computes the ECG embedding as the published code does: the reference for `encode.py`.

Nothing is fused, folded or reduced in precision: separate query, key and value projections, explicit softmax attention,
weight norm computed at every call, every layer for every token, everything in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dbeta.model.config import DBetaConfig


def published_embed(weights: dict[str, Tensor], config: DBetaConfig, ecg: Tensor) -> Tensor:
    """Embed recordings (B, leads, samples) with the tensors of `DBetaModel`: (B, D)."""
    w = weights
    x = F.conv1d(ecg, w["ecg_encoder.tokens.convs.0.weight"], stride=config.conv_layers[0][2])
    x = F.group_norm(x, x.shape[1], w["ecg_encoder.tokens.norm.weight"], w["ecg_encoder.tokens.norm.bias"])
    x = F.gelu(x)
    for i, (_, _, stride) in enumerate(config.conv_layers[1:], 1):
        x = F.gelu(F.conv1d(x, w[f"ecg_encoder.tokens.convs.{i}.weight"], stride=stride))
    x = _norm(w, "ecg_encoder.token_norm", x.transpose(1, 2))  # (B, tokens, channels)
    x = _linear(w, "ecg_encoder.token_proj", x)  # (B, tokens, D)

    g, v = (w[f"ecg_encoder.positions.conv.parametrizations.weight.original{i}"] for i in (0, 1))
    kernel = g * v / v.norm(dim=(0, 1), keepdim=True)
    bias, width = w["ecg_encoder.positions.conv.bias"], config.conv_pos_kernel
    y = F.conv1d(x.transpose(1, 2), kernel, bias, padding=width // 2, groups=config.conv_pos_groups)
    x = x + F.gelu(y[..., : x.shape[1]]).transpose(1, 2)

    x = torch.cat([w["ecg_encoder.class_token"].expand(len(x), 1, -1), x], dim=1)  # (B, 1 + tokens, D)
    x = _norm(w, "ecg_encoder.norm", x)
    for i in range(config.ecg_layers):
        layer = f"ecg_encoder.layers.{i}"
        x = _norm(w, f"{layer}.attention_norm", x + _attention(w, f"{layer}.attention", x, config.ecg_heads))
        y = _linear(w, f"{layer}.fc2", F.gelu(_linear(w, f"{layer}.fc1", x)))
        x = _norm(w, f"{layer}.norm", x + y)
    x = _linear(w, "ecg_proj", x)
    return torch.tanh(_linear(w, "ecg_pooler.dense", x[:, 0]))


def _attention(w: dict[str, Tensor], name: str, x: Tensor, heads: int) -> Tensor:
    q, k, v = (
        _linear(w, f"{name}.{part}", x).unflatten(-1, (heads, -1)).transpose(1, 2) for part in ("query", "key", "value")
    )  # (B, heads, N, D / heads)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))  # (B, heads, N, N)
    y = torch.matmul(torch.softmax(scores, dim=-1), v)
    return _linear(w, f"{name}.out", y.transpose(1, 2).flatten(2))


def _linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])
