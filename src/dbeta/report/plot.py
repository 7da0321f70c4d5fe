"""Plots an ECG on paper of 25 mm/s and 10 mm/mV: three rows of four leads and a rhythm strip, or a row per lead.

All positions are in millimetres on one sheet, so that a print at 100 % is to scale (A4 landscape; a findings panel
widens the sheet). `dbeta.report.layout` decides where things go. Figures have their own canvas and do not use pyplot,
so they can be drawn in any thread.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError
from dbeta.report.layout import (
    BOTTOM,
    FEW,
    GRID_HEIGHT,
    GRID_WIDTH,
    LEFT,
    MM_PER_MV,
    MM_PER_S,
    SHOWN_S,
    SINGLE_S,
    TOP,
    TRACE_LEFT,
    TRACE_WIDTH,
    Cell,
    Room,
    arrange,
    is_together,
)
from dbeta.report.made_up import draw_made_up
from dbeta.report.sheet_text import INK, LINE_SPACING, PT_PER_MM, draw_text, fitting, size_of, wrapped
from dbeta.signal.quality import GOOD, UNUSABLE, Quality, assess_quality
from dbeta.utils.files import replacing, unwritable
from dbeta.utils.notice import NOTICE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Number of findings that fit beside the tracing.
MAX_FINDINGS = 12

_HEIGHT, _WIDTH, _PANEL = 210.0, 297.0, 78.0
_PNG_DPI = 254  # 10 pixels per mm: every grid line falls on whole pixels
_PAPER, _FINE, _BOLD = "#fffdfd", "#f5d0d1", "#e8a0a2"
_GREY, _BAR, _BAD = "#6b6b6b", "#3b6ea5", "#b3261e"
_FORMATS = (".png", ".pdf", ".svg")


def plot_ecg(ecg: ECG, findings: pd.DataFrame | None = None, *, title: str | None = None) -> Figure:
    """Draw a recording on ECG paper.

    The signal is not filtered; only each lead's median is removed. The first 10 s are drawn in three rows of four leads
    that follow one another in time, above a strip of lead II (or else another). Up to seven leads have a row each
    instead, and a single lead goes on to 30 s in three rows. The rest of a shorter recording and missing samples (NaN)
    are blank; of a recording too short to reach the last column, every lead is drawn from the start. Samples that
    `DBeta.reconstruct` made up are blue.

    A trace may run into the neighbouring rows up to their baselines; beyond, it is cut off and the lead is marked "off
    scale". Leads of less than good quality are marked with their problems (`dbeta.signal.quality`), and missing leads
    "not recorded" (pass `ecg.standard()` to have limb leads computed from two others). Names and marks keep clear of
    the traces.

    Args:
        ecg: the recording, any of the twelve leads in any order.
        findings: a table with columns `condition`, `score` and `percentile` (0 to 100), one row per condition; the
            first twelve are listed beside the tracing.
        title: the record's name; by default `ecg.meta["record"]` or else `ecg.meta["source"]`, if present.

    Returns:
        A matplotlib figure of 297 × 210 mm, 375 × 210 mm with findings.

    Raises:
        DBetaError: `findings` lacks a column.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [] if findings is None else _top_findings(findings)
    quality = assess_quality(ecg)
    width = _WIDTH + (_PANEL if rows else 0.0)
    figure = Figure(figsize=(width / 25.4, _HEIGHT / 25.4), dpi=_PNG_DPI / 2, facecolor="white")
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0.0, width), ylim=(0.0, _HEIGHT))
    axes.set_axis_off()

    signals = _centred(ecg, seconds_shown(ecg))
    cells = arrange(list(signals), ecg.duration)
    few = 0 < len(signals) <= FEW
    _draw_paper(axes, columns=not few)
    room = Room()
    notes = [_draw_lead(axes, ecg.sampling_rate, signals.get(cell.lead), cell, room) for cell in cells]
    draw_made_up(axes, ecg, cells)
    marked: set[str] = set()
    for cell, note in zip(cells, notes, strict=True):
        known = cell.lead in signals and cell.lead not in marked
        mark, color = _mark(quality, cell.lead) if known else ("", _GREY)
        marked.add(cell.lead)
        _label(axes, cell, [part for part in (mark, note) if part], color, room)
    if rows:
        _draw_findings(axes, rows)

    name = title if title is not None else str(ecg.meta.get("record", ecg.meta.get("source", "")))
    name = " ".join(name.split())
    raised = 6 if quality.objections else 0  # the title, above the objection
    name = fitting(axes, name if len(name) <= 80 else name[:79] + "…", GRID_WIDTH, size=13, weight="bold")
    draw_text(axes, LEFT, TOP + 7 + raised, name, size=13, weight="bold")
    if quality.objections:
        usable = quality.verdict != UNUSABLE
        objection = quality.objections[0] if usable else f"no usable signal: {quality.reason}"
        objection = fitting(axes, objection, GRID_WIDTH, size=9)
        draw_text(axes, LEFT, TOP + 5, objection, size=9, color=_GREY if usable else _BAD)
    draw_text(axes, LEFT, BOTTOM - 6, _footer(ecg, list(signals)), size=8, color=_GREY)
    missing = [lead for lead in LEADS if lead not in signals]
    if few and missing:
        draw_text(axes, LEFT, BOTTOM - 11, f"not recorded: {', '.join(missing)}", size=8, color=_GREY)
    draw_text(axes, LEFT + GRID_WIDTH, BOTTOM - 6, NOTICE, size=8, color=_GREY, ha="right")
    return figure


