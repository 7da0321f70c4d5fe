"""Prints command line output: tables on stdout; progress, notes and errors on stderr."""

from __future__ import annotations

import sys
import time
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
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from dbeta.errors import DBetaError
from dbeta.inference.columns import COLUMNS, SHOWN
from dbeta.utils.notice import NOTICE

if TYPE_CHECKING:
    import pandas as pd

    from dbeta.signal.quality import Quality


class Failures:
    """Files that could not be processed, reported at the end so that the others are processed first."""

    def __init__(self) -> None:
        """Start empty."""
        self.messages: list[str] = []

    def add(self, file: str | Path, message: str) -> None:
        """Add a file and its error."""
        if str(file) not in message:
            message = f"{file}: {message.removeprefix(f'{Path(file).name}: ')}"
        self.messages.append(message)

    def end(self) -> None:
        """Print the failures, if any, and exit with 1."""
        for message in self.messages:
            complain(message)
        if self.messages:
            raise typer.Exit(1)


def print_findings(table: pd.DataFrame) -> None:
    """Print the findings of one recording."""
    shown = [name for name in SHOWN if name in table]
    view = Table(title=escape(str(table["record"].iloc[0])), title_justify="left", title_style="bold")
    for name in shown:
        view.add_column(COLUMNS[name].heading, justify="right" if COLUMNS[name].number else "left")
    for row in table.to_dict("records"):
        view.add_row(*(_cell(str(name), row[name]) for name in shown))
    Console().print(view)


def _cell(name: str, value: Any) -> str:
    """A value of a finding as the terminal shows it."""
    if name == "percentile":
        return _percent(value)
    if name == "peak_at":
        return _clock(value)
    return _score(value) if COLUMNS[name].number else escape(str(value))


def print_matches(table: pd.DataFrame) -> None:
    """Print how probably texts belong to one recording."""
    view = Table(title=escape(str(table["record"].iloc[0])), title_justify="left", title_style="bold")
    long = "peak" in table
    for name in ("text", "probability", *(("with\nprobability", "strongest\nat") if long else ()), "signal"):
        view.add_column(name, justify="left" if name in ("text", "signal") else "right")
    for row in table.to_dict("records"):
        peak = (f"{row['peak']:.2f}", _clock(row["peak_at"])) if long else ()
        view.add_row(escape(row["text"]), f"{row['probability']:.2f}", *peak, row["quality"])
    Console().print(view)


def print_hits(table: pd.DataFrame) -> None:
    """Print the recordings that a search found, with their ids where files hold several."""
    view = Table()
    rows = table.to_dict("records")
    ids = any(row["record"] != Path(row["file"]).name for row in rows)
    matched = ("match",) if "match" in table else ()
    for column in ("file", *(("record",) if ids else ()), "score", *matched):
        view.add_column(column, justify="right" if column in ("score", "match") else "left", overflow="fold")
    for row in rows:
        match = [_percent(100 * row[name]) for name in matched]
        view.add_row(escape(row["file"]), *((escape(row["record"]),) if ids else ()), f"{row['score']:+.3f}", *match)
    Console().print(view)


def print_notice(explanation: str) -> None:
    """Print what a table's numbers mean, and the research-only notice."""
    Console().print(f"[dim]{escape(explanation)}. {NOTICE}[/]")


#: Facts that `print_facts` shows, with their units.
_FACTS = {
    "record": "",
    "sampling_rate": " Hz",
    "duration": " s",
    "samples": "",
    "looked_at": " s, the first, for voltages and quality",
    "missing": "",
    "patient_id": "",
    "patient_name": "",
    "birth_date": "",
    "age": "",
    "sex": "",
    "report": "",
    "other_channels": "",
    "missing_leads": "",
    "fixed_leads": "",
    "raw_gain": "",
    "voltages": "",
    "quality": "",
}


def print_facts(facts: dict[str, Any]) -> None:
    """Print the facts about a recording (see `dbeta.report.facts`)."""
    view = Table(show_header=False, box=None)
    whole = facts["looked_at"] >= facts["duration"] - 1 / facts["sampling_rate"]
    for name, unit in _FACTS.items():
        value = facts.get(name)
        if value is None or (name == "looked_at" and whole):
            continue
        if isinstance(value, list | tuple):
            value = ", ".join(value)
        if name == "quality":
            value = f"{value} (acceptability {facts['acceptability']:.2f})"
            if facts["objections"]:
                value = f"{value}: {'; '.join(facts['objections'])}"
        view.add_row(f"[bold]{name.replace('_', ' ')}[/]", escape(f"{value}{unit}"))
    Console().print(view)


