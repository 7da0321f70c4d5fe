"""Clinical XML, SCP-ECG and MFER, through `ecgdatakit`: the rhythm strip, never the median beat.

Corrects what the library does otherwise: it rounds sampling rates to whole Hz, and omits the rhythm statement of HL7
aECG from the interpretation.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.io.formats.base import Options, Recording, known_lead, parsing, patient_facts
from dbeta.io.identity import Identity


def read_clinical(file: Path, options: Options, kind: str, parser: str) -> Recording:
    """Read a file with one of the parsers of `ecgdatakit`.

    Args:
        file: the file.
        options: of the caller, of which only `raw_gain` is needed.
        kind: name of the format, for messages.
        parser: name of the parser's class.
    """
    from ecgdatakit.parsing.parser import FileParser

    with parsing(kind, file):
        parse = next(one for one in FileParser().parsers if one.__name__ == parser)().parse
        body = parse(file)
        leads = list(body.leads)
        if not options.raw_gain:
            leads = [lead.to_physical() if lead.resolution_unit and lead.resolution else lead for lead in leads]
        signal = [np.asarray(lead.samples, dtype=np.float64) for lead in leads]
        names = [lead.label for lead in leads]
        # Counts without a calibration have no unit and are refused later
        units = [options.raw_gain or ("" if lead.is_raw else lead.units) for lead in leads]
        gains = [1 / lead.resolution if lead.resolution else 1.0 for lead in body.leads]
        rate = next((lead.sampling_rate for lead in leads if known_lead(lead.label)), None)
        rate = _exact_rate(body.raw_metadata, rate) if rate else None
    device = f"{body.recording.device.manufacturer} {body.recording.device.model}".strip()
    meta = patient_facts(body.patient.age, body.patient.sex) | ({"device": device} if device else {})
    return Recording(signal, names, rate, units, None, _report(body), _identity(body), meta, gains=gains)


read_aecg = partial(read_clinical, kind="HL7 aECG", parser="HL7aECGParser")
read_philips = partial(read_clinical, kind="Philips XML", parser="SierraXMLParser")
read_muse = partial(read_clinical, kind="GE MUSE XML", parser="GEMuseXMLParser")
read_mortara = partial(read_clinical, kind="Mortara XML", parser="MortaraEL250Parser")
read_scp = partial(read_clinical, kind="SCP-ECG", parser="SCPECGParser")
read_mfer = partial(read_clinical, kind="MFER", parser="MFERParser")


def _exact_rate(stated: dict[str, Any], rounded: float) -> float:
    exact = stated.get("rhythm_time", {}).get("sampling_rate_exact") or _number(stated.get("raw", {}).get("frequency"))
    if interval := stated.get("rhythm_sample_interval_us"):
        exact = 1e6 / interval
    exact = exact or next(iter(stated.get("sampling_rates", ())), None)
    return exact if exact and abs(exact - rounded) <= 0.5 else rounded


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _report(body: Any) -> str:
    # Without their reasons, which name absent findings ("QRSd >115mS, not LBBB/RBBB")
    statements = [text.strip() for text, _ in body.interpretation.statements]
    if body.source_format == "hl7_aecg":
        statements.insert(0, body.annotations.get("rhythm", "").strip())
    return "; ".join(dict.fromkeys(text for text in statements if text))


def _identity(body: Any) -> Identity:
    patient, recording = body.patient, body.recording
    born = patient.birth_date.date().isoformat() if patient.birth_date else ""
    staff = (recording.technician, recording.referring_physician, body.interpretation.interpreter)
    name = f"{patient.first_name} {patient.last_name}".strip()
    return Identity(patient.patient_id, name, born, tuple(text for text in staff if text))
