"""Is what was asked for there to be seen? Noise-free simulated ECGs, read again by an independent delineator."""

import numpy as np
import pytest

from dbeta.corpus.simulate.delineate import TOLERANCES, Delineation, delineate
from dbeta.corpus.simulate.simulation import RATE, Simulation, simulate
from dbeta.ecg import LEADS

#: Findings whose records are delineated, and how many of each.
FINDINGS = (
    *("normal ecg", "sinus bradycardia", "sinus tachycardia", "first-degree av block", "left bundle branch block"),
    *("right bundle branch block", "incomplete right bundle branch block", "left anterior fascicular block"),
    *("left ventricular hypertrophy", "inferior myocardial infarction", "anteroseptal myocardial infarction"),
    *("long qt interval", "low qrs voltage", "left axis deviation", "right axis deviation"),
    *("non-specific intraventricular conduction delay", "wolff-parkinson-white", "st elevation"),
    *("short qt interval", "hypocalcemia"),
)
EACH = 9
SEEDS = (41, 1, 2)
#: In blocked complexes the delineator takes the notch for the end, and ends the T wave that follows at once too early;
#: their width is measured in test_simulate.py.
NOTCHED = {
    **{"left bundle branch block": 0.095, "right bundle branch block": 0.065},
    **{"non-specific intraventricular conduction delay": 0.035, "right axis deviation": 0.035},
    **{"long qt interval": 0.055},  # ... and ends a wide T wave too early
    **{"left axis deviation": 0.06, "wolff-parkinson-white": 0.04},  # an axis often deviates by such a block
}
#: Complexes whose parts cancel have hardly a direction: what is left differs with the window, which takes in a raised
#: ST segment, and cuts off the end of a complex whose peak comes late.
SMALL = {"inferior myocardial infarction": 25.0, "st elevation": 30.0, "left bundle branch block": 20.0}
#: No delineator finds the end of a T wave that is flat, inverted or runs into the next P wave, nor a P wave within the
#: T wave before it.
UPRIGHT, HIGHEST_RATE, SLOW = 0.12, 110.0, 75.0
#: Other rhythms with a steady rate. Where intervals vary, a mean depends on the beats at the ends; in complete block
#: the delineator counts P waves; and of a paced complex it takes a part: its width is in test_simulation.py.
STEADY = ("paced rhythm", "junctional rhythm")
#: Kinds of rhythm in which a regular beat follows a P wave.
REGULAR = ("sinus rhythm", "sinus bradycardia", "sinus tachycardia")


@pytest.fixture(scope="module", params=SEEDS)
def many(request) -> Simulation:
    return simulate(request.param, range(2600), keep_clean=True)


@pytest.fixture(scope="module")
def read(many) -> dict[str, list[tuple[dict[str, float], Delineation]]]:
    """Of each finding, what was asked for and what was found."""
    signals = many.clean.signals.numpy()
    regular = np.any([(many.findings[name] > 0).numpy() for name in REGULAR], axis=0)
    regular &= (many.measures.rate < HIGHEST_RATE).numpy()
    regular &= ~(many.findings["premature complexes"] > 0).numpy() & many.recordings.mirror.isnan().numpy()
    ends = (many.measures.t[:, [LEADS.index("II"), LEADS.index("V5")]].amin(dim=1) > UPRIGHT).numpy()
    ends &= (many.measures.rate < SLOW).numpy()
    known: dict[int, Delineation] = {}
    found: dict[str, list[tuple[dict[str, float], Delineation]]] = {}
    for name in FINDINGS:
        rows = np.flatnonzero(regular & (many.findings[name] > 0).numpy())
        # Those whose T waves end first, otherwise as they come
        rows = rows[np.argsort(~ends[rows], kind="stable")][:EACH]
        assert len(rows) == EACH, name
        for row in rows.tolist():
            known.setdefault(row, delineate(signals[row], RATE))
            asked = {measure: float(getattr(many.measures, measure)[row]) for measure in TOLERANCES}
            if not ends[row]:
                asked["qt"] = float("nan")
            found.setdefault(name, []).append((asked, known[row]))
    return found


def error(asked: dict[str, float], found: Delineation, measure: str) -> float:
    """What was found beyond what was asked for, without the delineator's own share."""
    off = getattr(found, measure) - asked[measure]
    if measure == "axis":
        off = (off + 180) % 360 - 180
    return off - TOLERANCES[measure][1]


@pytest.mark.parametrize("measure", TOLERANCES)
@pytest.mark.parametrize("finding", FINDINGS)
def test_what_is_asked_for_is_found_again(read, finding, measure):
    errors = np.array([error(asked, found, measure) for asked, found in read[finding]])
    if measure == "qt" and np.isnan(errors).all():
        # T waves opposite to the complexes, or soon followed by a P wave
        assert finding in (
            *("left bundle branch block", "wolff-parkinson-white", "sinus tachycardia"),
            "non-specific intraventricular conduction delay",
        )
        return
    tolerance = TOLERANCES[measure][0]
    if measure in ("pr", "qrs", "qt"):
        tolerance = max(tolerance, NOTCHED.get(finding, 0.0))
    if measure == "axis":
        tolerance = SMALL.get(finding, tolerance)
    assert abs(np.nanmedian(errors)) < tolerance, errors


@pytest.mark.parametrize("measure", TOLERANCES)
def test_nearly_all_records_are_as_asked_for(read, measure):
    plain = [name for name in FINDINGS if name not in NOTCHED]
    errors = np.array([error(asked, found, measure) for name in plain for asked, found in read[name]])
    errors = errors[np.isfinite(errors)]
    assert len(errors) > 30
    assert (np.abs(errors) < TOLERANCES[measure][0]).mean() > 0.65


@pytest.mark.parametrize("finding", STEADY)
def test_other_rhythms_have_their_rate(many, finding):
    rows = np.flatnonzero((many.findings[finding] > 0).numpy())[:EACH]
    assert len(rows) == EACH
    rates = [delineate(many.clean.signals[row].numpy(), RATE).rate for row in rows.tolist()]
    errors = np.array(rates) - many.measures.rate[rows].numpy()
    assert np.median(np.abs(errors)) < TOLERANCES["rate"][0], errors


def test_the_delineator_can_tell(read):
    """A record's intervals are not found in another's: the test would notice."""
    normal, long, short = read["normal ecg"], read["long qt interval"], read["short qt interval"]
    assert np.nanmedian([one.qt for _, one in short]) < np.nanmedian([one.qt for _, one in normal]) - 0.02
    assert np.nanmedian([one.qt for _, one in long]) > np.nanmedian([one.qt for _, one in normal]) + 0.05
    slow = read["first-degree av block"]
    assert np.nanmedian([one.pr for _, one in slow]) > np.nanmedian([one.pr for _, one in normal]) + 0.03


def test_nothing_is_found_in_nothing():
    found = delineate(np.zeros((12, 5000)), RATE)
    assert np.isnan([found.rate, found.pr, found.qrs, found.qt]).all()
