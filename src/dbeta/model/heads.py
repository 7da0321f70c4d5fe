"""Pretraining heads: masked text (MLM), masked ECG (MEM), and whether ECG and text match (ETM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dbeta.model.attention import Attention
from dbeta.model.config import DBetaConfig
from dbeta.model.losses import token_mask
from dbeta.model.shown_samples import LeadRegression, shown_samples


class MLMHead(nn.Module):
    """Text tokens (B, T, D) → vocabulary logits (B, T, V)."""

    def __init__(self, width: int, vocab_size: int) -> None:
        """Create the transform and the decoder."""
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.decoder = nn.Linear(width, vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, T, V)."""
        return self.decoder(self.norm(nn.functional.gelu(self.dense(x))))


class ETMHead(nn.Module):
    """Class features of both modalities → logits of (misaligned, aligned)."""

    def __init__(self, width: int) -> None:
        """Create the classifier."""
        super().__init__()
        self.classifier = nn.Linear(2 * width, 2)

    def forward(self, text: Tensor, ecg: Tensor) -> Tensor:
        """(B, D) and (B, D) → (B, 2)."""
        return self.classifier(torch.cat([text, ecg], dim=-1))


class DecoderBlock(nn.Module):
    """A pre-norm transformer block with QuickGELU (x·σ(1.702x))."""

    def __init__(self, width: int, heads: int) -> None:
        """Create attention and an MLP of four times the width."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        x = x + self.attention(self.attention_norm(x))
        y = self.fc1(self.norm(x))
        return x + self.fc2(y * torch.sigmoid(1.702 * y))


class MEMHead(nn.Module):
    """Visible ECG tokens → the signal of every token: the decoder of a masked autoencoder."""

    def __init__(self, config: DBetaConfig) -> None:
        """Create the decoder."""
        super().__init__()
        width = config.mem_hidden_size
        self.shape = (len(config.leads), config.samples_per_token)
        self.embed = nn.Linear(config.hidden_size, width)
        self.skip = nn.Linear(math.prod(self.shape), width) if config.mem_skip else None
        self.regression = LeadRegression(len(config.leads)) if config.mem_regression else None
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(DecoderBlock(width, config.mem_heads) for _ in range(config.mem_layers))
        self.norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, math.prod(self.shape))

    def forward(self, x: Tensor, ids_restore: Tensor | None = None, ecg: Tensor | None = None) -> Tensor:
        """Predict the signal.

        Args:
            x: (B, 1 + kept, D), class token first.
            ids_restore: (B, tokens), the inverse permutation of the masking; None if all tokens are present, in order.
            ecg: (B, leads, samples), the encoder's input, for `mem_skip` and `mem_regression` (`DBetaConfig`).

        Returns:
            (B, tokens, leads, samples per token)
        """
        x = self.embed(x)
        tokens = x[:, 1:]
        hidden = None if ids_restore is None else token_mask(ids_restore, tokens.shape[1])  # (B, tokens)
        if ids_restore is not None:
            missing = ids_restore.shape[1] - tokens.shape[1]
            tokens = torch.cat([tokens, self.mask_token.expand(len(x), missing, -1).to(x.dtype)], dim=1)
            tokens = tokens.gather(1, ids_restore[..., None].expand(-1, -1, tokens.shape[-1]))
        if ecg is not None:
            samples, seen = shown_samples(ecg, hidden, tokens.shape[1], self.shape[1])
        if self.skip is not None:
            tokens = tokens + self.skip(samples.flatten(2).to(tokens.dtype))
        x = torch.cat([x[:, :1], tokens], dim=1)
        x = x + sinusoidal_positions(x.shape[1], x.shape[2], x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x)
        signal = self.predict(self.norm(x))[:, 1:].unflatten(-1, self.shape)
        return signal if self.regression is None else signal + self.regression(samples, seen)


def sinusoidal_positions(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sine in even, cosine in odd columns (Vaswani et al. 2017, section 3.5): (length, width), float32."""
    rate = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angle = torch.arange(length, device=device)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
