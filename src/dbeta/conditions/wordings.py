"""Writes reports from findings in varied English and German: wordings, hedges, negations and punctuation."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml

from dbeta.conditions.registry import find_condition


@cache
def _phrases() -> dict[str, dict[str, list[str]]]:
    text = files("dbeta.conditions").joinpath("phrases.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def wordings(finding: str, language: str | None = None) -> tuple[str, ...]:
    """List the usual wordings of a finding in lower case, or the finding itself if it is unknown.

    Args:
        finding: its name, or any of its wordings.
        language: "en" or "de"; None for both. A finding without German wordings keeps its English ones.
    """
    condition = find_condition(finding)
    name = finding.lower() if condition is None else condition.name.lower()
    english = (name,) if condition is None else condition.prompts
    further = _phrases().get(name, {})
    german = tuple(further.get("de", ()))
    if language == "de" and german:
        return german
    return tuple(dict.fromkeys([*english, *further.get("en", ()), *(german if language is None else ())]))


#: Prefixes of an uncertain finding.
HEDGES = {
    "en": ("possible ", "probable ", "consider ", "suggestive of ", "cannot rule out ", "consistent with ", "suspect "),
    "de": ("v.a.: ", "möglicher befund: ", "fraglich: ", "wahrscheinlich ", "nicht auszuschliessen: "),
}
#: Hedges that cannot follow "there is".
NOT_NOUNS = ("consider ", "suggestive of ", "cannot rule out ", "consistent with ", "suspect ")
#: Rhythms, rates and normal findings are never hedged.
CERTAIN = re.compile(r"\b(?:sinus|rhythm|rate|bradycardia|tachycardia|pause|paced|normal|reversal|artifact|wander)\b")
#: Wordings that contain a hedge or negation, and so take no further one.
DOUBTFUL = re.compile(
    r"\b\w*verdacht\b|\b(?:hinweis|zustand|kein|unauffällig|suspect|suggest|possible|probable|consider|evidence|signs|may"
    r"|without|otherwise|unremarkable)|\b(?:no|not)\b"
)
#: Wordings that are not noun phrases, and so take no prefix.
CLAUSE = re.compile(r"^(?:with|every)\b|\b(?:is|are|lengthens)\b|\*\*|vertauscht$|verändert$|verlängert$|verkürzt$")
#: Ages of an infarct, which are not stated beside an acute one.
PAST = re.compile(r"\bage undetermined\b|\bunbestimmten alters\b|^zustand nach\b|\bpersistent\b")
#: Prefixes that negate a finding.
DENIALS = {
    "en": ("no ", "without ", "no evidence of ", "no sign of ", "absence of "),
    "de": ("nicht nachweisbar: ", "kein nachweis: ", "ausgeschlossen: "),
}
#: Negations that need a grammatical case, used with single nouns only, which do not show it.
GERMAN_DENIALS = ("kein hinweis auf ", "ohne ", "kein nachweis von ")
OPENINGS = {
    "en": ("", "", "", "the tracing shows ", "there is ", "impression: ", "ecg: ", "findings: "),
    "de": ("", "", "", "befund: ", "beurteilung: ", "diagnose: "),
}
JOINTS = (". ", ", ", "; ", " ", " - ", ". ", ", ")


def write_report(
    findings: Sequence[str],
    rng: random.Random,
    *,
    absent: Sequence[str] = (),
    language: str | None = None,
    ordered: bool = False,
) -> str:
    """Write a report that states findings and negates others, in random language, wording and punctuation.

    A single finding may be stated by its long clinical description; several are named briefly, so that none is
    truncated.

    Args:
        findings: phrases such as "left axis deviation"; may be empty only if `absent` is not.
        rng: source of randomness.
        absent: findings to negate.
        language: "en" or "de"; None draws one, English three times as often.
        ordered: keep the order of the findings; otherwise it is random.
    """
    language = language or rng.choice(("en", "en", "en", "de"))
    if len(findings) == 1 and not absent and rng.random() < 0.6:
        return rng.choice(wordings(findings[0], language))
    past = not any(finding.startswith("acute") for finding in findings)
    joint = " with " if len(findings) == 2 and language == "en" and not absent and rng.random() < 0.3 else None
    phrases = [_said(finding, rng, language, hedged=joint is None, past=past) for finding in findings]
    if not ordered:
        rng.shuffle(phrases)
    phrases += [_denied(finding, rng, language) for finding in absent]
    opening = rng.choice(OPENINGS[language]) if findings else ""
    if opening and not opening.endswith(": ") and not follows_verb(phrases[0]):
        opening = ""
    return opening + (joint or rng.choice(JOINTS)).join(phrases) + rng.choice([".", ""])


def short_wordings(finding: str, language: str, *, past: bool = True) -> list[str]:
    """List a finding's short wordings: no long description and, unless `past`, no age of an infarct."""
    short = [one for one in wordings(finding, language) if ": " not in one]
    return short if past else [one for one in short if not PAST.search(one)] or short


def follows_verb(phrase: str) -> bool:
    """Tell whether "there is" may precede a phrase."""
    return not CLAUSE.search(phrase) and not phrase.startswith(NOT_NOUNS)


def _said(finding: str, rng: random.Random, language: str, *, hedged: bool, past: bool) -> str:
    phrase = rng.choice(short_wordings(finding, language, past=past))
    sure = CERTAIN.search(finding.lower()) or DOUBTFUL.search(phrase) or CLAUSE.search(phrase)
    hedge = rng.random() < 0.12 and hedged and not sure
    return (rng.choice(HEDGES[language]) if hedge else "") + phrase


def deniable_wordings(finding: str, language: str) -> list[str]:
    """List a finding's short wordings that a negation may precede."""
    nouns = [one for one in short_wordings(finding, language) if not DOUBTFUL.search(one) and not CLAUSE.search(one)]
    return [one for one in nouns if not PAST.search(one)] or [finding]


def _denied(finding: str, rng: random.Random, language: str) -> str:
    phrase = rng.choice(deniable_wordings(finding, language))
    noun = language == "de" and " " not in phrase
    return rng.choice(GERMAN_DENIALS if noun else DENIALS[language]) + phrase
