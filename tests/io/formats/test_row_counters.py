"""Missing rows shown by times of any name and type, by numbers of rows, and by times coarser than a sample."""

import warnings

import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.formats.row_counters import may_count
from dbeta.io.read import read_ecg

SECONDS = np.arange(5000) / 500
KEPT = np.r_[0:2000, 3500:5000]
MISSING = np.arange(2000, 3500)
START = pd.Timestamp("2021-01-13 10:59:57.123")


def table(ecg, kept=KEPT, name=None, values=None):
    content = pd.DataFrame({lead: ecg[lead].astype(np.float64) for lead in ecg.leads})
    if name is not None:
        content.insert(0, name, values)
    return content.iloc[kept]


def check(path, ecg, kept=KEPT, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_ecg(path, **options)
    assert found.sampling_rate == pytest.approx(500, rel=1e-6)
    expected = np.full((12, 5000), np.nan)
    expected[:, kept] = ecg.signal[:, kept]
    np.testing.assert_allclose(found.signal, expected[:, : found.signal.shape[1]], atol=1e-6)
    if len(kept) < 5000:
        assert any("samples are missing (NaN) there" in str(one.message) for one in caught)
    part = read(path, start=3, duration=5, **options)
    np.testing.assert_allclose(part.signal, expected[:, 1500:4000], atol=1e-6)


def read(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)
        return read_ecg(path, **options)


def failure(path, **options):
    with pytest.raises(DBetaError) as caught:
        read(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("told", [{}, {"sampling_rate": 500}])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize(
    "values",
    [START + pd.to_timedelta(SECONDS, "s"), pd.to_timedelta(SECONDS, "s"), SECONDS],
    ids=["datetime", "timedelta", "float"],
)
def test_parquet_with_typed_times(tmp_path, make_ecg, values, index, told):
    ecg = make_ecg()
    content = table(ecg, name="time", values=values)
    (content.set_index("time").rename_axis(None) if index else content).to_parquet(tmp_path / "a.parquet")
    check(tmp_path / "a.parquet", ecg, **told)


@pytest.mark.parametrize("name", ["time", "when"])
def test_parquet_with_times_in_text(tmp_path, make_ecg, name):
    ecg = make_ecg()
    written = (START + pd.to_timedelta(SECONDS, "s")).strftime("%Y-%m-%d %H:%M:%S.%f")
    table(ecg, name=name, values=written).assign(note="text").to_parquet(tmp_path / "a.parquet")
    check(tmp_path / "a.parquet", ecg, sampling_rate=500)


def test_parquet_with_dropped_rows(tmp_path, make_ecg):
    ecg = make_ecg()
    table(ecg).to_parquet(tmp_path / "a.parquet")
    check(tmp_path / "a.parquet", ecg, sampling_rate=500)
    table(ecg).set_axis([str(one) for one in range(12)], axis=1).to_parquet(tmp_path / "b.parquet")
    check(tmp_path / "b.parquet", ecg, sampling_rate=500, leads=LEADS)


@pytest.mark.parametrize("told", [{}, {"sampling_rate": 500}])
@pytest.mark.parametrize(
    "name",
    ["t_s", "Tijd", "ECG time", "ecg_time_s", "UnixTime", "unix_time", "epoch", "Date Time", "", "recorded at time"],
)
def test_seconds_of_any_name(tmp_path, make_ecg, name, told):
    ecg = make_ecg()
    table(ecg, name=name, values=1609459200 + SECONDS if "unix" in name.casefold() else SECONDS).to_csv(
        tmp_path / "a.csv", index=False
    )
    check(tmp_path / "a.csv", ecg, **told)
    check(tmp_path / "a.csv", ecg, sampling_rate=500, leads=["-", *LEADS])


@pytest.mark.parametrize("told", [{}, {"sampling_rate": 500}])
@pytest.mark.parametrize("name", ["datetime", "Date Time", "date_time", "", "when"])
@pytest.mark.parametrize(
    "form", ["%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S.%f", "%H:%M:%S.%f"]
)
def test_dates_of_any_name(tmp_path, make_ecg, name, form, told):
    ecg = make_ecg()
    values = (START + pd.to_timedelta(SECONDS, "s")).strftime(form)
    table(ecg, name=name, values=values).to_csv(tmp_path / "a.csv", index=False)
    check(tmp_path / "a.csv", ecg, **told)


@pytest.mark.parametrize("name", ["sample", "index", "", "Unnamed: 0", "frame no", "n"])
@pytest.mark.parametrize("first", [0, 1, 7000])
def test_numbers_of_rows(tmp_path, make_ecg, name, first):
    ecg = make_ecg()
    table(ecg, name=name, values=first + np.arange(5000)).to_csv(tmp_path / "a.csv", index=False)
    check(tmp_path / "a.csv", ecg, sampling_rate=500)
    assert "give it in Hz with --fs" in failure(tmp_path / "a.csv")


def test_numbers_of_rows_without_a_header(tmp_path, make_ecg):
    ecg = make_ecg()
    table(ecg, name="n", values=np.arange(5000)).to_csv(tmp_path / "a.csv", index=False, header=False)
    check(tmp_path / "a.csv", ecg, sampling_rate=500, leads=["-", *LEADS])


def test_a_clock_at_midnight(tmp_path, make_ecg):
    ecg = make_ecg()
    values = (pd.Timestamp("2021-01-13 23:59:57") + pd.to_timedelta(SECONDS, "s")).strftime("%H:%M:%S.%f")
    table(ecg, name="when", values=values).to_csv(tmp_path / "a.csv", index=False)
    check(tmp_path / "a.csv", ecg, sampling_rate=500)


def test_other_channels_that_rise_are_no_times(tmp_path, make_ecg):
    ecg = make_ecg()
    uneven = np.cumsum(np.random.default_rng(0).exponential(size=5000))
    table(ecg, slice(None), "distance", uneven).to_csv(tmp_path / "a.csv", index=False)
    check(tmp_path / "a.csv", ecg, np.arange(5000), sampling_rate=500)


@pytest.mark.parametrize("share", [0.12, 0.3])
def test_many_single_rows_are_missing(tmp_path, make_ecg, share):
    ecg = make_ecg()
    kept = np.flatnonzero(np.r_[True, np.random.default_rng(1).random(4998) > share, True])
    table(ecg, kept, "time", SECONDS).to_csv(tmp_path / "a.csv", index=False)
    check(tmp_path / "a.csv", ecg, kept)


@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("tick", [1, 0.1, 0.01])
def test_times_coarser_than_a_sample(tmp_path, make_ecg, tick, unit):
    ecg = make_ecg()
    coarse = np.floor(SECONDS / tick + 1e-9) * tick * unit
    table(ecg, slice(None), "time", coarse).to_csv(tmp_path / "a.csv", index=False)
    check(tmp_path / "a.csv", ecg, np.arange(5000), sampling_rate=500)
    assert "too coarse to tell its sampling rate; give it in Hz with --fs" in failure(tmp_path / "a.csv")
    assert "is sampled at about 500 Hz by its times, not at 250" in failure(tmp_path / "a.csv", sampling_rate=250)
    gap = np.r_[0:1730, 3415:5000]
    table(ecg, gap, "time", coarse).to_csv(tmp_path / "b.csv", index=False)
    check(tmp_path / "b.csv", ecg, gap, sampling_rate=500)


def test_rows_missing_within_a_coarse_time(tmp_path, make_ecg):
    table(make_ecg(), np.r_[0:2100, 2400:5000], "time", np.floor(SECONDS)).to_csv(tmp_path / "a.csv", index=False)
    assert "too coarse to tell where" in failure(tmp_path / "a.csv", sampling_rate=500)


@pytest.mark.parametrize(
    ("name", "cells", "expected"),
    [
        ("", ["0", "1", "2"], True),
        ("x", ["0,1", "0,2", "0,3"], True),
        ("x", ["2021-01-01", "2021-01-01", "2021-01-01"], True),
        ("x", ["1", "1", "1"], False),
        ("epoch", ["1", "1", "1"], True),
        ("x", ["a", "b", "c"], False),
        ("x", ["0", "", "2"], False),
        ("x", ["0", "1"], False),
    ],
)
def test_columns_that_may_count(name, cells, expected):
    assert may_count(name, cells) is expected
