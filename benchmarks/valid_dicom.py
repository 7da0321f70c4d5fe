"""Valid DICOM waveforms: kinds of samples, calibrations, names, padding, and multiplex groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dbeta.ecg import LEADS
from valid_recordings import Draw, Valid, quantised

_NUMBERS = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {f"V{n}": n + 2 for n in range(1, 7)}
_UNITS = {"uV": 1e-3, "mV": 1.0, "nV": 1e-6, "V": 1e3}
_KINDS = {"SS": (16, "<i2"), "US": (16, "<u2"), "SL": (32, "<i4")}


def dicom(draw: Draw, folder: Path) -> Valid:
    """One group of leads at one time, perhaps with an averaged beat beside it."""
    rate, samples = draw.one_of((250, 500, 1000)), draw.integer(500, 2500)
    syntax = draw.one_of(("explicit", "implicit", "big"))
    kind = draw.one_of(tuple(_KINDS))
    leads, ecg = draw.leads(), draw.ecg(rate, samples)
    group, expected, steps = _group(draw, {lead: ecg[lead] for lead in leads}, rate, kind, syntax == "big")
    if draw.chance():
        group.MultiplexGroupTimeOffset = 0
    groups = [group]
    if draw.chance():
        beat = {lead: row[: rate // 2] for lead, row in ecg.items()}
        average = _group(draw, beat, rate, "SS", syntax == "big")[0]
        average.MultiplexGroupLabel = draw.one_of(("MEDIAN BEAT", "REPRESENTATIVE BEAT"))
        groups.insert(draw.integer(0, 1), average)
    path = _write(folder / "rec.dcm", groups, syntax)
    own = groups.index(group)
    # pydicom takes big-endian samples for little-endian ones, and padding for voltages
    other = None if syntax == "big" or "WaveformPaddingValue" in group else (lambda: _by_pydicom(path, own, leads))
    return Valid(path, rate, expected, steps, independent=other)


def dicom_groups(draw: Draw, folder: Path) -> Valid:
    """Several groups: the leads shared out over them, the columns of a printout, or one stretch after another."""
    rate, layout = draw.one_of((250, 500)), draw.one_of(("beside", "columns", "after"))
    length = draw.integer(500, 1200)
    ecg = draw.ecg(rate, length * (4 if layout == "columns" else 2 if layout == "after" else 1))
    total = len(ecg["I"])
    stated = draw.chance()
    parts: list[tuple[list[str], int, int]]  # leads, first sample, one after the last
    if layout == "beside":
        at = draw.integer(3, 9)
        order = draw.order(LEADS)
        parts = [(order[:at], 0, total), (order[at:], 0, total)]
        stated = True  # without times, two groups may also be the columns of a printout
    elif layout == "columns":
        parts = [(list(LEADS[3 * i : 3 * i + 3]), length * i, length * (i + 1)) for i in range(4)]
    else:
        parts = [(list(LEADS), length * i, length * (i + 1)) for i in range(2)]
        stated = True
    expected = {lead: np.full(total, np.nan) for lead in LEADS}
    steps: dict[str, float] = {}
    groups = []
    for leads, begin, end in parts:
        group, values, sizes = _group(draw, {lead: ecg[lead][begin:end] for lead in leads}, rate, "SS", False)
        if stated:
            group.MultiplexGroupTimeOffset = 1000 * begin / rate
        for lead in leads:
            expected[lead][begin:end] = values[lead]
            steps[lead] = max(steps.get(lead, 0), sizes[lead])
        groups.append(group)
    return Valid(_write(folder / "rec.dcm", groups, "explicit"), rate, expected, steps)


def _group(draw, ecg, rate, kind, big):  # type: ignore[no-untyped-def]
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    bits, dtype = _KINDS[kind]
    group = Dataset()
    samples = len(next(iter(ecg.values())))
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = len(ecg), samples
    group.SamplingFrequency = rate
    if draw.chance():
        group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = Sequence()
    unit = draw.one_of(tuple(_UNITS))
    correction = draw.one_of(("1", "1", "0.5"))
    naming = draw.one_of(("MDC", "SCPECG", "meaning", "label"))
    # Values of the padding that also occur between real samples are samples there
    padding = draw.one_of((None, None, -32768, 0)) if kind == "SS" else None
    # A value that samples have too is padding only in a stretch longer than any that an ECG is flat for
    shortest = rate * 3 // 10 if padding == 0 else 1
    padding = None if shortest > samples // 4 else padding
    before, after = (draw.one_of((0, draw.integer(shortest, samples // 4))) if padding is not None else 0 for _ in "12")
    columns, expected, steps = [], {}, {}
    for lead, values in ecg.items():
        step = draw.one_of((0.001, 0.005, 0.0025))
        offset = draw.one_of((0.0, 0.1)) if kind != "US" else -8.0
        counts = quantised(values - offset, step, 0 if kind == "US" else -32000, 32000)
        held = counts * step + offset
        if padding is not None:
            pad = np.zeros(samples, bool)
            pad[:before] = pad[samples - after :] = True
            if padding == 0:
                # so that the stretch of padding ends where it should
                counts[(counts == 0) & ~pad] = np.where(np.arange(((counts == 0) & ~pad).sum()) % 2, 0, 1)
                for edge in (before, samples - after - 1):
                    counts[edge] = 1 if not pad[edge] else counts[edge]
            held = np.where(pad, np.nan, counts * step + offset)
            counts = np.where(pad, padding, counts)
        expected[lead], steps[lead] = held, step
        columns.append(counts)
        channel = Dataset()
        code = {"MDC": (f"2:{_NUMBERS[lead]}", "MDC"), "SCPECG": (f"5.6.3-9-{_NUMBERS[lead]}", "SCPECG")}
        value, scheme = code.get(naming, ("local", "99LOCAL"))
        meaning = f"Lead {lead}" if naming == "meaning" else "unnamed"
        channel.ChannelSourceSequence = Sequence([_coded(value, scheme, meaning)])
        if naming == "label":
            channel.ChannelLabel = lead
        channel.ChannelSensitivity = f"{step / _UNITS[unit] / float(correction):.10g}"
        channel.ChannelSensitivityUnitsSequence = Sequence([_coded(unit, "UCUM", unit)])
        channel.ChannelSensitivityCorrectionFactor = correction
        channel.ChannelBaseline = f"{offset / _UNITS[unit]:.10g}"
        channel.ChannelSampleSkew, channel.WaveformBitsStored = "0", bits
        group.ChannelDefinitionSequence.append(channel)
    if padding is not None:
        group.add_new("WaveformPaddingValue", "OW", np.array(padding).astype(">i2" if big else "<i2").tobytes())
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = bits, kind
    data = np.stack(columns, axis=1).astype(np.dtype(dtype).newbyteorder(">" if big else "<"))
    group.add_new("WaveformData", "OW", data.tobytes())
    return group, expected, steps


def _coded(value: str, scheme: str, meaning: str):  # type: ignore[no-untyped-def]
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _write(path, groups, syntax):  # type: ignore[no-untyped-def]
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = {
        "explicit": ExplicitVRLittleEndian,
        "implicit": ImplicitVRLittleEndian,
        "big": ExplicitVRBigEndian,
    }[syntax]
    body = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    body.SOPClassUID, body.SOPInstanceUID, body.Modality = meta.MediaStorageSOPClassUID, "1.2.3.4", "ECG"
    body.WaveformSequence = Sequence(groups)
    pydicom.dcmwrite(path, body, enforce_file_format=True)
    return path


def _by_pydicom(path: Path, group: int, leads: list[str]) -> dict[str, np.ndarray]:
    import pydicom

    body = pydicom.dcmread(path)
    channels = body.WaveformSequence[group].ChannelDefinitionSequence
    array = body.waveform_array(group)
    return {
        lead: array[:, row] * _UNITS[channels[row].ChannelSensitivityUnitsSequence[0].CodeValue]
        for row, lead in enumerate(leads)
    }