def seconds_shown(ecg: ECG) -> float:
    """How much of a recording is drawn: more of a single lead."""
    return SINGLE_S if len(_centred(ecg, SHOWN_S)) == 1 else SHOWN_S


def check_format(path: Path) -> None:
    """Check that plots can be written in the format of a file's ending.

    Raises:
        DBetaError: they cannot.
    """
    if path.suffix.lower() not in _FORMATS:
        raise DBetaError(f"{path}: plots can be written as {', '.join(_FORMATS)}; use one of these endings")


def save_plot(figure: Figure, path: Path) -> None:
    """Write a figure at its true size, atomically.

    Args:
        figure: from `plot_ecg`.
        path: file to write; its suffix, .png, .pdf or .svg, selects the format.

    Raises:
        DBetaError: the suffix is unknown, the folder does not exist, or the file cannot be written.
    """
    path = Path(path)
    check_format(path)
    if not path.parent.is_dir():
        raise DBetaError(f"{path}: the folder {path.parent} does not exist; create it first")
    try:
        with replacing(path) as temporary:
            # An explicit box: a user's savefig.bbox = tight would crop the margins and so change the printed scale.
            figure.savefig(
                temporary,
                format=path.suffix.lower()[1:],
                dpi=_PNG_DPI,
                facecolor="white",
                bbox_inches=figure.bbox_inches,
            )
    except OSError as error:
        raise unwritable(path, error) from error


def _footer(ecg: ECG, recorded: list[str]) -> str:
    """Scale, and which part of the recording is shown."""
    parts = [f"{MM_PER_S:g} mm/s", f"{MM_PER_MV:g} mm/mV", f"{ecg.sampling_rate:g} Hz"]
    full = float(ecg.meta.get("duration", ecg.duration))
    shown = min(ecg.duration, seconds_shown(ecg))
    if full > shown * 1.001:
        parts.append(f"first {shown:g} s of {full:.1f} s")
    elif ecg.duration < SHOWN_S * 0.999:
        parts.append(f"recording ends at {ecg.duration:.1f} s")
    if is_together(recorded, ecg.duration):
        parts.append("every lead from the start")
    return "   ".join(parts)


