"""Embeds prepared signals or texts with a loaded model, returning arrays; used by inference, training and corpora."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from dbeta.model.dual_encoder import DualEncoder

if TYPE_CHECKING:
    from dbeta.model.modeling import DBetaModel
    from dbeta.model.processor import DBetaProcessor


@torch.inference_mode()
def embed_signals(model: DualEncoder | DBetaModel, signals: Sequence[np.ndarray]) -> np.ndarray:
    """Embed one batch of recordings as `DBetaProcessor.signal` returns them: (n, D) float32."""
    batch = torch.from_numpy(np.stack(signals)).to(model.device)  # (n, leads, samples)
    return model.embed_ecg(batch).float().cpu().numpy()


@torch.inference_mode()
def embed_texts(
    model: DualEncoder | DBetaModel, processor: DBetaProcessor, texts: Sequence[str], batch_size: int = 32
) -> np.ndarray:
    """Embed texts: (n, D) float32.

    Raises:
        DBetaError: a text is empty, or the model has no text encoder.
    """
    batches = []
    for start in range(0, len(texts), batch_size):
        tokens = processor.tokens(texts[start : start + batch_size])
        embeds = model.embed_text(**{key: value.to(model.device) for key, value in tokens.items()})  # (batch, D)
        batches.append(embeds.float().cpu().numpy())
    return np.concatenate(batches) if batches else np.zeros((0, model.config.hidden_size), np.float32)
