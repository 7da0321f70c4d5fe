"""Batches: every good file exactly once, whatever happens on the way."""

import io
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from command_line import refused
from dbeta.archive import resumable as batches
from dbeta.archive.resumable import Parts
from dbeta.archive.tables import EMBEDDINGS, FINDINGS
from dbeta.checkpoints.read import fastest_dtype
from dbeta.ecg import LEADS
from dbeta.inference.dbeta import DBeta
from dbeta.report.console import Advance

BAD = (3, 40, 41, 77)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, make_ecg, write_record):
    """A hundred and twenty recordings, four of them bad. To be read only."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(120):
        write_record(folder, make_ecg(seed=number, rate=45 + number, sampling_rate=100), f"r{number:03d}")
    (folder / "r003.hea").write_text("nonsense")
    (folder / "r040.dat").unlink()
    (folder / "r041.dat").write_bytes(b"short")
    flat = make_ecg(sampling_rate=100)
    flat.signal[:] = 0.1
    write_record(folder, flat, "r077")
    return folder


@pytest.fixture(scope="module")
def good(archive):
    return [str(archive / f"r{number:03d}.hea") for number in range(120) if number not in BAD]


@pytest.fixture
def ask(run, micro_checkpoint, monkeypatch):
    """`run` with the micro model, which reads in this process."""
    monkeypatch.setattr("dbeta.inference.loader.default_workers", lambda: 0)
    return lambda *arguments: run(*arguments, "--model", micro_checkpoint)


@pytest.fixture
def counted(monkeypatch):
    """Counts the windows that are embedded."""
    sizes = []
    inner = DBeta.embed_signals
    monkeypatch.setattr(DBeta, "embed_signals", lambda self, x: sizes.append(len(x)) or inner(self, x))
    return sizes


def same_table(file, other):
    """Equal in every number."""
    one, two = pd.read_parquet(file), pd.read_parquet(other)
    np.testing.assert_array_equal(np.stack(one.pop("embedding").to_list()), np.stack(two.pop("embedding").to_list()))
    pd.testing.assert_frame_equal(one, two)


# --- One go


def test_a_folder_in_one_go(ask, archive, good, tmp_path):
    code, out, err = ask("embed", archive, "-o", "e.parquet")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "116 embeddings of 32 numbers in e.parquet",
        "4 of 120 recordings could not be used: see e.errors.csv",
    ]
    assert pd.read_parquet("e.parquet")["file"].tolist() == good
    errors = pd.read_csv("e.errors.csv")
    assert errors["file"].tolist() == [str(archive / f"r{number:03d}.hea") for number in BAD]
    assert all(len(reason) > 10 and str(archive) not in reason for reason in errors["error"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.errors.csv", "e.parquet"]


def test_strict(ask, archive):
    code, _, err = ask("embed", archive, "-o", "e.parquet", "--strict")
    assert code == 1
    assert "4 of 120" in err
    assert len(pd.read_parquet("e.parquet")) == 116
    code, _, _ = ask("embed", archive / "r000.hea", archive / "r001.hea", "-o", "e.parquet", "--strict")
    assert code == 0


def test_shards_are_the_whole(ask, archive, good):
    ask("embed", archive, "-o", "e.parquet")
    whole = pd.read_parquet("e.parquet").set_index("file")
    tables = []
    for number in (1, 2, 3):
        assert ask("embed", archive, "-o", f"e{number}.parquet", "--shard", f"{number}/3")[0] == 0
        tables.append(pd.read_parquet(f"e{number}.parquet"))
    together = pd.concat(tables)
    assert sorted(together["file"]) == good
    for row in together.to_dict("records"):
        np.testing.assert_allclose(row["embedding"], whole["embedding"][row["file"]], atol=1e-5)
    # 3 and 77 are the first and third of every three
    assert len(pd.read_csv("e1.errors.csv")) == 1
    assert len(pd.read_csv("e2.errors.csv")) == 1
    assert len(pd.read_csv("e3.errors.csv")) == 2


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "-1/3", "1/0"])
def test_what_is_no_shard(ask, archive, shard):
    assert "I/N" in refused(ask("embed", archive, "-o", "e.parquet", f"--shard={shard}"))


def test_more_shards_than_recordings(ask, archive, tmp_path):
    """A job array is not stopped by a shard that has nothing to do: its table is empty."""
    code, out, err = ask("embed", archive, "-o", "e.parquet", "--shard", "121/200", "--strict")
    assert (code, out) == (0, ""), err
    table = pd.read_parquet("e.parquet")
    assert (len(table), list(table.columns)) == (0, EMBEDDINGS.names)
    assert [path.name for path in tmp_path.iterdir()] == ["e.parquet"]
    assert ask("diagnose", archive, "-o", "f.csv", "--shard", "121/200", "--conditions", "pause")[0] == 0
    assert list(pd.read_csv("f.csv").columns) == FINDINGS.names


@pytest.mark.parametrize("stdin", [False, True])
def test_a_list(ask, archive, good, tmp_path, stdin, monkeypatch):
    """In its order, each file once, whatever else is there."""
    lines = [good[5], "", good[2], str(archive / "none.hea"), good[5]]
    (tmp_path / "list.txt").write_text("\n".join(lines), "utf-8-sig")  # with the mark that editors on Windows write
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    code, _, _ = ask("embed", "--list", "-" if stdin else "list.txt", "-o", "e.parquet")
    assert code == 0
    assert pd.read_parquet("e.parquet")["file"].tolist() == [good[5], good[2]]
    assert pd.read_csv("e.errors.csv")["file"].tolist() == [str(archive / "none.hea")]


def test_a_list_that_is_none(ask, tmp_path):
    assert "cannot be read" in refused(ask("embed", "--list", "none.txt", "-o", "e.parquet"))
    (tmp_path / "empty.txt").touch()
    assert "no recording" in refused(ask("embed", "--list", "empty.txt", "-o", "e.parquet"))


def test_errors_that_are_no_more(ask, archive, tmp_path):
    ask("embed", archive, "-o", "e.parquet")
    assert ask("embed", archive / "r000.hea", archive / "r001.hea", "-o", "e.parquet")[0] == 0
    assert not (tmp_path / "e.errors.csv").exists()


def test_a_file_of_errors_that_is_something_else(ask, archive, tmp_path):
    (tmp_path / "e.errors.csv").write_text("my,own\n1,2\n")
    assert "would be overwritten by the list of failed files" in refused(ask("embed", archive, "-o", "e.parquet"))
    assert (tmp_path / "e.errors.csv").read_text() == "my,own\n1,2\n"


@pytest.mark.parametrize("strict", [False, True])
def test_not_one_can_be_used(ask, archive, tmp_path, strict):
    files = [archive / "r003.hea", archive / "r041.hea", *(["--strict"] if strict else [])]
    code, out, err = ask("embed", *files, "-o", "e.parquet")
    assert (code, out) == (int(strict), "")
    assert "2 of 2 recordings could not be used" in err
    table = pd.read_parquet("e.parquet")
    assert (len(table), list(table.columns)) == (0, EMBEDDINGS.names)
    assert len(pd.read_csv("e.errors.csv")) == 2
    assert ask("diagnose", *files, "-o", "f.csv", "--conditions", "pause")[0] == int(strict)
    assert list(pd.read_csv("f.csv").columns) == FINDINGS.names
    assert ask("embed", files[0], "-o", "one.parquet")[0] == 1
    assert not (tmp_path / "one.parquet").exists()


def test_one_bad_path_stops_no_other(ask, archive, tmp_path):
    """Names that are too long, links to nothing, folders that are none."""
    (tmp_path / "broken.xml").symlink_to("nowhere")
    bad = ["x" * 300, archive / "r000.hea" / "inside", tmp_path / "broken.xml"]
    code, _, err = ask("embed", *bad, archive / "r000.hea", "-o", "e.parquet")
    assert code == 0, err
    assert pd.read_parquet("e.parquet")["file"].tolist() == [str(archive / "r000.hea")]
    assert pd.read_csv("e.errors.csv")["file"].tolist() == list(map(str, bad))
    assert refused(ask("diagnose", "x" * 300))


def test_a_folder_with_damaged_files(ask, tmp_path, make_ecg, write_record):
    folder = tmp_path / "folder"
    folder.mkdir()
    good = write_record(folder, make_ecg(), "a")
    for name in ("empty.xml", "empty.mat", "notes.txt"):
        (folder / name).touch()
    code, _, err = ask("embed", folder, "-o", "e.parquet")
    assert code == 0
    assert f"1 files in {folder} are not recordings and were left out" in err.splitlines()
    assert pd.read_parquet("e.parquet")["file"].tolist() == [str(good)]
    errors = pd.read_csv("e.errors.csv")
    assert errors["file"].tolist() == [str(folder / "empty.mat"), str(folder / "empty.xml")]
    assert errors["error"].tolist() == ["is empty; get the file again"] * 2


def test_another_output_has_its_own_errors(ask, archive, tmp_path):
    ask("embed", archive / "r003.hea", archive / "r000.hea", "-o", "e.parquet")
    ask("embed", archive / "r001.hea", archive / "r000.hea", "-o", "other.parquet")
    assert pd.read_csv("e.errors.csv")["file"].tolist() == [str(archive / "r003.hea")]
    assert not (tmp_path / "other.errors.csv").exists()


def test_lines_of_progress_where_there_is_no_terminal(ask, archive, monkeypatch):
    files = [archive / f"r00{number}.hea" for number in range(3)]
    assert "0 of 3" not in ask("embed", *files, "-o", "e.parquet")[2]
    monkeypatch.setattr("dbeta.report.console.LINE_SECONDS", 0.0)
    code, out, err = ask("embed", *files, "-o", "e.parquet")
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0] == "embed: 0 of 3"
    assert re.fullmatch(r"embed: 3 of 3, [\d.]+/s, 0:00:00 remaining", lines[1])
    assert "of 1" not in ask("embed", files[0], "-o", "e.parquet")[2]


def test_warnings_are_a_column(ask, tmp_path, make_ecg, write_record):
    write_record(tmp_path, make_ecg(seconds=4), "a")
    write_record(tmp_path, make_ecg(seconds=25), "b")
    code, _, err = ask("embed", tmp_path, "-o", "e.parquet")
    assert code == 0
    assert "1 recordings have warnings" in err
    table = pd.read_parquet("e.parquet")
    assert table["windows"].tolist() == [1, 3]
    assert "only 4.0 s" in table["warnings"][0]
    assert table["warnings"][1] == ""


# --- Findings


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_findings_of_a_folder(ask, archive, good, micro_checkpoint, suffix):
    from dbeta.inference.load import load

    asked = ["--conditions", "pause; sinus rhythm"]
    code, out, err = ask("diagnose", archive, "-o", f"f.{suffix}", *asked)
    assert (code, out) == (0, "")
    assert "232 findings of 116 recordings" in err
    table = pd.read_parquet("f.parquet") if suffix == "parquet" else pd.read_csv("f.csv", keep_default_na=False)
    assert table["file"].tolist() == [file for file in good for _ in range(2)]
    expected = load(micro_checkpoint).diagnose(good[:3], ["pause", "sinus rhythm"])
    for column in expected:
        if expected[column].dtype == float:
            np.testing.assert_allclose(table[column][:6].astype(float), expected[column], atol=1e-5)
        else:
            assert table[column][:6].tolist() == expected[column].tolist()


def test_findings_by_window_of_a_folder(ask, tmp_path, make_ecg, write_record):
    write_record(tmp_path, make_ecg(seconds=25), "a")
    write_record(tmp_path, make_ecg(), "b")
    code, _, _ = ask("diagnose", tmp_path, "--windows", "-o", "w.parquet", "--conditions", "pause")
    assert code == 0
    table = pd.read_parquet("w.parquet")
    assert table["record"].tolist() == ["a.hea"] * 3 + ["b.hea"]
    assert table["start"].tolist() == [0, 10, 15, 0]


def test_findings_by_window_on_the_terminal(ask, tmp_path, make_ecg, write_record):
    file = write_record(tmp_path, make_ecg(seconds=125, sampling_rate=100))
    code, out, _ = ask("diagnose", file, "--windows", "--conditions", "pause; sinus rhythm")
    assert code == 0
    assert "0:01:55" in out
    code, out, _ = ask("diagnose", file, "--conditions", "pause")
    assert code == 0
    assert "strongest" in out


def test_what_diagnose_will_not_write(ask, archive):
    assert ".csv" in refused(ask("diagnose", archive, "-o", "f.json"))
    assert "is a folder" in refused(ask("diagnose", archive))
    assert ask("diagnose", archive, "-o", "f.csv", "--json")[0] == 2
    assert ask("embed", "-o", "e.parquet")[0] == 2


# --- Interruptions


@pytest.mark.slow
def test_killed_and_started_again(run, archive, good, tmp_path, micro_checkpoint, counted, monkeypatch):
    """SIGKILL to the program and its workers, in the middle of the work."""
    code = f"""
