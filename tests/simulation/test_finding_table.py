"""The table of findings and the criteria belong together, and mistakes in either are told in a sentence."""

import dataclasses

import pytest
import torch

from dbeta.errors import DBetaError
from dbeta.simulation.finding_table import FILE, TABLE, Row, read_table
from dbeta.simulation.signs import Findings
from dbeta.simulation.simulation import simulate

EMPTY = Row((), "", (), (), "", "")


def test_the_table_is_what_the_criteria_decide():
    assert set(simulate(0, [0]).findings) == set(TABLE)
    assert len(TABLE) == 109


def test_a_criterion_without_a_row(monkeypatch):
    with pytest.raises(DBetaError, match=r"findings.csv: has no row for 'long p', which a criterion decides; add"):
        Findings().decide("long p", torch.tensor([True]))
    monkeypatch.delitem(TABLE, "u wave")
    with pytest.raises(DBetaError, match="no row for 'u wave'"):
        simulate(0, [0])


@pytest.mark.parametrize(
    "row",
    [
        EMPTY,
        dataclasses.replace(EMPTY, hidden_by=("paced",)),
        dataclasses.replace(EMPTY, classes=("hypertrophy",)),
        dataclasses.replace(EMPTY, leads=("V1",)),
    ],
)
def test_a_row_without_a_criterion(monkeypatch, row):
    monkeypatch.setitem(TABLE, "long p", row)
    with pytest.raises(DBetaError, match=r"findings.csv: 'long p' has a row but no criterion; decide it in"):
        simulate(0, [0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("long p,,sometimes,,,,", "'long p' has 'sometimes' where it should have any, chest, any if present"),
        ("long p,V7,,,,,", "'long p' has 'V7' where it should have I, II"),
        ("long p,,,pacing,,,", "'long p' has 'pacing' where it should have paced, LBBB or WPW"),
        ("long p,,,,a class,,", "'long p' has 'a class' where it should have a finding of the table"),
        ("long p,,,,,always,", "'long p' has 'always' where it should have never, unclear"),
        ("long p,,,,,,last", "'long p' has 'last' where it should have first, implied, acute"),
        ("u wave,,,,,,", "lists 'u wave' twice"),
    ],
)
def test_mistakes_in_the_table(tmp_path, line, message):
    file = tmp_path / "findings.csv"
    file.write_text(f"{FILE.read_text(encoding='utf-8').rstrip()}\n{line}\n", encoding="utf-8")
    with pytest.raises(DBetaError, match=f"findings.csv: {message}"):
        read_table(file)
