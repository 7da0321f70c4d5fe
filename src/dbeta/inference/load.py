"""`dbeta.load`: a checkpoint by its name → a `DBeta`."""

from __future__ import annotations

from pathlib import Path

from dbeta.checkpoints.read import read_checkpoint
from dbeta.inference.dbeta import DBeta


def load(name_or_path: str | Path | None = None, *, device: str | None = None, precision: str = "auto") -> DBeta:
    """Load a checkpoint, as much of it as embedding needs.

    Args:
        name_or_path: a folder, a hub id, or one of the models that come with the package, "tiny" and "tiny-sim"; None
            for "tiny".
        device: torch device; None chooses a GPU where there is one.
        precision: "auto" is bfloat16 where the processor multiplies matrices in it, else float32; either can be
            chosen by name.

    Raises:
        DBetaError: the folder is missing or incomplete, its files do not belong together, the hub cannot be reached
            or does not give the model, or the precision is unknown.
    """
    found = read_checkpoint(name_or_path, device=device, precision=precision)
    return DBeta(found.model, found.processor, found.panel, text_embeddings=found.text_embeddings)
