"""The four losses of pretraining, each a plain function of tensors (paper section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Label of a text token that MLM does not predict (the convention of `torch.nn.functional.cross_entropy`).
IGNORED = -100


def mlm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the replaced text tokens.

    Args:
        logits: (B, T, V).
        labels: (B, T) int64, −100 where nothing was replaced.

    Returns:
        Scalar; 0 where no token of the batch was replaced.
    """
    if not (labels != IGNORED).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED)


def mem_targets(ecg: Tensor, n_tokens: int, samples_per_token: int) -> Tensor:
    """What MEM predicts: the signal, standardised per lead over the tokenised samples (unbiased variance, eps 1e-6).

    Args:
        ecg: (B, leads, samples).
        n_tokens: tokens of a recording; samples after the last whole token have no target.
        samples_per_token: samples of a token.

    Returns:
        (B, tokens, leads, samples per token)
    """
    x = ecg[..., : n_tokens * samples_per_token]
    x = (x - x.mean(dim=-1, keepdim=True)) / (x.var(dim=-1, keepdim=True) + 1e-6).sqrt()
    return x.unflatten(-1, (n_tokens, samples_per_token)).transpose(1, 2)


def token_mask(ids_restore: Tensor, n_kept: int) -> Tensor:
    """Which tokens masking hides: (B, tokens) bool, True where hidden."""
    return ids_restore >= n_kept


def mem_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the hidden tokens.

    Args:
        prediction: (B, tokens, leads, samples per token).
        target: the same shape.
        mask: (B, tokens) bool, True where hidden.

    Returns:
        Scalar; 0 where nothing is hidden.
    """
    error = (prediction.float() - target.float()).square().mean(dim=(-2, -1))  # (B, tokens)
    weight = mask.to(error.dtype)
    return (error * weight).sum() / weight.sum().clamp(min=1)


def etm_loss(logits: Tensor, aligned: Tensor) -> Tensor:
    """Cross-entropy of (misaligned, aligned) logits (B, 2) against `aligned` (B,)."""
    return F.cross_entropy(logits.float(), aligned.long())


def ets_labels(aligned: Tensor, text_ids: Tensor | None = None) -> Tensor:
    """The sign of every ECG-text pair of a batch.

    +1 on the diagonal where the pair is aligned, −1 elsewhere. Two texts with the same id are the same text: then
    record i goes with text j as it goes with text i, so the pair takes row i's sign instead of a false −1.

    Args:
        aligned: (B,) bool or int, whether text i belongs to ECG i.
        text_ids: (B,) int, equal where texts are equal; None: all differ.

    Returns:
        (B, B) float32 of +1 and −1; rows are ECGs, columns are texts.
    """
    sign = aligned.float() * 2 - 1  # (B,)
    same = torch.eye(len(aligned), dtype=torch.bool, device=aligned.device)
    if text_ids is not None:
        same |= text_ids[:, None] == text_ids[None, :]
    return torch.where(same, sign[:, None], torch.full_like(sign, -1.0)[:, None])


def ets_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid loss of the ECG-text similarities: −mean log σ(y·s) over the pairs whose label is not 0.

    Args:
        logits: (B, B) similarities, rows ECGs, columns texts.
        labels: (B, B) of +1, −1, or 0 where the pair says nothing.
    """
    weight = (labels != 0).float()
    loss = F.softplus(-labels * logits.float()) * weight
    return loss.sum() / weight.sum().clamp(min=1)
