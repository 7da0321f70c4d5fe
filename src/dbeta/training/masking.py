"""Random masking for pretraining: leads, ECG tokens and text tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dbeta.model.losses import IGNORED

_LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
#: Sets of leads that are recorded, each as likely: the eight that are measured for twelve, limb leads, three, two, a
#: watch's one; the last, empty one stands for any single lead.
LEAD_SETS: tuple[tuple[str, ...], ...] = (
    ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    _LIMB,
    ("I", "II", "V2"),
    ("I", "II"),
    ("I",),
    (),
)


def hide_leads(leads: int, probability: float, generators: Sequence[np.random.Generator]) -> Tensor:
    """Draw a lead mask: (B, leads) bool, each lead True with this probability; at least one lead stays visible."""
    hidden = np.stack([rng.random(leads) < probability for rng in generators])
    spared = np.array([int(rng.integers(leads)) for rng in generators])
    all_hidden = np.flatnonzero(hidden.all(axis=1))
    hidden[all_hidden, spared[all_hidden]] = False
    return torch.from_numpy(hidden)


def choose_lead_set(names: Sequence[str], probability: float, rng: np.random.Generator) -> frozenset[str] | None:
    """The leads of `LEAD_SETS` that a record is shown in, with this probability; None for all.

    Args:
        names: of the model's leads.
        probability: 0 to 1.
        rng: source of randomness.
    """
    if not probability or rng.random() >= probability:
        return None
    shown = LEAD_SETS[int(rng.integers(len(LEAD_SETS)))] or (str(names[int(rng.integers(len(names)))]),)
    return frozenset(shown).intersection(names) or None


def dead_stretches(leads: int, samples: int, probability: float, generators: Sequence[np.random.Generator]) -> Tensor:
    """Draw what is lost where electrodes have no contact: (B, leads, samples) bool.

    With this probability a record has one to three stretches of up to a quarter of it, each in a random set of leads.
    """
    dead = np.zeros((len(generators), leads, samples), bool)
    for one, rng in zip(dead, generators, strict=True):
        if rng.random() >= probability:
            continue
        for _ in range(int(rng.integers(1, 4))):
            length = int(rng.integers(samples // 100, samples // 4 + 1))
            start = int(rng.integers(0, samples - length + 1))
            lost = rng.random(leads) < rng.random()
            lost[rng.integers(leads)] = True
            one[lost, start : start + length] = True
    return torch.from_numpy(dead)


def random_restore(n_tokens: int, generators: Sequence[np.random.Generator]) -> Tensor:
    """Draw a random token permutation per record, inverted as `ECGEncoder.encode` takes it: (B, tokens) int64."""
    return torch.from_numpy(np.stack([rng.permutation(n_tokens) for rng in generators]))


def mask_tokens(
    input_ids: Tensor, tokenizer: Any, ratio: float, generators: Sequence[np.random.Generator]
) -> tuple[Tensor, Tensor]:
    """Apply BERT's masking (Devlin et al. 2019, section 3.1): of the chosen tokens 80 % masked, 10 % random, 10 % kept.

    Args:
        input_ids: (B, T) int64.
        tokenizer: for its special tokens; its mask token, or T5's unused `<extra_id_0>` if it has none.
        ratio: share of the ordinary tokens to choose.
        generators: one source of randomness per row; the result does not depend on padding.

    Returns:
        Masked ids and labels, both (B, T); labels are −100 for tokens that were not chosen.
    """
    mask_id = tokenizer.mask_token_id
    if mask_id is None:
        mask_id = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    ids = input_ids.numpy()
    draws = np.ones((3, *ids.shape))
    for row, length, rng in zip(range(len(ids)), (ids != tokenizer.pad_token_id).sum(axis=1), generators, strict=True):
        draws[:, row, :length] = rng.random((3, length))
    chosen = (draws[0] < ratio) & ~np.isin(ids, tokenizer.all_special_ids)
    labels = np.where(chosen, ids, IGNORED)
    masked = np.where(chosen & (draws[1] < 0.8), mask_id, ids)
    masked = np.where(chosen & (draws[1] >= 0.9), (draws[2] * len(tokenizer)).astype(ids.dtype), masked)
    return torch.from_numpy(masked), torch.from_numpy(labels)
