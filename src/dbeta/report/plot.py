"""Plots a 12-lead ECG in the clinical layout: 25 mm/s, 10 mm/mV, three rows of four leads and a rhythm strip.

All positions are in millimetres on one sheet, so that a print at 100 % is to scale (A4 landscape; a findings panel
widens the sheet). Figures have their own canvas and do not use pyplot, so they can be drawn in any thread.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.signal.quality import GOOD, UNUSABLE, Quality, assess_quality
from dbeta.utils.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Paper speed (mm/s) and gain (mm/mV) of a standard recording.
MM_PER_S, MM_PER_MV = 25.0, 10.0

#: Rows from top to bottom; the leads of a row follow one another in time.
ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"), ("II",))

#: Seconds on the sheet, and number of findings that fit beside it.
SHOWN_S, MAX_FINDINGS = 10.0, 12

# The sheet, mm. Grid corner and baselines lie on bold grid lines; the top row has most headroom, for tall R in V4.
_WIDTH, _HEIGHT, _PANEL = 297.0, 210.0, 78.0
_LEFT, _BOTTOM, _GRID_WIDTH, _GRID_HEIGHT = 16.0, 18.0, 265.0, 170.0
_TOP = _BOTTOM + _GRID_HEIGHT
_TRACE_LEFT = _LEFT + 15.0
_TRACE_WIDTH = SHOWN_S * MM_PER_S
_BASELINES = tuple(_TOP - depth for depth in (35.0, 75.0, 115.0, 150.0))

_PNG_DPI = 254  # 10 pixels per mm: every grid line falls on whole pixels
_PT_PER_MM = 72 / 25.4
_PAPER, _FINE, _BOLD = "#fffdfd", "#f5d0d1", "#e8a0a2"
_INK, _GREY, _BAR, _BAD = "#101010", "#6b6b6b", "#3b6ea5", "#b3261e"
_FORMATS = (".png", ".pdf", ".svg")


def plot_ecg(ecg: ECG, findings: pd.DataFrame | None = None, *, title: str | None = None) -> Figure:
    """Draw a recording on ECG paper.

    The signal is not filtered; only each lead's median is removed. The first 10 s are drawn; the rest of a shorter
    recording and missing samples (NaN) are blank. A trace may run into the neighbouring rows up to their baselines;
    beyond, it is cut off and the lead is marked "off scale". Leads of less than good quality are marked with their
    problems (`dbeta.signal.quality`). Missing leads are blank and marked "not recorded" (pass `ecg.standard()` to have
    limb leads computed from two others).

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

    _draw_paper(axes)
    for row, baseline in enumerate(_BASELINES):
        _draw_calibration(axes, baseline)
        column_width = _TRACE_WIDTH / len(ROWS[row])
        for column, lead in enumerate(ROWS[row]):
            _draw_lead(axes, ecg, lead, row, column * column_width, column_width, _mark(quality, lead))
    if rows:
        _draw_findings(axes, rows)

    name = title if title is not None else str(ecg.meta.get("record", ecg.meta.get("source", "")))
    name = " ".join(name.split())
    _text(axes, _LEFT, _TOP + 7, name if len(name) <= 80 else name[:79] + "…", size=13, weight="bold")
    scale = f"{MM_PER_S:g} mm/s   {MM_PER_MV:g} mm/mV   {ecg.sampling_rate:g} Hz"
    full_length = float(ecg.meta.get("duration", ecg.duration))
    if full_length > SHOWN_S * 1.001:
        scale += f"   first {SHOWN_S:g} s of {full_length:.1f} s"
    elif ecg.duration < SHOWN_S * 0.999:
        scale += f"   recording ends at {ecg.duration:.1f} s"
    _text(axes, _LEFT, _BOTTOM - 6, scale, size=8, color=_GREY)
    if quality.objections:
        usable = quality.verdict != UNUSABLE
        text = quality.objections[0] if usable else f"no usable signal: {quality.reason}"
        _text(axes, _LEFT + _GRID_WIDTH, _TOP + 7, text, size=9, color=_GREY if usable else _BAD, ha="right")
    notice = "Research use only. Not a medical device."
    _text(axes, _LEFT + _GRID_WIDTH, _BOTTOM - 6, notice, size=8, color=_GREY, ha="right")
    return figure


