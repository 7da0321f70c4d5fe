"""Prepares signals of corpus rows with random cropping and scaling."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dbeta.corpus.store import decode_signal
from dbeta.ecg import FLAT, LEADS
from dbeta.errors import DBetaWarning
from dbeta.signal.preprocess import InputFormat, prepare_signal


def augmented_signals(
    rows: Sequence[Mapping[str, Any]],
    wanted: InputFormat,
    generators: Sequence[np.random.Generator],
    *,
    crop: float = 0.0,
    gain_jitter: float = 0.0,
) -> np.ndarray:
    """Prepare signals as model input, augmented.

    Args:
        rows: B corpus rows.
        wanted: format of the model's input.
        generators: one source of randomness per row.
        crop: see `CollatorSettings`.
        gain_jitter: see `CollatorSettings`.

    Returns:
        (B, leads, samples) float32.
    """
    out = np.empty((len(rows), len(wanted.leads), wanted.n_samples), np.float32)
    plain = wanted.leads == LEADS and wanted.signal_scale == "mv"
    for x, row, rng in zip(out, rows, generators, strict=True):
        microvolts = np.frombuffer(row["signal"], "<i2").reshape(len(LEADS), -1)
        window = microvolts[:, _window(microvolts.shape[1], crop, rng)]
        cut = window.shape[1] < microvolts.shape[1]
        if cut and (np.ptp(window, axis=1) < FLAT * 1000).all():  # a crop without any signal
            window = microvolts
        if plain and row["sampling_rate"] == wanted.sampling_rate:
            # Same result as `prepare_signal`, many times faster
            window = window[:, : wanted.n_samples]
            length = window.shape[1]
            np.multiply(window, np.float32(1e-3), out=x[:, :length])
            if length < wanted.n_samples:
                x[:, length:] = np.median(window, axis=1, keepdims=True) * 1e-3
        else:
            x[:] = _prepared(dict(row), window, wanted)
        if gain_jitter:
            x *= np.exp(rng.standard_normal((len(x), 1), np.float32) * gain_jitter)
    return out


def _window(samples: int, crop: float, rng: np.random.Generator) -> slice:
    if rng.random() >= crop:
        return slice(0, samples)
    length = int(rng.integers(samples // 2, samples + 1))
    start = int(rng.integers(0, samples - length + 1))
    return slice(start, start + length)


def _prepared(row: dict[str, Any], window: np.ndarray, wanted: InputFormat) -> np.ndarray:
    ecg = decode_signal(row | {"signal": np.ascontiguousarray(window)})
    with warnings.catch_warnings():
        # Flat leads and short recordings were reported when the corpus was built
        warnings.simplefilter("ignore", DBetaWarning)
        return prepare_signal(ecg, wanted)
