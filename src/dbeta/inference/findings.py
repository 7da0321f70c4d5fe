"""Embeddings of recordings and conditions → the table of findings, for recordings or for their windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dbeta.inference.embed import Embedded
from dbeta.signal.quality import UNUSABLE


@dataclass
class Question:
    """Conditions to ask for.

    Attributes:
        names: (C,) as they were asked.
        directions: (C, D) float32 of unit length.
        panel: (panel, C) scores of the reference recordings, each column sorted; None without a panel.
    """

    names: list[str]
    directions: np.ndarray
    panel: np.ndarray | None

    def scores(self, embeds: np.ndarray) -> np.ndarray:
        """The cosine of embeddings (n, D) and conditions: (n, C)."""
        lengths = np.linalg.norm(embeds, axis=1, keepdims=True)
        return (embeds / np.maximum(lengths, 1e-12)) @ self.directions.T

    def percentiles(self, scores: np.ndarray) -> np.ndarray:
        """Mid-rank percentile of each score (n, C) among the panel's."""
        if self.panel is None:
            return np.full_like(scores, np.nan)
        ranks = [
            (np.searchsorted(column, scores[:, i], "left") + np.searchsorted(column, scores[:, i], "right")) / 2
            for i, column in enumerate(self.panel.T)
        ]
        return np.stack(ranks, axis=1) / len(self.panel) * 100.0


def tabulate(
    question: Question, recordings: Sequence[Embedded], *, windows: bool = False, peaks: bool = False
) -> pd.DataFrame:
    """The findings of recordings that could be used.

    Args:
        question: the conditions.
        recordings: with their embeddings; those without usable signal are left out.
        windows: a row for each window and condition, not for each recording and condition.
        peaks: the columns of peaks are there also where every recording has a single window.

    Returns:
        As `DBeta.diagnose` describes it.
    """
    names = [one.name or f"recording {i}" for i, one in enumerate(recordings, 1)]
    peaks = peaks or any(len(one.starts) > 1 for one in recordings)
    tables = [
        _of_windows(question, one, name) if windows else _of_recording(question, one, name, peaks)
        for one, name in zip(recordings, names, strict=True)
        if one.quality != UNUSABLE
    ]
    if not tables:
        start = ["start"] if windows else []
        return pd.DataFrame(columns=["record", *start, "condition", "score", "percentile", "quality"])
    return pd.concat(tables, ignore_index=True)


def _of_windows(question: Question, one: Embedded, name: str) -> pd.DataFrame:
    used = one.qualities != UNUSABLE
    scores = question.scores(one.windows[used])  # (n, C)
    order = np.argsort(-scores, axis=1, kind="stable")
    columns = {
        "record": name,
        "start": np.repeat(one.starts[used], len(question.names)),
        "condition": np.array(question.names, object)[order].ravel(),
        "score": np.take_along_axis(scores, order, 1).ravel().astype(float),
        "percentile": np.take_along_axis(question.percentiles(scores), order, 1).ravel().astype(float),
        "quality": np.repeat(one.qualities[used], len(question.names)).astype(object),
    }
    return pd.DataFrame(columns)


def _of_recording(question: Question, one: Embedded, name: str, peaks: bool) -> pd.DataFrame:
    used = one.qualities != UNUSABLE
    mean = one.windows[used].mean(axis=0, dtype=np.float64).astype(np.float32)
    scores = question.scores(mean[None])  # (1, C)
    order = np.argsort(-scores[0], kind="stable")
    columns = {
        "record": name,
        "condition": np.array(question.names, object)[order],
        "score": scores[0, order].astype(float),
        "percentile": question.percentiles(scores)[0, order].astype(float),
        "quality": one.quality,
    }
    if peaks:
        each = question.scores(one.windows[used])[:, order]  # (n, C)
        columns |= {"peak": each.max(axis=0).astype(float), "peak_at": one.starts[used][each.argmax(axis=0)]}
    return pd.DataFrame(columns)
