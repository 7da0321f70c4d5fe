"""Real files: each is read or refused as expected, compared with other readers and published numbers."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest
from scipy.signal import find_peaks

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import find_ecgs, read_ecg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wfdb

pytestmark = pytest.mark.shared

# Sampling rate, seconds, age, beginning of the report, and the heart rate that the device itself has measured
GOOD = {
    "dicom-12-lead-1000hz.dcm": (1000, 10.0, 42, "RITMO SINUSALE; ECG NORMALE", 60_000 / 982),
    "hl7-aecg-fda-subject1.xml": (500, 10.0, 46, "Sinus Rhythm", None),
    "hl7-aecg-liryc.xml": (100, 10.0, None, "Rythme sinusal avec ESA", None),
    "philips-sierra-1.03.xml": (500, 10.528, 50, "Sinus bradycardia; Nonspecific", 41),
    "philips-sierra-1.04.01.xml": (500, 10.6, 69, "Sinus rhythm; Abnormal R-wave", 64),
    "scp-ecg-example.scp": (500, 10.0, 49, "", None),
}

BAD = {
    "hl7-aecg-empty.xml": "No rhythm series",
    "hl7-aecg-no-signal.xml": "lacks lead I|holds only 0.026 s",
    "philips-sierra-invalid.xml": "unsupported",
}


def read(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)
        return read_ecg(path, **options)


def beats(ecg):
    """Samples of the QRS complexes, by the slope of all leads."""
    steep = np.sqrt(np.square(np.diff(ecg.signal, axis=1)).sum(axis=0))
    steep = np.convolve(steep, np.ones(int(0.05 * ecg.sampling_rate)), "same")
    return find_peaks(steep, height=0.4 * np.percentile(steep, 99.5), distance=int(0.3 * ecg.sampling_rate))[0]


def test_there_are_no_other_files(shared):
    assert {path.name for path in (shared / "formats").iterdir()} == {*GOOD, *BAD}
    assert {path.name for path in find_ecgs(shared / "formats")} == {*GOOD, *BAD}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file(shared, name):
    rate, seconds, age, report, heart_rate = GOOD[name]
    ecg = read(shared / "formats" / name)
    assert (ecg.sampling_rate, ecg.duration, ecg.leads) == (rate, seconds, LEADS)
    assert ecg.meta.get("age") == age
    assert ecg.report.startswith(report)
    assert ecg.patient_id is None
    assert np.isfinite(ecg.signal).all()
    at, width = beats(ecg), int(0.06 * rate)
    lead = ecg["II"]
    r_waves = [lead[max(one - width, 0) : one + width].max() - np.median(lead) for one in at]
    assert 0.1 < np.median(r_waves) < 3
    if name != "hl7-aecg-liryc.xml":  # a drawing, not a heart
        np.testing.assert_allclose(ecg["I"] + ecg["III"], ecg["II"], atol=0.02)
    if heart_rate:
        assert 60 * rate / np.median(np.diff(at)) == pytest.approx(heart_rate, rel=0.02)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file(shared, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DBetaError, match=BAD[name]) as caught:
            read_ecg(shared / "formats" / name)
    message = str(caught.value)
    assert name in message
    assert "\n" not in message


def test_dicom_against_pydicom(shared):
    path = shared / "formats" / "dicom-12-lead-1000hz.dcm"
    expected = pydicom.dcmread(path).waveform_array(0).T / 1000  # µV → mV
    np.testing.assert_allclose(read(path).signal, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["hl7-aecg-fda-subject1.xml", "hl7-aecg-liryc.xml"])
def test_aecg_against_its_digits(shared, name):
    ecg = read(shared / "formats" / name)
    found = {}
    for sequence in ElementTree.parse(shared / "formats" / name).iter("{urn:hl7-org:v3}sequence"):
        code = sequence.find("{*}code").get("code")
        if code.startswith("MDC_ECG_LEAD_"):
            scale = sequence.find("{*}value/{*}scale")
            assert scale.get("unit") == "uV"
            digits = np.array(sequence.find("{*}value/{*}digits").text.split(), dtype=float)
            found.setdefault(code, digits * float(scale.get("value")) / 1000)  # the first is of the rhythm
    for lead in LEADS:
        np.testing.assert_allclose(ecg[lead], found[f"MDC_ECG_LEAD_{lead.upper()}"], atol=1e-6)


def test_scp_against_the_same_recording_in_xml(shared):
    xml = read(shared / "formats" / "hl7-aecg-fda-subject1.xml")
    scp = read(shared / "formats" / "scp-ecg-example.scp")
    np.testing.assert_allclose(xml.signal, scp.signal, atol=0.01)


@pytest.mark.parametrize("name", ["philips-sierra-1.03.xml", "philips-sierra-1.04.01.xml"])
def test_philips_against_what_the_device_measured(shared, name):
    """The size of the QRS in each lead, which the file states in µV beside the compressed samples."""
    ecg = read(shared / "formats" / name)
    stated = {
        item.get("leadname"): float(item.find("{*}qrsppk").text) / 1000
        for item in ElementTree.parse(shared / "formats" / name).iter(
            "{http://www3.medical.philips.com}leadmeasurement"
        )
    }
    width = int(0.06 * ecg.sampling_rate)
    inner = [at for at in beats(ecg) if width < at < ecg.signal.shape[1] - width]
    ours = {lead: np.median([np.ptp(ecg[lead][at - width : at + width]) for at in inner]) for lead in LEADS}
    ratios = np.array([ours[lead] / stated[lead] for lead in LEADS])
    # Raised ST segments, which the first file has, are within 60 ms of the QRS too
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
    assert ((ratios > 0.85) & (ratios < 1.7)).all()


def test_wfdb_against_wfdb(shared):
    for path in find_ecgs(shared / "challenge-2021")[::7]:
        expected = wfdb.rdrecord(str(path.with_suffix("")), sampfrom=250, sampto=1500).p_signal.T
        ecg = read(path, start=0.5, duration=2.5)
        assert ecg.sampling_rate == 500
        np.testing.assert_allclose(ecg.signal, expected, atol=1e-5)


def test_a_real_file_whose_limb_leads_contradict_one_another(shared):
    with pytest.warns(DBetaWarning, match="limb leads do not agree"):
        read_ecg(shared / "formats" / "hl7-aecg-liryc.xml")
