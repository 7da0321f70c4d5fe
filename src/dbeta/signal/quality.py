"""How well a recording was made: flat, saturated, disconnected or noisy leads, and whether it shows a heart at all.

Special here: own measures, not a library's. NeuroKit2's `ecg_quality` takes one lead at a time, after finding beats,
and its "averageQRS" compares beats with their own mean, so that it cannot say of noise that it is noise; `wfdb` has
none. These are few, in units a reader can check, and one Fourier transform serves all twelve leads. The thresholds were
chosen on folds 1–8 of PTB-XL (`benchmarks/lead_checks.py FOLDER --quality`). NumPy alone, so that processes that read
ahead can use it.

A beat is told from noise without finding beats: within a heartbeat the 5–25 Hz of QRS complexes are gathered in a
twentieth of the time, while noise is spread over all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS
from dbeta.errors import DBetaError
from dbeta.signal.preprocess import fill_gaps

GOOD, FAIR, UNUSABLE = "good", "fair", "unusable"

#: Seconds of a recording that are looked at.
ASSESSED = 60.0
#: mV peak to peak within a second below which nothing was recorded; the noise of any amplifier is more.
FLAT_SECOND = 0.005
#: mV from which a lead that does not change stands at the end of an amplifier's range.
RAIL = 2.0
#: Seconds for which a lead must stay at its highest or lowest value to count as cut off there.
HELD = 0.02
#: Share of the recording at both ends where the transform's window fades.
FADE = 0.05
#: Seconds below which a recording may hold no beat, or one alone, and is not blamed for it.
BEAT = 2.0
#: Hz at which the beats are looked for; noise between them at twice that.
COARSE = 125

#: From which value on a measure makes a lead fair, and unusable; None: by itself it does not.
LIMITS: dict[str, tuple[float, float | None]] = {
    "missing": (0.01, 0.5),  # share of the samples
    "flat": (0.1, 0.5),  # share of the seconds
    "clipped": (0.01, 0.3),  # share of the samples
    "wander": (0.25, 2.0),  # mV, root mean square below 0.5 Hz
    "mains": (0.03, None),  # mV, root mean square at 50 or 60 Hz
    "noise": (0.05, None),  # mV, root mean square of 25–100 Hz between the beats
}
#: `beats` below which a lead is fair, and unusable.
BEATS = (2.5, 1.5)
#: `beats` of all leads together below which a recording shows none; alone, a lead of noise gathers more by chance.
ANY_BEATS, ANY_BEATS_ALONE = 1.6, 2.6
#: mV of 5–25 Hz during the beats that at least one lead must show.
LOWEST_BEAT = 0.015
#: Times by which what is faster than 40 Hz may be stronger than what is slower than 30 Hz.
FASTEST = 5.0
#: Share of the leads' variance in one direction from which they all show the same, and count as one.
SAME = 0.99
#: Share of it in three directions from which waves without beats are a heart's, as in ventricular fibrillation: a
#: heart is near a dipole, seen from twelve sides; noise is in every electrode another.
COMMON = 0.95

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
    """What `assess_quality` finds.

    Attributes:
        verdict: "good", "fair" or "unusable", of the whole recording.
        reason: why there is no usable signal, in words; "" where there is.
        leads: verdict of each of the twelve.
        problems: what is wrong with each lead, in words; an empty list where nothing is.
        measures: by name an array (12,): `missing` and `clipped` (share of the samples), `flat` (share of the seconds),
            `wander`, `mains` and `noise` (root mean square, mV), `beats` (times by which 5–25 Hz are stronger during
            beats than between them); NaN where a lead holds nothing, or the recording is too short for it.
    """

    verdict: str
    reason: str
    leads: dict[str, str]
    problems: dict[str, list[str]]
    measures: dict[str, np.ndarray]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each lead, as JSON takes it."""
        return [
            {"lead": lead, "quality": self.leads[lead], "problems": self.problems[lead]}
            | {name: None if np.isnan(of[i]) else round(float(of[i]), 4) for name, of in self.measures.items()}
            for i, lead in enumerate(LEADS)
        ]