def _draw_paper(axes: Axes, *, columns: bool) -> None:
    """Draw the grid, 1 mm fine and 5 mm bold, and the dotted lines between the columns if there are any."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((LEFT, BOTTOM), GRID_WIDTH, GRID_HEIGHT, facecolor=_PAPER, edgecolor="none"))
    right = LEFT + GRID_WIDTH
    for step, color, width_mm, order in ((1, _FINE, 0.1, 1.0), (5, _BOLD, 0.2, 1.1)):
        upright = [[(LEFT + x, BOTTOM), (LEFT + x, TOP)] for x in range(0, int(GRID_WIDTH) + 1, step)]
        level = [[(LEFT, BOTTOM + y), (right, BOTTOM + y)] for y in range(0, int(GRID_HEIGHT) + 1, step)]
        style: dict[str, Any] = {"colors": color, "linewidths": width_mm * PT_PER_MM, "zorder": order}
        axes.add_collection(LineCollection(upright + level, **style), autolim=False)
    for column in range(1, 4) if columns else ():
        x = TRACE_LEFT + column * TRACE_WIDTH / 4
        axes.plot((x, x), (TOP - 130, TOP - 15), color=_GREY, lw=0.6, ls=(0, (1, 3)), zorder=1.2)


def _draw_calibration(axes: Axes, baseline: float) -> None:
    """Draw the calibration pulse of 1 mV and 200 ms at the left end of a row."""
    x = LEFT + np.array([2.5, 5, 5, 10, 10, 12.5])  # (6,) mm
    y = baseline + MM_PER_MV * np.array([0, 0, 1, 1, 0, 0])  # (6,) mm
    axes.plot(x, y, color=INK, lw=0.25 * PT_PER_MM, solid_joinstyle="miter", zorder=3)


def _mark(quality: Quality, lead: str) -> tuple[str, str]:
    """Describe the problems of a lead's signal, with the colour to write them in; "" if there are none."""
    if quality.leads[lead] == GOOD or quality.problems[lead] == ["missing"]:
        return "", _GREY
    text = ": ".join(part for part in (quality.leads[lead], ", ".join(quality.problems[lead])) if part)
    return text, _BAD if quality.leads[lead] == UNUSABLE else _GREY


def _draw_lead(axes: Axes, rate: float, signal: np.ndarray | None, cell: Cell, room: Room) -> str:
    """Draw a lead's part of a row, with a calibration pulse before the first of the row; a note, or ""."""
    from matplotlib.transforms import Bbox, TransformedBbox

    if cell.left == TRACE_LEFT:
        _draw_calibration(axes, cell.baseline)
    if signal is None:
        return "not recorded"
    # One more sample on either side, so that consecutive parts meet; the clip box cuts at the exact time.
    first = max(int(cell.begin * rate) - 1, 0)
    last = int((cell.begin + cell.width / MM_PER_S) * rate) + 2
    part = signal[first:last]
    x = cell.left + (np.arange(first, first + len(part)) / rate - cell.begin) * MM_PER_S
    y = cell.baseline + part * MM_PER_MV
    (line,) = axes.plot(x, y, color=INK, lw=0.3 * PT_PER_MM, zorder=3)
    line.set_gid(f"row-{cell.row + 1}-{cell.lead}")
    line.set_solid_joinstyle("round")
    box = Bbox.from_extents(cell.left, cell.floor, cell.left + cell.width, cell.ceiling)
    line.set_clip_box(TransformedBbox(box, axes.transData))
    room.take_trace(x, y, cell.floor, cell.ceiling)
    return "off scale" if bool(np.any((y > cell.ceiling) | (y < cell.floor))) else ""


