"""Draws valid recordings for `agree.py`: an ECG, and how a format may hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from dbeta.ecg import LEADS, augmented_leads

T = TypeVar("T")


@dataclass
class Valid:
    """A valid file, and what a reader must return.

    Attributes:
        path: file to read.
        rate: Hz of the recording.
        leads: lead → samples in mV, as written; NaN where the file has none.
        step: lead → mV of one step of the file's resolution.
        options: what `read_ecg` must be told.
        independent: reads the same leads in mV by another library; None where no other reads the format.
        part: whether `start` and `duration` are tried; not where the unit is judged by the beats, as a part may have
            none.
    """

    path: Path
    rate: float
    leads: dict[str, np.ndarray]
    step: dict[str, float]
    options: dict[str, Any] = field(default_factory=dict)
    independent: Callable[[], dict[str, np.ndarray]] | None = None
    part: bool = True


class Draw:
    """Choices of hypothesis, so that a mismatch shrinks to the simplest file that shows it."""

    def __init__(self, data: st.DataObject) -> None:
        """Take the choices from an example of a test."""
        self._data = data

    def one_of(self, options: Sequence[T]) -> T:
        """One of these, the first being the simplest."""
        return self._data.draw(st.sampled_from(options))

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return self._data.draw(st.integers(low, high))

    def number(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return self._data.draw(st.floats(low, high, allow_nan=False))

    def chance(self) -> bool:
        """True or False."""
        return self._data.draw(st.booleans())

    def order(self, items: Sequence[T]) -> list[T]:
        """The items in any order."""
        return list(self._data.draw(st.permutations(items)))

    def leads(self) -> list[str]:
        """Which leads a file holds, in its order: twelve, eight, or any few."""
        choice = self.one_of(("twelve", "twelve", "eight", "few"))
        if choice == "few":
            return self.order(LEADS)[: self.integer(1, 11)]
        held = list(LEADS if choice == "twelve" else ("I", "II", *LEADS[6:]))
        return self.order(held) if self.chance() else held

    def ecg(self, rate: float, samples: int, *, least: float = 0.6) -> dict[str, np.ndarray]:
        """Twelve leads in mV that obey Einthoven and Goldberger, with wander and noise; R waves from about `least`."""
        rng = np.random.default_rng(self.integer(0, 2**32 - 1))
        time = np.arange(samples) / rate
        beat = min(self.number(0.5, 1.3), 0.9 * samples / rate)  # at least one beat
        phase = (time + rng.uniform(0, beat)) % beat
        qrs = np.exp(-(((phase - 0.3 * beat) / 0.018) ** 2))
        slow = 0.15 * np.exp(-(((phase - 0.1 * beat) / 0.03) ** 2)) + 0.25 * np.exp(
            -(((phase - 0.6 * beat) / 0.06) ** 2)
        )
        size = self.number(least, 2.0)
        eight = {}
        for lead in ("I", "II", *LEADS[6:]):
            gain = size * rng.uniform(0.5, 1.2)
            wander = 0.1 * np.sin(2 * np.pi * (0.3 * time + rng.uniform()))
            noise = rng.normal(0, 0.01, samples)
            eight[lead] = gain * (qrs + slow) - 0.3 * gain * np.roll(qrs, round(0.03 * rate)) + wander + noise
        one, two = eight["I"], eight["II"]
        made = eight | {"III": two - one} | augmented_leads(one, two)
        return {lead: made[lead] for lead in LEADS}


def quantised(values: np.ndarray, step: float, low: int, high: int) -> np.ndarray:
    """Counts of `step` each, limited to what the converter can hold."""
    return np.clip(np.round(values / step), low, high).astype(np.int64)
