"""Turns embeddings of recordings and conditions into the table of findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dbeta.conditions.registry import Condition
from dbeta.ecg import LEADS
from dbeta.inference.columns import COLUMN_NAMES, PEAKS
from dbeta.inference.embed import Embedded
from dbeta.signal.quality import UNUSABLE

#: Conditions that a note names.
NAMED = 3


@dataclass
class Question:
    """Conditions to ask for.

    Attributes:
        names: (C,) as the user wrote them.
        directions: (C, D) float32 of unit length.
        panel: (panel, C) scores of the reference recordings, each column sorted; None without a panel.
        leads: the model's leads.
        conditions: (C,) those in `conditions.yaml`, which names the leads that they need; None for other texts.
        few: leads that carry a signal, (leads,) bool → unit-length embeddings (n, D) of a panel with these alone.
    """

    names: list[str]
    directions: np.ndarray
    panel: np.ndarray | None
    leads: tuple[str, ...] = LEADS
    conditions: list[Condition | None] | None = None
    few: Callable[[np.ndarray], np.ndarray] | None = None
    _panels: dict[bytes, np.ndarray] = field(default_factory=dict)

    def scores(self, embeds: np.ndarray) -> np.ndarray:
        """The cosine of embeddings (n, D) and conditions: (n, C)."""
        lengths = np.linalg.norm(embeds, axis=1, keepdims=True)
        return (embeds / np.maximum(lengths, 1e-12)) @ self.directions.T

    def percentiles(self, scores: np.ndarray, alive: np.ndarray | None = None) -> np.ndarray:
        """Mid-rank percentile of each score (n, C) in the reference panel; NaN without a panel.

        Args:
            scores: of a recording.
            alive: (leads,) bool, which leads carry a signal in it; None for all.
        """
        panel = self._panel(alive)
        if panel is None:
            return np.full_like(scores, np.nan)
        ranks = [
            (np.searchsorted(column, scores[:, i], "left") + np.searchsorted(column, scores[:, i], "right")) / 2
            for i, column in enumerate(panel.T)
        ]
        return np.stack(ranks, axis=1) / len(panel) * 100.0

    def _panel(self, alive: np.ndarray | None) -> np.ndarray | None:
        """The panel's sorted scores (panel, C) for the leads at hand."""
        if self.few is None or alive is None or alive.all():
            return self.panel
        key = alive.tobytes()
        if key not in self._panels:
            self._panels[key] = np.sort(self.few(alive) @ self.directions.T, axis=0)
        return self._panels[key]

    def answered(self, alive: np.ndarray) -> np.ndarray:
        """Which conditions the leads at hand can show: (C,) bool.

        Args:
            alive: (leads,) bool, which leads carry a signal.
        """
        if self.conditions is None or len(alive) != len(self.leads) or alive.all():
            return np.ones(len(self.names), bool)
        present = {lead for lead, there in zip(self.leads, alive, strict=True) if there}
        return np.array([one is None or one.readable_in(present) for one in self.conditions])

    def note(self, one: Embedded) -> str:
        """A sentence on the conditions that a recording's leads cannot show; "" if they can show all."""
        if one.quality == UNUSABLE or (answered := self.answered(one.leads)).all():
            return ""
        names = [name for name, there in zip(self.names, answered, strict=True) if not there]
        listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        missing = [lead for lead, there in zip(self.leads, one.leads, strict=True) if not there]
        return f"{one.name or 'recording'}: without {', '.join(missing)} it cannot show {listed}; not answered"


def tabulate(
    question: Question, recordings: Sequence[Embedded], *, windows: bool = False, unusable: bool = False
) -> pd.DataFrame:
    """The findings of several recordings.

    Args:
        question: the conditions.
        recordings: with their embeddings.
        windows: one row per window and condition, instead of one per recording and condition.
        unusable: give recordings without usable signal a row without a condition; otherwise they have none.

    Returns:
        The columns that `DBeta.diagnose` describes.
    """
    tables = [
        findings_of(question, one, one.name or f"recording {i}", windows=windows)
        for i, one in enumerate(recordings, 1)
        if unusable or one.quality != UNUSABLE
    ]
    if not tables:
        return pd.DataFrame(columns=[name for name in COLUMN_NAMES[windows] if name not in PEAKS])
    table = pd.concat(tables, ignore_index=True)
    if all(len(one.starts) == 1 for one in recordings):
        table = table.drop(columns=list(PEAKS), errors="ignore")
    return table


def findings_of(question: Question, one: Embedded, name: str, *, windows: bool = False) -> pd.DataFrame:
    """The findings of one recording, best score first, as a whole or by window.

    A condition that the leads at hand cannot show comes last, with NaN for its score and percentile.

    Returns:
        The columns that `DBeta.diagnose` describes, always with `peak` and `peak_at` unless `windows`; a recording
        without usable signal has one row without condition, score and percentile.
    """
    if one.quality == UNUSABLE:
        # As a recording with one window has them
        row = dict.fromkeys(name for name in COLUMN_NAMES[False] if name not in PEAKS)
        return pd.DataFrame([row | {"record": name, "quality": UNUSABLE}])
    used = one.qualities != UNUSABLE
    embeds, starts, qualities = one.windows[used], one.starts[used], one.qualities[used]  # (n, D), (n,), (n,)
    each = question.scores(embeds)  # (n, C)
    if not windows:
        embeds = embeds.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
        qualities = np.array([one.quality])
    scores = question.scores(embeds)
    percentiles = question.percentiles(scores, one.leads)
    answered = question.answered(one.leads)
    scores, percentiles = (np.where(answered, table, np.nan) for table in (scores, percentiles))
    order = np.argsort(np.where(answered, -scores, np.inf), axis=1, kind="stable")
    best = each.argmax(axis=0)[order[0]]  # (C,)
    peak = np.where(answered, each.max(axis=0), np.nan)[order[0]]
    columns: dict[str, Any] = {
        "record": name,
        "start": np.repeat(starts, len(question.names)) if windows else None,
        "condition": np.array(question.names, object)[order].ravel(),
        "score": np.take_along_axis(scores, order, 1).ravel().astype(float),
        "percentile": np.take_along_axis(percentiles, order, 1).ravel().astype(float),
        "quality": np.repeat(qualities, len(question.names)).astype(object),
        "peak": None if windows else peak.astype(float),
        "peak_at": None if windows else np.where(np.isnan(peak), np.nan, starts[best]),
    }
    return pd.DataFrame({name: columns[name] for name in COLUMN_NAMES[windows]})


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as JSON rows; missing values become null."""
    rows = table.to_dict("records")
    return [{str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows]
