"""Shared by all readers: the caller's options, the recording they return, and error handling around parsers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import standard_lead_name
from dbeta.errors import DBetaError
from dbeta.io.amplitude import Sizes
from dbeta.io.identity import Identity

#: Marks a channel that is none of the twelve leads, in `--leads`.
NO_LEAD = "-"
#: Lowest sampling rate, in Hz, that a column of times can imply.
SLOWEST = 10.0


@dataclass
class Options:
    """The caller's options, for what a file does not state; see `dbeta.io.read.read_ecg`."""

    sampling_rate: float | None = None
    leads: Sequence[str] | None = None
    record: str | int | None = None
    start: float = 0.0
    duration: float | None = None
    units: str | None = None
    raw_gain: str | None = None  # of the raw numbers, in place of gains and offsets in the file

    def stretch(self, sampling_rate: float, total: int) -> tuple[int, int]:
        """The requested stretch of a file of `total` samples, as first sample and the one after the last.

        Raises:
            DBetaError: the file ends before the stretch, or the sampling rate is not a positive number.
        """
        if not (math.isfinite(sampling_rate) and sampling_rate > 0):
            raise DBetaError(f"has a sampling rate of {sampling_rate:g} Hz; get or export the file again")
        begin = round(self.start * sampling_rate)
        if self.start > 0 and begin >= total:
            raise DBetaError(f"is {total / sampling_rate:g} s long; nothing is left from second {self.start:g} on")
        if self.duration is None:
            return begin, total
        return begin, min(total, begin + math.ceil(round(self.duration * sampling_rate, 6)))


@dataclass
class Recording:
    """Content of a file, before its leads and units are standardised."""

    signal: np.ndarray | list[np.ndarray]  # (channels, samples), or a row for each channel
    names: Sequence[str]
    sampling_rate: float | None
    units: Sequence[str] = ()  # of each channel; mV if empty
    total: int | None = None  # samples in the file, if `signal` is only the requested stretch
    report: str = ""
    identity: Identity = field(default_factory=Identity)
    meta: dict[str, Any] = field(default_factory=dict)
    unit_assumed: bool = False
    sizes: Sizes | None = None  # of all recordings of the file, which decide about an unstated unit
    excerpt: np.ndarray | None = None  # of the whole channels, for an unstated unit, if `signal` is only a stretch
    notes: list[str] = field(default_factory=list)  # warnings for the user
    gains: Sequence[float] = ()  # counts per unit of each channel, if the file holds raw numbers


@contextmanager
def parsing(kind: str, file: Path | None = None) -> Iterator[None]:
    """Turn the exceptions of a library's parser into one sentence; to be put around its call and nothing else.

    Args:
        kind: name of the format.
        file: its path is shortened in the message, which names it already.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ImportError, DBetaError):
            raise
        except Exception as error:
            text = str(error) if file is None else str(error).replace(str(file), file.name)
            reason = " ".join(text.split())[:200].rstrip(".") or type(error).__name__
            raise DBetaError(f"cannot be read as {kind} ({reason}); get or export the file again") from error


def known_lead(name: str) -> str | None:
    """The standard lead with this name; None if there is none."""
    try:
        return standard_lead_name(name)
    except DBetaError:
        return None


def disagreement(lead: np.ndarray, expected: np.ndarray) -> float:
    """0 for equal shapes, about 0.7 for unrelated and 1 for opposite ones; ignores offsets; 0 for a flat lead."""
    valid = np.isfinite(lead) & np.isfinite(expected)
    lead, expected = lead[valid].astype(np.float64), expected[valid].astype(np.float64)
    if valid.sum() < 2 or lead.std() == 0:
        return 0.0
    return float((lead - expected).std() / (lead.std() + expected.std()))


def patient_facts(age: Any, sex: Any) -> dict[str, Any]:
    """Age in years and sex as "male" or "female", each only if known."""
    meta: dict[str, Any] = {}
    with suppress(TypeError, ValueError):
        meta |= {"age": int(float(age))} if 0 <= float(age) < 150 else {}
    folded = str(sex).strip().casefold()
    return meta | ({"sex": {"m": "male", "f": "female"}[folded[0]]} if folded in ("m", "f", "male", "female") else {})
