"""The ECG encoder: convolutions to tokens, convolutional positions, class token, post-norm transformer.

GroupNorm over time follows the first convolution (one group per channel), the position convolution has weight norm over
its kernel axis, and LayerNorm comes *before* the stack instead of after it (paper section 3.2). GroupNorm removes
absolute voltage, which is added back as a shift of the class token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import remove_parametrizations

from dbeta.model.attention import Attention
from dbeta.model.config import DBetaConfig


class ConvTokens(nn.Module):
    """Strided convolutions: (B, leads, samples) → (B, tokens, channels)."""

    def __init__(self, config: DBetaConfig) -> None:
        """Create one convolution per entry of `config.conv_layers`."""
        super().__init__()
        channels = [len(config.leads), *(layer[0] for layer in config.conv_layers)]
        self.convs = nn.ModuleList(
            nn.Conv1d(channels[i], out, kernel, stride, bias=False)
            for i, (out, kernel, stride) in enumerate(config.conv_layers)
        )
        self.norm = nn.GroupNorm(channels[1], channels[1])
        self.dtype_after_norm: torch.dtype | None = None

    def forward(self, ecg: Tensor) -> Tensor:
        """Tokenise (B, leads, samples) to (B, tokens, channels)."""
        first, *others = self.convs
        ecg = ecg.to(self.norm.weight.dtype)  # the processor returns float32 whatever the precision of the weights
        x = nn.functional.gelu(self.norm(first(ecg)))
        if self.dtype_after_norm is not None:
            x = x.to(self.dtype_after_norm)
        for conv in others:
            x = nn.functional.gelu(conv(x))
        return x.transpose(1, 2)

    def narrow(self, dtype: torch.dtype) -> None:
        """Compute in `dtype` from the first norm on; for inference.

        The first convolution sees raw millivolts: bfloat16's 8 bits would round a sample near 2 mV by up to 8 µV.
        """
        self.to(dtype)
        self.convs[0].float()
        self.norm.float()
        self.dtype_after_norm = dtype


class ConvPositions(nn.Module):
    """Convolutional position embedding (Baevski et al. 2020, wav2vec 2.0, section 2)."""

    def __init__(self, config: DBetaConfig) -> None:
        """Create the weight-normed grouped convolution."""
        super().__init__()
        width, kernel = config.hidden_size, config.conv_pos_kernel
        conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=config.conv_pos_groups)
        nn.init.normal_(conv.weight, std=(4 / (kernel * width)) ** 0.5)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv = weight_norm(conv, dim=2)
        self.surplus = 1 - kernel % 2

    def fold(self) -> None:
        """Replace the weight norm by its product, for inference."""
        remove_parametrizations(self.conv, "weight")
        self.conv._load_state_dict_pre_hooks.clear()  # weight norm's hook for old checkpoints cannot be pickled

    def forward(self, x: Tensor) -> Tensor:
        """Position embedding of tokens (B, N, D); same shape."""
        y = self.conv(x.transpose(1, 2))
        y = y[..., : y.shape[-1] - self.surplus]
        return nn.functional.gelu(y).transpose(1, 2)


#: Windows in which a recording's amplitude is measured; in 10 s, each has a beat if the rate is above 30/min.
AMPLITUDE_WINDOWS = 5
#: mV below which a deflection is noise.
LOWEST_AMPLITUDE = 0.01


def log_amplitude(ecg: Tensor) -> Tensor:
    """Largest upward and downward deflection of each lead: log millivolts, (B, 2·leads) float32, upward ones first.

    Each recording is cut into five windows, and the second largest deflection from a window's mean is used, so that
    neither a single artefact nor a half-padded recording changes it. A flat lead gives log 0.01.

    Args:
        ecg: (B, leads, samples) in mV.
    """
    x = ecg.float()
    x = x[..., : x.shape[-1] // AMPLITUDE_WINDOWS * AMPLITUDE_WINDOWS].unflatten(-1, (AMPLITUDE_WINDOWS, -1))
    mean = x.mean(dim=-1)  # (B, leads, windows)
    swings = torch.stack([x.amax(dim=-1) - mean, mean - x.amin(dim=-1)], dim=1)  # (B, 2, leads, windows)
    second = swings.topk(2, dim=-1).values[..., 1]
    return second.clamp(min=LOWEST_AMPLITUDE).log().flatten(1)


class Voltage(nn.Module):
    """Each lead's amplitude in millivolts → a shift of the class token, (B, leads, samples) → (B, D).

    GroupNorm over time makes tokens independent of the overall voltage, yet hypertrophy and low voltage are defined by
    it (Sokolow and Lyon 1949: S in V1 and R in V5).
    """

    def __init__(self, config: DBetaConfig) -> None:
        """Create the projection."""
        super().__init__()
        self.project = nn.Linear(2 * len(config.leads), config.hidden_size)

    def forward(self, ecg: Tensor, dtype: torch.dtype) -> Tensor:
        """Compute the shift in `dtype`, that of the weights (a quantised layer does not expose it)."""
        return self.project(log_amplitude(ecg).to(dtype))


class EncoderLayer(nn.Module):
    """A post-norm transformer layer with exact GELU."""

    def __init__(self, config: DBetaConfig) -> None:
        """Create attention, feed-forward and their norms."""
        super().__init__()
        width, dropout = config.hidden_size, config.hidden_dropout
        self.attention = Attention(width, config.ecg_heads, config.attention_dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.ecg_intermediate_size)
        self.fc2 = nn.Linear(config.ecg_intermediate_size, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """(B, N, D) → (B, N, D), attending to `source` (B, M, D) if given, else to `x`."""
        x = self.attention_norm(x + self.dropout(self.attention(x, source)))
        return self.norm(x + self.dropout(self.fc2(nn.functional.gelu(self.fc1(x)))))


class ECGEncoder(nn.Module):
    """Recordings → a class token and time tokens, either all or those left visible by masking."""

    def __init__(self, config: DBetaConfig) -> None:
        """Create the encoder."""
        super().__init__()
        channels, width = config.conv_layers[-1][0], config.hidden_size
        self.n_kept = config.n_kept_tokens
        self.hide_samples, self.samples_per_token = config.hide_samples, config.samples_per_token
        self.tokens = ConvTokens(config)
        self.token_norm = nn.LayerNorm(channels)
        self.token_proj = nn.Linear(channels, width)
        self.positions = ConvPositions(config)
        self.class_token = nn.Parameter(torch.zeros(width))
        self.voltage = Voltage(config) if config.voltage else None
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.ecg_layers))
        self.dropout = nn.Dropout(config.hidden_dropout)
        # `PreTrainedModel.gradient_checkpointing_enable` sets both
        self.gradient_checkpointing = False
        self._gradient_checkpointing_func: Any = None

    def shown(self, ecg: Tensor, ids_restore: Tensor | None, n_kept: int | None = None) -> Tensor:
        """What is shown of recordings whose tokens are partly hidden: with `hide_samples`, 0 in place of the others.

        Args:
            ecg: (B, leads, samples).
            ids_restore: see `encode`.
            n_kept: see `encode`.

        Returns:
            The same shape; `ecg` itself if nothing is hidden in it.
        """
        if ids_restore is None or not self.hide_samples:
            return ecg
        hidden = ids_restore >= (self.n_kept if n_kept is None else n_kept)
        samples = hidden.repeat_interleave(self.samples_per_token, dim=1)  # (B, tokenised samples)
        rest = ecg.shape[-1] - samples.shape[1]  # belongs to no token
        return ecg.masked_fill(nn.functional.pad(samples, (0, rest))[:, None], 0.0)

    def embed(self, ecg: Tensor) -> Tensor:
        """Tokens with positions, before the class token and the transformer: (B, tokens, D)."""
        x = self.dropout(self.token_proj(self.token_norm(self.tokens(ecg))))
        return x + self.positions(x)

    def encode(
        self, tokens: Tensor, ecg: Tensor, ids_restore: Tensor | None = None, n_kept: int | None = None
    ) -> Tensor:
        """Run the transformer over embedded tokens.

        Args:
            tokens: (B, N, D) from `embed`.
            ecg: (B, leads, samples), the recordings the tokens come from, for their voltage.
            ids_restore: (B, N) int64; the inverse of a permutation whose first tokens stay visible while the others are
                hidden (MAE, He et al. 2022, section 3). None leaves all visible.
            n_kept: number of tokens that stay visible; by default that of pretraining.

        Returns:
            (B, 1 + kept, D), class token first.
        """
        if ids_restore is not None:
            keep = ids_restore.argsort(dim=1)[:, : self.n_kept if n_kept is None else n_kept]
            tokens = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
        x = self._with_class_token(tokens, ecg)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(layer.__call__, x)
            else:
                x = layer(x)
        return x

    def class_feature(self, ecg: Tensor) -> Tensor:
        """Output of the class token alone, (B, 1, D); the last layer computes nothing else."""
        x = self._with_class_token(self.embed(ecg), ecg)
        *layers, last = self.layers
        for layer in layers:
            x = layer(x)
        return last(x[:, :1], x)

    def _with_class_token(self, tokens: Tensor, ecg: Tensor) -> Tensor:
        token = self.class_token.expand(len(tokens), 1, -1)
        if self.voltage is not None:
            token = token + self.voltage(ecg, token.dtype)[:, None]
        x = torch.cat([token.to(tokens.dtype), tokens], dim=1)
        return self.dropout(self.norm(x))

    def forward(self, ecg: Tensor, ids_restore: Tensor | None = None) -> Tensor:
        """Recordings (B, leads, samples) → (B, 1 + tokens, D), class token first."""
        ecg = self.shown(ecg, ids_restore)
        return self.encode(self.embed(ecg), ecg, ids_restore)
