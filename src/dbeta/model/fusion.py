"""Two-way fusion of the text stream and the ECG stream.

In each layer both modalities attend to the other's *input* to that layer, not to its updated output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dbeta.model.attention import Attention
from dbeta.model.config import DBetaConfig

TEXT, ECG = 0, 1


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """The same values, whose gradient is multiplied by a factor on its way back."""
    if factor == 1.0:
        return x
    fixed = x.detach()
    return fixed + factor * (x - fixed) if factor else fixed


class FusionLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward for one modality, post-norm (BERT, eps 1e-12)."""

    def __init__(self, config: DBetaConfig) -> None:
        """Create the three sub-layers; the same dropout rate applies to attention weights and sub-layer outputs."""
        super().__init__()
        width, inner, dropout = config.hidden_size, config.fusion_intermediate_size, config.hidden_dropout
        self.attention = Attention(width, config.fusion_heads, dropout)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.cross = Attention(width, config.fusion_heads, dropout)
        self.cross_norm = nn.LayerNorm(width, eps=1e-12)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None, other_mask: Tensor | None) -> Tensor:
        """Update (B, N, D) with the other modality (B, M, D); masks are True for tokens that may be attended to."""
        x = self.attention_norm(x + self.dropout(self.attention(x, mask=mask)))
        x = self.cross_norm(x + self.dropout(self.cross(x, other, mask=other_mask)))
        return self.norm(x + self.dropout(self.fc2(nn.functional.gelu(self.fc1(x)))))


class Fusion(nn.Module):
    """Modality embeddings and the stack of two-way layers."""

    def __init__(self, config: DBetaConfig) -> None:
        """Create `config.fusion_layers` layers per modality."""
        super().__init__()
        self.mem_layer = config.mem_layer
        self.modality = nn.Embedding(2, config.hidden_size)
        self.text_layers = nn.ModuleList(FusionLayer(config) for _ in range(config.fusion_layers))
        self.ecg_layers = nn.ModuleList(FusionLayer(config) for _ in range(config.fusion_layers))
        self.gradient_checkpointing = False
        self._gradient_checkpointing_func: Any = None

    def forward(self, text: Tensor, ecg: Tensor, text_mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Fuse text (B, T, D) with ECG (B, N, D).

        Args:
            text: projected text tokens.
            ecg: projected ECG tokens, class token first.
            text_mask: (B, T) bool, False at padding.

        Returns:
            Text (B, T, D), ECG (B, N, D), and the ECG stream (B, N, D) as it enters fusion layer `mem_layer`.
        """
        text = text + self.modality.weight[TEXT]
        ecg = ecg + self.modality.weight[ECG]
        before = ecg
        for i, (text_layer, ecg_layer) in enumerate(zip(self.text_layers, self.ecg_layers, strict=True)):
            if i == self.mem_layer:
                before = ecg
            text, ecg = (
                self._run(text_layer, text, ecg, text_mask, None),
                self._run(ecg_layer, ecg, text, None, text_mask),
            )
        return text, ecg, before

    def _run(self, layer: nn.Module, *inputs: Tensor | None) -> Tensor:
        if self.gradient_checkpointing and self.training:
            return self._gradient_checkpointing_func(layer.__call__, *inputs)
        return layer(*inputs)


class Pooler(nn.Module):
    """The first token through a linear layer and tanh."""

    def __init__(self, width: int) -> None:
        """Create the linear layer."""
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) → (B, D) in (−1, 1)."""
        return torch.tanh(self.dense(x[:, 0]))
