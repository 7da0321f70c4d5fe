"""A seed and record numbers → simulated ECGs with all that is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dbeta.corpus.simulate.draws import Draws
from dbeta.corpus.simulate.findings import Findings, decide_findings
from dbeta.corpus.simulate.heart import depolarization
from dbeta.corpus.simulate.measures import Measures, measure
from dbeta.corpus.simulate.patients import Patients, draw_patients
from dbeta.corpus.simulate.recording import TREMBLES, WANDERS, Recordings, record
from dbeta.corpus.simulate.render import Clean, render
from dbeta.corpus.simulate.rhythm import draw_beats
from dbeta.corpus.simulate.torso import all_leads
from dbeta.ecg import LEADS

#: Of every recording.
SECONDS, RATE = 10.0, 500.0
#: Findings by parts of their names that nobody can read without these leads.
NEEDED = {
    ("V1", "V2"): ("right bundle branch", "bundle branch block", "right ventricular", "septal", "posterior", "brugada"),
    ("V2", "V3", "V4"): ("anterior", "septal", "anterolateral", "r-wave progression", "rotation"),
    ("V5", "V6"): ("lateral", "left bundle branch"),
    ("V1", "V2", "V3", "V4", "V5", "V6"): ("left ventricular hypertrophy", "qrs voltage", "abnormal qrs", "normal ecg"),
}
#: Findings that exchanged arms do not touch.
RHYTHM_FINDINGS = frozenset(
    (
        *("sinus bradycardia", "sinus tachycardia", "sinus arrhythmia", "bradycardia", "atrial fibrillation"),
        *("premature ventricular complex", "premature complexes", "bigeminy", "trigeminy", "first-degree av block"),
        "sinus pause",
        *("prolonged pr interval", "second-degree av block", "third-degree av block", "atrioventricular block"),
        *("right bundle branch block", "left bundle branch block", "bundle branch block", "long qt interval"),
    )
)


@dataclass
class Simulation:
    """B simulated ECGs.

    Attributes:
        signals: (B, 12, T) mV, recorded.
        clean: noise-free complexes; its leads only where they were asked for (`keep_clean`).
        patients: what was asked for.
        measures: what the noise-free signal shows.
        findings: by name, (B,) int8: 1 present, −1 absent, 0 undetermined.
        recordings: what went wrong in recording.
    """

    signals: Tensor
    clean: Clean
    patients: Patients
    measures: Measures
    findings: Findings
    recordings: Recordings


@torch.no_grad()
def simulate(
    seed: int,
    records: Sequence[int],
    mix: str = "balanced",
    device: torch.device | str = "cpu",
    *,
    keep_clean: bool = False,
) -> Simulation:
    """Simulate ECGs of 10 s at 500 Hz.

    A record follows from the seed, its number and the mix, whatever is simulated beside it.

    Args:
        seed: of the simulation, 0 or more.
        records: (B,) numbers of records, 0 or more.
        mix: how common diseases are (`dbeta.corpus.simulate.diseases.MIXES`).
        device: where to compute.
        keep_clean: leave the noise-free leads in `clean`, for a little time and memory.
    """
    draws = Draws(seed, records, device)
    patients = draw_patients(draws, mix)
    beats = draw_beats(patients.rhythm, SECONDS, patients.uniform, patients.normal)
    clean = render(
        *(patients.heart, beats, patients.matrices, SECONDS, RATE, patients.focus),
        rhythm=patients.rhythm,
        fast=patients.fast,
    )
    _, duration = depolarization(patients.heart)
    measures = measure(patients, beats, clean, duration, SECONDS, RATE)
    findings = decide_findings(patients, measures)
    recordings = record(draws, clean.measured.clone() if keep_clean else clean.measured, RATE)
    findings.decide("baseline wander", recordings.wander > WANDERS, (recordings.wander - WANDERS).abs() < 0.05)
    findings.decide("muscle artifact", recordings.tremor > TREMBLES, (recordings.tremor - TREMBLES).abs() < 0.02)
    findings.decide("arm lead reversal", recordings.reversed_arms)
    for name in findings.keys() - RHYTHM_FINDINGS - {"baseline wander", "muscle artifact", "arm lead reversal"}:
        findings.hide((name,), recordings.reversed_arms)
    _hide_what_is_lost(findings, recordings.flat)
    return Simulation(all_leads(recordings.measured), clean, patients, measures, findings, recordings)


def _hide_what_is_lost(findings: Findings, flat: Tensor) -> None:
    """Make undetermined what only leads that show nothing would show."""
    for leads, words in NEEDED.items():
        gone = flat[:, [LEADS.index(lead) for lead in leads]].any(dim=1)
        names = tuple(name for name in findings if "fascicular" not in name and any(word in name for word in words))
        findings.hide(names, gone)
