"""Signal quality: flat, saturated, disconnected or noisy leads, and whether a recording shows a heart at all.

NeuroKit2's `ecg_quality` takes one lead at a time after detecting beats, and its "averageQRS" compares beats with their
own mean, so that it cannot tell that noise is noise; `wfdb` has no such measure. The measures here are few, have
physical units, and share one Fourier transform for all twelve leads (`dbeta.signal.waves`). The thresholds were chosen
on folds 1–8 of PTB-XL (`benchmarks/lead_checks.py FOLDER --quality`). Needs NumPy only, so that reader processes need
not load torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError
from dbeta.signal.acceptance import judge_acceptance, jumps, likeness
from dbeta.signal.gaps import stretches
from dbeta.signal.preprocess import fill_gaps
from dbeta.signal.waves import MAINS, Waves, sliding_sum

GOOD, FAIR, UNUSABLE = "good", "fair", "unusable"

#: Seconds of a recording that are assessed.
ASSESSED = 60.0
#: mV peak to peak within a second below which nothing was recorded; any amplifier's noise exceeds it.
FLAT_SECOND = 0.005
#: mV above which a constant lead is saturated.
RAIL = 2.0
#: Seconds for which a lead must stay at its highest or lowest value to count as clipped.
HELD = 0.02
#: Seconds below which a recording may hold no beat, or only one, and beats are not assessed.
BEAT = 2.0
#: Fraction of the time up to which a lead that was recorded only then is judged on that time alone.
SHORT = 0.5

#: Values from which a measure makes a lead fair, and unusable; None: never by itself.
LIMITS: dict[str, tuple[float, float | None]] = {
    "missing": (0.01, 0.5),  # fraction of the samples; unusable only without `BEAT` seconds in a row
    "flat": (0.1, 0.5),  # fraction of the seconds that were recorded
    "clipped": (0.01, 0.3),  # fraction of the samples
    "wander": (0.25, 2.0),  # mV RMS below 0.5 Hz
    "mains": (MAINS, None),  # mV RMS at 50 or 60 Hz
    "noise": (0.05, None),  # mV RMS of 25–100 Hz between the beats
}
#: `beats` below which a lead is fair, and unusable.
BEATS = (2.5, 1.5)

_WORDS = {
    "missing": "samples missing",
    "flat": "flat",
    "clipped": "saturated",
    "wander": "baseline wander",
    "mains": "mains hum",
    "noise": "muscle noise",
    "beats": "no clear beats",
}


@dataclass(frozen=True, eq=False)
class Quality:
    """Result of `assess_quality`.

    Attributes:
        verdict: "good", "fair" or "unusable", of the whole recording.
        reason: why there is no usable signal; "" if there is one.
        leads: verdict on each of the twelve leads.
        problems: the problems of each lead, in words.
        acceptable: whether people who read twelve leads would accept the recording (`dbeta.signal.acceptance`).
        score: 0 to 1, how likely they would; 0 without usable signal.
        objections: why they would not, in words, the weightiest first.
        measures: by name an array (12,): `missing` and `clipped` (fraction of the samples), `flat` (fraction of the
            seconds recorded), `wander`, `mains` and `noise` (RMS, mV), `beats` (ratio of 5–25 Hz during beats to those
            between them), `likeness` (median correlation of the beats with their median), `jump` (ratio of the steepest
            10 ms to those of the median second); NaN if a lead holds no signal or the recording is too short for it.
    """

    verdict: str
    reason: str
    leads: dict[str, str]
    problems: dict[str, list[str]]
    measures: dict[str, np.ndarray]
    acceptable: bool
    score: float
    objections: list[str]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each lead, of JSON-serialisable values."""
        return [
            {"lead": lead, "quality": self.leads[lead], "problems": self.problems[lead]}
            | {name: None if np.isnan(of[i]) else round(float(of[i]), 4) for name, of in self.measures.items()}
            for i, lead in enumerate(LEADS)
        ]


