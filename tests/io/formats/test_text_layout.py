"""Tables in text as people have them: numbered headers, rows of units, blanks, decimal commas, gaps in their times."""

import warnings

import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import read_ecg

TOLD = {"sampling_rate": 500, "leads": LEADS}


def read(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)
        return read_ecg(path, **options)


def table(ecg, **columns):
    return pd.DataFrame({lead: ecg[lead].astype(np.float64) for lead in ecg.leads} | columns)


def failure(path, **options):
    with pytest.raises(DBetaError) as caught:
        read(path, **options)
    return str(caught.value)


# --- a first row of numbers


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("names", [range(12), range(1, 13), [f"{number}.0" for number in range(12)]])
def test_a_header_that_numbers_the_columns(tmp_path, make_ecg, names, index):
    ecg = make_ecg(seconds=4)
    table(ecg).set_axis(list(names), axis=1).to_csv(tmp_path / "a.csv", index=index)
    with pytest.warns(DBetaWarning, match="its first row, .* is taken for the names of the columns"):
        ecg_read = read_ecg(tmp_path / "a.csv", **TOLD)
    np.testing.assert_allclose(ecg_read.signal, ecg.signal, atol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "a.csv", duration=1, start=1, **TOLD).signal, ecg.signal[:, 500:1000])


def test_a_numbered_header_above_whole_numbers(tmp_path, make_ecg):
    counts = (table(make_ecg(seconds=4)) * 1000).round().astype(int).set_axis(range(12), axis=1)
    counts.to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(
        read(tmp_path / "a.csv", units="uV", **TOLD).signal, counts.to_numpy().T / 1000, atol=1e-6
    )


def test_a_numbered_header_above_leads_in_rows_or_one_column(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    table(ecg).T.to_csv(tmp_path / "rows.csv", index=False)
    np.testing.assert_allclose(read(tmp_path / "rows.csv", **TOLD).signal, ecg.signal, atol=1e-6)
    pd.Series(ecg["I"].astype(float)).to_csv(tmp_path / "one.csv", index=False)
    one = read(tmp_path / "one.csv", sampling_rate=500, leads=["I"])
    np.testing.assert_allclose(one["I"], ecg["I"], atol=1e-6)


def test_a_first_sample_is_no_header(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    ecg.signal[:, 0] = [0, 1, 0, 1, 2, 1, 0, 0, 1, 0, 0, 1]
    table(ecg).to_csv(tmp_path / "a.csv", index=False, header=False)
    np.testing.assert_allclose(read(tmp_path / "a.csv", **TOLD).signal, ecg.signal, atol=1e-6)


def test_an_index_beside_named_leads(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    table(ecg).to_csv(tmp_path / "a.csv")
    found = read(tmp_path / "a.csv", sampling_rate=500)
    np.testing.assert_allclose(found.signal, ecg.signal, atol=1e-6)
    assert "other_channels" not in found.meta


# --- times


def timed(path, ecg, times, kept=slice(None), **formats):
    table(ecg).assign(time=times).iloc[kept].to_csv(path, index=False, **formats)
    return path


@pytest.mark.parametrize("told", [{}, {"sampling_rate": 500}])
@pytest.mark.parametrize(("length", "kind"), [(1500, "csv"), (1, "csv"), (1500, "parquet")])
def test_a_gap_is_missing_samples_at_their_place(tmp_path, make_ecg, told, length, kind):
    ecg = make_ecg()
    kept = np.r_[0:2000, 2000 + length : 5000]
    path = tmp_path / f"a.{kind}"
    content = table(ecg).assign(time=np.arange(5000) / 500).iloc[kept]
    content.to_csv(path, index=False) if kind == "csv" else content.to_parquet(path)
    with pytest.warns(DBetaWarning, match=rf"a gap of {length / 500:g} s at 4 s"):
        found = read_ecg(path, **told)
    assert found.signal.shape == (12, 5000)
    missing = np.setdiff1d(np.arange(5000), kept)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found["II"])), missing)
    np.testing.assert_allclose(found.signal[:, kept], ecg.signal[:, kept], atol=1e-6)
    assert found.meta["gaps"] == [[4.0, length / 500]]
    part = read(path, start=3, duration=5, **told)
    np.testing.assert_allclose(
        part.signal, np.where(np.isin(np.arange(1500, 4000), missing), np.nan, ecg.signal[:, 1500:4000]), atol=1e-6
    )


def test_a_gap_in_a_counter_of_samples(tmp_path, make_ecg):
    kept = np.r_[0:2000, 2500:5000]
    table(make_ecg()).assign(t=np.arange(5000.0)).iloc[kept].to_csv(tmp_path / "a.csv", index=False)
    found = read(tmp_path / "a.csv", sampling_rate=500)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found["I"])), np.arange(2000, 2500))


