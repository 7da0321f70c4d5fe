"""First rows of numbers that name columns, and lead names in the first column."""

import warnings

import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaWarning
from dbeta.io.formats.numbered_header import numbering
from dbeta.io.read import read_ecg

NUMBERS = range(12)


@pytest.fixture
def ecg(make_ecg):
    return make_ecg(seconds=4)


@pytest.fixture
def table(ecg):
    return pd.DataFrame(ecg.signal.T.astype(np.float64))


def read(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)
        return read_ecg(path, sampling_rate=500, **options)


def text(table, **formats):
    return table.to_csv(index=False, header=False, **formats)


@pytest.mark.parametrize(
    "header",
    [
        ";".join(f"{one},0" for one in NUMBERS),
        ";".join(f"{one}.0" for one in NUMBERS),
        ";".join(f"{one:.1e}" for one in NUMBERS),
        ";".join(f"{one}" for one in reversed(NUMBERS)),
        ";".join(f"{one:02d}" for one in NUMBERS),
    ],
)
def test_numbers_in_any_format_and_order(tmp_path, ecg, table, header):
    (tmp_path / "a.csv").write_text(f"{header}\n{text(table, sep=';', decimal=',')}")
    with pytest.warns(DBetaWarning, match="its first row, .* is taken for the names of the columns"):
        found = read_ecg(tmp_path / "a.csv", sampling_rate=500, leads=LEADS)
    np.testing.assert_allclose(found.signal, ecg.signal, atol=1e-6)


@pytest.mark.parametrize("kept", [[0, 6], [1, 5], [5], [6, 0, 2], [0, 3, 6, 9]])
@pytest.mark.parametrize("index", [False, True])
def test_numbers_of_some_columns(tmp_path, ecg, table, kept, index):
    leads = [LEADS[one] for one in kept]
    table[kept].to_csv(tmp_path / "a.csv", index=index)
    for named in [leads, *([["-", *leads]] if index else [])]:
        found = read(tmp_path / "a.csv", leads=named, units="mV")
        assert found.duration == 4
        for lead in leads:
            np.testing.assert_allclose(found[lead], ecg[lead], atol=1e-6)


def test_whole_numbers_beside_an_index(tmp_path, table):
    counts = (table[[0]] * 1000).round().astype(int)
    counts.to_csv(tmp_path / "a.csv")
    for leads in (["I"], ["-", "I"]):
        np.testing.assert_allclose(read(tmp_path / "a.csv", leads=leads, units="uV")["I"] * 1000, counts[0], atol=1e-3)


@pytest.mark.parametrize("header", ["0", "0.0"])
def test_a_single_column_in_doubt_is_said(tmp_path, table, header):
    counts = (table[[0]] * 1000).round().astype(int) if header == "0" else table[[0]]
    (tmp_path / "a.csv").write_text(f"{header}\n{text(counts)}")
    with pytest.warns(DBetaWarning, match="may be a sample or the number of the column.*--start 0.002"):
        read_ecg(tmp_path / "a.csv", sampling_rate=500, leads=["I"], units="uV" if header == "0" else "mV")
    assert read(tmp_path / "a.csv", start=0.002, leads=["I"], units="uV").signal.shape == (12, 2000)


def test_names_above_or_below_numbers(tmp_path, ecg, table):
    names, numbers = ",".join(LEADS), ",".join(map(str, NUMBERS))
    for head in (f"{names}\n{numbers}\n", f"{numbers}\n{names}\n"):
        (tmp_path / "a.csv").write_text(head + text(table))
        np.testing.assert_allclose(read(tmp_path / "a.csv").signal, ecg.signal, atol=1e-6)


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("units", ["", " (uV)"])
def test_lead_names_in_the_first_column(tmp_path, ecg, table, header, units):
    rows = (table.T * (1000 if units else 1)).set_axis([f"{lead}{units}" for lead in LEADS])
    rows.to_csv(tmp_path / "a.csv", header=header)
    np.testing.assert_allclose(read(tmp_path / "a.csv").signal, ecg.signal, atol=1e-6)
    part = read(tmp_path / "a.csv", start=1, duration=2)
    np.testing.assert_allclose(part.signal, ecg.signal[:, 500:1500], atol=1e-6)
    rows.drop(columns=range(100, 200)).rename_axis("lead").to_csv(tmp_path / "b.csv")
    gap = read(tmp_path / "b.csv")
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(gap["V3"])), np.arange(100, 200))


@pytest.mark.parametrize(
    ("top", "rows", "expected"),
    [
        (["0", "6"], [["0.1", "-0.2"]] * 3, True),
        (["0", "6"], [["1", "5"], ["0", "7"], ["2", "6"]], False),
        (["3", "8"], [["500", "-200"], ["501", "-201"], ["502", "-202"]], True),
        (["0.0", "2.0", "1.0"], [["0.1", "-0.2", "0.0"]] * 3, True),
        (["0", "0"], [["0.1", "-0.2"]] * 3, False),
        (["0", "-6"], [["0.1", "-0.2"]] * 3, False),
        (["0.0"], [["0.1"]] * 3, False),
        (["1", "0"], [["0", "1"], ["1", "1"], ["2", "0"]], False),
        (["", "7"], [["0", "10"], ["1", "20"]], True),
    ],
)
def test_rows_that_number_columns(top, rows, expected):
    assert (numbering(top, rows) is not None) is expected
