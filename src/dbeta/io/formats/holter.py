"""EDF, BDF and ISHNE: formats of long recordings, of which only the requested stretch is loaded.

Their short headers are parsed here and the samples are memory-mapped, because `ecgdatakit` loads whole files, has no
BDF and joins interrupted EDF, and `pyedflib` refuses files that archives hold, such as names with accents or recorders
that were never stopped (`tests/io/formats/test_libraries.py`).

Sources: Kemp et al., Electroencephalogr Clin Neurophysiol 1992;82:391 and edfplus.info (EDF, EDF+, BDF);
Badilini, Ann Noninvasive Electrocardiol 1998;3:263 (ISHNE).
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, parsing, patient_facts
from dbeta.io.formats.rates import plan
from dbeta.io.identity import Identity
from dbeta.io.safety.limits import check_values

# Name and width in bytes of the fields that an EDF header has for each signal.
_SIGNAL_FIELDS = {
    "label": 16,
    "transducer": 80,
    "unit": 8,
    "physical_min": 8,
    "physical_max": 8,
    "digital_min": 8,
    "digital_max": 8,
    "filter": 80,
    "samples": 8,
    "reserved": 32,
}

# Table 1 of the ISHNE standard, from code 2 on.
_ISHNE_LEADS = ("X", "Y", "Z", *LEADS, "ES", "AS", "AI")


def read_edf(file: Path, options: Options) -> Recording:
    """Read EDF, EDF+ or BDF, with 16 or 24 bits per sample.

    Raises:
        DBetaError: it is damaged, or the recording was interrupted.
    """
    with file.open("rb") as stream, parsing("EDF"):
        head = stream.read(256)
        count = int(head[252:256])
        text = stream.read(256 * max(count, 0)).decode("latin-1")
        if count < 1 or len(text) < 256 * count:
            raise ValueError(f"its header does not hold {count} signals")
        signals = _signal_fields(text, count)
        sizes = [int(size) for size in signals["samples"]]  # of each signal in a data record
        blocks, seconds = int(head[236:244]), _number(head[244:252].decode("latin-1"))
        if min(sizes) < 0 or sum(sizes) == 0 or not 0 <= seconds < 1e6:
            raise ValueError("its header promises no samples")
    width = 3 if head[:1] == b"\xff" else 2
    edges = np.cumsum([0, *sizes]) * width
    offset = 256 * (count + 1)
    present, rest = divmod(max(file.stat().st_size - offset, 0), int(edges[-1]))
    # −1 means that the recorder was never stopped
    promised = present if blocks == -1 else blocks
    present = min(present, promised)
    blocks = present + (present < promised and rest > 0)
    if blocks < 1:
        raise DBetaError(f"holds none of its {max(promised, 1)} data records; get the file again")
    shape = (present, int(edges[-1]))
    with parsing("EDF"):
        data = np.memmap(file, np.uint8, "r", offset, shape) if present else np.empty(shape, np.uint8)
        with file.open("rb") as stream:
            stream.seek(offset + present * shape[1])
            tail = stream.read(rest) if blocks > present else b""
    notes = [row for row in range(count) if signals["label"][row] in ("EDF Annotations", "BDF Annotations")]
    if head[192:197] in (b"EDF+D", b"BDF+D") and notes:
        _check_continuous(data[:, edges[notes[0]] : edges[notes[0] + 1]], seconds)
    rows = [row for row in range(count) if row not in notes and sizes[row] > 0]
    if not rows or seconds == 0:
        raise DBetaError("holds annotations but no signals; give the file with the recording")
    stretch = plan([signals["label"][row] for row in rows], [sizes[row] for row in rows], 1 / seconds, blocks, options)

    def values(channel: int) -> np.ndarray:
        row = rows[channel]
        part = slice(int(edges[row]), int(edges[row + 1]))
        counts = _integers(data[stretch.first : min(stretch.last, present), part], width).astype(np.float64)
        if stretch.last > present:
            last = tail[part]
            held = _integers(np.frombuffer(last[: len(last) // width * width], np.uint8), width)
            counts = np.concatenate([counts, held, np.full(sizes[row] - len(held), np.nan)])
        scale, base, _ = scales[channel]
        return counts if options.raw_gain else base + counts * scale

    scales = [_calibration(signals, row) for row in rows]
    units = [options.raw_gain or unit for *_, unit in scales]
    warnings = list(stretch.notes)
    if present < promised:
        held = f"holds {present} of its {promised} data records whole"
        missing = ", and a part of one, whose other samples are missing (NaN)" if tail else ""
        warnings.insert(0, f"{held}{missing}; it may be cut short")
    meta, identity = _edf_patient(head)
    return Recording(
        stretch.join(values),
        stretch.names,
        stretch.rate,
        units,
        stretch.total,
        "",
        identity,
        meta | stretch.meta,
        notes=warnings,
        gains=[1 / scale for scale, *_ in scales],
    )


def _signal_fields(text: str, count: int) -> dict[str, list[str]]:
    fields, at = {}, 0
    for name, width in _SIGNAL_FIELDS.items():
        cells = [text[at + width * i : at + width * (i + 1)] for i in range(count)]
        fields[name] = [cell.replace("\0", " ").strip() for cell in cells]
        at += width * count
    return fields


def _number(text: str) -> float:
    return float(text.replace("\0", " ").replace(",", "."))


def _integers(data: np.ndarray, width: int) -> np.ndarray:
    """Signed little-endian integers from bytes (blocks, bytes)."""
    if width == 2:
        return np.ascontiguousarray(data).view("<i2").ravel()
    parts = np.ascontiguousarray(data).reshape(-1, 3).astype(np.int32)
    return ((parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16) ^ 0x800000) - 0x800000


def _calibration(signals: dict[str, list[str]], row: int) -> tuple[float, float, str]:
    """Size of a count, the value of count 0, and their unit; 1, 0 and "" if the calibration is invalid."""
    with suppress(ValueError):
        low, high = _number(signals["physical_min"][row]), _number(signals["physical_max"][row])
        lowest, highest = _number(signals["digital_min"][row]), _number(signals["digital_max"][row])
        # A range beyond 1e12 in any unit is an error
        if low != high and lowest < highest and all(abs(one) < 1e12 for one in (low, high, lowest, highest)):
            scale = (high - low) / (highest - lowest)
            return scale, low - lowest * scale, signals["unit"][row]
    return 1.0, 0.0, ""


def _check_continuous(notes: np.ndarray, seconds: float) -> None:
    """Check that each data record begins where the one before ends, by its first annotation."""
    stated = (re.match(rb"([+-][\d.]+)[\x14\x15]", row.tobytes()) for row in notes)
    onsets = [float(one[1]) for one in stated if one]
    if len(onsets) < len(notes) or np.abs(np.diff(onsets) - seconds).max(initial=0) > 1e-3:
        raise DBetaError("was interrupted between its parts; export it as continuous EDF")


def _edf_patient(head: bytes) -> tuple[dict[str, Any], Identity]:
    """EDF+ has "code sex birthdate name" with X for unknown; plain EDF has any text, perhaps a name."""
    text = head[8:88].decode("latin-1").replace("\0", " ").strip()
    if not head[192:196].endswith(b"DF+"):
        return {}, Identity(patient_id=text)
    code, sex, birth, name, *_ = ["" if part == "X" else part for part in text.split()] + [""] * 4
    words = head[88:168].decode("latin-1").split()
    device = words[4].replace("_", " ") if len(words) > 4 and words[4] != "X" else ""
    age, born = None, ""
    with suppress(ValueError, IndexError):
        day = datetime.strptime(birth, "%d-%b-%Y").date()
        born = day.isoformat()
        age = _years(day, datetime.strptime(words[1], "%d-%b-%Y").date())
    meta = patient_facts(age, sex) | ({"device": device} if device else {})
    return meta, Identity(code.replace("_", " "), name.replace("_", " "), born)


def _years(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def read_ishne(file: Path, options: Options) -> Recording:
    """Read an ISHNE Holter recording: 16 bits per sample, each of a stated number of nV."""
    with file.open("rb") as stream, parsing("an ISHNE Holter recording"):
        head = stream.read(522)
        if len(head) < 522:
            raise ValueError("its header is cut short")
        numbers = np.frombuffer(head[128:274], "<i2")
        extra, stated = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (10, 14))
        count, rate = int(numbers[14]), int(numbers[72])
        if not (0 < count <= 12 and rate > 0 and extra >= 0):
            raise ValueError(f"its header promises {count} leads at {rate} Hz")
    codes, resolution = numbers[15 : 15 + count], numbers[39 : 39 + count]  # resolution in nV
    total = (file.stat().st_size - 522 - extra) // (2 * count)
    if total < 1:
        raise DBetaError("holds no samples; get the file again")
    begin, end = options.stretch(rate, total)
    check_values((end - begin) * count)
    data = np.memmap(file, "<i2", "r", 522 + extra, (total, count))[begin:end]
    sizes = np.ones(count) if options.raw_gain else resolution / 1e6  # of a count
    signal = [np.where(data[:, row] == -32768, np.nan, data[:, row] * sizes[row]) for row in range(count)]
    names = [_ISHNE_LEADS[code - 2] if 2 <= code < 20 else f"channel {row + 1}" for row, code in enumerate(codes)]
    units = [options.raw_gain or ("mV" if nanovolts > 0 else "") for nanovolts in resolution]
    meta, identity = _ishne_patient(head)
    # Recorders state the samples of one lead or of all leads, some neither
    short = stated > total and stated != total * count
    notes = (
        [f"its header promises {stated} samples, it holds {total} of each lead; it may be cut short"] if short else []
    )
    gains = [1e6 / max(nanovolts, 1) for nanovolts in resolution.tolist()]
    return Recording(signal, names, rate, units, total, "", identity, meta, notes=notes, gains=gains)


def _ishne_patient(head: bytes) -> tuple[dict[str, Any], Identity]:
    first, last, code, device = (
        head[at : at + size].split(b"\0")[0].decode("latin-1").strip()
        for at, size in ((28, 40), (68, 40), (108, 20), (232, 40))
    )
    sex = {1: "male", 2: "female"}.get(int.from_bytes(head[128:130], "little"))
    days = np.frombuffer(head[132:144], "<i2").tolist()  # day, month, year of birth and of the recording
    age, born = None, ""
    with suppress(ValueError):
        birth = date(*reversed(days[:3]))
        born = birth.isoformat()
        age = _years(birth, date(*reversed(days[3:])))
    named = device if device.casefold() not in ("analog", "digital") else ""
    meta = patient_facts(age, sex) | ({"device": named} if named else {})
    return meta, Identity(code, f"{first} {last}".strip(), born)
