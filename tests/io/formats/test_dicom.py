import warnings

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import read_ecg
from ecg_files import dicom_group, write_dicom


def part(ecg, begin, end):
    """A stretch of a recording in seconds."""
    rate = int(ecg.sampling_rate)
    return ECG(ecg.signal[:, int(begin * rate) : int(end * rate)], rate, ecg.leads)


def failure(path):
    with pytest.raises(DBetaError) as caught:
        read_ecg(path)
    return str(caught.value)


@pytest.mark.parametrize("unit", ["uV", "mV", "nV"])
@pytest.mark.parametrize(
    ("syntax", "preamble"),
    [
        (ExplicitVRLittleEndian, True),
        (ImplicitVRLittleEndian, True),
        (ExplicitVRBigEndian, True),
        (ExplicitVRLittleEndian, False),
        (ImplicitVRLittleEndian, False),
    ],
)
def test_a_general_ecg(tmp_path, make_ecg, unit, syntax, preamble):
    ecg = make_ecg(seconds=4)
    group = dicom_group(ecg, unit=unit, big_endian=syntax == ExplicitVRBigEndian)
    read = read_ecg(write_dicom(tmp_path / "a", [group], syntax=syntax, preamble=preamble))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    assert (read.sampling_rate, read.leads, read.report) == (500, LEADS, "Sinus rhythm")
    assert read.meta == {"age": 69, "sex": "female", "device": "Acme One", "source": "a", "duration": 4}
    assert read.patient_id is None


def test_the_rhythm_and_not_the_median_beat(tmp_path, make_ecg):
    ecg = make_ecg()
    median = part(ecg, 0, 1.2)
    for label in ("MEDIAN BEAT", "REPRESENTATIVE", "", None):
        for groups in ([dicom_group(ecg), dicom_group(median, label=label)], [dicom_group(median, label=label)] * 2):
            path = write_dicom(tmp_path / "a.dcm", groups)
            if len({group.NumberOfWaveformSamples for group in groups}) == 2:
                assert read_ecg(path).duration == 10
                groups.reverse()
                assert read_ecg(write_dicom(tmp_path / "a.dcm", groups)).duration == 10
            elif label:
                assert "only an averaged beat" in failure(path)


def test_the_group_with_twelve_leads(tmp_path, make_ecg):
    ecg = make_ecg()
    strip = dicom_group(make_ecg(seconds=30), leads=("II",), label="RHYTHM STRIP")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_ecg(write_dicom(tmp_path / "a.dcm", [strip, dicom_group(ecg)]))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)


@pytest.mark.parametrize("timed", [True, False])
def test_columns_of_a_printout_and_their_rhythm_strip(tmp_path, make_ecg, timed):
    ecg = make_ecg()
    groups = [
        dicom_group(part(ecg, at, at + 2.5), LEADS[i : i + 3], "COLUMN", 1000 * at if timed else None)
        for i, at in zip(range(0, 12, 3), (0, 2.5, 5, 7.5), strict=True)
    ]
    groups.append(dicom_group(ecg, ("II",), "RHYTHM STRIP", 0 if timed else None))
    path = write_dicom(tmp_path / "a.dcm", groups)
    with pytest.warns(DBetaWarning, match=r"a\.dcm: shows its leads one after the other"):
        read = read_ecg(path)
    assert read.duration == 10
    np.testing.assert_allclose(read["II"], ecg["II"], atol=0.0026)
    for row, lead in enumerate(LEADS):
        if lead != "II":
            shown = slice(1250 * (row // 3), 1250 * (row // 3 + 1))
            np.testing.assert_allclose(read[lead][shown], ecg[lead][shown], atol=0.0026)
            assert np.isnan(np.delete(read[lead], np.r_[shown])).all()


def test_leads_by_what_the_code_means(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    names = [f"{lead}-Einthoven" if i < 3 else f"{lead}, augmented voltage" for i, lead in enumerate(LEADS[:6])]
    names += [f"{lead}-wct" for lead in LEADS[6:]]
    read = read_ecg(write_dicom(tmp_path / "a.dcm", [dicom_group(ecg, names=names)]))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)


def test_padding_is_missing(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    ecg.signal[:, :100] = -5 * 6.5  # −6500 counts, which no beat reaches
    group = dicom_group(ecg)
    group.add_new("WaveformPaddingValue", "OW", np.array(-6500, "<i2").tobytes())
    read = read_ecg(write_dicom(tmp_path / "a.dcm", [group]))
    assert np.isnan(read.signal[:, :100]).all()
    assert np.isfinite(read.signal[:, 100:]).all()


def test_names_are_not_carried_along(tmp_path, make_ecg):
    said = ("Sinus rhythm", "Mustermann, Erika: no change since 27.03.1951", "Reviewed by Dr. House", "seen by Ratched")
    path = write_dicom(tmp_path / "a.dcm", [dicom_group(make_ecg(seconds=2))], said)
    read = read_ecg(path)
    assert read.report.startswith("Sinus rhythm")
    known = f"{read.meta} {read.report}"
    assert not any(part in known for part in ("Mustermann", "Erika", "House", "Ratched", "0815", "1951"))
    asked = read_ecg(path, keep_identifiers=True)
    assert asked.report == "; ".join(said)
    assert (asked.patient_id, asked.meta["birth_date"]) == ("MRN-0815", "1951-03-27")
    assert asked.meta["patient_name"] == "Mustermann Erika"


def test_damaged_groups(tmp_path, make_ecg):
    def changed(**values):
        group = dicom_group(make_ecg(seconds=2))
        for name, value in values.items():
            setattr(group, name, value)
        return failure(write_dicom(tmp_path / "a.dcm", [group]))

    assert "do not hold" in changed(NumberOfWaveformSamples=10**9)
    assert "sampling frequency" in changed(SamplingFrequency=0)
    assert "not voltages" in changed(WaveformSampleInterpretation="MB")
    assert "defines" in changed(NumberOfWaveformChannels=3)
    assert "no waveform" in failure(write_dicom(tmp_path / "a.dcm", []))
    assert "no waveform" in failure(get_testdata_file("CT_small.dcm"))


def test_far_apart_parts(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2.5)
    groups = [dicom_group(ecg, LEADS[i : i + 6], "", 1e9 * i) for i in (0, 6)]
    assert "far apart" in failure(write_dicom(tmp_path / "a.dcm", groups))


@pytest.mark.shared
def test_the_real_file_agrees_with_pydicom(shared):
    path = shared / "formats" / "dicom-12-lead-1000hz.dcm"
    expected = pydicom.dcmread(path).waveform_array(0).T / 1000  # µV → mV
    np.testing.assert_allclose(read_ecg(path).signal, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["ChannelSensitivity", "ChannelSensitivityCorrectionFactor"])
def test_a_sensitivity_of_nothing(tmp_path, make_ecg, name):
    group = dicom_group(make_ecg(seconds=2))
    setattr(group.ChannelDefinitionSequence[3], name, "0")
    assert "channel 4 has a sensitivity of 0" in failure(write_dicom(tmp_path / "a.dcm", [group]))
