"""Detects exchanged, inverted and copied leads from how the leads relate to one another, and repairs them on request.

Limb leads are checked against Einthoven's and Goldberger's equations (`limb_leads`), electrodes and chest leads by how
well the leads predict one another (`lead_prediction`).

Not detected: left arm exchanged with left leg (one in ten would be found), V5 with V6, and dextrocardia as opposed to
exchanged arms if the chest leads were placed mirrored. Detection rates are in `benchmarks/README.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dbeta.ecg import ECG, LEADS
from dbeta.signal.lead_errors import EIGHT, LeadError, repair_matrix
from dbeta.signal.lead_prediction import likeliest_error, prediction
from dbeta.signal.limb_leads import COPIED, UNDETERMINED, VOLTAGES, limb_error
from dbeta.signal.preprocess import fill_gaps
from dbeta.signal.quality import ASSESSED, FLAT_SECOND
from dbeta.signal.waves import spectrum

#: Hz; P and T waves below, QRS complexes above.
BANDS = ((0.7, 7.0), (7.0, 30.0))
#: Amplitude of a limb lead relative to the largest below which its two electrodes are assumed to be at one place.
SAME_PLACE = 0.08
#: Seconds that leads must have in common to be compared.
TOGETHER = 1.0


def check_leads(ecg: ECG) -> list[LeadError]:
    """Find errors in the leads, from the first minute of a recording.

    Args:
        ecg: any leads. Computed leads cannot contradict the others, so pass the recording as it was read. If
            `meta["voltages"]` is "undetermined", leads are not compared with one another but for copies.

    Returns:
        The errors, to be repaired in this order (`fix_leads`); at most one about the columns of the limb leads, and
        one about electrodes, signs or order.
    """
    errors: list[LeadError] = []
    for products, alive in _recorded_together(ecg):
        found = _errors(products, alive, ecg.meta.get(VOLTAGES) != UNDETERMINED)
        errors += [one for one in found if not any(one.leads == other.leads for other in errors)]
    return errors


def _errors(products: np.ndarray, alive: np.ndarray, comparable: bool) -> list[LeadError]:
    """Errors of leads that were recorded at the same time."""
    errors: list[LeadError] = []

    def note(error: LeadError | None) -> None:
        nonlocal products
        if error is not None:
            errors.append(error)
            change = repair_matrix(error.repair)
            products = change @ products @ change.T
            alive[[LEADS.index(lead) for lead, parts in error.repair.items() if not parts]] = False

    if comparable:
        note(limb_error(products.sum(axis=0), alive))
    for error in _copies(products, alive):
        note(error)
    if not comparable:
        return errors
    # Limb leads with an error that cannot be repaired do not predict the others
    if all(error.repair for error in errors):
        note(likeliest_error(products, alive))
    note(_same_place(products.sum(axis=0), alive))
    return errors


def fix_leads(ecg: ECG, errors: Sequence[LeadError] | None = None) -> ECG:
    """Repair the leads of a recording as far as possible.

    Args:
        ecg: the recording.
        errors: from `check_leads`, which is called by default.

    Returns:
        A new recording of twelve leads with the repairs in `meta["fixed_leads"]`; the same recording if there are none.
        A lead that is a copy of another is masked.
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


def lead_products(ecg: ECG) -> tuple[np.ndarray, np.ndarray]:
    """Mean products of the leads in each band, (2, 12, 12) mV², and which leads hold a signal, (12,) bool.

    Of leads that were not all recorded at the same time, the most that were.
    """
    found = _recorded_together(ecg)
    return found[0] if found else (np.zeros((len(BANDS), len(LEADS), len(LEADS))), np.zeros(len(LEADS), bool))


def _recorded_together(ecg: ECG) -> list[tuple[np.ndarray, np.ndarray]]:
    """`lead_products` of each set of leads that share `TOGETHER` seconds, the largest first.

    Leads without samples in common, as those of a printout, cannot contradict one another.
    """
    x = ecg.standard().signal[:, : max(round(ASSESSED * ecg.sampling_rate), 1)].astype(np.float32)
    x[~(np.abs(x) < 1e9)] = np.nan
    finite = np.isfinite(x)
    alive = finite.any(axis=1)
    fill_gaps(x)
    alive &= np.ptp(x, axis=1) >= FLAT_SECOND
    return [
        (_products(np.where(rows[:, None], x, 0), finite[rows].all(axis=0), ecg.sampling_rate), rows)
        for rows in _sets(finite & alive[:, None], min(TOGETHER * ecg.sampling_rate, x.shape[1]))
    ]


def _sets(finite: np.ndarray, least: float) -> list[np.ndarray]:
    """Sets of leads, (12,) bool, that have at least so many samples at the same time; none is within another."""
    alive = finite.any(axis=1)
    if not alive.any() or finite[alive].all(axis=0).sum() >= least:
        return [np.asarray(alive)]
    patterns: list[np.ndarray] = list(np.unique(finite.T[finite.any(axis=0)], axis=0))
    sets: list[np.ndarray] = []
    for rows in sorted(patterns, key=lambda one: -one.sum()):
        enough = finite[rows].all(axis=0).sum() >= least
        if enough and not any((rows <= other).all() for other in sets):
            sets.append(rows.copy())
    return sets


def _products(x: np.ndarray, valid: np.ndarray, rate: float) -> np.ndarray:
    """Mean products in each band over the valid samples, (2, 12, 12) mV²."""
    if valid.any():
        x = np.where(valid, x - x[:, valid].mean(axis=1, keepdims=True), 0)
    f, transform = spectrum(x, rate)
    bands = [transform[:, (f >= low) & (f < high)] for low, high in BANDS]
    return np.stack([(one @ one.conj().T).real for one in bands]).astype(np.float64)


def _copies(products: np.ndarray, alive: np.ndarray) -> list[LeadError]:
    """Chest leads that copy another lead; of two chest leads, the one less well predicted by the others is the copy."""
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
            others = [k for k in EIGHT if alive[k] and k not in gone | {i, j}]
            copy, of = (j, i) if prediction(products, i, others) >= prediction(products, j, others) else (i, j)
        gone.add(copy)
        leads = LEADS[copy], LEADS[of]
        doubt = ", or the other way round" if i >= 6 else ""
        message = f"lead {leads[0]} is a copy of {leads[1]}{doubt}"
        errors.append(LeadError("copied", leads, 1.0, message, {leads[0]: {}}))
    return errors


def _same_place(products: np.ndarray, alive: np.ndarray) -> LeadError | None:
    """Find a limb lead with almost no voltage, whose two electrodes are probably in the same place."""
    if not alive[:2].all() or not alive[6:].any():
        return None
    size = np.sqrt(np.diag(products)[:3])
    small = int(np.argmin(size))
    if size[small] >= SAME_PLACE * size.max():
        return None
    lead = LEADS[small]
    message = (
        f"lead {lead} is nearly flat compared with the other limb leads: its electrodes may be at one place, "
        "as when an arm electrode is on the right leg"
    )
    return LeadError("same place", (lead,), float(1 - size[small] / size.max()), message, {})
