import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.amplitude import Sizes, measure, qrs_sizes, unit_name
from dbeta.io.read import read_ecg


def test_the_size_is_that_of_the_qrs(make_ecg):
    ecg = make_ecg()
    rows = qrs_sizes(ecg.signal, 500)
    np.testing.assert_allclose(rows, np.ptp(ecg.signal, axis=1), rtol=0.25)
    expected = measure(ecg.signal, 500)
    assert (expected.size, expected.leads) == (pytest.approx(np.quantile(rows, 0.75)), 12)
    spoilt = ecg.signal + 5 * np.sin(2 * np.pi * 0.05 * np.arange(5000) / 500)
    spoilt[:, 2000:2005] = 500  # one artefact
    spoilt[3] = np.nan
    spoilt[:, 4000:] = np.nan
    assert measure(spoilt, 500).size == pytest.approx(expected.size, rel=0.2)
    assert measure(spoilt, 500).leads == 11
    assert measure(ecg.signal[:, ::5], 100).size == pytest.approx(expected.size, rel=0.1)
    assert measure(ecg.signal[:, :300], 500).size > 0.5
    for nothing in (np.ones((12, 5000)), np.full((12, 5000), np.nan)):
        assert measure(nothing, 500) == Sizes(0.0, 0)


@pytest.mark.parametrize(
    ("size", "leads", "units"),
    [
        *[(1.5, 12, [1.0]), (15, 12, [0.1]), (1500, 12, [0.001]), (0.0015, 12, [1000.0]), (5.5, 12, [0.1, 1.0])],
        *[(0.4, 12, [10.0]), (0.4, 2, [1.0, 10.0]), (0.4, 1, [1.0, 10.0]), (1.2, 1, [1.0]), (4, 1, [0.1, 1.0])],
        (0, 12, []),
    ],
)
def test_the_units_that_a_size_leaves_possible(size, leads, units):
    assert Sizes(size, leads).possible_units() == pytest.approx(units)


def test_a_hint_names_each_possible_unit():
    assert Sizes(15, 12).in_each_unit() == '1.5 mV with --units "1e-4 V"'
    assert Sizes(5.5, 12).in_each_unit() == '0.55 mV with --units "1e-4 V" or 5.5 mV with --units "mV"'
    assert [unit_name(unit) for unit in (1.0, 0.001, 0.1, 1e-6, 1000.0, 10.0)] == [
        "mV",
        "uV",
        "1e-4 V",
        "nV",
        "V",
        "10 mV",
    ]


@pytest.mark.parametrize("factor", [10, 100, 1000, 0.1, 0.001])
@pytest.mark.parametrize("kind", ["npy", "csv"])
def test_an_array_in_another_unit_is_never_taken_for_mv(tmp_path, make_ecg, factor, kind):
    ecg = make_ecg(seconds=4)
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, ecg.signal * factor)
    else:
        np.savetxt(path, ecg.signal.T * factor, delimiter=",")
    options = {"sampling_rate": 500, "leads": LEADS}
    with pytest.raises(DBetaError, match="cannot be mV; state their unit with --units") as caught:
        read_ecg(path, **options)
    unit = str(caught.value).rpartition('--units "')[2].rstrip('"')
    read = read_ecg(path, units=unit, **options)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-4)


def test_an_array_in_doubt(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    np.save(tmp_path / "a.npy", ecg.signal * (5.5 / measure(ecg.signal, 500).size))
    options = {"sampling_rate": 500, "leads": LEADS}
    with pytest.raises(DBetaError, match=r'0.55 mV with --units "1e-4 V" or 5.5 mV with --units "mV"'):
        read_ecg(tmp_path / "a.npy", **options)
    assert read_ecg(tmp_path / "a.npy", units="mV", **options).signal.shape == (12, 2000)


def test_what_is_assumed_is_said_once(tmp_path, make_ecg):
    np.save(tmp_path / "a.npy", make_ecg(seconds=4).signal)
    with pytest.warns(DBetaWarning, match="states no unit; taken to be in mV") as caught:
        ecg = read_ecg(tmp_path / "a.npy", sampling_rate=500, leads=LEADS)
    assert len(caught) == 1
    assert ecg.meta["unit"] == "mV (assumed)"


def test_a_stretch_is_judged_by_the_whole_file(tmp_path, make_ecg):
    signal = np.tile(make_ecg().signal, 3)
    signal[:, 10000:] *= 10  # as an artefact
    np.save(tmp_path / "a.npy", signal)
    assert read_ecg(tmp_path / "a.npy", sampling_rate=500, leads=LEADS, start=20).duration == 10


@pytest.mark.parametrize("kind", ["npy", "csv", "parquet"])
@pytest.mark.parametrize("missing", [0, np.nan])
@pytest.mark.parametrize(("flat", "seconds"), [(61, 10), (9, 1), (8.9, 1.1), (30, 3)])
def test_a_signal_that_begins_late(tmp_path, make_ecg, kind, missing, flat, seconds):
    signal = np.full((12, round((flat + seconds) * 500)), missing, np.float32)
    signal[:, round(flat * 500) :] = 10 * make_ecg(seconds=10).signal[:, : round(seconds * 500)]
    path = tmp_path / f"a.{kind}"
    table = pd.DataFrame(signal.T, columns=LEADS)
    {"npy": lambda: np.save(path, signal), "csv": lambda: table.to_csv(path, index=False)}.get(
        kind, lambda: table.to_parquet(path)
    )()
    options = {"sampling_rate": 500} | ({"leads": LEADS} if kind == "npy" else {})
    for stretch in ({}, {"start": flat}, {"start": flat - 1}):
        with pytest.raises(DBetaError, match="cannot be mV; state their unit with --units"):
            read_ecg(path, **options, **stretch)
    if kind != "csv":  # of which only the beginning is read
        with pytest.raises(DBetaError, match="cannot be mV"):
            read_ecg(path, **options, start=0, duration=flat + 0.2)
    assert read_ecg(path, units="1e-4 V", **options).duration == flat + seconds


def test_an_array_without_a_beat_states_its_unit(tmp_path, make_ecg):
    ecg = make_ecg(seconds=4)
    np.save(tmp_path / "a.npy", ecg.signal[:, :60])
    options = {"sampling_rate": 500, "leads": LEADS}
    with pytest.raises(DBetaError, match="too short to tell it by a heartbeat; state it with --units"):
        read_ecg(tmp_path / "a.npy", **options)
    assert read_ecg(tmp_path / "a.npy", units="mV", **options).signal.shape == (12, 60)


@pytest.mark.shared
def test_tenths_of_a_millivolt(shared):
    path = shared / "faults" / "npy-in-tenths-of-millivolt.npy"
    with pytest.raises(DBetaError, match=r'1.5 mV with --units "1e-4 V"'):
        read_ecg(path, sampling_rate=400, leads=LEADS)
    read = read_ecg(path, sampling_rate=400, leads=LEADS, units="1e-4 V")
    np.testing.assert_allclose(read.signal, np.load(path).T / 10, atol=1e-5)


@pytest.mark.shared
def test_a_code_file_of_one_exam(shared):
    with pytest.warns(DBetaWarning, match="taken to be in 1e-4 V"):
        ecg = read_ecg(shared / "faults" / "hdf5-code-one-exam.hdf5")
    assert np.ptp(ecg.signal, axis=1).max() == pytest.approx(1.675, abs=0.01)
