"""Multi-head attention through `scaled_dot_product_attention`, shared by encoder, fusion and MEM decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Self- or cross-attention with biased projections.

    Args:
        dim: width of queries, keys, values and output.
        heads: number of attention heads.
        dropout: dropout of the attention weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        """Create the four projections."""
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"a width of {dim} cannot be split among {heads} heads")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, source: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend from `x` (B, N, D) to `source` (B, M, D), by default `x` itself.

        Args:
            x: query tokens.
            source: tokens that keys and values are computed from.
            mask: (B, M) bool, True for source tokens that may be attended to.

        Returns:
            (B, N, D)
        """
        source = x if source is None else source
        q, k, v = (self._split(f(t)) for f, t in ((self.query, x), (self.key, source), (self.value, source)))
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if mask is None else mask[:, None, None, :].to(torch.bool),
            dropout_p=self.dropout if self.training else 0.0,
        )  # (B, heads, N, D / heads)
        return self.out(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
