"""Loads the data of a training run: training rows, validation records, tables of negatives, the panel's records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dbeta.conditions.wordings import wordings
from dbeta.corpus.negatives import Negatives
from dbeta.errors import DBetaError
from dbeta.training.recipe import Recipe
from dbeta.training.rows import TrainingRows, open_rows
from dbeta.training.statements import taught_texts
from dbeta.training.validation import Validation

#: Number of training records in the reference panel, which percentiles are computed from.
PANEL_SIZE = 4096


@dataclass
class Data:
    """The data of a training run.

    Attributes:
        training: the training records of each corpus that have a report or findings.
        weights: sampling weight of each corpus.
        validation: the validation records.
        decided: the findings annotated in each corpus.
        negatives: each corpus's table of farthest reports, if the recipe uses it.
        taught: texts of single statements that a tokenizer should know, if the recipe asks for them.
    """

    training: list[TrainingRows]
    weights: list[float]
    validation: Validation
    decided: list[list[str]]
    negatives: list[Negatives] | None
    taught: Sequence[str] = ()

    @property
    def records(self) -> int:
        """Number of training records in all corpora."""
        return sum(map(len, self.training))

    def texts(self) -> list[str]:
        """Texts to train a tokenizer on: reports, findings as often as they occur, and all their wordings."""
        reports: list[str] = []
        stated: list[str] = []
        for rows in self.training:
            texts, findings = rows.texts()
            reports += texts
            stated += [one for row in findings for one in row]
        return [
            *reports,
            *stated,
            *(words for finding in sorted(set(stated)) for words in wordings(finding)),
            *self.taught,
        ]


def load_data(recipe: Recipe) -> Data:
    """Load the corpora of a recipe.

    Raises:
        DBetaError: a corpus is missing or has no text or findings, or there is no validation split or no table of
            negatives.
    """
    opened = {name: open_rows(recipe, name) for name in recipe.corpora}
    tables = []
    for name, rows in opened.items():
        if not len(rows):
            raise DBetaError(f"{name}: no training record has a report or findings to learn from")
        if recipe.negatives == "n3s":
            if rows.folder is None:
                raise DBetaError(
                    f"{recipe.where}: ECGs simulated on demand have no table of negatives; set negatives to batch, or "
                    "simulate a corpus with `dbeta corpus simulate` and name its folder"
                )
            tables.append(Negatives.load(rows.folder))
    validation = []
    for name in [recipe.validation] if recipe.validation else recipe.corpora:
        rows = opened.get(name) or open_rows(recipe, name)
        records = rows.validation()
        if records is not None:
            validation.append((records, rows.vocabulary))
    if not validation:
        raise DBetaError(
            f"{recipe.validation or ', '.join(recipe.corpora)}: no records in split 'validation'; name "
            "a corpus that has some, as in --set validation=runs/corpus/ptb-xl"
        )
    training = list(opened.values())
    decided = [rows.vocabulary for rows in training]
    taught = taught_texts() if recipe.collator.uses_waves else ()
    return Data(training, list(recipe.corpora.values()), Validation.of(validation), decided, tables or None, taught)


class Panel:
    """Training records for the reference panel, taken evenly from all corpora; read or simulated batch by batch.

    Args:
        training: the corpora.
    """

    def __init__(self, training: Sequence[TrainingRows]) -> None:
        """Choose the records."""
        share = max(1, PANEL_SIZE // len(training))
        self.places = [(rows, int(i)) for rows in training for i in rows.sample(share)]

    def __len__(self) -> int:
        """Number of records."""
        return len(self.places)

    def __getitems__(self, wanted: Sequence[int]) -> list[dict[str, Any]]:
        """Return some of the rows, in ascending order."""
        found: list[dict[str, Any]] = []
        places = [self.places[i] for i in wanted]
        for rows in dict.fromkeys(rows for rows, _ in places):
            columns = rows[[i for other, i in places if other is rows]]
            found += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return found
