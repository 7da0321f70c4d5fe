"""Simulated ECGs as rows, as reports and as a corpus on disk."""

import json
import random
import re

import numpy as np
import pandas as pd
import pytest

from dbeta.conditions.wordings import HEDGES, wordings, write_report
from dbeta.corpus import simulated as module
from dbeta.corpus.report_text import clean_report
from dbeta.corpus.simulated import build_simulated
from dbeta.corpus.store import decode_signal, load_corpus, read_counts
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.simulation.dataset import SimulatedRows
from dbeta.simulation.reports import MEASURED, write_simulated_report

MEASURES = {"rate": 71.6, "pr": 0.161, "qrs": 0.092, "qt": 0.38, "qtc": 0.41, "axis": -12.2}


def test_rows_are_corpus_rows():
    rows = SimulatedRows(100, seed=3)
    columns = rows[[4, 90]]
    row = {name: column[1] for name, column in columns.items()}
    ecg = decode_signal(row)
    assert ecg.signal.shape == (12, 5000)
    assert ecg.sampling_rate == 500
    assert np.abs(ecg.signal).max() > 0.2
    assert set(row["findings"]) | set(row["unknown"]) <= set(rows.vocabulary)
    assert not set(row["findings"]) & set(row["unknown"])
    assert row["report"] == clean_report(row["report"])


def test_a_row_is_the_same_in_any_company():
    rows = SimulatedRows(1000, seed=3)
    alone, among = rows[[17]], rows[[3, 17, 999]]
    for name in ("report", "findings", "unknown", "age", "sex"):
        assert alone[name][0] == among[name][1]
    one, other = (np.frombuffer(columns["signal"][i], "<i2") for columns, i in ((alone, 0), (among, 1)))
    assert np.abs(one.astype(int) - other).max() <= 6  # a step of a coarse machine, where rounding tips over


