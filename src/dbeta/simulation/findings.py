"""Decides the findings of simulated patients (present, absent or undetermined) from criteria and causes.

The tracing has priority: axis, rate, intervals, voltages and T waves are measured. A disease whose signs are hidden by
another is undetermined, and so is a measurement so close to its limit that readers would disagree. Required leads,
classes and exclusions are in `findings.csv`.

Sources: AHA/ACCF/HRS recommendations for the standardization and interpretation of the electrocardiogram (2007 to
2009); names as in `dbeta.conditions.registry`.
"""

from __future__ import annotations

import torch

from dbeta.ecg import LEADS
from dbeta.simulation.coronary import decide_coronary
from dbeta.simulation.diseases import INFARCTS, NAMED_ISCHEMIAS
from dbeta.simulation.finding_table import TABLE, hidden_by, members
from dbeta.simulation.measures import Measures
from dbeta.simulation.patients import Patients
from dbeta.simulation.signs import Findings, grouped, in_lead, numbers_of, wide_q

#: QRS duration in seconds up to which a bundle branch block is definitely incomplete, and axis in degrees below which
#: it is extreme, neither left nor right.
NARROW, LEFTMOST = 0.118, -120


def decide_findings(patients: Patients, m: Measures) -> Findings:
    """Decide all findings of B patients."""
    found = Findings()
    _rhythm(found, patients, m)
    _conduction(found, patients, m)
    decide_coronary(found, patients, m)
    _repolarization(found, patients, m)
    _chambers(found, patients, m)
    _shape(found, patients, m)
    _cover(found, patients)
    _super_classes(found, patients)
    return found


def _rhythm(found: Findings, patients: Patients, m: Measures) -> None:
    has = patients.causes
    other = ("fibrillation", "flutter", "svt", "ectopic atrial", "junctional", "paced", "dual paced", "complete")
    sinus = ~torch.stack([has[name] for name in (*other, "wenckebach", "two to one")]).any(dim=0)
    extra = has["pac"] | has["pvc"] | has["bigeminy"] | has["trigeminy"] | has["atrial bigeminy"] | has["pause"]
    odd = has["bigeminy"] | has["trigeminy"] | has["atrial bigeminy"] | has["pause"]
    near_rate = ((m.rate - 60).abs() < 1) | ((m.rate - 100).abs() < 1)
    steady = (m.rate >= 60) & (m.rate <= 100)
    # Premature beats and pauses make the RR intervals irregular, so the variation due to breathing is used instead
    irregular = torch.where(extra, patients.rhythm.respiratory / 2**0.5, m.irregularity)
    found.decide(
        "sinus rhythm",
        sinus & steady & (irregular < 0.065),
        sinus & (near_rate | odd | ((irregular - 0.065).abs() < 0.01)),
    )
    found.measured("sinus bradycardia", 60 - m.rate, 0, 1, sinus & ~extra)
    found.hide(("sinus bradycardia",), sinus & extra & (m.rate < 62))
    found.measured("sinus tachycardia", m.rate - 100, 0, 1, sinus)
    found.measured("sinus arrhythmia", irregular, 0.065, 0.01, sinus)
    found.hide(("sinus arrhythmia",), has["pac"] | has["pause"] | has["atrial bigeminy"])
    found.measured("bradycardia", 60 - m.rate, 0, 1)
    found.decide("atrial fibrillation", has["fibrillation"])
    found.decide("atrial flutter", has["flutter"])
    found.decide("supraventricular tachycardia", has["svt"])
    found.decide("paroxysmal supraventricular tachycardia", has["svt"], has["svt"])
    found.decide("supraventricular arrhythmia", has["ectopic atrial"], has["junctional"] | has["atrial bigeminy"])
    found.decide("junctional rhythm", has["junctional"])
    atrial, ventricular = m.early_atrial > 0, m.early_ventricular > 0
    found.decide("premature atrial complex", atrial, atrial & (m.irregularity < 0.04))
    found.decide("premature ventricular complex", ventricular)
    found.any_of("premature complexes", members("premature complexes"))
    pairs, triplets = has["bigeminy"] | has["atrial bigeminy"], has["trigeminy"]
    often = (m.early_atrial > 2) | (m.early_ventricular > 2)
    found.decide("bigeminy", pairs & often, pairs & ~often)
    found.decide("trigeminy", triplets & (m.early_ventricular > 1), triplets & (m.early_ventricular < 2))
    found.decide("sinus pause", has["pause"] & (m.longest > 1.8), has["pause"] & (m.longest <= 1.8))
    found.decide("paced rhythm", has["paced"] | has["dual paced"])


