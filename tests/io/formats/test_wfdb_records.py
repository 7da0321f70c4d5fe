import warnings
from pathlib import Path

import numpy as np
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import find_ecgs, read_ecg
from ecg_files import write_muse

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wfdb


def write(folder, ecg, form="16", gain=200.0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.wrsamp(
            "rec",
            fs=ecg.sampling_rate,
            units=["mV"] * len(ecg.leads),
            sig_name=list(ecg.leads),
            p_signal=ecg.signal.T.astype(np.float64),
            fmt=[form] * len(ecg.leads),
            adc_gain=[gain] * len(ecg.leads),
            baseline=[0] * len(ecg.leads),
            write_dir=str(folder),
        )
    return Path(folder) / "rec.hea"


@pytest.mark.parametrize(("form", "gain"), [("16", 1000), ("212", 200), ("80", 40), ("24", 1e5), ("32", 1e6)])
def test_storage_formats(tmp_path, make_ecg, form, gain):
    ecg = make_ecg()
    path = write(tmp_path, ecg, form, gain)
    np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=0.51 / gain + 1e-6)
    some = read_ecg(path, start=3.002, duration=2)
    np.testing.assert_allclose(some.signal, ecg.signal[:, 1501:2501], atol=0.51 / gain + 1e-6)


def test_agrees_with_wfdb(tmp_path, make_ecg):
    path = write(tmp_path, make_ecg(), "212")
    expected = wfdb.rdrecord(str(path.with_suffix("")), sampfrom=500, sampto=1500).p_signal.T
    np.testing.assert_allclose(read_ecg(path, start=1, duration=2).signal, expected, atol=1e-6)


@pytest.mark.parametrize("written", ["1000/mV", "1000.0(0)/mV", "1000/mv", "1e3/mV", "1000(0)/mV"])
def test_gains_as_they_are_written(tmp_path, make_ecg, written):
    ecg = make_ecg(seconds=2)
    path = write(tmp_path, ecg, gain=1000.0)
    text = path.read_text()
    assert "1000.0(0)/mV" in text
    path.write_text(text.replace("1000.0(0)/mV", written))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=6e-4)


@pytest.mark.parametrize("written", ["0/mV", "0(0)/mV", ""])
def test_no_gain_is_warned_of(tmp_path, make_ecg, written):
    ecg = make_ecg(seconds=2)
    path = write(tmp_path, ecg, gain=200.0)
    lines = path.read_text().replace("200.0(0)/mV", written).splitlines()
    if not written:
        lines = [lines[0], *(" ".join(line.split()[:2]) for line in lines[1:])]
    path.write_text("\n".join(lines))
    with pytest.warns(DBetaWarning, match=r"rec\.hea: its header states no gain, so 200 counts per mV"):
        read = read_ecg(path, leads=LEADS)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.003)


def test_the_wrong_gain_of_the_challenge_2020(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    path = write(tmp_path, ecg, gain=1000.0)
    text = path.read_text()
    path.write_text(text.replace("1000.0(0)/mV", "4.88/mV"))
    with pytest.warns(DBetaWarning, match="is read as 1000/mV"):
        np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=6e-4)
    # Any other is only named: nobody knows what it should be
    for gain, amplitude in [("5/mV", "288"), ("100000/mV", "0.01")]:
        path.write_text(text.replace("1000.0(0)/mV", gain))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_ecg(path)
        assert f"rec.hea: its QRS complexes measure {amplitude}" in str(caught[0].message)


def test_the_wrong_gain_where_it_is_right(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    path = write(tmp_path, ecg, "16", 4.88)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=0.11)
    assert not any("gain" in str(one.message) for one in caught)


@pytest.mark.parametrize("name", ["rec.txt", "Other.HEA", "header", "rec.2.hea", "Müller.hea"])
def test_a_header_under_another_name(tmp_path, make_ecg, name):
    ecg = make_ecg(seconds=2)
    path = write(tmp_path, ecg).rename(tmp_path / name)
    np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=0.003)


def test_signal_files_of_any_ending(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    path = write(tmp_path, ecg)
    path.with_suffix(".dat").rename(tmp_path / "rec.d1")
    path.write_text(path.read_text().replace("rec.dat", "rec.d1"))
    np.testing.assert_allclose(read_ecg(tmp_path / "rec.d1").signal, ecg.signal, atol=0.003)
    # Another recording of the same name is one of its own
    write_muse(tmp_path / "rec.xml", make_ecg(seconds=4))
    assert read_ecg(tmp_path / "rec.xml").duration == 4
    assert [file.name for file in find_ecgs(tmp_path)] == ["rec.hea", "rec.xml"]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("a 1 0.5 1000", "is sampled at 0.5 Hz, too slow for an ECG"),
        ("a 1 1e999 1000", "has a sampling rate of inf Hz"),
        ("signals of a", "it has no record line"),
        ("a 2 500 1000", "it lists 1 of 2 signals"),
        ("a/2 1 500 1000", "does not list the 2 segments"),
    ],
)
def test_record_lines_that_cannot_be(tmp_path, first, message):
    (tmp_path / "a.hea").write_text(f"{first}\na.dat 16 200/mV 16 0 0 0 0 II\n", encoding="utf-8")
    np.arange(1000, dtype="<i2").tofile(tmp_path / "a.dat")
    with pytest.raises(DBetaError) as caught:
        read_ecg(tmp_path / "a.hea")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "first",
    [
        "rec 12 500 1000 25:61:00 01/02/2006",
        "rec 12 500 1000 01/02/2006",
        "rec 12 500 1000 05-May-2020 09:49:17",
        "rec.mat 12 500 1000",
        "Müller 12 500 1000",
        "rec 12 5e2 1000",
        "rec 12 500/0.5(0) 1000",
        "rec 12 500 0",
        "rec 12 500",
    ],
)
def test_what_is_not_needed_is_not_required(tmp_path, make_ecg, first):
    ecg = make_ecg(seconds=2)
    path = write(tmp_path, ecg, gain=1000.0)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([first, *lines[1:]]), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_ecg(path)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=6e-4)
    assert (read.sampling_rate, read.duration) == (500, 2)


def test_a_header_with_a_byte_order_mark(tmp_path, make_ecg, write_record):
    write_record(tmp_path, make_ecg(), "a")
    header = (tmp_path / "a.hea").read_bytes()
    (tmp_path / "a.hea").write_bytes(b"\xef\xbb\xbf" + header)
    np.testing.assert_allclose(read_ecg(tmp_path / "a.hea").signal, make_ecg().signal, atol=0.01)


def test_endings_in_capitals(tmp_path, make_ecg, write_record):
    write_record(tmp_path, make_ecg(), "a")
    for ending in ("hea", "dat"):
        (tmp_path / f"a.{ending}").rename(tmp_path / f"A.{ending.upper()}")
    assert find_ecgs(tmp_path) == [tmp_path / "A.HEA"]
