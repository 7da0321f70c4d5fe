"""What texts may state of a simulated ECG besides findings: numbers, and facts about the waves of each lead.

Where a lead shows nothing, electrodes are exchanged or a pacemaker changes the complexes, nobody decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from dbeta.conditions.statements import NUMBERS, facts, wave_fact, wave_names
from dbeta.ecg import LEADS
from dbeta.simulation.wave_rules import LEAD_MARGINS, MARGINS, decide_sentences, leads_needed

if TYPE_CHECKING:
    from dbeta.simulation.simulation import Simulation

#: mV of ST elevation that is surely none of health, by lead.
_RAISED = np.array([0.2 if name in ("V2", "V3") else 0.1 for name in LEADS])
_UNREADABLE = ("paced rhythm", "third-degree av block")


def numbers_of(simulation: Simulation) -> np.ndarray:
    """Of B records each of `NUMBERS`, intervals in milliseconds: (B, 6) float32, NaN where there is none.

    Exchanged limb electrodes change the axis, so there it is NaN.
    """
    values = _values(simulation)
    table = np.stack([values[name] for name in NUMBERS], axis=1).astype(np.float32)
    table[_exchanged(simulation), NUMBERS.index("axis")] = np.nan
    return table


def wave_facts(simulation: Simulation) -> np.ndarray:
    """Of B records whether each of `facts` holds: (B, F) int8 of +1 yes, −1 no, 0 undetermined."""
    findings = {name: sign.cpu().numpy() for name, sign in simulation.findings.items()}
    leads = _lead_values(simulation)
    count = len(simulation.signals)
    here = [_signs(wave, leads, findings) for wave in wave_names()]
    own = np.stack(here, axis=1).reshape(count, -1)  # (B, waves · leads)
    sentences = facts()[own.shape[1] :]
    decided = decide_sentences(sentences, findings, _values(simulation), leads, count)
    exchanged = _exchanged(simulation)[:, None]
    flat = simulation.recordings.flat.cpu().numpy()
    needed = np.array([[lead in leads_needed(one) for lead in LEADS] for one in sentences])
    decided[(exchanged & needed.any(axis=1)) | (flat @ needed.T > 0)] = 0
    own[np.broadcast_to(exchanged, own.shape)] = 0
    return np.concatenate([own, decided], axis=1)


def facts_of_findings(findings: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """What findings alone say of `facts`, as of real records: (B, F) int8; what needs a measure is undetermined.

    Args:
        findings: name → (B,) signs.
        count: B.
    """
    own = np.zeros((count, len(wave_names()) * len(LEADS)), np.int8)
    return np.concatenate([own, decide_sentences(facts()[own.shape[1] :], findings, {}, {}, count)], axis=1)


def fact_leads(fact: str) -> frozenset[str]:
    """Leads without which nobody could say whether a fact holds."""
    wave, _, lead = fact.rpartition(" in ")
    if lead in LEADS and wave in wave_names() and fact == wave_fact(wave, lead):
        return frozenset([lead])
    return leads_needed(fact)


def _exchanged(simulation: Simulation) -> np.ndarray:
    return np.any([where.cpu().numpy() for where in simulation.recordings.exchanged.values()], axis=0)


def _values(simulation: Simulation) -> dict[str, np.ndarray]:
    """Each of `MARGINS`, (B,)."""
    m, heart = simulation.measures, simulation.patients.heart
    chest = [_array(m.s)[:, LEADS.index("V1")], *(_array(m.r)[:, LEADS.index(name)] for name in ("V5", "V6"))]
    values = {
        "rate": _array(m.rate),
        "rr": 60_000 / _array(m.rate),
        "axis": _array(m.axis),
        "irregular": 100 * _array(m.irregularity),
        "p_height": _array(m.p_height),
        "p_terminal": 1000 * _array(m.p_terminal),
        "p_time": 1000 * (_array(heart.p_duration) + 0.025 * _array(heart.left_atrium)),
        "sokolow": chest[0] + np.maximum(chest[1], chest[2]),
        "longest": 1000 * _array(m.longest),
    }
    values |= {name: 1000 * _array(getattr(m, name)) for name in ("pr", "qrs", "qt", "qtc")}
    assert values.keys() == MARGINS.keys()
    without_p = simulation.findings["atrial fibrillation"] > 0
    for name in ("p_height", "p_terminal", "p_time"):
        values[name] = np.where(without_p.cpu().numpy(), np.nan, values[name])
    return values


def _lead_values(simulation: Simulation) -> dict[str, np.ndarray]:
    """Each of `LEAD_MARGINS`, (B, 12), NaN where nobody could measure it."""
    m = simulation.measures
    values = {name: _array(getattr(m, name)) for name in ("st", "t", "r", "s", "q", "size")}
    values |= {"r2": _array(m.r_prime), "q_time": 1000 * _array(m.q_time)}
    assert values.keys() == LEAD_MARGINS.keys()
    hidden = np.any([simulation.findings[name].cpu().numpy() > 0 for name in _UNREADABLE], axis=0)[:, None]
    lost = hidden | simulation.recordings.flat.cpu().numpy()
    return {name: np.where(lost, np.nan, value) for name, value in values.items()}


def _array(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()


def _signs(wave: str, leads: dict[str, np.ndarray], findings: dict[str, np.ndarray]) -> np.ndarray:
    """Whether leads show something: (B, 12) int8. Between two limits nobody decides."""
    st, t, r, s, q = (leads[name] for name in ("st", "t", "r", "s", "q"))
    height = np.maximum(0.1 * r, 0.06)
    present, absent = {
        "st elevation": (st > _RAISED, st < 0.6 * _RAISED),
        "st depression": (st < -0.06, st > -0.03),
        "isoelectric st": (np.abs(st) < 0.04, np.abs(st) > 0.08),
        "inverted t": (t < -0.12, t > -0.03),
        "upright t": (t > 0.13, t < 0.05),
        "flat t": (np.abs(t) < height, np.abs(t) > height + 0.06),
        "q wave": (
            (leads["q_time"] > 30) & (q > 0.1) & (q > 0.25 * r),
            (leads["q_time"] < 22) | (q < 0.05) | (q < 0.12 * r),
        ),
        "qs complex": ((r < 0.05) & (q > 0.2), r > 0.12),
        "dominant r": (r > s + 0.15, r < s - 0.1),
        "dominant s": (s > r + 0.15, s < r - 0.1),
        "tall r": (r > 1.6, r < 1.1),
        "small qrs": (leads["size"] < 0.45, leads["size"] > 0.65),
        "second r": (leads["r2"] > 0.1, leads["r2"] < 0.03),
    }[wave]
    return np.where(present, 1, np.where(absent, -1, 0)).astype(np.int8)
