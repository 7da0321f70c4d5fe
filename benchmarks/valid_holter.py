"""Valid EDF, BDF, ISHNE and MFER files."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np

from dbeta.ecg import LEADS
from valid_recordings import Draw, Valid, quantised

_ISHNE_CODES = {lead: code for code, lead in enumerate(LEADS, 5)}
_MFER_CODES = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {f"V{n}": n + 2 for n in range(1, 7)}
_IN_MILLIVOLTS = {"uV": 1e-3, "µV": 1e-3, "mV": 1.0, "V": 1e3, "nV": 1e-6}


def edf(draw: Draw, folder: Path) -> Valid:
    """EDF or BDF, plain or plus, by pyedflib: units, ranges, length of a data record, slower other signals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyedflib
    kind = draw.one_of(
        (pyedflib.FILETYPE_EDF, pyedflib.FILETYPE_EDFPLUS, pyedflib.FILETYPE_BDF, pyedflib.FILETYPE_BDFPLUS)
    )
    wide = kind in (pyedflib.FILETYPE_BDF, pyedflib.FILETYPE_BDFPLUS)
    rate, seconds, record = draw.one_of((128, 200, 250, 256, 500, 1000)), draw.integer(2, 6), draw.one_of((1, 1, 2))
    seconds *= record
    leads, prefix = draw.leads(), draw.one_of(("", "ECG ", "EKG ", "Lead "))
    ecg = draw.ecg(rate, rate * seconds)
    highest = 2**23 - 1 if wide else draw.one_of((32767, 2047))
    channels = [*leads, *draw.one_of(((), ("SpO2",), ("ABP", "Resp")))]
    channels = draw.order(channels)
    path = folder / ("rec.bdf" if wide else "rec.edf")
    expected, steps, written = {}, {}, []
    with warnings.catch_warnings(), pyedflib.EdfWriter(str(path), len(channels), file_type=kind) as file:
        warnings.simplefilter("ignore")
        file.setDatarecordDuration(record)
        for row, name in enumerate(channels):
            unit, size = draw.one_of((("uV", 1e-3), ("mV", 1.0), ("V", 1e3)))
            low, high = draw.one_of(((-8, 8), (-5, 5), (-4, 6), (10, -10)))
            one = rate if name in ecg else 10
            head: dict[str, str | int | float | None]
            head = {"label": prefix + name if name in ecg else name, "dimension": unit, "sample_frequency": one}
            head |= {"physical_min": low / size, "physical_max": high / size, "prefilter": "", "transducer": ""}
            head |= {"digital_min": -highest - 1, "digital_max": highest}
            file.setSignalHeader(row, head)
            step = (high - low) / (2 * highest + 1)
            values = ecg.get(name, np.zeros(one * seconds))
            counts = quantised(values - low, step, 0, 2 * highest + 1) - highest - 1
            written.append(counts.astype(np.int32))
            if name in ecg:
                expected[name], steps[name] = low + (counts + highest + 1) * step, abs(step)
        file.writeSamples(written, digital=True)
    return Valid(path, rate, expected, steps, independent=lambda: _by_pyedflib(path, prefix))


def _by_pyedflib(path: Path, prefix: str) -> dict[str, np.ndarray]:
    import pyedflib

    leads = {}
    with pyedflib.EdfReader(str(path)) as file:
        for row, label in enumerate(file.getSignalLabels()):
            name = label.removeprefix(prefix).strip()
            if name in LEADS:
                leads[name] = file.readSignal(row) * _IN_MILLIVOLTS[file.getPhysicalDimension(row).strip()]
    return leads


def by_ecgdatakit(path: Path) -> dict[str, np.ndarray]:
    """The twelve leads as ecgdatakit reads them, in mV."""
    from ecgdatakit import FileParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leads = FileParser.parse(path).leads
    leads = [lead.to_physical() if lead.resolution_unit and lead.resolution else lead for lead in leads]
    return {
        lead.label: np.asarray(lead.samples) * _IN_MILLIVOLTS[lead.units]
        for lead in leads
        if lead.label in LEADS and lead.units in _IN_MILLIVOLTS
    }


