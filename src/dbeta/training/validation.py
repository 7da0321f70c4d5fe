"""Zero-shot AUROC on the validation split while a model is being trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import concatenate_datasets
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize

from dbeta.corpus.store import decode_signal
from dbeta.errors import DBetaWarning
from dbeta.model import DBetaModel
from dbeta.model.distributed import rank, world_size
from dbeta.model.embed import embed_signals, embed_texts
from dbeta.model.processor import DBetaProcessor

#: Validation findings with fewer positives say more about chance than about the model.
FEWEST_POSITIVES = 10


def embed_corpus(model: DBetaModel, processor: DBetaProcessor, corpus: Any, batch_size: int = 64) -> Tensor:
    """Embed recordings; processes share the work.

    Args:
        model: put into evaluation mode meanwhile.
        processor: the model's.
        corpus: rows, a `datasets.Dataset` or another sequence with `__getitems__`.
        batch_size: recordings at a time.

    Returns:
        (n, D) float32 of unit length, on the CPU.
    """
    mine = range(rank(), len(corpus), world_size())
    embeds = np.zeros((len(mine), model.config.hidden_size), np.float32)
    with evaluating(model), warnings.catch_warnings():
        # Odd recordings were reported when the corpus was built
        warnings.simplefilter("ignore", DBetaWarning)
        for start in range(0, len(mine), batch_size):
            rows = mine[start : start + batch_size]
            signals = [processor.signal(decode_signal(row)) for row in corpus.__getitems__(list(rows))]
            embeds[start : start + len(rows)] = embed_signals(model, signals)
    if world_size() > 1:
        whole = np.empty((len(corpus), embeds.shape[1]), np.float32)
        for first, part in enumerate(gather_object([embeds])):
            whole[first :: world_size()] = part
        embeds = whole
    return normalize(torch.from_numpy(embeds), dim=-1)


@contextmanager
def evaluating(model: DBetaModel) -> Iterator[None]:
    """The model in evaluation mode, restored to its former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@dataclass
class Validation:
    """Records that a model is measured on while it is being trained.

    Attributes:
        corpus: the rows.
        findings: of each row, those that hold.
        decided: of each row, those of which somebody decided whether they hold.
    """

    corpus: Any
    findings: list[frozenset[str]]
    decided: list[frozenset[str]]

    @classmethod
    def of(cls, corpora: Sequence[tuple[Any, Iterable[str]]]) -> Validation:
        """Several datasets of corpus rows together, each with the findings that its corpus decides."""
        findings, decided = [], []
        for corpus, vocabulary in corpora:
            known = frozenset(vocabulary)
            findings += [frozenset(row) for row in corpus["findings"][:]]
            decided += [known - frozenset(row) for row in corpus["unknown"][:]]
        return cls(concatenate_datasets([corpus for corpus, _ in corpora]), findings, decided)

    def __len__(self) -> int:
        """Records."""
        return len(self.corpus)

    def labels(self, finding: str) -> tuple[np.ndarray, np.ndarray]:
        """Whether each record has a finding, and whether anybody decided: two (n,) bool."""
        has = np.array([finding in row for row in self.findings])
        return has, has | np.array([finding in row for row in self.decided])

    @property
    def common(self) -> list[str]:
        """The findings that at least `FEWEST_POSITIVES` records have, and as many are known not to have."""
        found = []
        for name in sorted(frozenset().union(*self.findings)):
            has, decided = self.labels(name)
            if has.sum() >= FEWEST_POSITIVES and (decided & ~has).sum() >= FEWEST_POSITIVES:
                found.append(name)
        return found


def zero_shot_auroc(model: DBetaModel, processor: DBetaProcessor, validation: Validation) -> float:
    """Macro AUROC over the common findings, each finding's phrase as the prompt; NaN where there are none.

    Records for which a finding is undecided are left out of its figure.
    """
    names = validation.common
    if not names:
        return float("nan")
    embeds = embed_corpus(model, processor, validation.corpus)
    with evaluating(model):
        prompts = normalize(torch.from_numpy(embed_texts(model, processor, names, 64)), dim=-1)  # (findings, D)
    scores = (embeds @ prompts.T).numpy()
    figures = []
    for name, column in zip(names, scores.T, strict=True):
        has, decided = validation.labels(name)
        figures.append(roc_auc_score(has[decided], column[decided]))
    return float(np.mean(figures))
