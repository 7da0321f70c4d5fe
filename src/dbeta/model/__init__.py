"""The network itself: configuration, encoders, fusion, heads, losses."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dbeta.model.config import DBetaConfig

if TYPE_CHECKING:
    from dbeta.model.modeling import DBetaModel, DBetaOutput

__all__ = ["DBetaConfig", "DBetaModel", "DBetaOutput"]


def __getattr__(name: str) -> Any:
    """Import the full model on first access: importing `PreTrainedModel` takes seconds, and the encoders do without."""
    if name not in __all__:
        raise AttributeError(f"module 'dbeta.model' has no attribute {name!r}")
    return getattr(importlib.import_module("dbeta.model.modeling"), name)
