"""Zero-shot AUROC on the validation split while a model is being trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize

from dbeta.corpus.store import decode_signal
from dbeta.inference import DBeta
from dbeta.model import DBetaModel
from dbeta.model.parallel import rank, world_size
from dbeta.processing import DBetaProcessor

#: A validation finding with fewer positives than this says more about chance than about the model.
FEWEST_POSITIVES = 10


def embed_corpus(model: DBetaModel, processor: DBetaProcessor, corpus: Any, batch_size: int = 64) -> Tensor:
    """Embeddings of a corpus's recordings, unit length: (n, D) float32 on the CPU; processes share the work."""
    mine = range(rank(), len(corpus), world_size())
    with evaluating(model, processor, batch_size) as dbeta:
        embeds = dbeta.embed(decode_signal(corpus[i]) for i in mine)
    if world_size() > 1:
        whole = np.empty((len(corpus), embeds.shape[1]), np.float32)
        for first, part in enumerate(gather_object([embeds])):
            whole[first :: world_size()] = part
        embeds = whole
    return normalize(torch.from_numpy(embeds), dim=-1)


@contextmanager
def evaluating(model: DBetaModel, processor: DBetaProcessor, batch_size: int = 64) -> Iterator[DBeta]:
    """The model as inference uses it, put back into training afterwards if it was."""
    was_training = model.training
    try:
        yield DBeta(model, processor, batch_size=batch_size)
    finally:
        model.train(was_training)


def common_findings(corpus: Any) -> list[str]:
    """The findings of a corpus that at least `FEWEST_POSITIVES` records have, and as many have not."""
    counts = Counter(finding for row in corpus["findings"][:] for finding in set(row))
    return sorted(name for name, n in counts.items() if FEWEST_POSITIVES <= n <= len(corpus) - FEWEST_POSITIVES)


def zero_shot_auroc(model: DBetaModel, processor: DBetaProcessor, corpus: Any) -> float:
    """Macro AUROC over the findings of a corpus, each finding's phrase as the prompt; NaN where there are none.

    Records for which a finding is undecided are left out of its figure.
    """
    findings = [set(row) for row in corpus["findings"][:]]
    unknown = [set(row) for row in corpus["unknown"][:]]
    names = common_findings(corpus)
    if not names:
        return float("nan")
    embeds = embed_corpus(model, processor, corpus)
    with evaluating(model, processor) as dbeta:
        prompts = normalize(torch.from_numpy(dbeta.embed_text(names)), dim=-1)
    scores = (embeds @ prompts.T).numpy()
    figures = []
    for name, column in zip(names, scores.T, strict=True):
        decided = np.array([name not in one for one in unknown])
        labels = np.array([name in one for one in findings])[decided]
        if 0 < labels.sum() < len(labels):
            figures.append(roc_auc_score(labels, column[decided]))
    return float(np.mean(figures)) if figures else float("nan")
