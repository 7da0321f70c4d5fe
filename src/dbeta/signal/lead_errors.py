"""What can be wrong with the leads of a recording, and the linear map that repairs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dbeta.ecg import INDEPENDENT_LEADS, LEADS, LIMB_LEADS

#: Rows of the eight independent leads among the twelve.
EIGHT = [LEADS.index(lead) for lead in INDEPENDENT_LEADS]
#: The limb leads from I and II, (6, 2).
LIMBS = np.array(list(LIMB_LEADS.values()))


@dataclass(frozen=True)
class LeadError:
    """An error in the leads of a recording.

    Attributes:
        kind: "exchanged" (columns), "reversed" (limb electrodes), "inverted", "copied", "contradicted" (a limb lead
            does not follow from the others) or "same place" (two limb electrodes).
        leads: the leads concerned.
        confidence: 0 to 1, how much better the leads agree after the repair; not a calibrated probability.
        message: the error in words.
        repair: for each lead to replace, the factors of the recorded leads that it is computed from; no factors mask
            the lead. Empty if the error cannot be repaired.
    """

    kind: str
    leads: tuple[str, ...]
    confidence: float
    message: str
    repair: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON-serialisable values."""
        return asdict(self) | {"leads": list(self.leads), "confidence": round(self.confidence, 3)}


def repair_matrix(repair: dict[str, dict[str, float]]) -> np.ndarray:
    """A repair as a linear map of the twelve leads, (12, 12)."""
    change = np.eye(len(LEADS))
    for lead, parts in repair.items():
        row = LEADS.index(lead)
        change[row] = 0.0
        for part, factor in parts.items():
            change[row, LEADS.index(part)] = factor
    return change


def in_words(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    return f"{', '.join(names[:-1])} and {names[-1]}"
