"""Compares several evaluations in one table, beside published figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbeta.errors import DBetaError
from dbeta.evaluation.markdown import format_interval, format_table, task_name
from dbeta.evaluation.report import METRICS

#: Name of the baseline with random weights.
RANDOM = "random weights"


@dataclass(frozen=True)
class Published:
    """A published macro AUROC, on a benchmark's official test split or the authors' own.

    Attributes:
        task: "zero-shot", "probe 1%", "probe 100%", "finetune, 12 leads", …; "supervised" is shown with every task.
        benchmark: name in `BENCHMARKS`.
        who: the model and its source.
        auroc: macro AUROC, 0 to 1.
    """

    task: str
    benchmark: str
    who: str
    auroc: float


_PTB_XL = ("ptb-xl-super", "ptb-xl-sub", "ptb-xl-form", "ptb-xl-rhythm")


def _row(task: str, who: str, benchmarks: Sequence[str], figures: Sequence[float]) -> list[Published]:
    return [Published(task, name, who, round(one / 100, 4)) for name, one in zip(benchmarks, figures, strict=True)]


_DBETA, _MERL = "D-BETA (Pham et al. 2025)", "MERL (Liu et al. 2024)"
_LEADERBOARD = "best supervised model of PTB-XL's leaderboard"

#: As given in the papers; not reproduced here.
PUBLISHED = [
    *_row("zero-shot", _DBETA, (*_PTB_XL, "cpsc2018", "code-test"), (76.2, 75.9, 66.1, 88.6, 80.1, 96.8)),
    *_row("zero-shot", _MERL, (*_PTB_XL, "cpsc2018"), (74.2, 75.7, 65.9, 78.5, 82.8)),
    *_row("probe 1%", _DBETA, ("ptb-xl-rhythm", "cpsc2018", "csn"), (86.6, 85.5, 70.1)),
    *_row("probe 1%", _MERL, (*_PTB_XL, "cpsc2018", "csn"), (82.4, 64.9, 58.3, 53.3, 70.3, 66.6)),
    *_row("probe 100%", _DBETA, ("ptb-xl-rhythm", "cpsc2018"), (96.7, 94.9)),
    *_row("supervised", _LEADERBOARD, (*_PTB_XL, "ptb-xl-all"), (93.0, 93.0, 89.9, 95.7, 92.5)),
    *_row("finetune, 12 leads", _DBETA, ("challenge-2021",), (85.7,)),
    *_row("finetune, 1 lead", _DBETA, ("challenge-2021",), (76.5,)),
]


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read `metrics.json` of an evaluation's folder.

    Raises:
        DBetaError: the file is missing, or was not written by an evaluation.
    """
    file = folder / METRICS if folder.is_dir() else folder
    if not file.is_file():
        raise DBetaError(f"{folder}: no {METRICS} there; name the --output folder of an evaluation")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not {"task", "benchmark", "model", "n_records", "protocol"} <= set(found):
            raise ValueError("it lacks the entries of an evaluation")
    except (ValueError, TypeError) as error:
        raise DBetaError(f"{file}: was not written by an evaluation ({error}); run the evaluation again") from error
    return found


def compare_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Collect a row for each model and task of several evaluations; published figures follow each task.

    Returns:
        Rows of `task`, `benchmark`, `model`, `auroc` and `auprc` ([value, low, high], or one number if published),
        `in_domain` (None if not recorded), `records`, `protocol`, `notes`, `source` (folder or "published").

    Raises:
        DBetaError: a folder does not contain an evaluation with AUROCs.
    """
    rows: list[dict[str, Any]] = []
    for folder in folders:
        metrics = read_metrics(folder)
        models = metrics.get("provenance", {}).get("models", {})
        if "macro" not in metrics:
            raise DBetaError(f"{folder}: is an evaluation of {metrics['task']}, which has no AUROC to compare")
        try:
            series: dict[str, Mapping[str, Any]] = {metrics["model"]: metrics, **metrics["others"]}
            if "random" in metrics["baselines"]:
                series[RANDOM] = metrics["baselines"]["random"]
            tasks = {name: _tasks(metrics, one) for name, one in series.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise DBetaError(f"{folder}: its {METRICS} is incomplete ({error}); run the evaluation again") from None
        for name in series:
            for task, found in tasks[name].items():
                rows.append(
                    {
                        "task": task,
                        "benchmark": metrics["benchmark"],
                        "model": name,
                        "in_domain": None if name == RANDOM else models.get(name, {}).get("in_domain"),
                        "auroc": found["macro"]["auroc"],
                        "auprc": found["macro"]["auprc"],
                        "records": metrics["n_records"],
                        "protocol": metrics["protocol"],
                        "notes": _notes(metrics),
                        "source": str(folder),
                    }
                )
    asked = list(dict.fromkeys((row["task"], row["benchmark"]) for row in rows))
    ordered = []
    for task, benchmark in asked:
        ordered += [row for row in rows if (row["task"], row["benchmark"]) == (task, benchmark)]
        ordered += [
            {"task": one.task, "benchmark": benchmark, "model": one.who, "auroc": one.auroc, "source": "published"}
            for one in PUBLISHED
            if one.benchmark == benchmark and one.task in (task, "supervised")
        ]
    return ordered


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """Collect the caveats of a run for comparisons."""
    models = metrics.get("provenance", {}).get("models", {})
    notes = [
        f"{name} was pretrained on this dataset (in-domain)." for name, one in models.items() if one.get("in_domain")
    ]
    return [*notes, *metrics.get("notes", [])]


def _tasks(metrics: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    """Split the figures of a model or baseline by training share (probe) or lead set (fine-tuning): task → figures."""
    if metrics["task"] == "probe":
        return {f"probe {share}": found for share, found in one["fractions"].items()}
    if metrics["task"] == "finetune":
        # Other models and baselines are evaluated with the first lead set only
        by_leads = one.get("leads") or {next(iter(metrics["leads"])): one}
        return {f"finetune, {count} lead{'' if count == '1' else 's'}": found for count, found in by_leads.items()}
    return {metrics["task"]: one}


def render_comparison(rows: Sequence[Mapping[str, Any]]) -> str:
    """Render the rows as Markdown, with published ones in italics."""
    lines = []
    for row in rows:
        published = row["source"] == "published"
        auroc = f"{row['auroc']:.3f}" if published else format_interval(row["auroc"])
        lines.append(
            [
                f"{task_name(row['task'], row.get('in_domain'))}, {row['benchmark']}",
                f"*{row['model']}*" if published else row["model"],
                auroc,
                "–" if published else format_interval(row["auprc"]),
                "–" if published else f"{row['records']:,}",
                "*published; not run here*" if published else row["source"],
            ]
        )
    header = ["task", "model", "macro AUROC", "macro AUPRC", "test records", "from"]
    return "\n\n".join([format_table(header, lines), "\n".join(f"- {line}" for line in comparison_notes(rows))])


def comparison_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say for each run in the rows how it was evaluated, and its caveats."""
    runs = {row["source"]: row for row in rows if row["source"] != "published"}
    return [f"{source}: {' '.join([row['protocol'] + '.', *row['notes']])}" for source, row in runs.items()]
