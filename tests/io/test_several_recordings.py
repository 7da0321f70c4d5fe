"""Files that hold several recordings: each is one of its own."""

import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dbeta.archive.selection import select_recordings
from dbeta.cli import app
from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.amplitude import measure
from dbeta.io.read import read_ecg, recordings_of

TOLD = {"sampling_rate": 400, "leads": LEADS}


@pytest.fixture
def ecgs(make_ecg):
    return [make_ecg(sampling_rate=400, rate=rate, seed=rate) for rate in (50, 70, 90)]


def read(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)
        return read_ecg(path, **options)


def write_hdf5(path, ecgs, ids):
    empty = [np.zeros((4000, 12), np.float32)] * (len(ids) - len(ecgs))
    with h5py.File(path, "w") as file:
        file["tracings"] = np.stack([*(ecg.signal.T * 10 for ecg in ecgs), *empty])
        file["exam_id"] = np.array(ids)
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_an_array_of_several_recordings(tmp_path, ecgs, turned):
    path = tmp_path / "a.npy"
    signal = np.stack([ecg.signal for ecg in ecgs])
    np.save(path, signal.swapaxes(1, 2) if turned else signal)
    for row, ecg in enumerate(ecgs):
        for found in (
            read(path, record=row, **TOLD),
            read(f"{path}#{row}", **TOLD),
            read(path, record=str(row), **TOLD),
        ):
            np.testing.assert_array_equal(found.signal, ecg.signal)
            assert found.meta["record"] == row
    np.testing.assert_array_equal(read(f"{path}#1", start=2, duration=3, **TOLD).signal, ecgs[1].signal[:, 800:2000])
    for record, words in [
        (None, "holds 3 recordings; choose one by its number"),
        (3, "a number from 0 to 2"),
        ("x", "x"),
    ]:
        with pytest.raises(DBetaError, match=words):
            read(path, record=record, **TOLD)
    assert recordings_of(path) == [tmp_path / f"a.npy#{row}" for row in range(3)]
    np.save(tmp_path / "one.npy", signal[0])
    assert recordings_of(tmp_path / "one.npy") == [tmp_path / "one.npy"]
    with pytest.raises(DBetaError, match="leave out --record"):
        read(tmp_path / "one.npy", record=0, **TOLD)


def test_each_recording_of_an_array_has_a_measure_of_its_own(tmp_path, ecgs):
    sizes = [measure(ecg.signal, 400).size for ecg in ecgs]
    np.save(tmp_path / "a.npy", np.stack([*(ecg.signal for ecg in ecgs), 10 * ecgs[0].signal]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_ecg(tmp_path / "a.npy", record=1, **TOLD)
    notes = [str(one.message) for one in caught if "QRS" in str(one.message)]
    assert len(notes) == 1
    assert notes[0].endswith(f", those of this one {sizes[1]:.2g}")
    with pytest.warns(DBetaWarning, match=f"its QRS complexes measure {10 * sizes[0]:.3g} mV, unlike those of 99.9 %"):
        read_ecg(tmp_path / "a.npy", record=3, **TOLD)


def test_the_unit_of_an_array_is_that_of_all_its_recordings(tmp_path, ecgs):
    noise = np.random.default_rng(0).normal(0, 20, ecgs[0].signal.shape)
    np.save(tmp_path / "a.npy", np.stack([*(ecg.signal for ecg in ecgs), noise]))
    assert read(tmp_path / "a.npy", record=3, **TOLD).signal.std() > 10
    np.save(tmp_path / "b.npy", np.stack([10 * ecg.signal for ecg in ecgs]))
    with pytest.raises(DBetaError, match="1e-4 V"):
        read(tmp_path / "b.npy", record=0, **TOLD)


def test_the_recordings_of_an_hdf5_file(tmp_path, ecgs):
    path = write_hdf5(tmp_path / "a.hdf5", ecgs, [701, 702, 703, 0])
    assert recordings_of(path) == [tmp_path / f"a.hdf5#{exam}" for exam in (701, 702, 703)]
    np.testing.assert_allclose(read(f"{path}#702").signal, ecgs[1].signal, atol=1e-5)
    twice = write_hdf5(tmp_path / "b.hdf5", ecgs, [701, 702, 701])
    assert [one.name for one in recordings_of(twice)] == ["b.hdf5#row 0", "b.hdf5#702", "b.hdf5#row 2"]
    np.testing.assert_allclose(read(f"{twice}#row 2").signal, ecgs[2].signal, atol=1e-5)
    with pytest.raises(DBetaError, match='has exam_id 701 in rows 0, 2; choose one with --record "row 0"'):
        read(twice, record=701)
    assert [read(f"{twice}#{one}").meta["record"] for one in ("row 0", "702", "1")] == ["row 0", 702, 702]
    assert recordings_of(write_hdf5(tmp_path / "c.hdf5", ecgs[:1], [701])) == [tmp_path / "c.hdf5"]


def test_an_exam_without_a_number_has_a_name_that_opens_it(tmp_path, ecgs):
    path = write_hdf5(tmp_path / "a.hdf5", ecgs, [701, 702, 0])
    (*_, last) = recordings_of(path)
    found = read(last)
    assert (last.name, found.meta["record"]) == ("a.hdf5#row 2", "row 2")
    np.testing.assert_allclose(found.signal, ecgs[2].signal, atol=1e-5)
    np.testing.assert_allclose(read(path, record=found.meta["record"]).signal, ecgs[2].signal, atol=1e-5)


def test_a_file_of_that_very_name_comes_first(tmp_path, ecgs):
    np.save(tmp_path / "a.npy", np.stack([ecg.signal for ecg in ecgs]))
    with (tmp_path / "a.npy#1").open("wb") as stream:
        np.save(stream, ecgs[2].signal)
    np.testing.assert_array_equal(read(tmp_path / "a.npy#1", **TOLD).signal, ecgs[2].signal)


def test_selections_name_each_recording(tmp_path, ecgs):
    write_hdf5(tmp_path / "a.hdf5", ecgs, [701, 702, 703, 0])
    np.save(tmp_path / "b.npy", np.stack([ecg.signal for ecg in ecgs[:2]]))
    found = select_recordings([tmp_path])
    assert [file.name for file in found.files] == ["a.hdf5#701", "a.hdf5#702", "a.hdf5#703", "b.npy#0", "b.npy#1"]
    assert select_recordings([tmp_path / "a.hdf5"]).many
    assert [one.name for one in select_recordings([tmp_path], shard="2/2").files] == ["a.hdf5#702", "b.npy#0"]
    assert select_recordings([tmp_path / "a.hdf5"], inside=False).files == [tmp_path / "a.hdf5"]


def test_each_exam_is_a_row_of_embed_and_diagnose(tmp_path, ecgs):
    path = write_hdf5(tmp_path / "a.hdf5", ecgs, [701, 702, 703, 0])
    for command, name in (("embed", "e.parquet"), ("diagnose", "d.csv")):
        result = CliRunner().invoke(app, [command, str(path), "--output", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert table["file"].tolist() == [f"{path}#{exam}" for exam in (701, 702, 703)]
    assert table["record"].tolist() == ["701", "702", "703"]
    assert pd.read_csv(tmp_path / "d.csv")["file"].nunique() == 3
    one = CliRunner().invoke(app, ["embed", str(path), "--record", "702", "--output", str(tmp_path / "one.parquet")])
    assert one.exit_code == 0, one.output
    alone = pd.read_parquet(tmp_path / "one.parquet")["embedding"][0]
    np.testing.assert_allclose(alone, table["embedding"][1], atol=0.02)  # bfloat16 in another batch
