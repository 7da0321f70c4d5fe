"""Interface that training uses for stored and simulated records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dbeta.corpus.store import CorpusRows
from dbeta.simulation.dataset import SimulatedRows
from dbeta.training.recipe import SIMULATED, Recipe


class TrainingRows(Protocol):
    """Training records of one source (`CorpusRows`, `SimulatedRows`)."""

    @property
    def source(self) -> str:
        """Name of the dataset, for `DBetaConfig.trained_on`."""

    @property
    def folder(self) -> Path | None:
        """Folder of the corpus and its table of negatives; None if it is not stored."""

    @property
    def vocabulary(self) -> list[str]:
        """Findings annotated in this source."""

    def __len__(self) -> int:
        """Number of records."""

    def __getitem__(self, wanted: Sequence[int]) -> dict[str, list[Any]]:
        """Return the columns of some rows, as described in `dbeta.corpus.store`."""

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """Texts to train a tokenizer on, and the findings of each record."""

    def sample(self, count: int) -> Sequence[int]:
        """At most `count` rows that are representative of all."""

    def validation(self) -> Any:
        """The source's validation records as a `datasets.Dataset`, or None."""

    def describe(self) -> str:
        """Describe the source in one line of the model card."""


def open_rows(recipe: Recipe, name: str) -> TrainingRows:
    """Open one of a recipe's corpora.

    Raises:
        DBetaError: the folder is not a corpus, or the simulation's settings are out of range.
    """
    if name == SIMULATED:
        wanted = recipe.simulation
        waves = recipe.collator.uses_waves
        return SimulatedRows(wanted.records, wanted.seed, wanted.mix, wanted.untold, wanted.validation, waves)
    return CorpusRows.of_folder(Path(name))
