"""Writes an ECG to minimal valid files of clinical formats, following the formats' specifications."""

import base64
import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dbeta.ecg import INDEPENDENT_LEADS, LEADS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyedflib

#: The patient of each file, who must not appear in results unless requested.
PATIENT = {"id": "MRN-0815", "first": "Erika", "last": "Mustermann", "born": (1951, 3, 27)}


def counts(ecg, lead, microvolts=5.0):
    """A lead as little-endian 16-bit counts of `microvolts` each."""
    return np.round(ecg[lead] * 1000 / microvolts).astype("<i2")


def write_aecg(path, ecg, leads=LEADS, statements=("Sinus rhythm",), unit="uV", scale=5.0, increment=None):
    """HL7 aECG (2005 implementation guide), with the statements as an annotation set."""
    step = increment or 1 / ecg.sampling_rate
    microvolts = scale * {"uV": 1, "nV": 1e-3, "mV": 1e3}[unit]
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}" codeSystem="2.16.840.1.113883.6.24"/>'
        f'<value xsi:type="SLIST_PQ"><origin value="0" unit="{unit}"/><scale value="{scale}" unit="{unit}"/>'
        f"<digits>{' '.join(map(str, counts(ecg, lead, microvolts)))}</digits></value></sequence></component>"
        for lead in leads
    )
    said = "".join(
        '<component><annotation><code code="MDC_ECG_INTERPRETATION_STATEMENT"/>'
        f'<value xsi:type="ST">{text}</value></annotation></component>'
        for text in statements
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1.2.3"/>'
        '<effectiveTime><low value="20200401103000"/></effectiveTime><componentOf><timepointEvent><componentOf>'
        f'<subjectAssignment><subject><trialSubject><id root="1.2" extension="{PATIENT["id"]}"/>'
        f"<subjectDemographicPerson><name><family>{PATIENT['last']}</family><given>{PATIENT['first']}</given></name>"
        '<administrativeGenderCode code="F"/><birthTime value="19510327"/></subjectDemographicPerson></trialSubject>'
        "</subject></subjectAssignment></componentOf></timepointEvent></componentOf><component><series>"
        '<code code="RHYTHM"/><component><sequenceSet><component><sequence><code code="TIME_RELATIVE"/>'
        f'<value xsi:type="GLIST_PQ"><head value="0" unit="s"/><increment value="{step}" unit="s"/></value>'
        f"</sequence></component>{sequences}</sequenceSet></component><subjectOf><annotationSet>"
        f'<component><annotation><code code="MDC_ECG_INTERPRETATION"/>{said}</annotation></component>'
        "</annotationSet></subjectOf></series></component></AnnotatedECG>",
        encoding="utf-8",
    )
    return path


def write_muse(path, ecg, leads=INDEPENDENT_LEADS, statements=("Normal sinus rhythm",), microvolts=4.88):
    """GE MUSE XML (restecg.dtd): eight leads in Base64, and a median beat, which must not be read."""

    def waveform(kind, samples):
        inner = "".join(
            f"<LeadData><LeadByteCountTotal>{2 * samples}</LeadByteCountTotal>"
            f"<LeadSampleCountTotal>{samples}</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>{microvolts}"
            "</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
            f"<LeadSampleSize>2</LeadSampleSize><LeadID>{lead}</LeadID><WaveFormData>"
            f"{base64.b64encode(counts(ecg, lead, microvolts)[:samples].tobytes()).decode()}</WaveFormData></LeadData>"
            for lead in leads
        )
        return (
            f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{ecg.sampling_rate:g}</SampleBase>"
            f"<SampleExponent>0</SampleExponent>{inner}</Waveform>"
        )

    said = "".join(
        f"<DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>{text}</StmtText></DiagnosisStatement>"
        for text in statements
    )
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG><MuseInfo>'
        "<MuseVersion>9.0</MuseVersion></MuseInfo><PatientDemographics>"
        f"<PatientID>{PATIENT['id']}</PatientID><PatientAge>69</PatientAge><AgeUnits>YEARS</AgeUnits>"
        f"<DateofBirth>03-27-1951</DateofBirth><Gender>FEMALE</Gender><PatientLastName>{PATIENT['last']}"
        f"</PatientLastName><PatientFirstName>{PATIENT['first']}</PatientFirstName></PatientDemographics>"
        "<TestDemographics><AcquisitionDevice>MAC55</AcquisitionDevice><OverreaderLastName>House"
        f"</OverreaderLastName></TestDemographics><Diagnosis>{said}</Diagnosis>"
        f"{waveform('Median', 600)}{waveform('Rhythm', ecg.signal.shape[1])}</RestingECG>",
        encoding="latin-1",
    )
    return path


