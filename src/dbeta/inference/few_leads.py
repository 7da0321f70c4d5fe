"""Reference panels for recordings that lack leads: simulated ECGs that lack the same ones.

A score falls or rises with the number of leads, so its percentile means something only among recordings with the same
leads. The checkpoint's reference panel has twelve, and its recordings are not at hand; for any other set of leads,
`PANEL_SIZE` simulated ECGs without the missing leads are embedded instead, once, and kept on disk.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaWarning
from dbeta.inference.loaded import Loaded
from dbeta.signal.preprocess import InputFormat, prepare_signal
from dbeta.utils.files import replacing

#: Simulated ECGs of a panel, and where they begin: far behind those that a model is trained on.
PANEL_SIZE, FIRST_RECORD = 256, 10**9
BATCH = 64


class LeadPanels:
    """Reference panels for sets of leads.

    Args:
        model: embeds them.
        cache: folder in which they are kept; None for the user's cache folder.
    """

    def __init__(self, model: Loaded, cache: Path | None = None) -> None:
        """Compute nothing yet."""
        self.model = model
        self.cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbeta" / "panels"
        self.known: dict[bytes, np.ndarray] = {}

    def embeddings(self, alive: np.ndarray) -> np.ndarray:
        """Unit-length embeddings of the panel without the missing leads: (PANEL_SIZE, D) float32.

        Args:
            alive: (leads,) bool, the model's leads that carry a signal.
        """
        key = alive.tobytes()
        if key not in self.known:
            file = self.cache / f"{self._fingerprint}-{''.join('01'[bool(one)] for one in alive)}.safetensors"
            shape = PANEL_SIZE, self.model.model.config.hidden_size
            found = _read(file, shape)
            if found is None:
                found = self._embed(alive)
                _write(file, found)
            self.known[key] = found
        return self.known[key]

    @functools.cached_property
    def _fingerprint(self) -> str:
        from dbeta.simulation.simulation import VERSION

        return f"{self.model.ecg_embedding_fingerprint()}-{VERSION}-{PANEL_SIZE}"

    def _embed(self, alive: np.ndarray) -> np.ndarray:
        signals = simulated_signals(self.model.processor.input_format)
        embeds = []
        for start in range(0, len(signals), BATCH):
            batch = signals[start : start + BATCH].astype(np.float32)
            batch[:, ~alive] = 0.0
            embeds.append(self.model.embed_signals(list(batch)))
        return torch.nn.functional.normalize(torch.from_numpy(np.concatenate(embeds)), dim=-1).numpy()


@functools.lru_cache(maxsize=1)
def simulated_signals(wanted: InputFormat) -> np.ndarray:
    """Simulated ECGs as a model reads them, the same at each call: (PANEL_SIZE, leads, samples) float16."""
    from dbeta.simulation.simulation import RATE, simulate

    simulated = simulate(0, range(FIRST_RECORD, FIRST_RECORD + PANEL_SIZE)).signals.cpu().numpy()
    if wanted == InputFormat(round(RATE), simulated.shape[2]):
        return simulated.astype(np.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)  # simulated recording errors
        return np.stack([prepare_signal(ECG(one, RATE, LEADS), wanted).astype(np.float16) for one in simulated])


def _read(file: Path, shape: tuple[int, int]) -> np.ndarray | None:
    try:
        found = load_file(file)["ecg_embeds"].astype(np.float32)
    except Exception:  # missing or damaged
        return None
    return found if found.shape == shape and np.isfinite(found).all() else None


def _write(file: Path, embeds: np.ndarray) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written is none
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            save_file({"ecg_embeds": embeds.astype(np.float16)}, partial)
