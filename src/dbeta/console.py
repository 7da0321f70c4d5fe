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
    """An evaluation's figures, those of each class beside the baselines'."""
    console = Console()
    title = f"{result['task']} on {result['benchmark']}: {result['n_records']} test records"
    if "classes" in result:
        console.print(_class_table(result, title))
    else:
        console.print(_figure_table(result, title))
    console.print(f"[dim]{escape(result['protocol'])}. {NOTICE}[/]")
    for line in result["notes"]:
        note(line)
    if result["missing"]:
        note(f"{result['missing']} recordings are missing and left out")
    if result["unread"]:
        note(f"{len(result['unread'])} recordings could not be read and are left out: see metrics.json")


def _text(figure: list[float] | None) -> str:
    return "–" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"


def _class_table(result: dict[str, Any], title: str) -> Table:
    view = Table(title=title, title_justify="left", title_style="bold")
    view.add_column("class")
    # As many as a terminal has room for; the report has them all
    baselines = {name: one for name, one in result["baselines"].items() if name in ("random", "normality")}
    beside = {**result.get("others", {}), **baselines}
    for column in ("positives", "AUROC (95 % interval)", "AUPRC", *map(escape, beside)):
        view.add_column(column, justify="right", no_wrap=column.startswith("AUROC"))
    for name, one in result["classes"].items():
        others = [one["auprc"], *(other["classes"][name]["auroc"] for other in beside.values())]
        view.add_row(escape(name), str(one["positives"]), _text(one["auroc"]), *(_text(other)[:5] for other in others))
    view.add_section()
    macro = result["macro"]
    others = [macro["auprc"], *(other["macro"]["auroc"] for other in beside.values())]
    view.add_row("macro", "", _text(macro["auroc"]), *(_text(other)[:5] for other in others))
    return view


def _figure_table(result: dict[str, Any], title: str) -> Table:
    """Figures that are not of classes: [value, low, high] by name, in groups or not."""
    view = Table(title=title, title_justify="left", title_style="bold")
    for column in ("", "value (95 % interval)", "chance"):
        view.add_column(column, justify="left" if not column else "right")
    chance = result["chance"]
    for name, one in result.items():
        if name == "accuracy@1":
            view.add_row(name, _text(one), f"{chance:.3f}")
        elif isinstance(chance, dict) and name in chance:
            for figure, value in one.items():
                view.add_row(f"{name.replace('_', ' ')}, {figure}", _text(value), f"{chance[name][figure]:g}")
    return view


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
