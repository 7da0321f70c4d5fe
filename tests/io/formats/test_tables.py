import warnings

import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import read_ecg


def failure(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DBetaError) as caught:
            read_ecg(path, **options)
    return str(caught.value)


def table(ecg, factor=1.0, name="{}", time=None, per_second=1.0):
    columns = {name.format(lead): ecg[lead].astype(np.float64) * factor for lead in ecg.leads}
    if time:
        columns = {time: per_second * np.arange(ecg.signal.shape[1]) / ecg.sampling_rate} | columns
    return pd.DataFrame(columns)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "factor"),
    [("{} (uV)", 1e3), ("{} [µV]", 1e3), ("{}/mV", 1.0), ("Lead {} (nV)", 1e6), ("{} (V)", 1e-3), ("{}", 1.0)],
)
def test_the_unit_is_in_the_columns_name(tmp_path, make_ecg, kind, name, factor):
    ecg = make_ecg(seconds=2)
    path = tmp_path / f"a.{kind}"
    content = table(ecg, factor, name, "time")
    content.to_csv(path, index=False) if kind == "csv" else content.to_parquet(path)
    read = read_ecg(path)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-5)
    assert (read.sampling_rate, read.meta["source"], read.meta["duration"]) == (500, path.name, 2)
    assert ("unit" in read.meta) == (name == "{}")


@pytest.mark.parametrize(
    ("units", "factor"), [("uV", 1e3), ("1e-4 V", 10), ("0.1 mV", 10), ("200/mV", 200), ("0.005", 200), ("V", 1e-3)]
)
def test_the_unit_is_told(tmp_path, make_ecg, units, factor):
    ecg = make_ecg(seconds=2)
    options = {"sampling_rate": 500, "units": units}
    table(ecg, factor).to_parquet(tmp_path / "a.parquet")
    np.testing.assert_allclose(read_ecg(tmp_path / "a.parquet", **options).signal, ecg.signal, atol=1e-5)
    table(ecg, factor).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(read_ecg(tmp_path / "a.csv", **options).signal, ecg.signal, atol=1e-5)
    np.save(tmp_path / "a.npy", ecg.signal.astype(np.float64) * factor)
    read = read_ecg(tmp_path / "a.npy", leads=LEADS, **options)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-5)


def test_whole_numbers_are_no_voltages(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    whole = np.round(ecg.signal * 200).astype(np.int16)
    np.save(tmp_path / "a.npy", whole)
    pd.DataFrame(whole.T, columns=LEADS).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(whole.T).to_csv(tmp_path / "b.csv", index=False, header=False)
    pd.DataFrame(whole.T, columns=LEADS).to_parquet(tmp_path / "a.parquet")
    for name in ("a.npy", "a.csv", "b.csv", "a.parquet"):
        options = {"sampling_rate": 500} | ({"leads": LEADS} if name in ("a.npy", "b.csv") else {})
        assert "whole numbers" in failure(tmp_path / name, **options)
        read = read_ecg(tmp_path / name, units="200/mV", **options)
        np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)


@pytest.mark.parametrize("factor", [1000, 0.001])
def test_an_assumed_unit_that_cannot_be(tmp_path, make_ecg, factor):
    table(make_ecg(seconds=2), factor, time="time").to_csv(tmp_path / "a.csv", index=False)
    assert "cannot be mV; state their unit with --units" in failure(tmp_path / "a.csv")


def test_units_that_contradict_or_are_none(tmp_path, make_ecg):
    path = tmp_path / "a.csv"
    table(make_ecg(seconds=2), 1000, "{} (uV)", "time").to_csv(path, index=False)
    assert read_ecg(path, units="0.001 mV").duration == 2
    with pytest.warns(DBetaWarning, match="states its unit as uV, but is read in 2 uV as --units says"):
        np.testing.assert_allclose(read_ecg(path, units="2 uV").signal, 2 * make_ecg(seconds=2).signal, atol=1e-4)
    for units in ("furlong", "", "0 mV", "-1", "nan", "inf", "1e400 mV", "mV/s"):
        assert "not a unit of voltage" in failure(path, units=units)


@pytest.mark.parametrize(
    ("time", "per_second", "rate"),
    [("time", 1, 500), ("t", 1, 500), ("Time (s)", 1, 500), ("time_ms", 1e3, 500), ("Time [ms]", 1e3, 500)],
)
def test_the_rate_is_in_the_column_of_times(tmp_path, make_ecg, time, per_second, rate):
    path = tmp_path / "a.csv"
    table(make_ecg(seconds=2), time=time, per_second=per_second).to_csv(path, index=False)
    assert read_ecg(path).sampling_rate == rate
    assert "not at 250" in failure(path, sampling_rate=250)


