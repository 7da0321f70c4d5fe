"""The data card that is written with a corpus."""

import numpy as np
import pandas as pd
import pytest

from dbeta.corpus.build import build_corpus
from dbeta.ecg import LEADS


def section(card, title):
    """The text under a heading."""
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def cells(text):
    """The rows of a section's tables, without headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "---" not in line]


@pytest.fixture(scope="module")
def card(micro_corpus):
    return (micro_corpus / "README.md").read_text(encoding="utf-8")


def test_the_head(card):
    assert card.startswith("# Corpus of ptb-xl\n\n34 recordings of 17 patients; 0 more were rejected. 0.1 hours")
    assert card.count("Research use only. Not a medical device.") == 2
    assert "    dbeta corpus build ptb-xl " in card
    assert "under its licence: check" in section(card, "Licence and use")


def test_splits(card):
    assert "official folds" in section(card, "Splits")
    assert cells(section(card, "Splits"))[1:] == [["train", "12", "6"], ["validation", "20", "10"], ["test", "2", "1"]]


def test_signals(card):
    rows = cells(section(card, "Signals"))
    assert ["500 Hz", "34", "100.0%"] in rows
    assert ["10 s", "34", "100.0%"] in rows
    assert "their first 60 s" in section(card, "Signals")


def test_reports(card):
    text = section(card, "Reports")
    assert text.strip().startswith("34 records (100.0%) have one; 4 reports are unique. Median length 3 words, ")
    assert "5th to 95th percentile 2 to 4" in text
    assert "at most 4." in text
    rows = cells(text)
    assert rows[1][1:] == ["9", "26.5%"]
    assert [row[1] for row in rows[1:]] == ["9", "9", "8", "8"]


def test_findings(card):
    rows = {row[0]: row[1:] for row in cells(section(card, "Findings"))}
    assert rows["finding"] == ["train", "validation", "test", "all", "unknown"]
    assert rows["normal ecg"] == ["6", "10", "1", "17", "0"]
    assert rows["sinus bradycardia"] == ["3", "5", "1", "9", "17"]  # unknown where sinus rhythm is stated


def test_patients(card):
    text = section(card, "Patients")
    assert "unknown for 0 records" in text
    rows = cells(text)
    assert ["female", "17", "50.0%"] in rows
    assert ["CS-12 E", "34", "100.0%"] in rows


def test_rejects_are_counted_by_their_reasons(tmp_path, make_ecg):
    good = make_ecg(seconds=12).signal
    for name, samples in {
        "a": good,
        "b": good * 0,
        "c": good * 0,
        "d": good[:, :50],
        "e": good[[0, 1, 2, 4, 3, *range(5, 12)]],
    }.items():
        np.save(tmp_path / f"{name}.npy", samples)
    table = pd.DataFrame({"path": [f"{name}.npy" for name in "abcde"], "sampling_rate": 500, "leads": ",".join(LEADS)})
    table["report"] = "pipe | and <b>"
    table["findings"] = ["LBBB", "", "", "", ""]
    table["vocabulary"] = ["LBBB", "", "", "", ""]
    table.to_csv(tmp_path / "list.csv", index=False)
    build_corpus("manifest", tmp_path / "list.csv", tmp_path / "out", seconds=10)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# Corpus of manifest\n\n2 recordings of 2 patients; 3 more were rejected.")
    text = section(card, "Rejected")
    assert text.strip().startswith("3 records, all in `rejected.csv`.")
    assert [row[1] for row in cells(text)[1:]] == ["2", "1"]
    assert cells(text)[1][0] == "holds no signal, every lead is flat"
    assert "- 1 record gave a warning: leads aVR and aVL are exchanged." in card
    assert "pipe \\| and &lt;b>" in card
    assert [cells(section(card, "Findings"))[1][i] for i in (0, 4)] == ["left bundle branch block", "1"]
    assert cells(section(card, "Findings"))[1][5] == "1"  # unknown for the other one
    assert "unknown for 2 records" in section(card, "Patients")


def test_a_corpus_of_nothing_but_signals(tmp_path, make_ecg):
    np.save(tmp_path / "a.npy", make_ecg().signal)
    (tmp_path / "list.csv").write_text(f'path,sampling_rate,leads\na.npy,500,"{",".join(LEADS)}"\n')
    build_corpus("manifest", tmp_path / "list.csv", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert section(card, "Reports").strip() == "None."
    assert section(card, "Findings").strip() == "None were annotated."
    assert section(card, "Rejected").strip() == "None."
    assert ["unknown", "1", "100.0%"] in cells(section(card, "Patients"))
