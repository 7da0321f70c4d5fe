"""Order of the records in a run: position → corpus row.

The row at a position depends only on the seed and the position, so a resumed or distributed run
sees the same rows as an uninterrupted single process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from torch.utils.data import Dataset


class TrainingStream(Dataset):
    """Several corpora, mixed by weight and reshuffled each round.

    In one round, records are drawn from the corpora in proportion to their weights. The corpus that lasts longest gives
    each of its records once; the others start over, in a new order, when they are exhausted.

    Args:
        corpora: datasets of corpus rows.
        weights: sampling weight of each corpus; they need not sum to 1.
        length: number of positions in the run.
        seed: seed of the order.
    """

    def __init__(self, corpora: Sequence[Any], weights: Sequence[float], length: int, seed: int = 0) -> None:
        """Compute the number of records of each corpus in a round.

        Raises:
            ValueError: a weight is not positive, or a corpus is empty.
        """
        sizes = np.array([len(corpus) for corpus in corpora])
        if not len(corpora) or len(weights) != len(corpora) or not (sizes > 0).all():
            raise ValueError("a stream needs corpora with records and one weight for each")
        if not all(weight > 0 for weight in weights):
            raise ValueError("the weight of a corpus must be above 0")
        share = np.array(weights, dtype=float) / sum(weights)
        self.per_round = np.maximum(1, np.round(share * (sizes / share).max())).astype(int)
        self.bounds = np.concatenate([[0], np.cumsum(self.per_round)])
        self.corpora = list(corpora)
        self.sizes = sizes
        self.length = length
        self.seed = seed

    @property
    def round_length(self) -> int:
        """Number of positions in a round."""
        return int(self.bounds[-1])

    def __len__(self) -> int:
        """Number of positions in the run."""
        return self.length

    def place(self, position: int) -> tuple[int, int]:
        """Return the corpus and row at a position."""
        turn, slot = divmod(position, self.round_length)
        slot = int(shuffled(self.seed, -1, turn, self.round_length)[slot])
        corpus = int(np.searchsorted(self.bounds, slot, side="right")) - 1
        drawn = turn * int(self.per_round[corpus]) + slot - int(self.bounds[corpus])
        turn, i = divmod(drawn, int(self.sizes[corpus]))
        return corpus, int(shuffled(self.seed, corpus, turn, int(self.sizes[corpus]))[i])

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Return corpus rows with their `position` and `corpus` number."""
        rows: list[dict[str, Any]] = [{} for _ in positions]
        places = [self.place(position) for position in positions]
        for number, corpus in enumerate(self.corpora):
            at = [i for i, (one, _) in enumerate(places) if one == number]
            if at:
                columns: Mapping[str, list] = corpus[[places[i][1] for i in at]]
                for j, i in enumerate(at):
                    rows[i] = {name: column[j] for name, column in columns.items()}
                    rows[i] |= {"position": positions[i], "corpus": number}
        return rows

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return the row at a position."""
        return self.__getitems__([position])[0]


@lru_cache(maxsize=8)
def shuffled(seed: int, corpus: int, turn: int, n: int) -> np.ndarray:
    """Return a permutation of n determined by the other arguments; cached, since it is needed at each position."""
    return np.random.default_rng([seed, corpus + 1, turn]).permutation(n)
