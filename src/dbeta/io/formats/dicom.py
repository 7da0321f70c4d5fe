"""DICOM waveforms: 12-lead, general and ambulatory ECG (PS3.3 A.34).

A file may hold several multiplex groups. Averaged beats are left out; of the others, the one with the most leads is
read or, if the columns of a printout (4 × 2.5 s) and its rhythm strip are separate groups, all of them, each at its
place in time and NaN elsewhere.

`pydicom` parses the elements, but the samples are decoded here: its `waveform_array` returns padding as voltages and
swaps the bytes of big-endian files, and `ecgdatakit` reads a single group (`tests/io/formats/test_libraries.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, known_lead, parsing, patient_facts
from dbeta.io.identity import Identity

# Lead numbers of SCP-ECG, which both coding schemes end in: MDC "2:61" and SCPECG "5.6.3-9-61" (PS3.16 CID 3001).
_LEAD_NUMBERS = dict(enumerate(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), 1))
_LEAD_NUMBERS |= {61: "III", 62: "aVR", 63: "aVL", 64: "aVF"}

# PS3.3 C.10.9.1.5; the companded kinds, µ-law and A-law, are for sound.
_SAMPLES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
_BY_BITS = {8: "SB", 16: "SS", 32: "SL"}

_AVERAGED = ("MEDIAN", "REPRESENTATIVE", "AVERAGE", "TEMPLATE")


@dataclass
class _Group:
    label: str
    names: list[str]
    units: list[str]
    signal: np.ndarray  # (channels, samples) in `units`
    rate: float
    offset: float  # seconds after the first

    @property
    def leads(self) -> set[str]:
        return {lead for lead in map(known_lead, self.names) if lead}

    @property
    def seconds(self) -> float:
        return self.signal.shape[1] / self.rate


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
        groups = [_read_group(item, little) for item in items]
        report = "; ".join(dict.fromkeys(_statements(body)))
        identity = _identity(body)
        meta = patient_facts(_age(body), body.get("PatientSex"))
        device = f"{body.get('Manufacturer') or ''} {body.get('ManufacturerModelName') or ''}".strip()
    meta |= {"device": device} if device else {}
    longest = max(group.seconds for group in groups)
    strips = [group for group in groups if not any(word in group.label.upper() for word in _AVERAGED)]
    # Labels are optional: a group shorter than 2 s beside a longer one is an averaged beat
    strips = [group for group in strips if group.seconds >= min(2.0, longest)]
    if not strips:
        raise DBetaError("holds only an averaged beat; export the rhythm strip")
    group = max(strips, key=lambda one: (len(one.leads), one.seconds))
    notes = []
    same = [one for one in strips if one.rate == group.rate]
    if len(set().union(*(one.leads for one in same))) > len(group.leads):
        group = _side_by_side(same)
        notes = ["shows its leads one after the other, as on paper; each is missing (NaN) where it is not shown"]
    return Recording(group.signal, group.names, group.rate, group.units, None, report, identity, meta, notes=notes)


def _read_group(item: Any, little: bool) -> _Group:
    count, samples = int(item.NumberOfWaveformChannels), int(item.NumberOfWaveformSamples)
    kind = str(item.get("WaveformSampleInterpretation") or _BY_BITS.get(int(item.WaveformBitsAllocated)))
    if kind not in _SAMPLES:
        raise ValueError(f"samples of kind {kind} are not voltages")
    dtype = np.dtype(_SAMPLES[kind]).newbyteorder("<" if little else ">")
    data = bytes(item.WaveformData)
    if count < 1 or samples < 1 or len(data) < count * samples * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes do not hold {samples} samples of {count} channels")
    counts = np.frombuffer(data, dtype, count * samples).reshape(samples, count).T  # (channels, samples)
    signal = counts.astype(np.float64)
    padding = item.get("WaveformPaddingValue")
    if isinstance(padding, bytes) and len(padding) >= dtype.itemsize:
        signal[counts == np.frombuffer(padding[: dtype.itemsize], dtype)[0]] = np.nan
    names, units = [], []
    channels = list(item.ChannelDefinitionSequence)
    if len(channels) != count:
        raise ValueError(f"it defines {len(channels)} of {count} channels")
    for row, channel in enumerate(channels):
        factors = [channel.get("ChannelSensitivity"), channel.get("ChannelSensitivityCorrectionFactor")]
        factor = math.prod(float(one) for one in factors if one is not None)
        if factor == 0:
            raise ValueError(f"channel {row + 1} has a sensitivity of 0")
        signal[row] *= factor
        signal[row] += float(channel.get("ChannelBaseline") or 0)
        names.append(_lead_name(channel))
        units.append(_unit(channel))
    rate = float(item.SamplingFrequency)
    if not 0 < rate < 1e6:
        raise ValueError(f"its sampling frequency is {rate:g} Hz")
    offset = float(item.get("MultiplexGroupTimeOffset") or 0) / 1000
    return _Group(str(item.get("MultiplexGroupLabel") or ""), names, units, signal, rate, offset)


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


def _side_by_side(groups: list[_Group]) -> _Group:
    """One group of all leads; of a lead that several have, the longest stretch, which is the rhythm strip's."""
    starts = _start_times(groups)
    rate = groups[0].rate
    offsets = [round((start - min(starts)) * rate) for start in starts]
    total = max(at + group.signal.shape[1] for at, group in zip(offsets, groups, strict=True))
    if total > 4 * sum(group.signal.shape[1] for group in groups):
        raise DBetaError("has parts that lie far apart in time; export each of them as a file")
    rows: dict[str, tuple[int, np.ndarray, str]] = {}  # of each lead: first sample, values, unit
    for at, group in zip(offsets, groups, strict=True):
        for name, values, unit in zip(group.names, group.signal, group.units, strict=True):
            lead = known_lead(name) or name
            if lead not in rows or len(values) > len(rows[lead][1]):
                rows[lead] = at, values, unit
    signal = np.full((len(rows), total), np.nan)  # (channels, samples)
    for target, (at, values, _) in zip(signal, rows.values(), strict=True):
        target[at : at + len(values)] = values
    return _Group("", list(rows), [unit for *_, unit in rows.values()], signal, rate, 0.0)


def _start_times(groups: list[_Group]) -> list[float]:
    """Seconds at which each group begins; without stated times, a printout's columns follow one another."""
    stated = [group.offset for group in groups]
    longest = max(group.seconds for group in groups)
    columns = [group for group in groups if group.seconds < longest] or groups
    several_leads_each = len(set().union(*(group.leads for group in columns))) > len(columns)
    if any(stated) or len(columns) < 2 or not several_leads_each:
        return stated
    starts, end = [], 0.0
    for group in groups:
        is_column = any(group is one for one in columns)
        starts.append(end if is_column else 0.0)
        end += group.seconds if is_column else 0.0
    return starts


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