def write_mortara(path, ecg, statements=("Sinus rhythm",)):
    """Mortara ELI XML: twelve channels in Base64 at so many counts per mV."""
    channels = "".join(
        f'<CHANNEL OFFSET="0" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="200" DURATION="{ecg.signal.shape[1]}" '
        f'SAMPLE_FREQ="{ecg.sampling_rate:g}" NAME="{lead}" ENCODING="BASE64" '
        f'DATA="{base64.b64encode(counts(ecg, lead).tobytes()).decode()}"/>'
        for lead in ecg.leads
    )
    said = "".join(f'<STATEMENT TEXT="{text}" REASON="because"/>' for text in statements)
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?><ECG ACQUISITION_TIME="20200401103000" AGE="69" AGE_UNITS="YEARS">'
        f'<SUBJECT LAST_NAME="{PATIENT["last"]}" FIRST_NAME="{PATIENT["first"]}" ID="{PATIENT["id"]}" GENDER="Female" '
        'DOB="19510327"/><SOURCE TYPE="REST" MANUFACTURER="Mortara Instrument, Inc." MODEL="ELI 250"/>'
        f"<AUTOMATIC_INTERPRETATION>{said}</AUTOMATIC_INTERPRETATION>{channels}</ECG>",
        encoding="utf-8",
    )
    return path


def write_edf(path, ecg, kind=pyedflib.FILETYPE_EDFPLUS, unit="uV", extra=True):
    """EDF(+) or BDF(+), by pyedflib; with a slow channel besides the leads."""
    factor = {"uV": 1e3, "mV": 1.0, "nV": 1e6, "V": 1e-3}[unit]
    with pyedflib.EdfWriter(str(path), len(ecg.leads) + extra, file_type=kind) as file:
        if kind in (pyedflib.FILETYPE_EDFPLUS, pyedflib.FILETYPE_BDFPLUS):
            file.setPatientCode(PATIENT["id"])
            file.setPatientName(f"{PATIENT['last']}_{PATIENT['first']}")
            file.setSex(0)
            file.setBirthdate(pyedflib.edfwriter.date(*PATIENT["born"]))
            file.setStartdatetime(pyedflib.edfwriter.datetime(2020, 4, 1, 10, 30))
            file.setEquipment("Holter_9")
        bits = 2**15 if kind in (pyedflib.FILETYPE_EDF, pyedflib.FILETYPE_EDFPLUS) else 2**23
        signal = list(ecg.signal.astype(np.float64) * factor)
        limits = {"dimension": unit, "physical_max": 8 * factor, "physical_min": -8 * factor}
        limits |= {"digital_max": bits - 1, "digital_min": -bits, "prefilter": "", "transducer": ""}
        for row, lead in enumerate(ecg.leads):
            file.setSignalHeader(row, {"label": f"ECG {lead}", "sample_frequency": ecg.sampling_rate, **limits})
        if extra:
            slow = limits | {"dimension": "mmHg", "physical_max": 250, "physical_min": 0}
            file.setSignalHeader(len(ecg.leads), {"label": "ABP", "sample_frequency": 10, **slow})
            signal.append(np.full(round(ecg.duration * 10), 100.0))
        file.writeSamples(signal)
    return Path(path)


def write_ishne(path, ecg, nanovolts=2500, remark=b"a remark"):
    """ISHNE 1.0: a header of 522 bytes, a remark, and samples lead by lead (Badilini 1998)."""
    codes = {"I": 5, "II": 6, "III": 7, "aVR": 8, "aVL": 9, "aVF": 10} | {f"V{n}": 10 + n for n in range(1, 7)}
    spare = [-9] * (12 - len(ecg.leads))
    year, month, day = PATIENT["born"]
    header = struct.pack("<iiiih", len(remark), ecg.signal.shape[1], 522, 522 + len(remark), 1)
    for text, size in ((PATIENT["first"], 40), (PATIENT["last"], 40), (PATIENT["id"], 20)):
        header += text.encode().ljust(size, b"\0")
    header += struct.pack("<hh", 2, 1) + struct.pack("<3h", day, month, year)
    header += struct.pack("<3h", 1, 4, 2020) + struct.pack("<3h", 1, 4, 2020) + struct.pack("<3h", 10, 30, 0)
    header += struct.pack("<h", len(ecg.leads))
    header += struct.pack("<12h", *(codes[lead] for lead in ecg.leads), *spare)
    header += struct.pack("<12h", *[1] * len(ecg.leads), *spare)
    header += struct.pack("<12h", *[nanovolts] * len(ecg.leads), *spare)
    header += struct.pack("<h", 0) + b"Holter 9".ljust(40, b"\0") + struct.pack("<h", round(ecg.sampling_rate))
    header = header.ljust(512, b"\0")
    samples = np.stack([counts(ecg, lead, nanovolts / 1000) for lead in ecg.leads], axis=1)  # (samples, leads)
    path.write_bytes(b"ISHNE1.0" + struct.pack("<H", 0) + header + remark + samples.tobytes())
    return path


