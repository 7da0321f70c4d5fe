"""Random numbers that depend only on the seed, the record and the name of the draw.

Adding, removing or reordering a draw leaves all others unchanged, and a record gets the same numbers on any device and
in any batch.

Source: the counter-based generator SplitMix64 (Steele, Lea and Flood 2014), with one stream per record and name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from copy import copy
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

#: Constants of SplitMix64: the increment of its counter, and the multipliers of its finalizer.
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mixed(state: np.ndarray) -> np.ndarray:
    """Apply SplitMix64's finalizer to uint64 of any shape: each output bit depends on all input bits."""
    state = state ^ (state >> np.uint64(30))
    state *= MULTIPLIERS[0]
    state ^= state >> np.uint64(27)
    state *= MULTIPLIERS[1]
    state ^= state >> np.uint64(31)
    return state


@lru_cache(maxsize=4096)
def name_key(name: str) -> np.uint64:
    """Hash a name to 64 bits."""
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


class Draws:
    """Random numbers of B records, each draw with its own name.

    Args:
        seed: seed of the simulation, 0 or more and below 2^64.
        records: (B,) record numbers, with the same limits.
        device: device of the returned tensors.

    Every method takes the draw's name first, and raises ValueError if the name has been used, since it would return the
    same numbers again.
    """

    def __init__(self, seed: int, records: Sequence[int], device: torch.device | str = "cpu") -> None:
        """Compute one key per record."""
        # The seed is mixed twice, so that seed 1 with record 2 differs from seed 2 with record 1
        start = mixed(mixed(np.array([seed], np.uint64) + GAMMA))
        self.keys = mixed(start ^ mixed(np.array(list(records), np.uint64) + GAMMA))
        self.device = torch.device(device)
        self.prefix = ""
        self.drawn: set[str] = set()

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.keys)

    def part(self, rows: slice) -> Draws:
        """Return the draws for some of the records; used names are tracked separately from here on."""
        some = copy(self)
        some.keys, some.drawn = self.keys[rows], set(self.drawn)
        return some

    def scope(self, name: str) -> Draws:
        """Return the same draws with `name` prefixed to the name of each draw."""
        inner = copy(self)
        inner.prefix = f"{self.prefix}{name}: "
        return inner

    def tensor(self, values: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
        """Return constants on the device of the draws."""
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        """Draw (B, *shape) float32 uniformly from [low, high)."""
        name = self.prefix + name
        if name in self.drawn:
            raise ValueError(f"simulation: {name!r} is drawn twice; give each draw a name of its own")
        self.drawn.add(name)
        counter = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * GAMMA
        bits = mixed(mixed(self.keys ^ name_key(name))[:, None] + counter)
        numbers = torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))  # 24 bits are exact
        numbers = numbers.reshape(len(self), *shape).to(self.device)
        return numbers if (low, high) == (0.0, 1.0) else low + (high - low) * numbers

    def normal(self, name: str, mean: float = 0.0, deviation: float = 1.0, *shape: int) -> Tensor:
        """Draw (B, *shape) from a normal distribution truncated at four deviations."""
        return mean + deviation * torch.special.ndtri(self.uniform(name, 4e-5, 1 - 4e-5, *shape))

    def spread(self, name: str, deviation: float, *shape: int) -> Tensor:
        """Draw (B, *shape) log-normal factors with median 1; `deviation` is that of their logarithm."""
        return self.normal(name, 0.0, deviation, *shape).exp()

    def chance(self, name: str, probability: float | Tensor) -> Tensor:
        """Draw (B,) bool, True with this probability."""
        return self.uniform(name) < probability

    def choice(self, name: str, weights: Sequence[float] | Tensor) -> Tensor:
        """Draw (B,) int64 indices with probabilities proportional to weights (K,) or (B, K)."""
        share = torch.as_tensor(weights, dtype=torch.float32, device=self.device)
        bounds = (share / share.sum(dim=-1, keepdim=True)).cumsum(dim=-1)
        return (self.uniform(name)[:, None] > bounds).sum(dim=-1).clamp(max=share.shape[-1] - 1)
