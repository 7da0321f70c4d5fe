"""Keeps the module names of version 0.1.0 importable for one release, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

#: Old module → new module, each within `dbeta`.
MOVED = {
    "checkpoint": "checkpoints.read",
    "features": "integrations.sklearn",
    "lead_checks": "signal.lead_checks",
    "pipeline": "integrations.pipeline",
    "plotting": "report.plot",
    "processing": "model.processor",
    "quality": "signal.quality",
    "reading": "io.read",
    "search": "inference.search",
    "workers": "utils.workers",
    "evaluation.conditions": "conditions.registry",
    "corpus.simulate": "simulation",
    "corpus.simulate.batched": "simulation.batched",
    "corpus.simulate.build": "corpus.simulated",
    "corpus.simulate.coronary": "simulation.coronary",
    "corpus.simulate.delineate": "simulation.delineate",
    "corpus.simulate.diseases": "simulation.diseases",
    "corpus.simulate.draws": "simulation.draws",
    "corpus.simulate.findings": "simulation.findings",
    "corpus.simulate.heart": "simulation.heart",
    "corpus.simulate.measures": "simulation.measures",
    "corpus.simulate.patients": "simulation.patients",
    "corpus.simulate.recording": "simulation.recording",
    "corpus.simulate.render": "simulation.render",
    "corpus.simulate.reports": "simulation.reports",
    "corpus.simulate.rhythm": "simulation.rhythm",
    "corpus.simulate.rows": "simulation.dataset",
    "corpus.simulate.signs": "simulation.signs",
    "corpus.simulate.simulation": "simulation.simulation",
    "corpus.simulate.torso": "simulation.torso",
    "corpus.simulate.waves": "simulation.waves",
}
#: Names that went to another module than the rest of theirs.
MOVED_NAMES = {
    ("checkpoint", "load"): "inference.load",
    ("checkpoint", "save_text_embeddings"): "checkpoints.text_embeddings",
    ("search", "write_index"): "archive.index",
}


#: Packages that had a module which moved out of them. Python does not import them for what is in `sys.modules`.
PARENTS = ("corpus", "evaluation")


def old_child(package: str, name: str) -> ModuleType:
    """Find an old module by its dotted path, as in `dbeta.evaluation.conditions`; the `__getattr__` of `PARENTS`.

    Raises:
        AttributeError: there was none of that name.
    """
    try:
        return sys.modules[f"{package}.{name}"]
    except KeyError:
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from None


class _MovedModule(ModuleType):
    """Stands in `sys.modules` for an old module, and imports names from the new one when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of the import system, not of a user
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in sys.modules:
            return sys.modules[f"{self.__name__}.{name}"]
        old = self.__name__.removeprefix("dbeta.")
        new = f"dbeta.{MOVED_NAMES.get((old, name), MOVED[old])}"
        try:
            value = getattr(importlib.import_module(new), name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has moved to {new!r}, which has no {name!r}") from None
        message = f"{self.__name__}.{name} has moved to {new}.{name}; the old name will be removed in the next release"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return value


def keep_old_names() -> None:
    """Make the old module names importable; imports nothing."""
    for old in MOVED:
        sys.modules.setdefault(f"dbeta.{old}", _MovedModule(f"dbeta.{old}"))
