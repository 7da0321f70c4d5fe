"""From a dataset as downloaded to a corpus."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from scipy.signal import resample_poly

from dbeta.corpus import build
from dbeta.corpus.build import build_corpus
from dbeta.corpus.store import decode_signal, encode_signal, load_corpus
from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import read_ecg
from dbeta.signal.preprocess import InputFormat, prepare_signal


@pytest.fixture
def ptb_xl(micro_ptb_xl, tmp_path):
    """A copy of the micro PTB-XL's first eight records, to be spoilt."""
    raw = tmp_path / "raw"
    raw.mkdir()
    table = pd.read_csv(micro_ptb_xl / "ptbxl_database.csv").head(8)
    table.to_csv(raw / "ptbxl_database.csv", index=False)
    shutil.copy(micro_ptb_xl / "scp_statements.csv", raw)
    folder = raw / "records500" / "00000"
    folder.mkdir(parents=True)
    for name in table["filename_hr"]:
        for suffix in (".hea", ".dat"):
            shutil.copy(micro_ptb_xl / (name + suffix), folder)
    return raw


def test_rows_are_right(micro_corpus, make_ecg):
    corpus = load_corpus(micro_corpus)
    assert len(corpus) == 34
    row = corpus[2]  # the third record: sinus tachycardia, LVH, CLBBB
    np.testing.assert_allclose(decode_signal(row).signal, make_ecg(rate=120, seed=3).signal, atol=1.01e-3)
    assert {name: row[name] for name in ("record_id", "patient_id", "split", "age", "sex", "device")} == {
        "record_id": "3",
        "patient_id": "10002",
        "split": "train",
        "age": 43.0,
        "sex": "female",
        "device": "CS-12   E",
    }
    assert row["sampling_rate"] == 500
    assert row["report"] == "sinus tachycardia. lvh. lbbb"
    assert row["statements"] == ["STACH", "LVH", "CLBBB"]
    assert set(row["findings"]) == {
        "sinus tachycardia",
        "left ventricular hypertrophy",
        "left bundle branch block",
        "conduction disturbance",
        "hypertrophy",
    }
    assert corpus[0]["report"] == "sinus rhythm. normal ecg"
    assert sorted(corpus[0]["findings"]) == ["normal ecg", "sinus rhythm"]  # the super-class's name only once


def test_voltages_are_right_to_a_microvolt(micro_corpus, make_ecg):
    corpus = load_corpus(micro_corpus)
    for i, rate in enumerate((70, 45, 120, 80)):
        error = decode_signal(corpus[i]).signal - make_ecg(rate=rate, seed=i + 1).signal
        assert np.abs(error).max() <= 0.00101


def test_splits_are_the_official_folds(micro_corpus):
    parts = {name: load_corpus(micro_corpus, name)["record_id"] for name in ("train", "validation", "test")}
    assert parts["train"][:] == [str(i) for i in range(1, 13)]
    assert parts["validation"][:] == [str(i) for i in range(13, 33)]
    assert parts["test"][:] == ["33", "34"]
    with pytest.raises(DBetaError, match="no records in split 'holdout'"):
        load_corpus(micro_corpus, "holdout")


def test_counts_are_written_beside_it(micro_corpus):
    counts = json.loads((micro_corpus / "corpus.json").read_text())
    assert counts.pop("vocabulary") == sorted({one for row in load_corpus(micro_corpus)["findings"] for one in row})
    assert counts == {
        "format": 2,
        "shards": 1,
        "source": "ptb-xl",
        "records": 34,
        "patients": 17,
        "rejected": 0,
        "splits": {"validation": 20, "train": 12, "test": 2},
    }


