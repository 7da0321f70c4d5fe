"""Generates a small valid file of every format, for `fuzz_reading.py` to damage."""

from __future__ import annotations

import base64
import json
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import LEADS

RATE, SAMPLES = 250, 500
#: Lead numbers of I–V6 in MFER and ISHNE, and in SCP-ECG.
_MFER = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)
_ISHNE = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
_SCP = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)


@dataclass
class Seed:
    """A recording in one or several files.

    Attributes:
        name: name of the format.
        files: name → content; the first is the one to read.
        options: arguments that `read_ecg` needs.
    """

    name: str
    files: dict[str, bytes]
    options: dict[str, Any] = field(default_factory=dict)


def ecg_counts(samples: int = SAMPLES) -> np.ndarray:
    """Twelve leads that obey Einthoven and Goldberger, in µV: (12, samples) int16."""
    time = np.arange(samples) / RATE
    beats = np.exp(-(((time % 0.8) - 0.3) ** 2) / 2e-4) + 0.25 * np.exp(-(((time % 0.8) - 0.55) ** 2) / 4e-3)
    gains = np.array([700, 1100, -300, 500, 900, 1300, 1200, 900])[:, None]  # I, II, V1–V6
    eight = np.round(gains * beats + 3 * np.sin(40 * time)).astype(np.int64)  # (8, samples)
    one, two = eight[0], eight[1]
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.vstack([*limb, *eight[2:]]).astype(np.int16)


def make_seeds(folder: Path, real: Path | None) -> list[Seed]:
    """Make seeds of all formats, including the files of `real` if it is a folder; libraries write to `folder`."""
    counts = ecg_counts()
    made = [make(counts) for make in _MAKERS]
    for write in _WRITERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name, options = write(counts, folder)
        files = sorted(folder.glob(f"{name}.*"), key=lambda file: file.suffix != ".hea")
        made.append(Seed(name, {file.name: file.read_bytes() for file in files}, options))
    from pydicom.data import get_testdata_file

    dicom = get_testdata_file("waveform_ecg.dcm")
    made.append(Seed("dicom", {"dicom.dcm": Path(str(dicom)).read_bytes()}))
    if real and real.is_dir():
        made += [Seed(f"real-{file.stem}", {file.name: file.read_bytes()}) for file in sorted(real.iterdir())]
    return made


# --- written here


def _aecg(counts: np.ndarray) -> Seed:
    names = [f"MDC_ECG_LEAD_{lead.upper().replace('AV', 'aV') if lead[0] == 'a' else lead}" for lead in LEADS]
    leads = "".join(
        f'<component><sequence><code code="{name}"/><value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/>'
        f'<scale value="1" unit="uV"/><digits>{" ".join(map(str, row))}</digits></value></sequence></component>'
        for name, row in zip(names, counts.tolist(), strict=True)
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1"/><component><series>'
        '<code code="RHYTHM"/><effectiveTime><low value="20240101120000"/></effectiveTime><component><sequenceSet>'
        '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        f'<head value="20240101120000"/><increment value="{1 / RATE}" unit="s"/></value></sequence></component>'
        f"{leads}</sequenceSet></component></series></component></AnnotatedECG>"
    )
    return Seed("hl7-aecg", {"aecg.xml": xml.encode()})


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<i2").tobytes()).decode()


def _muse(counts: np.ndarray) -> Seed:
    order = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]
    leads = "".join(
        f"<LeadData><LeadByteCountTotal>{2 * SAMPLES}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
        f"<LeadSampleCountTotal>{SAMPLES}</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>1</LeadAmplitudeUnitsPerBit>"
        f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{LEADS[row]}</LeadID>"
        f"<LeadOffsetFirstSample>0</LeadOffsetFirstSample><LeadSampleSize>2</LeadSampleSize>"
        f"<WaveFormData>{_base64(counts[row])}</WaveFormData></LeadData>"
        for row in order
    )
    xml = (
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG><MuseInfo>'
        "<MuseVersion>9</MuseVersion></MuseInfo><PatientDemographics><PatientAge>61</PatientAge>"
        "<AgeUnits>YEARS</AgeUnits><Gender>MALE</Gender></PatientDemographics><Diagnosis><DiagnosisStatement>"
        "<StmtText>Sinus rhythm</StmtText></DiagnosisStatement></Diagnosis><Waveform>"
        f"<WaveformType>Rhythm</WaveformType><SampleBase>{RATE}</SampleBase><SampleExponent>0</SampleExponent>"
        f"{leads}</Waveform></RestingECG>"
    )
    return Seed("ge-muse", {"muse.xml": xml.encode("latin-1")})