import sys, time
import torch
from dbeta import cli
from dbeta.archive import resumable as batches
from dbeta.inference.dbeta import DBeta
torch.set_num_threads(1)  # as the tests: sums in another order are other numbers
batches.PART_RECORDINGS = 32
inner = DBeta.embed_signals
DBeta.embed_signals = lambda self, x: time.sleep(0.5) or inner(self, x)
sys.argv = ["dbeta", "embed", {str(archive)!r}, "-o", "killed.parquet", "--model", {str(micro_checkpoint)!r}]
cli.main()
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    partial = tmp_path / ".killed.parquet.partial"
    end = time.monotonic() + 200
    while not list(partial.glob("*-*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = sum(pq.read_metadata(part).num_rows for part in partial.glob("*-*.parquet"))
    assert 0 < done < 116
    assert not (tmp_path / "killed.parquet").exists()

    arguments = ["embed", archive, "--model", micro_checkpoint, "-o"]
    code, _, err = run(*arguments, "killed.parquet")
    assert code == 0, err
    assert "of 120 recordings were done before" in err
    assert sum(counted) == 116 - done
    run(*arguments, "whole.parquet")
    assert pd.read_parquet("killed.parquet")["file"].tolist() == good
    assert len(pd.read_csv("killed.errors.csv")) == 4
    same_table("killed.parquet", "whole.parquet")
    assert not partial.exists()


class Stop(BaseException):
    """As abrupt as a kill, for a program that is not to end."""


@pytest.fixture
def stopped(ask, archive, monkeypatch):
    """A run that stopped after two parts of 32 recordings."""
    monkeypatch.setattr(batches, "PART_RECORDINGS", 32)
    calls = []
    with monkeypatch.context() as patched:
        inner = DBeta.embed_signals

        def embed(self, x):
            calls.append(len(x))
            if len(calls) == 3:
                raise Stop
            return inner(self, x)

        patched.setattr(DBeta, "embed_signals", embed)
        with pytest.raises(Stop):
            ask("embed", archive, "-o", "e.parquet")
    return calls


def test_what_is_done_is_not_computed_again(ask, archive, good, stopped, counted, tmp_path):
    assert [part.name for part in sorted(tmp_path.glob(".e.parquet.partial/*-*"))] == [
        "000000000-000000032.parquet",
        "000000032-000000064.parquet",
    ]
    code, _, err = ask("embed", archive, "-o", "e.parquet")
    assert code == 0
    assert err.startswith("resuming: 64 of 120 recordings were done before")
    assert sum(counted) == 116 - sum(stopped[:2])
    assert pd.read_parquet("e.parquet")["file"].tolist() == good
    assert len(pd.read_csv("e.errors.csv")) == 4


def test_a_damaged_part_is_computed_again(ask, archive, good, stopped, counted, tmp_path):
    folder = tmp_path / ".e.parquet.partial"
    (folder / "000000032-000000064.parquet").write_bytes(b"damaged")
    (folder / "000000064-000000096.parquet.tmp").write_bytes(b"half")
    assert ask("embed", archive, "-o", "e.parquet")[0] == 0
    assert sum(counted) == 116 - stopped[0]
    assert pd.read_parquet("e.parquet")["file"].tolist() == good


#: Not the default of this machine.
OTHER_PRECISION = "float32" if fastest_dtype(torch.device("cpu")) == torch.bfloat16 else "bfloat16"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--shard", "1/2"], "recordings, shard"),
        (["--fs", "100"], "settings"),
        (["--precision", OTHER_PRECISION], "precision"),
    ],
)
def test_a_run_with_other_settings_does_not_mix(ask, archive, stopped, tmp_path, options, named):
    said = refused(ask("embed", archive, "-o", "e.parquet", *options))
    assert f"an interrupted run with a different {named}" in said
    assert len(list(tmp_path.glob(".e.parquet.partial/*-*"))) == 2


