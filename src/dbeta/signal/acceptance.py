"""Whether people who read twelve leads would accept a recording, and why not.

A logistic model of four measures, each taken at the lead where it is worst, since graders refuse a recording for one
bad lead. `benchmarks/quality.py FOLDER --fit` fitted its coefficients on 212 recordings that people graded
(PhysioNet/CinC Challenge 2011) and cross-validates them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbeta.ecg import LEADS
from dbeta.signal.waves import COARSE, Waves

#: Score from which a recording is acceptable.
ACCEPTABLE = 0.5
#: What the four rows of `terms` stand for, as reasons.
REASONS = ("no repeating heartbeat", "flat or missing", "mains hum", "sudden jumps")
#: Log odds per unit of each term, and of none; printed by `benchmarks/quality.py FOLDER --fit`.
COEFFICIENTS, INTERCEPT = (2.47, -3.80, -0.66, -0.46), -3.59
#: The terms of a typical acceptable recording: medians, printed by the same command.
TYPICAL = (1.5, 0.0, -5.8, 0.2)
#: Log odds that a term must cost, compared with its typical value, to be named as a reason.
COSTLY = 1.5
#: Leads that a reason names.
NAMED = 4
#: Likeness from which beats count as equal, so that the rest of a recording cannot make up for what is broken.
ALIKE = 0.95
#: Seconds within which the steepest jump is sought: the length of the recordings that people graded.
PIECE = 10
#: Seconds on each side of a beat that are compared, and the least time between two beats.
AROUND, APART = 0.3, 0.3
#: Beats needed to compare them.
FEWEST = 3


@dataclass(frozen=True)
class Acceptance:
    """Result of `judge_acceptance`.

    Attributes:
        acceptable: whether people would accept the recording.
        score: 0 to 1, how likely they are to.
        reasons: why they would not, in words, the weightiest first; empty if it is acceptable.
    """

    acceptable: bool
    score: float
    reasons: list[str]


def judge_acceptance(measures: dict[str, np.ndarray]) -> Acceptance:
    """Whether people would accept a recording.

    Args:
        measures: by name (12,): `likeness`, `missing`, `flat`, `mains` and `jump` of `dbeta.signal.quality.Quality`.
    """
    found, weights = terms(measures), np.array(COEFFICIENTS)
    score = float(1 / (1 + np.exp(-(weights @ worst(found) + INTERCEPT))))
    if score >= ACCEPTABLE:
        return Acceptance(True, score, [])
    cost = weights[:, None] * (np.array(TYPICAL)[:, None] - found)
    return Acceptance(False, score, _reasons(cost, found[1]))


def terms(measures: dict[str, np.ndarray]) -> np.ndarray:
    """Terms of the model for each lead, (4, 12): what `REASONS` names.

    Fisher's z of the likeness, 0 to 1.8; fraction of the time in which the lead is flat or missing; logarithm of the
    hum in mV; logarithm of the jump. A measure that could not be taken has its typical value.
    """
    absent = np.maximum(measures["flat"], measures["missing"])
    likeness = np.where(absent == 1, 0.0, measures["likeness"])
    found = np.stack(
        [
            np.arctanh(np.clip(likeness, 0.0, ALIKE)),
            absent,
            np.log(np.maximum(measures["mains"], 0.003)),
            np.log(measures["jump"]),
        ]
    )
    return np.where(np.isnan(found), np.array(TYPICAL)[:, None], found)


def worst(found: np.ndarray) -> np.ndarray:
    """Each of the terms, (4, 12), at the lead where it is worst, (4,)."""
    return np.array([found[0].min(), *found[1:].max(axis=1)])


def likeness(waves: Waves) -> np.ndarray:
    """How much the beats of each lead resemble one another: median correlation with their median beat, (12,).

    NaN if there are fewer than three beats. Beats are located in all leads together, so a lead without beats of its
    own, or with artefacts larger than them, is compared at the beats of the others.
    """
    half = round(AROUND * COARSE)
    at = waves.beat_positions(APART)
    at = at[(at >= half) & (at < waves.coarse - half)]
    if len(at) < FEWEST:
        return np.full(len(LEADS), np.nan)
    beats = waves.band(0.7, 62, waves.coarse)[:, at[:, None] + np.arange(-half, half + 1)]  # (12, beats, samples)
    beats = beats - beats.mean(axis=2, keepdims=True)
    median = np.median(beats, axis=1)[:, None]
    size = np.sqrt((beats**2).sum(axis=2) * (median**2).sum(axis=2)) + 1e-6
    return np.median((beats * median).sum(axis=2) / size, axis=1)


def jumps(x: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Each lead's steepest 10 ms in relation to that of its median second, (12,), at least 1.

    NaN below three seconds. In a recording longer than ten seconds the mean of its pieces.

    Args:
        x: (12, samples) mV, finite.
        sampling_rate: Hz.
    """
    lag, second = max(round(0.01 * sampling_rate), 1), round(sampling_rate)
    steep = np.abs(x[:, lag:] - x[:, :-lag])
    seconds = -(-steep.shape[1] // second)
    if seconds < 3:
        return np.full(len(x), np.nan)
    each = np.stack([steep[:, i * second : (i + 1) * second].max(axis=1) for i in range(seconds)], axis=1)
    pieces = np.array_split(each, -(-seconds // PIECE), axis=1)
    highest = np.mean([piece.max(axis=1) for piece in pieces], axis=0)
    return np.maximum(highest / (np.median(each, axis=1) + 0.02), 1.0)


def _reasons(cost: np.ndarray, absent: np.ndarray) -> list[str]:
    """What made the score low, in words.

    Args:
        cost: (4, 12) log odds that each term of each lead costs.
        absent: (12,) fraction of the time in which a lead is flat or missing.
    """
    highest = cost.max(axis=1)
    texts = []
    for i in np.argsort(-highest):
        named = cost[i] >= highest[i] / 2
        if i == 0:
            named &= absent < 0.5  # a flat lead shows no heartbeat anyway
        if named.any() and highest[i] >= min(COSTLY, highest.max()):
            texts.append(f"{REASONS[i]} in {_names(np.flatnonzero(named))}")
    return texts


def _names(rows: np.ndarray) -> str:
    if len(rows) == len(LEADS):
        return "every lead"
    names = [LEADS[row] for row in rows]
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