def _mortara(counts: np.ndarray) -> Seed:
    leads = "".join(
        f'<CHANNEL OFFSET="0" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="1000" DURATION="{SAMPLES}" NAME="{lead}" '
        f'SAMPLE_FREQ="{RATE}" ENCODING="BASE64" DATA="{_base64(row)}"/>'
        for lead, row in zip(LEADS, counts, strict=True)
    )
    xml = f'<?xml version="1.0"?><ECG ACQUISITION_TIME="20240101120000" AGE="61"><SUBJECT GENDER="M"/>{leads}</ECG>'
    return Seed("mortara", {"mortara.xml": xml.encode()})


def pack_xli(row: np.ndarray) -> bytes:
    """Compress a lead as Philips does: second differences, high bytes before low ones, LZW of literals in 10 bits."""
    x, y, last = int(row[0]), int(row[1]), int(row[0])
    codes = [x, y]
    for value in row[2:].astype(np.int64).tolist():
        # inverse of the decoder: value = 2 y - x - last, then last = code - 64
        last = 2 * y - x - value
        codes.append(last + 64)
        x, y = y, value
    words = np.array([*codes[:2], *codes[3:], 64], dtype=np.int64).astype(np.uint16)
    start = codes[2] - 64
    literals = [*(words >> 8).tolist(), *(words & 255).tolist()]
    bits = "".join(f"{code:010b}" for code in literals) + "1" * 10
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return struct.pack("<iHh", len(packed), 0, start) + packed