def assess_quality(ecg: ECG) -> Quality:
    """Judge the first minute of a recording, each lead and the whole.

    Args:
        ecg: any leads, mV.

    Returns:
        The verdicts. A lead that is missing is unusable. A recording is unusable where every lead is or where no lead
        shows a heart: noise, mains hum, flat or saturated throughout; it is fair where a lead is unusable or three
        are fair. What looks like a heart may still be an artefact, or a machine's.
    """
    try:
        ecg = ecg.standard()
    except DBetaError as error:
        return _nothing(str(error))
    x = ecg.signal[:, : max(round(ASSESSED * ecg.sampling_rate), 1)].astype(np.float32)  # (12, samples)
    x[~(np.abs(x) < 1e9)] = np.nan  # no voltage, and its square would overflow
    finite = np.isfinite(x)
    fill_gaps(x)
    second = max(min(round(ecg.sampling_rate), x.shape[1]), 1)
    seconds = x[:, : x.shape[1] // second * second].reshape(len(x), -1, second)
    dead = np.ptp(seconds, axis=2) < FLAT_SECOND  # (12, seconds)
    measures = {
        "missing": 1 - finite.mean(axis=1),
        "flat": dead.mean(axis=1),
        "clipped": _clipped(x, ecg.sampling_rate),
    }
    alive = finite.any(axis=1) & (measures["flat"] < 1)
    waves = _Waves(x, ecg.sampling_rate, alive, ~dead[alive].all(axis=0))
    measures |= {"wander": waves.wander(), "mains": waves.mains(), "noise": waves.noise(), "beats": waves.beats()}
    for name in ("clipped", "wander", "mains", "noise", "beats"):
        told = alive if name != "beats" or ecg.duration >= BEAT else np.zeros_like(alive)
        measures[name] = np.where(told, measures[name], np.nan)

    leads, problems = {}, {}
    for i, lead in enumerate(LEADS):
        leads[lead], problems[lead] = _judge({name: float(of[i]) for name, of in measures.items()})
    for row in waves.disconnected(measures):
        problems[LEADS[row]].append("disconnected")
    stuck = (measures["missing"] < 1) & (measures["flat"] == 1) & (np.abs(np.median(x, axis=1)) >= RAIL)
    for row in np.flatnonzero(stuck):
        problems[LEADS[row]] = [_WORDS["clipped"]]
    reason = _reason(list(leads.values()), alive, stuck, measures, waves)
    if reason:
        return Quality(UNUSABLE, reason, leads, problems, measures)
    worst = sum(one == UNUSABLE for one in leads.values()), sum(one == FAIR for one in leads.values())
    return Quality(FAIR if worst[0] or worst[1] >= 3 else GOOD, "", leads, problems, measures)


def _nothing(reason: str) -> Quality:
    empty = {name: np.full(len(LEADS), np.nan) for name in (*LIMITS, "beats")} | {"missing": np.ones(len(LEADS))}
    leads, problems = dict.fromkeys(LEADS, UNUSABLE), {lead: ["missing"] for lead in LEADS}
    return Quality(UNUSABLE, reason, leads, problems, empty)


def _judge(of: dict[str, float]) -> tuple[str, list[str]]:
    """Verdict of one lead, and what is wrong with it."""
    if of["missing"] == 1:
        return UNUSABLE, ["missing"]
    if of["flat"] == 1:
        return UNUSABLE, ["flat"]
    problems = [name for name, (fair, _) in LIMITS.items() if of[name] >= fair]
    bad = any(end is not None and of[name] >= end for name, (_, end) in LIMITS.items())
    if of["beats"] < BEATS[0]:
        problems.append("beats")
    verdict = UNUSABLE if bad or of["beats"] < BEATS[1] else FAIR if problems else GOOD
    return verdict, [_WORDS[name] for name in problems]


def _reason(
    verdicts: list[str], alive: np.ndarray, stuck: np.ndarray, measures: dict[str, np.ndarray], waves: _Waves
) -> str:
    """Why nothing can be said of a recording, or ""."""
    if not alive.any():
        return f"every lead is {'saturated' if stuck.any() else 'flat'}"
    if (measures["clipped"][alive] >= (LIMITS["clipped"][1] or 1)).all():
        return "every lead is saturated"
    if not np.isnan(measures["beats"]).all() and not waves.any_beats():
        hum = np.median(measures["mains"][alive]) > np.median(waves.strength()[alive])
        return "mains hum and no heartbeat" if hum else "noise and no heartbeat"
    if all(one == UNUSABLE for one in verdicts):
        return "no lead is usable"
    return ""


def _clipped(x: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Share of the samples at which a lead stays at its highest or lowest value, (12,)."""
    high, low = x.max(axis=1, keepdims=True), x.min(axis=1, keepdims=True)
    width = max(3, round(HELD * sampling_rate))
    if x.shape[1] <= width:
        return np.zeros(len(x))
    share = np.zeros(len(x))
    margin = 1e-4 * (high - low)
    for at in (x >= high - margin, x <= low + margin):
        often = at.sum(axis=1) >= width
        if often.any():
            share[often] += (_sliding_sum(at[often], width) == width).mean(axis=1)
    return np.where((high - low)[:, 0] < FLAT_SECOND, 0.0, share)


def _sliding_sum(x: np.ndarray, width: int) -> np.ndarray:
    """Sums of `width` neighbours: (leads, samples) → (leads, samples − width + 1)."""
    sums = np.cumsum(x, axis=1, dtype=np.float64)
    return np.concatenate([sums[:, width - 1 : width], sums[:, width:] - sums[:, :-width]], axis=1)


def spectrum(x: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform of (leads, samples) less its mean, faded at both ends: frequencies in Hz, (leads, F) complex.

    Scaled so that the squared magnitudes sum up to the mean square of the samples.
    """
    samples = x.shape[1]
    fade = max(int(FADE * samples), 1)
    window = np.ones(samples, np.float32)
    window[:fade] = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade) ** 2
    window[-fade:] = window[:fade][::-1]
    transform = np.fft.rfft((x - x.mean(axis=1, keepdims=True)) * window)
    scale = np.sqrt(2 / np.mean(window**2)) / samples
    return np.fft.rfftfreq(samples, 1 / sampling_rate), transform * np.float32(scale)


class _Waves:
    """The frequencies of a recording (12, samples), and where its beats are.

    Args:
        x: (12, samples) mV, finite.
        sampling_rate: Hz.
        alive: (12,) bool, the leads that hold something.
        active: (seconds,) bool, when at least one does.
    """

    def __init__(self, x: np.ndarray, sampling_rate: float, alive: np.ndarray, active: np.ndarray) -> None:
        self.alive = alive
        self.f, self.transform = spectrum(x, sampling_rate)
        self.power = np.abs(self.transform) ** 2  # (12, F) mV²
        self.coarse = max(round(x.shape[1] / sampling_rate * COARSE), 2)
        fade = max(int(FADE * self.coarse), 1)
        inner = np.resize(np.repeat(active, COARSE), self.coarse)
        inner[:fade] = inner[-fade:] = False
        self.inner = np.flatnonzero(inner)
        self.gathered = 0.0
        self.during = self.between = np.zeros(0, int)
        width = min(max(COARSE // 10, 1), self.coarse)
        qrs = np.abs(self._wave(5, 25, self.coarse))
        self.envelope = np.zeros_like(qrs)  # (12, coarse) mV, mean over 100 ms
        self.envelope[:, width // 2 : width // 2 + self.coarse - width + 1] = _sliding_sum(qrs, width) / width
        if alive.any() and len(self.inner) >= COARSE // 4:
            self._find_beats()

    def _find_beats(self) -> None:
        """Where the leads that show beats best are strongest, and where they are quiet."""
        own = self.envelope[self.alive][:, self.inner]
        low, high = np.quantile(own, [0.5, 0.95], axis=1)
        clearest = np.argsort(-high / (low + 1e-9))[: (len(own) + 1) // 2]
        common = (own[clearest] / (own[clearest].mean(axis=1, keepdims=True) + 1e-9)).mean(axis=0)
        low, high = np.quantile(common, [0.5, 0.95])
        self.gathered = float(high / (low + 1e-9))
        self.during, self.between = self.inner[common >= high], self.inner[common <= low]

    def _wave(self, low: float, high: float, samples: int, without: np.ndarray | None = None) -> np.ndarray:
        """The leads between two frequencies, (12, samples); `without` those that (12, F) bool marks."""
        within = np.where((self.f >= low) & (self.f < high), self.transform, 0)
        within = (within if without is None else np.where(without, 0, within))[:, : samples // 2 + 1]
        return np.fft.irfft(within, samples) * np.float32(samples / np.sqrt(2))

    def _mean_square(self, low: float, high: float) -> np.ndarray:
        return self.power[:, (self.f >= low) & (self.f < high)].sum(axis=1)

    def strength(self) -> np.ndarray:
        """Root mean square of what an ECG is made of, 0.5–40 Hz, (12,) mV."""
        return np.sqrt(self._mean_square(0.5, 40))

    def wander(self) -> np.ndarray:
        """Root mean square below 0.5 Hz, (12,) mV."""
        return np.sqrt(self._mean_square(0, 0.5))

    def mains(self) -> np.ndarray:
        """Root mean square at 50 or 60 Hz above that of the frequencies around, (12,) mV."""
        above = [
            self._mean_square(hum - 0.7, hum + 0.7)
            - (self._mean_square(hum - 2.8, hum - 1.4) + self._mean_square(hum + 1.4, hum + 2.8)) / 2
            for hum in (50, 60)
        ]
        return np.sqrt(np.maximum(np.max(above, axis=0), 0))

    def noise(self) -> np.ndarray:
        """Root mean square of 25–100 Hz without mains, between the beats, (12,) mV."""
        if not len(self.between):
            return np.zeros(len(self.power))
        mains = self.mains()
        hums = mains >= LIMITS["mains"][0]
        # Strong hum is cut out, as what its strength varies by would look like noise
        near = (np.abs(self.f - 50) < 1.4) | (np.abs(self.f - 60) < 1.4)
        wave = self._wave(25, 100, 2 * self.coarse, hums[:, None] & near)[:, 2 * self.between]
        square = (wave**2).mean(axis=1)
        return np.sqrt(np.maximum(square - np.where(hums, 0, mains**2), 0))

    def beats(self) -> np.ndarray:
        """Times by which 5–25 Hz are stronger during the recording's beats than between them, (12,)."""
        if not len(self.between):
            return np.zeros(len(self.envelope))
        return self.envelope[:, self.during].mean(axis=1) / (self.envelope[:, self.between].mean(axis=1) + 1e-9)

    def disconnected(self, measures: dict[str, np.ndarray]) -> np.ndarray:
        """Rows of the leads that hold hum or noise and no beat, while others show beats."""
        if not (measures["beats"] >= BEATS[0]).any():
            return np.zeros(0, int)
        artefact = np.hypot(measures["mains"], measures["noise"])
        return np.flatnonzero((measures["beats"] < BEATS[1]) & (artefact > self.strength()))

    def any_beats(self) -> bool:
        """Whether there are beats, or waves that are a heart's all the same."""
        if not len(self.between) or self.envelope[self.alive][:, self.during].mean(axis=1).max() < LOWEST_BEAT:
            return False
        slow, fast = np.sqrt(self._mean_square(1, 30)[self.alive].sum()), np.sqrt(self._mean_square(40, 1e9).sum())
        if fast > FASTEST * slow:
            return False
        one, three = self._directions()
        if one >= SAME:
            return self.gathered >= ANY_BEATS_ALONE
        return self.gathered >= ANY_BEATS or (three >= COMMON and fast < slow)

    def _directions(self) -> tuple[float, float]:
        """Share of the variance of 1–30 Hz that lies in one direction, and in three, of the independent leads."""
        rows = [LEADS.index(lead) for lead in INDEPENDENT_LEADS if self.alive[LEADS.index(lead)]]
        if len(rows) < 2:
            return 1.0, 1.0
        within = self.transform[rows][:, (self.f >= 1) & (self.f < 30)]
        within = within / (np.linalg.norm(within, axis=1, keepdims=True) + 1e-12)
        shares = np.linalg.eigvalsh((within @ within.conj().T).real)[::-1] / len(rows)
        # Of four leads three directions hold nearly all, whatever they show
        return float(shares[0]), float(shares[:3].sum()) if len(rows) >= 6 else 0.0
