"""Prints evaluations on the console: the figures of one, and several beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dbeta.evaluation.compare import comparison_notes
from dbeta.evaluation.markdown import format_interval, task_name
from dbeta.report.console import note
from dbeta.utils.notice import NOTICE


def print_metrics(result: dict[str, Any]) -> None:
    """Print an evaluation's figures, with those of each class beside the baselines'."""
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
        note(f"{result['missing']} recordings are missing and were left out")
    if result["unread"]:
        note(f"{len(result['unread'])} recordings could not be read and were left out: see metrics.json")


def _value(figure: Sequence[float] | None) -> str:
    """A figure without its interval."""
    return format_interval(figure).split()[0]


def _class_table(result: dict[str, Any], title: str) -> Table:
    view = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    view.add_column("class", overflow="fold")
    # A terminal has room for these two; the report has all
    baselines = {name: one for name, one in result["baselines"].items() if name in ("random", "normality")}
    beside = {**result.get("others", {}), **baselines}
    for column in ("posi-\ntives", "AUROC\n(95 % interval)", "AUPRC"):
        view.add_column(column, justify="right", no_wrap=True)
    for column in beside:
        # Models' names may be long; figures are not
        view.add_column(escape(column), justify="right", overflow="fold", min_width=5)
    # Many models leave room for the interval only below its value
    between = "\n" if len(beside) > 2 else " "

    def interval(figure: Sequence[float] | None) -> str:
        return format_interval(figure).replace(" ", between)

    for name, one in result["classes"].items():
        others = [one["auprc"], *(other["classes"][name]["auroc"] for other in beside.values())]
        view.add_row(escape(name), str(one["positives"]), interval(one["auroc"]), *map(_value, others))
    view.add_section()
    macro = result["macro"]
    others = [macro["auprc"], *(other["macro"]["auroc"] for other in beside.values())]
    view.add_row("macro", "", interval(macro["auroc"]), *map(_value, others))
    return view


def _figure_table(result: dict[str, Any], title: str) -> Table:
    """Figures that do not belong to classes: [value, low, high] by name, grouped or not."""
    view = Table(title=title, title_justify="left", title_style="bold")
    for column in ("", "value (95 % interval)", "chance"):
        view.add_column(column, justify="left" if not column else "right")
    chance = result["chance"]
    for name, one in result.items():
        if name == "accuracy@1":
            view.add_row(name, format_interval(one), f"{chance:.3f}")
        elif isinstance(chance, dict) and name in chance:
            for figure, value in one.items():
                view.add_row(f"{name.replace('_', ' ')}, {figure}", format_interval(value), f"{chance[name][figure]:g}")
    return view


def print_comparison(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print evaluations beside each other and beside published figures (`dbeta.evaluation.compare.compare_runs`)."""
    view = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    view.add_column("task", overflow="fold", min_width=14)
    view.add_column("model", overflow="fold", min_width=10)
    for column in ("macro AUROC", "macro AUPRC", "records"):
        view.add_column(column, justify="right", no_wrap=True)
    view.add_column("from", overflow="fold")
    for row in rows:
        if row["source"] == "published":
            figures = [f"{row['auroc']:.3f}", "–", "–"]
        else:
            figures = [format_interval(row[name]).replace(" ", "\n") for name in ("auroc", "auprc")]
            figures.append(f"{row['records']:,}")
        task = f"{row['benchmark']}\n{task_name(row['task'], row.get('in_domain'))}"
        view.add_row(escape(task), escape(row["model"]), *figures, escape(row["source"]))
    console = Console()
    console.print(view)
    for line in comparison_notes(rows):
        console.print(escape(line))
