"""What training needs of a source of rows, whether they are stored or simulated."""

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
        """Kind of dataset, for `DBetaConfig.trained_on`."""

    @property
    def folder(self) -> Path | None:
        """Where they and their table of negatives are stored; None where they are not stored."""

    @property
    def vocabulary(self) -> list[str]:
        """The findings that the source decides."""

    def __len__(self) -> int:
        """Number of records."""

    def __getitem__(self, wanted: Sequence[int]) -> dict[str, list[Any]]:
        """Columns of some rows, as `dbeta.corpus.store` describes them."""

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """Texts to train a tokenizer on, and the findings of each record."""

    def sample(self, count: int) -> Sequence[int]:
        """At most `count` rows that stand for all."""

    def validation(self) -> Any:
        """The source's validation records as a `datasets.Dataset`, or None."""

    def describe(self) -> str:
        """One line for the model card."""


def open_rows(recipe: Recipe, name: str) -> TrainingRows:
    """The rows of one of a recipe's corpora.

    Raises:
        DBetaError: the folder is not a corpus, or the simulation's settings are out of range.
    """
    if name == SIMULATED:
        wanted = recipe.simulation
        waves = recipe.collator.uses_waves
        return SimulatedRows(wanted.records, wanted.seed, wanted.mix, wanted.untold, wanted.validation, waves)
    return CorpusRows.of_folder(Path(name))
