"""What a run learns from: corpora on disk and ECGs that are simulated as they are asked for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from dbeta.conditions.wordings import wordings, write_report
from dbeta.corpus.negatives import Negatives
from dbeta.corpus.store import CorpusRows, load_corpus, read_counts
from dbeta.errors import DBetaError
from dbeta.simulation.dataset import SimulatedRows
from dbeta.training.recipe import SIMULATED, Recipe
from dbeta.training.validation import Validation

#: Recordings of the training split that percentiles are taken among.
PANEL_SIZE = 4096
PANEL_COLUMNS = ["signal", "sampling_rate"]
#: Simulated records whose reports a tokenizer is trained on.
TOKENIZER_SAMPLE = 8192


@dataclass
class Data:
    """What a run learns from.

    Attributes:
        training: the training records of each corpus that have words to learn from.
        weights: share of each in what is drawn.
        validation: the validation split.
        decided: the findings that each corpus decides.
        negatives: each corpus's table of farthest reports, where the recipe asks for it.
    """

    training: list[CorpusRows | SimulatedRows]
    weights: list[float]
    validation: Validation
    decided: list[list[str]]
    negatives: list[Negatives] | None

    @property
    def records(self) -> int:
        """Training records of all corpora."""
        return sum(map(len, self.training))

    def texts(self) -> list[str]:
        """What a tokenizer is trained on: the reports, the findings as often as they are stated, and their wordings."""
        reports, stated = [], []
        for rows in self.training:
            if isinstance(rows, SimulatedRows):
                columns = rows[range(min(len(rows), TOKENIZER_SAMPLE))]
                reports += columns["report"]
                stated += [one for row in columns["findings"] for one in row]
                reports += [write_report(row, random.Random(i)) for i, row in enumerate(columns["findings"]) if row]
            else:
                reports += rows.table.column("report").take(rows.rows).to_pylist()
                stated += [one for row in rows.table.column("findings").take(rows.rows).to_pylist() for one in row]
        return [*reports, *stated, *(words for finding in sorted(set(stated)) for words in wordings(finding))]


def load_data(recipe: Recipe) -> Data:
    """Open a recipe's corpora.

    Raises:
        DBetaError: one is missing, has nothing to learn from, no validation split, or no table of negatives.
    """
    training: list[CorpusRows | SimulatedRows] = []
    decided, tables = [], []
    for name in recipe.corpora:
        if is_simulated(name):
            rows = simulated_rows(recipe)
            training.append(rows)
            decided.append(rows.vocabulary)
            if recipe.negatives == "n3s":
                raise DBetaError(
                    f"{recipe.where}: ECGs simulated on demand have no table of negatives; set negatives to batch, or "
                    " simulate a corpus with `dbeta corpus simulate` and name its folder"
                )
            continue
        path = Path(name)
        counts = read_counts(path)
        corpus = load_corpus(path)
        # Columns by themselves: rows would bring their signals along
        columns = [corpus.data.column(name).to_pylist() for name in ("split", "report", "findings")]
        worded = [i for i, (split, *texts) in enumerate(zip(*columns, strict=True)) if split == "train" and any(texts)]
        if not worded:
            raise DBetaError(f"{path}: no training record has a report or findings to learn from")
        training.append(CorpusRows(corpus, np.array(worded)))
        decided.append(counts["vocabulary"])
        if recipe.negatives == "n3s":
            tables.append(Negatives.load(path))
    validation = []
    for name in [recipe.validation] if recipe.validation else recipe.corpora:
        if is_simulated(name):
            if wanted := recipe.simulation.validation:
                rows = simulated_rows(recipe)
                # Numbers that training never reaches
                further = rows[range(len(rows), len(rows) + wanted)]
                validation.append((rows_dataset(further), rows.vocabulary))
            continue
        path = Path(name)
        counts = read_counts(path)
        if "validation" in counts["splits"]:
            validation.append((load_corpus(path, "validation"), counts["vocabulary"]))
    if not validation:
        raise DBetaError(
            f"{recipe.validation or ', '.join(recipe.corpora)}: has no records in split 'validation'; name "
            "a corpus that has, as in --set validation=runs/corpus/ptb-xl"
        )
    return Data(training, list(recipe.corpora.values()), Validation.of(validation), decided, tables or None)


def is_simulated(corpus: str) -> bool:
    """Whether a recipe's corpus is simulated on demand."""
    return corpus == SIMULATED


def simulated_rows(recipe: Recipe) -> SimulatedRows:
    """What a recipe simulates.

    Raises:
        DBetaError: a setting is out of its range.
    """
    settings = recipe.simulation
    return SimulatedRows(settings.records, settings.seed, settings.mix, settings.untold)


def rows_dataset(columns: dict[str, Any]) -> Any:
    """Columns of simulated rows as a `datasets.Dataset`, in memory."""
    return Dataset.from_dict(columns | {"signal": [bytes(one) for one in columns["signal"]]})


def panel_rows(data: Data) -> Any:
    """Training recordings for the reference panel, evenly from all corpora."""
    share = max(1, PANEL_SIZE // len(data.training))
    parts = []
    for one in data.training:
        if isinstance(one, SimulatedRows):
            parts.append(rows_dataset(one[range(min(share, len(one)))]).select_columns(PANEL_COLUMNS))
        else:
            step = max(1, len(one) // share)
            parts.append(one.corpus.select(one.rows[::step][:share]).select_columns(PANEL_COLUMNS))
    # Kinds of numbers differ between a corpus and rows in memory
    return concatenate_datasets([part.cast(parts[0].features) for part in parts])
