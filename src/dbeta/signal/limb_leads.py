"""Limb leads in the wrong column, inverted or copied: they contradict Einthoven's and Goldberger's equations.

The six limb leads are combinations of two voltages, so such an error is detected almost surely if the file has all
six; computed limb leads agree by construction. Electrodes that are exchanged contradict no equation; they are detected
in `dbeta.signal.lead_prediction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from dbeta.ecg import LIMB_LEADS
from dbeta.signal.lead_errors import LIMBS, LeadError, in_words, repair_matrix

#: Fraction of the limb leads' energy that contradicts the equations above which an error is reported, and above which
#: it is reported even if no single error explains it. Rounding causes about 1e-6, 5 % of independent noise 2e-3.
CONTRADICTED, BROKEN = 2e-3, 2e-2
#: An error is accepted if its repair leaves less than this fraction of the contradiction.
EXPLAINED = 0.2
#: RMS difference of two leads, relative to the larger, below which one is a copy of the other.
COPIED = 0.005
#: Key and value in an ECG's `meta`: its leads have their own unknown scales, so that they cannot be compared.
VOLTAGES, UNDETERMINED = "voltages", "undetermined"
#: The warning about it.
GAINS_CONTRADICT = (
    "the gains in its header contradict the limb-lead equations, which hold for its raw numbers: voltages, axis and "
    "hypertrophy mean nothing as they are; state the size of a raw number with --raw-gain, as uV"
)
#: Projection onto the part of the six limb leads that the equations exclude.
_CONTRADICTION = np.eye(6) - LIMBS @ np.linalg.pinv(LIMBS)
#: Each limb lead from two others.
_COMPUTED: dict[str, dict[str, float]] = {
    "I": {"II": 1.0, "III": -1.0},
    "II": {"I": 1.0, "III": 1.0},
    "III": {"I": -1.0, "II": 1.0},
    "aVR": {"I": -0.5, "II": -0.5},
    "aVL": {"I": 1.0, "II": -0.5},
    "aVF": {"I": -0.5, "II": 1.0},
}


def limb_error(products: np.ndarray, alive: np.ndarray) -> LeadError | None:
    """The column error that explains how the limb leads contradict one another, if there is one.

    Args:
        products: (12, 12) mean products of the leads.
        alive: (12,) bool, the leads that hold a signal.
    """
    limbs = products[:6, :6]
    if not alive[:6].sum() >= 5 or np.trace(limbs) <= 0:
        return None
    names = list(LIMB_LEADS)

    def contradiction(repair: dict[str, dict[str, float]]) -> float:
        change = repair_matrix(repair)[:6, :6]
        return max(float(np.trace(_CONTRADICTION @ change @ limbs @ change.T) / np.trace(limbs)), 0.0)

    now = contradiction({})
    if now < CONTRADICTED:
        return None
    if any(difference(limbs, i, j) < COPIED for i, j in combinations(range(6), 2)):
        return _odd_limb_lead(limbs, alive, now)
    orders = [{a: b, b: a} for a, b in combinations(names, 2)]
    for a, b, c in (names[:3], names[3:]):
        orders += [{a: b, b: c, c: a}, {a: c, b: a, c: b}]
    exchanges = [{to: {of: 1.0} for to, of in order.items()} for order in orders]
    inversions = [{lead: {lead: -1.0}} for lead in names]
    left, best = min(((contradiction(one), i) for i, one in enumerate(exchanges + inversions)))
    if left < EXPLAINED * now and left < BROKEN:
        repair = (exchanges + inversions)[best]
        leads = tuple(repair)
        if len(leads) == 1:
            return LeadError("inverted", leads, 1 - left / now, f"lead {leads[0]} is inverted", repair)
        message = f"leads {in_words(leads)} are exchanged"
        if len(leads) == 3:
            message += f" ({in_words([f'{next(iter(of))} holds {lead}' for lead, of in repair.items()])})"
        return LeadError("exchanged", leads, 1 - left / now, message, repair)
    return _odd_limb_lead(limbs, alive, now)


def _odd_limb_lead(limbs: np.ndarray, alive: np.ndarray, now: float) -> LeadError | None:
    """The one lead without which the other five agree, if there is one."""
    names = list(LIMB_LEADS)
    left = []
    for i in range(6):
        others = [j for j in range(6) if j != i]
        design = LIMBS[others]
        rest = np.eye(5) - design @ np.linalg.pinv(design)
        left.append(max(float(np.trace(rest @ limbs[np.ix_(others, others)]) / np.trace(limbs)), 0.0))
    odd = int(np.argmin(left))
    if left[odd] < EXPLAINED * now and left[odd] < BROKEN:
        lead = names[odd]
        repair = {lead: _COMPUTED[lead]}
        confidence = 1 - left[odd] / now
        copies = [names[j] for j in range(6) if j != odd and difference(limbs, odd, j) < COPIED]
        if copies:
            message = f"lead {lead} is a copy of {copies[0]}"
            return LeadError("copied", (lead, copies[0]), confidence, message, repair)
        message = f"lead {lead} does not follow from the other limb leads"
        if not alive[odd]:
            message = f"lead {lead} is flat, but not according to the other limb leads"
        return LeadError("contradicted", (lead,), confidence, message, repair)
    if now < BROKEN or not alive[:6].all():
        return None
    message = "the limb leads do not agree with one another; check the order of the leads"
    return LeadError("contradicted", tuple(names), min(now, 1.0), message, {})


def difference(products: np.ndarray, i: int, j: int) -> float:
    """RMS difference of two leads, relative to the larger."""
    squares = products[i, i] + products[j, j] - 2 * products[i, j]
    return float(np.sqrt(max(squares, 0) / max(products[i, i], products[j, j], 1e-12)))


def gains_contradict(signal: np.ndarray, leads: Sequence[str], gains: np.ndarray) -> bool:
    """Whether the limb leads obey the equations only without the gains in the file's header.

    This happens when each lead was scaled to the same amplitude, as in LUDB.

    Args:
        signal: (leads, samples), mV.
        leads: names of the rows.
        gains: of each row, counts per unit.
    """
    rows = [row for row, lead in enumerate(leads) if lead in LIMB_LEADS]
    if len(rows) < 3 or np.ptp(gains[rows]) < 1e-3 * np.abs(gains[rows]).max():
        return False
    x = signal[rows, : 2**16].astype(np.float64)
    x = x[:, np.isfinite(x).all(axis=0)]
    if x.shape[1] < 2:
        return False
    x -= x.mean(axis=1, keepdims=True)
    design = np.array([LIMB_LEADS[leads[row]] for row in rows])
    excluded = np.eye(len(rows)) - design @ np.linalg.pinv(design)

    def contradiction(values: np.ndarray) -> float:
        return float(np.square(excluded @ values).sum() / max(np.square(values).sum(), 1e-12))

    stated, raw = contradiction(x), contradiction(x * gains[rows, None])
    return stated > CONTRADICTED and raw < min(CONTRADICTED, EXPLAINED * stated)
