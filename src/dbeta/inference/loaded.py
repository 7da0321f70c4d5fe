"""What the modules beneath `DBeta` use of a loaded model, as a type, so that they need not import it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from dbeta.model.processor import DBetaProcessor


class Loaded(Protocol):
    """A model with its processor, as `DBeta` is."""

    model: Any
    processor: DBetaProcessor
    batch_size: int

    def embed_signals(self, signals: Sequence[np.ndarray]) -> np.ndarray:
        """Embed one batch of prepared recordings: (n, D) float32."""
        ...

    def ecg_embedding_fingerprint(self) -> str:
        """Hash of everything that decides ECG embeddings."""
        ...
