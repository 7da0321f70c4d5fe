import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from scipy.io import savemat

from dbeta.ecg import INDEPENDENT_LEADS, LEADS
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError
from dbeta.io.formats import wfdb_samples
from dbeta.io.read import find_ecgs, read_ecg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wfdb

CODE_TEST_LEADS = ("I", "II", "III", "aVL", "aVF", "aVR", *LEADS[6:])


def write_wfdb(folder, ecg, name="rec", units="mV", names=None, factor=1.0, comments=()):
    """16-bit at 1 µV per count, so that what is read back is within half a µV."""
    names = list(names or ecg.leads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.wrsamp(
            name,
            fs=ecg.sampling_rate,
            units=[units] * len(names),
            sig_name=names,
            p_signal=ecg.signal.T.astype(np.float64) * factor,
            fmt=["16"] * len(names),
            adc_gain=[1000 / factor] * len(names),
            baseline=[0] * len(names),
            comments=list(comments),
            write_dir=str(folder),
        )
    return Path(folder) / f"{name}.hea"


def write_code(path, ecgs, ids=None, leads=LEADS, scale=10.0, samples=4096):
    tracings = np.zeros((len(ecgs), samples, 12), dtype=np.float32)
    for row, ecg in enumerate(ecgs):
        if ecg is not None:
            start = (samples - ecg.signal.shape[1]) // 2
            order = [LEADS.index(lead) for lead in leads]
            tracings[row, start : start + ecg.signal.shape[1]] = ecg.signal[order].T * scale
    with h5py.File(path, "w") as file:
        file["tracings"] = tracings
        if ids is not None:
            file["exam_id"] = np.asarray(ids)
    return path


def failure(path, **options):
    """The message of the error, after the checks that hold for every message."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DBetaError) as caught:
            read_ecg(path, **options)
    message = str(caught.value)
    assert type(caught.value) in (DBetaError, NoSignalError)
    assert Path(path).name in message
    assert "\n" not in message
    assert len(message) < 600 + len(str(path))
    return message


# --- WFDB


def test_wfdb_round_trip(tmp_path, make_ecg):
    ecg = make_ecg()
    path = write_wfdb(tmp_path, ecg, comments=["Age: 61", "Sex: Male", "Dx: 426783006,59118001", "Rx: Unknown"])
    read = read_ecg(path)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=6e-4)
    assert read.signal.dtype == np.float32
    assert (read.leads, read.sampling_rate) == (LEADS, 500)
    assert read.meta == {
        "age": 61,
        "sex": "male",
        "dx": ["426783006", "59118001"],
        "source": "rec.hea",
        "duration": 10.0,
    }


@pytest.mark.parametrize("name", ["rec.hea", "rec.dat", "rec"])
def test_wfdb_by_any_of_its_names(tmp_path, make_ecg, name):
    write_wfdb(tmp_path, make_ecg(seconds=2))
    assert read_ecg(tmp_path / name).meta["source"] == "rec.hea"
    assert read_ecg(str(tmp_path / name)).duration == 2


@pytest.mark.parametrize(("units", "factor"), [("mV", 1), ("uV", 1e3), ("V", 1e-3), ("mv", 1), ("UV", 1e3)])
def test_wfdb_units_become_millivolts(tmp_path, make_ecg, units, factor):
    ecg = make_ecg(seconds=2)
    read = read_ecg(write_wfdb(tmp_path, ecg, units=units, factor=factor))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=6e-4)


def test_wfdb_leads_go_by_name(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    shuffled = make_ecg(seconds=2, leads=tuple(reversed(LEADS)))
    read = read_ecg(write_wfdb(tmp_path, shuffled, names=[lead.upper() for lead in reversed(LEADS)]))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=6e-4)


def test_eight_leads_become_twelve(tmp_path, make_ecg):
    read = read_ecg(write_wfdb(tmp_path, make_ecg(seconds=2, leads=INDEPENDENT_LEADS)))
    assert read.leads == LEADS
    np.testing.assert_allclose(read.signal, make_ecg(seconds=2).signal, atol=2e-3)


def test_other_channels_are_left_out_and_listed(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    ecg.signal = np.vstack([ecg.signal[:1], ecg.signal])
    path = write_wfdb(tmp_path, ecg, names=["PLETH", *LEADS])
    path.write_text(path.read_text().replace("/mV", "/NU", 1))
    read = read_ecg(path)
    np.testing.assert_allclose(read.signal, ecg.signal[1:], atol=6e-4)
    assert read.meta["other_channels"] == ["PLETH"]


def test_wfdb_reads_only_the_first_seconds(tmp_path, make_ecg):
    ecg = make_ecg()
    path = write_wfdb(tmp_path, ecg)
    # Only what is read needs to be there.
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[: 4 * 500 * 12 * 2])
    with pytest.warns(DBetaWarning, match="promises 5000 samples, it holds 2000; it may be cut short"):
        read = read_ecg(path, duration=2.5)
    assert read.duration == 2.5
    assert read.meta["duration"] == 4
    np.testing.assert_allclose(read.signal, ecg.signal[:, :1250], atol=6e-4)


def test_wfdb_missing_samples_are_nan(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    ecg.signal[3, 100:200] = np.nan
    read = read_ecg(write_wfdb(tmp_path, ecg))
    assert np.isnan(read.signal[3, 100:200]).all()
    assert np.isnan(read.signal).sum() == 100


def test_wfdb_subject_id(tmp_path, make_ecg):
    path = write_wfdb(tmp_path, make_ecg(seconds=1), comments=["<subject_id>: 42"])
    assert read_ecg(path).patient_id is None
    assert read_ecg(path, keep_identifiers=True).patient_id == "42"


def test_challenge_mat_with_its_header(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    counts = np.round(ecg.signal * 1000).astype(np.int16)
    savemat(tmp_path / "A1.mat", {"val": counts}, format="4")
    lines = [f"A1.mat 16+24 1000/mV 16 0 {row[0]} 0 0 {lead}" for lead, row in zip(LEADS, counts, strict=True)]
    (tmp_path / "A1.hea").write_text("\n".join(["A1 12 500 1000", *lines, "#Age: NaN", "#Sex: F", "#Dx: Unknown"]))
    for name in ("A1.mat", "A1.hea"):
        read = read_ecg(tmp_path / name)
        np.testing.assert_allclose(read.signal, ecg.signal, atol=6e-4)
        assert read.meta == {"sex": "female", "source": "A1.hea", "duration": 2.0}
    (tmp_path / "A1.hea").unlink()
    assert "A1.hea" in failure(tmp_path / "A1.mat")


def test_wfdb_without_sampling_rate_needs_fs(tmp_path, make_ecg):
    path = write_wfdb(tmp_path, make_ecg(seconds=2))
    path.write_text(path.read_text().replace("rec 12 500 1000", "rec 12"))
    assert "--fs" in failure(path)
    assert read_ecg(path, sampling_rate=500).duration == 2


def test_options_may_fill_gaps_but_not_contradict(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    path = write_wfdb(tmp_path, ecg)
    assert read_ecg(path, sampling_rate=500, leads=LEADS).duration == 2
    assert "leave out --fs" in failure(path, sampling_rate=250)
    assert "leave out --leads" in failure(path, leads=CODE_TEST_LEADS)
    assert "--leads names 8" in failure(path, leads=INDEPENDENT_LEADS)
    assert read_ecg(path, leads=[*LEADS[:11], "-"]).meta["missing_leads"] == ["V6"]
    assert "--record" in failure(path, record=1)
    unnamed = write_wfdb(tmp_path, ecg, name="unnamed", names=[f"ch{number}" for number in range(12)])
    assert "--leads" in failure(unnamed)
    np.testing.assert_allclose(read_ecg(unnamed, leads=LEADS).signal, ecg.signal, atol=6e-4)
    lines = [" ".join(line.split()[:8]) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    assert "--leads" in failure(path)
    np.testing.assert_allclose(read_ecg(path, leads=LEADS).signal, ecg.signal, atol=6e-4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rec.dat", "gone.dat", "gone.dat, which is missing"),
        ("rec.dat", "../rec.dat", "WFDB header"),
        ("rec.dat", "/etc/passwd", "WFDB header"),
        ("rec.dat", "..\\rec.dat", "WFDB header"),
        ("500 1000", "0 1000", "sampling rate"),
        ("500 1000", "1e999 1000", "sampling rate of inf"),
        ("1000.0(0)/mV", "10..0/mV", "rec.hea"),
        ("rec 12", "rec 0", "no signals"),
        ("rec 12", "rec 13", "WFDB"),
        ("/mV", "/furlong", "furlong"),
        (" V3", " V2", "V3"),
        (" aVR", " I", "lead I twice, as channels 1 and 4 of 12; name all channels in order with --leads"),
    ],
)
def test_bad_headers(tmp_path, make_ecg, old, new, message):
    path = write_wfdb(tmp_path, make_ecg(seconds=2))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert message in failure(path)


@pytest.mark.parametrize("size", [0, 1, 23])
def test_an_empty_signal_file(tmp_path, make_ecg, size):
    path = write_wfdb(tmp_path, make_ecg(seconds=2))
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:size])
    assert "holds no samples; get the signal files again" in failure(path)


@pytest.mark.parametrize(("size", "samples"), [(12 * 2 * 400, 400), (12 * 2 * 400 + 1, 400), (12 * 2 * 999, 999)])
def test_truncated_signal_file(tmp_path, make_ecg, size, samples):
    ecg = make_ecg(seconds=2)
    path = write_wfdb(tmp_path, ecg)
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:size])
    words = f"its header promises 1000 samples, it holds {samples}; it may be cut short"
    with pytest.warns(DBetaWarning, match=words):
        read = read_ecg(path)
    np.testing.assert_allclose(read.signal, ecg.signal[:, :samples], atol=6e-4)
    assert (read.meta["duration"], read.meta["notes"]) == (samples / 500, [words])


def test_signal_without_header(tmp_path, make_ecg):
    write_wfdb(tmp_path, make_ecg(seconds=1)).unlink()
    assert "rec.hea" in failure(tmp_path / "rec.dat")


@pytest.mark.parametrize(
    "content", [b"\x00\xff\xfe binary", b"# only a comment\n", b"\n\n", b"rec 1 500 10\nrec.dat\n"]
)
def test_unreadable_header(tmp_path, content):
    (tmp_path / "rec.hea").write_bytes(content)
    failure(tmp_path / "rec.hea")


def test_a_contradicting_lead_is_warned_of(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    words = r"rec\.hea: leads aVR, aVL and aVF are exchanged .*; --fix-leads repairs it"
    with pytest.warns(DBetaWarning, match=words):
        read = read_ecg(write_wfdb(tmp_path, ecg, names=CODE_TEST_LEADS))
    assert [error["kind"] for error in read.meta["lead_errors"]] == ["exchanged"]
    with pytest.warns(DBetaWarning, match="are exchanged .*; repaired"):
        read = read_ecg(tmp_path / "rec.hea", fix_leads=True)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=2e-3)
    flat = make_ecg(seconds=2)
    flat.signal[3] = 0
    with pytest.warns(DBetaWarning, match="lead aVR is flat, but not according to the other limb leads"):
        read_ecg(write_wfdb(tmp_path, flat, name="flat"))


def test_missing_samples_are_no_contradiction(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    ecg.signal[3, 200:700] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_ecg(write_wfdb(tmp_path, ecg))


# --- MATLAB


def cpsc(ecg, **fields):
    return {"ECG": {"sex": "Female", "age": 71, "data": ecg.signal.astype(np.float64), **fields}}


def test_cpsc_matlab(tmp_path, make_ecg):
    ecg = make_ecg(seconds=3)
    savemat(tmp_path / "A0001.mat", cpsc(ecg))
    read = read_ecg(tmp_path / "A0001.mat", duration=1)
    assert np.array_equal(read.signal, ecg.signal[:, :500])
    assert read.meta == {"age": 71, "sex": "female", "source": "A0001.mat", "duration": 3.0}
    assert "500 Hz" in failure(tmp_path / "A0001.mat", sampling_rate=400)


def test_bad_matlab(tmp_path, make_ecg):
    path = tmp_path / "a.mat"
    savemat(path, {"something": np.zeros(3)})
    assert "CPSC2018" in failure(path)
    savemat(path, {"ECG": np.zeros((12, 5000))})
    failure(path)
    savemat(path, cpsc(make_ecg(seconds=1), data=np.zeros((8, 500))))
    assert "12 leads" in failure(path)
    savemat(path, cpsc(make_ecg(seconds=1)))
    path.write_bytes(path.read_bytes()[:300])
    failure(path)
    path.write_bytes(b"not a MATLAB file at all" * 20)
    failure(path)
    with h5py.File(path, "w") as file:
        file["val"] = np.zeros(3)
    failure(path)


# --- DICOM and the other clinical formats


def test_dicom_has_the_voltages_of_pydicom():
    path = get_testdata_file("waveform_ecg.dcm")
    read = read_ecg(path)
    expected = pydicom.dcmread(path).waveform_array(0).T / 1000  # µV → mV
    assert (read.sampling_rate, read.signal.shape) == (1000, (12, 10000))
    np.testing.assert_allclose(read.signal, expected, atol=1e-6)
    assert read.report == "RITMO SINUSALE; ECG NORMALE"
    assert read.patient_id is None
    assert read.meta == {
        "age": 42,
        "sex": "female",
        "device": "Mortara Instrument, Inc. el250",
        "source": "waveform_ecg.dcm",
        "duration": 10.0,
    }


def test_dicom_under_any_name(tmp_path):
    path = shutil.copy(get_testdata_file("waveform_ecg.dcm"), tmp_path / "IM0001")
    assert read_ecg(path, duration=2.5).duration == 2.5


def test_dicom_never_gives_the_median_beat(tmp_path):
    data = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
    rhythm, median = data.WaveformSequence
    data.WaveformSequence = [median, rhythm]
    data.save_as(tmp_path / "swapped.dcm")
    assert read_ecg(tmp_path / "swapped.dcm").duration == 10
    del median.MultiplexGroupLabel
    data.save_as(tmp_path / "unlabelled.dcm")
    assert read_ecg(tmp_path / "unlabelled.dcm").duration == 10
    median.MultiplexGroupLabel = "MEDIAN BEAT"
    data.WaveformSequence = [median]
    data.save_as(tmp_path / "only.dcm")
    assert "only an averaged beat" in failure(tmp_path / "only.dcm")


def test_dicom_without_calibration(tmp_path):
    data = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
    for channel in data.WaveformSequence[0].ChannelDefinitionSequence:
        del channel.ChannelSensitivity, channel.ChannelSensitivityUnitsSequence
    data.save_as(tmp_path / "counts.dcm")
    assert "state the unit with --units, as uV or mV" in failure(tmp_path / "counts.dcm")
    assert read_ecg(tmp_path / "counts.dcm", units="1.25 uV").duration == 10


def test_bad_dicom(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_text("I am not DICOM\n" * 50)
    assert "not DICOM" in failure(path)
    path.write_bytes(Path(get_testdata_file("waveform_ecg.dcm")).read_bytes()[:20000])
    failure(path)
    shutil.copy(get_testdata_file("CT_small.dcm"), path)
    failure(path)


@pytest.mark.parametrize("name", ["a.xml", "a.scp", "a.edf", "a.dicom", "a.mwf", "a.ecg"])
def test_text_under_a_clinical_name(tmp_path, name):
    (tmp_path / name).write_text("Dear colleague, thank you for sending me\n" * 100)
    assert "get or export" in failure(tmp_path / name)


def test_an_xml_bomb_is_refused(tmp_path):
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha" * 10}">' for i in range(12))
    (tmp_path / "bomb.xml").write_text(
        f'<?xml version="1.0"?><!DOCTYPE AnnotatedECG [{entities}]>'
        '<AnnotatedECG xmlns="urn:hl7-org:v3"><id extension="&e11;"/></AnnotatedECG>'
    )
    failure(tmp_path / "bomb.xml")
    (tmp_path / "philips.xml").write_text(
        f'<?xml version="1.0"?><!DOCTYPE restingecgdata [{entities}]>'
        '<restingecgdata xmlns="http://www3.medical.philips.com">&e11;</restingecgdata>'
    )
    failure(tmp_path / "philips.xml")


@pytest.mark.shared
def test_real_collections(shared):
    challenge = find_ecgs(shared / "challenge-2021")
    assert len(challenge) == 70
    assert {file.suffix for file in challenge} == {".hea"}
    for file in challenge[::10]:
        read = read_ecg(file, duration=5)
        assert read.duration == 5
        assert 0.1 < np.nanmax(np.abs(read.signal)) < 20
        assert read.meta["dx"]
    for file in find_ecgs(shared / "cpsc2018-native"):
        assert set(read_ecg(file).meta) == {"age", "sex", "source", "duration"}


@pytest.mark.shared
def test_real_code_15(shared):
    path = shared / "code-15" / "exams_part0.hdf5"
    assert "60 recordings" in failure(path)
    by_id, by_row = read_ecg(path, record=1000499), read_ecg(path, record="0")
    assert np.array_equal(by_id.signal, by_row.signal)
    assert by_id.meta["record"] == 1000499
    assert by_id.duration == 7.335
    error = by_id["aVR"] + (by_id["I"] + by_id["II"]) / 2
    assert np.median(np.abs(error)) < 0.01
    assert 1 < np.abs(by_id.signal).max() < 6


# --- HDF5 as CODE has it


@pytest.mark.parametrize("leads", [LEADS, CODE_TEST_LEADS, ("I", "II", "III", "aVR", "aVF", "aVL", *LEADS[6:])])
@pytest.mark.parametrize("scale", [10.0, 1.0])
def test_code_order_and_unit_are_found(tmp_path, make_ecg, leads, scale):
    ecg = make_ecg(seconds=7, sampling_rate=400)
    path = write_code(tmp_path / "a.h5", [ecg], leads=leads, scale=scale)
    with pytest.warns(DBetaWarning, match="taken to be in") as caught:
        read = read_ecg(path)
    assert len(caught) == 1
    assert read.meta["unit"] == ("1e-4 V (assumed)" if scale == 10 else "mV (assumed)")
    assert (read.sampling_rate, read.duration) == (400, 7)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-5)
    assert read_ecg(path, duration=2).duration == 2
    assert read_ecg(path, duration=2).meta["duration"] == 7


def test_code_record_is_an_exam_id_or_a_row(tmp_path, make_ecg):
    ecgs = [make_ecg(seconds=5, sampling_rate=400, rate=rate) for rate in (50, 70, 90)]
    path = write_code(tmp_path / "a.hdf5", [*ecgs, None], ids=[701, 702, 1, 0])
    for record, row in [(701, 0), ("702", 1), (1, 2), ("0", 0), (0, 0)]:
        np.testing.assert_allclose(read_ecg(path, record=record).signal, ecgs[row].signal, atol=1e-5)
    message = failure(path)
    assert "4 recordings" in message
    assert "--record" in message
    assert "0 to 3" in failure(path, record=99)
    failure(path, record=-1)
    failure(path, record="x")
    assert "only zeros" in failure(path, record=3)


def test_code_options(tmp_path, make_ecg):
    ecg = make_ecg(seconds=5, sampling_rate=500)
    path = write_code(tmp_path / "a.h5", [ecg])
    assert read_ecg(path, sampling_rate=500, leads=LEADS).duration == 5
    noise = make_ecg(seconds=5, sampling_rate=400)
    noise.signal = np.random.default_rng(0).standard_normal(noise.signal.shape).astype(np.float32)
    path = write_code(tmp_path / "b.h5", [noise])
    assert "--leads" in failure(path)


def test_bad_hdf5(tmp_path, make_ecg):
    path = write_code(tmp_path / "a.h5", [make_ecg(seconds=5, sampling_rate=400)], ids=[1, 2])
    assert "exam_ids" in failure(path)
    path.write_bytes(path.read_bytes()[:1500])
    failure(path)
    path.write_text("no HDF5")
    failure(path)
    for name, value in [
        ("other", np.zeros(3)),
        ("tracings", np.zeros((2, 4096, 8))),
        ("tracings", np.zeros((0, 9, 12))),
    ]:
        with h5py.File(path, "w") as file:
            file[name] = value
        assert "CODE's layout" in failure(path)
    with h5py.File(path, "w") as file:
        file.create_group("tracings")
    assert "CODE's layout" in failure(path)


# --- NumPy and CSV


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("leads", [LEADS, INDEPENDENT_LEADS, tuple(reversed(LEADS))])
def test_npy(tmp_path, make_ecg, turned, leads):
    ecg = make_ecg(seconds=4, leads=leads)
    np.save(tmp_path / "a.npy", ecg.signal.T if turned else ecg.signal)
    read = read_ecg(tmp_path / "a.npy", sampling_rate=500, leads=leads, duration=1.5)
    np.testing.assert_allclose(read.signal, ecg.standard().signal[:, :750], atol=1e-6)
    about = {"source": "a.npy", "duration": 4.0, "unit": "mV (assumed)"}
    assert read.meta.items() >= about.items()


def test_bad_npy(tmp_path, make_ecg):
    path = tmp_path / "a.npy"
    ecg = make_ecg(seconds=2)
    options = {"sampling_rate": 500, "leads": LEADS}
    np.save(path, ecg.signal)
    for missing in (options, {"sampling_rate": 500}, {"leads": LEADS}):
        if missing is not options:
            assert "--leads and --fs" in failure(path, **missing)
    assert "'X9'" in failure(path, sampling_rate=500, leads=["X9", *LEADS[1:]])
    assert "one axis must be the leads" in failure(path, sampling_rate=500, leads=INDEPENDENT_LEADS)
    assert "duration" in failure(path, duration=-1, **options)
    assert "sampling rate" in failure(path, sampling_rate=-500, leads=LEADS)
    for array, message in [
        (ecg.signal[0], "shape"),
        (ecg.signal[None, None], "shape"),
        (ecg.signal[:, :0], "no samples"),
        (np.full((12, 100), np.nan), "no valid sample"),
        (np.full((12, 100), np.inf), "no valid sample"),
        (np.full((12, 100), 1e300), "no valid sample"),
        (np.tile([1e38, -1e38], (12, 100)), "no valid sample"),
        (ecg.signal.astype(str), "numbers"),
        ((ecg.signal * 1000).astype(np.int16), "--units"),
        (ecg.signal * 1000, "--units"),
    ]:
        np.save(path, array)
        assert message in failure(path, **options)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    failure(path, **options)
    path.write_bytes(b"\x93NUMPY broken")
    failure(path, **options)
    with path.open("wb") as file:
        np.savez(file, a=ecg.signal)
    failure(path, **options)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_with_a_header_row(tmp_path, make_ecg, separator):
    ecg = make_ecg(seconds=2, leads=tuple(reversed(LEADS)))
    time = np.arange(1000) / 500
    table = np.column_stack([time, ecg.signal.T])
    header = separator.join(["time", *ecg.leads])
    np.savetxt(tmp_path / "a.csv", table, delimiter=separator, header=header, comments="", encoding="utf-8-sig")
    for options in ({}, {"sampling_rate": 500}):
        read = read_ecg(tmp_path / "a.csv", **options)
        np.testing.assert_allclose(read.signal, ecg.standard().signal, atol=1e-6)
        assert read.sampling_rate == 500
        assert "other_channels" not in read.meta
    assert "500 Hz, not at 250" in failure(tmp_path / "a.csv", sampling_rate=250)


@pytest.mark.parametrize("turned", [False, True])
def test_csv_without_a_header_row(tmp_path, make_ecg, turned):
    ecg = make_ecg(seconds=2)
    np.savetxt(tmp_path / "a.csv", ecg.signal.T if turned else ecg.signal, delimiter=",")
    read = read_ecg(tmp_path / "a.csv", sampling_rate=500, leads=LEADS)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-6)
    assert "--leads and --fs" in failure(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "\ufeff",
        "a,b,c\n1,2,3\n",
        ",".join(LEADS) + "\n",
        ",".join(LEADS) + "\n" + ",".join(["x"] * 12) + "\n",
        ",".join(LEADS) + "\n" + ",".join(["1"] * 11) + "\n",
        ",".join(LEADS) + "\n1,2\n1,2,3,4\n",
        ",".join(LEADS) + "\n" + ",".join([""] * 12) + "\n",
        ",".join(LEADS[:7]) + "\n" + ",".join(["1"] * 7) + "\n",
    ],
)
def test_bad_csv(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    failure(tmp_path / "a.csv", sampling_rate=500)


def test_csv_in_another_encoding(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00I,II")
    failure(tmp_path / "a.csv", sampling_rate=500)


# --- a stretch of a recording


def write_all(folder, ecg):
    """The recording, 10 s at 500 Hz, in each format that is easily written, and the options each needs."""
    path = write_wfdb(folder, ecg)
    np.save(folder / "a.npy", ecg.signal.T)
    np.savetxt(folder / "a.csv", ecg.signal, delimiter=",")
    savemat(folder / "a.mat", cpsc(ecg))
    write_code(folder / "a.h5", [ecg], samples=6000)
    rate, leads = {"sampling_rate": 500}, {"leads": LEADS}
    return {path: {}, folder / "a.npy": rate | leads, folder / "a.csv": rate | leads, folder / "a.mat": {}} | {
        folder / "a.h5": rate
    }


def test_a_stretch(tmp_path, make_ecg):
    ecg = make_ecg()
    for path, options in write_all(tmp_path, ecg).items():
        part = read_ecg(path, start=2.5, duration=4, **options)
        np.testing.assert_allclose(part.signal, ecg.signal[:, 1250:3250], atol=6e-4)
        assert (part.meta["start"], part.meta["duration"]) == (2.5, 10)
        rest = read_ecg(path, start=7, **options)
        np.testing.assert_allclose(rest.signal, ecg.signal[:, 3500:], atol=6e-4)
        last = read_ecg(path, start=9, duration=10, **options)
        assert (last.duration, last.meta["duration"]) == (1, 10)
        assert "start" not in read_ecg(path, start=0, **options).meta
        assert "10 s long; nothing is left from second 10 on" in failure(path, start=10, **options)
        assert "number of seconds" in failure(path, start=-1, **options)
        assert "number of seconds" in failure(path, start=float("nan"), **options)


def test_a_stretch_of_wfdb_is_all_that_is_read(tmp_path, make_ecg, monkeypatch):
    ecg = make_ecg()
    path = write_wfdb(tmp_path, ecg)
    asked = []
    inner = wfdb_samples._read_frames
    monkeypatch.setattr(wfdb_samples, "_read_frames", lambda *a: asked.append(a[2:]) or inner(*a))
    read_ecg(path, start=2, duration=3)
    assert asked == [(1000, 2500)]
    # Without its length in the header, that of the file counts
    path.write_text(path.read_text().replace("rec 12 500 5000", "rec 12 500"))
    part = read_ecg(path, start=2, duration=3)
    np.testing.assert_allclose(part.signal, ecg.signal[:, 1000:2500], atol=6e-4)
    assert part.meta["duration"] == 10


# --- any file


@pytest.mark.parametrize("suffix", [".hea", ".mat", ".dcm", ".xml", ".scp", ".edf", ".h5", ".npy", ".csv"])
def test_missing_empty_and_garbage(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    options = {"sampling_rate": 500, "leads": LEADS} if suffix in (".npy", ".csv") else {}
    assert "no such file" in failure(path, **options)
    path.touch()
    assert "is empty" in failure(path, **options)
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    failure(path, **options)


def test_other_things_than_ecg_files(tmp_path):
    assert "is a folder" in failure(tmp_path)
    (tmp_path / "a.docx").write_text("hello")
    assert ".hea" in failure(tmp_path / "a.docx")
    failure(tmp_path / ("x" * 260 + ".hea"))
    failure(tmp_path / "nul\0byte.hea")


@pytest.mark.parametrize("suffix", [".hea", ".npy", ".dcm"])
def test_no_permission(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("x")
    if os.geteuid() == 0:  # root may read everything

        def refuse(self, *args, **kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    path.chmod(0)
    assert "permission" in failure(path)


def test_find_ecgs(tmp_path, make_ecg):
    ecg = make_ecg(seconds=1)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write_wfdb(tmp_path / "deep" / "er", ecg)
    write_wfdb(tmp_path, ecg, name="with")
    savemat(tmp_path / "with.mat", {"val": np.zeros(3)})
    savemat(tmp_path / "alone.mat", cpsc(ecg))
    np.save(tmp_path / "a.npy", ecg.signal)
    (tmp_path / "alone.dat").write_bytes(b"x")
    (tmp_path / "exams.csv").write_text("exam_id,age\n1,50\n")
    (tmp_path / "ecg.csv").write_text(",".join(LEADS) + "\n" + ",".join("0" * 12))
    (tmp_path / "B.DCM").write_bytes(b"x")
    for name in (".hidden.hea", "notes.txt", "RECORDS"):
        (tmp_path / name).write_text("x")
    found = [file.relative_to(tmp_path).as_posix() for file in find_ecgs(tmp_path)]
    assert found == ["B.DCM", "a.npy", "alone.dat", "alone.mat", "deep/er/rec.hea", "ecg.csv", "with.hea"]
    with pytest.raises(DBetaError, match="is not a folder"):
        find_ecgs(tmp_path / "a.npy")


def test_importing_is_cheap():
    heavy = "('wfdb', 'h5py', 'scipy', 'ecgdatakit', 'pandas', 'pydicom', 'torch')"
    code = f"import sys, dbeta.io.read; sys.exit(', '.join(m for m in {heavy} if m in sys.modules) or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
