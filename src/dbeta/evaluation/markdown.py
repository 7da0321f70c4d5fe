"""Formats parts of the Markdown reports: values with intervals, tables, names of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def format_interval(value: Sequence[float] | None, digits: int = 3) -> str:
    """Format [value, low, high] as "0.874 (0.851–0.897)", or a dash if there is no value."""
    if value is None:
        return "–"
    one, low, high = (f"{x:.{digits}f}" for x in value)
    return f"{one} ({low}–{high})"


def format_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a Markdown table; the first column is aligned left, the others right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def task_name(task: str, in_domain: bool | None) -> str:
    """Name a task; zero-shot on a dataset that the model was pretrained on is not called zero-shot."""
    return "text prompts, in-domain" if task == "zero-shot" and in_domain else task
