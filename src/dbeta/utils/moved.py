"""Keeps old module names importable for one release, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

# These modules lie above `utils`, but the layers hold, since nothing here depends on them: a module is loaded by name
# only when a user asks for an old name, which is then forwarded to it.
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
#: Names that moved to a different module than the rest of their old module.
MOVED_NAMES = {
    ("checkpoint", "load"): "inference.load",
    ("checkpoint", "save_text_embeddings"): "checkpoints.text_embeddings",
    ("search", "write_index"): "archive.index",
}


#: Packages that modules have moved out of. Python does not import them for modules that are in `sys.modules` already.
PARENTS = ("corpus", "evaluation")


def old_child(package: str, name: str) -> ModuleType:
    """Find an old module by its dotted path, such as `dbeta.evaluation.conditions`; the `__getattr__` of `PARENTS`.

    Raises:
        AttributeError: there was no module of that name.
    """
    try:
        return sys.modules[f"{package}.{name}"]
    except KeyError:
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from None


class _MovedModule(ModuleType):
    """Stand-in for an old module in `sys.modules`; imports names from the new module on access."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":  # asked for by `from … import *`
            return self._public_names()
        if name.startswith("__"):  # asked for by the import system, not by a user
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

    def _public_names(self) -> list[str]:
        """Names that the new module defines, and those that moved elsewhere."""
        old = self.__name__.removeprefix("dbeta.")
        new = importlib.import_module(f"dbeta.{MOVED[old]}")
        own = {
            name
            for name, value in vars(new).items()
            if not name.startswith("_")
            and not isinstance(value, ModuleType)
            and getattr(value, "__module__", new.__name__) == new.__name__
        }
        return sorted(own | {name for module, name in MOVED_NAMES if module == old})


def keep_old_names() -> None:
    """Make the old module names importable, without importing anything."""
    for old in MOVED:
        sys.modules.setdefault(f"dbeta.{old}", _MovedModule(f"dbeta.{old}"))
