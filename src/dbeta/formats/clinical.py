"""The clinical formats, through `ecgdatakit`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dbeta.errors import DBetaError
from dbeta.formats.base import Options, Recording, known_lead, parsing, patient_facts

_KINDS = {".dcm": "DICOM", ".dicom": "DICOM", ".xml": "an ECG in XML", ".scp": "SCP-ECG", ".edf": "EDF"}


def read_clinical(file: Path, options: Options) -> Recording:
    """DICOM, HL7 aECG, Philips, GE and Mortara XML, SCP-ECG, EDF: the rhythm strip, never the median beat."""
    from ecgdatakit import FileParser

    suffix = file.suffix.lower() if file.suffix.lower() in _KINDS else ".dcm"
    kind = _KINDS[suffix]
    with parsing(kind):
        found = FileParser.detect_format(file)
    # The content decides, so a misnamed file could reach any parser.
    if found is None or suffix not in found["extensions"]:
        raise DBetaError(f"is not {kind}, whatever its name says; give the file its true extension")
    with parsing(kind):
        body = FileParser.parse(file, units="mV")
    leads = body.leads
    groups = body.raw_metadata.get("multiplex_groups", [])
    if leads and groups and len(leads[0].samples) < min(2 * leads[0].sampling_rate, max(g["samples"] for g in groups)):
        # The library tells an averaged beat by its label, which is optional in DICOM.
        raise DBetaError("has an averaged beat where the rhythm strip should be; export the rhythm strip first")
    signal = [lead.samples for lead in leads]
    if body.source_format == "sierra_xml" and len({len(row) for row in signal}) == 1:
        signal = list(_without_calibration_pulse(np.stack(signal)))
    # Counts without a calibration have no unit, and are refused for that.
    units = ["" if lead.is_raw else lead.units for lead in leads]
    rate = next((lead.sampling_rate for lead in leads if known_lead(lead.label)), None)
    device = f"{body.recording.device.manufacturer} {body.recording.device.model}".strip()
    meta = patient_facts(body.patient.age, body.patient.sex) | ({"device": device} if device else {})
    # Only the statement: its reason ("QRSd >115mS, not LBBB/RBBB") names findings that are absent.
    report = "; ".join(text.strip() for text, _ in body.interpretation.statements if text.strip())
    names = [lead.label for lead in leads]
    return Recording(signal, names, rate, units, None, report, body.patient.patient_id or None, meta)


def _without_calibration_pulse(signal: np.ndarray) -> np.ndarray:
    """Philips ends its 11 s with a 1 mV pulse: a stretch in which all leads are equal, which an ECG never has."""
    differ = np.flatnonzero(np.ptp(signal, axis=0) > 0)
    return signal[:, : differ[-1] + 1] if differ.size else signal
