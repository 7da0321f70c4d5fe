"""Turns an ECG into model input. Needs NumPy only, so that reader processes need not load torch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dbeta.ecg import ECG, FLAT, LEADS
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError

#: Hz; below this rate the QRS complex is lost (its energy lies at 5–25 Hz). AHA/ACC/HRS 2007 recommend 500 Hz.
LOWEST_SAMPLING_RATE = 40.0
#: Hz; no electrocardiograph samples faster, so a higher rate is in another unit.
HIGHEST_SAMPLING_RATE = 1e6
#: Hz; below this rate high-frequency detail (pacing spikes, notches) is missing.
DETAILED_SAMPLING_RATE = 100.0
#: Seconds; a shorter recording cannot hold a heartbeat, and padding would determine the result.
SHORTEST = 0.3
#: mV; no heart reaches this voltage at the skin, so such samples are in another unit.
HIGHEST_VOLTAGE = 50.0


@dataclass(frozen=True)
class InputFormat:
    """Format of a model's input.

    Args:
        sampling_rate: Hz.
        n_samples: samples per lead; longer recordings are cut after these, shorter ones padded.
        leads: lead names in the order the model reads them.
        signal_scale: "mv" leaves millivolts; "lead_zscore" standardises each lead over the recording.
    """

    sampling_rate: int = 500
    n_samples: int = 5000
    leads: tuple[str, ...] = LEADS
    signal_scale: str = "mv"

    @property
    def duration(self) -> float:
        """Seconds of the model's input."""
        return self.n_samples / self.sampling_rate


def prepare_signal(ecg: ECG, wanted: InputFormat) -> np.ndarray:
    """Model input from one recording: (leads, samples), float32.

    Selects leads by name, interpolates missing samples, resamples (polyphase), cuts to the first `duration` seconds or
    pads the end with each lead's median, and applies `signal_scale`. A missing lead that cannot be computed from the
    others is 0, as in pretraining (`lead_mask_prob`).

    Raises:
        DBetaError: there is no signal, or the sampling rate is implausible or too low to show a QRS complex.

    Warns:
        DBetaWarning: a lead is missing or flat, the recording is cut or padded, the rate is low, the unit looks wrong.
    """
    name = str(ecg.meta.get("source", "recording"))
    try:
        ecg = ecg.standard()
    except NoSignalError as error:
        raise NoSignalError(f"{name}: {error}") from None
    check_extent(ecg.sampling_rate, ecg.duration, name)
    if ecg.sampling_rate < DETAILED_SAMPLING_RATE:
        _warn(f"{name}: only {ecg.sampling_rate:g} Hz, fine detail is missing and findings are less certain")
    full_length = float(ecg.meta.get("duration", ecg.duration))
    if full_length > wanted.duration + 1:
        _warn(f"{name}: {full_length:.1f} s long, only the first {wanted.duration:g} s are used")

    used = round(wanted.duration * ecg.sampling_rate)
    x = np.stack([ecg[lead] for lead in wanted.leads])[:, :used].astype(np.float64)  # (leads, samples)
    x = _without_gaps(x, wanted.leads, name)
    if np.abs(x).max() > HIGHEST_VOLTAGE:
        _warn(f"{name}: voltages up to {np.abs(x).max():.3g} mV, the unit of the file may not be mV")
    ratio = Fraction(wanted.sampling_rate / ecg.sampling_rate).limit_denominator(10_000)
    if ratio != 1:
        # Imported only if needed, as it takes half a second
        from scipy.signal import resample_poly

        x = resample_poly(x, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    x = x[:, : wanted.n_samples]
    if x.shape[1] < wanted.n_samples:
        if ecg.duration < 0.95 * wanted.duration:
            _warn(f"{name}: only {ecg.duration:.1f} s long, padded to {wanted.duration:g} s")
        gap = wanted.n_samples - x.shape[1]
        x = np.concatenate([x, np.median(x, axis=1, keepdims=True).repeat(gap, axis=1)], axis=1)
    if wanted.signal_scale == "lead_zscore":
        x = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-6)
    return x.astype(np.float32)


def check_extent(sampling_rate: float, duration: float, name: str) -> None:
    """Refuse a recording that cannot show a heartbeat.

    Args:
        sampling_rate: Hz.
        duration: seconds.
        name: name of the recording, for the message.

    Raises:
        DBetaError: the sampling rate is implausible or too low to show a QRS complex, or the recording is too short.
    """
    if sampling_rate < LOWEST_SAMPLING_RATE:
        raise DBetaError(
            f"{name}: {sampling_rate:g} Hz is too slow to show a QRS complex; "
            f"at least {LOWEST_SAMPLING_RATE:g} Hz is needed"
        )
    if sampling_rate > HIGHEST_SAMPLING_RATE:
        raise DBetaError(f"{name}: {sampling_rate:g} Hz is too fast for an ECG; correct the sampling rate")
    if duration < SHORTEST:
        raise DBetaError(f"{name}: {duration:.3g} s is too short to hold a heartbeat; give at least {SHORTEST} s")


def fill_gaps(signal: np.ndarray) -> None:
    """Interpolate missing (not finite) samples of (leads, samples) in place; a lead without valid samples becomes 0."""
    finite = np.isfinite(signal)
    if finite.all():
        return
    at = np.arange(signal.shape[1])
    for row, good in zip(signal, finite, strict=True):
        row[~good] = np.interp(at[~good], at[good], row[good]) if good.any() else 0.0


def _without_gaps(x: np.ndarray, leads: tuple[str, ...], name: str) -> np.ndarray:
    finite = np.isfinite(x)
    recorded = finite.any(axis=1)  # (leads,)
    if not recorded.any():
        raise NoSignalError(f"{name}: holds no signal, every sample is missing")
    if not recorded.all():
        missing = [lead for lead, there in zip(leads, recorded, strict=True) if not there]
        only = f"only {leads[int(recorded.argmax())]} is present, and " if len(missing) == len(leads) - 1 else ""
        _warn(f"{name}: lead {', '.join(missing)} is missing and masked; {only}findings are less certain")
    if not finite[recorded].all():
        _warn(f"{name}: {(~finite[recorded]).mean():.1%} of the samples are missing, interpolated")
    fill_gaps(x)
    flat = [lead for lead, row, there in zip(leads, x, recorded, strict=True) if there and np.ptp(row) < FLAT]
    if len(flat) == recorded.sum():
        raise NoSignalError(f"{name}: holds no signal, every lead is flat")
    if flat:
        _warn(f"{name}: lead {', '.join(flat)} is flat, findings based on it are unreliable")
    return x


def _warn(message: str) -> None:
    warnings.warn(message, DBetaWarning, stacklevel=3)
