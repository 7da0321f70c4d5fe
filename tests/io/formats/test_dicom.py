import warnings

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS
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
                read = read_ecg(path)
                assert read.duration == 10
                # Unlabelled, it is only taken for one
                assert ("left_out" in read.meta) == (not label)
                groups.reverse()
                assert read_ecg(write_dicom(tmp_path / "a.dcm", groups)).duration == 10
            elif label:
                assert "only an averaged beat" in failure(path)


def test_the_group_with_twelve_leads(tmp_path, make_ecg):
    ecg = make_ecg()
    strip = dicom_group(make_ecg(seconds=30), leads=("II",), label="RHYTHM STRIP")
    path = write_dicom(tmp_path / "a.dcm", [strip, dicom_group(ecg)])
    with pytest.warns(DBetaWarning, match=r"left out: RHYTHM STRIP: II \(30 s at 500 Hz\)"):
        read = read_ecg(path)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    assert read.meta["left_out"] == ["RHYTHM STRIP: II (30 s at 500 Hz)"]


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


def only_warning(path, **options):
    """The recording and the one warning of reading it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = read_ecg(path, **options)
    assert len(caught) == 1
    assert read.meta["notes"] == [str(caught[0].message).partition(": ")[2]]
    return read, read.meta["notes"][0]


def silent(path, **options):
    """A recording that is read without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_ecg(path, **options)


@pytest.mark.parametrize("offset", [0, None, 1500])
@pytest.mark.parametrize("parts", [(INDEPENDENT_LEADS, LEADS[2:6]), (LEADS[:6], LEADS[6:]), (LEADS[6:], LEADS[:6])])
def test_simultaneous_groups(tmp_path, make_ecg, offset, parts):
    ecg = make_ecg()
    path = write_dicom(tmp_path / "a.dcm", [dicom_group(ecg, leads, offset=offset) for leads in parts])
    read = silent(path)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    assert read.duration == 10


@pytest.mark.parametrize("rounding", [0, 0.4, -0.4])
@pytest.mark.parametrize("order", [1, -1])
def test_groups_one_after_another(tmp_path, make_ecg, order, rounding):
    ecg = make_ecg(seconds=12)
    groups = [dicom_group(part(ecg, at, at + 4), label="", offset=1000 * at + rounding * bool(at)) for at in (0, 4, 8)]
    read = silent(write_dicom(tmp_path / "a.dcm", groups[::order]))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    assert read.duration == 12


def test_a_gap_between_groups_is_missing(tmp_path, make_ecg):
    ecg = make_ecg(seconds=12)
    groups = [dicom_group(part(ecg, at, at + 4), offset=1000 * at) for at in (0, 8)]
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", groups))
    assert note == "was interrupted for 4 s, which are missing (NaN)"
    assert np.isnan(read.signal[:, 2000:4000]).all()
    np.testing.assert_allclose(read.signal[:, 4000:], ecg.signal[:, 4000:], atol=0.0026)


def test_the_same_leads_twice_at_a_time(tmp_path, make_ecg):
    ecg, other = make_ecg(), make_ecg(seed=5)
    groups = [dicom_group(ecg, label="RAW", offset=0), dicom_group(other, label="FILTERED", offset=0)]
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", groups))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    assert "left out: FILTERED: I, II" in note
    # A copy is nothing to be left out
    silent(write_dicom(tmp_path / "a.dcm", [groups[0], dicom_group(ecg, label="COPY", offset=0)]))


