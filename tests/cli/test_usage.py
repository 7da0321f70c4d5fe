"""Help, wrong usage and missing models: what every command has in common."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import refused, write_wfdb

COMMANDS = ["diagnose", "match", "reconstruct", "plot", "info", "embed", "index", "search"]
COMMANDS += ["corpus", "pretrain", "evaluate", "convert"]


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


def test_an_error_is_one_line_whatever_the_name(ask, tmp_path):
    refused(ask("diagnose", tmp_path / "a\nb.hea"))
