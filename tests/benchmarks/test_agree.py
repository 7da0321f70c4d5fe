"""A sample of the files of `benchmarks/agree.py`, and that it notices what it is there to notice."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import agree

FILES = 12


@pytest.mark.parametrize("name", agree.MAKERS)
def test_read_as_written(name):
    files, _, problem = agree.compare_files(name, FILES, seed=11)
    assert problem is None
    assert files >= FILES


@pytest.mark.parametrize("name", ["wfdb-record", "edf", "dicom", "text-table"])
@pytest.mark.parametrize(
    ("damage", "noticed"),
    [
        (lambda signal: signal * 1.01, "mV from what was written"),
        (lambda signal: np.roll(signal, 1, axis=1), "mV from what was written"),
        (lambda signal: signal[:, :-1], "samples"),
        (lambda signal: np.where(np.arange(signal.shape[1]) == 7, np.nan, signal), "missing or made up"),
    ],
    ids=["scaled", "shifted", "cut", "lost"],
)
def test_a_wrong_reader_is_noticed(monkeypatch, name, damage, noticed):
    right = agree.read_ecg

    def wrong(*args, **options):
        ecg = right(*args, **options)
        ecg.signal = damage(ecg.signal).astype(np.float32)
        return ecg

    monkeypatch.setattr(agree, "read_ecg", wrong)
    problem = agree.compare_files(name, FILES, seed=11)[2]
    assert noticed in problem
    assert "seed 11" in problem
