"""Patients, findings, recordings: what is drawn, decided and recorded."""

import numpy as np
import pytest
import torch

from dbeta.conditions.registry import find_condition
from dbeta.ecg import LEADS, augmented_leads
from dbeta.errors import DBetaError
from dbeta.simulation.diseases import AV_BLOCKS, CHAMBERS, CONDUCTION, CORONARY, MIXES, REPOLARIZATION, RHYTHMS
from dbeta.simulation.draws import Draws
from dbeta.simulation.findings import Findings
from dbeta.simulation.recording import ELECTRODES, LEADS_FROM_ELECTRODES, filtered, noise_bank, record
from dbeta.simulation.simulation import RATE, simulate
from dbeta.simulation.waves import BEGIN

RECORDS = 600


@pytest.fixture(scope="module")
def many():
    return simulate(7, range(RECORDS))


def share(sign: torch.Tensor) -> float:
    return float((sign > 0).float().mean())


def test_a_record_is_the_same_twice_and_in_any_company():
    one = simulate(3, [5, 900, 12])
    again = simulate(3, [5, 900, 12])
    assert torch.equal(one.signals, again.signals)
    other = simulate(3, [12, 7])
    torch.testing.assert_close(one.signals[2], other.signals[0], atol=6e-3, rtol=0)
    assert {name: int(sign[2]) for name, sign in one.findings.items()} == {
        name: int(sign[0]) for name, sign in other.findings.items()
    }
    assert not torch.equal(simulate(4, [5]).signals, simulate(3, [5]).signals)


def test_signals_are_whole_and_of_believable_size(many):
    assert many.signals.shape == (RECORDS, 12, 5000)
    assert torch.isfinite(many.signals).all()
    height = many.measures.r[:, LEADS.index("II")]
    assert 0.4 < float(height.median()) < 1.2
    assert float(many.signals.abs().amax(dim=(1, 2)).median()) < 5


def test_the_augmented_leads_follow(many):
    x = dict(zip(LEADS, many.signals.unbind(dim=1), strict=True))
    np.testing.assert_allclose(x["III"], x["II"] - x["I"], atol=1e-5)
    for name, expected in augmented_leads(x["I"], x["II"]).items():
        np.testing.assert_allclose(x[name], expected, atol=1e-5)


def test_every_cause_and_finding_occurs():
    causes = dict.fromkeys((*RHYTHMS, *AV_BLOCKS, *CONDUCTION, *CHAMBERS, *CORONARY, *REPOLARIZATION), 0)
    findings: dict[str, int] = {}
    for start in range(0, 4000, 500):
        some = simulate(1, range(start, start + 500))
        for name in causes:
            causes[name] += int(some.patients.causes[name].sum())
        for name, sign in some.findings.items():
            findings[name] = findings.get(name, 0) + int((sign > 0).sum())
    assert [name for name, count in causes.items() if not count] == []
    # Who finds a supraventricular tachycardia on 10 s cannot say that it comes and goes
    assert {name for name, count in findings.items() if not count} == {"paroxysmal supraventricular tachycardia"}


def test_findings_are_called_by_their_canonical_names(many):
    """As `dbeta.corpus.sources` names them, so that corpora agree."""
    for name in many.findings:
        condition = find_condition(name)
        assert condition is None or condition.name.lower() == name
    unlisted = {name for name in many.findings if find_condition(name) is None}
    assert unlisted == {
        "hypokalemia",
        "hypercalcemia",
        "hypocalcemia",
        "short qt interval",
        "anterior subendocardial injury",
        "arm lead reversal",
        "arm and leg lead reversal",
        "precordial lead reversal",
        "baseline wander",
        "muscle artifact",
        "sinus pause",
    }


def test_rates_decide(many):
    rate, findings = many.measures.rate, many.findings
    assert (rate[findings["sinus tachycardia"] > 0] > 100).all()
    assert (rate[findings["sinus bradycardia"] > 0] < 60).all()
    sinus = findings["sinus rhythm"] > 0
    assert ((rate[sinus] > 60) & (rate[sinus] < 100)).all()
    for other in ("atrial fibrillation", "atrial flutter", "paced rhythm", "junctional rhythm"):
        assert not (sinus & (findings[other] > 0)).any()


