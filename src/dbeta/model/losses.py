"""The losses of pretraining, each a plain function of tensors (paper section 3.3), and `LOSSES`, the table of them.

To add a loss, write its function, a row of `LOSSES` and a field of `LossOutput`; weights, the training log and its
picture follow from these. New logits or targets are made in `DBetaModel.forward`.

With several processes, means are taken over the items of all of them (`distributed`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.utils import ModelOutput

from dbeta.model.distributed import mean_over_all, rank

#: Label of a text token that MLM does not predict (the convention of `torch.nn.functional.cross_entropy`).
IGNORED = -100


def mlm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the replaced text tokens.

    Args:
        logits: (B, T, V).
        labels: (B, T) int64, −100 where nothing was replaced.

    Returns:
        Scalar; 0 if the batch has no replaced token.
    """
    total = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return mean_over_all(total, (labels != IGNORED).sum().float())


def mem_targets(ecg: Tensor, n_tokens: int, samples_per_token: int) -> Tensor:
    """MEM targets: the signal, standardised per lead over the tokenised samples (unbiased variance, eps 1e-6).

    Args:
        ecg: (B, leads, samples).
        n_tokens: tokens per recording; samples after the last whole token have no target.
        samples_per_token: samples per token.

    Returns:
        (B, tokens, leads, samples per token)
    """
    x = ecg[..., : n_tokens * samples_per_token]
    x = (x - x.mean(dim=-1, keepdim=True)) / (x.var(dim=-1, keepdim=True) + 1e-6).sqrt()
    return x.unflatten(-1, (n_tokens, samples_per_token)).transpose(1, 2)


def token_mask(ids_restore: Tensor, n_kept: int) -> Tensor:
    """Mask of the hidden tokens: (B, tokens) bool, True where hidden."""
    return ids_restore >= n_kept


def unseen_samples(hidden: Tensor, ecg: Tensor, whole: Tensor, samples_per_token: int) -> Tensor:
    """Samples that the encoder was not shown, in hidden tokens or masked: (B, tokens, leads, samples per token) bool.

    Args:
        hidden: (B, tokens) bool.
        ecg: (B, leads, samples), with 0 where samples are masked.
        whole: the same shape, the recording.
        samples_per_token: samples per token.
    """
    masked = (ecg != whole)[..., : hidden.shape[1] * samples_per_token]
    return masked.unflatten(-1, (-1, samples_per_token)).transpose(1, 2) | hidden[:, :, None, None]


def mem_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over what is hidden.

    Args:
        prediction: (B, tokens, leads, samples per token).
        target: the same shape.
        mask: (B, tokens) bool, True where hidden; or one for each sample, the same shape as `target`.

    Returns:
        Scalar; 0 if nothing is hidden.
    """
    error = (prediction.float() - target.float()).square()
    if mask.ndim < error.ndim:
        error = error.mean(dim=(-2, -1))  # (B, tokens)
    weight = mask.to(error.dtype)
    return mean_over_all((error * weight).sum(), weight.sum())


def etm_loss(logits: Tensor, aligned: Tensor) -> Tensor:
    """Cross-entropy of (misaligned, aligned) logits (B, 2) against `aligned` (B,)."""
    total = F.cross_entropy(logits.float(), aligned.long(), reduction="sum")
    return mean_over_all(total, torch.tensor(float(len(logits)), device=logits.device))


def ets_labels(aligned: Tensor, n_texts: int | None = None) -> Tensor:
    """The sign of every ECG-text pair: +1 where the text is the ECG's own and the pair is aligned, −1 elsewhere.

    Args:
        aligned: (B,) bool or int, whether text i belongs to ECG i.
        n_texts: number of texts; this process's own follow those of the lower ranks. B by default.

    Returns:
        (B, n_texts) float32 of +1 and −1; rows are ECGs, columns are texts.
    """
    n = len(aligned)
    signs = torch.full((n, n_texts or n), -1.0, device=aligned.device)
    at = torch.arange(n, device=aligned.device)
    signs[at, at + rank() * n] = aligned.float() * 2 - 1
    return signs


def ets_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid loss of the ECG-text similarities: −mean log σ(y·s) over the pairs whose label is not 0.

    Args:
        logits: (B, T) similarities, rows ECGs, columns texts.
        labels: (B, T) of +1, −1, or 0 for pairs that are left out.
    """
    weight = (labels != 0).float()
    loss = F.softplus(-labels * logits.float()) * weight
    return mean_over_all(loss.sum(), weight.sum())


class Loss(NamedTuple):
    """A row of `LOSSES`.

    Attributes:
        function: of the logits and the targets, in this order.
        logits: field of the model's output.
        targets: names of what the logits are compared with; without one of them there is no such loss.
        weight: its default weight in the sum.
    """

    function: Callable[..., Tensor]
    logits: str
    targets: tuple[str, ...]
    weight: float = 1.0


#: Name of each loss → how it is computed; `NAME_loss` is its field of the output and its entry of the training log.
LOSSES = {
    "mlm": Loss(mlm_loss, "mlm_logits", ("mlm_labels",)),
    "mem": Loss(mem_loss, "mem_logits", ("mem_target", "mem_hidden")),
    "etm": Loss(etm_loss, "etm_logits", ("aligned",)),
    "ets": Loss(ets_loss, "ets_logits", ("ets_labels",)),
}
#: Their fields of the output.
LOSS_FIELDS = tuple(f"{name}_loss" for name in LOSSES)


@dataclass
class LossOutput(ModelOutput):
    """The losses of a forward pass; a loss is None where its targets were not given.

    Attributes:
        loss: weighted sum of the losses below.
        mlm_loss: masked language modelling.
        mem_loss: masked ECG modelling.
        etm_loss: ECG-text matching.
        ets_loss: ECG-text sigmoid contrast.
    """

    loss: Tensor | None = None
    mlm_loss: Tensor | None = None
    mem_loss: Tensor | None = None
    etm_loss: Tensor | None = None
    ets_loss: Tensor | None = None


def add_losses(out: LossOutput, targets: Mapping[str, Tensor | None], weights: Mapping[str, float]) -> None:
    """Compute every loss whose logits and targets there are, and their weighted sum, into `out`.

    Args:
        out: holds the logits.
        targets: what `LOSSES` names; None where it was not given.
        weights: of each loss in the sum.
    """
    weighted = []
    for name, (function, logits, needed, _) in LOSSES.items():
        parts = [out.get(logits), *(targets.get(one) for one in needed)]
        if all(part is not None for part in parts):
            loss = function(*parts)
            out[f"{name}_loss"] = loss
            weighted.append(weights[name] * loss)
    if weighted:
        out.loss = torch.stack(weighted).sum()
