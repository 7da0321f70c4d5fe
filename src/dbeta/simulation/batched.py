"""Slices and concatenates nested tensors (B, …) by record.

Signals are computed for a few records at a time, so that they fit in the processor's cache, but small tensors for all
records at once, since there the overhead per operation dominates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor

Batched = TypeVar("Batched")


def taken(value: Batched, rows: Tensor | slice) -> Batched:
    """Select records from a tensor (B, …), or from dictionaries and dataclasses of such tensors."""

    def part(one: Any) -> Any:
        if isinstance(one, Tensor):
            return one[rows]
        if isinstance(one, dict):
            return {name: part(inner) for name, inner in one.items()}
        return type(one)(**{field.name: part(getattr(one, field.name)) for field in fields(one)})

    return part(value)


def together(parts: Sequence[Batched]) -> Batched:
    """Concatenate several values of the same kind along the record axis."""

    def whole(some: Sequence[Any]) -> Any:
        first = some[0]
        if isinstance(first, Tensor):
            return torch.cat(list(some)) if len(some) > 1 else first
        if isinstance(first, dict):
            return {name: whole([one[name] for one in some]) for name in first}
        return type(first)(**{field.name: whole([getattr(one, field.name) for one in some]) for field in fields(first)})

    return whole(parts)