def save_plot(figure: Figure, path: Path) -> None:
    """Write a figure at its true size, atomically.

    Args:
        figure: from `plot_ecg`.
        path: file to write; its suffix, .png, .pdf or .svg, selects the format.

    Raises:
        DBetaError: the suffix is unknown, the folder does not exist, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise DBetaError(f"{path}: plots can be written as {', '.join(_FORMATS)}; use one of these endings")
    if not path.parent.is_dir():
        raise DBetaError(f"{path}: the folder {path.parent} does not exist; create it first")
    try:
        with replacing(path) as temporary:
            # An explicit box: a user's savefig.bbox = tight would crop the margins and so change the printed scale.
            figure.savefig(
                temporary, format=suffix[1:], dpi=_PNG_DPI, facecolor="white", bbox_inches=figure.bbox_inches
            )
    except OSError as error:
        raise DBetaError(f"{path}: cannot be written ({error.strerror or error})") from error


def _text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Draw text at (x, y) mm, without interpreting dollar signs as formulas."""
    style = {"family": "DejaVu Sans", "color": _INK, "va": "center"} | style
    axes.text(x, y, text, parse_math=False, **style)


def _draw_paper(axes: Axes) -> None:
    """Draw the grid, 1 mm fine and 5 mm bold, and the dotted lines between the columns."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((_LEFT, _BOTTOM), _GRID_WIDTH, _GRID_HEIGHT, facecolor=_PAPER, edgecolor="none"))
    right = _LEFT + _GRID_WIDTH
    for step, color, width_mm, order in ((1, _FINE, 0.1, 1.0), (5, _BOLD, 0.2, 1.1)):
        upright = [[(_LEFT + x, _BOTTOM), (_LEFT + x, _TOP)] for x in range(0, int(_GRID_WIDTH) + 1, step)]
        level = [[(_LEFT, _BOTTOM + y), (right, _BOTTOM + y)] for y in range(0, int(_GRID_HEIGHT) + 1, step)]
        style: dict[str, Any] = {"colors": color, "linewidths": width_mm * _PT_PER_MM, "zorder": order}
        axes.add_collection(LineCollection(upright + level, **style), autolim=False)
    for column in range(1, 4):
        x = _TRACE_LEFT + column * _TRACE_WIDTH / 4
        axes.plot((x, x), (_BASELINES[2] - 15, _BASELINES[0] + 20), color=_GREY, lw=0.6, ls=(0, (1, 3)), zorder=1.2)


def _draw_calibration(axes: Axes, baseline: float) -> None:
    """Draw the calibration pulse of 1 mV and 200 ms at the left end of a row."""
    x = _LEFT + np.array([2.5, 5, 5, 10, 10, 12.5])  # (6,) mm
    y = baseline + MM_PER_MV * np.array([0, 0, 1, 1, 0, 0])  # (6,) mm
    axes.plot(x, y, color=_INK, lw=0.25 * _PT_PER_MM, solid_joinstyle="miter", zorder=3)


def _mark(quality: Quality, lead: str) -> tuple[str, str]:
    """The problems of a lead's signal and the colour to write them in; "" if there are none."""
    if quality.leads[lead] == GOOD or quality.problems[lead] == ["missing"]:
        return "", _GREY
    text = ": ".join(part for part in (quality.leads[lead], ", ".join(quality.problems[lead])) if part)
    return text, _BAD if quality.leads[lead] == UNUSABLE else _GREY


