"""Random numbers for records, each record's own.

Special here: what is drawn for a record follows from the seed and its number alone, whatever else is drawn beside it
and on whichever device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

#: Numbers between 0 and 1 that a record can use.
COUNT = 1024


class Draws:
    """A store of numbers for B records that is used up in the order of the calls.

    Args:
        seed: of the simulation.
        records: (B,) their numbers.
        device: where what is drawn shall lie.
    """

    def __init__(self, seed: int, records: Sequence[int], device: torch.device | str = "cpu") -> None:
        """Draw all of it."""
        rows = [
            np.random.Generator(np.random.Philox(key=[seed, record])).random(COUNT, np.float32) for record in records
        ]
        self.numbers = torch.from_numpy(np.stack(rows)).to(device)
        self.used = 0

    @property
    def device(self) -> torch.device:
        """Where the numbers lie."""
        return self.numbers.device

    def __len__(self) -> int:
        """Records."""
        return len(self.numbers)

    def part(self, rows: slice) -> Draws:
        """The same for some of the records, as far used up."""
        some = copy(self)
        some.numbers = self.numbers[rows]
        return some

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        """(B, *shape) evenly between two bounds."""
        size = math.prod(shape)
        if self.used + size > COUNT:
            raise ValueError(f"a record has {COUNT} random numbers; raise COUNT")
        taken = self.numbers[:, self.used : self.used + size].reshape(len(self), *shape)
        self.used += size
        return taken if (low, high) == (0.0, 1.0) else low + (high - low) * taken

    def normal(self, mean: float = 0.0, deviation: float = 1.0, *shape: int) -> Tensor:
        """(B, *shape) of a normal distribution, cut off beyond four deviations."""
        return mean + deviation * torch.special.ndtri(self.uniform(4e-5, 1 - 4e-5, *shape))

    def spread(self, deviation: float, *shape: int) -> Tensor:
        """(B, *shape) factors around 1, whose logarithm has this deviation."""
        return self.normal(0.0, deviation, *shape).exp()

    def chance(self, probability: float | Tensor) -> Tensor:
        """(B,) bool, True with this probability."""
        return self.uniform() < probability

    def choice(self, weights: Sequence[float] | Tensor) -> Tensor:
        """(B,) int64, numbers of what is drawn by weight, (K,) or (B, K)."""
        share = torch.as_tensor(weights, dtype=torch.float32, device=self.device)
        bounds = (share / share.sum(dim=-1, keepdim=True)).cumsum(dim=-1)
        return (self.uniform()[:, None] > bounds).sum(dim=-1).clamp(max=share.shape[-1] - 1)
