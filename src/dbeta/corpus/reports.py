"""Report text: cleaning what archives hold, and writing sentences from findings."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml

from dbeta.evaluation.conditions import find_condition

_SENTINELS = re.compile(r"^[\s*=\-]+|[\s*=\-]+$")
_SPACES = re.compile(r"\s+")
_SENTENCE_END = re.compile(r"(?<=[.;!?])\s+")
#: What PTB-XL's analysis program leaves at the end: its version and "unconfirmed report", cut off anywhere.
_PROGRAM = re.compile(r"\s*\b4\.(?:46\b(?:\s+u\w*(?:\s+b\w*)?$)?|4$)|\s*\bunbestätig(?:ter bericht\b|\w*(?: b\w*)?$)")
#: What PTB-XL's annotators left behind it: statement codes with likelihoods, which are the record's labels.
_CODES = re.compile(r"\s*(?:\bedit:|consensus label derived from:).*$")
#: Whole sentences, without their full stop, that say nothing of the heart or of the trace.
_NO_FINDING = re.compile(
    "|".join(
        (
            # there is no report
            r"nan|none|null|n/?a|trace only(?: requested)?|(?:(?:ecg )?report|interpretation|diagnosis) not available",
            r"no (?:ecg )?(?:report|interpretation|analysis)(?: (?:available|requested|performed))?",
            # who has read it
            r"(?:this is an? )?(?:unconfirmed|unedited|preliminary|automated|computer)(?: (?:ecg|automated|computer))*"
            r"(?: (?:report|diagnosis|analysis|interpretation))?(?: only)?",
            r"(?:re)?confirmed(?: (?:report|by\b.*))?|(?:over)?read by\b.*|edited by\b.*|referred by\b.*",
            r"(?:physician|clinical|manual)? ?(?:over-?read|review|correlation) (?:is )?"
            r"(?:required|advised|recommended)",
            # how it was read
            r"(?:standard )?12[- ]lead (?:ecg|electrocardiogram)",
            r"(?:standard|routine|resting|adult|pa?ediatric) (?:12[- ]lead )?(?:ecg|electrocardiogram)"
            r"(?: (?:analysis|interpretation|report))?",
            r"pa?ediatric (?:analysis|interpretation)|ecg (?:analysis|interpretation|report)",
            r"(?:report|interpretation|analysis) (?:was )?made without knowing\b.*",
            r"(?:age|sex|gender)(?:(?: and|,|/) ?(?:age|sex|gender))? not (?:entered|available)\b.*",
            r"no (?:previous|prior|old) (?:ecgs?|tracings?|electrocardiograms?)(?: (?:is |are )?(?:available|found))?"
            r"(?: for comparison)?",
        )
    )
)


def clean_report(text: str | Sequence[str | float | None]) -> str:
    """A report as the model reads it; cleaning it again changes nothing.

    1. The lines of a machine report (`report_0` … `report_17` of MIMIC-IV-ECG) become sentences: joined with ". ", or
       with a space after a line that ends in punctuation; missing ones are left out. One text is one line, however it
       is wrapped.
    2. Lower case, "ekg" as "ecg", one space between words.
    3. `***`, `=-`, `=`, `--` and the like around the text and around each line are removed.
    4. Sentences that are no finding are dropped: that there is no report ("trace only requested"), who has read it
       ("unconfirmed report", PTB-XL's "4.46 unbestätigter bericht") and how ("standard 12-lead ecg", "interpretation
       made without knowing patient's gender/age", "no previous ecgs available for comparison").

    5. PTB-XL's "edit: norm 100, irbbb" and "consensus label derived from: {…}" are dropped to the end of the text: they
       are the labels themselves, in codes.

    What is said of the trace stays, for it can be seen there: "poor data quality", "artifact in lead(s) v1", "suspect
    arm lead reversal", "data quality may affect interpretation". So do comparisons with earlier ECGs, which are mixed
    with findings.

    Source: paper, appendix on data processing, for 1 to 3; what 4 and 5 drop was found in PTB-XL's 19,601 reports of
    folds 1–9, or are usual in reports of GE and Philips machines.

    Args:
        text: a report, or its lines, with None, NaN or "" for those it lacks.

    Returns:
        The cleaned report, empty where it says nothing.
    """
    if not isinstance(text, str):
        *lines, last = [line for line in (clean_report(one) for one in text if isinstance(one, str)) if line] or [""]
        text = " ".join([*(line if line[-1] in ".,;:!?" else line + "." for line in lines), last])
    cleaned = _clean_once(text)
    # What a removal leaves can be removable in turn
    while cleaned != text:
        text, cleaned = cleaned, _clean_once(cleaned)
    return cleaned


def _clean_once(text: str) -> str:
    """One pass over one text, which never gets longer."""
    text = _SPACES.sub(" ", text.lower().replace("ekg", "ecg"))
    text = _PROGRAM.sub("", _CODES.sub("", text))
    sentences = [_SENTINELS.sub("", sentence) for sentence in _SENTENCE_END.split(text)]
    text = " ".join(one for one in sentences if not _NO_FINDING.fullmatch(_SENTINELS.sub("", one.rstrip(" .;!?"))))
    return _SENTINELS.sub("", text) if any(character.isalnum() for character in text) else ""


@cache
def _phrases() -> dict[str, dict[str, list[str]]]:
    text = files("dbeta.corpus").joinpath("phrases.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def wordings(finding: str, language: str | None = None) -> tuple[str, ...]:
    """The usual ways to say a finding, lower case: as `conditions.yaml` and `phrases.yaml` word it, or the finding.

    Args:
        finding: its name, or any of its wordings.
        language: "en" or "de"; None for both. A finding without German words keeps its English ones.
    """
    condition = find_condition(finding)
    name = finding.lower() if condition is None else condition.name.lower()
    english = (name,) if condition is None else condition.prompts
    further = _phrases().get(name, {})
    german = tuple(further.get("de", ()))
    if language == "de" and german:
        return german
    return tuple(dict.fromkeys([*english, *further.get("en", ()), *(german if language is None else ())]))


#: What may stand before a finding that is not certain.
HEDGES = {
    "en": ("possible ", "probable ", "consider ", "suggestive of ", "cannot rule out ", "consistent with ", "suspect "),
    "de": ("v.a.: ", "möglicher befund: ", "fraglich: ", "wahrscheinlich ", "nicht auszuschliessen: "),
}
#: Those of them that are no beginning of a noun.
NOT_NOUNS = ("consider ", "suggestive of ", "cannot rule out ", "consistent with ", "suspect ")
#: Rhythms, rates and what is normal are seen or not: nobody doubts them.
CERTAIN = re.compile(r"\b(?:sinus|rhythm|rate|bradycardia|tachycardia|pause|paced|normal|reversal|artifact|wander)\b")
#: Wordings that doubt or deny by themselves, which neither doubt nor denial may precede.
DOUBTFUL = re.compile(
    r"\b\w*verdacht\b|\b(?:hinweis|zustand|kein|unauffällig|suspect|suggest|possible|probable|consider|evidence|signs|may"
    r"|without|otherwise|unremarkable)|\b(?:no|not)\b"
)
#: Wordings that are no noun: nothing may precede them.
CLAUSE = re.compile(r"^(?:with|every)\b|\b(?:is|are|lengthens)\b|\*\*|vertauscht$|verändert$|verlängert$|verkürzt$")
#: Ages of an infarct that nobody states beside an acute one.
PAST = re.compile(r"\bage undetermined\b|\bunbestimmten alters\b|^zustand nach\b|\bpersistent\b")
#: What makes a denial of a finding.
DENIALS = {
    "en": ("no ", "without ", "no evidence of ", "no sign of ", "absence of "),
    "de": ("nicht nachweisbar: ", "kein nachweis: ", "ausgeschlossen: "),
}
#: Those that govern a case, which a single noun does not show.
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
    """A report that states these findings and denies others, in random language, wording and punctuation.

    A single finding may be stated by its long clinical description; several are named, so that none is cut off.

    Args:
        findings: phrases such as "left axis deviation"; none only where something is absent.
        rng: source of randomness.
        absent: findings to deny.
        language: "en" or "de"; drawn where it is None, three times as often English.
        ordered: keep the findings' order; it is random otherwise.
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
    """What a finding is called among others: no long description, nor, unless `past`, an age that is not acute."""
    short = [one for one in wordings(finding, language) if ": " not in one]
    return short if past else [one for one in short if not PAST.search(one)] or short


def follows_verb(phrase: str) -> bool:
    """Whether "there is" may stand before a phrase."""
    return not CLAUSE.search(phrase) and not phrase.startswith(NOT_NOUNS)


def _said(finding: str, rng: random.Random, language: str, *, hedged: bool, past: bool) -> str:
    phrase = rng.choice(short_wordings(finding, language, past=past))
    sure = CERTAIN.search(finding.lower()) or DOUBTFUL.search(phrase) or CLAUSE.search(phrase)
    hedge = rng.random() < 0.12 and hedged and not sure
    return (rng.choice(HEDGES[language]) if hedge else "") + phrase


def _denied(finding: str, rng: random.Random, language: str) -> str:
    nouns = [one for one in short_wordings(finding, language) if not DOUBTFUL.search(one) and not CLAUSE.search(one)]
    phrases = [one for one in nouns if not PAST.search(one)]
    phrase = rng.choice(phrases or [finding])
    noun = language == "de" and " " not in phrase
    return rng.choice(GERMAN_DENIALS if noun else DENIALS[language]) + phrase
