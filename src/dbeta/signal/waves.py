"""Frequency bands of a recording and where its beats are: the measures behind `dbeta.signal.quality`.

Beats are distinguished from noise without detecting them: within a heartbeat, the 5–25 Hz of the QRS complex are
concentrated in a twentieth of the time, while noise is spread over all of it.
"""

from __future__ import annotations

import numpy as np

from dbeta.ecg import INDEPENDENT_LEADS, LEADS

#: Fraction of the recording at each end over which the transform's window fades.
FADE = 0.05
#: Hz at which beats are located; noise between them at twice that.
COARSE = 125
#: mV, RMS at 50 or 60 Hz from which mains hum is a problem.
MAINS = 0.03
#: `gathered` of all leads together below which a recording shows no beats, and if all leads show the same signal: a
#: single lead of noise reaches higher values by chance.
ANY_BEATS, ANY_BEATS_ALONE = 1.6, 2.6
#: Fraction of the highest points of the common envelope that a beat reaches.
HIGH_ENOUGH = 0.4
#: mV of 5–25 Hz during the beats that at least one lead must show.
LOWEST_BEAT = 0.015
#: Factor by which frequencies above 40 Hz may exceed those below 30 Hz.
FASTEST = 5.0
#: Fraction of the leads' variance in one direction above which they all show the same and count as one.
SAME = 0.99
#: Fraction of it in three directions above which waves without beats come from a heart, as in ventricular fibrillation:
#: a heart is nearly a dipole seen from twelve sides, while noise differs in each electrode.
COMMON = 0.95


def sliding_sum(x: np.ndarray, width: int) -> np.ndarray:
    """Sums of `width` neighbours: (leads, samples) → (leads, samples − width + 1)."""
    sums = np.cumsum(x, axis=1, dtype=np.float64)
    return np.concatenate([sums[:, width - 1 : width], sums[:, width:] - sums[:, :-width]], axis=1)