def test_a_kill_while_the_output_is_made(ask, archive, good, counted, monkeypatch, tmp_path):
    """What was computed is kept at every step of the end."""
    with monkeypatch.context() as patched:
        patched.setattr(Parts, "remove", lambda self: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            ask("embed", archive, "-o", "e.parquet")
    assert sum(counted) == 116
    assert ask("embed", archive, "-o", "e.parquet")[0] == 0
    assert sum(counted) == 116
    assert pd.read_parquet("e.parquet")["file"].tolist() == good
    assert not (tmp_path / ".e.parquet.partial").exists()


def test_ctrl_c_keeps_what_was_computed(ask, archive, monkeypatch, tmp_path):
    calls = []
    inner = DBeta.embed_signals

    def embed(self, x):
        calls.append(len(x))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return inner(self, x)

    monkeypatch.setattr(DBeta, "embed_signals", embed)
    code, _, err = ask("embed", archive, "-o", "e.parquet")
    assert code == 130
    assert "run the same command again" in err
    assert [part.name for part in tmp_path.glob(".e.parquet.partial/*-*")] == ["000000000-000000032.parquet"]


@pytest.mark.slow
def test_sigterm_keeps_what_was_computed_and_ends_without_noise(archive, tmp_path, micro_checkpoint):
    code = f"""
import os, signal, sys, time
from dbeta import cli
from dbeta.inference.dbeta import DBeta
inner, calls = DBeta.embed_signals, []
def embed(self, x):
    calls.append(len(x))
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return inner(self, x)
DBeta.embed_signals = embed
sys.argv = ["dbeta", "embed", {str(archive)!r}, "-o", "e.parquet", "--model", {str(micro_checkpoint)!r}]
cli.main()
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 143
    assert result.stderr.splitlines() == ["interrupted; run the same command again to resume"]
    assert [part.name for part in tmp_path.glob(".e.parquet.partial/*-*")] == ["000000000-000000032.parquet"]


def test_two_runs_at_once(ask, archive, tmp_path):
    with Parts(tmp_path / "e.parquet", {}, EMBEDDINGS):
        assert "another run is writing it" in refused(ask("embed", archive, "-o", tmp_path / "e.parquet"))


# --- Progress


def test_what_was_done_before_does_not_count_for_the_rate():
    bar = Progress(console=Console(file=io.StringIO()))
    advance = Advance(bar, bar.add_task("x", total=None))
    advance(1_000_000, 1_000_100)
    time.sleep(0.01)
    advance(1_000_001, 1_000_100)
    time.sleep(0.01)
    advance(1_000_002, 1_000_100)
    task = bar.tasks[0]
    assert (task.completed, task.total) == (1_000_002, 1_000_100)
    assert task.speed < 1000


def test_a_long_recording_has_a_bar_of_its_own():
    bar = Progress(console=Console(file=io.StringIO()))
    advance = Advance(bar, bar.add_task("x", total=None))
    advance.within("[a].hea", 10, 100)
    assert [task.completed for task in bar.tasks] == [0, 10]
    advance.within("[a].hea", 100, 100)
    assert len(bar.tasks) == 1


def test_names_that_are_no_text(ask, run, make_ecg, write_record, tmp_path):
    """Archives older than UTF-8 name files in the code page of their time."""
    folder = tmp_path / "old"
    folder.mkdir()
    name = os.fsdecode(b"M\xfcller")
    table = pd.DataFrame(dict(zip(LEADS, make_ecg(seconds=10).signal.astype(float), strict=True)))
    table.assign(time=np.arange(len(table)) / 500).to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.xml").write_text("<ECG/>")
    code, _, err = ask("embed", folder, "-o", "e.parquet")
    assert (code, "Traceback" in err) == (0, False)
    assert pd.read_parquet("e.parquet")["file"].tolist() == [f"{folder}/M\\xfcller.csv"]
    assert pd.read_csv("e.errors.csv")["file"].tolist() == [f"{folder}/M\\xfcller.xml"]
    assert ask("diagnose", folder, "-o", "f.csv")[0] == 0
    assert "M\\xfcller" in (tmp_path / "f.csv").read_text()
    assert run("plot", folder / f"{name}.csv", "-o", "p.png", "--no-findings")[0] == 0


def test_no_recording_is_replaced(ask, make_ecg, tmp_path):
    table = pd.DataFrame(dict(zip(LEADS, make_ecg(seconds=10).signal.astype(float), strict=True)))
    table = table.assign(time=np.arange(len(table)) / 500)
    table.to_parquet("a.parquet")
    table.to_csv("b.csv", index=False)
    before = [(tmp_path / name).read_bytes() for name in ("a.parquet", "b.csv")]
    assert "is a recording and would be overwritten" in refused(ask("embed", "a.parquet", "-o", "a.parquet"))
    assert "is a recording and would be overwritten" in refused(ask("diagnose", ".", "-o", "b.csv"))
    assert [(tmp_path / name).read_bytes() for name in ("a.parquet", "b.csv")] == before
    assert ask("embed", "b.csv", "-o", "e.parquet")[0] == ask("embed", "b.csv", "-o", "e.parquet")[0] == 0


def test_lists_in_other_encodings(ask, archive, tmp_path, good):
    (tmp_path / "list.txt").write_text("\n".join(good[:2]), encoding="utf-16")
    assert ask("embed", "--list", "list.txt", "-o", "e.parquet")[0] == 0
    assert pd.read_parquet("e.parquet")["file"].tolist() == good[:2]
    (tmp_path / "list.txt").write_bytes(b"a\0b\n")
    assert "not a list of paths" in refused(ask("embed", "--list", "list.txt", "-o", "f.parquet"))
