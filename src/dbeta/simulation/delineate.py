"""Measures intervals, axis and amplitudes of any ECG with a delineator that is independent of the simulator.

Onsets and ends are found in several leads with NeuroKit2's prominence method (Emrich et al. 2024); medians are used.
This is a development tool (`pip install "dbeta[dev]"`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dbeta.ecg import LEADS
from dbeta.simulation.simulation import RATE, Simulation
from dbeta.simulation.torso import all_leads

#: Half-width in seconds of the window around an R peak in which a complex is measured.
BEFORE, AFTER = 0.07, 0.09
#: Leads in which onsets and ends are detected.
SEARCHED = ("I", "II", "V2", "V5")
#: Allowed deviation of the median over records from the simulation's parameters, and the delineator's own mean error:
#: with prominences, complexes begin late and end early (by 57 ms in normal ECGs, real or simulated, according to
#: `benchmarks/realism.py`), and T waves end after their steepest tangent. Units: per minute, seconds, degrees.
TOLERANCES = {
    "rate": (2.0, 0.0),
    "pr": (0.025, 0.012),
    "qrs": (0.025, -0.028),
    "qt": (0.035, 0.014),
    "axis": (8.0, 0.0),
}
#: Rhythms with a regular beat after each P wave. Above the first rate, delineators cannot find P waves, which lie in
#: the preceding T wave; above the second, nor the end of the T wave, which runs into the next P wave.
REGULAR, FASTEST, FAST = ("sinus rhythm", "sinus bradycardia", "sinus tachycardia"), 110.0, 75.0
#: Minimum T wave amplitude in mV for its end to be detectable.
UPRIGHT = 0.12
#: Minimum height of an R peak relative to the complex; lower peaks may be P or T waves.
COMPLEX = 0.3
WAVES = ("ECG_P_Onsets", "ECG_R_Onsets", "ECG_R_Offsets", "ECG_T_Offsets")


@dataclass
class Delineation:
    """Measurements of one recording; NaN if not found. Times in seconds, voltages in mV, leads in the standard order.

    Attributes:
        rate: ventricular rate per minute, from the median interval.
        mean_rate: ventricular rate per minute, from the mean interval.
        pr: from P onset to QRS onset.
        qrs: QRS duration.
        qt: from QRS onset to T end.
        axis: frontal axis in degrees.
        r: (12,) maximum voltage of the complex.
        s: (12,) magnitude of the complex's minimum voltage.
        t: (12,) peak voltage of the T wave, positive or negative.
    """

    rate: float
    mean_rate: float
    pr: float
    qrs: float
    qt: float
    axis: float
    r: np.ndarray
    s: np.ndarray
    t: np.ndarray


def delineate(signal: np.ndarray, rate: float) -> Delineation:
    """Delineate a recording.

    Args:
        signal: (12, T) mV in the standard lead order.
        rate: Hz.
    """
    import neurokit2

    nothing = Delineation(*[float("nan")] * 6, *[np.full(len(LEADS), np.nan)] * 3)  # type: ignore[arg-type]
    hertz = round(rate)
    size = np.sqrt(((signal - np.median(signal, axis=1, keepdims=True)) ** 2).sum(axis=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _, found = neurokit2.ecg_peaks(neurokit2.ecg_clean(size, sampling_rate=hertz), sampling_rate=hertz)
        except (ValueError, IndexError, ZeroDivisionError):
            return nothing
        peaks = np.asarray(found["ECG_R_Peaks"], dtype=int)
        if len(peaks):
            peaks = peaks[size[peaks] > COMPLEX * np.quantile(size[peaks], 0.75)]
        if len(peaks) < 4:
            return nothing
        waves: dict[str, list[float]] = {name: [] for name in WAVES}
        for lead in SEARCHED:
            x = signal[LEADS.index(lead)]
            try:
                _, marks = neurokit2.ecg_delineate(x, peaks, sampling_rate=hertz, method="prominence")
            except (ValueError, IndexError, ZeroDivisionError, TypeError):
                continue
            for name in WAVES:
                waves[name].append(_median(marks.get(name, []), peaks) / rate)
        p, onset, end, t = (np.nanmedian([np.nan, *waves[name]]) for name in WAVES)
    return Delineation(
        60 * rate / float(np.median(np.diff(peaks))),
        60 * rate / float(np.mean(np.diff(peaks))),
        float(onset - p),
        float(end - onset),
        float(t - onset),
        *_amplitudes(signal, peaks, rate),
    )


def _median(marks: Sequence[float], peaks: np.ndarray) -> float:
    """Median distance of marks from their R peaks, in samples; NaN without marks."""
    found = np.asarray(marks, dtype=float)
    count = min(len(found), len(peaks))
    return float(np.nanmedian(np.append(found[:count] - peaks[:count], np.nan)))


def _amplitudes(signal: np.ndarray, peaks: np.ndarray, rate: float) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Axis, R, S and T of the median beat."""
    before, after = round(0.30 * rate), round(0.50 * rate)
    whole = [peak for peak in peaks if peak >= before and peak + after < signal.shape[1]]
    if not whole:
        missing = np.full(len(LEADS), np.nan)
        return float("nan"), missing, missing, missing
    beat = np.median([signal[:, peak - before : peak + after] for peak in whole], axis=0)
    # Baseline: the interval between P wave and complex
    level = np.median(beat[:, before - round(0.09 * rate) : before - round(0.06 * rate)], axis=1, keepdims=True)
    beat = beat - level
    complexes = beat[:, before - round(BEFORE * rate) : before + round(AFTER * rate)]
    net = complexes.sum(axis=1)
    axis = float(np.degrees(np.arctan2(net[LEADS.index("aVF")] * 2 / np.sqrt(3), net[LEADS.index("I")])))
    later = beat[:, before + round(0.14 * rate) : before + round(0.42 * rate)]
    extreme = later[np.arange(len(LEADS)), np.abs(later).argmax(axis=1)]
    return axis, complexes.max(axis=1), -complexes.min(axis=1), extreme


def readable(some: Simulation) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether intervals and axis, and whether the end of T, can be measured in a record at all: (B,) bool each."""
    regular = torch.stack([some.findings[name] > 0 for name in REGULAR]).any(dim=0) & (some.measures.rate < FASTEST)
    regular &= ~(some.findings["premature complexes"] > 0)
    ends = some.measures.t[:, [LEADS.index("II"), LEADS.index("V5")]].amin(dim=1) > UPRIGHT
    return regular, regular & ends & (some.measures.rate < FAST)


def errors(some: Simulation, row: int) -> dict[str, float]:
    """Measurements of a noise-free record minus the simulated values and the delineator's own error.

    Args:
        some: simulated with `keep_clean`.
        row: which record.

    Returns:
        One value for each of `TOLERANCES`: NaN if it does not apply, infinite if it should have been measurable but was
        not. If beats are irregular, the rate is the mean rate.
    """
    regular, ends = (bool(one[row]) for one in readable(some))
    found = delineate(all_leads(some.clean.measured[row : row + 1])[0].numpy(), RATE)
    off = {}
    for measure, (_, share) in TOLERANCES.items():
        value = found.mean_rate if measure == "rate" and not regular else getattr(found, measure)
        off[measure] = value - float(getattr(some.measures, measure)[row]) - share
        if math.isnan(off[measure]):
            off[measure] = math.inf
        if measure != "rate" and not (ends if measure == "qt" else regular):
            off[measure] = float("nan")
    if math.isfinite(off["axis"]):
        off["axis"] = (off["axis"] + 180) % 360 - 180
    return off
