"""The command line: each command is a few lines over the library.

Exit codes: 0 done; 1 a user's mistake, one sentence on stderr; 2 bad usage; 130 and 143 ended by Ctrl-C and SIGTERM,
with what is done kept. Libraries that take seconds to import are
imported by the commands that need them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from dbeta.cli import convert, evaluation, recordings, searching, training
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.report.console import complain, note
from dbeta.utils.notice import NOTICE


class InOrder(TyperGroup):
    """Commands in the order in which people come to need them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands."""
        order = ["diagnose", "embed", "plot", "info", "index", "search", "corpus", "pretrain", "convert", "evaluate"]
        return sorted(super().list_commands(ctx), key=order.index)


app = typer.Typer(
    cls=InOrder,
    help=f"Ask a 12-lead ECG, in words, what it shows. {NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
corpus_app = typer.Typer(help="Make corpora for pretraining and evaluation.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Measure a model on a benchmark.", no_args_is_help=True)
for command in (
    *(recordings.diagnose, recordings.embed, recordings.plot, recordings.info),
    *(searching.index, searching.search, training.pretrain, convert.convert),
):
    app.command()(command)
corpus_app.command("build")(training.corpus_build)
corpus_app.command("simulate")(training.corpus_simulate)
corpus_app.command("negatives")(training.corpus_negatives)
evaluate_app.command("zero-shot")(evaluation.evaluate_zero_shot)
evaluate_app.command("probe")(evaluation.evaluate_probe)
evaluate_app.command("finetune")(evaluation.evaluate_finetune)
evaluate_app.command("retrieval")(evaluation.evaluate_retrieval)
evaluate_app.command("identification")(evaluation.evaluate_identification)
evaluate_app.command("compare")(evaluation.evaluate_compare)
app.add_typer(corpus_app, name="corpus")
app.add_typer(evaluate_app, name="evaluate")


def main() -> None:
    """Run the command line."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, DBetaWarning):
            note(f"warning: {message}")

    warnings.showwarning = show
    warnings.simplefilter("always", DBetaWarning)
    try:
        with ended_cleanly():
            app(prog_name="dbeta")
    except DBetaError as error:
        complain(error)
        sys.exit(1)
    except OSError as error:  # no room, no permission, a file where a folder should be
        complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def ended_cleanly() -> Iterator[None]:
    """Take SIGTERM, with which a cluster ends a job, for Ctrl-C, so that workers are ended and work is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    program = os.getpid()
    told: list[int] = []

    def end(number: int, _: Any) -> None:
        if os.getpid() != program:  # a copy of this process, which has nothing to keep
            os._exit(128 + number)
        told.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if told:
            sys.exit(128 + signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
