"""Samples that a recording lacks: missing ones, and leads that are flat while others show a signal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dbeta.ecg import FLAT
from dbeta.signal.lead_errors import LIMBS

#: Seconds that a lead must be flat to count as disconnected: longer than any pause between two waves.
FLAT_SECONDS = 1.0


def gaps(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Which samples a recording lacks.

    Not finite ones, and stretches of at least `FLAT_SECONDS` in which a lead is flat while another is not. Where all
    leads are flat at once, the heart may have paused, so this is a measurement.

    Args:
        signal: (leads, samples) in mV.
        sampling_rate: Hz.

    Returns:
        (leads, samples) bool.
    """
    missing = ~np.isfinite(signal)
    length = round(FLAT_SECONDS * sampling_rate)
    if length < 2 or signal.shape[1] < length:
        return missing
    flat = np.stack([_flat(row, length) for row in np.where(missing, np.nan, signal)])
    alive = (~missing & ~flat).any(axis=0)  # (samples,)
    for row, lacking in zip(flat, missing, strict=True):
        for begin, end in stretches(row):
            # Most of it, since a lead may by chance be flat a sample before or after the others
            lacking[begin:end] |= alive[begin:end].mean() > 0.5
    return missing


def stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """The runs of True in (samples,) bool, each as its first sample and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _flat(row: np.ndarray, length: int) -> np.ndarray:
    """Samples (n,) of stretches of at least `length` that stay within `FLAT` of one value."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    known, ahead = np.isfinite(row), -(length // 2)
    # Extremes of the stretch that begins at each sample; a missing sample is flat with nothing
    high = maximum_filter1d(np.where(known, row, np.inf), length, origin=ahead)
    low = minimum_filter1d(np.where(known, row, -np.inf), length, origin=ahead)
    begins = (high - low < FLAT)[: len(row) - length + 1]
    changes = np.zeros(len(row) + 1, int)
    changes[: len(begins)] += begins
    changes[length : length + len(begins)] -= begins
    return np.cumsum(changes[:-1]) > 0


def fill_limb_leads(signal: np.ndarray, missing: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
    """Fill in limb leads so that Einthoven's and Goldberger's equations hold.

    Where two or more limb leads are known at a sample, the others follow. Otherwise they are those nearest to `guess`
    (least squares) that agree with the equations and with the known one.

    Args:
        signal: (12, samples) in mV, in the standard order; changed in place.
        missing: (12, samples) bool, the samples to fill in; no others are changed.
        guess: (12, samples) in mV for samples that do not follow; None leaves them unchanged.

    Returns:
        (12, samples) bool, the samples that followed from two known limb leads.
    """
    followed = np.zeros_like(missing)
    for lacking, columns in _patterns(missing[:6]):
        known, basis = ~lacking, LIMBS
        if known.sum() >= 2:
            voltages = np.linalg.pinv(basis[known]) @ signal[:6][np.ix_(known, columns)]  # (2, n)
            followed[np.ix_(np.flatnonzero(lacking), columns)] = True
        elif guess is None:
            continue
        else:
            wanted = guess[:6][np.ix_(lacking, columns)]
            start = np.zeros((2, columns.size))
            free = np.eye(2)
            if known.any():
                start = np.linalg.pinv(basis[known]) @ signal[:6][np.ix_(known, columns)]
                free = np.array([[-basis[known][0, 1]], [basis[known][0, 0]]])  # leaves the known lead as it is
            step = np.linalg.pinv(basis[lacking] @ free) @ (wanted - basis[lacking] @ start)
            voltages = start + free @ step
        signal[np.ix_(np.flatnonzero(lacking), columns)] = basis[lacking] @ voltages
    return followed


def _patterns(missing: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each combination of missing leads that occurs, (leads,) bool with at least one, and its samples."""
    keys = (1 << np.arange(len(missing))) @ missing  # (samples,)
    for key in np.unique(keys[keys > 0]):
        yield (key >> np.arange(len(missing)) & 1).astype(bool), np.flatnonzero(keys == key)
