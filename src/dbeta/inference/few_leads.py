"""Recordings that lack leads: percentiles among ECGs that lack the same ones, and findings that cannot be read.

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
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from dbeta.conditions.registry import find_condition
from dbeta.ecg import ECG, LEADS, LIMB_LEADS
from dbeta.errors import DBetaWarning
from dbeta.signal.preprocess import InputFormat, prepare_signal
from dbeta.utils.files import replacing

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta

#: Simulated ECGs of a panel, and where they begin: far behind those that a model is trained on.
PANEL_SIZE, FIRST_RECORD = 256, 10**9
BATCH = 64

#: Leads of findings that the table of the simulator (`dbeta.simulation.finding_table`) does not name or leaves open,
#: since it knows the cause, which a reader does not.
NEEDED = {
    "ventricular aneurysm": ("V1", "V2", "V3", "V4"),
    "early repolarization": ("V2", "V3", "V4", "V5", "V6"),
    "acute pericarditis": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    "hypertrophy": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    "non-specific st-t changes": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    "st/t change": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    "ischemic st-t changes": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
}


def needed_leads(condition: str) -> tuple[str, ...]:
    """The leads in which a condition is looked for; () for one that any lead shows, or that is unknown."""
    from dbeta.simulation.finding_table import TABLE

    known = find_condition(condition)
    name = (known.name if known is not None else condition).lower()
    return NEEDED.get(name) or (TABLE[name].leads if name in TABLE else ())


def can_show(needed: tuple[str, ...], present: frozenset[str]) -> bool:
    """Whether a recording can show a finding, or that it is absent.

    It can if it has all limb leads that are needed and more than half of the chest leads: one electrode that fell off
    does not hide a large infarction, a single lead does.

    Args:
        needed: see `needed_leads`.
        present: leads of the recording that carry a signal.
    """
    limbs = [lead for lead in needed if lead in LIMB_LEADS]
    chest = [lead for lead in needed if lead not in LIMB_LEADS]
    return present.issuperset(limbs) and (not chest or len(present.intersection(chest)) > len(chest) / 2)


class LeadPanels:
    """Reference panels for sets of leads.

    Args:
        model: embeds them.
        cache: folder in which they are kept; None for the user's cache folder.
    """

    def __init__(self, model: DBeta, cache: Path | None = None) -> None:
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
            embeds.append(self.model.embed_signals(batch))
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
