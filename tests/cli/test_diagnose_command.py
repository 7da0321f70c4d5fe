"""`dbeta diagnose`: tables, JSON, conditions, and files that cannot be used among others."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command_line import cells, refused, warned, write_wfdb
from dbeta.ecg import ECG, LEADS
from dbeta.inference.load import load


def test_table_and_json_agree(ask, tmp_path, make_ecg, micro_checkpoint):
    record = write_wfdb(tmp_path, make_ecg())
    code, out, err = ask("diagnose", record, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [list(row) for row in rows] == [["record", "condition", "score", "percentile", "quality"]] * 22
    assert {row["record"] for row in rows} == {"rec.hea"}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert rows == load(micro_checkpoint).diagnose(record).to_dict("records")

    code, out, err = ask("diagnose", record)
    assert (code, err) == (0, "")
    assert out.startswith("rec.hea")
    assert "Not a medical device" in out
    expected = [[row["condition"], f"{row['score']:+.2f}", f"{row['percentile']:.0f}", "good"] for row in rows]
    assert cells(out) == expected


def test_no_finding_without_usable_signal(ask, tmp_path, make_ecg):
    noise = ECG(0.1 * np.random.default_rng(0).standard_normal((12, 5000)), 500)
    files = [write_wfdb(tmp_path, make_ecg(), "heart"), write_wfdb(tmp_path, noise, "noise")]
    code, out, err = ask("diagnose", *files, "--json", "--conditions", "atrial fibrillation")
    assert code == 0
    assert "noise.hea: has no usable signal, noise and no heartbeat; no finding is given" in err
    heart, none = json.loads(out)
    assert heart["quality"] == "good"
    nothing = {"condition": None, "score": None, "percentile": None, "quality": "unusable"}
    assert none == {"record": "noise.hea"} | nothing
    code, out, err = ask("diagnose", *files, "--output", "f.parquet", "--conditions", "atrial fibrillation")
    table = pd.read_parquet("f.parquet")
    assert table["quality"].tolist() == ["good", "unusable"]
    assert table["condition"].tolist() == ["atrial fibrillation", None]
    assert "no usable signal" in table["warnings"][1]
    code, _, err = ask("plot", files[1], "-o", "p.png")
    assert code == 0
    assert Path("p.png").exists()


def test_leads_are_put_right_where_asked(ask, run, tmp_path, make_ecg):
    ecg = make_ecg()
    ecg.signal[[3, 4]] = ecg.signal[[4, 3]]
    record = write_wfdb(tmp_path, ecg)
    _, out, err = run("info", record, "--json")
    assert "leads aVR and aVL are exchanged; --fix-leads repairs it" in err
    facts = json.loads(out)
    assert facts["lead_errors"][0]["leads"] == ["aVR", "aVL"]
    __, out, err = run("info", record, "--fix-leads", "--json")
    fixed = json.loads(out)
    assert "repaired" in err
    assert fixed["peak_to_peak_mv"]["aVR"] == facts["peak_to_peak_mv"]["aVL"]
    assert fixed["fixed_leads"] == ["leads aVR and aVL are exchanged"]
    wrong, right = (json.loads(ask("diagnose", record, "--json", *flag)[1]) for flag in ([], ["--fix-leads"]))
    assert wrong != right
    good = json.loads(ask("diagnose", write_wfdb(tmp_path, make_ecg(), "good"), "--json")[1])
    assert [row["score"] for row in right] == pytest.approx([row["score"] for row in good], abs=1e-4)


def test_conditions_in_words(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    code, out, _ = ask("diagnose", record, "--json", "--conditions", " LBBB;my own words ; sinus rhythm;")
    assert code == 0
    assert {row["condition"] for row in json.loads(out)} == {"LBBB", "my own words", "sinus rhythm"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["AFIB, left bundle branch block"], {"AFIB", "left bundle branch block"}),
        (["AFIB", "LBBB"], {"AFIB", "LBBB"}),
        (["AFIB,LBBB; my own words"], {"AFIB", "LBBB", "my own words"}),
    ],
)
def test_known_conditions_may_be_separated_by_commas(ask, tmp_path, make_ecg, given, expected):
    record = write_wfdb(tmp_path, make_ecg())
    options = [word for text in given for word in ("--conditions", text)]
    code, out, err = ask("diagnose", record, "--json", *options)
    assert (code, err) == (0, "")
    assert {row["condition"] for row in json.loads(out)} == expected


def test_a_description_with_a_comma_stays_whole_and_is_warned_of(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    result = ask("diagnose", record, "--json", "--conditions", "AFIB, with a wide QRS; LBBB")
    assert {row["condition"] for row in json.loads(result[1])} == {"AFIB, with a wide QRS", "LBBB"}
    assert '"AFIB, with a wide QRS" is taken as one description; separate conditions with ";"' in warned(result)


@pytest.mark.parametrize("conditions", ["", " ", ";", "a;;b", "; a", "a; ;b"])
def test_an_empty_condition(ask, tmp_path, make_ecg, conditions):
    record = write_wfdb(tmp_path, make_ecg())
    result = ask("diagnose", record, "--conditions", conditions)
    if conditions == "; a":  # a separator at either end does no harm
        assert result[0] == 0
    else:
        assert "condition is empty" in refused(result)


def test_conditions_may_be_given_several_times(ask, tmp_path, make_ecg):
    file = write_wfdb(tmp_path, make_ecg())
    options = ["--conditions", "sinus rhythm", "--conditions", "atrial fibrillation; sinus rhythm"]
    code, out, _ = ask("diagnose", file, *options, "--json")
    assert code == 0
    assert sorted(row["condition"] for row in json.loads(out)) == ["atrial fibrillation", "sinus rhythm"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_bad_file_does_not_hold_up_the_others(ask, tmp_path, make_ecg, as_json):
    first, last = (write_wfdb(tmp_path, make_ecg(seed=seed), f"good{seed}") for seed in (1, 2))
    (tmp_path / "bad.hea").write_text("nonsense")
    flat = make_ecg()
    flat.signal[:] = 0
    files = [first, tmp_path / "bad.hea", write_wfdb(tmp_path, flat, "flat"), last]
    code, out, err = ask("diagnose", *files, "--conditions", "pause", *(["--json"] if as_json else []))
    assert code == 1
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
    assert "bad.hea" in lines[0]
    assert "flat.hea" in lines[1]
    if as_json:
        assert [row["record"] for row in json.loads(out)] == ["good1.hea", "good2.hea"]
    else:
        assert out.index("good1.hea") < out.index("good2.hea")
        assert len(cells(out)) == 2


def test_brackets_are_no_markup(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    np.save(tmp_path / "[bold]a.npy", make_ecg().signal)
    options = ["--fs", "500", "--leads", ",".join(LEADS)]
    code, out, _ = ask("diagnose", record, "--conditions", "[red]pause; ST [/V1]")
    assert code == 0
    assert {row[0] for row in cells(out)} == {"[red]pause", "ST [/V1]"}
    _, out, _ = ask("diagnose", tmp_path / "[bold]a.npy", *options, "--conditions", "pause")
    assert out.startswith("[bold]a.npy")


def test_no_file_can_be_read(ask, tmp_path):
    code, out, err = ask("diagnose", tmp_path / "a.hea", tmp_path / "b.hea", "--json")
    assert code == 1
    assert json.loads(out) == []
    assert err.count("error: ") == err.count("\n") == 2


def test_a_flat_lead_is_warned_of_in_each_record(ask, tmp_path, make_ecg):
    ecg = make_ecg()
    ecg.signal[LEADS.index("V3")] = 0
    files = [write_wfdb(tmp_path, ecg, name) for name in ("one", "two")]
    lines = warned(ask("diagnose", *files)).splitlines()
    assert len(lines) == 2
    assert all("lead V3 is flat" in line for line in lines)
    assert "one.hea" in lines[0]
    assert "two.hea" in lines[1]


def test_10_khz_is_as_good_as_any(ask, tmp_path, make_ecg):
    code, out, err = ask("diagnose", write_wfdb(tmp_path, make_ecg(sampling_rate=10_000)))
    assert (code, err) == (0, "")
    assert len(cells(out)) == 22


@pytest.mark.shared
@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("challenge-2021/training/georgia/g1/E07541.mat", []),
        ("challenge-2021/training/cpsc_2018/g1/A0026.hea", []),
        ("code-15/*.hdf5", ["--record", "0"]),
        ("cpsc2018-native/*.mat", []),
    ],
)
def test_real_recordings(ask, shared, pattern, options):
    file = sorted(shared.glob(pattern))[0]
    code, out, err = ask("diagnose", file, *options, "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 22
    assert all(line.startswith("warning: ") for line in err.splitlines())


def test_a_file_of_conditions_is_not_taken_for_a_condition(ask, tmp_path, make_ecg):
    (tmp_path / "conditions.txt").write_text("AFIB\nLBBB\n")
    said = refused(ask("diagnose", write_wfdb(tmp_path, make_ecg()), "--conditions", "conditions.txt"))
    assert "conditions.txt is a file; write the conditions themselves" in said
