"""The command line as a user meets it: what is printed where, and the exit code."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dbeta.checkpoints.read import bundled_checkpoint
from dbeta.ecg import ECG, LEADS
from dbeta.inference.load import load
from dbeta.io.read import read_ecg
from dbeta.report.console import print_findings, print_hits
from dbeta.report.evaluations import print_comparison, print_metrics
from ecg_files import write_muse

HEADER = "{name} 12 {rate} {samples}\n" + "".join(f"{{name}}.dat 16 1000/mV 16 0 0 0 0 {lead}\n" for lead in LEADS)
COMMANDS = ["diagnose", "plot", "info", "embed", "index", "search", "corpus", "pretrain", "evaluate", "convert"]


def write_wfdb(folder, ecg, name="rec"):
    """A WFDB record of 16-bit microvolts; a missing sample is −32768, as the format says."""
    counts = np.where(np.isnan(ecg.signal), -32768, np.round(np.nan_to_num(ecg.signal) * 1000)).astype("<i2")
    (folder / f"{name}.dat").write_bytes(counts.T.tobytes())
    header = folder / f"{name}.hea"
    header.write_text(HEADER.format(name=name, rate=f"{ecg.sampling_rate:g}", samples=counts.shape[1]))
    return header


@pytest.fixture
def ask(run, micro_checkpoint):
    """`run` with the micro model."""
    return lambda *arguments: run(*arguments, "--model", micro_checkpoint)


def refused(result) -> str:
    """The one line of a refusal."""
    code, out, err = result
    assert code == 1, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def warned(result) -> str:
    """The warnings of a run that went well."""
    code, out, err = result
    assert code == 0, err
    assert out
    assert err
    assert all(line.startswith("warning: ") for line in err.splitlines())
    return err


def cells(out: str) -> list[list[str]]:
    """The rows of the tables in the output."""
    return [[one.strip() for one in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]


# --- Help and usage


def test_help_lists_the_commands_in_order(run):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    listed = re.findall(r"^│ (\w+) ", out[out.index("Recordings") :], re.MULTILINE)
    assert listed == COMMANDS
    assert "Not a medical device" in out


@pytest.mark.parametrize(
    "command",
    [
        ["diagnose"],
        ["plot"],
        ["info"],
        ["embed"],
        ["index"],
        ["search"],
        ["corpus", "build"],
        ["corpus", "simulate"],
        ["corpus", "negatives"],
        ["pretrain"],
        ["evaluate", "zero-shot"],
        ["convert"],
    ],
)
def test_every_command_has_an_example(run, command):
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert f"Example: dbeta {' '.join(command)} " in " ".join(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["diagnose"],
        ["diagnose", "a.hea", "--nonsense"],
        ["diagnose", "a.hea", "--fs", "fast"],
        ["embed", "a.hea"],
        ["plot", "a.hea"],
        ["info"],
        ["info", "a.hea", "b.hea"],
        ["corpus", "build", "ptb-xl"],
        ["corpus", "negatives"],
        ["pretrain"],
        ["evaluate", "zero-shot", "ptb-xl-super", "raw"],
        ["evaluate", "zero-shot", "ptb-xl-super", "raw", "--output", "o", "--fold", "ten"],
    ],
)
def test_bad_usage(run, arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "Usage: dbeta" in err


@pytest.mark.slow
def test_a_network_is_not_needed_and_nothing_else_is_said(tmp_path, make_ecg):
    """The only test that starts the installed program: one line on stderr, whatever the libraries would say."""
    record = write_wfdb(tmp_path, make_ecg())
    done = subprocess.run(
        [sys.executable, "-m", "dbeta.cli", "diagnose", record, "--model", "nobody/no-such-model"],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "nobody/no-such-model: " in refused((done.returncode, done.stdout, done.stderr))


# --- diagnose


def test_table_and_json_agree(ask, tmp_path, make_ecg, micro_checkpoint):
    record = write_wfdb(tmp_path, make_ecg())
    code, out, err = ask("diagnose", record, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [list(row) for row in rows] == [["record", "condition", "score", "percentile", "quality"]] * 22
    assert {row["record"] for row in rows} == {"rec.hea"}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert rows == load(micro_checkpoint).diagnose(record).to_dict("records")

    code, out, err = ask("diagnose", record)
    assert (code, err) == (0, "")
    assert out.startswith("rec.hea")
    assert "Not a medical device" in out
    expected = [[row["condition"], f"{row['score']:+.2f}", f"{row['percentile']:.0f}", "good"] for row in rows]
    assert cells(out) == expected


def test_no_finding_without_usable_signal(ask, tmp_path, make_ecg):
    noise = ECG(0.1 * np.random.default_rng(0).standard_normal((12, 5000)), 500)
    files = [write_wfdb(tmp_path, make_ecg(), "heart"), write_wfdb(tmp_path, noise, "noise")]
    code, out, err = ask("diagnose", *files, "--json", "--conditions", "atrial fibrillation")
    assert code == 0
    assert "noise.hea: has no usable signal, noise and no heartbeat; no finding is given" in err
    heart, none = json.loads(out)
    assert heart["quality"] == "good"
    nothing = {"condition": None, "score": None, "percentile": None, "quality": "unusable"}
    assert none == {"record": "noise.hea"} | nothing
    code, out, err = ask("diagnose", *files, "--output", "f.parquet", "--conditions", "atrial fibrillation")
    table = pd.read_parquet("f.parquet")
    assert table["quality"].tolist() == ["good", "unusable"]
    assert table["condition"].tolist() == ["atrial fibrillation", None]
    assert "no usable signal" in table["warnings"][1]
    code, _, err = ask("plot", files[1], "-o", "p.png")
    assert code == 0
    assert Path("p.png").exists()


def test_leads_are_put_right_where_asked(ask, run, tmp_path, make_ecg):
    ecg = make_ecg()
    ecg.signal[[3, 4]] = ecg.signal[[4, 3]]
    record = write_wfdb(tmp_path, ecg)
    _, out, err = run("info", record, "--json")
    assert "leads aVR and aVL are exchanged; --fix-leads repairs it" in err
    facts = json.loads(out)
    assert facts["lead_errors"][0]["leads"] == ["aVR", "aVL"]
    __, out, err = run("info", record, "--fix-leads", "--json")
    fixed = json.loads(out)
    assert "repaired" in err
    assert fixed["peak_to_peak_mv"]["aVR"] == facts["peak_to_peak_mv"]["aVL"]
    assert fixed["fixed_leads"] == ["leads aVR and aVL are exchanged"]
    wrong, right = (json.loads(ask("diagnose", record, "--json", *flag)[1]) for flag in ([], ["--fix-leads"]))
    assert wrong != right
    good = json.loads(ask("diagnose", write_wfdb(tmp_path, make_ecg(), "good"), "--json")[1])
    assert [row["score"] for row in right] == pytest.approx([row["score"] for row in good], abs=1e-4)


def test_conditions_in_words(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    code, out, _ = ask("diagnose", record, "--json", "--conditions", " LBBB;my own words ; sinus rhythm;")
    assert code == 0
    assert {row["condition"] for row in json.loads(out)} == {"LBBB", "my own words", "sinus rhythm"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["AFIB, left bundle branch block"], {"AFIB", "left bundle branch block"}),
        (["AFIB", "LBBB"], {"AFIB", "LBBB"}),
        (["AFIB,LBBB; my own words"], {"AFIB", "LBBB", "my own words"}),
    ],
)
def test_known_conditions_may_be_separated_by_commas(ask, tmp_path, make_ecg, given, expected):
    record = write_wfdb(tmp_path, make_ecg())
    options = [word for text in given for word in ("--conditions", text)]
    code, out, err = ask("diagnose", record, "--json", *options)
    assert (code, err) == (0, "")
    assert {row["condition"] for row in json.loads(out)} == expected


def test_a_description_with_a_comma_stays_whole_and_is_warned_of(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    result = ask("diagnose", record, "--json", "--conditions", "AFIB, with a wide QRS; LBBB")
    assert {row["condition"] for row in json.loads(result[1])} == {"AFIB, with a wide QRS", "LBBB"}
    assert '"AFIB, with a wide QRS" is taken as one description; separate conditions with ";"' in warned(result)


def test_a_file_of_conditions_is_not_taken_for_a_condition(ask, tmp_path, make_ecg):
    (tmp_path / "conditions.txt").write_text("AFIB\nLBBB\n")
    said = refused(ask("diagnose", write_wfdb(tmp_path, make_ecg()), "--conditions", "conditions.txt"))
    assert "conditions.txt is a file; write the conditions themselves" in said


@pytest.mark.parametrize("conditions", ["", " ", ";", "a;;b", "; a", "a; ;b"])
def test_an_empty_condition(ask, tmp_path, make_ecg, conditions):
    record = write_wfdb(tmp_path, make_ecg())
    result = ask("diagnose", record, "--conditions", conditions)
    if conditions == "; a":  # a separator at either end does no harm
        assert result[0] == 0
    else:
        assert "condition is empty" in refused(result)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_bad_file_does_not_hold_up_the_others(ask, tmp_path, make_ecg, as_json):
    first, last = (write_wfdb(tmp_path, make_ecg(seed=seed), f"good{seed}") for seed in (1, 2))
    (tmp_path / "bad.hea").write_text("nonsense")
    flat = make_ecg()
    flat.signal[:] = 0
    files = [first, tmp_path / "bad.hea", write_wfdb(tmp_path, flat, "flat"), last]
    code, out, err = ask("diagnose", *files, "--conditions", "pause", *(["--json"] if as_json else []))
    assert code == 1
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
    assert "bad.hea" in lines[0]
    assert "flat.hea" in lines[1]
    if as_json:
        assert [row["record"] for row in json.loads(out)] == ["good1.hea", "good2.hea"]
    else:
        assert out.index("good1.hea") < out.index("good2.hea")
        assert len(cells(out)) == 2


def test_brackets_are_no_markup(ask, tmp_path, make_ecg):
    record = write_wfdb(tmp_path, make_ecg())
    np.save(tmp_path / "[bold]a.npy", make_ecg().signal)
    options = ["--fs", "500", "--leads", ",".join(LEADS)]
    code, out, _ = ask("diagnose", record, "--conditions", "[red]pause; ST [/V1]")
    assert code == 0
    assert {row[0] for row in cells(out)} == {"[red]pause", "ST [/V1]"}
    _, out, _ = ask("diagnose", tmp_path / "[bold]a.npy", *options, "--conditions", "pause")
    assert out.startswith("[bold]a.npy")


def test_an_error_is_one_line_whatever_the_name(ask, tmp_path):
    refused(ask("diagnose", tmp_path / "a\nb.hea"))


@pytest.mark.parametrize("rate", ["0", "-500", "nan", "inf", "1e9"])
def test_an_absurd_sampling_rate(ask, tmp_path, make_ecg, rate):
    np.save(tmp_path / "rec.npy", make_ecg().signal)
    options = ["--leads", ",".join(LEADS), f"--fs={rate}"]
    assert "sampling rate" in refused(ask("diagnose", tmp_path / "rec.npy", *options))


def test_no_file_can_be_read(ask, tmp_path):
    code, out, err = ask("diagnose", tmp_path / "a.hea", tmp_path / "b.hea", "--json")
    assert code == 1
    assert json.loads(out) == []
    assert err.count("error: ") == err.count("\n") == 2


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
        record.with_suffix(".dat").write_bytes(record.with_suffix(".dat").read_bytes()[:-5000])
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
        ("truncated signal", "WFDB record"),
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


def test_a_flat_lead_is_warned_of_in_each_record(ask, tmp_path, make_ecg):
    ecg = make_ecg()
    ecg.signal[LEADS.index("V3")] = 0
    files = [write_wfdb(tmp_path, ecg, name) for name in ("one", "two")]
    lines = warned(ask("diagnose", *files)).splitlines()
    assert len(lines) == 2
    assert all("lead V3 is flat" in line for line in lines)
    assert "one.hea" in lines[0]
    assert "two.hea" in lines[1]


def test_10_khz_is_as_good_as_any(ask, tmp_path, make_ecg):
    code, out, err = ask("diagnose", write_wfdb(tmp_path, make_ecg(sampling_rate=10_000)))
    assert (code, err) == (0, "")
    assert len(cells(out)) == 22


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


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_model_that_is_not_complete(run, tmp_path, make_ecg, micro_checkpoint, name):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in micro_checkpoint.iterdir():
        if file.name != name:
            (folder / file.name).symlink_to(file)
    record = write_wfdb(tmp_path, make_ecg())
    assert f"{name} is missing" in refused(run("diagnose", record, "--model", folder))


@pytest.mark.parametrize("command", ["diagnose", "embed", "plot"])
def test_a_model_that_is_nowhere(run, tmp_path, make_ecg, command):
    record = write_wfdb(tmp_path, make_ecg())
    output = {"diagnose": [], "embed": ["-o", "e.parquet"], "plot": ["-o", "p.png"]}[command]
    assert "no such folder" in refused(run(command, record, *output, "--model", tmp_path / "none"))
    assert not Path("e.parquet").exists()


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


# --- embed


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
    assert "no recording was found" in refused(ask("embed", tmp_path / "empty", "-o", "e.parquet"))
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    code, _, err = ask("embed", tmp_path / "empty", "-o", "e.parquet")
    assert code == 1
    assert "1 files" in err.splitlines()[0]
    assert "no recording was found" in err.splitlines()[1]


# --- plot and info


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


def test_info(run, tmp_path, make_ecg):
    ecg = make_ecg(seconds=12)
    ecg.signal[LEADS.index("V6")] = np.nan
    record = write_wfdb(tmp_path, ecg)
    with record.open("a") as file:
        file.write("# Age: 61\n# Sex: Female\n")
    code, out, err = run("info", record, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    sizes, signal = facts.pop("peak_to_peak_mv"), facts.pop("leads")
    assert facts == {
        "record": "rec.hea",
        "sampling_rate": 500.0,
        "duration": 12.0,
        "samples": 6000,
        "looked_at": 12.0,
        "missing": round(1 / 12, 4),
        "patient_id": None,
        "age": 61,
        "sex": "female",
        "report": None,
        "missing_leads": ["V6"],
        "quality": "fair",
        "quality_reason": None,
        "lead_errors": [],
    }
    assert [row["lead"] for row in signal] == list(LEADS)
    assert [row["quality"] for row in signal] == ["good"] * 11 + ["unusable"]
    assert list(sizes) == list(LEADS)
    assert sizes["V6"] is None
    assert sizes["II"] == pytest.approx(np.ptp(ecg["II"]), abs=2e-3)

    code, out, err = run("info", record)
    assert (code, err) == (0, "")
    for text in ("rec.hea", "500.0 Hz", "12.0 s", "61", "female", "missing leads", "fair"):
        assert text in out
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert [line[0] for line in lines] == list(LEADS)
    assert lines[1][:3] == ["II", "good", f"{sizes['II']:.2f}"]
    assert lines[11] == ["V6", "unusable: missing", "–", "–", "–", "–", "–"]


def test_info_is_readable_at_80_columns(run, tmp_path, make_ecg, monkeypatch):
    """No cell is cut, and only a list of problems takes a second line."""
    ecg = make_ecg()
    time_s = np.arange(5000) / 500
    ecg.signal[0] += 0.3 * np.sin(2 * np.pi * 50 * time_s) + np.sin(2 * np.pi * 0.2 * time_s)
    record = write_wfdb(tmp_path, ecg)
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("info", record)
    assert code == 0
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 80
    rows = cells(out)
    assert [row[0] for row in rows] == ["I", "", *LEADS[1:]]
    assert f"{rows[0][1]} {rows[1][1]}" == "fair: baseline wander, mains hum"


def test_findings_and_hits_are_readable_at_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    columns = {"score": 0.3, "percentile": 99.0, "quality": "unusable", "peak": 0.5, "peak_at": 7200.0}
    conditions = ["atrial fibrillation", "non-specific intraventricular conduction delay"]
    print_findings(pd.DataFrame({"record": "r.hea", "condition": conditions} | columns))
    out = capsys.readouterr().out
    assert "…" not in out
    words = [row[0] for row in cells(out)]
    assert words[0] == conditions[0]  # on one line
    assert " ".join(words[1:]) == conditions[1]  # broken between words
    long = "archive/" * 12 + "00001_hr.hea"
    print_hits(pd.DataFrame({"file": [long], "record": ["00001_hr.hea"], "score": [0.5]}))
    rows = cells(capsys.readouterr().out)
    assert "".join(row[0] for row in rows) == long
    assert all(len(row) == 2 for row in rows)  # no column that repeats the file's name


def test_evaluations_are_readable_at_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    figure = [0.9, 0.85, 0.95]
    name = "non-specific intraventricular conduction delay"
    figures = {"auroc": figure, "auprc": figure}
    one = {"classes": {name: figures | {"positives": 12345}}, "macro": figures}
    about = {"task": "zero-shot", "benchmark": "ptb-xl-super", "n_records": 2157, "protocol": "p", "notes": []}
    others = {"others": {"tiny-sim": one, "base": one}, "baselines": {"random": one, "normality": one}}
    print_metrics(about | one | others | {"missing": 0, "unread": []})
    out = capsys.readouterr().out
    assert "…" not in out
    assert "(0.850–0.950)" in out
    assert out.count("0.900") == 12
    row = {"task": "zero-shot", "benchmark": "challenge-2021", "model": "tiny", "source": "runs/zero-shot"}
    print_comparison([row | figures | {"records": 12345, "protocol": "p", "notes": []}])
    out = capsys.readouterr().out
    assert "…" not in out
    assert "challenge-2021" in out
    assert out.count("(0.850–0.950)") == 2


def test_info_of_a_long_recording_looks_at_its_first_minute(run, tmp_path, make_ecg, monkeypatch):
    ecg = make_ecg(seconds=90, sampling_rate=100)
    ecg.signal[:, 6100:] *= 5
    record = write_wfdb(tmp_path, ecg)
    monkeypatch.setattr("dbeta.io.safety.limits.VALUES", 12 * 6500)  # as if all of it were too much to read at once
    code, out, err = run("info", record, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["duration"], facts["samples"], facts["looked_at"]) == (90, 9000, 60)
    assert facts["peak_to_peak_mv"]["II"] == pytest.approx(np.ptp(ecg["II"][:6000]), abs=2e-3)
    out = " ".join(run("info", record)[1].split())
    assert "90.0 s" in out
    assert "60.0 s, the first, for voltages and quality" in out
    ecg.signal[:, :6000] = np.nan
    said = refused(run("info", write_wfdb(tmp_path, ecg, "late")))
    assert "no signal in its first 60 s of 90 s" in said


def test_info_of_who_the_patient_is(run, tmp_path, make_ecg):
    path = write_muse(tmp_path / "a.xml", make_ecg(seconds=2))
    code, out, _ = run("info", path, "--json")
    assert code == 0
    assert json.loads(out)["report"] == "Normal sinus rhythm"
    assert not any(part in out for part in ("MRN-0815", "Mustermann", "1951"))
    asked = json.loads(run("info", path, "--json", "--keep-identifiers")[1])
    assert asked["patient_id"] == "MRN-0815"
    assert (asked["patient_name"], asked["birth_date"]) == ("Erika Mustermann", "1951-03-27")


def test_the_unit_of_a_table_is_told(run, tmp_path, make_ecg):
    ecg = make_ecg(seconds=2)
    np.save(tmp_path / "a.npy", np.round(ecg.signal * 200).astype(np.int16))
    options = ["--fs", "500", "--leads", ",".join(LEADS)]
    assert "--units" in refused(run("info", tmp_path / "a.npy", *options))
    assert "not a unit of voltage" in refused(run("info", tmp_path / "a.npy", *options, "--units", "furlong"))
    code, out, _ = run("info", tmp_path / "a.npy", *options, "--units", "200/mV", "--json")
    assert code == 0
    assert json.loads(out)["peak_to_peak_mv"]["II"] == pytest.approx(np.ptp(ecg["II"]), abs=0.006)


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_info_of_what_is_no_ecg(run, tmp_path, as_json):
    (tmp_path / "a.dcm").write_text("no ECG")
    assert "a.dcm" in refused(run("info", tmp_path / "a.dcm", *as_json))
    refused(run("info", tmp_path / "none.xml", *as_json))


# --- corpus, pretrain, evaluate


def test_corpus_build(run, tmp_path, micro_ptb_xl):
    out = tmp_path / "deep" / "corpus"
    out.parent.mkdir()
    code, said, err = run("corpus", "build", "ptb-xl", micro_ptb_xl, out)
    assert (code, said) == (0, "")
    assert err.startswith("34 records of 17 patients")
    assert json.loads((out / "corpus.json").read_text())["splits"] == {"validation": 20, "train": 12, "test": 2}
    assert "already exists" in refused(run("corpus", "build", "ptb-xl", micro_ptb_xl, out))


def test_corpus_build_of_a_manifest(run, tmp_path, make_ecg):
    write_wfdb(tmp_path, make_ecg(seconds=12))
    (tmp_path / "list.csv").write_text("path,report\nrec.hea,Sinus rhythm\nnone.hea,lost\n")
    code, said, err = run("corpus", "build", "manifest", "list.csv", "corpus", "--seconds", 5)
    assert (code, said) == (0, "")
    assert "1 records could not be read: see corpus/rejected.csv" in err
    assert "dbeta corpus build manifest list.csv corpus --seconds 5" in (tmp_path / "corpus" / "README.md").read_text()


def test_an_interrupted_corpus_build_says_how_to_go_on(run, tmp_path, micro_ptb_xl, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dbeta.corpus.build.write_shard", interrupt)
    code, _, err = run("corpus", "build", "ptb-xl", micro_ptb_xl, tmp_path / "corpus")
    assert code == 130
    assert err == "interrupted; run the same command again to resume\n"
    monkeypatch.undo()
    code, _, err = run("corpus", "build", "ptb-xl", micro_ptb_xl, tmp_path / "corpus")
    assert (code, err[:10]) == (0, "34 records")


def test_the_help_of_corpus_build_lists_the_sources(run):
    said = " ".join(run("corpus", "build", "--help")[1].split())
    assert all(source in said for source in ("ptb-xl", "mimic-iv-ecg", "challenge-2021", "code-15", "manifest"))


@pytest.mark.parametrize(
    ("source", "raw", "message"),
    [
        ("mimic", ".", "choose one of"),
        ("ptb-xl", "none", "no such file or folder"),
        ("ptb-xl", ".", "ptbxl_database.csv"),
    ],
)
def test_corpus_build_of_nothing(run, tmp_path, source, raw, message):
    assert message in refused(run("corpus", "build", source, tmp_path / raw, tmp_path / "corpus"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (None, [], "r.yaml"),
        ("just words", [], "not a recipe"),
        ("a: [1", [], "cannot be read"),
        ("presett: tiny", [], "unknown setting presett"),
        ("preset: huge", [], "preset should be base or tiny, not 'huge'"),
        ("preset: tiny", ["--set", "preset"], "key=value"),
        ("preset: tiny", ["--set", "nonsense=1"], "unknown setting nonsense"),
        ("preset: tiny", ["--set", "preset.size=1"], "single value"),
        ("corpus: none", [], "not a corpus"),
    ],
)
def test_a_bad_recipe(run, tmp_path, content, changes, message):
    if content is not None:
        (tmp_path / "r.yaml").write_text(content)
    assert message in refused(run("pretrain", tmp_path / "r.yaml", "--output", tmp_path / "out", *changes))
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """Embeddings are kept where tests may keep them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_evaluate_zero_shot(ask, tmp_path, micro_ptb_xl):
    output = tmp_path / "deep" / "results"
    options = ["--fold", "9", "--output", output, "--resamples", "10"]
    code, out, err = ask("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, *options)
    assert code == 0
    assert err.endswith(f"{output / 'report.md'} written\n")
    assert "Tested on fold 9, not PTB-XL's official test fold" in err
    assert {"metrics.json", "report.md", "predictions.parquet"} <= {file.name for file in output.iterdir()}
    result = json.loads((output / "metrics.json").read_text())
    assert result["n_records"] == 20
    assert len(result["macro"]["auroc"]) == 3
    assert result["provenance"]["command"].startswith("dbeta evaluate zero-shot ptb-xl-super")
    table = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    rows = {row[0]: row[1:] for row in table if row[0] in ("NORM", "MI", "STTC", "CD", "HYP", "macro")}
    assert list(rows) == ["NORM", "MI", "STTC", "CD", "HYP", "macro"]
    assert rows["STTC"] == ["0", "–", "–", "–", "–"]
    assert rows["NORM"][0] == "10"
    assert rows["NORM"][1].startswith(f"{result['classes']['NORM']['auroc'][0]:.3f} (")
    assert rows["macro"][2] == f"{result['baselines']['random']['macro']['auroc'][0]:.3f}"
    assert rows["macro"][3] == f"{result['baselines']['normality']['macro']['auroc'][0]:.3f}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "options", "shown"),
    [
        ("probe", [], "macro"),
        ("retrieval", [], "ecg to text, recall@5"),
        ("identification", [], "accuracy@1"),
        ("identification", ["--finetune", "--epochs", "1"], "accuracy@1"),
        ("finetune", ["--epochs", "1", "--no-scratch", "--leads", "12,1"], "macro"),
    ],
)
def test_the_other_evaluations(ask, tmp_path, micro_ptb_xl, task, options, shown):
    options = [*options, "--fold", "9", "--output", tmp_path / "out", "--resamples", "10"]
    code, out, _ = ask("evaluate", task, "ptb-xl-super", micro_ptb_xl, *options)
    assert code == 0
    assert shown in out
    assert "Research use only" in out
    assert (tmp_path / "out" / "report.md").is_file()


