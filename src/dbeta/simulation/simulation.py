"""Simulates ECGs with all known properties from a seed and record numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.simulation.batched import taken, together
from dbeta.simulation.diseases import MIXES
from dbeta.simulation.draws import Draws
from dbeta.simulation.finding_table import TABLE
from dbeta.simulation.findings import Findings, decide_findings
from dbeta.simulation.measures import Measures, measure
from dbeta.simulation.patients import Patients, draw_patients
from dbeta.simulation.recording import CHEST_SWAP, TREMBLES, WANDERS, Recordings, record
from dbeta.simulation.render import Clean, render
from dbeta.simulation.rhythm import Beats, draw_beats
from dbeta.simulation.torso import all_leads

#: Number of signals computed at a time, so that they fit in the processor's cache.
AT_ONCE = 64
#: Limit of seeds and record numbers.
MOST = 2**63
#: Version of the simulator, raised whenever a seed gives different records; 2: draws by name.
VERSION = 2
#: Length and sampling rate of every recording.
SECONDS, RATE = 10.0, 500.0


def check_numbers(least: int = 0, **numbers: int) -> None:
    """Reject seeds and numbers that are not whole or out of range.

    Raises:
        DBetaError: a number is not whole, below `least` or too large.
    """
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number < MOST:
            raise DBetaError(
                f"simulation: {name} must be a whole number of at least {least} and below 2^63, not {number!r}"
            )


@dataclass
class Simulation:
    """B simulated ECGs.

    Attributes:
        signals: (B, 12, T) mV as recorded; `recordings` does not keep them.
        clean: noise-free complexes, with all leads only if `keep_clean` was set.
        patients: parameters of the patients.
        measures: measurements of the noise-free signal.
        findings: by name, (B,) int8: 1 present, −1 absent, 0 undetermined.
        recordings: artefacts of the recording.
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
    """Simulate 10-s ECGs at 500 Hz.

    A record depends only on the seed, its number and the mix, not on the other records: its findings are identical, its
    samples to within one quantization step of the recorder, as sums are rounded in a different order.

    Args:
        seed: seed of the simulation, 0 or more.
        records: (B,) record numbers, 0 or more.
        mix: how common diseases are (`dbeta.simulation.diseases.MIXES`).
        device: device to compute on.
        keep_clean: keep the noise-free leads in `clean`, at some cost in time and memory.

    Raises:
        DBetaError: the mix is unknown, there are no records, a number is out of range, or `findings.csv` and the
            criteria do not list the same findings.
    """
    check_numbers(seed=seed)
    if mix not in MIXES:
        raise DBetaError(f"simulation: unknown mix {mix!r}; choose one of {', '.join(MIXES)}")
    if len(records) == 0:
        raise DBetaError("simulation: no records given; pass at least one record number")
    if not all(isinstance(one, Integral) and 0 <= one < MOST for one in records):
        raise DBetaError("simulation: records must be whole numbers of at least 0 and below 2^63")
    draws = Draws(seed, records, device)
    patients = draw_patients(draws, mix)
    beats = draw_beats(patients.rhythm, SECONDS, patients.uniform, patients.normal)
    signals = torch.empty(len(draws), len(LEADS), round(SECONDS * RATE), device=draws.device)
    parts = [
        _recorded(draws.part(rows), taken(patients, rows), taken(beats, rows), signals[rows], keep_clean)
        for rows in (slice(start, start + AT_ONCE) for start in range(0, len(draws), AT_ONCE))
    ]
    clean, measures, recordings = (together(some) for some in zip(*parts, strict=True))
    findings = decide_findings(patients, measures)
    _decide_recording(findings, recordings)
    findings.check_decided()
    return Simulation(signals, clean, patients, measures, findings, recordings)


def _recorded(
    draws: Draws, patients: Patients, beats: Beats, out: Tensor, keep_clean: bool
) -> tuple[Clean, Measures, Recordings]:
    """Simulate the signals of a few records, writing the recorded ones into `out` (B, 12, T)."""
    clean = render(
        patients.heart,
        beats,
        patients.matrices,
        SECONDS,
        RATE,
        patients.focus,
        rhythm=patients.rhythm,
        fast=patients.fast,
    )
    measures = measure(patients, beats, clean, SECONDS, RATE)
    leads = clean.measured
    clean.measured = leads.clone() if keep_clean else leads[..., :0]
    recordings = record(draws, leads, RATE)
    all_leads(recordings.measured, out=out)
    recordings.measured = recordings.measured[..., :0]
    return clean, measures, recordings


def _decide_recording(findings: Findings, recordings: Recordings) -> None:
    """Add findings of the recording itself, and make those undetermined that it hides."""
    findings.decide("baseline wander", recordings.wander > WANDERS, (recordings.wander - WANDERS).abs() < 0.05)
    findings.decide("muscle artifact", recordings.tremor > TREMBLES, (recordings.tremor - TREMBLES).abs() < 0.02)
    for name, where in recordings.exchanged.items():
        findings.decide(name, where)
    for name, where in recordings.exchanged.items():
        readable = ("any", "any if present", *(("chest",) if name == CHEST_SWAP else ()))
        findings.hide(tuple(one for one in findings if TABLE[one].readable not in readable), where)
        # Blocks that are present remain visible
        seen = tuple(one for one in findings if TABLE[one].readable == "any if present")
        findings.hide(seen, where, absent_only=True)
    for name in findings:
        if leads := [LEADS.index(lead) for lead in TABLE[name].leads]:
            findings.hide((name,), recordings.flat[:, leads].any(dim=1))
