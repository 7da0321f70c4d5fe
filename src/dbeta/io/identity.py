"""The patient's identity: kept apart from the recording, and removed from its report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

_SIGNED = re.compile(
    r"\W{0,9}\b(?:electronically\s+)?(?:confirmed|reviewed|signed|over-?read|read|referred|interpreted|edited|approved"
    r"|validated|acquired|performed)\s+by\b[^;\n]*",
    re.IGNORECASE,
)

# Limits, so that a hostile file cannot make the search slow.
_LONGEST_NAME, _MOST_OTHERS, _LONGEST_REPORT = 200, 20, 20_000

# Names that are also words of ECG reports, whose removal would change the meaning.
_ORDINARY = re.compile(
    "acute|age|anonymous|axis|beats?|block|branch|early|first|heart|interval|junction|lateral|leads?|left|long|low|lower|"
    "normal|old|paced?|pattern|peak|possible|prior|qrs|rate|rhythm|right|second|short|sinus|strain|unknown|upper|wave|young"
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass
class Identity:
    """The patient's identity, which leaves the reader only if the caller asks for it.

    Attributes:
        patient_id: as stated in the file.
        name: the patient's name.
        birth_date: as YYYY-MM-DD if it is a valid date.
        others: names of staff and other identifying numbers, which are never returned.
    """

    patient_id: str = ""
    name: str = ""
    birth_date: str = ""
    others: tuple[str, ...] = ()

    def facts(self) -> dict[str, str]:
        """The entries for `meta`, without the id."""
        known = {"patient_name": self.name, "birth_date": self.birth_date}
        return {key: value for key, value in known.items() if value}

    def without(self, report: str) -> str:
        """The report without signatures, names, ids and the birth date."""
        report = _SIGNED.sub("", report[:_LONGEST_REPORT])
        for word in self._words():
            report = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "…", report, flags=re.IGNORECASE)
        with suppress(ValueError):
            report = _date_pattern(date.fromisoformat(self.birth_date)).sub("…", report)
        return report.strip(" ;")

    def _words(self) -> Iterator[str]:
        for text in (self.patient_id, *self.others[:_MOST_OTHERS]):
            if 3 < len(text) < _LONGEST_NAME:
                yield text
        for text in (self.name, *self.others[:_MOST_OTHERS]):
            for word in re.split(r"[\W_]+", text[:_LONGEST_NAME]):
                if len(word) > 2 and word.isalpha() and not _ORDINARY.fullmatch(word.casefold()):
                    yield word


def _date_pattern(day: date) -> re.Pattern[str]:
    """Matches the usual spellings of a date, such as 1.2.1960, 01/02/60, 1960-02-01, 19600201, Feb 1st, 1960."""
    d, m, y = f"0?{day.day}", f"0?{day.month}", f"(?:{day.year:04}|{day.year % 100:02})"
    name, part, gap = rf"{_MONTHS[day.month - 1]}[a-z]{{0,6}}\.?", r"\s?[./-]\s?", r"[\s./-]{0,2}"
    forms = [part.join(order) for order in ((d, m, y), (m, d, y), (y, m, d))]
    forms += [f"{day:%Y%m%d}", f"{day:%d%m%Y}", rf"{d}(?:st|nd|rd|th)?{gap}{name},?{gap}{y}"]
    forms += [rf"{name}{gap}{d}(?:st|nd|rd|th)?,?{gap}{y}", rf"{y}{gap}{name}{gap}{d}"]
    forms += [rf"{one}\s{two}\s{day.year:04}" for one, two in ((d, m), (m, d))]
    return re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE)