def test_times_that_are_rounded_or_uneven(tmp_path, make_ecg):
    path = tmp_path / "a.csv"
    content = table(make_ecg(seconds=10, sampling_rate=360), time="time")
    content.round({"time": 3}).to_csv(path, index=False)
    assert read_ecg(path).sampling_rate == pytest.approx(360, abs=0.05)
    uneven = content["time"] ** 2
    for time in (uneven, uneven * 0, uneven.replace(0, np.inf), uneven.where(uneven > 50), -content["time"]):
        content.assign(time=time).to_csv(path, index=False)
        assert "--fs" in failure(path)


def test_bad_parquet(tmp_path, make_ecg):
    path = tmp_path / "a.parquet"
    table(make_ecg(seconds=2), time="time").to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "Parquet" in failure(path)
    pd.DataFrame({"name": ["a", "b"]}).to_parquet(path)
    assert "no columns of numbers" in failure(path)
    pd.DataFrame({"age": [50.0, 60.0]}).to_parquet(path)
    failure(path)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
@pytest.mark.parametrize(
    ("separator", "decimal", "encoding"),
    [
        *((";", ",", one) for one in ("utf-8", "utf-8-sig", "utf-16", "cp1252")),
        ("\t", ",", "utf-8"),
        ("|", ".", "utf-8"),
        (",", ".", "utf-16-le"),
        (";", ".", "cp1252"),
    ],
)
def test_tables_of_other_countries(tmp_path, make_ecg, name, separator, decimal, encoding, header):
    ecg = make_ecg(seconds=2)
    content = table(ecg, 1e3, "{} (µV)").round(2)
    text = content.to_csv(sep=separator, decimal=decimal, index=False, header=header)
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    (tmp_path / name).write_bytes(mark + text.encode(encoding))
    options = {"sampling_rate": 500} | ({} if header else {"leads": LEADS, "units": "uV"})
    np.testing.assert_allclose(read_ecg(tmp_path / name, **options).signal, ecg.signal, atol=1e-4)


def test_whole_numbers_beside_a_column_of_times(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    content = table(ecg, 200, time="time").round(dict.fromkeys(ecg.leads, 0)).astype(dict.fromkeys(ecg.leads, int))
    content.to_csv(tmp_path / "a.csv", index=False)
    content.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        assert "whole numbers" in failure(tmp_path / name)
        np.testing.assert_allclose(read_ecg(tmp_path / name, units="200/mV").signal, ecg.signal, atol=0.0026)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "b.csv", "a.npy", "b.parquet"])
def test_a_stretch_of_a_table(tmp_path, make_ecg, name, monkeypatch):
    """Pieces smaller than the stretch; b.csv has no header row, b.parquet a column of times and groups of rows."""
    monkeypatch.setattr("dbeta.io.formats.text_tables._PIECE", 3000)
    ecg = make_ecg(seconds=4)
    path, options = tmp_path / name, {"sampling_rate": 500}
    if name == "a.npy":
        np.save(path, ecg.signal.astype(np.float64))
    elif path.suffix == ".csv":
        table(ecg).to_csv(path, index=False, header=name == "a.csv")
    else:
        table(ecg, time="time" if name == "b.parquet" else None).to_parquet(path, row_group_size=700)
    if name in ("a.npy", "b.csv"):
        options["leads"] = LEADS
    if name == "b.parquet":
        options = {}
    read = read_ecg(path, start=0.5, duration=2.3, **options)
    np.testing.assert_allclose(read.signal, ecg.signal[:, 250:1400], atol=1e-5)
    assert read.meta["duration"] == 4
    assert "nothing is left" in failure(path, start=4, **options)


def test_whole_numbers_with_an_empty_cell(tmp_path, make_ecg):
    whole = table(make_ecg(seconds=2), 200, time="time")
    for name in LEADS:
        whole[name] = whole[name].round().astype("Int64")
    whole.loc[5, "I"] = pd.NA
    whole.to_csv(tmp_path / "a.csv", index=False)
    assert "whole numbers" in failure(tmp_path / "a.csv")
    whole[list(LEADS)].to_csv(tmp_path / "b.csv", index=False, header=False)
    assert "whole numbers" in failure(tmp_path / "b.csv", leads=LEADS, sampling_rate=500)
    for name, options in (("a.csv", {}), ("b.csv", {"leads": LEADS, "sampling_rate": 500})):
        assert np.isnan(read_ecg(tmp_path / name, units="200/mV", **options)["I"][5])