def test_a_very_long_gap_ends_the_recording(tmp_path, make_ecg):
    times = np.arange(5000) / 500
    times[3000:] += 3600
    with pytest.warns(DBetaWarning, match="a gap of more than 10 min, by its column 'time', where the recording ends"):
        assert read_ecg(timed(tmp_path / "a.csv", make_ecg(), times)).duration == 6


@pytest.mark.parametrize(
    ("rate", "decimals", "rounded"), [(360, 3, 1e-3), (512, 4, 1e-4), (130, 3, 1e-3), (1024, 3, 1e-3)]
)
def test_rounded_times_are_even(tmp_path, make_ecg, rate, decimals, rounded):
    ecg = make_ecg(sampling_rate=rate)
    times = np.round(np.arange(ecg.signal.shape[1]) / rate, decimals)
    found = read(timed(tmp_path / "a.csv", ecg, times))
    assert found.sampling_rate == pytest.approx(rate, rel=rounded / 9)
    np.testing.assert_allclose(found.signal, ecg.signal, atol=1e-6)


@pytest.mark.parametrize("told", [{}, {"sampling_rate": 500}])
def test_times_that_contradict_themselves(tmp_path, make_ecg, told):
    ecg, even = make_ecg(), np.arange(5000) / 500
    backwards, repeated, uneven = even.copy(), even.copy(), even**2
    backwards[2500:] -= 1
    repeated[2500:] -= 0.002
    for times, words in [
        (backwards, "times that go backwards after row 2500"),
        (np.concatenate([even[:2500], even[:2500]]), "times that go backwards after row 2500"),
        (repeated, "has times that repeat after row 2500"),
        (uneven, "has times whose steps differ"),
    ]:
        message = failure(timed(tmp_path / "a.csv", ecg, times), **told)
        assert words in message


def test_clock_times_and_dates(tmp_path, make_ecg):
    ecg = make_ecg()
    seconds = np.arange(5000) / 500
    kept = np.r_[0:2000, 2500:5000]
    for times in (
        [f"{int(at // 60)}:{at % 60:06.3f}" for at in seconds + 55],
        [
            f"{(86395 + at) // 3600 % 24:02.0f}:{(86395 + at) // 60 % 60:02.0f}:{(86395 + at) % 60:06.3f}"
            for at in seconds
        ],
        [f"{one:%Y-%m-%dT%H:%M:%S.%f}" for one in pd.Timestamp("2026-01-01") + pd.to_timedelta(seconds, "s")],
    ):
        found = read(timed(tmp_path / "a.csv", ecg, times, kept))
        assert found.sampling_rate == pytest.approx(500, rel=1e-4)
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(found["I"])), np.arange(2000, 2500))


# --- columns.txt and its relatives


