"""Why WFDB, EDF, ISHNE and DICOM have readers of their own: equal to the libraries where these read a file, and able to
read what they cannot.
"""

import tracemalloc
import warnings

import numpy as np
import pydicom
import pyedflib
import pytest
import wfdb
from ecgdatakit import FileParser
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS
from dbeta.errors import DBetaError
from dbeta.io.read import read_ecg
from ecg_files import dicom_group, write_dicom, write_edf, write_ishne

EDF_KINDS = [pyedflib.FILETYPE_EDF, pyedflib.FILETYPE_EDFPLUS, pyedflib.FILETYPE_BDF, pyedflib.FILETYPE_BDFPLUS]


def in_ecgdatakit(path):
    """The leads by name as ecgdatakit reads them, in mV."""
    scale = {"uV": 1e-3, "µV": 1e-3, "mV": 1.0, "V": 1e3, "nV": 1e-6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leads = FileParser.parse(path).leads
    leads = [lead.to_physical() if lead.resolution_unit and lead.resolution else lead for lead in leads]
    return {lead.label: np.asarray(lead.samples) * scale[lead.units] for lead in leads if lead.units in scale}


def in_pyedflib(path):
    """The twelve leads as pyedflib reads them, in mV."""
    with pyedflib.EdfReader(str(path)) as file:
        scale = [1e-3 if file.getPhysicalDimension(row).strip() == "uV" else 1.0 for row in range(12)]
        return np.stack([file.readSignal(row) * scale[row] for row in range(12)])


def peak_memory(read):
    """Bytes that a call allocates at most."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", EDF_KINDS)
@pytest.mark.parametrize("unit", ["uV", "mV"])
@pytest.mark.parametrize(("rate", "seconds"), [(250, 8), (500, 10), (1000, 3)])
def test_edf_equals_the_libraries(tmp_path, make_ecg, kind, unit, rate, seconds):
    path = write_edf(tmp_path / "a.edf", make_ecg(seconds=seconds, sampling_rate=rate), kind, unit)
    read = read_ecg(path)
    np.testing.assert_allclose(read.signal, in_pyedflib(path), atol=1e-6)
    if kind in EDF_KINDS[:2]:
        other = in_ecgdatakit(path)
        np.testing.assert_allclose(read.signal, [other[lead] for lead in LEADS], atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:8] + "Müller, Jürgen".encode("latin-1").ljust(80) + data[88:],
        lambda data: data[:236] + b"-1      " + data[244:],
    ],
    ids=["accents", "recorder never stopped"],
)
def test_edf_that_pyedflib_refuses(tmp_path, make_ecg, change):
    ecg = make_ecg()
    path = write_edf(tmp_path / "a.edf", ecg)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(OSError, match=r"EDF|read|header|format|file"):
        pyedflib.EdfReader(str(path))
    np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=2.5e-4)


def test_edf_that_ecgdatakit_misreads(tmp_path, make_ecg):
    bdf = write_edf(tmp_path / "a.bdf", make_ecg(), pyedflib.FILETYPE_BDF)
    with pytest.raises(Exception, match=r"BDF .* not supported"):
        FileParser.parse(bdf)
    assert read_ecg(bdf).duration == 10
    # An interrupted recording, whose data records are 4 s apart, is joined without a word
    path = write_edf(tmp_path / "b.edf", make_ecg())
    data = path.read_bytes().replace(b"EDF+C", b"EDF+D", 1)
    path.write_bytes(data.replace(b"+5\x14\x14", b"+9\x14\x14", 1))
    assert len(in_ecgdatakit(path)["I"]) == 5000
    with pytest.raises(DBetaError, match="interrupted"):
        read_ecg(path)


@pytest.mark.parametrize("write", [write_edf, write_ishne])
def test_a_stretch_of_a_long_recording(tmp_path, make_ecg, write):
    """The library loads all of a recording; a day of 12 leads at 500 Hz would take 4 GB."""
    minute = make_ecg(seconds=60)
    path = write(tmp_path / "a", ECG(np.tile(minute.signal, 20), 500))
    read_ecg(path, duration=1)  # imports
    size = 12 * 500 * 60 * 20
    assert peak_memory(lambda: FileParser.parse(path)) > 2 * size
    assert peak_memory(lambda: read_ecg(path, start=600, duration=2)) < 0.5 * size


@pytest.mark.parametrize("leads", [LEADS, INDEPENDENT_LEADS, ("II", "V5")])
@pytest.mark.parametrize("nanovolts", [1000, 2500, 5000])
@pytest.mark.parametrize("rate", [180, 500])
def test_ishne_equals_ecgdatakit(tmp_path, make_ecg, leads, nanovolts, rate):
    path = write_ishne(tmp_path / "a.ecg", make_ecg(leads=leads, sampling_rate=rate), nanovolts)
    read, other = read_ecg(path), in_ecgdatakit(path)
    assert set(other) == set(leads)
    for lead in leads:
        np.testing.assert_allclose(read[lead], other[lead], atol=1e-6)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("unit", ["uV", "mV"])
@pytest.mark.parametrize("leads", [LEADS, LEADS[::-1], INDEPENDENT_LEADS])
def test_dicom_equals_the_libraries(tmp_path, make_ecg, syntax, unit, leads):
    group = dicom_group(make_ecg(), leads, unit=unit, big_endian=syntax == ExplicitVRBigEndian)
    path = write_dicom(tmp_path / "a.dcm", [group], syntax=syntax)
    read, other = read_ecg(path), in_ecgdatakit(path)
    for lead in leads:
        np.testing.assert_allclose(read[lead], other[lead], atol=1e-6)
    array = pydicom.dcmread(path).waveform_array(0).T * (1e-3 if unit == "uV" else 1)
    # pydicom takes big-endian samples for little-endian ones
    assert np.allclose([read[lead] for lead in leads], array, atol=1e-6) == (syntax != ExplicitVRBigEndian)


def test_dicom_padding_is_a_voltage_to_the_libraries(tmp_path, make_ecg):
    group = dicom_group(make_ecg(), ("I", "II"))
    samples = np.frombuffer(group.WaveformData, "<i2").copy()
    samples[:200] = -32768
    group.WaveformData = samples.tobytes()
    group.add_new("WaveformPaddingValue", "OW", b"\0\x80")
    path = write_dicom(tmp_path / "a.dcm", [group])
    assert pydicom.dcmread(path).waveform_array(0)[:100].max() < -100_000
    assert np.isnan(read_ecg(path)["I"][:100]).all()
    assert np.isfinite(read_ecg(path)["I"][100:]).all()


def test_dicom_of_several_groups_is_one_group_to_ecgdatakit(tmp_path, make_ecg):
    ecg = make_ecg()
    columns = []
    for i in range(4):
        part = ECG(ecg.signal[:, 1250 * i : 1250 * (i + 1)], 500)
        columns.append(dicom_group(part, LEADS[3 * i : 3 * i + 3], f"COLUMN {i}", 2500 * i))
    path = write_dicom(tmp_path / "a.dcm", columns)
    assert set(in_ecgdatakit(path)) == {"I", "II", "III"}
    with pytest.warns(match="one after the other"):
        assert np.isfinite(read_ecg(path).signal[3:]).any(axis=1).all()


def test_dicom_without_preamble_is_unknown_to_the_libraries(tmp_path, make_ecg):
    path = write_dicom(tmp_path / "a.dcm", [dicom_group(make_ecg())], preamble=False)
    with pytest.raises(pydicom.errors.InvalidDicomError):
        pydicom.dcmread(path)
    with pytest.raises(Exception, match=r"(?i)no parser|unsupported|unknown|format"):
        FileParser.parse(path)
    assert read_ecg(path).duration == 10


def write_wfdb(folder, counts, form="16", unit="mV", date=""):
    """A record of one lead, in the given storage format, 100 counts per unit."""
    stored = np.diff(counts, prepend=0).astype(np.int8) if form == "8" else counts.astype("<i2")
    (folder / "a.dat").write_bytes(stored.tobytes())
    header = folder / "a.hea"
    header.write_text(f"a 1 250 {len(counts)}{date}\na.dat {form} 100/{unit} 16 0 0 0 0 II\n", encoding="utf-8")
    return header


@pytest.fixture
def counts(make_ecg):
    return np.round(make_ecg(seconds=4, sampling_rate=250)["II"] * 100).astype(int)


def test_wfdb_that_the_library_refuses(tmp_path, counts):
    header = write_wfdb(tmp_path, counts, date=" 25:61:00 31/02/2020")
    with pytest.raises(ValueError, match=r"time|hour|date|format"):
        wfdb.rdrecord(str(header.with_suffix("")))
    np.testing.assert_allclose(read_ecg(header)["II"], counts / 100, atol=1e-6)
    header = write_wfdb(tmp_path, counts)
    header.with_suffix(".dat").write_bytes(header.with_suffix(".dat").read_bytes()[:-1001])
    with pytest.raises(ValueError, match="not loaded correctly"):
        wfdb.rdrecord(str(header.with_suffix("")))
    with pytest.warns(match="cut short"):
        np.testing.assert_allclose(read_ecg(header)["II"], counts[:499] / 100, atol=1e-6)


def test_wfdb_that_the_library_misreads(tmp_path, counts):
    header = write_wfdb(tmp_path, counts, unit="µV")
    assert wfdb.rdrecord(str(header.with_suffix(""))).units == ["V"]
    with pytest.warns(match="QRS complexes measure"):
        np.testing.assert_allclose(read_ecg(header)["II"], counts / 100_000, atol=1e-8)
    header = write_wfdb(tmp_path, np.round(100 * np.sin(np.arange(1000) / 7)).astype(int), "8")
    whole = wfdb.rdrecord(str(header.with_suffix(""))).p_signal[250:, 0]
    part = wfdb.rdrecord(str(header.with_suffix("")), sampfrom=250).p_signal[:, 0]
    assert np.abs(part - whole).min() > 0.8
    np.testing.assert_allclose(read_ecg(header, start=1)["II"], whole, atol=1e-6)
