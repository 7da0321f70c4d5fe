"""Cleaning report text and writing reports from findings."""

import random

import pytest

from dbeta.corpus.reports import clean_report, wordings, write_report

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
    ],
)
def test_clean_report(raw, clean):
    assert clean_report(raw) == clean
    assert clean_report(clean) == clean


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
