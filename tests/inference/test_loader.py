"""Files are read ahead in worker processes: the same as without them, in order, and not too far ahead."""

import os
import signal
import subprocess
import sys
from concurrent.futures import Future

import numpy as np
import pytest

from dbeta.errors import DBetaError
from dbeta.inference import loader as reading_ahead
from dbeta.inference.dbeta import DBeta
from dbeta.inference.loader import Prepared, prepare_file, prepare_files
from dbeta.io.read import read_ecg
from dbeta.signal.preprocess import InputFormat, prepare_signal

FORMAT = InputFormat()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_ecg, write_record):
    """Five recordings: of two rates, one short, one unreadable, one flat."""
    folder = tmp_path_factory.mktemp("recordings")
    write_record(folder, make_ecg(seed=0), "r0")
    write_record(folder, make_ecg(seed=1, sampling_rate=250), "r1")
    (folder / "r2.hea").write_text("nonsense\n")
    write_record(folder, make_ecg(seed=3, seconds=4), "r3")
    flat = make_ecg()
    flat.signal[:] = 0
    write_record(folder, flat, "r4")
    return folder


@pytest.fixture(scope="module")
def files(folder):
    return sorted(folder.glob("*.hea"))


def same(one, other):
    """Equal in every field."""
    assert (one.file, one.record, one.error, one.notes) == (other.file, other.record, other.error, other.notes)
    assert (one.end, one.duration, one.last, one.lost) == (other.end, other.duration, other.last, other.lost)
    np.testing.assert_array_equal(one.starts, other.starts)
    assert (one.windows is None) == (other.windows is None)
    if one.windows is not None:
        np.testing.assert_array_equal(one.windows, other.windows)


def test_one_file(files):
    done = prepare_file(files[1], FORMAT, {})
    assert (done.file, done.record, done.error, done.notes) == (files[1], "r1.hea", None, [])
    np.testing.assert_array_equal(done.windows, prepare_signal(read_ecg(files[1]), FORMAT)[None])
    assert (done.starts.tolist(), done.duration, done.last) == ([0.0], 10.0, True)


def test_what_cannot_be_used_is_told_not_raised(files):
    unreadable, short, flat = (prepare_file(file, FORMAT, {}) for file in files[2:])
    assert unreadable.windows is None
    assert "r2.hea" in unreadable.error
    assert short.error is None
    assert any("4.0 s" in note for note in short.notes)
    assert flat.windows is None
    assert "flat" in flat.error


def test_workers_do_what_is_done_without_them(files):
    without = list(prepare_files(files, FORMAT, workers=0))
    with_two = list(prepare_files(files, FORMAT, workers=2))
    assert len(without) == len(with_two) == 5
    for one, other in zip(without, with_two, strict=True):
        same(one, other)


def test_options_reach_the_reader(tmp_path, make_ecg):
    np.save(tmp_path / "a.npy", make_ecg().signal)
    options = {"sampling_rate": 500, "leads": list(make_ecg().leads)}
    (done,) = prepare_files([tmp_path / "a.npy"], FORMAT, workers=1, **options)
    assert done.error is None
    (done,) = prepare_files([tmp_path / "a.npy"], FORMAT, workers=1)
    assert "--fs" in done.error


class Executor:
    """Does nothing until asked for the result; counts what was asked of it."""

    def __init__(self):
        self.submitted = 0

    def submit(self, function, *arguments):
        self.submitted += 1
        future = Future()
        future.set_result(Prepared(arguments[0]))
        return future


def test_not_too_far_ahead(monkeypatch):
    executor = Executor()
    monkeypatch.setattr("loky.get_reusable_executor", lambda **_: executor)
    results = prepare_files([str(i) for i in range(10_000)], FORMAT, workers=4)
    assert executor.submitted == 0
    for taken in range(1, 50):
        assert next(results).file == str(taken - 1)
        assert executor.submitted <= taken + reading_ahead.AHEAD + 4
    results.close()
    assert executor.submitted < 200


@pytest.mark.slow
@pytest.mark.parametrize("times", [8, 30])  # less and more than are read ahead
def test_a_killed_worker_loses_nothing(files, times):
    from loky import get_reusable_executor

    results = prepare_files(files * times, FORMAT, workers=2)
    first = next(results)
    for process in get_reusable_executor()._processes.values():
        os.kill(process.pid, signal.SIGKILL)
    done = [first, *results]
    assert [one.file for one in done] == files * times
    assert [one.windows is None for one in done] == [False, False, True, False, True] * times
    assert not any("killed" in str(one.error) for one in done)


class Deadly(str):
    """A file name that ends the process in which it arrives."""

    def __reduce__(self):
        return os._exit, (1,)


@pytest.mark.slow
def test_a_deadly_file_is_told_and_the_others_are_read(files):
    given = [str(files[0]), Deadly("deadly.hea"), str(files[1])]
    one, deadly, other = prepare_files(given, FORMAT, workers=2)
    assert (one.record, other.record) == ("r0.hea", "r1.hea")
    assert deadly.windows is None
    assert deadly.error.startswith("deadly.hea: reading it killed the process")


def test_few_files_need_no_workers(files, monkeypatch):
    monkeypatch.setattr("loky.get_reusable_executor", None)
    assert len(list(prepare_files(files, FORMAT))) == 5


@pytest.mark.slow
def test_a_script_needs_no_main_guard(files, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
from dbeta.signal.preprocess import InputFormat
from dbeta.inference.loader import prepare_files
print([one.record for one in prepare_files({[str(file) for file in files]}, InputFormat(), workers=2)])
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "['r0.hea', 'r1.hea', '', 'r3.hea', 'r4.hea']"
    assert done.stderr == ""


def test_workers_do_not_load_torch(files, tmp_path):
    code = f"""
from loky import get_reusable_executor
from dbeta.signal.preprocess import InputFormat
from dbeta.inference.loader import prepare_files
list(prepare_files({[str(file) for file in files]}, InputFormat(), workers=1))
import sys
print(get_reusable_executor().submit(eval, "'torch' in __import__('sys').modules").result())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "False"


# --- DBeta over files


@pytest.fixture
def model(micro_checkpoint):
    from dbeta.inference.load import load

    return load(micro_checkpoint)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_embed_files_goes_on_after_a_bad_one(model, files, workers, batch_size):
    model = DBeta(model.model, model.processor, batch_size=batch_size)
    results = list(model.embed_files(files, workers=workers))
    assert [one.file for one in results] == files
    assert [one.error is None for one in results] == [True, True, False, True, False]
    assert any("4.0 s" in note for note in results[3].notes)
    for one in results:
        assert len(one.windows) == (one.error is None)
        if one.error is None:
            expected = model.embed_signals(prepare_file(one.file, model.processor.input_format, {}).windows)
            np.testing.assert_allclose(one.embedding, expected[0], atol=1e-5)


@pytest.mark.filterwarnings("ignore::dbeta.DBetaWarning")
def test_embed_stops_at_a_bad_file(model, files):
    with pytest.raises(DBetaError, match=r"r2\.hea"):
        model.embed(files)


def test_all_files_bad(model, files):
    assert all(one.error for one in model.embed_files([files[2], files[4]]))


def test_no_files(model):
    assert list(model.embed_files([])) == []
