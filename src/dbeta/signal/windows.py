"""Cuts a recording of any length into windows as long as the model's input.

The last window of a long recording ends where the recording ends and overlaps the one before it, so that none is
padded. Needs NumPy only, so that reader processes need not load torch.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from dbeta.ecg import ECG
from dbeta.errors import DBetaWarning, NoSignalError
from dbeta.signal.preprocess import InputFormat, prepare_signal

#: Seconds at the end of a recording that are left out instead of getting their own window.
TAIL = 1.0
#: Seconds of a file that are read first, which covers most files entirely.
FIRST = 60.0
#: Seconds of a longer file that are read at a time.
PIECE = 300.0


def window_starts(duration: float, window: float) -> np.ndarray:
    """Start times of consecutive windows, with one more at the end for a remainder longer than `TAIL` seconds.

    Args:
        duration: length of the recording in seconds.
        window: length of a window in seconds.

    Returns:
        (n,) seconds from the beginning; only 0 for a recording shorter than a window.
    """
    whole = math.floor(duration / window + 1e-6)
    starts = [number * window for number in range(whole)] or [0.0]
    if whole and duration - whole * window > TAIL:
        starts.append(duration - window)
    return np.array(starts)


def first_stretch(window: float) -> float:
    """Seconds of a file to read first: whole windows, and the tail that would be left out."""
    return max(1, math.floor(FIRST / window)) * window + TAIL


def later_stretches(starts: np.ndarray, read: float, window: float) -> list[np.ndarray]:
    """The windows that end after the first `read` seconds, in pieces of `PIECE` seconds.

    Returns:
        The starts (k,) of each piece's windows.
    """
    left = starts[(starts > 0) & (starts + window > read + 1e-6)]
    size = max(1, math.floor(PIECE / window))
    return [left[at : at + size] for at in range(0, len(left), size)]


def cut_windows(
    ecg: ECG, starts: Sequence[float] | np.ndarray, wanted: InputFormat, offset: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Model input from windows of a recording, or of a stretch of it.

    Args:
        ecg: the recording or the stretch.
        starts: start times of the windows, in seconds of the whole recording.
        wanted: format of the model's input.
        offset: start time of the stretch in seconds.

    Returns:
        The starts (n,) of the windows that hold a signal, and the windows (n, leads, samples) float32.

    Raises:
        DBetaError: no window of the recording can be used.

    Warns:
        DBetaWarning: as `prepare_signal` does, for each window.
    """
    kept, windows = [], []
    for start in starts:
        try:
            windows.append(prepare_signal(window_at(ecg, start, wanted, offset), wanted))
            kept.append(start)
        except NoSignalError:
            if len(starts) == 1 and offset == 0:  # a short recording, whose error is informative
                raise
    empty = np.zeros((0, len(wanted.leads), wanted.n_samples), np.float32)
    return np.array(kept), np.stack(windows) if windows else empty


def window_at(ecg: ECG, start: float, wanted: InputFormat, offset: float = 0.0) -> ECG:
    """One window of a recording, or of a stretch of it that begins at `offset` seconds, not resampled."""
    used = round(wanted.duration * ecg.sampling_rate)
    meta = {name: value for name, value in ecg.meta.items() if name != "duration"}
    # The last window may begin between two samples
    begin = max(0, min(round((start - offset) * ecg.sampling_rate), ecg.signal.shape[1] - used))
    return ECG(ecg.signal[:, begin : begin + used], ecg.sampling_rate, ecg.leads, meta=meta)


def merge_notes(notes: Iterable[str]) -> list[str]:
    """Merge the warnings of many windows that differ only in numbers (except in lead names), with their count."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(re.sub(r"(?<![\w.])[\d.]+", "", note), []).append(note)
    return [same[0] if len(same) == 1 else f"{same[0]} (in {len(same)} windows)" for same in kinds.values()]


def warn_all(notes: Iterable[str]) -> None:
    """Issue each note as a `DBetaWarning`."""
    for note in notes:
        warnings.warn(note, DBetaWarning, stacklevel=3)
