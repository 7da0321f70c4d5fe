"""Registers dbeta with transformers' Auto classes, so that `AutoModel` and the others load its checkpoints.

Plain registration at `import dbeta` would import transformers' Auto modules and with them torch, which the commands
that only read ECGs do not need. Instead an import hook registers the classes once transformers' tables are imported,
as stand-ins that import the real classes on first use. Seconds of wall time on 2 busy cores, median of 5 runs:

    with the hook          import dbeta  0.3    dbeta --help  1.1    dbeta info FILE  2.3
    plain registration     import dbeta 15.3    dbeta --help 15.2    dbeta info FILE 15.7

measured with `time python -c "import dbeta"` and, for plain registration, `time python -c "from transformers import
MODEL_MAPPING, PROCESSOR_MAPPING; from dbeta import DBetaModel, DBetaProcessor"`; for the commands, followed by
`from dbeta.cli import main; main()`.
"""

from __future__ import annotations

import copyreg
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_AUTO = "transformers.models.auto"
_CONFIG = "dbeta.model.config"

#: Table of transformers, the module that defines it, and the class to register. The processor serves as feature
#: extractor, too.
_TABLES = (
    ("CONFIG_MAPPING", f"{_AUTO}.configuration_auto", "DBetaConfig"),
    ("MODEL_MAPPING", f"{_AUTO}.modeling_auto", "DBetaModel"),
    ("PROCESSOR_MAPPING", f"{_AUTO}.processing_auto", "DBetaProcessor"),
    ("FEATURE_EXTRACTOR_MAPPING", f"{_AUTO}.feature_extraction_auto", "DBetaProcessor"),
)
#: Modules whose import makes a registration possible.
_WATCHED = {module for _, module, _ in _TABLES} | {_CONFIG}


def _public_class(name: str) -> Any:
    return getattr(importlib.import_module("dbeta"), name)


class _StandIn(type):
    """Type of a class that stands for the public class of its name, and imports that on first use."""

    def __getattr__(cls, name: str) -> Any:
        return getattr(_public_class(cls.__name__), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _public_class(cls.__name__)(*args, **kwargs)


# transformers' tables can be pickled: a stand-in is pickled as the class itself
copyreg.pickle(_StandIn, lambda cls: (_public_class, (cls.__name__,)))


def register() -> None:
    """Register dbeta in those tables of transformers that are imported, and in the others once they are."""
    if _RegisterAfterImport not in sys.meta_path:
        sys.meta_path.insert(0, _RegisterAfterImport)
    for table_name, module, class_name in _TABLES:
        if module not in sys.modules:
            continue
        table = getattr(importlib.import_module(module), table_name, None)  # waits if another thread is importing it
        key: Any = "dbeta"
        if table_name == "MODEL_MAPPING":
            # Its key is the configuration class, which cannot be imported here: T5Config may be half imported
            key = getattr(sys.modules.get(_CONFIG), "DBetaConfig", None)
        if table is not None and key is not None:
            table.register(key, _StandIn(class_name, (), {"__module__": "dbeta"}), exist_ok=True)


class _RegisterAfterImport:
    """Import hook that finds the watched modules as Python does, and calls `register` once they are imported."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _WATCHED else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            register()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
