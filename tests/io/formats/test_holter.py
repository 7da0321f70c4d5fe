import numpy as np
import pyedflib
import pytest

from dbeta.ecg import INDEPENDENT_LEADS, LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.formats import holter
from dbeta.io.read import read_ecg
from ecg_files import write_edf, write_ishne

EDF_KINDS = [pyedflib.FILETYPE_EDF, pyedflib.FILETYPE_EDFPLUS, pyedflib.FILETYPE_BDF, pyedflib.FILETYPE_BDFPLUS]


def failure(path, **options):
    with pytest.raises(DBetaError) as caught:
        read_ecg(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("kind", EDF_KINDS)
@pytest.mark.parametrize("unit", ["uV", "mV"])
def test_edf_as_pyedflib_writes_it(tmp_path, make_ecg, kind, unit):
    ecg = make_ecg()
    read = read_ecg(write_edf(tmp_path / "a.edf", ecg, kind, unit))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=2e-6 if kind in EDF_KINDS[2:] else 2.5e-4)
    assert (read.leads, read.sampling_rate, read.duration) == (LEADS, 500, 10)
    assert read.meta["other_channels"] == ["ABP"]


def test_edf_agrees_with_pyedflib(tmp_path, make_ecg):
    path = write_edf(tmp_path / "a.bdf", make_ecg(), pyedflib.FILETYPE_BDF)
    read = read_ecg(path, start=3.3, duration=2)
    with pyedflib.EdfReader(str(path)) as file:
        expected = [file.readSignal(row, 1650, 1000) / 1000 for row in range(12)]
    np.testing.assert_allclose(read.signal, expected, atol=1e-6)


@pytest.mark.parametrize("write", [write_edf, write_ishne])
@pytest.mark.parametrize(("start", "duration"), [(0, 1), (2.5, 4), (3.337, 2.111), (9.5, None), (0, None)])
def test_a_stretch(tmp_path, make_ecg, write, start, duration):
    path = write(tmp_path / "a", make_ecg())
    whole, some = read_ecg(path), read_ecg(path, start=start, duration=duration)
    begin = round(start * 500)
    np.testing.assert_array_equal(some.signal, whole.signal[:, begin : begin + some.signal.shape[1]])
    assert some.signal.shape[1] == (5000 - begin if duration is None else np.ceil(round(duration * 500, 6)))
    assert some.meta["duration"] == 10
    assert "nothing is left" in failure(path, start=10)


@pytest.mark.parametrize("write", [write_edf, write_ishne])
def test_only_the_stretch_is_held(tmp_path, make_ecg, write, monkeypatch):
    path = write(tmp_path / "a", make_ecg(seconds=100))
    whole = []
    inner = holter.np.memmap

    class Mapped:
        """A memory map that records how much of it is read."""

        def __init__(self, *args):
            self.data = inner(*args)

        def __getitem__(self, key):
            whole.append(self.data[key].nbytes)
            return self.data[key]

    monkeypatch.setattr(holter.np, "memmap", Mapped)
    assert read_ecg(path, start=50, duration=2).duration == 2
    assert 0 < sum(whole) <= 3 * 500 * 13 * 2


def test_edf_patient(tmp_path, make_ecg):
    path = write_edf(tmp_path / "a.edf", make_ecg(seconds=2))
    read = read_ecg(path)
    assert read.meta.items() >= {"age": 69, "sex": "female", "device": "Holter 9"}.items()
    assert not any(part in str(read.meta) for part in ("Mustermann", "0815", "1951"))
    asked = read_ecg(path, keep_identifiers=True)
    assert (asked.patient_id, asked.meta["birth_date"]) == ("MRN-0815", "1951-03-27")
    assert asked.meta["patient_name"] == "Mustermann Erika"


def test_edf_that_is_strict_for_others(tmp_path, make_ecg):
    ecg = make_ecg()
    path = write_edf(tmp_path / "a.edf", ecg)
    data = path.read_bytes()
    for changed in (
        data[:8] + "Müller, Jürgen".encode("latin-1").ljust(80) + data[88:],  # no ASCII
        data[:236] + b"-1      " + data[244:],  # a recorder that was never stopped
        data.replace(b"EDF+C", b"EDF+D", 1),  # interrupted, it says, but it is not
        data + b"trailing",
    ):
        path.write_bytes(changed)
        np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=2.5e-4)


