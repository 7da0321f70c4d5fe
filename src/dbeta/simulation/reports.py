"""Writes reports of simulated ECGs in the style of machines and human readers: findings, negations, measurements."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from dbeta.conditions.wordings import follows_verb, short_wordings, write_report
from dbeta.simulation.finding_table import TABLE

#: A machine's summary of an abnormal ECG.
CONCLUSIONS = {
    "en": ("abnormal ecg", "abnormal electrocardiogram", "abnormal ecg, clinical correlation is suggested"),
    "de": ("abnormales ecg", "pathologisches ecg", "ecg ausserhalb der norm"),
}
#: Beginnings of a dictated sentence.
DICTATED = ("the ecg shows ", "the trace shows ", "the tracing is notable for ", "this ecg demonstrates ", "one sees ")
MEASURED = {
    "en": (
        "ventricular rate {rate} bpm",
        "vent. rate {rate} bpm pr interval {pr} ms qrs duration {qrs} ms qt/qtc {qt}/{qtc} ms p-r-t axes * {axis} *",
        "rate {rate}, pr {pr}, qrsd {qrs}, qt {qt}, qtc {qtc}, axis {axis}",
        "heart rate {rate} per minute, qrs {qrs} ms",
        "hr {rate}",
        "pr interval {pr} ms, qrs {qrs} ms, qtc {qtc} ms",
        "qrs axis {axis} degrees",
    ),
    "de": (
        "herzfrequenz {rate}/min",
        "hf {rate}, pq {pr} ms, qrs {qrs} ms, qtc {qtc} ms",
        "frequenz {rate}/min, lagetyp {axis} grad",
        "pq-zeit {pr} ms, qrs-dauer {qrs} ms, qt {qt} ms",
    ),
}


def write_simulated_report(
    findings: Mapping[str, int], measures: Mapping[str, float], rng: random.Random, most: int = 6
) -> str:
    """Write the report of one record, in lower case.

    Args:
        findings: name → 1 present, −1 absent, 0 undetermined.
        measures: rate (per minute), axis (degrees), pr, qrs, qt and qtc (seconds; NaN if absent).
        rng: source of randomness.
        most: maximum number of findings to state.
    """
    present = [name for name, sign in findings.items() if sign > 0]
    named = [name for name in present if TABLE[name].report != "implied" or rng.random() < 0.1] or present
    rhythm = [name for name in named if TABLE[name].report == "first"]
    others = [name for name in named if name not in rhythm]
    rng.shuffle(others)
    stated = (rhythm + others)[:most]
    language = rng.choice(("en", "en", "de"))
    denied = _denied(findings, rng) if rng.random() < 0.3 or not stated else []
    parts = [_body(stated, denied, rng, language)]
    if findings.get("normal ecg", 0) < 0 and rng.random() < 0.15:
        parts.append(rng.choice(CONCLUSIONS[language]))
    if rng.random() < 0.35:
        parts.insert(rng.choice((0, 1)), _measured(measures, rng.choice(MEASURED[language])))
    return " ".join(part if part.endswith(".") else part + "." for part in parts)


def _body(stated: Sequence[str], denied: Sequence[str], rng: random.Random, language: str) -> str:
    """Write the findings in one of three styles: a machine, a dictating reader, a reader in a hurry."""
    style = rng.random()
    dictated = style < 0.2 and language == "en"
    if len(stated) < 2 or not (dictated or style > 0.75):
        return write_report(stated, rng, absent=denied, language=language, ordered=True)
    past = not any(TABLE[finding].report == "acute" for finding in stated)
    phrases = [rng.choice(short_wordings(finding, language, past=past)) for finding in stated]
    denials = [write_report([], rng, absent=[one], language=language).rstrip(".") for one in denied]
    if dictated:
        first, *others = phrases
        listed = ", ".join(others[:-1]) + (" and " if others[:-1] else "") + others[-1]
        phrases = [
            rng.choice(DICTATED) + first if follows_verb(first) else first,
            rng.choice(DICTATED) + listed if all(map(follows_verb, others)) else listed,
        ]
    # A machine prints one statement per line; here each becomes a sentence
    return ". ".join([*phrases, *denials])


def _denied(findings: Mapping[str, int], rng: random.Random) -> Sequence[str]:
    present = [name for name, sign in findings.items() if sign > 0]
    # Do not deny a finding that a stated one implies, such as "sinus rhythm" next to sinus bradycardia
    absent = [
        name
        for name, sign in findings.items()
        if sign < 0
        and not any(name in other or other in name for other in present)
        and not (name == "sinus rhythm" and any(other.startswith("sinus") for other in present))
    ]
    return rng.sample(absent, min(len(absent), rng.randint(1, 3)))


def _measured(measures: Mapping[str, float], form: str) -> str:
    """Fill values into a form; unmeasurable ones become a star, as machines print them."""
    numbers = {name: value if name in ("rate", "axis") else 1000 * value for name, value in measures.items()}
    return form.format(**{name: "*" if math.isnan(value) else round(value) for name, value in numbers.items()})
