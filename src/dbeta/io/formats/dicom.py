"""DICOM waveforms: 12-lead, general and ambulatory ECG (PS3.3 A.34).

A file may hold several multiplex groups, which `dicom_groups` joins; averaged beats are left out.

`pydicom` parses the elements, but the samples are decoded here: its `waveform_array` returns padding as voltages and
swaps the bytes of big-endian files, and `ecgdatakit` reads a single group (`tests/io/formats/test_libraries.py`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, known_lead, parsing, patient_facts
from dbeta.io.formats.dicom_groups import Group, join_groups
from dbeta.io.formats.dicom_padding import find_padding
from dbeta.io.identity import Identity

# Lead numbers of SCP-ECG, which both coding schemes end in: MDC "2:61" and SCPECG "5.6.3-9-61" (PS3.16 CID 3001).
_LEAD_NUMBERS = dict(enumerate(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), 1))
_LEAD_NUMBERS |= {61: "III", 62: "aVR", 63: "aVL", 64: "aVF"}

# PS3.3 C.10.9.1.5; the companded kinds, µ-law and A-law, are for sound.
_SAMPLES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
_BY_BITS = {8: "SB", 16: "SS", 32: "SL"}

#: Seconds by which the first samples of a group's channels may be apart.
_LARGEST_SKEW = 1.0

_AVERAGED = ("MEDIAN", "REPRESENTATIVE", "AVERAGE", "TEMPLATE")


def read_dicom(file: Path, options: Options) -> Recording:
    """Read the rhythm strip of a DICOM waveform file.

    Raises:
        DBetaError: it is damaged, holds no waveform or only an averaged beat.
    """
    import pydicom

    with parsing("DICOM"):
        # `force`, because some archives omit the preamble
        body = pydicom.dcmread(file, force=True, stop_before_pixels=True)
        little = body.original_encoding[1] is not False
        items = list(body.get("WaveformSequence") or [])
    if not items:
        raise DBetaError("is DICOM but holds no waveform; give the file with the ECG")
    with parsing("DICOM"):
        groups = [_read_group(item, little, options.raw_gain) for item in items]
        report = "; ".join(dict.fromkeys(_statements(body)))
        identity = _identity(body)
        meta = patient_facts(_age(body), body.get("PatientSex"))
        device = f"{body.get('Manufacturer') or ''} {body.get('ManufacturerModelName') or ''}".strip()
    meta |= {"device": device} if device else {}
    longest = max(group.seconds for group in groups)
    unlabelled = [group for group in groups if not any(word in group.label.upper() for word in _AVERAGED)]
    # Labels are optional: a group shorter than 2 s beside a longer one is an averaged beat
    strips = [group for group in unlabelled if group.seconds >= min(2.0, longest)]
    if not strips:
        raise DBetaError("holds only an averaged beat; export the rhythm strip")
    joined = join_groups(strips)
    # Only a guess, unlike a group that is labelled as an averaged beat
    short = [group.described(group.names) for group in unlabelled if not any(group is one for one in strips)]
    if short:
        joined.meta["left_out"] = [*joined.meta.get("left_out", []), *short]
        joined.notes.append(f"holds short signals, taken for averaged beats and left out: {'; '.join(short[:6])}")
    return Recording(
        joined.signal,
        joined.names,
        joined.rate,
        joined.units,
        None,
        report,
        identity,
        meta | joined.meta,
        notes=joined.notes,
        gains=joined.gains,
    )


def _read_group(item: Any, little: bool, raw_gain: str | None) -> Group:
    count, samples = int(item.NumberOfWaveformChannels), int(item.NumberOfWaveformSamples)
    kind = str(item.get("WaveformSampleInterpretation") or _BY_BITS.get(int(item.WaveformBitsAllocated)))
    if kind not in _SAMPLES:
        raise ValueError(f"samples of kind {kind} are not voltages")
    dtype = np.dtype(_SAMPLES[kind]).newbyteorder("<" if little else ">")
    data = bytes(item.WaveformData)
    if count < 1 or samples < 1 or len(data) < count * samples * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes do not hold {samples} samples of {count} channels")
    counts = np.frombuffer(data, dtype, count * samples).reshape(samples, count).T  # (channels, samples)
    rate = float(item.SamplingFrequency)
    if not 0 < rate < 1e6:
        raise ValueError(f"its sampling frequency is {rate:g} Hz")
    signal = counts.astype(np.float64)
    channels = list(item.ChannelDefinitionSequence)
    if len(channels) != count:
        raise ValueError(f"it defines {len(channels)} of {count} channels")
    names, units, gains, notes = [_lead_name(channel) for channel in channels], [], [], []
    padding = item.get("WaveformPaddingValue")
    if isinstance(padding, bytes) and len(padding) >= dtype.itemsize:
        value = int(np.frombuffer(padding[: dtype.itemsize], dtype)[0])
        notes += _mark_padding(signal, counts, value, rate, names)
    for row, channel in enumerate(channels):
        factors = [channel.get("ChannelSensitivity"), channel.get("ChannelSensitivityCorrectionFactor")]
        factor = math.prod(float(one) for one in factors if one is not None)
        if factor == 0 and not raw_gain:
            raise ValueError(f"channel {row + 1} has a sensitivity of 0")
        if not raw_gain:
            signal[row] *= factor
            signal[row] += float(channel.get("ChannelBaseline") or 0)
        units.append(raw_gain or _unit(channel))
        gains.append(1 / factor if factor and not raw_gain else 1.0)
    signal, moved = _unskewed(signal, channels, rate)
    stated = item.get("MultiplexGroupTimeOffset")
    offset = None if stated is None or str(stated) == "" else float(stated) / 1000
    return Group(str(item.get("MultiplexGroupLabel") or ""), names, units, signal, rate, offset, gains, notes + moved)


def _mark_padding(signal: np.ndarray, counts: np.ndarray, value: int, rate: float, names: list[str]) -> list[str]:
    """Set padding to NaN in place, and return what is to be said about it."""
    found, notes = find_padding(counts, value, rate), []
    signal[found.marked] = np.nan
    texts = {
        "it is taken for padding and missing (NaN) for": found.doubtful,
        "it is taken for samples and kept for": found.kept,
    }
    for text, seconds in texts.items():
        if seconds:
            which = ", ".join(names[row] for row in list(seconds)[:12])
            longest = max(seconds.values())
            notes.append(
                f"its padding value {value} could also be a sample; at the ends of {which} {text} {longest:.2g} s"
            )
    return notes


def _unskewed(signal: np.ndarray, channels: list[Any], rate: float) -> tuple[np.ndarray, list[str]]:
    """The channels moved to the times at which they were sampled, by whole samples, and what is to be said about it."""
    stated = [
        float(one.get("ChannelSampleSkew") or 0) + float(one.get("ChannelTimeSkew") or 0) * rate for one in channels
    ]
    if not all(abs(skew) <= _LARGEST_SKEW * rate for skew in stated):
        raise ValueError(f"its channels begin up to {max(map(abs, stated)) / rate:g} s apart")
    shifts = [round(skew - min(stated)) for skew in stated]
    largest = max(shifts)
    if not largest:
        return signal, []
    moved = np.full((len(signal), signal.shape[1] + largest), np.nan)
    for row, values, shift in zip(moved, signal, shifts, strict=True):
        row[shift : shift + len(values)] = values
    return moved, [f"its channels begin up to {largest} samples apart, as it states, and are moved accordingly"]


def _first(item: Any, sequence: str) -> Any:
    found = item.get(sequence)
    return found[0] if found else {}


def _lead_name(channel: Any) -> str:
    source = _first(channel, "ChannelSourceSequence")
    code, meaning, label = (
        str(text or "").strip()
        for text in (source.get("CodeValue"), source.get("CodeMeaning"), channel.get("ChannelLabel"))
    )
    number = code.replace(":", "-").rpartition("-")[2]
    numbered = _LEAD_NUMBERS.get(int(number)) if number.isdecimal() and code.startswith(("2:", "5.6.3-9-")) else None
    names = [name for name in (numbered, code, meaning, label) if name and known_lead(name)]
    return names[0] if names else meaning or label or code or "unnamed"


def _unit(channel: Any) -> str:
    if channel.get("ChannelSensitivity") is None:
        return ""
    unit = _first(channel, "ChannelSensitivityUnitsSequence")
    return str(unit.get("CodeValue") or unit.get("CodeMeaning") or "").strip()


def _statements(body: Any) -> list[str]:
    """Statements about the whole recording: annotations of text, not of a measurement or a point in time."""
    statements = []
    for item in body.get("WaveformAnnotationSequence") or []:
        placed = ("NumericValue", "ReferencedSamplePositions", "ReferencedTimeOffsets", "ReferencedDateTime")
        if not any(item.get(name) is not None for name in placed):
            text = item.get("UnformattedTextValue") or _first(item, "ConceptCodeSequence").get("CodeMeaning")
            statements.append(" ".join(str(text or "").split()))
    return [text for text in statements if text]


def _age(body: Any) -> int | None:
    text = str(body.get("PatientAge") or "")
    born, day = (
        str(body.get("PatientBirthDate") or ""),
        str(body.get("AcquisitionDateTime") or body.get("StudyDate") or ""),
    )
    if len(text) == 4 and text[:3].isdecimal() and text[3] in "YMWD":
        return int(text[:3]) // {"Y": 1, "M": 12, "W": 52, "D": 365}[text[3]]
    if len(born) == 8 and born.isdecimal() and day[:8].isdecimal() and len(day) >= 8:
        return int(day[:4]) - int(born[:4]) - (day[4:8] < born[4:])
    return None


def _identity(body: Any) -> Identity:
    def words(name: str) -> str:
        return str(body.get(name) or "").replace("^", " ").strip()

    born = words("PatientBirthDate")
    born = f"{born[:4]}-{born[4:6]}-{born[6:]}" if len(born) == 8 and born.isdecimal() else born
    staff = ("ReferringPhysicianName", "OperatorsName", "NameOfPhysiciansReadingStudy", "PerformingPhysicianName")
    others = tuple(text for text in map(words, (*staff, "AccessionNumber", "AdmissionID")) if text)
    return Identity(words("PatientID"), " ".join(words("PatientName").split()), born, others)
