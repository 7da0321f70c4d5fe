"""The four losses of pretraining, each a plain function of tensors (paper section 3.3).

With several processes, means are taken over the items of all of them (`distributed`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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


def mem_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the hidden tokens.

    Args:
        prediction: (B, tokens, leads, samples per token).
        target: the same shape.
        mask: (B, tokens) bool, True where hidden.

    Returns:
        Scalar; 0 if nothing is hidden.
    """
    error = (prediction.float() - target.float()).square().mean(dim=(-2, -1))  # (B, tokens)
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
