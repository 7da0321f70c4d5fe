"""Cleans the text of ECG reports."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SENTINELS = re.compile(r"^[\s*=\-]+|[\s*=\-]+$")
_SPACES = re.compile(r"\s+")
_SENTENCE_END = re.compile(r"(?<=[.;!?])\s+")
#: Left at the end of PTB-XL reports by the analysis program: its version and "unconfirmed report", possibly truncated.
_PROGRAM = re.compile(r"\s*\b4\.(?:46\b(?:\s+u\w*(?:\s+b\w*)?$)?|4$)|\s*\bunbestätig(?:ter bericht\b|\w*(?: b\w*)?$)")
#: Left at the end of PTB-XL reports by annotators: statement codes with likelihoods, which are the labels.
_CODES = re.compile(r"\s*(?:\bedit:|consensus label derived from:).*$")
#: Whole sentences, without their full stop, that say nothing about the heart or the tracing.
_NO_FINDING = re.compile(
    "|".join(
        (
            # there is no report
            r"nan|none|null|n/?a|trace only(?: requested)?|(?:(?:ecg )?report|interpretation|diagnosis) not available",
            r"no (?:ecg )?(?:report|interpretation|analysis)(?: (?:available|requested|performed))?",
            # who read it
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
    """Clean a report for the model; cleaning a clean report changes nothing.

    1. The lines of a machine report (`report_0` … `report_17` of MIMIC-IV-ECG) become sentences: joined with ". ", or
       with a space after a line that ends in punctuation; missing lines are skipped. A single text counts as one line,
       however it is wrapped.
    2. Lower case, "ekg" as "ecg", one space between words.
    3. `***`, `=-`, `=`, `--` and the like around the text and around each line are removed.
    4. Sentences without a finding are dropped: no report available ("trace only requested"), who read it
       ("unconfirmed report", PTB-XL's "4.46 unbestätigter bericht") and how ("standard 12-lead ecg", "interpretation
       made without knowing patient's gender/age", "no previous ecgs available for comparison").
    5. PTB-XL's "edit: norm 100, irbbb" and "consensus label derived from: {…}" are dropped through the end of the text:
       they are the labels.

    Remarks on the tracing stay, since they are visible in it: "poor data quality", "artifact in lead(s) v1", "suspect
    arm lead reversal", "data quality may affect interpretation". Comparisons with earlier ECGs stay too, since they are
    mixed with findings.

    Steps 1 to 3 follow the paper's appendix on data processing. The texts that 4 and 5 drop occur in PTB-XL's 19,601
    reports of folds 1–9 or are common in reports of GE and Philips machines.

    Args:
        text: a report, or its lines, with None, NaN or "" for missing ones.

    Returns:
        The cleaned report, possibly empty.
    """
    if not isinstance(text, str):
        *lines, last = [line for line in (clean_report(one) for one in text if isinstance(one, str)) if line] or [""]
        text = " ".join([*(line if line[-1] in ".,;:!?" else line + "." for line in lines), last])
    cleaned = _clean_once(text)
    # A removal can leave text that a further pass removes
    while cleaned != text:
        text, cleaned = cleaned, _clean_once(cleaned)
    return cleaned


def _clean_once(text: str) -> str:
    """Clean one text in a single pass, which never makes it longer."""
    text = _SPACES.sub(" ", text.lower().replace("ekg", "ecg"))
    text = _PROGRAM.sub("", _CODES.sub("", text))
    sentences = [_SENTINELS.sub("", sentence) for sentence in _SENTENCE_END.split(text)]
    text = " ".join(one for one in sentences if not _NO_FINDING.fullmatch(_SENTINELS.sub("", one.rstrip(" .;!?"))))
    return _SENTINELS.sub("", text) if any(character.isalnum() for character in text) else ""
