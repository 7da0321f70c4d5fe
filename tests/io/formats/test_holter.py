import warnings

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
    path.write_bytes(data[:1000])
    assert "header does not hold 14 signals" in failure(path)
    path.write_bytes(data[: 256 * 15])
    assert "holds none of its 10 data records" in failure(path)
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
    assert "with - for any other channel" in failure(path)
    read = read_ecg(path, leads=[*ecg.leads[:11], "-"])
    assert (read.meta["other_channels"], read.meta["missing_leads"]) == (["CH 12"], ["V6"])


def only_warning(path, **options):
    """The recording and the one warning of reading it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = read_ecg(path, **options)
    assert len(caught) == 1
    assert read.meta["notes"] == [str(caught[0].message).partition(": ")[2]]
    return read, read.meta["notes"][0]


@pytest.mark.parametrize("kind", [pyedflib.FILETYPE_EDFPLUS, pyedflib.FILETYPE_BDF])
def test_edf_that_is_cut_short(tmp_path, make_ecg, kind):
    ecg = make_ecg()
    path = write_edf(tmp_path / "a.edf", ecg, kind, extra=False)
    data = path.read_bytes()
    width = 2 if kind == pyedflib.FILETYPE_EDFPLUS else 3
    record = (len(data) - 256 * (1 + int(data[252:256]))) // 10
    # Between two data records
    path.write_bytes(data[: len(data) - 3 * record])
    read, note = only_warning(path)
    assert note == "holds 7 of its 10 data records whole; it may be cut short"
    np.testing.assert_allclose(read.signal, ecg.signal[:, :3500], atol=2.5e-4)
    assert read.meta["duration"] == 7
    # Within one, after 300 samples of the third lead
    path.write_bytes(data[: len(data) - 3 * record + width * 1300 + 1])
    read, note = only_warning(path)
    assert note.startswith("holds 7 of its 10 data records whole, and a part of one")
    np.testing.assert_allclose(read.signal[:2], ecg.signal[:2, :4000], atol=2.5e-4)
    np.testing.assert_allclose(read.signal[2, :3800], ecg.signal[2, :3800], atol=2.5e-4)
    assert np.isnan(read.signal[2, 3800:]).all()
    assert np.isnan(read.signal[3:, 3500:]).all()
    part = read_ecg(path, start=6.5, duration=1.2)
    np.testing.assert_array_equal(part.signal, read.signal[:, 3250:3850])
    # The header may promise any number
    path.write_bytes(data[:236] + b"99999999" + data[244:])
    assert "holds 10 of its 99999999 data records" in only_warning(path)[1]


def test_edf_cut_within_its_only_record(tmp_path, make_ecg):
    ecg = make_ecg(seconds=10)
    path = edf_of(tmp_path / "a.edf", dict.fromkeys(LEADS, "mV"), {lead: ecg[lead] for lead in LEADS}, seconds=10)
    np.testing.assert_allclose(read_ecg(path).signal, ecg.signal, atol=2e-4)
    data = path.read_bytes()
    path.write_bytes(data[: 256 * 13 + 2 * 5000 * 8])
    read, _ = only_warning(path)
    np.testing.assert_allclose(read.signal[:8], ecg.signal[:8], atol=2e-4)
    assert read.meta["missing_leads"] == list(LEADS[8:])


def edf_of(path, units, signals, seconds=1):
    """Plain EDF from units and samples by label, ±8 of the unit in 16 bits, in data records of some seconds."""
    labels, records = list(units), 10 // seconds
    sizes = [len(signals[label]) // records for label in labels]
    fields = [(16, labels), (80, [""] * len(labels)), (8, list(units.values()))]
    fields += [(8, [value] * len(labels)) for value in ("-8", "8", "-32768", "32767")]
    fields += [(80, [""] * len(labels)), (8, sizes), (32, [""] * len(labels))]
    head = ["0".ljust(8), " " * 160, "01.01.20", "00.00.00", str(256 * (1 + len(labels))).ljust(8), " " * 44]
    head += [str(records).ljust(8), str(seconds).ljust(8), str(len(labels)).ljust(4)]
    text = "".join(head) + "".join(str(value).ljust(width) for width, values in fields for value in values)
    counts = [np.round((signals[label] + 8) * (65535 / 16) - 32768).astype("<i2") for label in labels]
    body = b"".join(
        part[at * size : (at + 1) * size].tobytes()
        for at in range(records)
        for part, size in zip(counts, sizes, strict=True)
    )
    path.write_bytes(text.encode("latin-1") + body)
    return path


@pytest.mark.parametrize(("fast", "slow"), [(500, 250), (500, 125), (1000, 200), (256, 200)])
def test_edf_leads_of_two_rates(tmp_path, make_ecg, fast, slow):
    one, two = make_ecg(sampling_rate=fast), make_ecg(sampling_rate=slow)
    signals = {"I": one["I"], "II": one["II"], "V1": two["V1"]}
    path = edf_of(tmp_path / "a.edf", dict.fromkeys(signals, "mV"), signals)
    read, note = only_warning(path)
    assert note == f"its leads have different sampling rates; V1 ({slow} Hz) resampled to {fast} Hz"
    assert (read.sampling_rate, read.duration, read.meta["resampled_leads"]) == (fast, 10, {"V1": slow})
    np.testing.assert_allclose(read["II"], one["II"], atol=2e-4)
    at = np.arange(0, 10 * fast, fast // np.gcd(fast, slow))  # times at which both have a sample
    np.testing.assert_allclose(read["V1"][at], two["V1"][:: slow // np.gcd(fast, slow)], atol=0.04)
    part, _ = only_warning(path, start=3.21, duration=2)
    begin = round(3.21 * fast)
    np.testing.assert_allclose(part.signal, read.signal[:, begin : begin + 2 * fast], atol=1e-5)
    # Either rate alone, as --leads says
    assert read_ecg(path, leads=["I", "II", "-"]).meta["other_channels"] == ["V1"]
    alone = read_ecg(path, leads=["-", "-", "V1"])
    assert alone.sampling_rate == slow
    np.testing.assert_allclose(alone["V1"], two["V1"], atol=2e-4)


def test_a_trend_named_as_a_lead_is_left_out(tmp_path, make_ecg):
    ecg = make_ecg()
    signals = {"I": ecg["I"], "II": ecg["II"], "V1": np.zeros(20)}
    path = edf_of(tmp_path / "a.edf", dict.fromkeys(signals, "mV"), signals)
    read, note = only_warning(path)
    assert note == "lead V1 at 2 Hz is too slow for an ECG and left out"
    assert (read.sampling_rate, read.meta["other_channels"]) == (500, ["V1 at 2 Hz"])


@pytest.mark.parametrize("unit", ["uVolt", ".V", "?V", "\xb5 Volt", "", "mmHg"])
def test_a_unit_that_is_not_understood(tmp_path, make_ecg, unit):
    ecg = make_ecg()
    signals = {lead: ecg[lead] for lead in LEADS}
    path = edf_of(tmp_path / "a.edf", dict.fromkeys(LEADS, unit), signals)
    assert "state the unit with --units, as uV or mV" in failure(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_ecg(path, units="mV").signal, ecg.signal, atol=2e-4)


def test_a_unit_that_is_overruled(tmp_path, make_ecg):
    ecg = make_ecg()
    path = edf_of(tmp_path / "a.edf", dict.fromkeys(LEADS, "V"), {lead: ecg[lead] for lead in LEADS})
    read, note = only_warning(path, units="mV")
    assert note == "states its unit as V, but is read in mV as --units says"
    np.testing.assert_allclose(read.signal, ecg.signal, atol=2e-4)


@pytest.mark.parametrize("write", [write_edf, write_ishne])
def test_raw_gain(tmp_path, make_ecg, write):
    ecg = make_ecg()
    path = write(tmp_path / "a", ecg)
    size = 16_000 / 65_535 if write is write_edf else 2.5
    read = read_ecg(path, raw_gain=f"{size} uV")
    # The offset of EDF's range is half a count
    np.testing.assert_allclose(read.signal, ecg.signal, atol=2e-3)
    assert read.meta["raw_gain"] == f"{size} uV"
    assert "either --units" in failure(path, raw_gain="uV", units="uV")
    assert "not understood" in failure(path, raw_gain="furlong")


@pytest.mark.shared
def test_the_faulty_files(shared):
    for name, units in (("uVolt", "uV"), ("dotV", "mV")):
        path = shared / "faults" / f"edf-unit-{name}.edf"
        assert "--units" in failure(path)
        with pyedflib.EdfReader(str(path)) as file:
            expected = np.stack([file.readSignal(row) for row in range(12)]) / (1000 if units == "uV" else 1)
        np.testing.assert_allclose(read_ecg(path, units=units).signal, expected, atol=1e-6)
    read, note = only_warning(shared / "faults" / "edf-leads-of-two-rates.edf")
    assert "V1 (250 Hz) resampled to 500 Hz" in note
    with pyedflib.EdfReader(str(shared / "faults" / "edf-leads-of-two-rates.edf")) as file:
        np.testing.assert_allclose(read["II"], file.readSignal(1), atol=1e-6)
        np.testing.assert_allclose(read["V1"][::2], file.readSignal(2), atol=0.05)