def test_what_a_table_says_besides_stays_in_it(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    named = table(ecg, time="time").assign(patient="Mustermann, Erika *1951-03-27")
    named.to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(read_ecg(tmp_path / "a.csv").signal, ecg.signal, atol=1e-5)
    assert "other_channels" not in read_ecg(tmp_path / "a.csv").meta
    (named.astype({"V1": object}).fillna("").assign(V1="Mustermann")).to_csv(tmp_path / "b.csv", index=False)
    assert failure(tmp_path / "b.csv").endswith("has text in column V1, where numbers should be; correct or remove it")
    lines = table(ecg).assign(more=1.0).to_csv(index=False, header=False).splitlines()
    lines[7] = lines[7].replace(",1.0", ",Mustermann")
    (tmp_path / "c.csv").write_text("\n".join(lines))
    assert "has text in column 13," in failure(tmp_path / "c.csv", leads=LEADS, sampling_rate=500)


@pytest.mark.parametrize("step", [1, 2])
def test_a_column_that_counts_samples_is_no_time(tmp_path, make_ecg, step):
    ecg = make_ecg(seconds=2)
    table(ecg).assign(t=step * np.arange(ecg.signal.shape[1], dtype=float)).to_csv(tmp_path / "a.csv", index=False)
    assert "does not state its sampling rate; give it in Hz with --fs" in failure(tmp_path / "a.csv")
    np.testing.assert_allclose(read_ecg(tmp_path / "a.csv", sampling_rate=500).signal, ecg.signal, atol=1e-5)


def test_remarks_and_ragged_rows(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    text = table(ecg, time="time").to_csv(index=False)
    for head in ("# exported\n\n # by a program, today\n", "# ", "#"):
        (tmp_path / "a.csv").write_text(head + text)
        np.testing.assert_allclose(read_ecg(tmp_path / "a.csv").signal, ecg.signal, atol=1e-5)
    noted = table(ecg, time="time").assign(note="lead #2 off, again")
    noted.to_csv(tmp_path / "d.csv", index=False)
    np.testing.assert_allclose(read_ecg(tmp_path / "d.csv").signal, ecg.signal, atol=1e-5)
    (tmp_path / "b.csv").write_text(text + "1,2," * 20 + "\n")
    assert failure(tmp_path / "b.csv").endswith("has 41 cells in line 1002, not 13; correct the table")
    (tmp_path / "c.csv").write_text(text.splitlines()[0] + "\n")
    assert failure(tmp_path / "c.csv").endswith("holds no rows of numbers; get or export the file again")


def test_leads_that_are_told_keep_their_places(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    unnamed = table(ecg).set_axis([f"ch{number}" for number in range(12)], axis=1)
    unnamed.assign(note="x").to_csv(tmp_path / "a.csv", index=False)
    read = read_ecg(tmp_path / "a.csv", sampling_rate=500, leads=[*LEADS, "-"])
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-5)
    broken = unnamed.assign(marker=1.0).astype({"ch0": object})
    broken.loc[7, "ch0"] = "ovl"
    broken.to_csv(tmp_path / "b.csv", index=False)
    for leads in (LEADS, [*LEADS, "-"]):
        assert "has text in column ch0," in failure(tmp_path / "b.csv", sampling_rate=500, leads=leads)


def test_empty_rows_between_tabs_are_missing_samples(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    gap = table(ecg)
    gap.loc[100:199] = np.nan
    gap.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    read = read_ecg(tmp_path / "a.tsv", sampling_rate=500)
    assert (read.duration, np.isnan(read["II"]).sum()) == (2, 100)
    np.testing.assert_allclose(read.signal[:, 200:], ecg.signal[:, 200:], atol=1e-5)


def test_steps_of_a_told_unit_are_believed(tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    table(ecg, time="time (s)", per_second=100.0).to_csv(tmp_path / "a.csv", index=False)
    assert "is sampled at 5 Hz, not at 500" in failure(tmp_path / "a.csv", sampling_rate=500)
    assert "is sampled at 5 Hz, too slow for an ECG" in failure(tmp_path / "a.csv")


def test_leads_without_any_number(tmp_path, make_ecg):
    (table(make_ecg(seconds=2), time="time").assign(**dict.fromkeys(LEADS, np.nan))).to_csv(
        tmp_path / "a.csv", index=False
    )
    assert "holds no valid sample" in failure(tmp_path / "a.csv")
