"""Zero-shot AUROC on the validation split during training."""

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

#: Findings with fewer positives are left out, since their AUROC would be mostly chance.
FEWEST_POSITIVES = 10


def embed_corpus(model: DBetaModel, processor: DBetaProcessor, corpus: Any, batch_size: int = 64) -> Tensor:
    """Embed recordings; with several processes, the work is shared.

    Args:
        model: the model; in evaluation mode for the duration of the call.
        processor: the model's processor.
        corpus: rows, a `datasets.Dataset` or another sequence with `__getitems__`.
        batch_size: recordings per batch.

    Returns:
        (n, D) float32 of unit length, on the CPU.
    """
    mine = range(rank(), len(corpus), world_size())
    embeds = np.zeros((len(mine), model.config.hidden_size), np.float32)
    with evaluating(model), warnings.catch_warnings():
        # Unusual recordings were reported when the corpus was built
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
    """Put the model in evaluation mode, and restore its former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@dataclass
class Validation:
    """Records that a model is evaluated on during training.

    Attributes:
        corpus: the rows.
        findings: findings present in each row.
        decided: findings annotated as present or absent in each row.
    """

    corpus: Any
    findings: list[frozenset[str]]
    decided: list[frozenset[str]]

    @classmethod
    def of(cls, corpora: Sequence[tuple[Any, Iterable[str]]]) -> Validation:
        """Combine several datasets of corpus rows, each with the findings annotated in its corpus."""
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
        """Whether each record has a finding, and whether it is annotated: two (n,) bool."""
        has = np.array([finding in row for row in self.findings])
        return has, has | np.array([finding in row for row in self.decided])

    @property
    def common(self) -> list[str]:
        """Findings known to be present in at least `FEWEST_POSITIVES` records and absent in as many."""
        found = []
        for name in sorted(frozenset().union(*self.findings)):
            has, decided = self.labels(name)
            if has.sum() >= FEWEST_POSITIVES and (decided & ~has).sum() >= FEWEST_POSITIVES:
                found.append(name)
        return found


def zero_shot_auroc(model: DBetaModel, processor: DBetaProcessor, validation: Validation) -> float:
    """Macro AUROC over the common findings, with each finding's name as the prompt; NaN if there are none.

    Records without an annotation of a finding are left out of its AUROC.
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