def _draw_lead(axes: Axes, ecg: ECG, lead: str, row: int, start: float, width: float, mark: tuple[str, str]) -> None:
    """Draw one lead's part of a row: label, mark and trace, from `start` to `start + width` mm after the beginning."""
    from matplotlib.transforms import Bbox, TransformedBbox

    baseline, left = _BASELINES[row], _TRACE_LEFT + start
    _text(axes, left + 1.5, baseline + 14, lead, size=10, weight="bold", zorder=2)
    signal = _centred(ecg, lead)  # (samples,) mV
    if signal is None:
        note = "not recorded"
    else:
        # One more sample on either side, so that consecutive parts meet; the clip box cuts at the exact time.
        first = max(int(start / MM_PER_S * ecg.sampling_rate) - 1, 0)
        last = int((start + width) / MM_PER_S * ecg.sampling_rate) + 2
        part = signal[first:last]
        x = _TRACE_LEFT + np.arange(first, first + len(part)) / ecg.sampling_rate * MM_PER_S
        # Not up to the next row's baseline, where a cut-off trace could be taken for that row's own.
        floor = _BASELINES[row + 1] + 5 if row + 1 < len(_BASELINES) else _BOTTOM
        ceiling = _BASELINES[row - 1] - 5 if row else _TOP
        y = baseline + part * MM_PER_MV
        (line,) = axes.plot(x, y, color=_INK, lw=0.3 * _PT_PER_MM, zorder=3)
        line.set_gid(f"row-{row + 1}-{lead}")
        line.set_solid_joinstyle("round")
        line.set_clip_box(TransformedBbox(Bbox.from_extents(left, floor, left + width, ceiling), axes.transData))
        note = "off scale" if bool(np.any((y > ceiling) | (y < floor))) else ""
    _text(axes, left + 1.5, baseline + 10.2, note, size=6.5, color=_GREY, zorder=2)
    _text(axes, left + 8.5, baseline + 14, mark[0], size=6.5, color=mark[1], zorder=2)


def _centred(ecg: ECG, lead: str) -> np.ndarray | None:
    """The first seconds of a lead without their median, (samples,), mV; None if the lead is missing."""
    if lead not in ecg.leads:
        return None
    signal = ecg[lead][: int(SHOWN_S * ecg.sampling_rate) + 1].astype(np.float64)
    signal[~np.isfinite(signal)] = np.nan
    if np.isnan(signal).all():
        return None
    # Far outside the sheet, and within the range of the renderers.
    return np.clip(signal - np.nanmedian(signal), -100.0, 100.0)


def _top_findings(findings: pd.DataFrame) -> list[tuple[str, float]]:
    """The conditions to list with their percentiles, as many as fit, in the order given."""
    missing = [column for column in ("condition", "score", "percentile") if column not in findings.columns]
    if missing:
        raise DBetaError(f"the findings need the columns condition, score and percentile; {', '.join(missing)} missing")
    top = findings.head(MAX_FINDINGS)
    return [(str(name), float(value)) for name, value in zip(top["condition"], top["percentile"], strict=True)]


def _draw_findings(axes: Axes, rows: list[tuple[str, float]]) -> None:
    """Draw the panel at the right: each condition with its percentile as a bar and a number."""
    from matplotlib.patches import Rectangle

    left = _LEFT + _GRID_WIDTH + 8
    bar_width = _PANEL - 18
    _text(axes, left, _TOP + 7, "Findings", size=11, weight="bold")
    _text(axes, left + bar_width + 11, _TOP + 7, "percentile", size=8, color=_GREY, ha="right")
    for index, (name, percentile) in enumerate(rows):
        y = _TOP - 7 - index * (_GRID_HEIGHT - 2) / MAX_FINDINGS
        lines = textwrap.wrap(name, 44, max_lines=2, placeholder=" …") or [""]
        _text(axes, left, y, "\n".join(lines), size=8, va="bottom", linespacing=1.05)
        axes.add_patch(Rectangle((left, y - 3.2), bar_width, 2.2, facecolor="#e9edf2", edgecolor="none"))
        if np.isfinite(percentile):
            share = min(max(percentile / 100, 0.0), 1.0)
            axes.add_patch(Rectangle((left, y - 3.2), bar_width * share, 2.2, facecolor=_BAR, edgecolor="none"))
        number = f"{percentile:.0f}" if np.isfinite(percentile) else "–"
        _text(axes, left + bar_width + 11, y - 2.1, number, size=8, ha="right")
