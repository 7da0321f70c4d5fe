"""Cleaning report text and writing reports from findings."""

import random

import pandas as pd
import pytest

from dbeta.conditions.wordings import _phrases, wordings, write_report
from dbeta.corpus.report_text import clean_report

NAMES = ("sinus rhythm", "left axis deviation", "atrial fibrillation", "a finding that nobody lists")


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("Sinus rhythm", "sinus rhythm"),
        ("*** Normal EKG ***", "normal ecg"),
        ("=- Borderline ECG -=", "borderline ecg"),
        ("= ABNORMAL ECG =", "abnormal ecg"),
        ("sinus\trhythm.\n  Normal   ecg.", "sinus rhythm. normal ecg."),
        ("non-specific ST-T changes", "non-specific st-t changes"),
        ("QTc = 480 ms", "qtc = 480 ms"),
        ("Linkslagetyp. Überleitung gestört", "linkslagetyp. überleitung gestört"),
        ("  ", ""),
        ("***", ""),
        ("nan", ""),
        ("TRACE ONLY REQUESTED.", ""),
        ("trace only requested. EDIT: CLBBB", ""),
        ("Sinus rhythm. Unconfirmed report.", "sinus rhythm."),
        ("** Unconfirmed **", ""),
        ("Schrittmacher EKG 4.46                     unbestätigter Bericht", "schrittmacher ecg"),
        ("Sinusrhythmus Lagetyp normal 4.46         unbestätigter Be", "sinusrhythmus lagetyp normal"),
        ("sinusrhythmus 4.46   unbestätigter bericht EDIT: NORM 100", "sinusrhythmus"),
        ("sinusrytmconsensus label derived from: {'NORM': 100.0, 'SR': 0.0}", "sinusrytm"),
        ("inferiorer infarkt alter unbest. 4.46   unbest", "inferiorer infarkt alter unbest."),
        ("Standard 12-lead ECG. Atrial fibrillation", "atrial fibrillation"),
        ("Report not available; no previous ECGs available for comparison", ""),
        ("Interpretation made without knowing patient's gender/age. Normal ECG.", "normal ecg."),
        # what can be seen in the trace, or is part of a finding, stays
        ("--- Warning: Data quality may affect interpretation ---", "warning: data quality may affect interpretation"),
        ("*** Poor data quality", "poor data quality"),
        ("Inferior infarct. Age undetermined.", "inferior infarct. age undetermined."),
        ("Sinus rhythm. Compared with tracing of 9:9:91, it is unchanged.",) * 2,
    ],
)
def test_clean_report(raw, clean):
    clean = clean.lower()
    assert clean_report(raw) == clean
    assert clean_report(clean) == clean


@pytest.mark.parametrize(
    "lines, clean",
    [
        (["Sinus rhythm", "Normal EKG", None, float("nan"), ""], "sinus rhythm. normal ecg"),
        (["Sinus rhythm.", "*** Acute MI ***", "= abnormal ECG ="], "sinus rhythm. acute mi. abnormal ecg"),
        (["Possible infarct,", "age undetermined"], "possible infarct, age undetermined"),
        (["Trace only requested", float("nan")], ""),
        (("Sinus rhythm", "Unconfirmed diagnosis", "Artifact in lead(s) V1"), "sinus rhythm. artifact in lead(s) v1"),
        (["--- Suspect arm lead reversal", "Pediatric ECG interpretation"], "suspect arm lead reversal"),
        ([float("nan")] * 18, ""),
        ([], ""),
    ],
)
def test_the_lines_of_a_machine_report_become_one_text(lines, clean):
    assert clean_report(lines) == clean
    assert clean_report(clean) == clean


@pytest.mark.shared
def test_real_reports_are_cleaned_once_and_for_all(shared):
    reports = pd.read_csv(shared / "ptb-xl" / "reports-folds-1-9.csv.xz")["report"]
    cleaned = reports.map(clean_report)
    assert (cleaned.map(clean_report) == cleaned).all()
    left = reports[cleaned == ""].str.lower().str.replace(r"edit:.*", "", regex=True).str.strip(" .")
    assert set(left) == {"", "trace only", "trace only requested"}
    assert not cleaned.str.contains(r"4\.46|bericht|ekg|trace only|unbestätig|edit:|consensus label").any()


def test_wordings_are_lower_case_and_never_none():
    assert wordings("A finding that nobody lists") == ("a finding that nobody lists",)
    for name in NAMES:
        assert wordings(name)
        assert all(one == one.lower() for one in wordings(name))
    assert len(wordings("atrial fibrillation")) > 1


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_written_report_states_every_finding(n):
    for seed in range(60):
        report = write_report(NAMES[:n], random.Random(seed))
        for name in NAMES[:n]:
            assert any(one in report for one in wordings(name)), (name, report)
        assert clean_report(report) == report


def test_order_wording_and_punctuation_vary():
    reports = {write_report(NAMES[:3], random.Random(seed)) for seed in range(60)}
    assert len(reports) > 20
    assert {report.startswith("sinus rhythm") for report in reports} == {True, False}


def test_written_reports_follow_from_the_seed_and_leave_the_findings_alone():
    findings = list(NAMES)
    assert write_report(findings, random.Random(4)) == write_report(findings, random.Random(4))
    assert findings == list(NAMES)


def test_phrases_are_in_a_known_language():
    for finding, phrases in _phrases().items():
        assert set(phrases) <= {"en", "de"}, finding
        assert all(isinstance(one, str) and one == one.lower() for some in phrases.values() for one in some), finding