def _conduction(found: Findings, patients: Patients, m: Measures) -> None:
    has = patients.causes
    found.decide("first-degree av block", m.pr > 0.203, (m.pr > 0.195) & (m.pr < 0.208))
    found.decide("prolonged pr interval", m.pr > 0.203, (m.pr > 0.195) & (m.pr < 0.208))
    found.decide("second-degree av block", has["wenckebach"] | has["two to one"])
    found.decide("type i second-degree av block", has["wenckebach"], has["two to one"])
    found.decide("third-degree av block", has["complete"])
    found.any_of("atrioventricular block", members("atrioventricular block"))
    right = has["rbbb"] | has["rbbb lafb"] | has["rbbb lpfb"]
    found.decide("right bundle branch block", right)
    small = has["irbbb"] & ~right
    second = torch.maximum(in_lead(m.r_prime, "V1"), in_lead(m.r_prime, "V2"))
    found.decide(
        "incomplete right bundle branch block",
        small & (second > 0.06),
        (small & ((second <= 0.06) | (m.qrs > NARROW))) | (~small & ~right & (second > 0.08)),
    )
    found.decide("left bundle branch block", has["lbbb"], has["ilbbb"] & (m.qrs > NARROW))
    found.decide("incomplete left bundle branch block", has["ilbbb"], has["lbbb"] | (has["ilbbb"] & (m.qrs > NARROW)))
    found.any_of("bundle branch block", members("bundle branch block"))
    # A left anterior fascicular block by definition has an axis beyond −45°
    front = has["lafb"] | has["rbbb lafb"]
    far = (m.axis < -45) & (m.axis > LEFTMOST)
    found.decide("left anterior fascicular block", front, (front & ~far) | (~front & far))
    back = has["lpfb"] | has["rbbb lpfb"]
    found.decide(
        "left posterior fascicular block", back & (m.axis > 85), (back & (m.axis < 90)) | (~back & (m.axis > 105))
    )
    found.any_of("fascicular block", members("fascicular block"))
    wide = m.qrs > 0.108
    found.decide(
        "non-specific intraventricular conduction delay", has["ivcd"], (has["ivcd"] & ~wide) | (~has["ivcd"] & wide)
    )
    found.decide("wolff-parkinson-white", has["wpw"])


