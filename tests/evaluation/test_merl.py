"""MERL's protocol: its label matrices, its substrings, its subsets and its 5 s of CPSC2018."""

import ast

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import load_benchmark
from dbeta.evaluation.benchmarks.base import label_matrix
from dbeta.evaluation.benchmarks.merl import substring_labels, substring_notes, training_subsets
from dbeta.evaluation.benchmarks.ptb_xl import TASKS, ptb_xl_labels
from dbeta.evaluation.benchmarks.readers import FileReader

PARQUET = {"super": "super_class", "sub": "sub_class", "form": "form", "rhythm": "rhythm"}


def split_table(ids, patients, splits):
    """MERL's file of the super-classes: NORM for odd records, HYP for even ones."""
    return pd.DataFrame(
        {
            "split": splits,
            "ecg_id": ids,
            "patient_id": patients,
            "strat_fold": [{"train": 1, "val": 9, "test": 10}[split] for split in splits],
            "filename_lr": [f"records100/00000/{i:05d}_lr" for i in ids],
            "filename_hr": [f"records500/00000/{i:05d}_hr" for i in ids],
            "super_class": ["[]"] * len(ids),
            "HYP": [int(i % 2 == 0) for i in ids],
            "NORM": [int(i % 2 == 1) for i in ids],
        }
    )


def test_the_files_labels_splits_and_order_are_taken(micro_ptb_xl, tmp_path):
    # 40 lies nowhere; the splits are others than PTB-XL's own
    table = split_table([1, 2, 13, 14, 33, 40], [1, 1, 2, 2, 3, 4], ["test", "test", "train", "train", "val", "train"])
    table.to_parquet(tmp_path / "merl.parquet")
    options = {"protocol": "merl", "split_file": tmp_path / "merl.parquet"}
    with pytest.raises(DBetaError, match="1 of 6 records are missing"):
        load_benchmark("ptb-xl-super", micro_ptb_xl, **options)
    task = load_benchmark("ptb-xl-super", micro_ptb_xl, subset_ok=True, **options)
    assert task.missing == 1
    assert task.classes == ["HYP", "NORM"]
    assert task.records["record_id"].tolist() == ["1", "2", "13", "14", "33"]
    assert task.records["split"].tolist() == ["test", "test", "train", "train", "validation"]
    np.testing.assert_array_equal(task.labels[:, 0], [0, 1, 0, 1, 0])
    assert task.records["age"].iloc[0] == 41.0  # PTB-XL's own
    assert "MERL's (merl.parquet)" in task.protocol


def test_three_csv_files_serve_as_well(micro_ptb_xl, tmp_path):
    table = split_table([1, 2, 13, 14, 33], [1, 1, 2, 2, 3], ["test", "test", "train", "train", "val"])
    for split in ("train", "val", "test"):
        table[table["split"] == split].drop(columns="split").to_csv(tmp_path / f"ptbxl_super_{split}.csv")
    task = load_benchmark("ptb-xl-super", micro_ptb_xl, protocol="merl", split_file=tmp_path / "ptbxl_super_test.csv")
    assert sorted(task.records["record_id"]) == ["1", "13", "14", "2", "33"]
    (tmp_path / "ptbxl_super_val.csv").unlink()
    with pytest.raises(DBetaError, match=r"ptbxl_super_val.csv: no such file; put MERL's three CSV files"):
        load_benchmark("ptb-xl-super", micro_ptb_xl, protocol="merl", split_file=tmp_path / "ptbxl_super_test.csv")


def test_a_leak_in_a_split_file_is_refused(micro_ptb_xl, tmp_path):
    split_table([1, 2, 13], [1, 1, 2], ["test", "train", "val"]).to_parquet(tmp_path / "merl.parquet")
    with pytest.raises(DBetaError, match=r"merl.parquet: patient 1 is in two splits"):
        load_benchmark("ptb-xl-super", micro_ptb_xl, protocol="merl", split_file=tmp_path / "merl.parquet")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ptb-xl-sub", "lacks column sub_class"),
        ("code-test", "is not one of MERL's benchmarks"),
        ("csn", "lacks column"),
    ],
)
def test_the_wrong_file(micro_ptb_xl, tmp_path, name, message):
    split_table([1, 13], [1, 2], ["test", "train"]).to_parquet(tmp_path / "merl.parquet")
    with pytest.raises(DBetaError, match=message):
        load_benchmark(name, micro_ptb_xl, protocol="merl", split_file=tmp_path / "merl.parquet")


