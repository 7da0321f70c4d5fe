"""`dbeta embed`: the Parquet file, and what is left of it after a failure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command_line import refused, write_wfdb
from dbeta.inference.load import load


def test_embed_writes_parquet(ask, tmp_path, make_ecg, micro_checkpoint):
    folder = tmp_path / "recordings"
    (folder / "deeper").mkdir(parents=True)
    one = write_wfdb(folder, make_ecg(seed=1), "one")
    two = write_wfdb(folder / "deeper", make_ecg(seed=2, rate=120), "two")
    single = write_wfdb(tmp_path, make_ecg(seed=3), "three")
    code, out, err = ask("embed", folder, single, "--output", tmp_path / "e.parquet")
    assert (code, out) == (0, "")
    assert "3 embeddings of 32 numbers" in err
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert list(table.columns) == ["file", "record", "windows", "warnings", "embedding"]
    assert sorted(table["file"][:2]) == sorted(map(str, (one, two)))
    assert table["file"][2] == str(single)
    assert table["record"].tolist() == [Path(file).name for file in table["file"]]
    embeds = np.stack(table["embedding"].to_list())
    assert embeds.dtype == np.float32
    np.testing.assert_allclose(embeds, load(micro_checkpoint).embed(table["file"]), atol=1e-5)


def test_embed_more_than_a_batch_with_a_bad_file_in_the_middle(ask, tmp_path, make_ecg, micro_checkpoint, monkeypatch):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for seed in range(5):
        write_wfdb(folder, make_ecg(seed=seed, rate=50 + 15 * seed), f"r{seed}")
    flat = make_ecg()
    flat.signal[:] = 0
    write_wfdb(folder, flat, "r1")
    (folder / "r2.hea").write_text("nonsense")
    monkeypatch.setattr("dbeta.cli.embed.load_model", lambda name, precision: small_batches(name, 2))
    code, _, err = ask("embed", folder, "-o", tmp_path / "e.parquet")
    assert code == 0
    assert err.splitlines() == [
        f"3 embeddings of 32 numbers in {tmp_path / 'e.parquet'}",
        f"2 of 5 recordings could not be used: see {tmp_path / 'e.errors.csv'}",
    ]
    errors = pd.read_csv(tmp_path / "e.errors.csv")
    assert errors["file"].tolist() == [str(folder / "r1.hea"), str(folder / "r2.hea")]
    assert "every lead is flat" in errors["error"][0]
    assert "WFDB header" in errors["error"][1]
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert table["record"].tolist() == ["r0.hea", "r3.hea", "r4.hea"]
    model = load(micro_checkpoint)
    for row in table.to_dict("records"):
        expected = model.embed(row["file"])[0]
        np.testing.assert_allclose(row["embedding"], expected, atol=1e-5)


def small_batches(name, size):
    """A model that takes few recordings at once."""
    model = load(name)
    model.batch_size = size
    return model


def test_embed_warns_once_a_record(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg(seconds=3))
    code, _, err = ask("embed", record, "-o", "e.parquet")
    assert code == 0
    assert err.count("warning: ") == 1


@pytest.mark.parametrize("existing", [b"", b"what was there"])
def test_embed_leaves_nothing_half_written(ask, tmp_path, existing):
    folder = tmp_path / "out"
    folder.mkdir()
    output = folder / "e.parquet"
    if existing:
        output.write_bytes(existing)
    refused(ask("embed", tmp_path / "none.hea", "-o", output))
    assert [file.read_bytes() for file in folder.iterdir()] == [existing] * bool(existing)


def test_embed_cleans_up_when_writing_fails(ask, tmp_path, make_ecg, monkeypatch):
    def fail(table, sink):
        sink.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(sink))

    monkeypatch.setattr("pyarrow.parquet.write_table", fail)
    folder = tmp_path / "out"
    folder.mkdir()
    said = refused(ask("embed", write_wfdb(tmp_path, make_ecg()), "-o", folder / "e.parquet"))
    assert f"{folder / 'e.parquet'}: cannot be written (No space left on device); free some space and run again" in said
    assert "partial" not in said
    assert list(folder.iterdir()) == []


def test_where_embed_will_not_write(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    assert "does not exist" in refused(ask("embed", record, "-o", tmp_path / "none" / "e.parquet"))
    assert ".parquet" in refused(ask("embed", record, "-o", tmp_path / "e.csv"))
    (tmp_path / "folder.parquet").mkdir()
    assert "is a folder" in refused(ask("embed", record, "-o", tmp_path / "folder.parquet"))


def test_embed_a_folder_without_recordings(ask, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no recordings found" in refused(ask("embed", tmp_path / "empty", "-o", "e.parquet"))
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    code, _, err = ask("embed", tmp_path / "empty", "-o", "e.parquet")
    assert code == 1
    assert "1 files" in err.splitlines()[0]
    assert "no recordings found" in err.splitlines()[1]