def test_criteria_hold_where_a_finding_is_present(many):
    m, found = many.measures, many.findings
    wide = (found["left bundle branch block"] > 0) | (found["right bundle branch block"] > 0)
    assert (m.qrs[wide] > 0.10).float().mean() > 0.9
    assert float(m.qrs[wide].median()) > 0.115
    assert (m.pr[found["first-degree av block"] > 0] > 0.2).all()
    assert (m.axis[found["left anterior fascicular block"] > 0] < -30).all()
    assert (m.axis[found["left axis deviation"] > 0] < -30).all()
    assert (m.qtc[found["long qt interval"] > 0] > 0.46).all()
    assert (m.qtc[found["short qt interval"] > 0] < 0.34).all()
    limb, chest = m.size[:, :6].amax(dim=1), m.size[:, 6:].amax(dim=1)
    low = found["low qrs voltage"] > 0
    assert ((limb[low] < 0.5) | (chest[low] < 1.0)).all()


def test_nobody_is_normal_and_ill(many):
    normal = many.findings["normal ecg"] > 0
    assert 0.1 < float(normal.float().mean()) < 0.5
    ill = ("myocardial infarction", "hypertrophy", "conduction disturbance", "st/t change", "st depression")
    odd = ("bradycardia", "sinus tachycardia", "low qrs voltage", "poor r-wave progression", "left axis deviation")
    for name in (*ill, *odd, "right axis deviation", "clockwise rotation of the heart"):
        assert not (normal & (many.findings[name] > 0)).any(), name


def test_what_cannot_be_together():
    some = simulate(102, range(200, 700))
    found = {name: sign > 0 for name, sign in some.findings.items()}
    assert not (found["left axis deviation"] & found["right axis deviation"]).any()
    assert bool((some.measures.axis[found["left anterior fascicular block"]] > -120).all())
    for side in ("left", "right"):
        narrow = found[f"incomplete {side} bundle branch block"]
        assert narrow.any()
        assert bool((some.measures.qrs[narrow] < 0.12).all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, [0]), "seed must be a whole number of at least 0"),
        ((1.5, [0]), "seed must be a whole number"),
        ((2**64, [0]), "seed must be a whole number of at least 0 and below"),
        ((0, []), "pass at least one record number"),
        ((0, [-1]), "records must be whole numbers of at least 0"),
        ((0, [1.5]), "records must be whole numbers"),
        ((0, [0], "tropical"), "unknown mix 'tropical'"),
    ],
)
def test_impossible_simulations(arguments, message):
    with pytest.raises(DBetaError, match=message):
        simulate(*arguments)


def test_a_healthy_mix_has_no_disease():
    healthy = simulate(2, range(800), "healthy")
    for name in ("myocardial infarction", "left bundle branch block", "atrial fibrillation", "paced rhythm"):
        assert share(healthy.findings[name]) == 0
    assert share(healthy.findings["normal ecg"]) > 0.4
    assert set(MIXES) == {"balanced", "clinic", "healthy"}


def test_superclasses_follow_from_their_members(many):
    found = many.findings
    block = found["left bundle branch block"] > 0
    assert (found["conduction disturbance"][block] > 0).all()
    assert (found["bundle branch block"][block] > 0).all()
    inferior = found["inferior myocardial infarction"] > 0
    assert (found["myocardial infarction"][inferior] >= 0).all()
    assert (found["inferior myocardial infarction of any extent"][inferior] > 0).all()


def test_an_infarct_behind_a_bundle_branch_block_is_undetermined():
    many = simulate(11, range(1500))
    both = many.patients.causes["lbbb"] & many.patients.causes["infarction inferior"]
    assert both.any()
    assert (many.findings["inferior myocardial infarction"][both] == 0).all()


def test_undetermined_findings():
    findings = Findings()
    value = torch.tensor([0.10, 0.199, 0.201, 0.30, torch.nan])
    findings.measured("premature atrial complex", value, 0.2, 0.005)
    assert findings["premature atrial complex"].tolist() == [-1, 0, 0, 1, 0]
    findings.decide("premature ventricular complex", torch.tensor([False, False, True, False, False]))
    findings.any_of("premature complexes", ("premature atrial complex", "premature ventricular complex"))
    assert findings["premature complexes"].tolist() == [-1, 0, 1, 1, 0]
    findings.hide(("premature ventricular complex",), torch.tensor([True, False, True, False, False]), absent_only=True)
    assert findings["premature ventricular complex"].tolist() == [0, -1, 1, -1, -1]


