"""The doors of transformers: after `import dbeta`, `AutoConfig`, `AutoModel` and `AutoProcessor` know what "dbeta" is.

Special here: nothing is imported for it, neither transformers by `import dbeta` nor torch by whoever only wants
`AutoTokenizer`. Each table of transformers gets its entry once its module has been imported, by whomever, and the
entry is a stand-in that loads the class when it is used.
"""

from __future__ import annotations

import copyreg
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_AUTO = "transformers.models.auto"
_OUR_CONFIG = "dbeta.model.config"


def _find(name: str) -> Any:
    return getattr(importlib.import_module("dbeta"), name)


class _Later(type):
    """A class that stands for the public class of its name, and imports it when asked for anything."""

    def __getattr__(cls, name: str) -> Any:
        return getattr(_find(cls.__name__), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _find(cls.__name__)(*args, **kwargs)


# transformers' tables can be pickled, and stay so: the stand-in is pickled as the class itself
copyreg.pickle(_Later, lambda cls: (_find, (cls.__name__,)))


def _stand_in(name: str) -> type:
    return _Later(name, (), {"__module__": "dbeta"})


def _register_config(module: ModuleType) -> None:
    module.CONFIG_MAPPING.register("dbeta", _stand_in("DBetaConfig"), exist_ok=True)


def _register_model(_: ModuleType) -> None:
    # The key is the class itself, and importing it here could meet T5Config half imported, so the later of the two acts
    config = getattr(sys.modules.get(_OUR_CONFIG), "DBetaConfig", None)
    models = getattr(sys.modules.get(f"{_AUTO}.modeling_auto"), "MODEL_MAPPING", None)
    if config is not None and models is not None:
        models.register(config, _stand_in("DBetaModel"), exist_ok=True)


# Both are looked up by the class name in preprocessor_config.json, so the key only has to be there


def _register_processor(module: ModuleType) -> None:
    module.PROCESSOR_MAPPING.register("dbeta", _stand_in("DBetaProcessor"), exist_ok=True)


def _register_feature_extractor(module: ModuleType) -> None:
    module.FEATURE_EXTRACTOR_MAPPING.register("dbeta", _stand_in("DBetaProcessor"), exist_ok=True)


#: What is to be done after which module.
_AFTER: dict[str, Callable[[ModuleType], None]] = {
    f"{_AUTO}.configuration_auto": _register_config,
    f"{_AUTO}.modeling_auto": _register_model,
    f"{_AUTO}.processing_auto": _register_processor,
    f"{_AUTO}.feature_extraction_auto": _register_feature_extractor,
    _OUR_CONFIG: _register_model,
}


class _Doorman:
    """Finds those modules as Python does, and has their registration done right after they have been imported."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        register = _AFTER.get(name)
        spec = None if register is None else PathFinder.find_spec(name, path, target)
        if register is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            register(module)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def open_doors() -> None:
    """Register the classes: now in what is imported already, else when it is. Doing it twice does no harm."""
    if _Doorman not in sys.meta_path:
        sys.meta_path.insert(0, _Doorman)
    for name, register in _AFTER.items():
        if name in sys.modules:
            register(importlib.import_module(name))  # waits where another thread is still at it
