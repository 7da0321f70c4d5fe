"""Plots for an evaluation's report."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Colours of the evaluated model, other models and baselines.
COLORS = ("#1f4e9c", "#c44e00", "#8a8a8a", "#b9b9b9", "#d0a000")
_POINT: dict[str, Any] = {"capsize": 2, "markersize": 4, "linewidth": 1.2, "fmt": "o"}

#: A label and its [value, low, high].
Row = tuple[str, Sequence[float] | None]


def draw(metrics: Mapping[str, Any]) -> dict[str, bytes]:
    """Draw the plots that an evaluation has data for.

    Args:
        metrics: the content of `metrics.json`.

    Returns:
        The name of each plot ("classes", "prompts", …) → its PNG file.
    """
    drawn = {}
    for name, (there, make) in _PICTURES.items():
        if there(metrics):
            figure = make(metrics)
            FigureCanvasAgg(figure)
            picture = io.BytesIO()
            figure.savefig(picture, format="png", dpi=110)
            drawn[name] = picture.getvalue()
    return drawn


def series_of(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Collect models and baselines with figures per class: name → metrics, the evaluated model first."""
    found = {metrics["model"]: metrics} | dict(metrics.get("others", {}))
    return found | {name: one for name, one in metrics.get("baselines", {}).items() if "classes" in one}


def _classes(metrics: Mapping[str, Any]) -> Figure:
    """Draw the AUROC of every class for models and baselines."""
    series = series_of(metrics)
    names = [name for name, one in metrics["classes"].items() if one["auroc"] is not None]
    figure = Figure(figsize=(8.5, 1.6 + 0.26 * max(4, len(names))), layout="constrained")
    axes = figure.subplots()
    step = 0.7 / len(series)
    for k, (name, one) in enumerate(series.items()):
        rows = [(label, one["classes"].get(label, {}).get("auroc")) for label in names]
        _points(axes, rows, COLORS[k % len(COLORS)], name, (k - (len(series) - 1) / 2) * step)
    axes.set_yticks(range(len(names)), [f"{name} ({metrics['classes'][name]['positives']})" for name in names])
    axes.invert_yaxis()
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("AUROC, 95 % interval (in brackets: positives)")
    _dress(axes)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def _points(axes: Axes, rows: Sequence[Row], color: str, label: str | None, offset: float = 0.0) -> None:
    there = [(i, figure) for i, (_, figure) in enumerate(rows) if figure is not None]
    if not there:
        return
    values = [figure[0] for _, figure in there]
    errors = [
        [max(0.0, figure[0] - figure[1]) for _, figure in there],
        [max(0.0, figure[2] - figure[0]) for _, figure in there],
    ]
    axes.errorbar(values, [i + offset for i, _ in there], xerr=errors, color=color, label=label, **_POINT)


def _dress(axes: Axes) -> None:
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _forest(rows: Sequence[Row], label: str) -> Figure:
    figure = Figure(figsize=(7, 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    _points(axes, rows, COLORS[0], None)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)
    _dress(axes)
    return figure


def _prompts(metrics: Mapping[str, Any]) -> Figure:
    rows = [(name, one["macro"]["auroc"]) for name, one in metrics["prompts"].items()]
    return _forest(rows, "macro AUROC by kind of prompt, 95 % interval")


def _subgroups(metrics: Mapping[str, Any]) -> Figure:
    rows = [("all records, common classes", metrics["macro_common"]["auroc"])]
    for kind, groups in metrics["subgroups"].items():
        for name, one in groups.items():
            label = f"{kind} {name}: {one['records']} records, classes: {one['classes']}"
            rows.append((label, one["auroc"]))
    return _forest(rows, "macro AUROC of the classes with ≥ 10 positives there")


def _calibration(metrics: Mapping[str, Any]) -> Figure:
    """Draw calibration curves of the classes with the most positives."""
    curves = metrics["calibration"]["classes"]
    names = sorted(curves, key=lambda name: -metrics["classes"][name]["positives"])[:8]
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for name in names:
        axes.plot(*zip(*curves[name]["curve"], strict=True), marker="o", markersize=3, linewidth=1, label=name)
    axes.set_xlabel("mean probability of a tenth of the test records")
    axes.set_ylabel("observed frequency")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, title="most common classes")
    return figure


def _curves(series: Mapping[str, Mapping[str, Sequence[float] | None]], axes: Axes) -> None:
    """Draw lines with intervals over a common, evenly spaced axis."""
    for k, (name, points) in enumerate(series.items()):
        there = [(x, figure) for x, figure in enumerate(points.values()) if figure is not None]
        if there:
            x = [one for one, _ in there]
            color = COLORS[k % len(COLORS)]
            axes.plot(x, [one[0] for _, one in there], marker="o", markersize=4, color=color, label=name)
            axes.fill_between(x, [one[1] for _, one in there], [one[2] for _, one in there], color=color, alpha=0.15)
    ticks = list(next(iter(series.values())))
    axes.set_xticks(range(len(ticks)), ticks)
    axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylabel("macro AUROC, 95 % interval")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)


def _labels(metrics: Mapping[str, Any]) -> Figure:
    """Draw the AUROC against the share of training labels, and against the number of labelled positives."""
    with_fractions = {name: one for name, one in series_of(metrics).items() if "fractions" in one}
    shots = {name: one for name, one in with_fractions.items() if one.get("few_shot", {}).get("shots")}
    figure = Figure(figsize=(10 if shots else 5.5, 4), layout="constrained")
    axes = figure.subplots(1, 2 if shots else 1, squeeze=False)[0]
    _curves(
        {
            name: {share: found["macro"]["auroc"] for share, found in one["fractions"].items()}
            for name, one in with_fractions.items()
        },
        axes[0],
    )
    axes[0].set_xlabel("share of the training patients")
    if shots:
        _curves(
            {
                name: {count: found["auroc"] for count, found in one["few_shot"]["shots"].items()}
                for name, one in shots.items()
            },
            axes[1],
        )
        axes[1].set_xlabel(f"positives per class ({len(metrics['few_shot']['classes'])} classes)")
    return figure


def _leads(metrics: Mapping[str, Any]) -> Figure:
    points = {count: one["macro"]["auroc"] for count, one in metrics["leads"].items()}
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    _curves({metrics["model"]: points}, axes)
    axes.set_xlabel("leads")
    return figure


_PICTURES: dict[str, tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Figure]]] = {
    "classes": (lambda metrics: bool(metrics.get("macro", {}).get("auroc")), _classes),
    "prompts": (lambda metrics: "prompts" in metrics, _prompts),
    "labels": (lambda metrics: "fractions" in metrics, _labels),
    "leads": (lambda metrics: len(metrics.get("leads", {})) > 1, _leads),
    "subgroups": (lambda metrics: bool(metrics.get("subgroups")), _subgroups),
    "calibration": (lambda metrics: bool(metrics.get("calibration", {}).get("classes")), _calibration),
}
