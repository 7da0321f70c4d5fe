"""ECG tower and text tower, which compute embeddings: the only parts of the model that embedding loads.

Module names are those of `DBetaModel`, so a tower reads its tensors directly from a checkpoint without loading fusion,
heads or the other tower, and so does `FusionHalf`. The position convolution's weight norm is folded at load time.
Nothing here imports `PreTrainedModel`, which would take longer than embedding an ECG.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dbeta.errors import DBetaError
from dbeta.model.config import DBetaConfig
from dbeta.model.cross_modal import CrossModal, FusionHalf
from dbeta.model.ecg_encoder import ECGEncoder
from dbeta.model.fusion import Pooler
from dbeta.model.text_encoder import TextEncoder


class ECGTower(nn.Module):
    """ECG encoder, projection and uni-modal pooler (paper section 3.2)."""

    def __init__(self, config: DBetaConfig) -> None:
        """Build the tower with fresh weights."""
        super().__init__()
        self.ecg_encoder = ECGEncoder(config)
        self.ecg_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.ecg_pooler = Pooler(config.hidden_size)

    def forward(self, ecg: Tensor) -> Tensor:
        """Embed recordings (B, leads, samples): (B, D)."""
        return self.ecg_pooler(self.ecg_proj(self.ecg_encoder.class_feature(ecg)))

    def for_inference(self, dtype: torch.dtype) -> None:
        """Fold the weight norm and compute in `dtype` (see `ConvTokens.narrow`)."""
        self.ecg_encoder.positions.fold()
        self.to(dtype)
        self.ecg_encoder.tokens.narrow(dtype)


class TextTower(nn.Module):
    """Text encoder, projection and uni-modal pooler."""

    def __init__(self, config: DBetaConfig) -> None:
        """Build the tower with fresh weights."""
        super().__init__()
        self.text_encoder = TextEncoder(config.text_config, use_mask=config.text_attention_mask)
        self.text_proj = nn.Linear(config.text_config.d_model, config.hidden_size)
        self.text_pooler = Pooler(config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embed tokenised texts (B, T): (B, D)."""
        return self.text_pooler(self.text_proj(self.text_encoder(input_ids, attention_mask)))

    def for_inference(self, dtype: torch.dtype) -> None:
        """Compute in `dtype`."""
        self.to(dtype)


Tower = TypeVar("Tower", ECGTower, TextTower, FusionHalf)


class _Unfilled(TorchFunctionMode):
    """Creates modules without initialising their weights; memory that is never touched costs nothing.

    Not `torch.device("meta")`: with it, weight norm makes torch load its compiler, which takes seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Skip the functions of `torch.nn.init`."""
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


class Misfit(ValueError):
    """A checkpoint's tensors do not match its configuration."""


def load_tower(kind: type[Tower], config: DBetaConfig, weights: Path, dtype: torch.dtype = torch.float32) -> Tower:
    """Read one tower from a checkpoint without loading the rest.

    Args:
        kind: class of the tower.
        config: configuration of the checkpoint.
        weights: the checkpoint's `model.safetensors`.
        dtype: precision to compute in.

    Raises:
        Misfit: tensors are missing or have another shape.
        safetensors.SafetensorError: the file is damaged.
    """
    with _Unfilled():
        tower = kind(config)
    wanted = tower.state_dict()
    parts = dict(tower.named_children())
    with safe_open(weights, framework="pt") as file:
        stored = {name for name in file.keys() if name.partition(".")[0] in parts}  # noqa: SIM118
        _complain("has unexpected tensors", stored - set(wanted))
        _complain("lacks tensors", (name for name in wanted if name not in stored))
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in wanted}
        _complain(
            "has tensors of different shapes", (name for name, tensor in wanted.items() if tensor.shape != shapes[name])
        )
        state = {name: file.get_tensor(name).float() for name in wanted}
    tower.load_state_dict(state, assign=True)
    tower.eval().requires_grad_(False)
    tower.for_inference(dtype)
    return tower


def check_names(weights: Path, known: Iterable[str]) -> None:
    """Reject a checkpoint with tensors that belong to no part of the model.

    Args:
        weights: a checkpoint's `model.safetensors`.
        known: names of the model's parts.

    Raises:
        Misfit: some tensors belong to none.
    """
    with safe_open(weights, framework="pt") as file:
        unknown = (name for name in file.keys() if name.partition(".")[0] not in set(known))  # noqa: SIM118
        _complain("has unexpected tensors", unknown)


def _complain(problem: str, names: Any) -> None:
    names = sorted(names)
    if names:
        raise Misfit(f"does not fit config.json: it {problem} ({len(names)}, such as {names[0]})")


class DualEncoder(CrossModal):
    """Both towers of a checkpoint; the text tower and the fusion half are loaded when first used.

    Args:
        config: configuration of the checkpoint.
        weights: the checkpoint's `model.safetensors`.
        device: device to compute on.
        dtype: precision to compute in.
    """

    def __init__(self, config: DBetaConfig, weights: Path, device: torch.device, dtype: torch.dtype) -> None:
        """Load the ECG tower."""
        self.config = config
        self.weights = weights
        self.device = device
        self.dtype = dtype
        self.ecg_tower = load_tower(ECGTower, config, weights, dtype).to(device)

    @functools.cached_property
    def text_tower(self) -> TextTower:
        """The text tower, loaded on first use.

        Raises:
            DBetaError: the checkpoint has no text encoder.
        """
        if self.config.parts == "ecg":
            raise DBetaError("this model has no text encoder, so it can embed recordings but not text")
        return load_tower(TextTower, self.config, self.weights, self.dtype).to(self.device)

    def embed_ecg(self, ecg: Tensor) -> Tensor:
        """Embed recordings (B, leads, samples): (B, D)."""
        return self.ecg_tower(ecg)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embed tokenised texts (B, T): (B, D)."""
        return self.text_tower(input_ids, attention_mask)

    @functools.cached_property
    def _read_half(self) -> FusionHalf:
        return load_tower(FusionHalf, self.config, self.weights, self.dtype).to(self.device)

    def _fusion_half(self) -> FusionHalf:
        """The fusion and its heads, read on first use."""
        return self._read_half

    def _ecg_parts(self) -> tuple[nn.Module, nn.Module]:
        """The ECG encoder and its projection."""
        return self.ecg_tower.ecg_encoder, self.ecg_tower.ecg_proj

    def _text_parts(self) -> tuple[nn.Module, nn.Module]:
        """The text encoder and its projection."""
        return self.text_tower.text_encoder, self.text_tower.text_proj
