import numpy as np
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import read_ecg
from ecg_files import write_aecg, write_mfer, write_mortara, write_muse

WRITERS = {"aecg.xml": write_aecg, "muse.xml": write_muse, "mortara.xml": write_mortara, "a.mwf": write_mfer}


@pytest.mark.parametrize("name", WRITERS)
def test_a_minimal_file(tmp_path, make_ecg, name):
    ecg = make_ecg()
    read = read_ecg(WRITERS[name](tmp_path / name, ecg))
    # III and the augmented leads add up the rounding of two leads
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0076)
    np.testing.assert_allclose(read["V5"], ecg["V5"], atol=0.0026)
    assert (read.leads, read.sampling_rate, read.duration) == (LEADS, 500, 10)
    assert read.meta["sex"] == "female"
    assert read.meta["age"] == 69
    assert read_ecg(tmp_path / name, start=4, duration=2).signal.shape == (12, 1000)


@pytest.mark.parametrize("name", ["aecg.xml", "muse.xml", "mortara.xml"])
def test_statements_become_the_report(tmp_path, make_ecg, name):
    ecg = make_ecg(seconds=2)
    said = ("Sinus rhythm", "Left bundle branch block", "Confirmed by HOUSE, GREGORY (7) on 4/1/2020")
    path = WRITERS[name](tmp_path / name, ecg, statements=said)
    assert read_ecg(path).report == "Sinus rhythm; Left bundle branch block"
    assert "HOUSE" in read_ecg(path, keep_identifiers=True).report


@pytest.mark.parametrize("name", WRITERS)
def test_who_the_patient_is_stays_in_the_file(tmp_path, make_ecg, name):
    path = WRITERS[name](tmp_path / name, make_ecg(seconds=2))
    read = read_ecg(path)
    known = f"{read.meta} {read.report} {read.patient_id}"
    assert not any(part in known for part in ("Mustermann", "Erika", "0815", "1951"))
    asked = read_ecg(path, keep_identifiers=True)
    assert asked.patient_id == "MRN-0815"
    assert asked.meta["patient_name"] == "Erika Mustermann"
    assert asked.meta["birth_date"] == "1951-03-27"


@pytest.mark.parametrize(("unit", "scale"), [("uV", 2.5), ("nV", 2500.0), ("mV", 0.0025)])
def test_units_of_aecg(tmp_path, make_ecg, unit, scale):
    ecg = make_ecg(seconds=2)
    read = read_ecg(write_aecg(tmp_path / "a.xml", ecg, unit=unit, scale=scale))
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0013)


def test_a_rate_that_is_no_whole_number(tmp_path, make_ecg):
    path = write_aecg(tmp_path / "a.xml", make_ecg(seconds=2), increment=0.0039)
    assert read_ecg(path).sampling_rate == pytest.approx(1 / 0.0039)


def test_xml_in_utf_16(tmp_path, make_ecg):
    path = write_aecg(tmp_path / "a.xml", make_ecg(seconds=2))
    path.write_bytes(path.read_text().replace("UTF-8", "UTF-16").encode("utf-16"))
    assert read_ecg(path).duration == 2


def test_damaged_files(tmp_path, make_ecg):
    for name, write in WRITERS.items():
        path = write(tmp_path / name, make_ecg(seconds=2))
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(DBetaError, match=f"{name}: .*again"):
            read_ecg(path)


@pytest.mark.shared
def test_statements_of_scp(shared, tmp_path):
    """Insert section 8 into the real file, which lacks it: a header, a date, and its lines."""
    data = bytearray((shared / "formats" / "scp-ecg-example.scp").read_bytes())
    lines = [b"Sinus rhythm\0", b"Confirmed by Clark\0", b"Clark has a normal ECG\0"]
    body = b"\0" + (2002).to_bytes(2, "little") + bytes([11, 22, 9, 10, 0, len(lines)])
    for number, line in enumerate(lines, 1):
        body += bytes([number]) + len(line).to_bytes(2, "little") + line
    body += b"\0" * (len(body) % 2)
    section = (
        b"\0\0" + (8).to_bytes(2, "little") + (16 + len(body)).to_bytes(4, "little") + b"\x14\x14" + b"\0" * 6 + body
    )
    pointer = next(at for at in range(22, 200, 10) if data[at : at + 2] == (8).to_bytes(2, "little"))
    data[pointer + 2 : pointer + 6] = len(section).to_bytes(4, "little")
    data[pointer + 6 : pointer + 10] = (len(data) + 1).to_bytes(4, "little")
    data += section
    data[2:6] = len(data).to_bytes(4, "little")
    (tmp_path / "a.scp").write_bytes(data)
    assert read_ecg(tmp_path / "a.scp").report == "Sinus rhythm; … has a normal ECG"
    assert read_ecg(tmp_path / "a.scp", keep_identifiers=True).meta["patient_name"] == "Clark"


def test_scales_that_contradict_the_limb_leads(tmp_path, make_ecg):
    ecg = make_ecg()
    path = write_aecg(tmp_path / "a.xml", ecg)
    head, *parts = path.read_text().split('<scale value="5.0" unit="uV"/>')
    scales = [str(scale) for scale in np.round(5 / np.ptp(ecg.signal, axis=1), 3)]
    text = "".join(f'<scale value="{scale}" unit="uV"/>{part}' for scale, part in zip(scales, parts, strict=True))
    path.write_text(head + text)
    with pytest.warns(DBetaWarning, match=r"contradict the limb-lead equations.*--raw-gain, as uV"):
        read = read_ecg(path)
    assert read.meta["voltages"] == "undetermined"
    assert "lead_errors" not in read.meta
    right = read_ecg(path, raw_gain="5 uV")
    np.testing.assert_allclose(right.signal, ecg.signal, atol=0.0076)
    assert "voltages" not in right.meta


@pytest.mark.parametrize("name", WRITERS)
def test_a_raw_gain(tmp_path, make_ecg, name):
    ecg = make_ecg(seconds=2)
    path = WRITERS[name](tmp_path / name, ecg)
    stated, raw = read_ecg(path), read_ecg(path, raw_gain="2 uV")
    steps = stated.signal[[0, 1]] / raw.signal[[0, 1]]
    steps = steps[np.isfinite(steps)]
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)
    assert raw.meta["raw_gain"] == "2 uV"
    np.testing.assert_allclose(steps[0], {"muse.xml": 2.44}.get(name, 2.5), rtol=1e-4)
