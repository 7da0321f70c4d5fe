"""Files that the commands refuse or warn of, and options for files that lack information."""

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import HEADER, refused, warned, write_wfdb
from dbeta.ecg import LEADS


def write_bad(folder, name, make_ecg):
    """A recording of this kind of badness, with the options it needs."""
    signal = {
        "all NaN": np.full((12, 5000), np.nan),
        "all flat": np.full((12, 5000), 0.3),
        "no samples": np.zeros((12, 0)),
        "one dimension": np.zeros(5000),
    }.get(name)
    if signal is not None:
        np.save(folder / "rec.npy", signal)
        return [folder / "rec.npy", "--fs", "500", "--leads", ",".join(LEADS)]
    record = write_wfdb(folder, make_ecg())
    if name == "missing file":
        record = folder / "none.hea"
    elif name == "unreadable header":
        record.write_text("rec twelve\n")
    elif name == "binary header":
        record.write_bytes(bytes(range(256)))
    elif name == "truncated signal":
        record.with_suffix(".dat").write_bytes(record.with_suffix(".dat").read_bytes()[:10])
    elif name == "missing signal":
        record.with_suffix(".dat").unlink()
    elif name == "no samples in the header":
        record.write_text(HEADER.format(name="rec", rate=500, samples=0))
        record.with_suffix(".dat").write_bytes(b"")
    elif name == "missing everywhere":
        ecg = make_ecg()
        ecg.signal[:] = np.nan
        write_wfdb(folder, ecg)
    elif name == "text named .dcm":
        record = folder / "rec.dcm"
        record.write_text("This is no ECG.\n")
    elif name == "empty file":
        record = folder / "rec.xml"
        record.touch()
    elif name == "folder":
        record = folder
    elif name == "unknown format":
        record = folder / "rec.jpg"
        record.write_bytes(b"\xff\xd8\xff")
    elif name == "20 Hz":
        write_wfdb(folder, make_ecg(sampling_rate=20))
    else:
        raise AssertionError(name)
    return [record]


@pytest.mark.parametrize("command", ["diagnose", "plot"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing file", "no such file"),
        ("unreadable header", "WFDB header"),
        ("binary header", "WFDB header"),
        ("truncated signal", "no samples"),
        ("missing signal", "missing"),
        ("no samples in the header", "no samples"),
        ("no samples", "no samples"),
        ("missing everywhere", "no valid sample"),
        ("all NaN", "no valid sample"),
        ("all flat", "every lead is flat"),
        ("one dimension", "shape"),
        ("text named .dcm", "not DICOM"),
        ("empty file", "is empty"),
        ("folder", "is a folder"),
        ("unknown format", "has an unknown format"),
        ("20 Hz", "too slow"),
    ],
)
def test_what_cannot_be_used(ask, tmp_path, make_ecg, command, name, message):
    arguments = [command, *write_bad(tmp_path, name, make_ecg)]
    if command == "plot":
        arguments += ["-o", "picture.png"]
    said = refused(ask(*arguments))
    assert message in said
    assert str(arguments[1].name) in said
    assert not Path("picture.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seconds": 0.5}, "only 0.5 s long"), ({"sampling_rate": 50}, "only 50 Hz")],
)
def test_what_is_warned_of(ask, tmp_path, make_ecg, options, message):
    assert message in warned(ask("diagnose", write_wfdb(tmp_path, make_ecg(**options))))


@pytest.mark.parametrize("rate", ["0", "-500", "nan", "inf", "1e9"])
def test_an_absurd_sampling_rate(ask, tmp_path, make_ecg, rate):
    np.save(tmp_path / "rec.npy", make_ecg().signal)
    options = ["--leads", ",".join(LEADS), f"--fs={rate}"]
    assert "sampling rate" in refused(ask("diagnose", tmp_path / "rec.npy", *options))


def test_options_for_files_that_are_silent(ask, tmp_path, make_ecg):
    order = list(reversed(LEADS))
    np.save(tmp_path / "rec.npy", make_ecg(leads=order).signal)
    said = refused(ask("diagnose", tmp_path / "rec.npy"))
    assert "--leads" in said
    assert "--fs" in said
    options = ["--fs", "500", "--leads", ", ".join(order), "--json"]
    code, out, _ = ask("diagnose", tmp_path / "rec.npy", *options)
    assert code == 0
    _, expected, _ = ask("diagnose", write_wfdb(tmp_path, make_ecg()), "--json")
    scores, reference = ({row["condition"]: row["score"] for row in json.loads(text)} for text in (out, expected))
    assert scores == pytest.approx(reference, abs=1e-2)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write")
@pytest.mark.parametrize(
    ("command", "output"),
    [
        (["embed"], "/proc/f.parquet"),
        (["diagnose"], "/proc/f.csv"),
        (["plot", "--no-findings"], "/proc/f.png"),
        (["index"], "/proc/index"),
    ],
)
def test_an_output_that_cannot_be_written_is_named_before_any_work(
    run, tmp_path, make_ecg, monkeypatch, command, output
):
    for module in ("embed", "diagnose", "plot", "index"):
        monkeypatch.setattr(f"dbeta.cli.{module}.load_model", None)
    said = refused(run(*command, write_wfdb(tmp_path, make_ecg()), "-o", output))
    assert said.startswith(f"error: {output}: cannot be written (")
    assert said.endswith("); name a place that you may write to\n")
    assert "partial" not in said