def test_a_sensor_with_several_columns_of_times(tmp_path, make_ecg):
    ecg = make_ecg(sampling_rate=130)
    at = np.arange(1300) / 130
    content = pd.DataFrame(
        {
            "Phone timestamp": [f"2026-08-15T02:41:{second % 10:02}.000" for second in range(1300)],
            "sensor timestamp [ns]": 599636646177065964 + np.round(at * 1e9).astype(np.int64),
            "timestamp [ms]": np.round(at * 1e3, 6),
            "ecg [uV]": np.round(ecg["I"] * 1000).astype(int),
        }
    )
    content.to_csv(tmp_path / "a.txt", sep=";", index=False)
    found = read_ecg(tmp_path / "a.txt", leads=["I"])
    assert found.sampling_rate == pytest.approx(130, rel=1e-5)
    np.testing.assert_allclose(found["I"], ecg["I"], atol=6e-4)
    assert "--leads" in failure(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.txt", "a.dat", "a.asc", "a"])
@pytest.mark.parametrize("layout", ["blanks", "aligned", "tabs", "semicolons", "decimal comma", "aligned comma"])
def test_tables_of_any_name_and_separator(tmp_path, make_ecg, name, layout):
    ecg = make_ecg(seconds=4)
    rows = ecg.signal.T.astype(np.float64)
    form, separator = {
        "blanks": ("{:.5f}", " "),
        "aligned": ("{:10.5f}", ""),
        "tabs": ("{:.5f}", "\t"),
        "semicolons": ("{:.5f}", " ; "),
        "decimal comma": ("{:.5f}", ";"),
        "aligned comma": ("{:10.5f}", ""),
    }[layout]
    lines = [separator.join(form.format(value) for value in row) for row in rows]
    if "comma" in layout:
        lines = [line.replace(".", ",") for line in lines]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    np.testing.assert_allclose(read(tmp_path / name, **TOLD).signal, ecg.signal, atol=1e-5)
    if layout in ("aligned", "blanks", "tabs"):
        named = ["\t".join(LEADS) if layout == "tabs" else "  ".join(LEADS), *lines]
        (tmp_path / name).write_text("\n".join(named) + "\n")
        np.testing.assert_allclose(read(tmp_path / name, sampling_rate=500).signal, ecg.signal, atol=1e-5)


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("header", ["", "I [uV]\n"])
def test_one_column(tmp_path, make_ecg, decimal, header):
    microvolts = make_ecg(seconds=4)["I"].astype(np.float64) * 1000
    lines = "\n".join(f"{value:.3f}".replace(".", decimal) for value in microvolts)
    (tmp_path / "a.txt").write_text(header + lines + "\n")
    options = {"sampling_rate": 500} | ({} if header else {"leads": ["I"], "units": "uV"})
    np.testing.assert_allclose(read(tmp_path / "a.txt", **options)["I"] * 1000, microvolts, atol=1e-3)


# --- a row of units


@pytest.mark.parametrize("units", ["s,{}", "(s),({})", "'hh:mm:ss.mmm','{}'", "seconds,{}", "[sec],[{}]"])
@pytest.mark.parametrize(("unit", "factor"), [("mV", 1), ("uV", 1000), ("µV", 1000)])
def test_a_row_of_units(tmp_path, make_ecg, units, unit, factor):
    ecg = make_ecg(seconds=4)
    first, second = units.split(",")
    names = ["'Elapsed time'" if "'" in first else "time", *(f"'{one}'" if "'" in first else one for one in LEADS)]
    at = [f"'0:{n / 500:06.3f}'" if "'" in first else f"{n / 500:.3f}" for n in range(2000)]
    rows = [
        ",".join([time, *(f"{value * factor:.5f}" for value in row)])
        for time, row in zip(at, ecg.signal.T, strict=True)
    ]
    text = "\n".join([",".join(names), ",".join([first, *[second.format(unit)] * 12]), *rows]) + "\n"
    (tmp_path / "a.csv").write_text(text, "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_ecg(tmp_path / "a.csv")
    assert found.sampling_rate == 500
    np.testing.assert_allclose(found.signal, ecg.signal, atol=1e-4)
    with pytest.warns(DBetaWarning, match="as --units says"):
        np.testing.assert_allclose(
            read_ecg(tmp_path / "a.csv", units="2 nV").signal, ecg.signal * factor * 2e-6, atol=1e-6
        )


def test_a_row_of_units_that_are_none(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    lines = table(ecg).to_csv(index=False).splitlines()
    (tmp_path / "a.csv").write_text("\n".join([lines[0], ",".join(["adu"] * 12), *lines[1:]]))
    assert "has lead I in 'adu', which is not a unit of voltage; state the unit with --units" in failure(
        tmp_path / "a.csv", sampling_rate=500
    )
    np.testing.assert_allclose(read(tmp_path / "a.csv", sampling_rate=500, units="mV").signal, ecg.signal, atol=1e-5)


@pytest.mark.shared
def test_shared_files(shared):
    faults = shared / "faults"
    numbered = np.loadtxt(faults / "csv-pandas-default-header.csv", delimiter=",", skiprows=1)
    found = read(faults / "csv-pandas-default-header.csv", sampling_rate=1000, leads=LEADS)
    np.testing.assert_allclose(found.signal, numbered.T, atol=1e-6)
    rows = np.loadtxt(faults / "csv-time-with-gap.csv", delimiter=",", skiprows=1)
    places = np.round(rows[:, 0] * 500).astype(int)
    for told in ({}, {"sampling_rate": 500}):
        found = read(faults / "csv-time-with-gap.csv", **told)
        assert (found.duration, found.meta["gaps"]) == (10, [[4.0, 3.0]])
        np.testing.assert_allclose(found.signal[:, places], rows[:, 1:].T, atol=1e-6)
        assert np.isnan(np.delete(found.signal, places, axis=1)).all()
    sensor = pd.read_csv(faults / "columns.txt", sep=";")
    found = read(faults / "columns.txt", leads=["I"])
    assert found.sampling_rate == pytest.approx(130, rel=1e-5)
    np.testing.assert_allclose(found["I"] * 1000, sensor["ecg [uV]"], atol=1e-3)


def test_blanks_between_cells_below_a_header_and_units(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    rows = "\n".join(
        f"{n / 500:8.3f} " + " ".join(f"{value:9.5f}" for value in row) for n, row in enumerate(ecg.signal.T)
    )
    (tmp_path / "a.txt").write_text(f"time {' '.join(LEADS)}\ns {' '.join(['mV'] * 12)}\n{rows}\n")
    found = read_ecg(tmp_path / "a.txt")
    assert found.sampling_rate == 500
    np.testing.assert_allclose(found.signal, ecg.signal, atol=1e-5)
    (tmp_path / "b.txt").write_text(f"time (s)  {'  '.join(f'{lead} (mV)' for lead in LEADS)}\n{rows}\n")
    np.testing.assert_allclose(read_ecg(tmp_path / "b.txt").signal, ecg.signal, atol=1e-5)
