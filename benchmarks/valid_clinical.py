"""Valid clinical XML and SCP-ECG: HL7 aECG, GE MUSE, Mortara, Philips Sierra without compression."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import numpy as np

from dbeta.ecg import LEADS
from valid_holter import by_ecgdatakit
from valid_recordings import Draw, Valid, quantised

_SCP_CODES = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {f"V{n}": n + 2 for n in range(1, 7)}


def _counts(ecg: dict[str, np.ndarray], leads: list[str], step: float) -> dict[str, np.ndarray]:
    return {lead: quantised(ecg[lead], step, -32000, 32000) for lead in leads}


def _base64(counts: np.ndarray) -> str:
    return base64.b64encode(counts.astype("<i2").tobytes()).decode()


def aecg(draw: Draw, folder: Path) -> Valid:
    """HL7 aECG: unit, scale and origin of each lead, increment in s or ms, digits on one line or several."""
    rate, leads = draw.one_of((250.0, 500.0, 1000.0, 600.0)), draw.leads()
    ecg = draw.ecg(rate, draw.integer(300, 2000))
    sequences, expected, steps = "", {}, {}
    for lead in leads:
        unit, size = draw.one_of((("uV", 1e-3), ("mV", 1.0), ("nV", 1e-6)))
        step = draw.one_of((0.001, 0.005, 0.0025))
        origin = draw.one_of((0, 0, 0, 1)) * 0.1
        counts = quantised(ecg[lead] - origin, step, -32000, 32000)
        expected[lead], steps[lead] = counts * step + origin, step
        gap = draw.one_of((" ", "\n", "  "))
        code = f"MDC_ECG_LEAD_{lead if draw.chance() else lead.upper()}"
        sequences += (
            f'<component><sequence><code code="{code}" codeSystem="2.16.840.1.113883.6.24"/>'
            f'<value xsi:type="SLIST_PQ"><origin value="{origin / size:.10g}" unit="{unit}"/>'
            f'<scale value="{step / size:.10g}" unit="{unit}"/><digits>{gap.join(map(str, counts))}</digits>'
            "</value></sequence></component>"
        )
    step, unit = draw.one_of(((1 / rate, "s"), (1000 / rate, "ms")))
    absolute = draw.chance()
    clock = (
        ("TIME_ABSOLUTE", "GLIST_TS", "20240101120000.000", "")
        if absolute
        else ("TIME_RELATIVE", "GLIST_PQ", "0", ' unit="s"')
    )
    path = folder / "rec.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1.2.3"/><component><series>'
        '<code code="RHYTHM"/><effectiveTime><low value="20240101120000"/></effectiveTime><component><sequenceSet>'
        f'<component><sequence><code code="{clock[0]}"/><value xsi:type="{clock[1]}"><head value="{clock[2]}"'
        f'{clock[3]}/><increment value="{step:.10g}" unit="{unit}"/></value></sequence></component>{sequences}'
        "</sequenceSet></component></series></component></AnnotatedECG>",
        encoding="utf-8",
    )
    return Valid(path, rate, expected, steps)


def muse(draw: Draw, folder: Path) -> Valid:
    """GE MUSE: any resolution, the rate with an exponent, the rhythm before or after the median beat."""
    rate = draw.one_of((250, 500))
    ecg = draw.ecg(rate, rate * draw.integer(2, 10))
    leads = ["I", "II", *LEADS[6:]]
    step = draw.one_of((0.00488, 0.001, 0.005))
    counts = _counts(ecg, leads, step)
    base, exponent = draw.one_of(((rate, 0), (rate // 10, 1)))

    def waveform(kind: str, samples: int) -> str:
        inner = "".join(
            f"<LeadData><LeadByteCountTotal>{2 * samples}</LeadByteCountTotal><LeadSampleCountTotal>{samples}"
            f"</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>{1000 * step:g}</LeadAmplitudeUnitsPerBit>"
            "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadSampleSize>2</LeadSampleSize>"
            f"<LeadID>{lead}</LeadID><WaveFormData>{_base64(row[:samples])}</WaveFormData></LeadData>"
            for lead, row in counts.items()
        )
        head = f"<WaveformType>{kind}</WaveformType><SampleBase>{base}</SampleBase>"
        return f"<Waveform>{head}<SampleExponent>{exponent}</SampleExponent>{inner}</Waveform>"

    parts = [waveform("Median", rate), waveform("Rhythm", len(ecg["I"]))]
    path = folder / "rec.xml"
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG><MuseInfo>'
        "<MuseVersion>9.0</MuseVersion></MuseInfo><Diagnosis><DiagnosisStatement><StmtText>Sinus rhythm</StmtText>"
        f"</DiagnosisStatement></Diagnosis>{''.join(draw.order(parts))}</RestingECG>",
        encoding="latin-1",
    )
    expected = {lead: row * step for lead, row in counts.items()}
    return Valid(path, float(rate), expected, dict.fromkeys(leads, step))


def mortara(draw: Draw, folder: Path) -> Valid:
    """Mortara ELI: counts per mV, leads in any order."""
    rate, leads = draw.one_of((250, 500, 1000)), draw.leads()
    ecg = draw.ecg(rate, draw.integer(300, 3000))
    per_mv = draw.one_of((200, 400, 1000))
    counts = _counts(ecg, leads, 1 / per_mv)
    channels = "".join(
        f'<CHANNEL OFFSET="0" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="{per_mv}" DURATION="{len(row)}" '
        f'SAMPLE_FREQ="{rate}" NAME="{lead}" ENCODING="BASE64" DATA="{_base64(row)}"/>'
        for lead, row in counts.items()
    )
    path = folder / "rec.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?><ECG ACQUISITION_TIME="20200401103000" AGE="69"><SUBJECT/>'
        f"{channels}</ECG>"
    )
    expected = {lead: row / per_mv for lead, row in counts.items()}
    return Valid(path, float(rate), expected, dict.fromkeys(leads, 1 / per_mv), independent=lambda: by_ecgdatakit(path))


def philips(draw: Draw, folder: Path) -> Valid:
    """Philips Sierra 1.03, samples uncompressed in Base64."""
    rate = draw.one_of((250, 500))
    ecg = draw.ecg(rate, rate * draw.integer(1, 10))
    microvolts = draw.one_of((1, 5))
    counts = _counts(ecg, list(LEADS), microvolts / 1000)
    samples = len(ecg["I"])
    path = folder / "rec.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><restingecgdata><documentinfo><documenttype>PhilipsECG</documenttype>'
        "<documentversion>1.03</documentversion></documentinfo><dataacquisition><signalcharacteristics>"
        f"<samplingrate>{rate}</samplingrate><resolution>{microvolts}</resolution>"
        "<numberchannelsallocated>12</numberchannelsallocated><numberchannelsvalid>12</numberchannelsvalid>"
        "<leadset>STD-12</leadset></signalcharacteristics></dataacquisition><waveforms><parsedwaveforms "
        f'compressflag="False" dataencoding="Base64" durationperchannel="{1000 * samples // rate}" nbitspersample="16">'
        f"{_base64(np.concatenate([counts[lead] for lead in LEADS]))}</parsedwaveforms></waveforms></restingecgdata>"
    )
    step = microvolts / 1000
    expected = {lead: row * step for lead, row in counts.items()}
    return Valid(path, float(rate), expected, dict.fromkeys(LEADS, step))


def scp(draw: Draw, folder: Path) -> Valid:
    """SCP-ECG: samples without Huffman coding, as values or first or second differences."""
    rate, leads = draw.one_of((250, 500, 1000)), draw.leads()
    samples = draw.integer(300, 3000)
    ecg = draw.ecg(rate, samples)
    nanovolts, differences = draw.one_of((1000, 2500, 5000)), draw.integer(0, 2)
    counts = np.stack([quantised(ecg[lead], nanovolts / 1e6, -8000, 8000) for lead in leads])
    coded = counts.copy()
    for _ in range(differences):
        # the first value, or the first two, are kept as they are
        coded[:, 1:] = np.diff(coded, axis=1)
    if differences == 2:
        coded[:, 1] = counts[:, 1]

    def section(number: int, body: bytes) -> bytes:
        return struct.pack("<HHIBB6x", 0, number, 16 + len(body), 20, 20) + body

    placed = b"".join(struct.pack("<IIB", 1, samples, _SCP_CODES[lead]) for lead in leads)
    rhythm = struct.pack(
        f"<HHBB{len(leads)}H", nanovolts, 1_000_000 // rate, differences, 0, *[2 * samples] * len(leads)
    )
    sections = [section(1, bytes([255, 0, 0])), section(3, bytes([len(leads), 0]) + placed)]
    sections.append(section(6, rhythm + coded.astype("<i2").tobytes()))
    at, pointers = 6 + 16 + 120, struct.pack("<HII", 0, 16 + 120, 7)
    for number, content in zip((1, 3, 6), sections, strict=True):
        pointers += struct.pack("<HII", number, len(content), at + 1)
        at += len(content)
    first = struct.pack("<HHIBB6s", 0, 0, 16 + 120, 20, 20, b"SCPECG") + pointers.ljust(120, b"\0")
    path = folder / "rec.scp"
    path.write_bytes(struct.pack("<HI", 0, at) + first + b"".join(sections))
    step = nanovolts / 1e6
    expected = dict(zip(leads, counts * step, strict=True))
    return Valid(path, float(rate), expected, dict.fromkeys(leads, step), independent=lambda: by_ecgdatakit(path))