def _repolarization(found: Findings, patients: Patients, m: Measures) -> None:
    has = patients.causes
    # The limit is higher in V2 and V3, where the normal ST segment is elevated (Thygesen et al. 2018)
    limits = torch.tensor([0.2 if name in ("V2", "V3") else 0.1 for name in LEADS], device=m.st.device)
    raised, lowered = m.st > limits, m.st < -0.05
    upright = numbers_of(("I", "II", "V3", "V4", "V5", "V6"))
    lifted = grouped(raised)
    found.decide("st elevation", lifted, ~lifted & grouped(m.st > 0.6 * limits))
    pressed = grouped(lowered)
    found.decide("st depression", pressed, ~pressed & grouped(m.st < -0.03))
    inverted = grouped(m.t < -0.10, (("I", "V5", "V6"), ("V3", "V4", "V5"), ("II", "aVF")))
    found.decide("t-wave inversion", inverted, ~inverted & (m.t[:, upright] < -0.03).any(dim=1))
    flat = (m.t[:, upright].abs() < 0.1 * m.r[:, upright]).sum(dim=1)
    found.decide("low amplitude t waves", flat >= 3, flat == 2)
    changed = has["t"] | has["non-diagnostic t"] | has["low t"]
    ischemic = has["ischemia"] | has["injury"] | has["infarction"] | has["aneurysm"]
    secondary = patients.heart.strain > 0.3
    other = has["digitalis"] | has["hypokalemia"] | has["drug"] | has["long qt"] | has["hyperkalemia"]
    vague = changed | ischemic | secondary | other | has["st"] | (flat >= 2) | pressed | inverted
    found.decide("non-specific st-t changes", has["st"], vague & ~has["st"])
    seen = (flat >= 1) | (m.t[:, upright] < -0.03).any(dim=1)
    for cause, name in (("t", "non-specific t-wave changes"), ("non-diagnostic t", "non-diagnostic t abnormalities")):
        found.decide(name, has[cause] & seen, vague & ~(has[cause] & seen))
    found.decide("t-wave abnormality", inverted | changed, vague & ~(inverted | changed))
    found.measured("long qt interval", m.qtc, 0.462, 0.012)
    found.hide(("long qt interval",), (m.qrs > 0.118) & (m.qtc > 0.45))
    found.measured("short qt interval", -m.qtc, -0.340, 0.012)
    found.decide("u wave", has["hypokalemia"], (patients.heart.u_gain > 0.025) & ~has["hypokalemia"])
    found.decide("digitalis effect", has["digitalis"])
    calcium = has["hypercalcemia"] | has["hypocalcemia"]
    drugs = has["hypokalemia"] | has["hyperkalemia"] | has["drug"] | calcium
    found.decide("electrolyte disturbance or drug effect", drugs, has["digitalis"] | has["long qt"])
    found.decide("hyperkalemia", has["hyperkalemia"])
    found.decide("hypokalemia", has["hypokalemia"])
    # If the interval is normal, the cause cannot be told from the tracing
    for name, shown, alike in (
        ("hypercalcemia", m.qtc < 0.365, has["short qt"]),
        ("hypocalcemia", m.qtc > 0.445, has["long qt"]),
    ):
        found.decide(name, has[name] & shown, (has[name] & ~shown) | alike)
    found.decide("early repolarization", has["early"], (patients.heart.notch > 0.03) & ~has["early"])
    found.decide("acute pericarditis", has["pericarditis"], has["early"])
    found.decide("brugada pattern", has["brugada"])
    general = "st-t change of drug, metabolic or undetermined origin"
    found.any_of(general, members(general), vague)


def _chambers(found: Findings, patients: Patients, m: Measures) -> None:
    has = patients.causes
    sokolow = in_lead(m.s, "V1") + torch.maximum(in_lead(m.r, "V5"), in_lead(m.r, "V6"))
    cornell = in_lead(m.r, "aVL") + in_lead(m.s, "V3")
    limit = torch.where(patients.male, 2.8, 2.0)
    voltage = (sokolow > 3.5) | (cornell > limit) | (in_lead(m.r, "aVL") > 1.1)
    close = (sokolow > 3.2) | (cornell > limit - 0.2) | (in_lead(m.r, "aVL") > 1.0)
    blocked = has["lbbb"] | has["wpw"] | has["rbbb"] | has["rbbb lafb"] | has["lafb"]
    loaded = has["lvh"] | has["lvh strain"]
    found.decide(
        "left ventricular hypertrophy", loaded & close, (loaded & ~voltage) | (~loaded & voltage) | (blocked & close)
    )
    found.decide("voltage criteria for left ventricular hypertrophy", voltage, (close & ~voltage) | (blocked & voltage))
    largest = m.size[:, 6:].amax(dim=1)
    found.decide("high qrs voltage", (sokolow > 4.0) | (largest > 4.5), (voltage & (sokolow <= 4.0)) | (largest > 3.5))
    limb, chest = m.size[:, :6].amax(dim=1), m.size[:, 6:].amax(dim=1)
    low = (limb < 0.5) | (chest < 1.0)
    found.decide("low qrs voltage", low, ~low & ((limb < 0.58) | (chest < 1.15)))
    right = (in_lead(m.r, "V1") > 0.5) & (in_lead(m.r, "V1") > in_lead(m.s, "V1")) & (m.axis > 85)
    found.decide("right ventricular hypertrophy", has["rvh"], (has["rvh"] & ~right) | (~has["rvh"] & right))
    found.decide("septal hypertrophy", has["septal"], loaded)
    # Limits of Hancock et al. 2009; slightly smaller P waves may still be called enlargement if that is their cause
    lasting = patients.heart.p_duration + 0.025 * patients.heart.left_atrium
    for side, cause, shown, nearly in (
        ("left", has["lae"], (m.p_terminal > 0.006) | (lasting > 0.125), (m.p_terminal > 0.003) | (lasting > 0.112)),
        ("right", has["rae"], m.p_height > 0.25, m.p_height > 0.2),
    ):
        unclear = (cause & ~nearly) | (~cause & shown) | has["ectopic atrial"]
        found.decide(f"{side} atrial enlargement", cause & nearly, unclear)
    found.any_of("abnormal p wave", members("abnormal p wave"), has["ectopic atrial"])