def spectrum(x: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform of (leads, samples) without mean, faded at both ends: frequencies in Hz, (leads, F) complex.

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


class Waves:
    """Frequency bands of a recording (12, samples), and where its beats are.

    Args:
        x: (12, samples) mV, finite.
        sampling_rate: Hz.
        alive: (12,) bool, the leads that hold a signal.
        active: (seconds,) bool, when at least one lead does.
    """

    def __init__(self, x: np.ndarray, sampling_rate: float, alive: np.ndarray, active: np.ndarray) -> None:
        """Transform the recording and locate its beats."""
        self.alive = alive
        self.f, self.transform = spectrum(x, sampling_rate)
        self.power = np.abs(self.transform) ** 2  # (12, F) mV²
        self.coarse = max(round(x.shape[1] / sampling_rate * COARSE), 2)
        fade = max(int(FADE * self.coarse), 1)
        inner = np.resize(np.repeat(active, COARSE), self.coarse)
        inner[:fade] = inner[-fade:] = False
        self.inner = np.flatnonzero(inner)
        self.gathered = 0.0
        self.common = np.zeros(self.coarse)  # envelope of the leads with the clearest beats, 1 on average
        self.during = self.between = np.zeros(0, int)
        width = min(max(COARSE // 10, 1), self.coarse)
        qrs = np.abs(self.band(5, 25, self.coarse))
        self.envelope = np.zeros_like(qrs)  # (12, coarse) mV, mean over 100 ms
        self.envelope[:, width // 2 : width // 2 + self.coarse - width + 1] = sliding_sum(qrs, width) / width
        if alive.any() and len(self.inner) >= COARSE // 4:
            self._find_beats()

    def _find_beats(self) -> None:
        """Locate where the leads with the clearest beats are strongest, and where they are quiet."""
        own = self.envelope[self.alive][:, self.inner]
        low, high = np.quantile(own, [0.5, 0.95], axis=1)
        clearest = np.argsort(-high / (low + 1e-9))[: (len(own) + 1) // 2]
        common = (own[clearest] / (own[clearest].mean(axis=1, keepdims=True) + 1e-9)).mean(axis=0)
        low, high = np.quantile(common, [0.5, 0.95])
        self.gathered = float(high / (low + 1e-9))
        self.common[self.inner] = common
        self.during, self.between = self.inner[common >= high], self.inner[common <= low]

    def band(self, low: float, high: float, samples: int, without: np.ndarray | None = None) -> np.ndarray:
        """The leads between two frequencies, (12, samples), except frequencies in `without`, (12, F) bool."""
        within = np.where((self.f >= low) & (self.f < high), self.transform, 0)
        within = (within if without is None else np.where(without, 0, within))[:, : samples // 2 + 1]
        return np.fft.irfft(within, samples) * np.float32(samples / np.sqrt(2))

    def _mean_square(self, low: float, high: float) -> np.ndarray:
        return self.power[:, (self.f >= low) & (self.f < high)].sum(axis=1)

    def strength(self) -> np.ndarray:
        """RMS of 0.5–40 Hz, the band of an ECG, (12,) mV."""
        return np.sqrt(self._mean_square(0.5, 40))

    def wander(self) -> np.ndarray:
        """RMS below 0.5 Hz, (12,) mV."""
        return np.sqrt(self._mean_square(0, 0.5))

    def mains(self) -> np.ndarray:
        """RMS at 50 or 60 Hz in excess of the neighbouring frequencies, (12,) mV."""
        above = [
            self._mean_square(hum - 0.7, hum + 0.7)
            - (self._mean_square(hum - 2.8, hum - 1.4) + self._mean_square(hum + 1.4, hum + 2.8)) / 2
            for hum in (50, 60)
        ]
        return np.sqrt(np.maximum(np.max(above, axis=0), 0))

    def noise(self) -> np.ndarray:
        """RMS of 25–100 Hz between the beats, without mains hum, (12,) mV."""
        if not len(self.between):
            return np.zeros(len(self.power))
        mains = self.mains()
        hums = mains >= MAINS
        # Strong hum is filtered out, because its variation would look like noise
        near = (np.abs(self.f - 50) < 1.4) | (np.abs(self.f - 60) < 1.4)
        wave = self.band(25, 100, 2 * self.coarse, hums[:, None] & near)[:, 2 * self.between]
        square = (wave**2).mean(axis=1)
        return np.sqrt(np.maximum(square - np.where(hums, 0, mains**2), 0))

    def beats(self) -> np.ndarray:
        """Ratio of 5–25 Hz during the recording's beats to those between them, (12,)."""
        if not len(self.between):
            return np.zeros(len(self.envelope))
        return self.envelope[:, self.during].mean(axis=1) / (self.envelope[:, self.between].mean(axis=1) + 1e-9)

    def beat_positions(self, apart: float) -> np.ndarray:
        """Where the beats are, in samples at `COARSE` Hz: the highest points at least `apart` seconds from a higher."""
        reach = round(apart * COARSE)
        if not len(self.between):
            return np.zeros(0, int)
        near = np.lib.stride_tricks.sliding_window_view(np.pad(self.common, reach), 2 * reach + 1).max(axis=1)
        high = HIGH_ENOUGH * np.quantile(self.common, 0.97)
        return np.flatnonzero((self.common >= near) & (self.common > high))

    def any_beats(self) -> bool:
        """Whether there are beats, or waves that come from a heart without beats."""
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
        """Fraction of the independent leads' variance (1–30 Hz) in one direction, and in three."""
        rows = [LEADS.index(lead) for lead in INDEPENDENT_LEADS if self.alive[LEADS.index(lead)]]
        if len(rows) < 2:
            return 1.0, 1.0
        within = self.transform[rows][:, (self.f >= 1) & (self.f < 30)]
        within = within / (np.linalg.norm(within, axis=1, keepdims=True) + 1e-12)
        shares = np.linalg.eigvalsh((within @ within.conj().T).real)[::-1] / len(rows)
        # With few leads, three directions hold nearly all of it anyway
        return float(shares[0]), float(shares[:3].sum()) if len(rows) >= 6 else 0.0
