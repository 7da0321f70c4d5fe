"""`dbeta.load`: loads a checkpoint by name."""

from __future__ import annotations

from pathlib import Path

from dbeta.checkpoints.read import read_checkpoint
from dbeta.inference.dbeta import DBeta


def load(name_or_path: str | Path | None = None, *, device: str | None = None, precision: str = "auto") -> DBeta:
    """Load the parts of a checkpoint that embedding and diagnosing need.

    Args:
        name_or_path: a folder, a hub ID, or a bundled model, "tiny" or "tiny-sim"; None for "tiny".
        device: torch device; None uses a GPU if there is one.
        precision: "float32", "bfloat16", or "auto": bfloat16 if the hardware has matrix units for it, else float32.

    Raises:
        DBetaError: the folder is missing, incomplete or inconsistent, the model cannot be downloaded, or the precision
            is unknown.
    """
    found = read_checkpoint(name_or_path, device=device, precision=precision)
    return DBeta(found.model, found.processor, found.panel, text_embeddings=found.text_embeddings)
