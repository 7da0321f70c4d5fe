"""Reads and prepares a benchmark's recordings in worker processes. Imports neither torch nor any model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.corpus.records import open_record
from dbeta.corpus.store import decode_signal
from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.signal.preprocess import InputFormat, prepare_signal
from dbeta.utils.fingerprints import signal_digest


@dataclass(frozen=True)
class FileReader:
    """Reads the records of a dataset as downloaded.

    Attributes:
        folder: base of the relative path `file` of a record.
        first_seconds: use only this much of each recording, padded with zeros to the model's input; None for no limit.
    """

    folder: Path
    first_seconds: float | None = None

    def __call__(self, record: dict[str, Any], duration: float) -> ECG:
        """Read the recording of a row of `Benchmark.records`, about `duration` seconds of it.

        Raises:
            DBetaError: it cannot be read.
        """
        # One second more, as a margin for resampling
        ecg = open_record(record, self.folder, duration + 1)
        if self.first_seconds is None:
            return ecg
        signal = np.zeros((len(ecg.leads), round(duration * ecg.sampling_rate)), ecg.signal.dtype)
        used = ecg.signal[:, : min(round(self.first_seconds * ecg.sampling_rate), signal.shape[1])]
        signal[:, : used.shape[1]] = used
        return replace(ecg, signal=signal)


@dataclass(frozen=True)
class CorpusReader:
    """Reads the records of a built corpus; a record's `file` is its row number there."""

    corpus: Any

    def __call__(self, record: dict[str, Any], duration: float) -> ECG:
        """Read the recording of a row of `Benchmark.records`."""
        return decode_signal(self.corpus[int(record["file"])])


@dataclass
class Prepared:
    """A record prepared as model input.

    Attributes:
        signals: (leads, samples) float32 for each input format.
        digests: hash of each signal.
        error: why the record is unreadable; in that case there are no signals.
    """

    signals: list[np.ndarray]
    digests: list[bytes]
    error: str | None = None


def prepare_record(row: dict[str, Any], reader: Any, formats: Sequence[InputFormat]) -> Prepared:
    """Read and prepare one record of a benchmark for each input format; errors are returned, never raised."""
    with warnings.catch_warnings():
        # Warnings about thousands of records would be noise; errors are returned
        warnings.simplefilter("ignore", DBetaWarning)
        try:
            ecg = reader(row, max(one.duration for one in formats))
            signals = [prepare_signal(ecg, one) for one in formats]
        except DBetaError as error:
            return Prepared([], [], str(error))
        except Exception as error:  # an unexpected error must not end a long evaluation
            return Prepared([], [], f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return Prepared(signals, [signal_digest(one) for one in signals])
