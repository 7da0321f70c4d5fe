"""From a dataset as downloaded to a corpus."""

import json
import shutil

import datasets
import numpy as np
import pandas as pd
import pytest

from dbeta.corpus.build import build_corpus, read_ptb_xl_table
from dbeta.corpus.store import decode_signal, encode_signal, load_corpus
from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError


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
        "complete left bundle branch block",
        "conduction disturbance",
        "hypertrophy",
    }
    assert corpus[0]["report"] == "sinus rhythm. normal ecg"
    assert sorted(corpus[0]["findings"]) == ["normal ECG", "sinus rhythm"]  # the super-class's name only once


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
    with pytest.raises(DBetaError, match="no such source; choose one of ptb-xl"):
        build_corpus("ptbxl", ptb_xl, tmp_path / "out")
    with pytest.raises(DBetaError, match="no such folder"):
        build_corpus("ptb-xl", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DBetaError, match="make it first"):
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
    with pytest.raises(DBetaError, match=r"not one record could be read .*00001_hr"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("owner, name", [(pd.DataFrame, "to_csv"), (datasets.Dataset, "save_to_disk")])
def test_a_failure_at_the_end_leaves_nothing_behind(ptb_xl, tmp_path, monkeypatch, owner, name):
    def fail(*_, **__):
        (tmp_path / "out.partial").mkdir(exist_ok=True)
        raise OSError("no space left on device")

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(OSError, match="no space left"):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_an_interrupted_build_leaves_nothing_behind(ptb_xl, tmp_path):
    def interrupt(done, _):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_corpus("ptb-xl", ptb_xl, tmp_path / "out", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_what_a_killed_build_left_is_replaced(ptb_xl, tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "old.arrow").write_text("x")
    build_corpus("ptb-xl", ptb_xl, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]
    assert not (tmp_path / "out" / "old.arrow").exists()


def test_signals_keep_their_microvolts(make_ecg):
    ecg = make_ecg(seconds=3, sampling_rate=400)
    again = decode_signal(encode_signal(ecg))
    assert again.sampling_rate == 400
    assert tuple(again.leads) == LEADS
    np.testing.assert_allclose(again.signal, ecg.signal, atol=0.00051)


def test_signals_are_clipped_and_gaps_become_zero():
    signal = np.zeros((12, 4))
    signal[0] = [100.0, -100.0, np.nan, 0.001]
    again = decode_signal(encode_signal(ECG(signal, 500)))
    np.testing.assert_allclose(again.signal[0], [32.767, -32.767, 0.0, 0.001], atol=1e-6)


def test_signals_are_stored_in_the_standard_lead_order(make_ecg):
    shuffled = make_ecg(leads=LEADS[::-1])
    assert encode_signal(shuffled) == encode_signal(make_ecg())


@pytest.mark.shared
def test_super_classes_are_those_of_the_published_benchmark(shared, tmp_path):
    table = pd.read_csv(shared / "ptb-xl" / "records.csv.xz")
    table.to_csv(tmp_path / "ptbxl_database.csv", index=False)
    shutil.copy(shared / "ptb-xl" / "scp_statements.csv", tmp_path)
    ours = read_ptb_xl_table(tmp_path)
    published = pd.read_parquet(shared / "merl-splits" / "ptbxl_super_class.parquet").set_index("ecg_id")
    both = ours.index.intersection(published.index)
    assert len(both) > 2000
    phrases = {
        "NORM": "normal ECG",
        "MI": "myocardial infarction",
        "STTC": "ST/T change",
        "CD": "conduction disturbance",
        "HYP": "hypertrophy",
    }
    for name, phrase in phrases.items():
        stated = np.array([phrase in findings for findings in ours.loc[both, "findings"]])
        np.testing.assert_array_equal(stated, published.loc[both, name].to_numpy() == 1, err_msg=name)
