"""A recording of any length → windows as long as the model's input.

Special here: no window of a long recording is padded, for the last one ends where the recording ends and overlaps the
one before it. NumPy alone, so that processes that read ahead need not load torch.
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

#: Seconds at the end of a recording that are left out rather than given a window of their own.
TAIL = 1.0
#: Seconds of a file that are read at first, which is all of most.
FIRST = 60.0
#: Seconds that are read at a time of what is longer.
PIECE = 300.0


def window_starts(duration: float, window: float) -> np.ndarray:
    """Where windows begin: one after the other, and one more at the end for a rest of more than `TAIL` seconds.

    Args:
        duration: of the recording, seconds.
        window: seconds of a window.

    Returns:
        (n,) seconds from the recording's beginning; 0 alone for what is shorter than a window.
    """
    whole = math.floor(duration / window + 1e-6)
    starts = [number * window for number in range(whole)] or [0.0]
    if whole and duration - whole * window > TAIL:
        starts.append(duration - window)
    return np.array(starts)


def first_stretch(window: float) -> float:
    """Seconds of a file to read at first: whole windows, and what would be left out behind them."""
    return max(1, math.floor(FIRST / window)) * window + TAIL


def later_stretches(starts: np.ndarray, read: float, window: float) -> list[np.ndarray]:
    """The windows that end behind the first `read` seconds, in pieces of `PIECE` seconds.

    Returns:
        The starts (k,) of each piece's windows.
    """
    left = starts[(starts > 0) & (starts + window > read + 1e-6)]
    size = max(1, math.floor(PIECE / window))
    return [left[at : at + size] for at in range(0, len(left), size)]


def cut_windows(
    ecg: ECG, starts: Sequence[float] | np.ndarray, wanted: InputFormat, offset: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a recording, or of a stretch of it, as a model reads them.

    Args:
        ecg: the recording or the stretch.
        starts: of the windows, in seconds of the whole recording.
        wanted: the model's input.
        offset: where the stretch begins, seconds.

    Returns:
        The starts (n,) of the windows that hold a signal, and the windows (n, leads, samples) float32.

    Raises:
        DBetaError: the recording cannot be used, whatever the window.

    Warns:
        DBetaWarning: as `prepare_signal` does, for each window.
    """
    kept, windows = [], []
    for start in starts:
        try:
            windows.append(prepare_signal(window_at(ecg, start, wanted, offset), wanted))
            kept.append(start)
        except NoSignalError:
            if len(starts) == 1 and offset == 0:  # a short recording: the reason is of use
                raise
    empty = np.zeros((0, len(wanted.leads), wanted.n_samples), np.float32)
    return np.array(kept), np.stack(windows) if windows else empty


def window_at(ecg: ECG, start: float, wanted: InputFormat, offset: float = 0.0) -> ECG:
    """One window of a recording, or of a stretch of it that begins at `offset` seconds, as it was recorded."""
    used = round(wanted.duration * ecg.sampling_rate)
    meta = {name: value for name, value in ecg.meta.items() if name != "duration"}
    # The last window may begin between two samples
    begin = max(0, min(round((start - offset) * ecg.sampling_rate), ecg.signal.shape[1] - used))
    return ECG(ecg.signal[:, begin : begin + used], ecg.sampling_rate, ecg.leads, meta=meta)


def merge_notes(notes: Iterable[str]) -> list[str]:
    """Warnings of many windows, one of each kind; the number of windows follows where there are several.

    Warnings are of one kind where they differ in numbers only, but a lead's name is no number.
    """
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(re.sub(r"(?<![\w.])[\d.]+", "", note), []).append(note)
    return [same[0] if len(same) == 1 else f"{same[0]} (so in {len(same)} windows)" for same in kinds.values()]


def warn_all(notes: Iterable[str]) -> None:
    """Warn of each."""
    for note in notes:
        warnings.warn(note, DBetaWarning, stacklevel=3)
