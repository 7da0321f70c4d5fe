"""Draws the samples that `DBeta.reconstruct` made up in a colour of their own, over the traces of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dbeta.ecg import ECG
from dbeta.report.layout import BOTTOM, GRID_WIDTH, LEFT, MM_PER_S, Cell
from dbeta.report.sheet_text import PT_PER_MM, draw_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOR = "#1f77b4"
LEGEND = "blue: made up by a model, not measured"


def draw_made_up(axes: Axes, ecg: ECG, cells: Sequence[Cell]) -> None:
    """Draw reconstructed samples over the traces, and say what the colour means; nothing if there are none.

    Args:
        axes: the sheet, with the traces drawn.
        ecg: the recording, whose `meta["reconstructed"]` is (leads, samples) bool.
        cells: where the traces are.
    """
    mask = ecg.meta.get("reconstructed")
    if mask is None or not np.any(mask):
        return
    lines = {line.get_gid(): line for line in axes.lines if line.get_gid()}
    for cell in cells:
        line = lines.get(f"row-{cell.row + 1}-{cell.lead}")
        if line is None:
            continue
        x, y = (np.asarray(values) for values in line.get_data())
        samples = np.rint(((x - cell.left) / MM_PER_S + cell.begin) * ecg.sampling_rate).astype(int)
        made_up = np.asarray(mask)[ecg.leads.index(cell.lead)][samples]
        if made_up.any():
            shown = np.where(made_up, y, np.nan)
            (over,) = axes.plot(x, shown, color=COLOR, lw=0.4 * PT_PER_MM, zorder=3.1)
            over.set_gid(f"{line.get_gid()}-reconstructed")
            over.set_clip_box(line.get_clip_box())
    draw_text(axes, LEFT + GRID_WIDTH, BOTTOM - 11, LEGEND, size=8, color=COLOR, ha="right")
