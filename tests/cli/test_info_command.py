"""`dbeta info`: facts, patient, units and signal quality."""

import json

import numpy as np
import pytest

from command_line import cells, refused, write_wfdb
from dbeta.ecg import LEADS
from ecg_files import write_muse


def test_info(run, tmp_path, make_ecg):
    ecg = make_ecg(seconds=12)
    ecg.signal[LEADS.index("V6")] = np.nan
    record = write_wfdb(tmp_path, ecg)
    with record.open("a") as file:
        file.write("# Age: 61\n# Sex: Female\n")
    code, out, err = run("info", record, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    sizes, signal = facts.pop("peak_to_peak_mv"), facts.pop("leads")
    assert facts == {
        "record": "rec.hea",
        "sampling_rate": 500.0,
        "duration": 12.0,
        "samples": 6000,
        "looked_at": 12.0,
        "missing": round(1 / 12, 4),
        "patient_id": None,
        "age": 61,
        "sex": "female",
        "report": None,
        "missing_leads": ["V6"],
        "quality": "fair",
        "quality_reason": None,
        "acceptable": False,
        "acceptability": pytest.approx(0.1, abs=0.1),
        "objections": ["flat or missing in V6"],
        "lead_errors": [],
    }
    assert [row["lead"] for row in signal] == list(LEADS)
    assert [row["quality"] for row in signal] == ["good"] * 11 + ["unusable"]
    assert list(sizes) == list(LEADS)
    assert sizes["V6"] is None
    assert sizes["II"] == pytest.approx(np.ptp(ecg["II"]), abs=2e-3)

    code, out, err = run("info", record)
    assert (code, err) == (0, "")
    for text in ("rec.hea", "500.0 Hz", "12.0 s", "61", "female", "missing leads", "fair (acceptability 0."):
        assert text in out
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert [line[0] for line in lines] == list(LEADS)
    assert lines[1][:3] == ["II", "good", f"{sizes['II']:.2f}"]
    assert lines[11] == ["V6", "unusable: missing", "–", "–", "–", "–", "–"]


def test_info_is_readable_at_80_columns(run, tmp_path, make_ecg, monkeypatch):
    """No cell is cut, and only a list of problems takes a second line."""
    ecg = make_ecg()
    time_s = np.arange(5000) / 500
    ecg.signal[0] += 0.3 * np.sin(2 * np.pi * 50 * time_s) + np.sin(2 * np.pi * 0.2 * time_s)
    record = write_wfdb(tmp_path, ecg)
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("info", record)
    assert code == 0
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 80
    rows = cells(out)
    assert [row[0] for row in rows] == ["I", "", *LEADS[1:]]
    assert f"{rows[0][1]} {rows[1][1]}" == "fair: baseline wander, mains hum"


def test_info_of_a_long_recording_looks_at_its_first_minute(run, tmp_path, make_ecg, monkeypatch):
    ecg = make_ecg(seconds=90, sampling_rate=100)
    ecg.signal[:, 6100:] *= 5
    record = write_wfdb(tmp_path, ecg)
    monkeypatch.setattr("dbeta.io.safety.limits.VALUES", 12 * 6500)  # as if all of it were too much to read at once
    code, out, err = run("info", record, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["duration"], facts["samples"], facts["looked_at"]) == (90, 9000, 60)
    assert facts["peak_to_peak_mv"]["II"] == pytest.approx(np.ptp(ecg["II"][:6000]), abs=2e-3)
    out = " ".join(run("info", record)[1].split())
    assert "90.0 s" in out
    assert "60.0 s, the first, for voltages and quality" in out
    ecg.signal[:, :6000] = np.nan
    said = refused(run("info", write_wfdb(tmp_path, ecg, "late")))
    assert "no signal in the first 60 of 90 s" in said


def test_info_of_who_the_patient_is(run, tmp_path, make_ecg):
    path = write_muse(tmp_path / "a.xml", make_ecg(seconds=2))
    code, out, _ = run("info", path, "--json")
    assert code == 0
    assert json.loads(out)["report"] == "Normal sinus rhythm"
    assert not any(part in out for part in ("MRN-0815", "Mustermann", "1951"))
    asked = json.loads(run("info", path, "--json", "--keep-identifiers")[1])
    assert asked["patient_id"] == "MRN-0815"
    assert (asked["patient_name"], asked["birth_date"]) == ("Erika Mustermann", "1951-03-27")


def test_the_unit_of_a_table_is_told(run, tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    np.save(tmp_path / "a.npy", np.round(ecg.signal * 200).astype(np.int16))
    options = ["--fs", "500", "--leads", ",".join(LEADS)]
    assert "--units" in refused(run("info", tmp_path / "a.npy", *options))
    assert "not a unit of voltage" in refused(run("info", tmp_path / "a.npy", *options, "--units", "furlong"))
    code, out, _ = run("info", tmp_path / "a.npy", *options, "--units", "200/mV", "--json")
    assert code == 0
    assert json.loads(out)["peak_to_peak_mv"]["II"] == pytest.approx(np.ptp(ecg["II"]), abs=0.006)


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_info_of_what_is_no_ecg(run, tmp_path, as_json):
    (tmp_path / "a.dcm").write_text("no ECG")
    assert "a.dcm" in refused(run("info", tmp_path / "a.dcm", *as_json))
    refused(run("info", tmp_path / "none.xml", *as_json))


def test_raw_gain(tmp_path, make_ecg, write_record, run):
    path = write_record(tmp_path, make_ecg(seconds=4))
    path.write_text(path.read_text().replace("1000.0(0)/mV", "5(3)/V"))
    code, out, _ = run("info", path, "--raw-gain", "uV", "--json")
    facts = json.loads(out)
    assert (code, facts["raw_gain"]) == (0, "uV")
    assert facts["peak_to_peak_mv"]["II"] == pytest.approx(np.ptp(make_ecg(seconds=4)["II"]), abs=2e-3)
    code, _, said = run("info", path, "--raw-gain", "uV", "--units", "uV")
    assert code == 1
    assert "takes either --units, of the values, or --raw-gain" in said
