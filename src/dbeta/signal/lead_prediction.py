"""Exchanged electrodes and wrong chest leads: detected by how well the leads predict one another.

Exchanged electrodes contradict no equation. As in Kors and van Herpen (J Electrocardiol 2001;34 suppl), each lead is
predicted from the others: I and II from V1–V6, each of V1–V6 from all seven others. The predictions are linear, fitted
to the mean products of 1,822 records of PTB-XL's folds 1–8, separately below 7 Hz (P and T waves) and above (QRS), so
that the small waves count as well.

Everything is arithmetic on the products of the leads with each other, so that testing a hypothesis such as "the arm
electrodes are exchanged" takes one matrix product instead of a pass over the signal.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from dbeta.ecg import INDEPENDENT_LEADS, LEADS
from dbeta.signal.lead_errors import EIGHT, LIMBS, LeadError, repair_matrix

#: By how much a repair must improve the mutual prediction, as sum of arctanh of the correlations.
GAIN = {"reversed": 1.5, "inverted": 1.5, "exchanged": 3.0}
#: Mean products of I, II, V1–V6 in the two bands, folds 1–8 of PTB-XL; fitted by `benchmarks/lead_checks.py --fit`.
PRODUCTS = np.array(  # (2, 8, 8)
    [
        [
            [61.5, 38.7, -47.1, -8.8, 25.6, 55.2, 66.3, 59.8],
            [38.7, 62.6, -33.8, -0.1, 40.1, 66.1, 68.5, 59.6],
            [-47.1, -33.8, 88.5, 102.0, 46.4, -19.2, -52.9, -57.0],
            [-8.8, -0.1, 102.0, 247.4, 173.9, 67.6, 0.5, -24.2],
            [25.6, 40.1, 46.4, 173.9, 193.1, 121.8, 60.2, 29.1],
            [55.2, 66.1, -19.2, 67.6, 121.8, 139.2, 106.1, 78.0],
            [66.3, 68.5, -52.9, 0.5, 60.2, 106.1, 117.5, 94.2],
            [59.8, 59.6, -57.0, -24.2, 29.1, 78.0, 94.2, 90.3],
        ],
        [
            [59.3, 39.0, -44.4, -13.7, 35.0, 70.4, 76.6, 63.5],
            [39.0, 58.8, -37.9, -21.0, 38.2, 79.2, 81.1, 66.1],
            [-44.4, -37.9, 74.3, 86.5, 30.8, -29.4, -57.2, -58.1],
            [-13.7, -21.0, 86.5, 180.6, 128.9, 47.8, -7.4, -31.3],
            [35.0, 38.2, 30.8, 128.9, 181.7, 145.3, 86.5, 44.8],
            [70.4, 79.2, -29.4, 47.8, 145.3, 192.8, 153.8, 105.9],
            [76.6, 81.1, -57.2, -7.4, 86.5, 153.8, 153.9, 117.0],
            [63.5, 66.1, -58.1, -31.3, 44.8, 105.9, 117.0, 98.5],
        ],
    ]
)
_RIDGE = 1e-3
#: For each pair of exchanged electrodes, the lead that each limb lead has to be taken from.
REVERSALS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("right arm", "left arm"): {
        "I": {"I": -1.0},
        "II": {"III": 1.0},
        "III": {"II": 1.0},
        "aVR": {"aVL": 1.0},
        "aVL": {"aVR": 1.0},
    },
    ("right arm", "left leg"): {
        "I": {"III": -1.0},
        "II": {"II": -1.0},
        "III": {"I": -1.0},
        "aVR": {"aVF": 1.0},
        "aVF": {"aVR": 1.0},
    },
}


def likeliest_error(products: np.ndarray, alive: np.ndarray) -> LeadError | None:
    """The exchange of electrodes, or inversion or exchange of chest leads, that improves the mutual prediction most.

    Args:
        products: (2, 12, 12) mean products of the leads in the two bands.
        alive: (12,) bool, the leads that hold a signal.

    Returns:
        The error; None if no hypothesis improves the prediction by its `GAIN`.
    """
    eight = products[:, EIGHT][:, :, EIGHT]
    there = alive[EIGHT]
    if there[2:].sum() < 4 or not there[:2].all():
        return None
    errors, changes, predictors = _hypotheses(tuple(there.tolist()))
    scores = _agreement(changes[:, None] @ eight @ changes[:, None].transpose(0, 1, 3, 2), predictors)
    gains = scores[1:] - scores[0]
    # The kinds differ in how often a gain occurs by chance
    spare = gains - np.array([GAIN[error.kind] for error in errors])
    best = int(np.argmax(np.where(spare > 0, gains, -np.inf)))
    if spare[best] <= 0:
        return None
    found = errors[best]
    return LeadError(found.kind, found.leads, float(np.tanh(gains[best] / 2)), found.message, found.repair)


def prediction(products: np.ndarray, lead: int, others: Sequence[int]) -> float:
    """Correlation of a lead with its prediction from the others, mean over the bands."""
    if not others:
        return 0.0
    found = []
    for here, known in zip(products, PRODUCTS, strict=True):
        weights = _weights(known, lead, others)
        spread = here[lead, lead] * (weights @ here[np.ix_(others, others)] @ weights)
        found.append(here[lead, others] @ weights / np.sqrt(spread + 1e-18))
    return float(np.mean(found))


def _weights(known: np.ndarray, lead: int, others: Sequence[int]) -> np.ndarray:
    """Weights of the others in the prediction of a lead, by ridge regression on the known products."""
    at = [EIGHT.index(k) for k in others]
    of = known[np.ix_(at, at)]
    ridge = _RIDGE * np.trace(of) / len(at) * np.eye(len(at))
    return np.linalg.solve(of + ridge, known[at, EIGHT.index(lead)])


@functools.lru_cache(maxsize=64)
def _hypotheses(there: tuple[bool, ...]) -> tuple[list[LeadError], np.ndarray, np.ndarray]:
    """The possible errors of the available independent leads, and how these leads predict one another.

    Returns:
        The errors; the identity and the repair of each as maps, (1 + errors, 8, 8); weights of the other leads in the
        prediction of each lead, (2, 8, 8).
    """
    chest = [k for k in range(2, 8) if there[k]]
    errors = [_reversal(pair) for pair in REVERSALS]
    errors += [_inversion(INDEPENDENT_LEADS[k]) for k in chest]
    errors += [_exchange(INDEPENDENT_LEADS[j], INDEPENDENT_LEADS[k]) for j, k in combinations(chest, 2)]
    predictors = np.zeros((2, 8, 8))
    for k in (0, 1, *chest):
        # I and II do not predict each other, because electrode errors change both
        others = [j for j in (0, 1, *chest) if j != k and (k > 1 or j > 1)]
        for band in range(2):
            predictors[band, k, others] = _weights(PRODUCTS[band], EIGHT[k], [EIGHT[j] for j in others])
    return errors, np.stack([np.eye(8), *(_eight(error.repair) for error in errors)]), predictors


def _agreement(products: np.ndarray, predictors: np.ndarray) -> np.ndarray:
    """How well the leads predict one another under each hypothesis: (H, 2, 8, 8) → (H,)."""
    forward = predictors @ products  # (H, 2, 8, 8)
    cross = np.diagonal(forward, axis1=2, axis2=3)
    predicted = (forward * predictors).sum(axis=3)
    own = np.diagonal(products, axis1=2, axis2=3)
    correlations = (cross / np.sqrt(np.maximum(own * predicted, 1e-18))).mean(axis=1)  # (H, 8)
    return np.arctanh(np.clip(correlations, -0.95, 0.95)).sum(axis=1)


def _eight(repair: dict[str, dict[str, float]]) -> np.ndarray:
    """A repair as a map of the eight independent leads, (8, 8)."""
    whole = np.zeros((len(LEADS), 8))  # each of the twelve from the eight
    whole[:6, :2] = LIMBS
    whole[range(6, 12), range(2, 8)] = 1.0
    return (repair_matrix(repair) @ whole)[EIGHT]


def _reversal(pair: tuple[str, str]) -> LeadError:
    one, other = pair
    hint = " (or the heart lies on the right side)" if other == "left arm" else ""
    message = f"the electrodes of {one} and {other} seem exchanged{hint}"
    return LeadError("reversed", tuple(REVERSALS[pair]), 0.0, message, REVERSALS[pair])


def _inversion(lead: str) -> LeadError:
    return LeadError("inverted", (lead,), 0.0, f"lead {lead} seems inverted", {lead: {lead: -1.0}})


def _exchange(one: str, other: str) -> LeadError:
    repair = {one: {other: 1.0}, other: {one: 1.0}}
    return LeadError("exchanged", (one, other), 0.0, f"leads {one} and {other} seem exchanged", repair)
