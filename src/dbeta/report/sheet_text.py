"""Draws and measures text on a sheet whose axes are in millimetres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FONT, LINE_SPACING, INK = "DejaVu Sans", 1.2, "#101010"
PT_PER_MM = 72 / 25.4


def draw_text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Draw text at (x, y) mm, without interpreting dollar signs as formulas."""
    style = {"family": FONT, "color": INK, "va": "center"} | style
    axes.text(x, y, text, parse_math=False, **style)


def size_of(axes: Axes, text: str, **style: Any) -> tuple[float, float]:
    """Width and height in mm of text of one or several lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties

    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer, font = canvas.get_renderer(), FontProperties(family=FONT, **style)
    widths = [renderer.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n")]
    per_mm = figure.dpi / 25.4
    line_height = font.get_size_in_points() * LINE_SPACING / PT_PER_MM
    return max(widths) / per_mm, line_height * len(widths)


def fitting(axes: Axes, text: str, width: float, **style: Any) -> str:
    """Text cut to a width in mm."""
    while len(text) > 1 and size_of(axes, text, **style)[0] > width:
        text = text.removesuffix("…")[:-1] + "…"
    return text


def wrapped(axes: Axes, text: str, width: float, **style: Any) -> list[str]:
    """Text in lines of a width in mm, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and size_of(axes, longer, **style)[0] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