def assess_quality(ecg: ECG) -> Quality:
    """Assess the first minute of a recording, each lead and the whole.

    Args:
        ecg: any leads, mV.

    Returns:
        The verdicts. A missing lead is unusable. A recording is unusable if every lead is, or if no lead shows a heart
        (noise, mains hum, flat or saturated throughout); it is good if people would accept it for reading, and fair
        otherwise. An artefact or a test device may still look like a heart.
    """
    try:
        ecg = ecg.standard()
    except DBetaError as error:
        return _nothing(str(error))
    x = ecg.signal[:, : max(round(ASSESSED * ecg.sampling_rate), 1)].astype(np.float32)  # (12, samples)
    x[~(np.abs(x) < 1e9)] = np.nan  # no voltage, and its square would overflow
    finite = np.isfinite(x)
    measures: dict[str, np.ndarray] = {}
    disconnected, hearts = np.zeros(len(LEADS), bool), []
    for rows, begin, end in _stretches(finite, ecg.sampling_rate):
        part = np.where(
            rows[:, None] | (finite[:, begin:end].mean(axis=1, keepdims=True) > SHORT), x[:, begin:end], np.nan
        )
        own, waves = _measure(part, ecg.sampling_rate)
        disconnected |= rows & _disconnected(own, waves)
        hearts.append(waves.any_beats())
        for name, values in (own | {"strength": waves.strength()}).items():
            measures.setdefault(name, np.full(len(LEADS), np.nan))[rows] = values[rows]
    strength = measures.pop("strength")
    measures["missing"] = 1 - finite.mean(axis=1)
    brief = (measures["missing"] >= 1 - SHORT) & finite.any(axis=1)
    if brief.sum() < len(LEADS) / 2:
        measures["likeness"][brief] = 0.0  # unlike a column of a printout, it lacks most beats that other leads show
    alive = finite.any(axis=1) & (measures["flat"] < 1)
    enough = _longest(finite) >= BEAT * ecg.sampling_rate

    leads, problems = {}, {}
    for i, lead in enumerate(LEADS):
        leads[lead], problems[lead] = _judge({name: float(of[i]) for name, of in measures.items()}, bool(enough[i]))
    for row in np.flatnonzero(disconnected):
        problems[LEADS[row]].append("disconnected")
    stuck = (measures["missing"] < 1) & (measures["flat"] == 1) & (np.abs(_middle(x)) >= RAIL)
    for row in np.flatnonzero(stuck):
        problems[LEADS[row]] = [_WORDS["clipped"]]
    reason = _reason(list(leads.values()), alive, stuck, measures, strength, any(hearts))
    if reason:
        return Quality(UNUSABLE, reason, leads, problems, measures, False, 0.0, [reason])
    found = judge_acceptance(measures)
    verdict = GOOD if found.acceptable else FAIR
    return Quality(verdict, "", leads, problems, measures, found.acceptable, found.score, found.reasons)


def _stretches(finite: np.ndarray, rate: float) -> list[tuple[np.ndarray, int, int]]:
    """Leads that are judged together, (12,) bool, with the first sample and the one after the last.

    A printout shows its leads one after the other, so that leads recorded for a short time are judged on that time,
    all others on the whole.
    """
    n = finite.shape[1]
    first, last = np.argmax(finite, axis=1), n - np.argmax(finite[:, ::-1], axis=1)
    short = finite.any(axis=1) & (last - first <= SHORT * n)
    found = [(~short, 0, n)] if not short.all() else []
    tolerance = 0.1 * rate
    while short.any():
        row = int(np.argmax(short))
        same = short & (np.abs(first - first[row]) <= tolerance) & (np.abs(last - last[row]) <= tolerance)
        found.append((same, int(first[same].min()), int(last[same].max())))
        short &= ~same
    return found


def _measure(x: np.ndarray, rate: float) -> tuple[dict[str, np.ndarray], Waves]:
    """All measures but `missing` of a stretch (12, samples), NaN where a lead was not recorded; filled in place."""
    finite = np.isfinite(x)
    fill_gaps(x)
    second = max(min(round(rate), x.shape[1]), 1)
    whole = x.shape[1] // second * second
    seconds = x[:, :whole].reshape(len(x), -1, second)
    dead = np.ptp(seconds, axis=2) < FLAT_SECOND  # (12, seconds)
    # A second that was interpolated is not flat
    known = finite[:, :whole].reshape(seconds.shape).mean(axis=2) > 0.5
    known[~known.any(axis=1)] = True
    measures = {"flat": (dead & known).sum(axis=1) / known.sum(axis=1), "clipped": _clipped(x, rate)}
    alive = finite.any(axis=1) & (measures["flat"] < 1)
    waves = Waves(x, rate, alive, ~dead[alive].all(axis=0))
    measures |= {"wander": waves.wander(), "mains": waves.mains(), "noise": waves.noise(), "beats": waves.beats()}
    measures |= {"likeness": likeness(waves), "jump": jumps(x, rate)}
    for name in ("clipped", "wander", "mains", "noise", "beats", "likeness", "jump"):
        valid = alive if name != "beats" or x.shape[1] >= BEAT * rate else np.zeros_like(alive)
        measures[name] = np.where(valid, measures[name], np.nan)
    return measures, waves


