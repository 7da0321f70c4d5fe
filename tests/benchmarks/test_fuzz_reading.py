"""The fuzzer notices what it is there to notice, and its files are the same each time."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from dbeta.ecg import ECG, INDEPENDENT_LEADS
from dbeta.errors import DBetaError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import fuzz_reading
from fuzz_mutations import mutate
from fuzz_seeds import make_seeds


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return make_seeds(tmp_path_factory.mktemp("seeds"), None)


def test_the_same_number_is_the_same_file(seeds):
    files = [mutate(seeds, 3, number) for number in range(50)]
    assert [mutate(seeds, 3, number) for number in range(50)] == files
    assert [mutate(seeds, 4, number) for number in range(50)] != files
    whole = {one.name: one.files for one in seeds}
    assert sum(one.files != whole[one.name] for _, one in files) > 40


@pytest.mark.parametrize(
    ("outcome", "noticed"),
    [
        (DBetaError("a.xml: is damaged"), ""),
        (DBetaError("a.xml: is\ndamaged"), "long message"),
        (ValueError("bad"), "ValueError: bad"),
        (MemoryError(), "MemoryError"),
        (RuntimeWarning("overflow"), "warned RuntimeWarning"),
        (ECG(np.ones((8, 1000), np.float32), 500, INDEPENDENT_LEADS), "gave"),
    ],
)
def test_what_is_noticed(tmp_path, monkeypatch, outcome, noticed):
    def read(path, **options):
        if isinstance(outcome, Warning):
            warnings.warn(outcome, stacklevel=1)
            raise DBetaError("a.xml: is damaged")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(fuzz_reading, "read_ecg", read)
    _, failure = fuzz_reading.attempt(tmp_path / "a.xml", {})
    assert (noticed in failure) if noticed else failure == ""


def test_writing_is_noticed(tmp_path):
    watcher = fuzz_reading._Watcher()
    watcher("open", (str(tmp_path / "a"), "w", os.O_WRONLY | os.O_CREAT))
    watcher.on = True
    watcher("open", (str(tmp_path / "a"), "r", os.O_RDONLY))
    assert watcher.seen == []
    watcher("open", (str(tmp_path / "a"), "w", os.O_WRONLY | os.O_CREAT))
    watcher("socket.connect", (None, ("127.0.0.1", 9)))
    assert len(watcher.seen) == 2


@pytest.mark.slow
def test_a_short_run_ends_well():
    command = [sys.executable, fuzz_reading.__file__, "--files", "60", "--workers", "1", "--seed", "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 failures in 60 files, seed 9" in done.stdout
