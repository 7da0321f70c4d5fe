"""`dbeta plot`: with and without findings, of long recordings, and into impossible places."""

import os
import time
from pathlib import Path

from command_line import HEADER, refused, write_wfdb
from dbeta.io.read import read_ecg


def test_plot_without_a_model(run, tmp_path, make_ecg, monkeypatch):
    monkeypatch.setattr("dbeta.cli.plot.load_model", None)
    code, out, err = run("plot", write_wfdb(tmp_path, make_ecg()), "-o", "p.png", "--no-findings")
    assert (code, out) == (0, "")
    assert err == "p.png written\n"
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_plot_with_findings(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    code, _, err = ask("plot", record, "-o", "p.svg")
    assert (code, err) == (0, "p.svg written\n")
    assert "<svg" in Path("p.svg").read_text()


def test_where_plot_will_not_write(run, tmp_path, make_ecg, monkeypatch):
    monkeypatch.setattr("dbeta.cli.plot.load_model", None)  # nothing is done first
    record = write_wfdb(tmp_path, make_ecg())
    assert ".png" in refused(run("plot", record, "-o", "p.jpg"))
    assert "does not exist" in refused(run("plot", record, "-o", "none/p.png", "--no-findings"))


def test_a_day_is_warned_of_and_not_read_whole(ask, tmp_path, make_ecg, monkeypatch):
    record = write_wfdb(tmp_path, make_ecg(seconds=20, sampling_rate=500))
    samples = 24 * 3600 * 500
    record.write_text(HEADER.format(name="rec", rate=500, samples=samples))
    os.truncate(record.with_suffix(".dat"), samples * 24)  # sparse: takes no room
    read = []
    monkeypatch.setattr("dbeta.cli.plot.read_ecg", lambda *a, **k: read.append(read_ecg(*a, **k)) or read[-1])
    start = time.process_time()
    result = ask("plot", record, "-o", "picture.png")
    assert time.process_time() - start < 30  # the whole would take minutes and 4 GB
    assert read[0].duration <= 12
    assert result[0] == 0
    assert "86400.0 s long, only the first 10 s are used" in result[2]