def test_untold_findings_are_undetermined_and_in_no_report():
    name = "low amplitude t waves"
    told, silent = SimulatedRows(1000, 3), SimulatedRows(1000, 3, untold=[name])
    some = [i for i, names in enumerate(told[range(80)]["findings"]) if name in names]
    words = wordings(name)
    assert any(word in report for report in told[some]["report"] for word in words)
    rows = silent[some]
    assert all(name in names for names in rows["unknown"])
    assert not any(name in names for names in rows["findings"])
    assert not any(word in report for report in rows["report"] for word in words)
    assert rows["signal"] == told[some]["signal"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "records must be a whole number of at least 1"),
        ({"count": 5, "seed": -1}, "seed must be a whole number"),
        ({"count": 5, "seed": 10**30}, "seed must be a whole number of at least 0 and below"),
        ({"count": 5, "mix": "tropical"}, "unknown mix 'tropical'; choose one of balanced, clinic, healthy"),
        ({"count": 5, "untold": "q waves"}, "untold must be a list of findings, not 'q waves'"),
        ({"count": 5, "untold": ["flu"]}, "untold has 'flu', which is not a simulator finding"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(DBetaError, match=message):
        SimulatedRows(**settings)


def test_a_report_states_what_is_there_and_denies_what_is_not():
    findings = {"sinus rhythm": 1, "left bundle branch block": 1, "atrial fibrillation": -1, "q waves": 0}
    wordings_of = {name: wordings(name) for name in findings}
    for seed in range(200):
        report = write_simulated_report(findings, MEASURES, random.Random(seed))
        assert report.endswith(".")
        assert any(words in report for words in wordings_of["sinus rhythm"])
        assert any(words in report for words in wordings_of["left bundle branch block"])
        assert not any(len(words) > 8 and words in report for words in wordings_of["q waves"])
        if any(words in report for words in ("vorhofflimmern", "atrial fibrillation", "fibrillation")):
            denials = ("no ", "without ", "absence of ", "kein", "ohne ", "nicht nachweisbar", "ausgeschlossen")
            assert any(word in report for word in denials)


def test_reports_tell_measurements_in_their_units():
    reports = {write_simulated_report({"sinus rhythm": 1}, MEASURES, random.Random(seed)) for seed in range(400)}
    assert any("72" in report and "161" in report and "92" in report for report in reports)
    assert len(reports) > 120
    missing = MEASURES | {"pr": float("nan")}
    told = [write_simulated_report({"paced rhythm": 1}, missing, random.Random(seed)) for seed in range(300)]
    assert any("pr interval * ms" in report for report in told)
    assert not any("nan" in report for report in told)
    assert set(MEASURED) == {"en", "de"}


def test_reports_doubt_once_and_never_a_rhythm():
    signs = {"sinus rhythm": 1, "left ventricular hypertrophy": 1, "q waves": -1, "sinus bradycardia": -1}
    reports = [write_simulated_report(signs, MEASURES, random.Random(seed)) for seed in range(400)]
    doubts = [hedge for language in HEDGES.values() for hedge in language]
    assert any(doubt in report for doubt in doubts for report in reports)
    for report in reports:
        assert ".." not in report
        for rhythm in wordings("sinus rhythm"):
            assert not any(doubt + rhythm in report for doubt in doubts), report
        # A preposition asks for a case that an adjective would show
        assert not re.search(r"(?:kein hinweis auf|ohne|kein nachweis von) \S+er \S", report), report


def test_someone_without_any_finding_has_a_report():
    report = write_simulated_report({"q waves": -1, "sinus rhythm": 0}, MEASURES, random.Random(1))
    assert len(report) > 5


def test_reports_are_in_both_languages():
    reports = [write_report(["atrial fibrillation", "q waves"], random.Random(seed)) for seed in range(200)]
    german = sum("vorhofflimmern" in one or "flimmerarrhythmie" in one or "absolute arr" in one for one in reports)
    assert 20 < german < 120
    assert "vorhofflimmern" not in write_report(["atrial fibrillation"], random.Random(0), language="en")
    assert "atrial fibrillation" not in wordings("atrial fibrillation", "de")
    assert "vorhofflimmern" in wordings("atrial fibrillation", "de")
    # What has no German words keeps its English ones
    assert wordings("something rare", "de") == ("something rare",)


@pytest.fixture
def small(monkeypatch):
    """Shards of 8 records."""
    monkeypatch.setattr(module, "SHARD_SIZE", 8)
    monkeypatch.setattr(module, "BATCH", 4)


def test_a_corpus_on_disk(tmp_path, small):
    seen = []
    counts = build_simulated(
        tmp_path / "new" / "corpus", 22, 5, progress=lambda done, total: seen.append((done, total))
    )
    corpus = load_corpus(tmp_path / "new" / "corpus")
    assert counts["records"] == len(corpus) == 22
    assert counts["splits"] == {"train": 18, "validation": 2, "test": 2}
    assert read_counts(tmp_path / "new" / "corpus")["source"] == "simulated"
    assert seen[-1] == (22, 22)
    row = corpus[21]
    fresh = SimulatedRows(22, 5)[[21]]
    assert row["report"] == fresh["report"][0]
    assert row["findings"] == fresh["findings"][0]
    measures = pd.read_parquet(tmp_path / "new" / "corpus" / "measures.parquet")
    assert list(measures["record_id"]) == [str(i) for i in range(22)]
    assert {"rate", "pr", "qrs", "qt", "qtc", "axis", "causes", "flat_lead", "exchanged"} <= set(measures)
    assert "22 recordings" in (tmp_path / "new" / "corpus" / "README.md").read_text()
    assert {one.name for one in (tmp_path / "new" / "corpus").iterdir()} == {
        "README.md",
        "corpus.json",
        "measures.parquet",
        *(f"data-0000{i}-of-00003.arrow" for i in range(3)),
    }


def test_an_interrupted_corpus_goes_on(tmp_path, small, monkeypatch):
    whole = build_simulated(tmp_path / "whole", 20, 1)

    def stop(done, total):
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_simulated(tmp_path / "part", 20, 1, progress=stop)
    assert not (tmp_path / "part").exists()
    kept = (tmp_path / "part.partial" / "data-00000-of-00003.arrow").stat().st_mtime_ns
    made = []
    real = module.simulate
    monkeypatch.setattr(module, "simulate", lambda seed, batch, mix: made.append(batch[0]) or real(seed, batch, mix))
    assert build_simulated(tmp_path / "part", 20, 1) == whole
    assert min(made) == 8
    assert (tmp_path / "part" / "data-00000-of-00003.arrow").stat().st_mtime_ns == kept
    for one in (tmp_path / "whole").glob("*.arrow"):
        assert one.read_bytes() == (tmp_path / "part" / one.name).read_bytes()


def test_other_settings_begin_anew(tmp_path, small):
    (tmp_path / "corpus.partial").mkdir()
    (tmp_path / "corpus.partial" / "plan.json").write_text(json.dumps({"records": 7}))
    (tmp_path / "corpus.partial" / "data-00000-of-00001.arrow").write_text("something else")
    build_simulated(tmp_path / "corpus", 4, 1)
    assert len(load_corpus(tmp_path / "corpus")) == 4


def test_a_corpus_of_another_version_is_not_continued(tmp_path, small, monkeypatch):
    def stop(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "VERSION", 1)
    with pytest.raises(KeyboardInterrupt):
        build_simulated(tmp_path / "corpus", 10, 1, progress=stop)
    monkeypatch.undo()
    with pytest.warns(DBetaWarning, match="other settings"):
        assert build_simulated(tmp_path / "corpus", 4, 1)["simulator"] == module.VERSION


def test_a_strangers_folder_is_left_alone(tmp_path, small):
    (tmp_path / "corpus.partial").mkdir()
    (tmp_path / "corpus.partial" / "thesis.txt").write_text("years of work")
    with pytest.raises(DBetaError, match=r"corpus\.partial: exists but is not an interrupted build"):
        build_simulated(tmp_path / "corpus", 4, 1)
    assert (tmp_path / "corpus.partial" / "thesis.txt").read_text() == "years of work"


def test_a_corpus_is_never_written_over(tmp_path, small):
    (tmp_path / "corpus").mkdir()
    with pytest.raises(DBetaError, match="already exists"):
        build_simulated(tmp_path / "corpus", 4, 1)


def test_the_command(run, tmp_path):
    code, _, err = run("corpus", "simulate", str(tmp_path / "corpus"), "--records", "20", "--seed", "4")
    assert code == 0
    assert "20 simulated recordings" in err
    code, _, err = run("corpus", "simulate", str(tmp_path / "other"), "--records", "3", "--mix", "tropical")
    assert code == 1
    assert "unknown mix" in err
    assert not list(tmp_path.glob("other*"))


def test_a_folder_that_is_no_name_leaves_nothing(tmp_path):
    with pytest.raises(DBetaError, match="already exists"):
        build_simulated(tmp_path / "new" / "..", 8)
    assert not list(tmp_path.iterdir())