@pytest.mark.parametrize("rates", [(500, 1000), (1000, 500), (250, 500)])
def test_groups_of_two_rates(tmp_path, make_ecg, rates):
    limb, chest = (make_ecg(sampling_rate=rate) for rate in rates)
    groups = [dicom_group(limb, LEADS[:6], offset=0), dicom_group(chest, LEADS[6:], offset=0)]
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", groups))
    fast = max(rates)
    assert (read.sampling_rate, read.duration) == (fast, 10)
    assert f"resampled to {fast} Hz" in note
    for row, lead in enumerate(LEADS):
        whole, step = (limb, fast // rates[0]) if row < 6 else (chest, fast // rates[1])
        # Samples that were there keep their values but for noise above the slower rate's band
        np.testing.assert_allclose(read[lead][::step], whole[lead], atol=0.0026 if step == 1 else 0.03)
    slower = LEADS[:6] if rates[0] < rates[1] else LEADS[6:]
    assert set(read.meta["resampled_leads"]) == set(slower)


def padded(ecg, value, *stretches):
    """A group whose padding value is `value`, which also fills these stretches of all leads."""
    for stretch in stretches:
        ecg.signal[:, stretch] = value * 0.005
    group = dicom_group(ecg)
    group.add_new("WaveformPaddingValue", "OW", np.array(value, "<i2").tobytes())
    return group


@pytest.mark.parametrize("value", [0, 3, -20])
def test_a_sample_that_equals_the_padding(tmp_path, make_ecg, value):
    ecg = make_ecg()
    path = write_dicom(tmp_path / "a.dcm", [padded(ecg, value)])
    assert (np.round(ecg.signal / 0.005) == value).sum() > 50
    np.testing.assert_allclose(silent(path).signal, ecg.signal, atol=0.0026)
    # At the ends it is padding
    path = write_dicom(tmp_path / "a.dcm", [padded(ecg, value, slice(0, 200), slice(4990, None))])
    read = read_ecg(path)
    assert np.isnan(read.signal[:, :200]).all()
    assert np.isnan(read.signal[:, 4990:]).all()
    np.testing.assert_allclose(read.signal[:, 202:4988], ecg.signal[:, 202:4988], atol=0.0026)


@pytest.mark.parametrize("value", [-32768, 32767, -6500])
def test_padding_that_cannot_be_a_sample(tmp_path, make_ecg, value):
    ecg = make_ecg()
    read = read_ecg(write_dicom(tmp_path / "a.dcm", [padded(ecg, value, slice(2000, 2003))]))
    assert np.flatnonzero(np.isnan(read.signal[0])).tolist() == [2000, 2001, 2002]
    assert np.isnan(read.signal).sum() == 36


def test_raw_gain_of_dicom(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    group = dicom_group(ecg)
    for channel in group.ChannelDefinitionSequence:
        channel.ChannelSensitivity, channel.ChannelBaseline = "0.3", "77"
    read = silent(write_dicom(tmp_path / "a.dcm", [group]), raw_gain="5 uV")
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)


def test_a_lead_named_twice_in_a_group(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    group = dicom_group(ecg)
    group.ChannelDefinitionSequence[11] = group.ChannelDefinitionSequence[10]
    path = write_dicom(tmp_path / "a.dcm", [group])
    assert "has lead V5 twice, as channels 11 and 12 of 12" in failure(path)
    read = read_ecg(path, leads=[*LEADS[:11], "-"])
    np.testing.assert_allclose(read.signal[:11], ecg.signal[:11], atol=0.0026)


def test_the_same_leads_at_overlapping_times_are_joined(tmp_path, make_ecg):
    ecg = make_ecg()
    groups = [dicom_group(part(ecg, begin, end), offset=1000 * begin) for begin, end in ((0, 6), (5, 10))]
    for order in (1, -1):
        read = silent(write_dicom(tmp_path / "a.dcm", groups[::order]))
        np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)


def test_what_disagrees_where_groups_overlap_is_left_out(tmp_path, make_ecg):
    ecg, other = make_ecg(), make_ecg(seed=5)
    groups = [dicom_group(part(ecg, 0, 6), offset=0), dicom_group(part(other, 5, 10), label="B", offset=5000)]
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", groups))
    np.testing.assert_allclose(read.signal[:, :3000], ecg.signal[:, :3000], atol=0.0026)
    np.testing.assert_allclose(read.signal[:, 3000:], other.signal[:, 3000:], atol=0.0026)
    assert note.endswith("(5 s at 500 Hz) from 5 to 6 s, where another group has other samples")
    assert read.meta["left_out"][0].startswith("B: I, II")


def test_the_same_leads_at_two_rates(tmp_path, make_ecg):
    fast, slow = make_ecg(), make_ecg(sampling_rate=250)
    read, note = only_warning(
        write_dicom(tmp_path / "a.dcm", [dicom_group(slow, offset=0), dicom_group(fast, offset=0)])
    )
    np.testing.assert_allclose(read.signal, fast.signal, atol=0.0026)
    assert "resampled_leads" not in read.meta
    assert note.startswith("holds further signals, which are left out: RHYTHM: I, II")
    assert note.endswith("(10 s at 250 Hz)")


@pytest.mark.parametrize("parts", [(LEADS[:6], LEADS[6:]), [(lead,) for lead in LEADS]])
def test_short_groups_without_times(tmp_path, make_ecg, parts):
    ecg = make_ecg(seconds=4)
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", [dicom_group(ecg, leads) for leads in parts]))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    assert read.meta["simultaneous"] == "assumed"
    assert "taken to be simultaneous" in note
    silent(write_dicom(tmp_path / "a.dcm", [dicom_group(ecg, leads, offset=0) for leads in parts]))


def test_limb_leads_prove_that_groups_are_simultaneous(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    parts = [("I", "III", "V1", "V2", "V3"), ("II", "aVR", "aVL", "aVF", "V4", "V5", "V6")]
    read = silent(write_dicom(tmp_path / "a.dcm", [dicom_group(ecg, leads) for leads in parts]))
    assert "simultaneous" not in read.meta


def test_a_printout_gives_no_alarm_about_its_leads(tmp_path, make_ecg):
    ecg = make_ecg()
    places = zip(range(0, 12, 3), (0, 2.5, 5, 7.5), strict=True)
    groups = [dicom_group(part(ecg, at, at + 2.5), LEADS[i : i + 3], offset=1000 * at) for i, at in places]
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", groups))
    assert note.startswith("shows its leads one after the other")
    assert "lead_errors" not in read.meta


def test_a_flat_end_that_is_no_padding(tmp_path, make_ecg):
    ecg = make_ecg()
    ecg.signal[6, -70:] = 0  # 140 ms, as real leads have
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", [padded(ecg, 0)]))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    assert "its padding value 0 could also be a sample; at the ends of V1 it is taken for samples" in note
    ecg.signal[6, -150:] = 0
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", [padded(ecg, 0)]))
    assert np.isnan(read.signal[6, -150:]).all()
    assert np.isnan(read.signal).sum() == 150
    assert "at the ends of V1 it is taken for padding and missing (NaN) for 0.3 s" in note


def test_channels_that_are_sampled_one_after_another(tmp_path, make_ecg):
    ecg = make_ecg()
    group = dicom_group(ecg)
    for row, channel in enumerate(group.ChannelDefinitionSequence):
        channel.ChannelSampleSkew = str(row / 24)
    np.testing.assert_allclose(silent(write_dicom(tmp_path / "a.dcm", [group])).signal, ecg.signal, atol=0.0026)
    for row, channel in enumerate(group.ChannelDefinitionSequence):
        channel.ChannelSampleSkew = str(2 * (row > 5))
    read, note = only_warning(write_dicom(tmp_path / "a.dcm", [group]))
    np.testing.assert_allclose(read.signal[:6, :5000], ecg.signal[:6], atol=0.0026)
    np.testing.assert_allclose(read.signal[6:, 2:], ecg.signal[6:], atol=0.0026)
    assert np.isnan(read.signal).sum() == 24
    assert note == "its channels begin up to 2 samples apart, as it states, and are moved accordingly"
    channel.ChannelSampleSkew = "1e9"
    assert "channels begin up to" in failure(write_dicom(tmp_path / "a.dcm", [group]))


@pytest.mark.shared
def test_the_faulty_files(shared):
    def expected(name, *groups):
        body = pydicom.dcmread(shared / "faults" / f"dicom-{name}.dcm")
        return np.vstack([body.waveform_array(group).T for group in groups]) / 1000

    def order(*names):
        return [LEADS.index(name) for name in names]

    read = silent(shared / "faults" / "dicom-groups-8-and-4-offset-0.dcm")
    rows = order(*INDEPENDENT_LEADS, "III", "aVR", "aVL", "aVF")
    np.testing.assert_allclose(read.signal[rows], expected("groups-8-and-4-offset-0", 0, 1), atol=1e-6)
    read = silent(shared / "faults" / "dicom-padding-equals-sample.dcm")
    np.testing.assert_allclose(read.signal, expected("padding-equals-sample", 0), atol=1e-6)
    read = read_ecg(shared / "faults" / "dicom-groups-one-after-another.dcm")
    name = "groups-one-after-another"
    both = np.hstack([expected(name, 0), expected(name, 1)]) * 1000  # this one is in mV
    np.testing.assert_allclose(read.signal, both, atol=1e-6)
    read, note = only_warning(shared / "faults" / "dicom-groups-two-rates.dcm")
    assert "resampled to 1000 Hz" in note
    np.testing.assert_allclose(read.signal[6:], expected("groups-two-rates", 1), atol=1e-6)
    np.testing.assert_allclose(read.signal[:6, ::2], expected("groups-two-rates", 0), atol=0.05)
