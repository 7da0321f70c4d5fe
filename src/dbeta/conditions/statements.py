"""Words of single statements: that a finding is absent, what a number is, what waves a lead shows.

The wordings are in `statements.yaml`; each list is divided into those that are taught and those that are held back, so
that whatever was trained on the first can be measured on the second.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from dbeta.conditions.registry import load_conditions
from dbeta.conditions.wordings import deniable_wordings
from dbeta.ecg import LEADS

Language = Literal["en", "de"]
LANGUAGES: tuple[Language, ...] = ("en", "en", "en", "de")
#: What can be told as a number: per minute, milliseconds and degrees.
NUMBERS = ("rate", "pr", "qrs", "qt", "qtc", "axis")
#: How far a value may be from a number that is called its own, and from where on the number is wrong; between the two
#: nobody could say. The rate's also grow with it.
TOLERANCES = {
    "rate": (3.0, 8.0),
    "pr": (10.0, 26.0),
    "qrs": (7.0, 16.0),
    "qt": (14.0, 34.0),
    "qtc": (12.0, 28.0),
    "axis": (10.0, 26.0),
}
RATE_SHARES = (0.04, 0.10)
#: Of a limit ("above 100"): how near to it a value may be on the wrong side without being wrong.
LIMIT_MARGINS = {"rate": 2.0, "pr": 8.0, "qrs": 6.0, "qt": 12.0, "qtc": 10.0, "axis": 6.0}
#: Steps that numbers are rounded to.
ROUNDED = {
    "rate": (1, 1, 5),
    "pr": (1, 2, 10, 10),
    "qrs": (1, 2, 10),
    "qt": (1, 10),
    "qtc": (1, 10),
    "axis": (1, 5, 10),
}


@dataclass(frozen=True)
class Band:
    """The values for which a number holds: `centre` plus an offset from `low` to `high`, surely not beyond the outer.

    Attributes:
        measure: one of `NUMBERS`.
        centre: the number.
        surely_not_below: offset, like the following.
        low: of the smallest value for which it holds.
        high: of the largest.
        surely_not_above: offset.
    """

    measure: str
    centre: float
    surely_not_below: float
    low: float
    high: float
    surely_not_above: float

    @classmethod
    def of(cls, measure: str, number: float, how: str = "at") -> Band:
        """What a number ("at"), or a limit ("above", "below"), says of a measure."""
        if how == "at":
            near, far = TOLERANCES[measure]
            if measure == "rate":
                near, far = max(near, RATE_SHARES[0] * number), max(far, RATE_SHARES[1] * number)
            return cls(measure, number, -far, -near, near, far)
        margin = LIMIT_MARGINS[measure]
        if how == "above":
            return cls(measure, number, -margin, 0.0, math.inf, math.inf)
        return cls(measure, number, -math.inf, -math.inf, 0.0, margin)

    def sign(self, value: float) -> int:
        """Whether a value is what the number says: +1 yes, −1 no, 0 not known."""
        offset = value - self.centre
        if self.measure == "axis":
            offset = (offset + 180) % 360 - 180
        if offset < self.surely_not_below or offset > self.surely_not_above:
            return -1
        return 1 if self.low <= offset <= self.high else 0


@cache
def _statements() -> dict[str, Any]:
    text = files("dbeta.conditions").joinpath("statements.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _list(content: dict[str, Any], held_back: bool) -> Any:
    return content["held back" if held_back else "taught"]


@cache
def wave_names() -> tuple[str, ...]:
    """What a lead may show, such as "inverted t"."""
    return tuple(_statements()["waves"])


@cache
def lead_groups() -> tuple[tuple[str, ...], ...]:
    """Leads that have a name together, and every lead by itself."""
    return (*(tuple(leads.split()) for leads in _statements()["leads"]), *((lead,) for lead in LEADS))


def wave_fact(wave: str, lead: str) -> str:
    """Name of the fact that a lead shows something: "inverted t in V2"."""
    return f"{wave} in {lead}"


@cache
def facts() -> tuple[str, ...]:
    """Every fact about waves that texts may state: of single leads, then sentences of the conditions, lower case."""
    sentences = dict.fromkeys(
        sentence for one in load_conditions().values() for sentence in (*one.prompts_for, *one.prompts_against)
    )
    return (*(wave_fact(wave, lead) for wave in wave_names() for lead in LEADS), *sentences)


@cache
def sentences(held_back: bool = False) -> tuple[str, ...]:
    """The sentences of the conditions that are taught, or those that are not."""
    held = set(_statements()["held back sentences"])
    return tuple(one for one in facts()[len(wave_names()) * len(LEADS) :] if (one in held) == held_back)


def negation(finding: str, rng: random.Random, language: Language | None = None, *, held_back: bool = False) -> str:
    """Words for the absence of a finding, such as "no atrial fibrillation"."""
    tongue = rng.choice(LANGUAGES) if language is None else language
    form = rng.choice(negation_forms(tongue, held_back))
    return form.format(x=rng.choice(deniable_wordings(finding, tongue)))


@cache
def negation_forms(language: Language, held_back: bool = False) -> tuple[str, ...]:
    """Forms of a negation, with {x} for the finding."""
    return tuple(_list(_statements()["negations"][language], held_back))


@cache
def number_forms(measure: str, language: Language, how: str = "at", held_back: bool = False) -> tuple[str, ...]:
    """Forms of a number, with {n} or {s} for it; there may be none for a limit."""
    return tuple(_list(_statements()["numbers"][measure][language], held_back).get(how, ()))


def numbered(
    measure: str,
    value: float,
    rng: random.Random,
    language: Language | None = None,
    *,
    how: str = "at",
    held_back: bool = False,
) -> tuple[str, Band]:
    """Words for a value, rounded as people do, and what they say; a limit that has no forms becomes a plain number."""
    language = language or rng.choice(LANGUAGES)
    forms = number_forms(measure, language, how, held_back)
    if not forms:
        how = "at"
        forms = number_forms(measure, language, how, held_back)
    step = rng.choice(ROUNDED[measure])
    form = rng.choice(forms)
    number = 10 * round(value / 10) if "{s}" in form else step * round(value / step)
    return number_words(form, number), Band.of(measure, float(number), how)


def number_words(form: str, number: float) -> str:
    """A form of `number_forms` with its number."""
    return form.format(n=round(number), s=f"{number / 1000:.2f}")


def wave_words(
    wave: str, leads: Sequence[str], rng: random.Random, language: Language | None = None, *, held_back: bool = False
) -> str:
    """Words for what leads show, such as "inverted T waves in V2 to V4", lower case."""
    language = language or rng.choice(LANGUAGES)
    form = rng.choice(_list(_statements()["waves"][wave][language], held_back))
    named = _statements()["leads"].get(" ".join(leads))
    there = rng.choice(named[language]) if named else f"in {' '.join(leads).lower()}"
    return form.replace("{in}", there)


def sentence_words(sentence: str, rng: random.Random) -> str:
    """A sentence of the conditions as a report begins it."""
    return rng.choice(_statements()["openings"]["en"]) + sentence