def print_quality(quality: Quality, peak_to_peak: dict[str, float | None]) -> None:
    """Print the signal quality of each lead: the verdict with its problems, then the measures."""
    view = Table(title="signal (peak to peak in mV; noise, mains and wander in µV)", title_justify="left")
    view.title_style = "bold"
    view.add_column("lead")
    view.add_column("quality")
    columns = ("beats", "noise", "mains", "wander")
    for column in ("peak to\npeak", "beats/\nrest", "noise", "mains", "wander"):
        view.add_column(column, justify="right", no_wrap=True)
    for row in quality.rows():
        size = peak_to_peak.get(row["lead"])
        values = [row[name] if name == "beats" or row[name] is None else 1000 * row[name] for name in columns]
        texts = ["–" if value is None else f"{value:.{int(i == 0)}f}" for i, value in enumerate(values)]
        verdict = ": ".join(part for part in (row["quality"], ", ".join(row["problems"])) if part)
        view.add_row(row["lead"], verdict, "–" if size is None else f"{size:.2f}", *texts)
    Console().print(view)


#: Conditions per line of `print_windows`.
BEST = 3


def print_windows(table: pd.DataFrame) -> None:
    """Print the best-matching conditions of each window of one recording."""
    title = f"{table['record'].iloc[0]}: score (percentile) of the best matches per window"
    view = Table(title=escape(title), title_justify="left", title_style="bold")
    view.add_column("start", justify="right", no_wrap=True)
    view.add_column("condition")
    view.add_column("signal")
    for start, rows in table.groupby("start", sort=False):
        best = rows.head(BEST).to_dict("records")
        texts = [f"{row['condition']} {_score(row['score'])} ({_percent(row['percentile'])})" for row in best]
        view.add_row(_clock(float(str(start))), escape(", ".join(texts)), best[0]["quality"])
    Console().print(view)


def _score(score: float) -> str:
    return "–" if score != score else f"{score:+.2f}"


def _percent(percentile: float) -> str:
    return "–" if percentile != percentile else f"{percentile:.0f}"


def _clock(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds, such as 3:20:10."""
    if seconds != seconds:
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def print_estimate(found: dict[str, Any]) -> None:
    """Print the result of a dry run: the resolved recipe, then what the run would need."""
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
        ("computation per record", f"{figures['flops_per_record'] / 1e9:.1f} GFLOP"),
        ("weights, gradients, Adam", f"{figures['state_gib']:.2f} GiB"),
        ("activations per step", f"about {figures['activations_gib']:.1f} GiB per device"),
        ("time per step", f"{figures['seconds_per_step']:.2f} s on {figures['device']}"),
        ("total time", text(figures["hours"], "about {:.1f} h, without evaluation")),
    ):
        view.add_row(*row)
    Console().print(view)
    for problem in figures["problems"]:
        note(f"the run cannot start yet: {problem}")


class Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Format as "12.3/s"; empty until the first item is done."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


#: Seconds between two lines of progress if stderr is no terminal.
LINE_SECONDS = 60.0


class Advance:
    """Updates a progress bar, or prints lines of progress instead.

    Args:
        bar: the display.
        task: the bar to update.
        lines: prefix of the lines of progress; None for no lines.
    """

    def __init__(self, bar: Progress, task: TaskID, lines: str | None = None) -> None:
        """Start at zero."""
        self.bar, self.task, self.lines = bar, task, lines
        self.inner: TaskID | None = None
        self.begun = False
        self.before = self.done = self.total = 0
        self.since = self.said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Set the items done and in total; items done before the first call do not count towards the rate."""
        if not self.begun:
            self.bar.reset(self.task, total=total, completed=done)
            self.begun = True
            self.before, self.since = done, time.monotonic()
        self.bar.update(self.task, completed=done, total=total)
        self.done, self.total = done, total
        self._say()

    def within(self, name: str, done: int, total: int) -> None:
        """Show the progress within one item on a second bar, until it is done."""
        if self.inner is None:
            self.inner = self.bar.add_task(escape(name), total=total)
        self.bar.update(self.inner, completed=done, total=total, description=escape(name))
        if done >= total:
            self.bar.remove_task(self.inner)
            self.inner = None
        self._say()

    def _say(self) -> None:
        """Print a line of progress if one is due."""
        now = time.monotonic()
        if self.lines is None or now - self.said < LINE_SECONDS:
            return
        self.said = now
        rate = (self.done - self.before) / max(now - self.since, 1e-9)
        text = f"{self.lines}: {self.done} of {self.total}"
        note(f"{text}, {rate:.1f}/s, {_clock((self.total - self.done) / rate)} remaining" if rate else text)


@contextmanager
def progress(label: str, *, lines: bool = False) -> Iterator[Advance]:
    """Show a progress bar on stderr; yields a function of (done, total).

    Args:
        label: shown beside the bar.
        lines: print a line once a minute if stderr is no terminal, as in a cluster's log; otherwise print nothing.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    terminal = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not terminal) as bar:
        yield Advance(bar, bar.add_task(label, total=None), label if lines and not terminal else None)


def note(message: str) -> None:
    """Print a line on stderr."""
    print(message, file=sys.stderr)


def complain(error: DBetaError | str) -> None:
    """Print an error on one line of stderr, even if a file name in it has line breaks."""
    note("error: " + " ".join(str(error).splitlines()))