def write_mfer(path, ecg, microvolts=5):
    """MFER (ISO 22077-1): tag, length, value; the samples in blocks of a second."""
    codes = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {f"V{n}": n + 2 for n in range(1, 7)}

    def item(tag, value):
        size = len(value)
        length = bytes([size]) if size < 128 else bytes([0x84]) + size.to_bytes(4, "big")
        return bytes([tag]) + length + value

    block = round(ecg.sampling_rate)
    leads = np.stack([counts(ecg, lead, microvolts) for lead in ecg.leads])  # (leads, samples)
    pieces = leads.reshape(len(leads), -1, block).swapaxes(0, 1)  # (seconds, leads, block)
    content = item(0x40, b"MFR Standard 12 leads ECG".ljust(32)) + item(0x01, b"\1")  # little-endian
    content += item(0x81, f"{PATIENT['last']}^^{PATIENT['first']}".encode()) + item(0x82, PATIENT["id"].encode())
    content += item(0x83, bytes([69, 0, 0]) + struct.pack("<H", 1951) + bytes([3, 27])) + item(0x84, b"\2")
    content += item(0x0B, bytes([0, 0]) + struct.pack("<H", block))  # Hz
    content += item(0x0C, bytes([0, 256 - 6]) + struct.pack("<H", microvolts)) + item(0x0A, b"\0")  # × 10⁻⁶ V, int16
    content += item(0x05, bytes([len(leads)])) + item(0x04, struct.pack("<H", block))
    content += item(0x06, struct.pack("<H", len(pieces)))
    for row, lead in enumerate(ecg.leads):
        content += bytes([0x3F, row]) + bytes([3]) + item(0x09, bytes([codes[lead]]))
    content += item(0x1E, pieces.tobytes()) + bytes([0x80, 0])
    path.write_bytes(content)
    return path


def code(value, scheme, meaning):
    """A coded entry of DICOM."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def dicom_group(ecg, leads=LEADS, label="RHYTHM", offset=None, unit="uV", big_endian=False, names=None):
    """A multiplex group of a DICOM waveform: 16 bits of 5 µV each, named as PS3.16 CID 3001 does."""
    numbers = {"III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {lead: n for n, lead in enumerate(INDEPENDENT_LEADS, 1)}
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = len(leads), ecg.signal.shape[1]
    group.SamplingFrequency = ecg.sampling_rate
    if label:
        group.MultiplexGroupLabel = label
    if offset is not None:
        group.MultiplexGroupTimeOffset = offset
    group.ChannelDefinitionSequence = Sequence()
    for position, lead in enumerate(leads):
        channel = Dataset()
        meaning = names[position] if names else f"Lead {lead}"
        value, scheme = ("local", "99LOCAL") if names else (f"2:{numbers[lead]}", "MDC")
        channel.ChannelSourceSequence = Sequence([code(value, scheme, meaning)])
        channel.ChannelSensitivity = {"uV": "5", "mV": "0.005", "nV": "5000"}[unit]
        channel.ChannelSensitivityUnitsSequence = Sequence([code(unit, "UCUM", unit)])
        channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "0"
        channel.ChannelSampleSkew, channel.WaveformBitsStored = "0", 16
        group.ChannelDefinitionSequence.append(channel)
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    samples = np.stack([counts(ecg, lead) for lead in leads], axis=1)  # (samples, channels)
    group.add_new("WaveformData", "OW", samples.astype(">i2" if big_endian else "<i2").tobytes())
    return group


def write_dicom(path, groups, statements=("Sinus rhythm",), syntax=ExplicitVRLittleEndian, preamble=True):
    """A general ECG waveform with these multiplex groups."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.2"
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.3.4", syntax
    body = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    body.SOPClassUID, body.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    body.Modality, body.StudyDate = "ECG", "20200401"
    body.Manufacturer, body.ManufacturerModelName = "Acme", "One"
    body.PatientName, body.PatientID = f"{PATIENT['last']}^{PATIENT['first']}", PATIENT["id"]
    body.PatientBirthDate, body.PatientSex, body.OperatorsName = "19510327", "F", "Ratched^Mildred"
    body.WaveformSequence = Sequence(groups)
    body.WaveformAnnotationSequence = Sequence()
    for text in statements:
        item = Dataset()
        item.ReferencedWaveformChannels, item.AnnotationGroupNumber, item.UnformattedTextValue = [1, 0], 0, text
        body.WaveformAnnotationSequence.append(item)
    rate = Dataset()
    rate.ConceptNameCodeSequence = Sequence([code("8867-4", "LN", "Heart rate")])
    rate.ReferencedWaveformChannels, rate.AnnotationGroupNumber, rate.NumericValue = [1, 0], 1, "70"
    body.WaveformAnnotationSequence.append(rate)
    if preamble:
        pydicom.dcmwrite(path, body, enforce_file_format=True)
    else:
        del body.file_meta
        body.preamble = None
        implicit = syntax == ImplicitVRLittleEndian
        little = syntax != ExplicitVRBigEndian
        pydicom.dcmwrite(path, body, implicit_vr=implicit, little_endian=little)
    return Path(path)