def _longest(finite: np.ndarray) -> np.ndarray:
    """Longest run of samples of each lead, (12,)."""
    return np.array([max((end - begin for begin, end in stretches(row)), default=0) for row in finite])


def _middle(x: np.ndarray) -> np.ndarray:
    """Median of each lead, (12,); 0 if it has no sample."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0 for row in x])


def _nothing(reason: str) -> Quality:
    empty = {name: np.full(len(LEADS), np.nan) for name in (*LIMITS, "beats", "likeness", "jump")} | {
        "missing": np.ones(len(LEADS))
    }
    leads, problems = dict.fromkeys(LEADS, UNUSABLE), {lead: ["missing"] for lead in LEADS}
    return Quality(UNUSABLE, reason, leads, problems, empty, False, 0.0, [reason])


def _judge(of: dict[str, float], enough: bool) -> tuple[str, list[str]]:
    """Verdict on one lead, and its problems; `enough`: it was recorded for the time of a beat without a gap."""
    if of["missing"] == 1:
        return UNUSABLE, ["missing"]
    if of["flat"] == 1:
        return UNUSABLE, ["flat"]
    problems = [name for name, (fair, _) in LIMITS.items() if of[name] >= fair]
    ends = {name: end for name, (_, end) in LIMITS.items() if end is not None and not (name == "missing" and enough)}
    bad = any(of[name] >= end for name, end in ends.items())
    if of["beats"] < BEATS[0]:
        problems.append("beats")
    verdict = UNUSABLE if bad or of["beats"] < BEATS[1] else FAIR if problems else GOOD
    return verdict, [_WORDS[name] for name in problems]


def _reason(
    verdicts: list[str],
    alive: np.ndarray,
    stuck: np.ndarray,
    measures: dict[str, np.ndarray],
    strength: np.ndarray,
    heart: bool,
) -> str:
    """Why a recording is unusable; "" if it is usable."""
    if not alive.any():
        return f"every lead is {'saturated' if stuck.any() else 'flat'}"
    if (measures["clipped"][alive] >= (LIMITS["clipped"][1] or 1)).all():
        return "every lead is saturated"
    if not np.isnan(measures["beats"]).all() and not heart:
        hum = np.median(measures["mains"][alive]) > np.median(strength[alive])
        return "mains hum and no heartbeat" if hum else "noise and no heartbeat"
    if all(one == UNUSABLE for one in verdicts):
        return "no lead is usable"
    return ""


def _clipped(x: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Fraction of the samples at which a lead stays at its highest or lowest value, (12,)."""
    high, low = x.max(axis=1, keepdims=True), x.min(axis=1, keepdims=True)
    width = max(3, round(HELD * sampling_rate))
    if x.shape[1] <= width:
        return np.zeros(len(x))
    share = np.zeros(len(x))
    margin = 1e-4 * (high - low)
    for at in (x >= high - margin, x <= low + margin):
        often = at.sum(axis=1) >= width
        if often.any():
            share[often] += (sliding_sum(at[often], width) == width).mean(axis=1)
    return np.where((high - low)[:, 0] < FLAT_SECOND, 0.0, share)


def _disconnected(measures: dict[str, np.ndarray], waves: Waves) -> np.ndarray:
    """The leads that hold hum or noise and no beats, while others show beats, (12,) bool."""
    if not (measures["beats"] >= BEATS[0]).any():
        return np.zeros(len(LEADS), bool)
    artefact = np.hypot(measures["mains"], measures["noise"])
    return (measures["beats"] < BEATS[1]) & (artefact > waves.strength())