def test_evaluate_two_models_and_compare(run, tmp_path, micro_ptb_xl, micro_checkpoint):
    output = tmp_path / "two"
    models = ["--model", micro_checkpoint, "--model", bundled_checkpoint()]
    code, out, _ = run(
        *("evaluate", "zero-shot", "ptb-xl-rhythm", micro_ptb_xl, "--fold", "9", "--output", output),
        *(*models, "--resamples", "10"),
    )
    assert code == 0
    assert "tiny" in out
    code, out, err = run("evaluate", "compare", output)
    assert code == 0
    assert "published" in out
    assert "Research use only" in err
    assert run("evaluate", "compare", output, "--output", tmp_path / "table.md")[0] == 0
    assert "*D-BETA (Pham et al. 2025)* | 0.886" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_a_model_folder_called_random(run, tmp_path, micro_ptb_xl, micro_checkpoint):
    (tmp_path / "random").symlink_to(micro_checkpoint)
    options = ["--fold", "9", "--resamples", "10"]
    for name in (tmp_path / "random", micro_checkpoint):
        output = tmp_path / f"out {name.name}"
        assert (
            run("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, *options, "--model", name, "--output", output)[0]
            == 0
        )
    figures = [json.loads((folder / "metrics.json").read_text())["macro"] for folder in tmp_path.glob("out *")]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("leads", ["12,5", "", "x"])
def test_lead_sets_that_are_none(ask, tmp_path, micro_ptb_xl, leads):
    said = refused(
        ask("evaluate", "finetune", "ptb-xl-super", micro_ptb_xl, "--output", tmp_path / "o", "--leads", leads)
    )
    assert "give some of 12,6,4,3,2,1" in said
    assert list(tmp_path.iterdir()) == []


def test_a_model_named_twice(ask, tmp_path, micro_ptb_xl, micro_checkpoint):
    models = ["--model", micro_checkpoint] * 3
    said = refused(ask("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, "--output", tmp_path / "out", *models))
    assert "named twice" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("benchmark", "raw", "options", "message"),
    [
        ("nonsense", ".", [], "choose one of ptb-xl-super"),
        ("ptb-xl-super", "none", [], "no such folder"),
        ("ptb-xl-super", ".", [], "ptbxl_database.csv is missing"),
        ("ptb-xl-super", None, ["--fold", "11"], "no labelled record of fold 11"),
        ("ptb-xl-super", None, ["--protocol", "merl"], "--split-file together"),
        ("ptb-xl-super", None, ["--groups", "none.csv"], "none.csv: no such file"),
    ],
)
def test_evaluate_what_is_not_there(ask, tmp_path, micro_ptb_xl, benchmark, raw, options, message):
    folder = micro_ptb_xl if raw is None else tmp_path / raw
    said = refused(ask("evaluate", "zero-shot", benchmark, folder, "--output", tmp_path / "out", *options))
    assert message in said
    assert list(tmp_path.iterdir()) == []


def test_evaluate_into_a_file(ask, tmp_path, micro_ptb_xl):
    (tmp_path / "out").write_text("in the way")
    said = refused(ask("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, "--output", tmp_path / "out"))
    assert str(tmp_path / "out") in said


# --- Real recordings


@pytest.mark.shared
@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("challenge-2021/training/georgia/g1/E07541.mat", []),
        ("challenge-2021/training/cpsc_2018/g1/A0026.hea", []),
        ("code-15/*.hdf5", ["--record", "0"]),
        ("cpsc2018-native/*.mat", []),
    ],
)
def test_real_recordings(ask, shared, pattern, options):
    file = sorted(shared.glob(pattern))[0]
    code, out, err = ask("diagnose", file, *options, "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 22
    assert all(line.startswith("warning: ") for line in err.splitlines())


def test_conditions_may_be_given_several_times(ask, tmp_path, make_ecg):
    file = write_wfdb(tmp_path, make_ecg())
    options = ["--conditions", "sinus rhythm", "--conditions", "atrial fibrillation; sinus rhythm"]
    code, out, _ = ask("diagnose", file, *options, "--json")
    assert code == 0
    assert sorted(row["condition"] for row in json.loads(out)) == ["atrial fibrillation", "sinus rhythm"]