def _label(axes: Axes, cell: Cell, notes: list[str], color: str, room: Room) -> None:
    """Write a lead's name and, below it, notes where they keep clear of the traces.

    The name of a lead with a row of its own is in the margin, with the second at which the row begins.
    """
    name: dict[str, Any] = {"size": 10, "weight": "bold", "zorder": 4}
    note: dict[str, Any] = {"size": 6.5, "color": color, "zorder": 4, "linespacing": LINE_SPACING}
    margin = cell.width == TRACE_WIDTH
    name_width, name_height = (0.0, 0.0) if margin else size_of(axes, cell.lead, size=10, weight="bold")
    lines = [line for one in notes for line in wrapped(axes, one, cell.width - 4, size=6.5)]
    width, height = size_of(axes, "\n".join(lines), size=6.5) if lines else (0.0, 0.0)
    if margin:
        draw_text(axes, LEFT + 1.5, cell.baseline - 4, cell.lead, **name)
        if cell.begin:
            draw_text(axes, LEFT + 1.5, cell.baseline - 8, f"{cell.begin:g} s", size=8, color=_GREY)
        if not lines:
            return
    wanted = cell.baseline + min(12.0, 0.4 * (cell.ceiling + 5 - cell.baseline)) - height
    both = max(name_width, width), name_height + height
    x, y, free = room.place(cell, *both, (cell.left + 1.5, wanted))
    # In noise that fills a row, the text stands on a patch of paper
    patch = None if free else {"facecolor": _PAPER, "edgecolor": "none", "pad": 0.5}
    if not margin:
        draw_text(axes, x, y + height + name_height / 2, cell.lead, bbox=patch, **name)
    if lines:
        draw_text(axes, x, y + height / 2, "\n".join(lines), bbox=patch, **note)


def _centred(ecg: ECG, seconds: float) -> dict[str, np.ndarray]:
    """The leads that are not missing in the first seconds, without their median, each (samples,) in mV."""
    found = {}
    for lead in ecg.leads:
        signal = ecg[lead][: int(seconds * ecg.sampling_rate) + 1].astype(np.float64)
        signal[~np.isfinite(signal)] = np.nan
        if not np.isnan(signal).all():
            # Far outside the sheet, and within the range of the renderers
            found[lead] = np.clip(signal - np.nanmedian(signal), -100.0, 100.0)
    return found


def _top_findings(findings: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the conditions to list with their percentiles, as many as fit, in the order given."""
    missing = [column for column in ("condition", "score", "percentile") if column not in findings.columns]
    if missing:
        raise DBetaError(f"the findings need the columns condition, score and percentile; {', '.join(missing)} missing")
    top = findings.head(MAX_FINDINGS)
    return [(str(name), float(value)) for name, value in zip(top["condition"], top["percentile"], strict=True)]


def _draw_findings(axes: Axes, rows: list[tuple[str, float]]) -> None:
    """Draw the panel at the right: each condition with its percentile as a bar and a number."""
    from matplotlib.patches import Rectangle

    left = LEFT + GRID_WIDTH + 8
    bar_width = _PANEL - 18
    draw_text(axes, left, TOP + 7, "Findings", size=11, weight="bold")
    draw_text(axes, left + bar_width + 11, TOP + 7, "percentile", size=8, color=_GREY, ha="right")
    for index, (name, percentile) in enumerate(rows):
        y = TOP - 7 - index * (GRID_HEIGHT - 2) / MAX_FINDINGS
        lines = textwrap.wrap(name, 44, max_lines=2, placeholder=" …") or [""]
        draw_text(axes, left, y, "\n".join(lines), size=8, va="bottom", linespacing=1.05)
        axes.add_patch(Rectangle((left, y - 3.2), bar_width, 2.2, facecolor="#e9edf2", edgecolor="none"))
        if np.isfinite(percentile):
            share = min(max(percentile / 100, 0.0), 1.0)
            axes.add_patch(Rectangle((left, y - 3.2), bar_width * share, 2.2, facecolor=_BAR, edgecolor="none"))
        number = f"{percentile:.0f}" if np.isfinite(percentile) else "–"
        draw_text(axes, left + bar_width + 11, y - 2.1, number, size=8, ha="right")