def _philips(counts: np.ndarray, compressed: bool) -> Seed:
    rows = counts[:, :300]
    if compressed:
        one, two = rows[0].astype(int), rows[1].astype(int)
        three = two - one
        limb = [one, two, np.zeros(300), -rows[3] - (one + two) // 2, (one - three) // 2 - rows[4]]
        limb.append((two + three) // 2 - rows[5])
        data = b"".join(pack_xli(np.asarray(row)) for row in (*limb, *rows[6:]))
        text = base64.b64encode(data).decode()
        method = 'compressflag="True" compressmethod="XLI"'
    else:
        text, method = _base64(rows.ravel()), 'compressflag="False"'
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><restingecgdata><documentinfo><documenttype>PhilipsECG'
        "</documenttype><documentversion>1.03</documentversion>"
        "</documentinfo><dataacquisition><signalcharacteristics><samplingrate>250</samplingrate>"
        "<resolution>1</resolution><numberchannelsallocated>12</numberchannelsallocated><numberchannelsvalid>12"
        "</numberchannelsvalid><leadset>STD-12</leadset></signalcharacteristics></dataacquisition><waveforms>"
        f'<parsedwaveforms {method} dataencoding="Base64" durationperchannel="1200" nbitspersample="16">'
        f"{text}</parsedwaveforms></waveforms></restingecgdata>"
    )
    return Seed(f"philips-{'xli' if compressed else 'plain'}", {"philips.xml": xml.encode()})


def _edf(counts: np.ndarray) -> Seed:
    columns = [[lead] for lead in LEADS]
    fields = [
        (16, [f"ECG {lead}" for (lead,) in columns]),
        (80, ["electrode"] * 12),
        (8, ["mV"] * 12),
        (8, ["-32.768"] * 12),
        (8, ["32.767"] * 12),
        (8, ["-32768"] * 12),
        (8, ["32767"] * 12),
        (80, ["HP:0.05Hz"] * 12),
        (8, [str(RATE)] * 12),
        (32, [""] * 12),
    ]
    records = SAMPLES // RATE
    head = ["0".ljust(8), "X M X X".ljust(80), "Startdate X X X X".ljust(80), "01.01.24", "12.00.00"]
    head += [str(256 * 13).ljust(8), "EDF+C".ljust(44), str(records).ljust(8), "1".ljust(8), "12".ljust(4)]
    text = "".join(head) + "".join(value.ljust(width) for width, values in fields for value in values)
    body = counts.reshape(12, records, RATE).transpose(1, 0, 2).astype("<i2").tobytes()
    return Seed("edf", {"rec.edf": text.encode("ascii") + body})


def _ishne(counts: np.ndarray) -> Seed:
    head = bytearray(522)
    head[:8] = b"ISHNE1.0"
    struct.pack_into("<iiiih", head, 10, 0, SAMPLES, 522, 522, 1)
    struct.pack_into("<h", head, 156, 12)
    for lead in range(12):
        struct.pack_into("<h", head, 158 + 2 * lead, _ISHNE[lead])
        struct.pack_into("<h", head, 206 + 2 * lead, 1000)
    struct.pack_into("<h", head, 272, RATE)
    return Seed("ishne", {"holter.ecg": bytes(head) + counts.T.astype("<i2").tobytes()})


def _mfer(counts: np.ndarray) -> Seed:
    def tag(code: int, value: bytes) -> bytes:
        size = len(value)
        return bytes([code]) + (bytes([size]) if size < 128 else b"\x84" + size.to_bytes(4, "big")) + value

    # each a channel's own definition: its number, then the tag of the lead's code
    leads = b"".join(bytes([0x3F, lead, 3, 0x09, 1, code]) for lead, code in enumerate(_MFER))
    head = tag(0x40, b"MFR ".ljust(32)) + tag(0x01, b"\x01") + tag(0x0B, bytes([1, 0xFD]) + struct.pack("<H", 4))
    head += tag(0x0C, bytes([0, 0xFA]) + struct.pack("<H", 1)) + tag(0x04, struct.pack("<H", 1))
    head += tag(0x05, struct.pack("<H", 12)) + tag(0x06, struct.pack("<H", SAMPLES)) + tag(0x0A, b"\0")
    return Seed("mfer", {"rec.mwf": head + leads + tag(0x1E, counts.T.astype("<i2").tobytes()) + b"\x80\0"})


def _scp(counts: np.ndarray) -> Seed:
    def section(number: int, body: bytes) -> bytes:
        return struct.pack("<HHIBB6x", 0, number, 16 + len(body), 20, 20) + body

    leads = b"".join(struct.pack("<IIB", 1, SAMPLES, code) for code in _SCP)
    rhythm = struct.pack("<HHBB12H", 1000, 1_000_000 // RATE, 0, 0, *[2 * SAMPLES] * 12)
    sections = [section(1, bytes([255, 0, 0])), section(3, bytes([12, 0x64]) + leads)]
    sections.append(section(6, rhythm + counts.astype("<i2").tobytes()))
    at, pointers = 6 + 16 + 120, struct.pack("<HII", 0, 16 + 120, 7)
    for number, content in zip((1, 3, 6), sections, strict=True):
        pointers += struct.pack("<HII", number, len(content), at + 1)
        at += len(content)
    first = struct.pack("<HHIBB6s", 0, 0, 16 + 120, 20, 20, b"SCPECG") + pointers.ljust(120, b"\0")
    return Seed("scp", {"rec.scp": struct.pack("<HI", 0, at) + first + b"".join(sections)})


def _csv(counts: np.ndarray) -> Seed:
    rows = "\n".join(",".join(f"{value / 1000:.3f}" for value in row) for row in counts.T)
    return Seed("csv", {"table.csv": f"{','.join(LEADS)}\n{rows}\n".encode()}, {"sampling_rate": RATE})


def _wfdb_lines(file: str, leads: tuple[str, ...], form: str = "16") -> str:
    return "".join(f"{file} {form} 1000/mV 16 0 0 0 0 {lead}\n" for lead in leads)


def _wfdb_frames(counts: np.ndarray) -> Seed:
    """Limb leads of 4 samples per frame, chest leads of 2."""
    frames = SAMPLES // 4
    parts = [row.reshape(frames, 4) if number < 6 else row[::2].reshape(frames, 2) for number, row in enumerate(counts)]
    header = f"frames 12 {RATE / 4} {frames}\n" + _wfdb_lines("frames.dat", LEADS[:6], "16x4")
    header += _wfdb_lines("frames.dat", LEADS[6:], "16x2")
    data = np.concatenate(parts, axis=1).astype("<i2").tobytes()
    return Seed("wfdb-frames", {"frames.hea": header.encode(), "frames.dat": data})


def _wfdb_segments(counts: np.ndarray, variable: bool) -> Seed:
    """Two segments with a gap between them; in a variable layout the second has the limb leads only."""
    half, rows = SAMPLES // 2, 6 if variable else 12
    lines = ["part_1 250", "~ 100", "part_2 250"]
    files = {
        "part_1.hea": f"part_1 12 {RATE} {half}\n{_wfdb_lines('part_1.dat', LEADS)}".encode(),
        "part_2.hea": f"part_2 {rows} {RATE} {half}\n{_wfdb_lines('part_2.dat', LEADS[:rows])}".encode(),
        "part_1.dat": counts[:, :half].T.astype("<i2").tobytes(),
        "part_2.dat": counts[:rows, half:].T.astype("<i2").tobytes(),
    }
    if variable:
        lines.insert(0, "part_layout 0")
        files["part_layout.hea"] = f"part_layout 12 {RATE} 0\n{_wfdb_lines('~', LEADS, '0')}".encode()
    master = f"whole/{len(lines)} 12 {RATE} {SAMPLES + 100}\n" + "\n".join(lines) + "\n"
    name = "wfdb-variable-segments" if variable else "wfdb-fixed-segments"
    return Seed(name, {"whole.hea": master.encode()} | files)


def _wfdb_cut(counts: np.ndarray) -> Seed:
    header = f"cut 12 {RATE} {2 * SAMPLES}\n{_wfdb_lines('cut.dat', LEADS)}"
    return Seed("wfdb-cut", {"cut.hea": header.encode(), "cut.dat": counts.T.astype("<i2").tobytes()[:-5]})


def _edf_cut(counts: np.ndarray) -> Seed:
    whole = _edf(counts).files["rec.edf"]
    return Seed("edf-cut", {"cut.edf": whole[: -RATE * 2 * 3 - 1]})


def _plain(counts: np.ndarray) -> Seed:
    units = " ".join(["s", *["mV"] * 12])
    rows = "\n".join(
        f"{number / RATE:.3f} " + " ".join(f"{value / 1000:.3f}" for value in row)
        for number, row in enumerate(counts.T)
    )
    return Seed("text", {"table.txt": f"time {' '.join(LEADS)}\n{units}\n{rows}\n".encode()})


def _watch(counts: np.ndarray) -> Seed:
    facts = ["Name,Test Person", 'Geburtsdatum,"08.01.2002"', "Aufzeichnungsdatum,2026-05-30 16:32:18 -0700"]
    facts += ["Klassifizierung,Sinusrhythmus", "Symptome,", "Softwareversion,1.90", 'Gerät,"Watch7,12"']
    facts += [f"Messrate,{RATE} Hertz", "", "", "Ableitung,Ableitung I", "Einheit,µV", ""]
    lines = [*facts, *(f"{value},000" for value in counts[0])]
    return Seed("watch", {"watch.csv": "\n".join([*lines, ""]).encode()})


def _kardia(counts: np.ndarray) -> Seed:
    samples = {"leadI": counts[0].tolist(), "leadII": counts[1].tolist()}
    raw = {"frequency": RATE, "mainsFrequency": 50, "amplitudeResolution": 1000, "samples": samples}
    facts = {"id": "1", "recordedAt": "2024-01-01T12:00:00Z", "algorithmDetermination": "normal", "data": {"raw": raw}}
    return Seed("kardia-json", {"kardia.json": json.dumps(facts).encode()})


def _atc(counts: np.ndarray) -> Seed:
    def block(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + struct.pack("<I", sum(content))

    blocks = block(b"info", bytes(268)) + block(b"fmt ", struct.pack("<BHHBH", 1, RATE, 1000, 0, 0))
    blocks += block(b"ecg ", counts[0].astype("<i2").tobytes()) + block(b"ecg2", counts[1].astype("<i2").tobytes())
    return Seed("kardia-atc", {"rec.atc": b"ALIVE\0\0\0" + struct.pack("<I", 2) + blocks})


_MAKERS: tuple[Callable[[np.ndarray], Seed], ...] = (
    _aecg,
    _muse,
    _mortara,
    lambda counts: _philips(counts, True),
    lambda counts: _philips(counts, False),
    _edf,
    _edf_cut,
    _ishne,
    _mfer,
    _scp,
    _csv,
    _wfdb_frames,
    lambda counts: _wfdb_segments(counts, False),
    lambda counts: _wfdb_segments(counts, True),
    _wfdb_cut,
    _plain,
    _watch,
    _kardia,
    _atc,
)


# --- written by the formats' libraries


def _wfdb(counts: np.ndarray, folder: Path, form: str) -> tuple[str, dict[str, Any]]:
    import wfdb

    gain = {"16": 1000.0, "212": 1000.0, "80": 80.0}[form]
    wfdb.wrsamp(
        f"wfdb{form}",
        fs=RATE,
        units=["mV"] * 12,
        sig_name=list(LEADS),
        p_signal=counts.T / 1000,
        fmt=[form] * 12,
        adc_gain=[gain] * 12,
        baseline=[0] * 12,
        comments=["Age: 61", "Sex: Male", "Dx: 426783006"],
        write_dir=str(folder),
    )
    return f"wfdb{form}", {}


def _challenge(counts: np.ndarray, folder: Path) -> tuple[str, dict[str, Any]]:
    from scipy.io import savemat

    savemat(folder / "chal.mat", {"val": counts}, format="4")
    lines = [f"chal 12 {RATE} {SAMPLES}"]
    lines += [f"chal.mat 16+24 1000/mV 16 0 {row[0]} 0 0 {lead}" for lead, row in zip(LEADS, counts, strict=True)]
    (folder / "chal.hea").write_text("\n".join([*lines, "#Age: 61", "#Sex: Male"]) + "\n")
    return "chal", {}


def _matlab(counts: np.ndarray, folder: Path, packed: bool) -> tuple[str, dict[str, Any]]:
    from scipy.io import savemat

    name = "cpsc-packed" if packed else "cpsc"
    struct_ = {"sex": "Male", "age": 61, "data": counts / 1000}
    savemat(folder / f"{name}.mat", {"ECG": struct_}, do_compression=packed)
    return name, {}


def _hdf5(counts: np.ndarray, folder: Path, packed: bool) -> tuple[str, dict[str, Any]]:
    import h5py

    name = "code-packed" if packed else "code"
    tracings = np.stack([counts.T / 100] * 2).astype(np.float32)  # (2, samples, 12) in 1e-4 V
    with h5py.File(folder / f"{name}.hdf5", "w") as file:
        packing = {"chunks": (1, 250, 12), "compression": "gzip"} if packed else {}
        file.create_dataset("tracings", data=tracings, **packing)
        file["exam_id"] = np.array([7, 8])
    return name, {"record": 0}


def _npy(counts: np.ndarray, folder: Path) -> tuple[str, dict[str, Any]]:
    np.save(folder / "array.npy", counts.astype(np.float32) / 1000)
    return "array", {"sampling_rate": RATE, "leads": LEADS}


def _several(counts: np.ndarray, folder: Path) -> tuple[str, dict[str, Any]]:
    np.save(folder / "several.npy", np.stack([counts, counts]).astype(np.float32) / 1000)
    return "several", {"sampling_rate": RATE, "leads": LEADS, "record": 1}


def _parquet(counts: np.ndarray, folder: Path) -> tuple[str, dict[str, Any]]:
    import pandas as pd

    pd.DataFrame(counts.T / 1000, columns=list(LEADS)).to_parquet(folder / "frame.parquet")
    return "frame", {"sampling_rate": RATE}


_WRITERS: tuple[Callable[[np.ndarray, Path], tuple[str, dict[str, Any]]], ...] = (
    lambda counts, folder: _wfdb(counts, folder, "16"),
    lambda counts, folder: _wfdb(counts, folder, "212"),
    lambda counts, folder: _wfdb(counts, folder, "80"),
    _challenge,
    lambda counts, folder: _matlab(counts, folder, False),
    lambda counts, folder: _matlab(counts, folder, True),
    lambda counts, folder: _hdf5(counts, folder, False),
    lambda counts, folder: _hdf5(counts, folder, True),
    _npy,
    _several,
    _parquet,
)
