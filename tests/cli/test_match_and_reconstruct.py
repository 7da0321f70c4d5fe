"""`dbeta match`, `dbeta reconstruct` and re-ranked searches on the command line."""

import json

import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import ECG
from dbeta.io.read import read_ecg


@pytest.fixture
def recording(make_ecg, write_record, tmp_path):
    ecg = make_ecg()
    signal = ecg.signal.copy()
    signal[7] = np.nan
    signal[9, 1000:2000] = np.nan
    return write_record(tmp_path, ECG(signal, 500), "r")


def test_match_prints_and_writes_the_same(run, recording, micro_checkpoint, tmp_path):
    texts = ["--text", "sinus rhythm", "--text", "atrial fibrillation"]
    code, out, err = run("match", recording, *texts, "--model", micro_checkpoint)
    assert code == 0 and "probability" in out and "Research use only" in out, err
    code, out, _ = run("match", recording, *texts, "--model", micro_checkpoint, "--json")
    rows = json.loads(out)
    assert code == 0 and [set(row) for row in rows] == [{"record", "text", "probability", "quality"}] * 2
    for name in ("m.csv", "m.parquet"):
        code, _, err = run("match", recording, *texts, "--model", micro_checkpoint, "-o", name)
        assert code == 0, err
        table = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
        assert table["text"].tolist() == [row["text"] for row in rows]
        np.testing.assert_allclose(table["probability"], [row["probability"] for row in rows], atol=1e-9)
        assert table["warnings"].str.contains("V2").all()


def test_match_says_what_is_wrong(run, recording, micro_checkpoint, tmp_path):
    for arguments, words in (
        (("match", recording, "--text", "a"), "two encoders only"),
        (("match", recording, "--text", " ", "--model", micro_checkpoint), "a text is empty"),
        (("match", tmp_path, "--text", "a", "--model", micro_checkpoint), "is a folder; add --output"),
        (("match", recording, "--text", "a", "-o", "m.txt", "--model", micro_checkpoint), ".parquet or .csv"),
    ):
        code, _, err = run(*arguments)
        assert code == 1 and words in err and len(err.strip().splitlines()) <= 3, (arguments, err)
    assert run("match", recording)[0] == 2


def test_reconstruct_writes_the_recording_and_says_what_is_made_up(run, recording, micro_checkpoint, tmp_path):
    before = read_ecg(recording)
    code, _, err = run("reconstruct", recording, "-o", "done.hea", "--plot", "done.png", "--model", micro_checkpoint)
    assert code == 0, err
    assert "V2: all" in err and "V4: 2.00–4.00 s" in err and "Research use only" in err
    after = read_ecg(tmp_path / "done.hea")
    assert np.isfinite(after.signal).all() and (tmp_path / "done.png").stat().st_size > 10_000
    there = np.isfinite(before.signal)
    np.testing.assert_allclose(after.signal[there], before.signal[there], atol=1e-6)
    mask = np.load("done.reconstructed.npz")["reconstructed"]
    assert (mask == ~there).all()
    code, _, err = run("reconstruct", "done.hea", "-o", "again.csv", "--replace", "V6", "--model", micro_checkpoint)
    assert code == 0 and "V6: all" in err
    assert pd.read_csv("again.csv")["V6 reconstructed"].all()


def test_reconstruct_says_what_is_wrong_and_writes_nothing(run, recording, micro_checkpoint, tmp_path):
    files = sorted(tmp_path.iterdir())
    for arguments, words in (
        (("-o", "out.csv"), "two encoders only"),
        (("-o", "out.edf", "--model", micro_checkpoint), "use one of these endings"),
        (("-o", recording, "--model", micro_checkpoint), "would overwrite the input"),
        (("-o", "out.csv", "--replace", "V9", "--model", micro_checkpoint), "V9"),
        (("-o", "nowhere/out.csv", "--model", micro_checkpoint), "does not exist"),
    ):
        code, _, err = run("reconstruct", recording, *arguments)
        assert code == 1 and words in err, (arguments, err)
    assert sorted(tmp_path.iterdir()) == files


def test_search_reranks(run, make_ecg, write_record, micro_checkpoint, tmp_path):
    for i in range(3):
        write_record(tmp_path, make_ecg(seed=i), f"r{i}")
    code, _, err = run("index", "r0.hea", "r1.hea", "r2.hea", "-o", "index", "--model", micro_checkpoint)
    assert code == 0, err
    search = ("search", "atrial fibrillation", "--index", "index", "--json")
    plain, sorted_ = (json.loads(run(*search, *more)[1]) for more in ((), ("--rerank", 3)))
    assert {row["file"] for row in plain} == {row["file"] for row in sorted_}
    match = [row["match"] for row in sorted_]
    assert match == sorted(match, reverse=True) and "match" not in plain[0]
    _, out, _ = run("match", sorted_[0]["file"], "--text", "atrial fibrillation", "--json", "--model", micro_checkpoint)
    assert json.loads(out)[0]["probability"] == pytest.approx(match[0], abs=0.01)
    assert run("search", "r0.hea", "--index", "index", "--rerank", 2)[0] == 1
