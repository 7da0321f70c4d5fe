"""Report text: cleaning what archives hold, and writing English sentences from findings."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_SENTINELS = re.compile(r"^[\s*=\-]+|[\s*=\-]+$")
_SPACES = re.compile(r"\s+")


def clean_report(text: str) -> str:
    """A report as the model reads it: lower case, "ekg" as "ecg", one space between words, no `***` or `=-` around.

    Source: paper, appendix on data processing.
    """
    text = _SPACES.sub(" ", text.lower().replace("ekg", "ecg"))
    return _SENTINELS.sub("", text)


def write_report(findings: Sequence[str], rng: random.Random) -> str:
    """An English report that states these findings, in random order and one of several punctuations.

    Args:
        findings: phrases such as "left axis deviation".
        rng: source of randomness.
    """
    phrases = [finding.lower() for finding in findings]
    rng.shuffle(phrases)
    joint = rng.choice([". ", ", ", "; ", " with " if len(phrases) == 2 else ", "])
    return joint.join(phrases) + rng.choice([".", ""])