def ishne(draw: Draw, folder: Path) -> Valid:
    """ISHNE 1.0: resolution of each lead, a remark of any length, stated lengths as recorders write them."""
    rate, leads, samples = draw.one_of((128, 180, 200, 500, 1000)), draw.leads(), draw.integer(300, 3000)
    ecg = draw.ecg(rate, samples)
    remark = b"r" * draw.integer(0, 300)
    stated = draw.one_of((samples, samples * len(leads)))
    head = bytearray(522)
    head[:8] = b"ISHNE1.0"
    struct.pack_into("<iiiih", head, 10, len(remark), stated, 522, 522 + len(remark), 1)
    struct.pack_into("<h", head, 156, len(leads))
    struct.pack_into("<12h", head, 182, *[-9] * 12)
    expected, steps, rows = {}, {}, []
    for at in range(12):
        struct.pack_into("<h", head, 158 + 2 * at, _ISHNE_CODES[leads[at]] if at < len(leads) else -9)
        nanovolts = draw.one_of((1000, 2500, 5000, 12500)) if at < len(leads) else -9
        struct.pack_into("<h", head, 206 + 2 * at, nanovolts)
        if at < len(leads):
            counts = quantised(ecg[leads[at]], nanovolts / 1e6, -32767, 32767)
            rows.append(counts)
            expected[leads[at]], steps[leads[at]] = counts * nanovolts / 1e6, nanovolts / 1e6
    struct.pack_into("<h", head, 272, rate)
    path = folder / "rec.ecg"
    path.write_bytes(bytes(head) + remark + np.stack(rows, axis=1).astype("<i2").tobytes())
    return Valid(path, float(rate), expected, steps, independent=lambda: by_ecgdatakit(path))


def mfer(draw: Draw, folder: Path) -> Valid:
    """MFER (ISO 22077-1): the rate as Hz or as an interval, blocks of any length, either byte order."""
    rate, leads = draw.one_of((125, 250, 500, 1000)), draw.leads()
    block = draw.one_of((1, rate // 5, rate))
    pieces = draw.integer(300, 2000) if block == 1 else draw.integer(3, 12)
    ecg = draw.ecg(rate, block * pieces)
    exponent, factor = draw.one_of(((-6, 5), (-6, 1), (-7, 25), (-9, 2500)))
    step = factor * 10.0 ** (exponent + 3)
    little = draw.chance()
    order = "<" if little else ">"

    def item(tag: int, value: bytes) -> bytes:
        size = len(value)
        return bytes([tag]) + (bytes([size]) if size < 128 else b"\x84" + size.to_bytes(4, "big")) + value

    short = struct.Struct(f"{order}H")
    every = bytes([0, 0]) + short.pack(rate) if draw.chance() else bytes([1, 0xFD]) + short.pack(1000 // rate)
    content = item(0x40, b"MFR Standard 12 leads ECG".ljust(32)) + item(0x01, bytes([little]))
    content += item(0x0B, every) + item(0x0C, bytes([0, 256 + exponent]) + short.pack(factor)) + item(0x0A, b"\0")
    content += item(0x04, short.pack(block)) + item(0x05, bytes([len(leads)])) + item(0x06, short.pack(pieces))
    for row, lead in enumerate(leads):
        content += bytes([0x3F, row, 3]) + item(0x09, bytes([_MFER_CODES[lead]]))
    counts = np.stack([quantised(ecg[lead], step, -32000, 32000) for lead in leads])
    samples = counts.reshape(len(leads), pieces, block).swapaxes(0, 1)  # (blocks, leads, samples)
    content += item(0x1E, samples.astype(f"{order}i2").tobytes()) + bytes([0x80, 0])
    path = folder / "rec.mwf"
    path.write_bytes(content)
    expected = dict(zip(leads, counts * step, strict=True))
    return Valid(path, float(rate), expected, dict.fromkeys(leads, step), independent=lambda: by_ecgdatakit(path))