def _shape(found: Findings, patients: Patients, m: Measures) -> None:
    has = patients.causes
    left = (m.axis < -30) & (m.axis > LEFTMOST)
    found.decide("left axis deviation", left, ((m.axis < -22) & (m.axis > -34)) | (m.axis < LEFTMOST) & (m.axis > -150))
    right = (m.axis > 95) | (m.axis < -150)
    found.decide("right axis deviation", right, ~right & (m.axis > 85))
    deep = grouped(wide_q(m, 0.030, 0.22))
    block = has["lbbb"] | has["wpw"] | has["paced"] | has["dual paced"] | has["complete"]
    found.decide(
        "q waves",
        deep & ~block,
        (block & deep) | (~deep & grouped(wide_q(m, 0.024, 0.15))),
    )
    poor = (in_lead(m.r, "V3") < 0.3) & (in_lead(m.s, "V3") > in_lead(m.r, "V3"))
    found.decide("poor r-wave progression", poor, (~poor & (in_lead(m.r, "V3") < 0.45)) | block)
    turn = numbers_of(("V1", "V2", "V3", "V4", "V5", "V6"))
    over = (m.r[:, turn] > m.s[:, turn]).float()
    transition = torch.where(over.any(dim=1), over.argmax(dim=1), 6)
    late, early = transition >= 4, transition <= 1
    found.decide("clockwise rotation of the heart", late, (transition == 3) | block)
    found.decide("counterclockwise rotation of the heart", early, (transition == 2) | block | (has["rbbb"] & early))
    # As ECG machines use the term: a contour that suggests an infarct, or fits no known pattern
    scarred = torch.stack([found[f"{place} myocardial infarction"] > 0 for place in INFARCTS]).any(dim=0)
    odd = has["ivcd"] | (patients.heart.fragments > 0.5) | deep | scarred
    found.decide("abnormal qrs", odd, block | (~odd & (poor | (m.qrs > 0.11) | (transition >= 4))))


def _cover(found: Findings, patients: Patients) -> None:
    """Make findings undetermined that a wide complex, a pacemaker or fast atria hide."""
    has = patients.causes
    found.hide(hidden_by("paced"), has["paced"] | has["dual paced"] | has["complete"])
    found.hide(hidden_by("LBBB or WPW"), has["lbbb"] | has["wpw"])
    found.hide(hidden_by("LBBB or WPW if absent"), has["lbbb"] | has["wpw"], absent_only=True)
    found.hide(hidden_by("AF if absent"), has["fibrillation"] | has["flutter"], absent_only=True)


def _super_classes(found: Findings, patients: Patients) -> None:
    """Decide PTB-XL's super-classes, which benchmark prompts may name, and the normal ECG."""
    has = patients.causes
    injuries = [f"{place} subendocardial injury" for place in NAMED_ISCHEMIAS]
    for name in (
        "myocardial infarction",
        "anterior myocardial infarction of any extent",
        "inferior myocardial infarction of any extent",
        "anterior or lateral ischemia",
        "inferior or inferolateral ischemia",
        "st/t change",
        "conduction disturbance",
        "hypertrophy",
    ):
        found.any_of(name, members(name))
        if name == "myocardial infarction":
            found.hide((name,), torch.stack([found[one] > 0 for one in injuries]).any(dim=0))
    rules = [(found[name], TABLE[name].normal) for name in found if TABLE[name].normal]
    sick = [sign > 0 for sign, rule in rules if rule.startswith("never")]
    sick += [has["infarction"], has["ischemia"], has["injury"], has["aneurysm"]]
    doubtful = [sign > 0 for sign, rule in rules if rule == "unclear"]
    doubtful += [sign == 0 for sign, rule in rules if rule.endswith("unclear if undetermined")]
    ill = torch.stack(sick).any(dim=0)
    found.decide("normal ecg", ~ill, ~ill & torch.stack(doubtful).any(dim=0))
