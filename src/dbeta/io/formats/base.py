"""What all readers share: what the caller said, what a file holds, and a guard around the libraries' parsers."""

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
from dbeta.io.identity import Identity

#: In `leads`, a channel that is none of the twelve.
NO_LEAD = "-"
#: Hz; what says that it is slower counts something else than time.
SLOWEST = 10.0


@dataclass
class Options:
    """What the caller said, for files that are silent."""

    sampling_rate: float | None = None
    leads: Sequence[str] | None = None
    record: str | int | None = None
    start: float = 0.0
    duration: float | None = None
    units: str | None = None

    def stretch(self, sampling_rate: float, total: int) -> tuple[int, int]:
        """The first sample that is asked for and the one after the last, of `total` in the file.

        Raises:
            DBetaError: the file ends before, or the sampling rate is none.
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
    """What a file holds before the leads are sorted out."""

    signal: np.ndarray | list[np.ndarray]  # (channels, samples), or a row for each channel
    names: Sequence[str]
    sampling_rate: float | None
    units: Sequence[str] = ()  # of each channel; mV where not given
    total: int | None = None  # samples in the file, where `signal` has only the stretch that was asked for
    report: str = ""
    identity: Identity = field(default_factory=Identity)
    meta: dict[str, Any] = field(default_factory=dict)
    unit_assumed: bool = False
    notes: list[str] = field(default_factory=list)  # what the user is to be warned of


@contextmanager
def parsing(kind: str, file: Path | None = None) -> Iterator[None]:
    """Around the call of a library's parser, and nothing else: its exceptions become one sentence.

    Args:
        kind: what the file is taken for.
        file: is not named in the sentence a second time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ImportError, DBetaError):
            raise
        except Exception as error:
            said = str(error) if file is None else str(error).replace(str(file), file.name)
            reason = " ".join(said.split())[:200].rstrip(".") or type(error).__name__
            raise DBetaError(f"cannot be read as {kind} ({reason}); get or export the file again") from error


def known_lead(name: str) -> str | None:
    """The standard lead of this name, or None."""
    try:
        return standard_lead_name(name)
    except DBetaError:
        return None


def disagreement(lead: np.ndarray, expected: np.ndarray) -> float:
    """0 for equal shapes, about 0.7 for unrelated ones, 1 for opposite ones; blind to offsets, 0 for a flat lead."""
    valid = np.isfinite(lead) & np.isfinite(expected)
    lead, expected = lead[valid].astype(np.float64), expected[valid].astype(np.float64)
    if valid.sum() < 2 or lead.std() == 0:
        return 0.0
    return float((lead - expected).std() / (lead.std() + expected.std()))


def patient_facts(age: Any, sex: Any) -> dict[str, Any]:
    """Age in years and sex in one spelling, each only where it is known."""
    meta: dict[str, Any] = {}
    with suppress(TypeError, ValueError):
        meta |= {"age": int(float(age))} if 0 <= float(age) < 150 else {}
    folded = str(sex).strip().casefold()
    return meta | ({"sex": {"m": "male", "f": "female"}[folded[0]]} if folded in ("m", "f", "male", "female") else {})
