"""Report text: cleaning what archives hold, and writing English sentences from findings."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from dbeta.evaluation.conditions import find_condition

_SENTINELS = re.compile(r"^[\s*=\-]+|[\s*=\-]+$")
_SPACES = re.compile(r"\s+")


def clean_report(text: str) -> str:
    """A report as the model reads it: lower case, "ekg" as "ecg", one space between words, no `***` or `=-` around.

    Source: paper, appendix on data processing.
    """
    text = _SPACES.sub(" ", text.lower().replace("ekg", "ecg"))
    return _SENTINELS.sub("", text)


def wordings(finding: str) -> tuple[str, ...]:
    """The usual ways to say a finding, lower case: as `conditions.yaml` words it, or the finding itself."""
    condition = find_condition(finding)
    return (finding.lower(),) if condition is None else condition.prompts


def write_report(findings: Sequence[str], rng: random.Random) -> str:
    """An English report that states these findings, in random order, wording and punctuation.

    A single finding may be stated by its long clinical description; several are named, so that none is cut off.

    Args:
        findings: phrases such as "left axis deviation".
        rng: source of randomness.
    """
    if len(findings) == 1:
        return rng.choice(wordings(findings[0]))
    phrases = [rng.choice([one for one in wordings(finding) if ": " not in one]) for finding in findings]
    rng.shuffle(phrases)
    joint = rng.choice([". ", ", ", "; ", " with " if len(phrases) == 2 else ", "])
    return joint.join(phrases) + rng.choice([".", ""])