def test_ectopy_and_pauses_are_found_where_the_recording_shows_them():
    some = simulate(9, range(2000))
    causes, m, found = some.patients.causes, some.measures, some.findings
    hidden = causes["pvc"] & (m.early_ventricular == 0)
    assert hidden.any()
    assert (found["premature ventricular complex"][hidden] < 0).all()
    assert (m.early_ventricular[found["premature ventricular complex"] > 0] > 0).all()
    paused = causes["pause"]
    assert paused.sum() >= 3
    assert (m.longest[paused] > 1.5 * 60 / m.rate[paused]).all()
    assert (found["sinus pause"][paused & (m.longest > 1.8)] > 0).all()
    assert (found["sinus pause"][~paused] < 0).all()


def test_paced_and_escaping_complexes_are_wide(many):
    slow = torch.stack([many.patients.causes[name] for name in ("paced", "dual paced", "complete")]).any(dim=0)
    assert slow.sum() >= 5
    assert (many.measures.qrs[slow] > 0.14).all()
    # As a hand-written rule has it: the magnitude over all leads is back to a tenth of its peak no sooner
    size = many.clean.complexes[slow].square().sum(dim=1).sqrt()
    early = size[:, : round(0.24 * RATE)]
    wide = (early > 0.1 * early.amax(dim=1, keepdim=True)).sum(dim=1) / RATE
    assert float((wide - many.measures.qrs[slow]).abs().median()) < 0.05


def test_qt_ends_where_the_steepest_tangent_meets_the_baseline(many):
    size = many.clean.complexes.square().sum(dim=1).sqrt()
    begin = torch.arange(size.shape[1]) / RATE + BEGIN
    late = begin[None] > many.measures.qrs[:, None] + 0.08
    peak = size.masked_fill(~late, 0).argmax(dim=1)
    slope = size.diff(dim=1, append=size[:, -1:])
    at = torch.arange(size.shape[1])[None]
    falling = (at > peak[:, None]) & (at <= peak[:, None] + round(0.15 * RATE))
    steepest = slope.masked_fill(~falling, 0).argmin(dim=1)
    value, descent = (one.gather(1, steepest[:, None])[:, 0] for one in (size, slope))
    errors = begin[steepest] - value / descent / RATE - many.measures.qt
    assert float(errors.abs().quantile(0.9)) < 0.015


def test_what_a_lost_lead_would_show_is_undetermined():
    some = simulate(5, range(2500))
    lost = some.recordings.flat[:, LEADS.index("V1")]
    assert lost.any()
    for name in ("right bundle branch block", "left ventricular hypertrophy", "normal ecg"):
        assert (some.findings[name][lost] == 0).all()
    assert (some.findings["left anterior fascicular block"][lost] != 0).any()


def potentials(count: int) -> torch.Tensor:
    """A large known voltage at each electrode (right arm, left arm, left leg, V1 to V6), as the measured leads."""
    electrodes = 1 + torch.tensor([1.0, 9.0, 4.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0])
    clean = torch.zeros(count, 8, 5000)
    clean[:, :, 2450:2550] = (torch.tensor(LEADS_FROM_ELECTRODES) @ electrodes)[:, None]
    return clean


def test_exchanged_electrodes_give_what_cables_would():
    count = 3000
    clean = potentials(count)
    found = record(Draws(0, range(count)), clean.clone(), RATE)
    one, two = 8.0, 3.0
    for name, leads, mirror in (
        ("arm lead reversal", {(-one, two - one)}, {180.0}),
        ("arm and leg lead reversal", {(two, one), (one - two, -two)}, {60.0, -60.0}),
    ):
        where = found.exchanged[name] & ~found.flat.any(dim=1)
        assert 5 < where.sum() < count / 20
        seen = found.measured[where, :2, 2500]
        expected = torch.tensor(sorted(leads))
        assert (torch.cdist(seen, expected).amin(dim=1) < 3).float().mean() > 0.9
        assert set(found.mirror[where].tolist()) == mirror
    right = ~torch.stack(list(found.exchanged.values())).any(dim=0)
    assert found.mirror[right].isnan().all()
    swapped = found.exchanged["precordial lead reversal"]
    assert 5 < swapped.sum() < count / 20
    order = found.measured[:, 2:, 2500].argsort(dim=1)
    sorted_already = (order == torch.arange(6)).all(dim=1)
    # A clipped recording shows the same voltage in all chest leads
    whole = ~found.flat.any(dim=1) & (found.measured[:, 2:, 2500].amax(dim=1) > 10)
    assert not sorted_already[swapped & whole].any()
    assert sorted_already[~swapped & whole].float().mean() > 0.95


