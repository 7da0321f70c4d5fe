"""Inference: embeddings, findings and search with a loaded checkpoint."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta
    from dbeta.inference.findings import to_records

__all__ = ["DBeta", "to_records"]

# Imported on first use: worker processes import `dbeta.inference.loader` and need no torch
_MODULES = {"DBeta": "dbeta.inference.dbeta", "to_records": "dbeta.inference.findings"}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'dbeta.inference' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
