"""The command line; each command is a module of the same name, a few lines over the library.

Exit codes: 0 success; 1 an error, reported in one sentence on stderr; 2 wrong usage; 130 and 143 stopped by Ctrl-C and
SIGTERM, keeping finished work. Slow libraries are imported inside the commands that need them.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import dbeta
from dbeta.cli import (
    convert,
    corpus,
    diagnose,
    embed,
    evaluate,
    index,
    info,
    match,
    plot,
    pretrain,
    reconstruct,
    search,
)
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.report.console import complain, note
from dbeta.utils.notice import NOTICE

RECORDINGS, ARCHIVES, MODELS = "Recordings", "Archives", "Models and datasets"
ORDER = [
    "diagnose",
    "match",
    "reconstruct",
    "plot",
    "info",
    "embed",
    "index",
    "search",
    "corpus",
    "pretrain",
    "evaluate",
    "convert",
]


class InOrder(TyperGroup):
    """Lists the commands in `ORDER`; Typer would list command groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


def show_version(wanted: bool) -> None:
    """Print the version, if it is wanted."""
    if wanted:
        print(dbeta.__version__)
        raise typer.Exit


app = typer.Typer(
    cls=InOrder,
    help=f"Name what a 12-lead ECG shows, embed it, and search archives by text. {NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(rich_help_panel=RECORDINGS)(diagnose.diagnose)
app.command(rich_help_panel=RECORDINGS)(match.match)
app.command(rich_help_panel=RECORDINGS)(reconstruct.reconstruct)
app.command(rich_help_panel=RECORDINGS)(plot.plot)
app.command(rich_help_panel=RECORDINGS)(info.info)
app.command(rich_help_panel=ARCHIVES)(embed.embed)
app.command(rich_help_panel=ARCHIVES)(index.index)
app.command(rich_help_panel=ARCHIVES)(search.search)
app.add_typer(corpus.app, name="corpus", rich_help_panel=MODELS)
app.command(rich_help_panel=MODELS)(pretrain.pretrain)
app.add_typer(evaluate.app, name="evaluate", rich_help_panel=MODELS)
app.command(rich_help_panel=MODELS)(convert.convert)
for command in [*app.registered_commands, *corpus.app.registered_commands, *evaluate.app.registered_commands]:
    # Typer would keep the line breaks within a paragraph
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(command.callback) or "")


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Take options of the program itself."""


def main() -> None:
    """Run the command line."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, DBetaWarning):
            note(f"warning: {message}")

    warnings.showwarning = show
    warnings.simplefilter("always", DBetaWarning)
    try:
        with sigterm_as_ctrl_c():
            app(prog_name="dbeta")
    except DBetaError as error:
        complain(error)
        sys.exit(1)
    except OSError as error:  # such as a full disk, no permission, or a file in place of a folder
        complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM, which clusters send to end jobs, like Ctrl-C, so that workers stop and results are kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    program = os.getpid()
    received: list[int] = []

    def stop(number: int, _: Any) -> None:
        if os.getpid() != program:  # a forked process, which has no results to keep
            os._exit(128 + number)
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if received:
            sys.exit(128 + signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
