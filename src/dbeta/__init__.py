"""D-BETA: an open ECG-text foundation model. Research use only; not a medical device."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.integrations.auto_classes import register as _register_auto_classes
from dbeta.utils.moved import PARENTS as _PARENTS
from dbeta.utils.moved import keep_old_names as _keep_old_names

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta
    from dbeta.inference.load import load
    from dbeta.integrations.pipeline import ECGFeatureExtractionPipeline
    from dbeta.integrations.sklearn import DBetaTransformer
    from dbeta.io.read import find_ecgs, read_ecg
    from dbeta.model import DBetaConfig, DBetaModel
    from dbeta.model.processor import DBetaProcessor
    from dbeta.report.plot import plot_ecg

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

# Imported on first use, so that reading or plotting an ECG does not import torch.
_MODULES = {
    "DBeta": "inference.dbeta",
    "load": "inference.load",
    "DBetaConfig": "model.config",
    "DBetaModel": "model.modeling",
    "DBetaProcessor": "model.processor",
    "DBetaTransformer": "integrations.sklearn",
    "ECGFeatureExtractionPipeline": "integrations.pipeline",
    "plot_ecg": "report.plot",
    "find_ecgs": "io.read",
    "read_ecg": "io.read",
}


_register_auto_classes()
_keep_old_names()


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _MODULES:
        if f"dbeta.{name}" in sys.modules:  # an old module name (see `dbeta.utils.moved`)
            return sys.modules[f"dbeta.{name}"]
        if name in _PARENTS:
            return importlib.import_module(f"dbeta.{name}")
        raise AttributeError(f"module 'dbeta' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dbeta.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
