"""Intervals, axis and amplitudes of any ECG, by a delineator that knows nothing of the simulator.

Special here: onsets and ends are looked for in the spatial magnitude of all leads, as the CSE Working Party (1985) has
it, by NeuroKit2's wavelet delineator (Martínez et al. 2004). It is a development tool (`pip install "dbeta[dev]"`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from dbeta.ecg import LEADS

#: Seconds around an R peak in which a complex is looked at.
BEFORE, AFTER = 0.07, 0.09


@dataclass
class Delineation:
    """Of one recording; NaN where nothing was found. Times in seconds, voltages in mV, leads in the standard order.

    Attributes:
        rate: ventricular, per minute.
        pr: from the onset of P to that of QRS.
        qrs: duration.
        qt: from the onset of QRS to the end of T.
        axis: degrees in the frontal plane.
        r: (12,) highest voltage of the complex.
        s: (12,) deepest voltage of the complex, as a positive number.
        t: (12,) the T wave's extreme.
    """

    rate: float
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

    nothing = Delineation(*[float("nan")] * 5, *[np.full(len(LEADS), np.nan)] * 3)  # type: ignore[arg-type]
    baseline = np.median(signal, axis=1, keepdims=True)
    size = np.sqrt(((signal - baseline) ** 2).sum(axis=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cleaned = neurokit2.ecg_clean(size, sampling_rate=round(rate), method="neurokit")
            _, found = neurokit2.ecg_peaks(cleaned, sampling_rate=round(rate), method="neurokit")
            peaks = np.asarray(found["ECG_R_Peaks"], dtype=int)
            if len(peaks) < 4:
                return nothing
            _, waves = neurokit2.ecg_delineate(size, peaks, sampling_rate=round(rate), method="dwt")
        except (ValueError, IndexError, ZeroDivisionError, TypeError):
            return nothing
    at = {name: np.asarray(values, dtype=float)[: len(peaks)] for name, values in waves.items()}
    onset, end = at["ECG_R_Onsets"], at["ECG_R_Offsets"]
    amplitudes = _amplitudes(signal, peaks, rate)
    return Delineation(
        60 * rate / float(np.median(np.diff(peaks))),
        _median(onset - at["ECG_P_Onsets"]) / rate,
        _median(end - onset) / rate,
        _median(at["ECG_T_Offsets"] - onset) / rate,
        *amplitudes,
    )


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _amplitudes(signal: np.ndarray, peaks: np.ndarray, rate: float) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Axis, R, S and T of the median beat."""
    before, after = round(0.30 * rate), round(0.50 * rate)
    whole = [peak for peak in peaks if peak >= before and peak + after < signal.shape[1]]
    if not whole:
        missing = np.full(len(LEADS), np.nan)
        return float("nan"), missing, missing, missing
    beat = np.median([signal[:, peak - before : peak + after] for peak in whole], axis=0)
    # The baseline: between P wave and complex
    level = np.median(beat[:, before - round(0.09 * rate) : before - round(0.06 * rate)], axis=1, keepdims=True)
    beat = beat - level
    complexes = beat[:, before - round(BEFORE * rate) : before + round(AFTER * rate)]
    net = complexes.sum(axis=1)
    axis = float(np.degrees(np.arctan2(net[LEADS.index("aVF")] * 2 / np.sqrt(3), net[LEADS.index("I")])))
    later = beat[:, before + round(0.14 * rate) : before + round(0.42 * rate)]
    extreme = later[np.arange(len(LEADS)), np.abs(later).argmax(axis=1)]
    return axis, complexes.max(axis=1), -complexes.min(axis=1), extreme