def test_damaged_edf(tmp_path, make_ecg):
    path = write_edf(tmp_path / "a.edf", make_ecg())
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert "holds 9 of its 10 data records" in failure(path)
    path.write_bytes(data[:1000])
    assert "header does not hold 14 signals" in failure(path)
    path.write_bytes(data[:236] + b"99999999" + data[244:])
    assert "of its 99999999 data records" in failure(path)
    path.write_bytes(data[:244] + b"1e300   " + data[252:])
    assert "EDF" in failure(path)
    # The 14th signal, the annotations, says when each record starts
    path.write_bytes(data.replace(b"EDF+C", b"EDF+D", 1).replace(b"+5\x14\x14", b"+9\x14\x14", 1))
    assert "was interrupted" in failure(path)
    for limit in (b"1e999   ", b"nan     ", b"-8000   ", b"none    "):
        path.write_bytes(data.replace(b"8000    ", limit))
        assert "no unit" in failure(path)
    path.write_bytes(data.replace(b"uV      ", b"        "))
    assert "no unit" in failure(path)
    assert read_ecg(path, units="uV").duration == 10


def test_ishne(tmp_path, make_ecg):
    ecg = make_ecg()
    read = read_ecg(write_ishne(tmp_path / "a.ecg", ecg))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1.3e-3)
    assert read.meta == {"age": 69, "sex": "female", "device": "Holter 9", "source": "a.ecg", "duration": 10}
    asked = read_ecg(tmp_path / "a.ecg", keep_identifiers=True)
    assert (asked.patient_id, asked.meta["patient_name"]) == ("MRN-0815", "Erika Mustermann")
    eight = make_ecg(leads=INDEPENDENT_LEADS)
    read = read_ecg(write_ishne(tmp_path / "eight", eight, remark=b""))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=4e-3)


def test_ishne_agrees_with_ecgdatakit(tmp_path, make_ecg):
    from ecgdatakit import FileParser

    path = write_ishne(tmp_path / "a.ecg", make_ecg())
    expected = [lead.samples for lead in FileParser.parse(path).leads]
    np.testing.assert_allclose(read_ecg(path).signal, expected, atol=1e-6)


def test_damaged_ishne(tmp_path, make_ecg):
    path = write_ishne(tmp_path / "a.ecg", make_ecg(seconds=2))
    data = path.read_bytes()
    for end, message in [(300, "cut short"), (522, "no samples")]:
        path.write_bytes(data[:end])
        assert message in failure(path)
    for at, value in [(156, b"\xff\xff"), (156, b"\x0d\x00"), (272, b"\0\0"), (10, b"\xff\xff\xff\xff")]:
        path.write_bytes(data[:at] + value + data[at + len(value) :])
        assert "header promises" in failure(path)
    path.write_bytes(data[:10] + b"\xff\xff\xff\x7f" + data[14:])
    assert "no samples" in failure(path)
    # Its own count of samples is not to be relied on, and −32768 marks a lead that was off
    path.write_bytes(data[:14] + b"\1\0\0\0" + data[18:-24] + b"\0\x80" * 12)
    read = read_ecg(path)
    assert read.duration == 2
    assert np.isnan(read.signal[:, -1]).all()


def test_ishne_that_is_cut_short(tmp_path, make_ecg):
    whole = write_ishne(tmp_path / "a.ecg", make_ecg()).read_bytes()
    (tmp_path / "b.ecg").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(DBetaWarning, match="promises 5000 samples, it holds 2488 of each lead; it may be cut short"):
        assert read_ecg(tmp_path / "b.ecg").duration < 5


def test_channels_that_are_no_lead(tmp_path, make_ecg):
    ecg = make_ecg()
    path = write_edf(tmp_path / "a.edf", ecg, extra=False)
    content = path.read_bytes()
    for number, lead in enumerate(ecg.leads, 1):
        label = next(one for one in (f"ECG {lead}", lead, f"EKG {lead}") if one.encode().ljust(16) in content)
        content = content.replace(label.encode().ljust(16), f"CH {number}".encode().ljust(16), 1)
    path.write_bytes(content)
    assert "and - for any other channel" in failure(path)
    read = read_ecg(path, leads=[*ecg.leads[:11], "-"])
    assert (read.meta["other_channels"], read.meta["missing_leads"]) == (["CH 12"], ["V6"])