def test_substrings_by_hand():
    diagnoses = ["AFIB,TWC", "AF", "STTC", "SB"]
    classes = ["AF", "AFIB", "ST", "STTC", "TWC"]
    loose = substring_labels(diagnoses, classes)
    np.testing.assert_array_equal(loose, [[1, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]])
    assert substring_notes(diagnoses, classes) == [
        "MERL's substring matching sets 2 labels that records do not state: AF 2 instead of 1; ST 1 instead of 0."
    ]


def test_subsets_are_scikit_learns_with_seed_42():
    records = pd.DataFrame({"record_id": [str(i) for i in range(1000)], "split": ["train"] * 900 + ["test"] * 100})
    found = training_subsets(records)
    assert {name: len(ids) for name, ids in found.items()} == {"1%": 9, "10%": 90}
    expected = train_test_split(np.arange(900), train_size=0.1, random_state=42)[0]
    assert found["10%"] == {str(i) for i in expected}


def test_five_seconds_and_then_zeros(tmp_path, make_ecg):
    ecg = make_ecg(seconds=20.0)
    np.save(tmp_path / "x.npy", ecg.signal)
    record = {"file": "x.npy", "sampling_rate": 500.0, "leads": list(ecg.leads)}
    found = FileReader(tmp_path, first_seconds=5.0)(record, 10.0)
    assert isinstance(found, ECG)
    assert found.signal.shape == (12, 5000)
    np.testing.assert_allclose(found.signal[:, :2500], ecg.signal[:, :2500], atol=1e-6)
    assert (found.signal[:, 2500:] == 0).all()


# --- MERL's own files


@pytest.mark.shared
@pytest.mark.parametrize("task", list(PARQUET))
def test_merls_label_matrices_of_ptb_xl(shared, task):
    """Every record of folds 1–9, from its statements, equals MERL's row."""
    reports = pd.read_csv(shared / "ptb-xl" / "reports-folds-1-9.csv.xz")
    statements = reports["scp_codes"].map(ast.literal_eval).map(list)
    labels = ptb_xl_labels(statements, task)
    classes = list(dict.fromkeys(TASKS[task].values()))
    stated = (labels == 1).any(axis=1)
    theirs = pd.read_parquet(shared / "merl-splits" / f"ptbxl_{PARQUET[task].replace('class', 'class')}.parquet")
    theirs = theirs.set_index("ecg_id")
    assert set(theirs.columns[list(theirs.columns).index(PARQUET[task]) + 1 :]) == set(classes)
    ids = reports["ecg_id"].to_numpy()
    assert set(ids[stated]) == set(theirs.index[theirs["strat_fold"] != 10])
    np.testing.assert_array_equal(labels[stated], theirs.loc[ids[stated], classes].to_numpy())
    split = theirs.loc[ids[stated], ["split", "strat_fold"]]
    assert (split["split"].map({"train": 0, "val": 9}) == split["strat_fold"].where(split["strat_fold"] == 9, 0)).all()


@pytest.mark.shared
def test_merls_label_matrix_of_csn(shared):
    theirs = pd.read_parquet(shared / "merl-splits" / "csn.parquet")
    classes = list(theirs.columns[4:])
    np.testing.assert_array_equal(substring_labels(theirs["diagnose"], classes), theirs[classes].to_numpy())
    exact = label_matrix([text.split(",") for text in theirs["diagnose"]], classes)
    more = theirs[classes].to_numpy().sum(axis=0) - exact.sum(axis=0)
    found = {name: int(count) for name, count in zip(classes, more, strict=True) if count}
    assert found == {"2AVB": 16, "VB": 913, "SA": 721, "CR": 141, "AF": 1413, "AVB": 737, "ST": 1184}
    assert "AF 4,753 instead of 3,340" in substring_notes(theirs["diagnose"], classes)[0]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "file", "count"), [("csn", "csn", 16), ("cpsc2018", "cpsc2018", 30)])
def test_merls_files_with_the_records_at_hand(shared, name, file, count):
    split_file = shared / "merl-splits" / f"{file}.parquet"
    task = load_benchmark(name, shared / "challenge-2021", protocol="merl", split_file=split_file, subset_ok=True)
    assert len(task) <= count
    assert task.missing + len(task) == len(pd.read_parquet(split_file))
    ecg = task.reader(task.records.iloc[0].to_dict(), 10.0)
    if name == "cpsc2018":
        assert (ecg.signal[:, 2500:] == 0).all()
        assert ecg.signal[:, :2500].std() > 0.01