def test_the_axis_that_a_machine_reads_is_mirrored_where_limb_electrodes_are_exchanged():
    some = simulate(3, range(3000), keep_clean=True)
    mirror = some.recordings.mirror
    size = some.measures.size[:, :6].amax(dim=1)
    where = ~mirror.isnan() & (size > 0.8) & ~some.recordings.flat.any(dim=1)
    where &= (some.measures.irregularity < 0.1) & (some.recordings.wander < 0.1)
    assert where.sum() > 15
    # Peaks of the recorded limb leads against what the mirrored axis says of their signs
    axis = torch.deg2rad(mirror - some.measures.axis)[where]
    at = some.clean.signals[where, :6].abs().sum(dim=1).argmax(dim=1)
    recorded = some.signals[where].gather(2, at[:, None, None].expand(-1, 12, 1))[..., 0]
    for lead, angle in (("I", 0.0), ("II", 60.0), ("aVF", 90.0)):
        shown = (axis - torch.deg2rad(torch.tensor(angle))).cos()
        clear = shown.abs() > 0.6
        agree = recorded[clear, LEADS.index(lead)].sign() == shown[clear].sign()
        assert agree.float().mean() > 0.85, lead


def test_exchanged_electrodes_hide_what_they_touch(many):
    some = simulate(4, range(3000))
    limbs, chest = (some.recordings.exchanged[name] for name in ("arm lead reversal", "precordial lead reversal"))
    assert (some.findings["left axis deviation"][limbs] == 0).all()
    assert (some.findings["anterior myocardial infarction"][chest] == 0).all()
    assert (some.findings["left axis deviation"][chest & ~limbs] != 0).any()
    assert (some.findings["atrial fibrillation"][limbs | chest] != 0).all()


def test_calcium_changes_the_st_segment_and_not_the_t_wave():
    some = simulate(6, range(6000))
    causes, heart = some.patients.causes, some.patients.heart
    for cause, sign in (("hypocalcemia", 1), ("hypercalcemia", -1)):
        has = causes[cause]
        assert has.sum() > 10
        assert (sign * heart.st_longer[has] > 0.03).all()
        shown = some.findings[cause] > 0
        assert 0 < shown.sum() <= has.sum()
        assert not (shown & ~has).any()
    assert (heart.st_longer[~causes["hypocalcemia"] & ~causes["hypercalcemia"]] == 0).all()


def test_lost_electrodes_show_nothing(many):
    assert many.recordings.flat.any()
    assert (many.signals[many.recordings.flat].abs().amax(dim=1) == 0).all()
    assert (many.signals[~many.recordings.flat].abs().amax(dim=1) > 0).all()


def test_filters_let_their_band_pass():
    time = torch.arange(5000) / RATE
    waves = torch.stack([(2 * torch.pi * hertz * time).sin() for hertz in (0.0, 10.0, 240.0)])[None].repeat(200, 1, 1)
    waves[:, 0] = 1.0
    size = filtered(Draws(1, range(200)), waves, RATE).std(dim=2) * 2**0.5
    still = filtered(Draws(1, range(200)), waves, RATE)[:, 0].abs().amax(dim=1)
    assert (still < 0.01).all()
    assert ((size[:, 1] > 0.9) & (size[:, 1] < 1.02)).all()
    assert (size[:, 2] < 0.6).all()


def test_noise_reaches_the_limb_leads_through_their_electrodes():
    matrix = torch.tensor(LEADS_FROM_ELECTRODES)
    assert matrix.shape == (8, ELECTRODES)
    torch.testing.assert_close(matrix.sum(dim=1), torch.zeros(8), atol=1e-6, rtol=0)
    muscle, wander = noise_bank(RATE, torch.device("cpu"))
    for noise in (muscle, wander):
        assert float(noise.std()) == pytest.approx(1, rel=1e-3)
    slow = torch.fft.rfft(wander).abs()
    assert float(slow[: len(slow) // 250].square().sum() / slow.square().sum()) > 0.95  # below 1 Hz
