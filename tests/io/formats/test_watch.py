import json
import struct

import numpy as np
import pytest

from dbeta.errors import DBetaError
from dbeta.io.read import find_ecgs, read_ecg

ENGLISH = ["Name", "Date of Birth", "Recorded Date", "Classification", "Symptoms", "Software Version", "Device"]
VALUES = ["Erika Mustermann", '"Mar 27, 1951"', "2026-05-30 16:32:18 -0700", "Sinus Rhythm", "", "1.90", '"Watch7,12"']
# Sample rate, lead and unit, each with its name; and how numbers are written
LANGUAGES = {
    "English": ("Sample Rate,512 hertz", "Lead,Lead I", "Unit,µV", "{:.3f}"),
    "English, thousands": ("Sample Rate,512 hertz", "Lead,Lead I", "Unit,µV", "{:,.3f}"),
    "German": ("Messrate,512 Hertz", "Ableitung,Ableitung I", "Einheit,µV", "{:.3f}|."),
    "French": ('Taux,"512,0 Hz"', "Dérivation,Dérivation I", "Unité,μV", "{:,.3f}|,\u202f|."),
    "quoted": ('"Taux","512,0 Hz"', '"Dérivation","Dérivation I"', '"Unité","µV"', '"{:.3f}"|.'),
    "Russian": ('Частота,"512 герц"', "Отведение,Отведение I", "Единица,мкВ", "{:.3f}|."),
    "Japanese": ("サンプルレート,512ヘルツ", "誘導,第I誘導", "単位,µV", "{:.3f}"),
    "millivolts": ("Sample Rate,512", "Lead,I", "Unit,mV", "{:.6f}"),
}


def write(form, value):
    pattern, *changes = form.split("|")
    text = pattern.format(value)
    if changes == ["."]:
        return text.replace(".", ",")
    if changes:
        return text.replace(",", "\u202f").replace(".", ",")
    return text


def export(path, microvolts, language, newline="\n", encoding="utf-8"):
    rate, lead, unit, form = LANGUAGES[language]
    names = [f"{name} ({language.partition(',')[0]})" for name in ENGLISH]
    facts = [f"{name},{value}" for name, value in zip(names, VALUES, strict=True)]
    scale = 1000 if unit.endswith("mV") else 1
    lines = [*facts, rate, "", "", lead, unit, "", *(write(form, value / scale) for value in microvolts), ""]
    path.write_bytes(newline.join(lines).encode(encoding))
    return path


@pytest.mark.parametrize(("newline", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig"), ("\n", "utf-16")])
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_export_in_any_language(tmp_path, make_ecg, language, newline, encoding):
    microvolts = make_ecg(seconds=4, sampling_rate=512)["I"].astype(np.float64) * 1500  # above 1,000 µV
    ecg = read_ecg(export(tmp_path / "a.csv", microvolts, language, newline, encoding))
    assert ecg.sampling_rate == 512
    np.testing.assert_allclose(ecg["I"] * 1000, microvolts, atol=2e-3)
    assert ecg.meta["missing_leads"] == ["II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert (ecg.report, ecg.meta["age"], ecg.meta["device"]) == ("Sinus Rhythm", 75, "Watch7,12")
    assert not any("Mustermann" in str(value) for value in [ecg.report, *ecg.meta.values()])
    kept = read_ecg(tmp_path / "a.csv", keep_identifiers=True)
    assert (kept.meta["patient_name"], kept.meta["birth_date"]) == ("Erika Mustermann", "1951-03-27")
    assert find_ecgs(tmp_path) == [tmp_path / "a.csv"]


def test_a_unit_in_an_unknown_language_is_asked_for(tmp_path, make_ecg):
    microvolts = make_ecg(seconds=4, sampling_rate=512)["I"].astype(np.float64) * 1000
    path = export(tmp_path / "a.csv", microvolts, "English")
    path.write_text(path.read_text("utf-8").replace("µV", "מיקרו"), "utf-8")
    with pytest.raises(DBetaError, match="not a unit of voltage; state the unit with --units"):
        read_ecg(path)
    np.testing.assert_allclose(read_ecg(path, units="uV")["I"] * 1000, microvolts, atol=2e-3)


def test_kardia_json(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4, sampling_rate=300)
    samples = {f"lead{lead}": np.round(ecg[lead] * 2000).astype(int).tolist() for lead in ("I", "II")}
    raw = {"frequency": 300, "mainsFrequency": 50, "amplitudeResolution": 500, "samples": samples}
    facts = {"id": "x", "patientID": "MRN-0815", "recordedAt": "2026-01-01T10:00:00Z", "data": {"raw": raw}}
    (tmp_path / "a.json").write_text(json.dumps(facts | {"algorithmDetermination": "afib"}))
    (tmp_path / "other.json").write_text('{"recordings": 3}')
    read = read_ecg(tmp_path / "a.json")
    assert (read.sampling_rate, read.report, read.patient_id) == (300, "afib", None)
    for lead in ("I", "II", "III", "aVF"):
        np.testing.assert_allclose(read[lead], ecg[lead], atol=1e-3)
    assert find_ecgs(tmp_path) == [tmp_path / "a.json"]


def write_atc(path, ecg, leads=("I", "II"), nanovolts=500):
    def block(name, content):
        body = name + struct.pack("<I", len(content)) + content
        return body + struct.pack("<I", sum(body))

    names = (b"ecg ", b"ecg2", b"ecg3")
    content = b"ALIVE\0\0\0" + struct.pack("<I", 2)
    content += block(b"info", b"2026-01-01".ljust(32, b"\0") + b"uuid".ljust(44, b"\0") + bytes(192))
    content += block(b"fmt ", struct.pack("<BHHBH", 1, round(ecg.sampling_rate), nanovolts, 0, 0))
    for name, lead in zip(names, leads, strict=False):
        content += block(name, np.round(ecg[lead] * 1e6 / nanovolts).astype("<i2").tobytes())
    path.write_bytes(content)
    return path


def test_kardia_atc(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4, sampling_rate=300)
    read = read_ecg(write_atc(tmp_path / "a.atc", ecg))
    assert read.sampling_rate == 300
    for lead in ("I", "II", "aVR"):
        np.testing.assert_allclose(read[lead], ecg[lead], atol=1e-3)
    whole = (tmp_path / "a.atc").read_bytes()
    (tmp_path / "cut.atc").write_bytes(whole[:-1000])
    with pytest.raises(DBetaError, match="ends within its block 'ecg2'; get the file again"):
        read_ecg(tmp_path / "cut.atc")
    (tmp_path / "none.atc").write_bytes(whole[:12])
    with pytest.raises(DBetaError, match="has no samples"):
        read_ecg(tmp_path / "none.atc")


@pytest.mark.shared
def test_real_exports(shared):
    for name in ("watch-english.csv", "watch-german.csv"):
        lines = (shared / "faults" / name).read_text("utf-8").splitlines()[13:]
        expected = np.array([float(line.replace(",", ".")) for line in lines])
        ecg = read_ecg(shared / "faults" / name)
        assert (ecg.sampling_rate, ecg.duration) == (512, 5000 / 512)
        np.testing.assert_allclose(ecg["I"] * 1000, expected, atol=1e-3)
