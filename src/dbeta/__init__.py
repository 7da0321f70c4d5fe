"""D-BETA: an open ECG-text foundation model. Research use only; not a medical device."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dbeta.auto import open_doors
from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError, DBetaWarning

if TYPE_CHECKING:
    from dbeta.checkpoint import load
    from dbeta.features import DBetaTransformer
    from dbeta.inference import DBeta
    from dbeta.model import DBetaConfig, DBetaModel
    from dbeta.pipeline import ECGFeatureExtractionPipeline
    from dbeta.plotting import plot_ecg
    from dbeta.processing import DBetaProcessor
    from dbeta.reading import find_ecgs, read_ecg

__version__ = "0.1.0"

__all__ = [
    "ECG",
    "LEADS",
    "DBeta",
    "DBetaConfig",
    "DBetaError",
    "DBetaModel",
    "DBetaProcessor",
    "DBetaTransformer",
    "DBetaWarning",
    "ECGFeatureExtractionPipeline",
    "find_ecgs",
    "load",
    "plot_ecg",
    "read_ecg",
]

# Found on first use, so that reading or plotting an ECG does not wait for torch.
_ROOMS = {
    "DBeta": "inference",
    "load": "checkpoint",
    "DBetaConfig": "model",
    "DBetaModel": "model",
    "DBetaProcessor": "processing",
    "DBetaTransformer": "features",
    "ECGFeatureExtractionPipeline": "pipeline",
    "plot_ecg": "plotting",
    "find_ecgs": "reading",
    "read_ecg": "reading",
}


open_doors()


def __getattr__(name: str) -> Any:
    """Import a public name from its room."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'dbeta' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dbeta.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
