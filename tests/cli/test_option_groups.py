"""Groups of options: each option is written once, and a command gets its whole group."""

import inspect
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dbeta.cli import app
from dbeta.cli.options import Batch, Evaluated, Reading, with_groups


def run(command, *arguments):
    program = typer.Typer()
    program.command()(command)
    return CliRunner().invoke(program, list(arguments))


def test_a_command_gets_its_groups():
    seen = []

    @with_groups
    def command(
        output: Annotated[str, typer.Option()],
        *,
        reading: Reading,
        batch: Batch,
        count: Annotated[int, typer.Option()] = 3,
    ):
        """Collect what was given."""
        seen.append((output, reading, batch, count))

    result = run(command, "--output", "o", "--fs", "250", "--leads", "I, II", "--fix-leads", "--shard", "1/2", "a.hea")
    assert result.exit_code == 0, result.output
    ((output, reading, batch, count),) = seen
    assert (output, count) == ("o", 3)
    assert reading.arguments() == {
        "sampling_rate": 250.0,
        "leads": ["I", "II"],
        "record": None,
        "units": None,
        "raw_gain": None,
        "fix_leads": True,
    }
    assert ([str(path) for path in batch.paths], batch.list_file, batch.shard, batch.strict) == (
        ["a.hea"],
        None,
        "1/2",
        False,
    )


def test_a_required_option_of_a_group_stays_required():
    @with_groups
    def command(*, evaluated: Evaluated):
        """Do nothing."""

    assert run(command, "ptb-xl-super", "folder").exit_code == 2
    assert run(command, "ptb-xl-super", "folder", "--output", "out").exit_code == 0


@pytest.mark.parametrize("name", ["diagnose", "embed", "index", "plot", "info"])
def test_every_command_that_reads_files_has_all_reading_options(name):
    command = next(one.callback for one in app.registered_commands if one.callback.__name__ == name)
    assert set(inspect.signature(command).parameters) >= {"fs", "leads", "record", "units", "fix_leads"}
