"""WFDB headers: the record line, and a line for each signal or segment.

Only what is needed to find and scale the samples is parsed, so that a bad date, checksum or record name, which the
`wfdb` library refuses, does not make a recording unreadable. Source: WFDB header(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from dbeta.errors import DBetaError
from dbeta.io.safety.records import header_lines

#: Counts per unit where a header states none.
DEFAULT_GAIN = 200.0

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RATE = re.compile(_NUMBER, re.IGNORECASE)

#: Signal line: file, format with its modifiers, and the gain, which may be missing.
SIGNAL_LINE = re.compile(rf"(\S+)\s+\d+(?:x\d+)?(?::\d+)?(?:\+\d+)?(?:\s+(-?{_NUMBER})\S*)?(?:\s.*)?", re.IGNORECASE)

_STORAGE = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_CALIBRATION = re.compile(rf"([-+]?{_NUMBER})?(?:\(([-+]?{_NUMBER})\))?(?:/(\S*))?", re.IGNORECASE)
_SEGMENT = re.compile(r"(\S+)\s+(\d+)(?:\s.*)?")
#: Characters of a gain with its baseline and unit.
_LONGEST = 100
#: Largest number in a header: more samples than a year of recording has.
_LARGEST = 10**12


@dataclass(frozen=True)
class Channel:
    """A signal as its line in the header describes it.

    Attributes:
        file: name of the signal file; "~" if there is none.
        format: number of the storage format.
        per_frame: samples in each frame.
        skew: frames by which the signal lies later in the file than the others.
        offset: bytes (samples, if compressed) before the first sample in the file.
        calibration: gain, baseline and unit as written, "1000(0)/mV".
        zero: the converter's output for 0 V, which is the baseline if none is stated.
        initial: value before the first sample, for format 8.
        name: of the lead.
    """

    file: str
    format: int
    per_frame: int = 1
    skew: int = 0
    offset: int = 0
    calibration: str = ""
    zero: int = 0
    initial: int = 0
    name: str = ""

    @property
    def stated_gain(self) -> float:
        """Counts per unit; 0 if the header states none."""
        return float(self._calibration[1] or 0)

    @property
    def gain(self) -> float:
        """Counts per unit."""
        return self.stated_gain or DEFAULT_GAIN

    @property
    def baseline(self) -> float:
        """The count that stands for 0."""
        return float(self._calibration[2] or self.zero)

    @property
    def unit(self) -> str:
        """Physical unit, mV if none is stated."""
        return self._calibration[3] or "mV"

    @property
    def _calibration(self) -> re.Match[str]:
        # The pattern takes quadratic time
        match = _CALIBRATION.fullmatch(self.calibration) if len(self.calibration) <= _LONGEST else None
        if match is None or float(match[1] or 0) == float("inf"):
            raise DBetaError(
                f"has the gain {self.calibration[:60]!r}, which cannot be read; correct it in the header, or state the "
                "size of a count with --raw-gain, as uV"
            )
        return match


@dataclass(frozen=True)
class Header:
    """A WFDB header.

    Attributes:
        rate: frames per second; None if not stated.
        frames: length in frames; None if not stated.
        channels: the signals, empty for a record of several segments.
        segments: name ("~" for a gap) and length in frames of each segment.
        comments: lines of text after the signals.
    """

    rate: float | None
    frames: int | None
    channels: list[Channel] = field(default_factory=list)
    segments: list[tuple[str, int]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


def read_header(file: Path) -> Header:
    """Parse a header that has passed `dbeta.io.safety.records.check_wfdb`.

    Raises:
        DBetaError: it is not a header; the message says which line is wrong.
    """
    lines, comments = header_lines(file)
    first, *others = lines or [""]
    words = first.split()
    if not re.fullmatch(r"\d{1,9}", "".join(words[1:2])):
        raise DBetaError("cannot be read as a WFDB header (it has no record line); get or export the file again")
    name, slash, pieces = words[0].partition("/")
    rate = _RATE.match("".join(words[2:3]))
    frames = _count(words[3]) if len(words) > 3 and words[3].isdecimal() else None
    stated = float(rate[0]) if rate else None, frames or None
    if slash:
        segments = [_SEGMENT.fullmatch(line) for line in others]
        if not pieces.isdecimal() or None in segments or len(segments) != int(pieces) or not segments:
            raise _malformed(f"{name[:60]!r} does not list the {pieces[:20]} segments that it promises")
        return Header(*stated, [], [(one[1], _count(one[2])) for one in segments if one], comments)
    count = int(words[1])
    if count == 0:
        raise DBetaError("lists no signals; give the header of a 12-lead recording")
    if len(others) != count:
        raise _malformed(f"it lists {len(others)} of {count} signals")
    return Header(*stated, [_channel(line) for line in others], [], comments)


def _channel(line: str) -> Channel:
    file, *rest = line.split(None, 2)
    storage = _STORAGE.fullmatch(rest[0]) if rest else None
    if storage is None:
        raise _malformed(f"{line[:60]!r} does not describe a signal")
    code, per_frame, skew, offset = (_count(part or "0") for part in storage.groups())
    calibration, _, rest_of_line = rest[1].partition(" ") if len(rest) > 1 else ("", "", "")
    # Resolution, zero, initial value, checksum and block size: any of them may be left out, from the right
    numbers = re.match(r"\s*((?:[-+]?\d+(?:\s+|$)){0,5})", rest_of_line)
    values = numbers[1].split() if numbers else []
    name = rest_of_line[numbers.end() if numbers else 0 :].strip()
    zero, initial = (int(value) if len(value) < 20 else 0 for value in [*values, "0", "0", "0"][1:3])
    initial = initial if len(values) > 2 else zero
    return Channel(file, code, max(per_frame, 1), skew, offset, calibration, zero, initial, name)


def _count(digits: str) -> int:
    """A number of samples, frames or bytes; a huge one is cut, so that it is refused where it is used."""
    return min(int(digits[:20]), _LARGEST)


def _malformed(reason: str) -> DBetaError:
    return DBetaError(f"cannot be read as a WFDB header ({reason}); get or export the file again")
