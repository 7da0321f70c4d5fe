"""Exchanged, inverted and copied leads: found by what the leads say of one another, and put right where asked.

Special here: all of it is arithmetic on the 12 × 12 products of the leads with each other, so that a hypothesis such as
"the arm electrodes are exchanged" costs a matrix product and not a look at the signal.

- The six limb leads are made of two voltages (Einthoven, Goldberger), so a column in the wrong place, upside down or
  copied breaks equations and is found almost surely, where the file has all six: computed leads agree by themselves.
- Exchanged electrodes break no equation. They are found as Kors and van Herpen (J Electrocardiol 2001;34 suppl) find
  them, by how well each lead is predicted by the others: by V1–V6 for I and II, by all seven others for V1–V6. The
  predictions are linear, from the mean products of 1,822 records of PTB-XL's folds 1–8, and below 7 Hz (P and T
  waves) and above (QRS) apart, so that the small waves count as well.

What cannot be told: the left arm from the left leg (one in ten would be found), V5 from V6, and dextrocardia from
exchanged arms where the chest leads were placed mirrored. Figures are in `benchmarks/README.md`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS, LIMB_LEADS
from dbeta.signal.preprocess import fill_gaps
from dbeta.signal.quality import ASSESSED, FLAT_SECOND, spectrum

#: Hz; P and T waves below, QRS complexes above.
BANDS = ((0.7, 7.0), (7.0, 30.0))

#: Share of the limb leads' energy that contradicts the equations, from which it is told and from which it is told even
#: where no single error explains it; rounding makes about 1e-6, 5 % of noise of each lead's own 2e-3.
CONTRADICTED, BROKEN = 2e-3, 2e-2
#: The error is believed that leaves less than this share of the contradiction.
EXPLAINED = 0.2
#: Root mean square of the difference by which two leads that are no copies differ at least, relative to the larger.
COPIED = 0.005
#: By how much the leads must predict one another better than as they are, sum of arctanh of their correlations.
GAIN = {"reversed": 1.5, "inverted": 1.5, "exchanged": 3.0}
#: A limb lead this small beside the largest is taken between two electrodes at the same place.
SAME_PLACE = 0.08
#: Mean products of I, II, V1–V6 in the two bands, folds 1–8 of PTB-XL; `benchmarks/lead_checks.py --fit` makes them.
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

_EIGHT = [LEADS.index(lead) for lead in INDEPENDENT_LEADS]
_LIMBS = np.array(list(LIMB_LEADS.values()))  # (6, 2)
#: What the equations leave nothing of.
_CONTRADICTION = np.eye(6) - _LIMBS @ np.linalg.pinv(_LIMBS)
_RIDGE = 1e-3
#: Two electrodes exchanged: what each limb lead has to be taken from.
_REVERSALS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("right arm", "left arm"): {
        **{"I": {"I": -1.0}, "II": {"III": 1.0}, "III": {"II": 1.0}},
        **{"aVR": {"aVL": 1.0}, "aVL": {"aVR": 1.0}},
    },
    ("right arm", "left leg"): {
        **{"I": {"III": -1.0}, "II": {"II": -1.0}, "III": {"I": -1.0}},
        **{"aVR": {"aVF": 1.0}, "aVF": {"aVR": 1.0}},
    },
}
#: Each limb lead from two others.
_COMPUTED: dict[str, dict[str, float]] = {
    **{"I": {"II": 1.0, "III": -1.0}, "II": {"I": 1.0, "III": 1.0}, "III": {"I": -1.0, "II": 1.0}},
    **{"aVR": {"I": -0.5, "II": -0.5}, "aVL": {"I": 1.0, "II": -0.5}, "aVF": {"I": -0.5, "II": 1.0}},
}


@dataclass(frozen=True)
class LeadError:
    """Something that is wrong with the leads of a recording.

    Attributes:
        kind: "exchanged" (columns), "reversed" (limb electrodes), "inverted", "copied", "contradicted" (a limb lead
            does not follow from the others) or "same place" (two limb electrodes).
        leads: those concerned.
        confidence: 0 to 1, how much better the leads agree once it is put right; not a calibrated probability.
        message: the same in words.
        repair: what each lead is to be made of, as factors of the leads as recorded; nothing: it is to be masked.
            Empty where it cannot be put right.
    """

    kind: str
    leads: tuple[str, ...]
    confidence: float
    message: str
    repair: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self) | {"leads": list(self.leads), "confidence": round(self.confidence, 3)}


def check_leads(ecg: ECG) -> list[LeadError]:
    """What is wrong with the leads, seen in the first minute of a recording.

    Args:
        ecg: any leads. Those computed from others cannot contradict them, so give the recording as it was read.

    Returns:
        The errors, to be put right one after the other in this order (`fix_leads`); at most one about the columns of
        the limb leads, and one about electrodes, signs or order.
    """
    products, alive = _products(ecg)
    errors: list[LeadError] = []

    def note(error: LeadError | None) -> None:
        nonlocal products
        if error is not None:
            errors.append(error)
            change = _matrix(error.repair)
            products = change @ products @ change.T
            alive[[LEADS.index(lead) for lead, parts in error.repair.items() if not parts]] = False

    note(_limb_error(products.sum(axis=0), alive))
    for error in _copies(products, alive):
        note(error)
    # Where the limb leads are not what they are called, they say nothing of the others
    if all(error.repair for error in errors):
        note(_likeliest(products, alive))
    note(_same_place(products.sum(axis=0), alive))
    return errors


def fix_leads(ecg: ECG, errors: Sequence[LeadError] | None = None) -> ECG:
    """A recording with its leads put right, as far as that can be done.

    Args:
        ecg: the recording.
        errors: of `check_leads`; by default it is asked.

    Returns:
        A new recording of twelve leads, `meta["fixed_leads"]` names what was put right; the same recording where
        nothing is wrong. A lead that only copies another is missing from then on.
    """
    errors = [error for error in (check_leads(ecg) if errors is None else errors) if error.repair]
    if not errors:
        return ecg
    whole = ecg.standard()
    signal = whole.signal
    for error in errors:
        rows = dict(zip(LEADS, signal, strict=True))
        signal = signal.copy()
        for lead, parts in error.repair.items():
            new = sum((np.float32(factor) * rows[part] for part, factor in parts.items()), np.float32(0))
            signal[LEADS.index(lead)] = new if parts else np.nan
    meta = whole.meta | {"fixed_leads": [error.message for error in errors]}
    fixed = ECG(signal, whole.sampling_rate, LEADS, whole.report, whole.patient_id, meta)
    return fixed.standard()


def _products(ecg: ECG) -> tuple[np.ndarray, np.ndarray]:
    """Mean products of the leads in each band, (2, 12, 12) mV², and which leads hold something, (12,) bool."""
    x = ecg.standard().signal[:, : max(round(ASSESSED * ecg.sampling_rate), 1)].astype(np.float32)
    x[~(np.abs(x) < 1e9)] = np.nan
    finite = np.isfinite(x)
    alive = finite.any(axis=1)
    fill_gaps(x)
    alive &= np.ptp(x, axis=1) >= FLAT_SECOND
    # What is missing in one lead must be so in all, or they would contradict each other
    valid = finite[alive].all(axis=0)
    if valid.any():
        x = np.where(valid, x - x[:, valid].mean(axis=1, keepdims=True), 0)
    f, transform = spectrum(x, ecg.sampling_rate)
    bands = [transform[:, (f >= low) & (f < high)] for low, high in BANDS]
    return np.stack([(one @ one.conj().T).real for one in bands]).astype(np.float64), alive


def _matrix(repair: dict[str, dict[str, float]]) -> np.ndarray:
    """A repair as a linear map of the twelve leads, (12, 12)."""
    change = np.eye(len(LEADS))
    for lead, parts in repair.items():
        row = LEADS.index(lead)
        change[row] = 0.0
        for part, factor in parts.items():
            change[row, LEADS.index(part)] = factor
    return change


def _limb_error(products: np.ndarray, alive: np.ndarray) -> LeadError | None:
    """The one error of columns that explains how the limb leads contradict one another."""
    limbs = products[:6, :6]
    if not alive[:6].sum() >= 5 or np.trace(limbs) <= 0:
        return None
    names = list(LIMB_LEADS)

    def contradiction(repair: dict[str, dict[str, float]]) -> float:
        change = _matrix(repair)[:6, :6]
        return max(float(np.trace(_CONTRADICTION @ change @ limbs @ change.T) / np.trace(limbs)), 0.0)

    now = contradiction({})
    if now < CONTRADICTED:
        return None
    if any(_difference(limbs, i, j) < COPIED for i, j in combinations(range(6), 2)):
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
            return LeadError("inverted", leads, 1 - left / now, f"lead {leads[0]} is upside down", repair)
        message = f"leads {_list(leads)} are exchanged"
        if len(leads) == 3:
            message += f" ({_list([f'{next(iter(of))} holds {lead}' for lead, of in repair.items()])})"
        return LeadError("exchanged", leads, 1 - left / now, message, repair)
    return _odd_limb_lead(limbs, alive, now)


def _odd_limb_lead(limbs: np.ndarray, alive: np.ndarray, now: float) -> LeadError | None:
    """The one lead without which the other five agree."""
    names = list(LIMB_LEADS)
    left = []
    for i in range(6):
        others = [j for j in range(6) if j != i]
        design = _LIMBS[others]
        rest = np.eye(5) - design @ np.linalg.pinv(design)
        left.append(max(float(np.trace(rest @ limbs[np.ix_(others, others)]) / np.trace(limbs)), 0.0))
    odd = int(np.argmin(left))
    if left[odd] < EXPLAINED * now and left[odd] < BROKEN:
        lead = names[odd]
        repair = {lead: _COMPUTED[lead]}
        confidence = 1 - left[odd] / now
        copies = [names[j] for j in range(6) if j != odd and _difference(limbs, odd, j) < COPIED]
        if copies:
            message = f"lead {lead} is a copy of {copies[0]}"
            return LeadError("copied", (lead, copies[0]), confidence, message, repair)
        message = f"lead {lead} does not follow from the other limb leads"
        if not alive[odd]:
            message = f"lead {lead} is flat, though not by the other limb leads"
        return LeadError("contradicted", (lead,), confidence, message, repair)
    if now < BROKEN or not alive[:6].all():
        return None
    message = "the limb leads do not agree with one another; check the order of the leads"
    return LeadError("contradicted", tuple(names), min(now, 1.0), message, {})


def _difference(products: np.ndarray, i: int, j: int) -> float:
    """Root mean square of the difference of two leads, relative to the larger."""
    squares = products[i, i] + products[j, j] - 2 * products[i, j]
    return float(np.sqrt(max(squares, 0) / max(products[i, i], products[j, j], 1e-12)))


def _copies(products: np.ndarray, alive: np.ndarray) -> list[LeadError]:
    """Chest leads that copy another lead. Of two chest leads, the one that the others predict worse is the copy."""
    both = products.sum(axis=0)
    squares = np.diag(both)
    apart = np.maximum(squares[:, None] + squares - 2 * both, 0) / np.maximum(np.maximum.outer(squares, squares), 1e-12)
    errors: list[LeadError] = []
    gone: set[int] = set()
    for i, j in np.argwhere(apart < COPIED**2).tolist():
        if j <= i or j < 6 or gone & {i, j} or not alive[[i, j]].all():
            continue
        copy, of = j, i
        if i >= 6:
            others = [k for k in _EIGHT if alive[k] and k not in gone | {i, j}]
            copy, of = (j, i) if _fit(products, i, others) >= _fit(products, j, others) else (i, j)
        gone.add(copy)
        leads = LEADS[copy], LEADS[of]
        doubt = ", or the other way round" if i >= 6 else ""
        message = f"lead {leads[0]} is a copy of {leads[1]}{doubt}"
        errors.append(LeadError("copied", leads, 1.0, message, {leads[0]: {}}))
    return errors


def _fit(products: np.ndarray, lead: int, others: Sequence[int]) -> float:
    """Correlation of a lead with what the others predict, mean over the bands."""
    if not others:
        return 0.0
    found = []
    for here, known in zip(products, PRODUCTS, strict=True):
        weights = _weights(known, lead, others)
        spread = here[lead, lead] * (weights @ here[np.ix_(others, others)] @ weights)
        found.append(here[lead, others] @ weights / np.sqrt(spread + 1e-18))
    return float(np.mean(found))


def _weights(known: np.ndarray, lead: int, others: Sequence[int]) -> np.ndarray:
    """What the others contribute to the prediction of a lead, by ridge regression on the known products."""
    at = [_EIGHT.index(k) for k in others]
    of = known[np.ix_(at, at)]
    ridge = _RIDGE * np.trace(of) / len(at) * np.eye(len(at))
    return np.linalg.solve(of + ridge, known[at, _EIGHT.index(lead)])


def _likeliest(products: np.ndarray, alive: np.ndarray) -> LeadError | None:
    """The exchange of electrodes, or the inversion or exchange of chest leads, that makes the leads agree best."""
    eight = products[:, _EIGHT][:, :, _EIGHT]
    there = alive[_EIGHT]
    if there[2:].sum() < 4 or not there[:2].all():
        return None
    errors, changes, predictors = _hypotheses(tuple(there.tolist()))
    scores = _agreement(changes[:, None] @ eight @ changes[:, None].transpose(0, 1, 3, 2), predictors)
    gains = scores[1:] - scores[0]
    # The kinds differ in how often chance brings a gain
    spare = gains - np.array([GAIN[error.kind] for error in errors])
    best = int(np.argmax(np.where(spare > 0, gains, -np.inf)))
    if spare[best] <= 0:
        return None
    found = errors[best]
    return LeadError(found.kind, found.leads, float(np.tanh(gains[best] / 2)), found.message, found.repair)


@functools.lru_cache(maxsize=64)
def _hypotheses(there: tuple[bool, ...]) -> tuple[list[LeadError], np.ndarray, np.ndarray]:
    """What may be wrong with the independent leads that are there, and how these predict one another.

    Returns:
        The errors; none and then each of them as a map (1 + errors, 8, 8); weights of the other leads in the prediction
        of each, (2, 8, 8).
    """
    chest = [k for k in range(2, 8) if there[k]]
    errors = [_reversal(pair) for pair in _REVERSALS]
    errors += [_inversion(INDEPENDENT_LEADS[k]) for k in chest]
    errors += [_exchange(INDEPENDENT_LEADS[j], INDEPENDENT_LEADS[k]) for j, k in combinations(chest, 2)]
    predictors = np.zeros((2, 8, 8))
    for k in (0, 1, *chest):
        # Neither of I and II predicts the other: they go wrong together
        others = [j for j in (0, 1, *chest) if j != k and (k > 1 or j > 1)]
        for band in range(2):
            predictors[band, k, others] = _weights(PRODUCTS[band], _EIGHT[k], [_EIGHT[j] for j in others])
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
    whole[:6, :2] = _LIMBS
    whole[range(6, 12), range(2, 8)] = 1.0
    return (_matrix(repair) @ whole)[_EIGHT]


def _reversal(pair: tuple[str, str]) -> LeadError:
    one, other = pair
    hint = " (or the heart lies on the right side)" if other == "left arm" else ""
    message = f"the electrodes of {one} and {other} seem exchanged{hint}"
    return LeadError("reversed", tuple(_REVERSALS[pair]), 0.0, message, _REVERSALS[pair])


def _inversion(lead: str) -> LeadError:
    return LeadError("inverted", (lead,), 0.0, f"lead {lead} seems upside down", {lead: {lead: -1.0}})


def _exchange(one: str, other: str) -> LeadError:
    repair = {one: {other: 1.0}, other: {one: 1.0}}
    return LeadError("exchanged", (one, other), 0.0, f"leads {one} and {other} seem exchanged", repair)


def _same_place(products: np.ndarray, alive: np.ndarray) -> LeadError | None:
    """A limb lead without voltage: its electrodes lie at one place."""
    if not alive[:2].all() or not alive[6:].any():
        return None
    size = np.sqrt(np.diag(products)[:3])
    small = int(np.argmin(size))
    if size[small] >= SAME_PLACE * size.max():
        return None
    lead = LEADS[small]
    message = (
        f"lead {lead} is nearly flat beside the other limb leads: its electrodes may lie at one place, "
        "as when an arm's is on the right leg"
    )
    return LeadError("same place", (lead,), float(1 - size[small] / size.max()), message, {})


def _list(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
