"""ECGs that an Apple Watch exports as CSV, in any language: a few lines of facts, then one sample per line.

The facts are recognised by their place and shape, because their names are translated:

    Name, Date of Birth, Recorded Date, Classification, Symptoms, Software Version, Device, Sample Rate
    Lead, Unit
    -244.500

Numbers have a decimal point or comma and perhaps blanks or signs between thousands, as usual in the language.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, known_lead, parsing, patient_facts
from dbeta.io.identity import Identity
from dbeta.io.safety.limits import TABLE_VALUES, check_values
from dbeta.io.units import millivolts

#: Most and least lines of facts, and samples that are looked at to recognise the layout.
_FACTS, _FEWEST_FACTS, _SAMPLES = 40, 4, 3
#: Places of the facts before the first blank line, if there are eight of them.
_NAME, _BORN, _RECORDED, _CLASS, _DEVICE, _RATE, _ALL = 0, 1, 2, 3, 6, 7, 8
#: Hz that a watch or patch may sample at.
_RATES = (50.0, 5000.0)

_BLANKS = "\u00a0\u202f\u2009\u2007'’ \t"
_DIRECTION = dict.fromkeys(map(ord, "\ufeff\u200e\u200f\u061c\u202a\u202b\u202c\u2066\u2067\u2068\u2069"))
_SIGNS = str.maketrans({"−": "-", "\u2013": "-", "٫": ".", "٬": ""})
_NUMBER = re.compile(rf"[-+]?\d[\d.,{_BLANKS}]*")
_RATE_TEXT = re.compile(rf"(\d[\d.,{_BLANKS}]*?)\s*([^\W\d].*)?")
_LEAD = re.compile(r"(?<![A-Za-z0-9])(III|II|I|aV[RLF]|V[1-6])(?![A-Za-z0-9])")
_DATES = ("%Y-%m-%d", "%d.%m.%Y", "%b %d, %Y", "%d/%m/%Y", "%Y/%m/%d", "%Y年%m月%d日")


def is_watch(text: str) -> bool:
    """Whether the beginning of a file is that of such an export."""
    lines = text.splitlines()
    facts = _split(lines[:-1] if len(lines) > 1 else lines)
    return facts is not None and _unit_row(facts.rows) is not None


def read_watch(file: Path, options: Options) -> Recording:
    """Read an export: one lead at the rate and in the unit that its facts state."""
    with parsing("a watch's CSV"):
        content = file.read_bytes()
        utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        lines = content.decode("utf-16" if utf_16 else "utf-8", "replace").splitlines()
    facts = _split(lines)
    at = None if facts is None else _unit_row(facts.rows)
    if facts is None or at is None:
        raise DBetaError("cannot be read as a watch's CSV (its facts are incomplete); get or export the file again")
    unit = facts.rows[at][1]
    rate, rate_row = _rate(facts.rows[:at])
    samples = [text for line in lines[facts.count :] if (text := _clean(line.strip().strip('"')))]
    check_values(len(samples), TABLE_VALUES)
    signal = _numbers(samples)
    stated = " ".join(value for row, (_, value) in enumerate(facts.rows) if row > rate_row and row != at)
    lead = _LEAD.search(stated)
    name = lead[1] if lead and known_lead(lead[1]) else stated or "a lead without a name"
    recording = Recording([signal], [name], rate, [unit])
    first = facts.rows[: facts.first]
    recording.identity = _identity(first)
    if len(first) == _ALL:
        recording.report = first[_CLASS][1]
        recording.meta = _about(first)
    return recording


@dataclass
class _Facts:
    """The lines above the samples.

    Attributes:
        rows: name and value of each.
        first: how many of them precede the first blank line.
        count: lines above the samples, with blank ones.
    """

    rows: list[tuple[str, str]]
    first: int
    count: int


def _split(lines: Sequence[str]) -> _Facts | None:
    """The facts above the samples; None if the lines are something else."""
    rows: list[tuple[str, str]] = []
    first = 0
    for number, line in enumerate(lines[:_FACTS]):
        text = _clean(line.strip())
        if not text:
            first = first or len(rows)
            continue
        if len(rows) >= _FEWEST_FACTS and _NUMBER.fullmatch(text.strip('"')) and _begins_number(text):
            below = [_clean(one.strip().strip('"')) for one in lines[number : number + _SAMPLES]]
            return _Facts(rows, first or len(rows), number) if all(map(_NUMBER.fullmatch, below)) else None
        separator = "," if "," in text else ";" if ";" in text else "\t"
        cells = next(csv.reader([text], delimiter=separator), [])
        if len(cells) < 2 or _NUMBER.fullmatch(cells[0]):
            return None
        rows.append((cells[0].strip(), separator.join(cells[1:]).strip()))
    return None


def _begins_number(text: str) -> bool:
    return text.strip('"')[:1] in "-+" or text.strip('"')[:1].isdigit()


def _clean(text: str) -> str:
    """Text with plain signs and without marks of writing direction."""
    return text.translate(_DIRECTION).translate(_SIGNS)


def _unit_row(rows: Sequence[tuple[str, str]]) -> int | None:
    """The last fact whose value is a unit of voltage or, below a lead and a rate, the last fact of all."""
    units = [row for row, (_, value) in enumerate(rows) if value and not value[0].isdigit() and millivolts(value)]
    if units:
        return units[-1]
    rate, place = _rate(rows)
    # In a language whose units are not known, the caller is asked
    return len(rows) - 1 if rate and any(_LEAD.search(value) for _, value in rows[place + 1 :]) else None


def _rate(rows: Sequence[tuple[str, str]]) -> tuple[float | None, int]:
    """The sampling rate and its place: the last number that can be one, rather with a unit than alone."""
    alone: tuple[float | None, int] = (None, len(rows) - 1)
    for row in reversed(range(len(rows))):
        match = _RATE_TEXT.fullmatch(_clean(rows[row][1]))
        rate = _rate_number(match[1]) if match else None
        if rate and match and match[2]:
            return rate, row
        if rate and alone[0] is None:
            alone = rate, row
    return alone


def _rate_number(text: str) -> float | None:
    """A rate with the decimal and thousands signs of any language."""
    digits = re.sub(rf"[{_BLANKS}]", "", text)
    plain = {digits.replace(",", ""), digits.replace(".", "").replace(",", ".")}
    found = []
    for one in plain:
        try:
            found.append(float(one))
        except ValueError:
            continue
    possible = [rate for rate in found if _RATES[0] <= rate <= _RATES[1]]
    return possible[0] if len(set(possible)) == 1 else None


def _numbers(samples: Sequence[str]) -> np.ndarray:
    """Samples with the decimal and thousands signs of any language, (samples,) float64.

    Raises:
        DBetaError: a line is no number.
    """
    comma = _decimal_comma(samples)
    drop = dict.fromkeys(map(ord, _BLANKS + ("." if comma else ",")))
    values = np.empty(len(samples))
    for row, text in enumerate(samples):
        try:
            values[row] = float(text.translate(drop).replace(",", "."))
        except ValueError:
            raise DBetaError(f"has {text[:20]!r} among its samples; get or export the file again") from None
    return values


def _decimal_comma(samples: Sequence[str]) -> bool:
    """Whether the decimal sign is a comma: the last sign of a number with both, else the one that is not thousands'."""
    both = next((text for text in samples if "," in text and "." in text), None)
    if both:
        return both.rindex(",") > both.rindex(".")
    with_comma = [text for text in samples if "," in text]
    if not with_comma:
        return False
    thousands = all(re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+", text) for text in with_comma)
    return not thousands or len(with_comma) == len(samples)


def _identity(rows: Sequence[tuple[str, str]]) -> Identity:
    """The patient's name and birth date; the other values are never returned."""
    values = [value for _, value in rows]
    born = _date(values[_BORN]) if len(values) > _BORN else None
    return Identity("", values[_NAME], born.date().isoformat() if born else "".join(values[_BORN : _BORN + 1]))


def _about(rows: Sequence[tuple[str, str]]) -> dict[str, object]:
    """Device and age."""
    meta: dict[str, object] = {"device": rows[_DEVICE][1]} if rows[_DEVICE][1] else {}
    born, recorded = _date(rows[_BORN][1]), _date(rows[_RECORDED][1][:10])
    if born and recorded:
        before = (recorded.month, recorded.day) < (born.month, born.day)
        meta |= patient_facts(recorded.year - born.year - before, None)
    return meta


def _date(text: str) -> datetime | None:
    for pattern in _DATES:
        try:
            return datetime.strptime(text.strip(), pattern)
        except ValueError:
            continue
    return None
