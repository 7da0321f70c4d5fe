"""The benchmarks that `dbeta evaluate` knows: what loads each, and the dataset that it is made from.

Imports no loader, so that the command line can list the names without importing pandas.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A benchmark.

    Attributes:
        module: of `dbeta.evaluation.benchmarks`.
        function: in that module, from the dataset's folder to a `Benchmark`.
        dataset: the dataset that its recordings come from, as in `DBetaConfig.trained_on`, so that reports can tell
            models that were pretrained on it.
        included_in: other datasets that include these recordings.
        options: further arguments of the function.
        official_folds: whether the function takes `fold` and `subset_ok`.
    """

    module: str
    function: str
    dataset: str
    included_in: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    official_folds: bool = False

    @property
    def load(self) -> Callable[..., Any]:
        """The function that loads the benchmark."""
        return getattr(importlib.import_module(f"dbeta.evaluation.benchmarks.{self.module}"), self.function)


def _ptb_xl(task: str) -> Entry:
    return Entry("ptb_xl", "load_ptb_xl", "ptb-xl", ("challenge-2021",), {"task": task}, official_folds=True)


#: Name on the command line → benchmark.
BENCHMARKS: dict[str, Entry] = {
    "ptb-xl-super": _ptb_xl("super"),
    "ptb-xl-sub": _ptb_xl("sub"),
    "ptb-xl-form": _ptb_xl("form"),
    "ptb-xl-rhythm": _ptb_xl("rhythm"),
    "ptb-xl-all": _ptb_xl("all"),
    "cpsc2018": Entry("cpsc2018_csn", "load_cpsc2018", "cpsc2018", ("challenge-2021",)),
    "csn": Entry("cpsc2018_csn", "load_csn", "csn", ("challenge-2021",)),
    "code-test": Entry("code", "load_code_test", "code-test"),
    "code-15": Entry("code", "load_code_15", "code-15"),
    "code-15-demographics": Entry("code", "load_code_15_demographics", "code-15"),
    "challenge-2021": Entry("challenge_2021", "load_challenge_2021", "challenge-2021"),
}
#: Name of the benchmark made from any built corpus.
CORPUS = "corpus"