def test_an_unreadable_record_is_rejected_and_the_build_goes_on(ptb_xl, tmp_path):
    folder = ptb_xl / "records500" / "00000"
    (folder / "00002_hr.hea").unlink()
    (folder / "00002_hr.dat").unlink()
    (folder / "00005_hr.hea").write_text("no header\n")
    calls = []
    counts = build_corpus("ptb-xl", ptb_xl, tmp_path / "out", progress=lambda *done: calls.append(done))
    assert (counts["records"], counts["rejected"]) == (6, 2)
    assert load_corpus(tmp_path / "out")["record_id"][:] == ["1", "3", "4", "6", "7", "8"]
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert rejected["record"].tolist() == ["records500/00000/00002_hr", "records500/00000/00005_hr"]
    assert rejected["reason"].str.len().min() > 10
    assert calls[0] == (1, 8)
    assert calls[-1] == (8, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


def as_100_hz(raw, number):
    """Keep a record of the micro PTB-XL only at 100 Hz; the recording that was written."""
    table = pd.read_csv(raw / "ptbxl_database.csv")
    names = [f"records100/00000/{one:05d}_lr" for one in table["ecg_id"]]
    table.assign(filename_lr=names).to_csv(raw / "ptbxl_database.csv", index=False)
    high = raw / f"records500/00000/{number:05d}_hr"
    ecg = read_ecg(high.with_suffix(".hea"))
    low = ECG(resample_poly(ecg.signal, 1, 5, axis=1), 100)
    high.with_suffix(".hea").unlink()
    high.with_suffix(".dat").unlink()
    folder = raw / "records100/00000"
    folder.mkdir(parents=True, exist_ok=True)
    options = {"fs": 100, "units": ["mV"] * 12, "sig_name": list(LEADS), "fmt": ["16"] * 12}
    signal = low.signal.T.astype(float)
    wfdb.wrsamp(f"{number:05d}_lr", p_signal=signal, write_dir=str(folder), **options)
    return ecg


def test_a_100_hz_file_stands_in_for_a_missing_500_hz_file(ptb_xl, tmp_path):
    ecg = as_100_hz(ptb_xl, 2)
    (ptb_xl / "records500/00000/00004_hr.dat").unlink()  # neither is there
    with pytest.warns(DBetaWarning, match=r"records read from their 100 Hz files, .* missing: 1$"):
        counts = build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert (counts["records"], counts["rejected"]) == (7, 1)
    assert pd.read_csv(tmp_path / "out" / "rejected.csv")["record"].tolist() == ["records500/00000/00004_hr"]
    corpus = load_corpus(tmp_path / "out")
    assert corpus["sampling_rate"][:] == [500, 100, 500, 500, 500, 500, 500]
    assert corpus[1]["file"] == "records100/00000/00002_lr"
    assert "500 Hz files are missing: 1." in (tmp_path / "out" / "README.md").read_text()
    # The model's input is the same in what 100 Hz can hold
    prepared = prepare_signal(decode_signal(corpus[1]), InputFormat(500, 5000, LEADS, "mv"))
    assert prepared.shape == (12, 5000)
    lost = prepared - ecg.signal
    assert np.sqrt((lost**2).mean()) < 0.1 * ecg.signal.std()


def test_ptb_xl_of_which_only_100_hz_was_downloaded(ptb_xl, tmp_path):
    for number in range(1, 9):
        as_100_hz(ptb_xl, number)
    shutil.rmtree(ptb_xl / "records500")
    with pytest.warns(DBetaWarning, match=r"records read from their 100 Hz files, .* missing: 8$"):
        counts = build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert (counts["records"], counts["rejected"]) == (8, 0)


def test_a_silent_record_is_rejected(ptb_xl, tmp_path):
    signal = ptb_xl / "records500" / "00000" / "00003_hr.dat"
    signal.write_bytes(bytes(len(signal.read_bytes())))
    counts = build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert (counts["records"], counts["rejected"]) == (7, 1)
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv").iloc[0]
    assert rejected["record"] == "records500/00000/00003_hr"
    assert "every lead is flat" in rejected["reason"]


def test_an_existing_folder_is_left_alone(ptb_xl, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("x")
    with pytest.raises(DBetaError, match="already exists"):
        build_corpus("ptb-xl", ptb_xl, out)
    assert [path.name for path in out.iterdir()] == ["precious.txt"]


def test_mistakes_are_named(ptb_xl, tmp_path):
    with pytest.raises(DBetaError, match="unknown source; choose one of ptb-xl, mimic-iv-ecg, "):
        build_corpus("ptbxl", ptb_xl, tmp_path / "out")
    with pytest.raises(DBetaError, match="no such file or folder"):
        build_corpus("ptb-xl", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DBetaError, match="create it first"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "no" / "out")
    with pytest.raises(DBetaError, match="not a corpus"):
        load_corpus(ptb_xl)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("name", ["ptbxl_database.csv", "scp_statements.csv"])
def test_a_missing_table_is_named_and_nothing_is_left_behind(ptb_xl, tmp_path, name):
    (ptb_xl / name).unlink()
    with pytest.raises(DBetaError, match=f"{name} is missing"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_not_one_readable_record_is_an_error_and_nothing_is_left_behind(ptb_xl, tmp_path):
    shutil.rmtree(ptb_xl / "records500")
    with pytest.raises(DBetaError, match=r"no record is readable .*00001_hr"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_signals_keep_their_microvolts(make_ecg):
    ecg = make_ecg(seconds=3, sampling_rate=400)
    again = decode_signal(encode_signal(ecg))
    assert again.sampling_rate == 400
    assert tuple(again.leads) == LEADS
    np.testing.assert_allclose(again.signal, ecg.signal, atol=0.00051)


def test_signals_are_clipped():
    signal = np.zeros((12, 4))
    signal[0] = [100.0, -100.0, 0.0004, 0.001]
    again = decode_signal(encode_signal(ECG(signal, 500)))
    np.testing.assert_allclose(again.signal[0], [32.767, -32.767, 0.0, 0.001], atol=1e-6)


def test_gaps_are_interpolated():
    signal = np.ones((12, 4))
    signal[0] = [1.0, np.nan, np.inf, 4.0]
    signal[1] = [np.nan, 2.0, 2.0, np.nan]
    signal[2] = np.nan
    ecg = ECG(signal, 500)
    again = decode_signal(encode_signal(ecg))
    np.testing.assert_allclose(again.signal[:4], [[1, 2, 3, 4], [2] * 4, [0] * 4, [1] * 4], atol=1e-6)
    assert np.isnan(ecg.signal[1, 0])  # the caller's recording is left alone


def test_signals_are_stored_in_the_standard_lead_order(make_ecg):
    shuffled = make_ecg(leads=LEADS[::-1])
    assert encode_signal(shuffled) == encode_signal(make_ecg())


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_and_workers_change_nothing(ptb_xl, tmp_path, workers):
    (ptb_xl / "records500" / "00000" / "00004_hr.hea").write_text("no header\n")
    one, other = tmp_path / "one", tmp_path / "other"
    build_corpus("ptb-xl", ptb_xl, one, workers=0)
    calls = []
    counts = build_corpus("ptb-xl", ptb_xl, other, lambda *done: calls.append(done), workers=workers, shard_size=3)
    assert counts["shards"] == 3
    assert calls == [(i, 8) for i in range(1, 9)]
    assert load_corpus(one).to_dict() == load_corpus(other).to_dict()
    assert (one / "rejected.csv").read_text() == (other / "rejected.csv").read_text()
    names = {path.name for path in other.iterdir()}
    assert names == {f"data-0000{i}-of-00003.arrow" for i in range(3)} | {"corpus.json", "rejected.csv", "README.md"}


def test_loading_writes_nothing_and_maps_the_files(micro_corpus):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in micro_corpus.iterdir())
    corpus = load_corpus(micro_corpus, "train")
    assert corpus[0]["record_id"] == "1"
    assert [Path(file["filename"]).parent for file in corpus.cache_files] == [micro_corpus]
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in micro_corpus.iterdir())


def test_another_version_and_a_lost_shard_are_refused(ptb_xl, tmp_path):
    out = tmp_path / "out"
    build_corpus("ptb-xl", ptb_xl, out, shard_size=4)
    (out / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DBetaError, match=r"lacks data-00001-of-00002\.arrow"):
        load_corpus(out)
    (out / "corpus.json").write_text("{}")
    with pytest.raises(DBetaError, match="another version of dbeta; build the corpus again"):
        load_corpus(out)
    (out / "corpus.json").write_text("{")
    with pytest.raises(DBetaError, match="build the corpus again"):
        load_corpus(out)


# --- interruptions


def test_an_interrupted_build_goes_on(ptb_xl, tmp_path, monkeypatch):
    def interrupt(done, _):
        if done == 5:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_corpus("ptb-xl", ptb_xl, out, interrupt, shard_size=2)
    assert not out.exists()
    assert [path.name[:10] for path in sorted((tmp_path / "out.partial").glob("*.arrow"))] == [
        "data-00000",
        "data-00001",
    ]
    read = []
    original = build.read_records
    monkeypatch.setattr(build, "read_records", lambda chunk, **how: read.extend(chunk) or original(chunk, **how))
    calls = []
    counts = build_corpus("ptb-xl", ptb_xl, out, lambda *done: calls.append(done), shard_size=2)
    assert calls == [(4, 8), (5, 8), (6, 8), (7, 8), (8, 8)]
    assert [record["file"][-8:] for record in read] == ["00005_hr", "00006_hr", "00007_hr", "00008_hr"]
    assert counts["records"] == 8
    assert load_corpus(out)["record_id"][:] == [str(i) for i in range(1, 9)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


def test_rejects_of_an_interrupted_build_are_remembered(ptb_xl, tmp_path):
    (ptb_xl / "records500" / "00000" / "00001_hr.hea").write_text("no header\n")

    def interrupt(done, _):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out", interrupt, shard_size=2)
    counts = build_corpus("ptb-xl", ptb_xl, tmp_path / "out", shard_size=2)
    assert (counts["records"], counts["rejected"]) == (7, 1)
    assert pd.read_csv(tmp_path / "out" / "rejected.csv")["record"].tolist() == ["records500/00000/00001_hr"]


def test_a_build_with_other_settings_starts_over(ptb_xl, tmp_path):
    def interrupt(done, _):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out", interrupt, shard_size=2)
    calls = []
    with pytest.warns(DBetaWarning, match="starting over"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out", lambda *done: calls.append(done), shard_size=2, seconds=4)
    assert calls[0] == (1, 8)
    assert {len(row["signal"]) for row in load_corpus(tmp_path / "out")} == {12 * 2000 * 2}


def test_other_labels_are_another_plan(ptb_xl, tmp_path):
    def interrupt(done, _):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out", interrupt, shard_size=2)
    file = ptb_xl / "ptbxl_database.csv"
    file.write_text(file.read_text().replace("'NORM': 100.0, ", ""))
    with pytest.warns(DBetaWarning, match="starting over"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out", shard_size=2)
    assert load_corpus(tmp_path / "out")[0]["findings"] == ["sinus rhythm"]


def test_what_is_no_build_is_left_alone(ptb_xl, tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("x")
    with pytest.raises(DBetaError, match=r"out\.partial: exists but is not an interrupted build"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert (tmp_path / "out.partial" / "thesis.txt").read_text() == "x"
    (tmp_path / "out.partial" / "thesis.txt").unlink()
    build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


def alive(process):
    """Whether a process runs."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_a_killed_build_goes_on(micro_ptb_xl, tmp_path):
    """Killed as by `kill -9`, in the middle of a shard, with workers."""
    out = tmp_path / "out"
    code = f"""
import time
from pathlib import Path
from dbeta.corpus.build import build_corpus
def slowly(done, total):
    if done == 20:
        from loky import get_reusable_executor
        readers = get_reusable_executor(max_workers=2, reuse=True)._processes
        Path({str(tmp_path / "readers")!r}).write_text(" ".join(map(str, readers)))
        Path({str(tmp_path / "there")!r}).touch()
        time.sleep(600)
build_corpus("ptb-xl", Path({str(micro_ptb_xl)!r}), Path({str(out)!r}), slowly, shard_size=8, workers=2)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "there").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert len(list((tmp_path / "out.partial").glob("*.arrow"))) == 2
    assert len(list((tmp_path / "out.partial").glob(".*.partial"))) == 1
    readers = (tmp_path / "readers").read_text().split()
    assert len(readers) == 2
    while any(alive(int(reader)) for reader in readers):  # nobody is left behind
        assert time.monotonic() < deadline
        time.sleep(0.1)
    calls = []
    build_corpus("ptb-xl", micro_ptb_xl, out, lambda *done: calls.append(done), shard_size=8, workers=0)
    assert calls[:2] == [(16, 34), (17, 34)]
    assert load_corpus(out)["record_id"][:] == [str(i) for i in range(1, 35)]
    assert not list(out.glob(".*.partial"))


@pytest.mark.parametrize("failing", ["write_shard", "write_card"])
def test_a_full_disk_is_one_sentence_and_what_is_done_stays(ptb_xl, tmp_path, monkeypatch, failing):
    original = getattr(build, failing)
    calls = []

    def fail(*arguments, **options):
        calls.append(arguments)
        if failing == "write_card" or len(calls) == 3:
            raise OSError(28, "No space left on device")
        return original(*arguments, **options)

    monkeypatch.setattr(build, failing, fail)
    with pytest.raises(
        DBetaError, match=r"out: cannot be written \(No space left on device\); free some space and run again"
    ):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out", shard_size=2)
    monkeypatch.setattr(build, failing, original)
    calls = []
    build_corpus("ptb-xl", ptb_xl, tmp_path / "out", lambda *done: calls.append(done), shard_size=2)
    assert calls[0] == ((4, 8) if failing == "write_shard" else (8, 8))
    assert len(load_corpus(tmp_path / "out")) == 8


# --- records that cannot be used


def manifest(folder, **files):
    """A manifest of NumPy files: name → samples in mV (12, samples) at 500 Hz."""
    folder.mkdir(exist_ok=True)
    for name, samples in files.items():
        np.save(folder / f"{name}.npy", samples)
    table = pd.DataFrame({"path": [f"{name}.npy" for name in files], "sampling_rate": 500, "leads": ",".join(LEADS)})
    table.to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


def test_what_training_could_not_use_is_rejected(tmp_path, make_ecg):
    good = make_ecg().signal
    spike = good.copy()
    spike[3, 7] = 900
    raw = manifest(tmp_path / "raw", good=good, spike=spike, offset=good + 100, short=good[:, :100], flat=good * 0)
    counts = build_corpus("manifest", raw, tmp_path / "out", reading={"units": "mV"})
    assert load_corpus(tmp_path / "out")["record_id"][:] == ["good.npy", "spike.npy"]
    reasons = pd.read_csv(tmp_path / "out" / "rejected.csv").set_index("record")["reason"]
    assert counts["rejected"] == 3
    assert reasons["offset.npy"].startswith("has voltages beyond 50 mV")
    assert reasons["short.npy"].startswith("0.2 s is too short")
    assert reasons["flat.npy"].startswith("holds no signal")


def test_what_nobody_foresaw_is_a_reason_too(ptb_xl, tmp_path, monkeypatch):
    from dbeta.corpus import records

    original = records.read_ecg

    def read(path, **options):
        if "00003" in str(path):
            raise ZeroDivisionError("of all things")
        return original(path, **options)

    monkeypatch.setattr(records, "read_ecg", read)
    assert build_corpus("ptb-xl", ptb_xl, tmp_path / "out")["rejected"] == 1
    assert "ZeroDivisionError: of all things" in (tmp_path / "out" / "rejected.csv").read_text()


@pytest.mark.slow
def test_a_record_that_kills_its_reader_is_rejected(tmp_path, make_ecg, monkeypatch):
    """The list of leads ends the process in which it arrives."""
    raw = manifest(tmp_path / "raw", **{f"r{i}": make_ecg(seconds=2, seed=i).signal for i in range(5)})
    original = build.SOURCES["manifest"]

    class Deadly(list):
        def __reduce__(self):
            return os._exit, (1,)

    def deadly(path):
        source = original(path)
        source.table["leads"] = [Deadly(LEADS) if i == 2 else LEADS for i in range(5)]
        return source

    monkeypatch.setitem(build.SOURCES, "manifest", deadly)
    counts = build_corpus("manifest", raw, tmp_path / "out", workers=2)
    assert (counts["records"], counts["rejected"]) == (4, 1)
    assert "killed the process" in (tmp_path / "out" / "rejected.csv").read_text()
    assert load_corpus(tmp_path / "out")["record_id"][:] == ["r0.npy", "r1.npy", "r3.npy", "r4.npy"]


def test_long_recordings_are_stored_up_to_a_limit(tmp_path, make_ecg):
    raw = manifest(tmp_path / "raw", long=make_ecg(seconds=70).signal, short=make_ecg(seconds=6).signal)
    build_corpus("manifest", raw, tmp_path / "out")
    assert [decode_signal(row).duration for row in load_corpus(tmp_path / "out")] == [60, 6]
    build_corpus("manifest", raw, tmp_path / "ten", seconds=10)
    assert [decode_signal(row).duration for row in load_corpus(tmp_path / "ten")] == [10, 6]
    with pytest.raises(DBetaError, match="positive number"):
        build_corpus("manifest", raw, tmp_path / "none", seconds=0)


def test_readers_load_neither_torch_nor_datasets():
    code = "import sys, dbeta.corpus.records; print({'torch', 'datasets', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "set()"
