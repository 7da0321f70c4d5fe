"""What the command line shows: tables on stdout; progress, notes and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from dbeta.errors import DBetaError

if TYPE_CHECKING:
    import pandas as pd

NOTICE = "Research use only. Not a medical device."


class Failures:
    """Files that could not be done, named at the end so that the others are not held up."""

    def __init__(self) -> None:
        """Start with none."""
        self.messages: list[str] = []

    @contextmanager
    def of(self, file: Path) -> Iterator[None]:
        """Note a `DBetaError` of this file instead of raising it."""
        try:
            yield
        except DBetaError as error:
            self.add(file, str(error))

    def add(self, file: str | Path, message: str) -> None:
        """Note what is wrong with a file."""
        if str(file) not in message:
            message = f"{file}: {message.removeprefix(f'{Path(file).name}: ')}"
        self.messages.append(message)

    def end(self) -> None:
        """Name the failures, if any, and exit with 1."""
        for message in self.messages:
            complain(message)
        if self.messages:
            raise typer.Exit(1)


def print_findings(table: pd.DataFrame) -> None:
    """The findings of one recording."""
    view = Table(title=escape(str(table["record"].iloc[0])), title_justify="left", title_style="bold")
    view.add_column("condition")
    view.add_column("score", justify="right")
    view.add_column("percentile", justify="right")
    for row in table.to_dict("records"):
        percentile = "–" if row["percentile"] != row["percentile"] else f"{row['percentile']:.0f}"
        view.add_row(escape(row["condition"]), f"{row['score']:+.2f}", percentile)
    Console().print(view)


def print_metrics(result: dict[str, Any]) -> None:
    """Per-class and macro figures beside those of the baselines."""
    title = f"{result['benchmark']}: {result['n_records']} records"
    view = Table(title=title, title_justify="left", title_style="bold")
    view.add_column("class")
    for column in ("positives", "AUROC (95 % interval)", "AUPRC", "random", "normality"):
        view.add_column(column, justify="right", no_wrap=column.startswith("AUROC"))

    def text(figure: list[float] | None) -> str:
        return "–" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"

    baselines = result["baselines"].values()
    for name, one in result["classes"].items():
        others = [one["auprc"], *(baseline["classes"][name]["auroc"] for baseline in baselines)]
        view.add_row(name, str(one["positives"]), text(one["auroc"]), *(text(other)[:5] for other in others))
    macro = result["macro"]
    view.add_section()
    others = [macro["auprc"], *(baseline["macro"]["auroc"] for baseline in baselines)]
    view.add_row("macro", "", text(macro["auroc"]), *(text(other)[:5] for other in others))
    console = Console()
    console.print(view)
    console.print(
        "[dim]random: AUROC with random weights; normality: AUROC of the model's score for a normal ECG alone, "
        f"turned round for the other classes. {result['protocol']}. {NOTICE}[/]"
    )
    if result["unread"]:
        note(f"{len(result['unread'])} recordings could not be read and are left out: see metrics.json")


def print_estimate(found: dict[str, Any]) -> None:
    """A dry run: the resolved recipe, then what it asks for."""
    import yaml

    figures = found["estimate"]

    def text(value: Any, pattern: str) -> str:
        return "unknown until the corpus is built" if value is None else pattern.format(value)

    print(yaml.safe_dump(found["recipe"], sort_keys=False))
    view = Table(title="dry run", title_justify="left", title_style="bold", show_header=False)
    for row in (
        ("parameters", f"{figures['parameters'] / 1e6:.1f} M"),
        ("training records", text(figures["records"], "{:,}")),
        ("records per step", f"{figures['batch']:,}"),
        ("steps", text(figures["steps"], "{:,}")),
        ("arithmetic per record", f"{figures['flops_per_record'] / 1e9:.1f} GFLOP"),
        ("weights, gradients, Adam", f"{figures['state_gib']:.2f} GiB"),
        ("a step's activations", f"about {figures['activations_gib']:.1f} GiB a device"),
        ("time per step", f"{figures['seconds_per_step']:.2f} s on {figures['device']}"),
        ("time in all", text(figures["hours"], "about {:.1f} h, without evaluation")),
    ):
        view.add_row(*row)
    Console().print(view)
    for problem in figures["problems"]:
        note(f"the run would not start yet: {problem}")


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """As in "12.3/s"; nothing before the first is done."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


@contextmanager
def progress(label: str) -> Iterator[Any]:
    """A progress bar on stderr, silent when that is no terminal; yields a function of (done, in all)."""
    columns = (
        *(TextColumn(label), BarColumn(), MofNCompleteColumn(), Rate()),
        *(TimeElapsedColumn(), TextColumn("remaining"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def note(message: str) -> None:
    """A line for people, on stderr."""
    print(message, file=sys.stderr)


def complain(error: DBetaError | str) -> None:
    """One line on stderr, whatever the name of the file."""
    note("error: " + " ".join(str(error).splitlines()))
