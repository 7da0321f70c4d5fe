"""Where the leads of a picture go, and where their names and notes find room beside the traces.

All lengths are millimetres on the sheet (see `dbeta.report.plot`), measured from its lower left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dbeta.ecg import LEADS

#: Paper speed (mm/s) and gain (mm/mV) of a standard recording.
MM_PER_S, MM_PER_MV = 25.0, 10.0
#: Seconds across the sheet.
SHOWN_S = 10.0
#: Seconds shown of a recording of a single lead, in rows below one another.
SINGLE_S = 30.0

# The sheet. Grid corner and baselines lie on bold grid lines.
LEFT, BOTTOM, GRID_WIDTH, GRID_HEIGHT = 16.0, 18.0, 265.0, 170.0
TOP = BOTTOM + GRID_HEIGHT
TRACE_LEFT = LEFT + 15.0
TRACE_WIDTH = SHOWN_S * MM_PER_S

#: Rows of the twelve leads above the rhythm strip; the leads of a row follow one another in time.
ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
#: From the top of the grid to the baselines; the top row has most headroom, for tall R in V4.
_DEPTHS = (35.0, 75.0, 115.0, 150.0)
#: Leads for the rhythm strip, by preference.
_RHYTHM = ("II", "V1", *LEADS)
#: Up to so many leads have a row each.
FEW = 7
#: Distance of rows if leads have a row each, and between a trace cut off and its neighbours' baselines.
_LARGEST_PITCH, _CLEARANCE = 40.0, 5.0
#: How far from its beginning a lead's name or note may be.
_ASIDE = 40.0


@dataclass(frozen=True)
class Cell:
    """A lead's part of a row.

    Attributes:
        lead: its name.
        row: number of the row, from the top.
        baseline: height of 0 mV.
        left: where the trace begins.
        width: of the trace.
        begin: seconds of the recording at `left`.
        floor: height below which the trace is cut off.
        ceiling: height above which it is.
    """

    lead: str
    row: int
    baseline: float
    left: float
    width: float
    begin: float
    floor: float
    ceiling: float


def arrange(recorded: Sequence[str], seconds: float) -> list[Cell]:
    """Lay out a recording: three rows of four leads and a rhythm strip, or a row for each of a few leads.

    Of a recording that ends before the last column, each column shows the beginning. A single lead goes on in further
    rows.

    Args:
        recorded: the leads that have samples.
        seconds: length of the recording.
    """
    if 0 < len(recorded) <= FEW:
        leads = sorted(recorded, key=LEADS.index)
        chunks = math.ceil(min(seconds, SINGLE_S) / SHOWN_S - 1e-6) if len(leads) == 1 else 1
        rows = [[(lead, chunk * SHOWN_S)] for chunk in range(max(chunks, 1)) for lead in leads]
        return _cells(rows, _baselines(len(rows)))
    together = is_together(recorded, seconds)
    step = 0.0 if together else SHOWN_S / len(ROWS[0])
    rows = [[(lead, column * step) for column, lead in enumerate(row)] for row in ROWS]
    if recorded:
        rows.append([(next(lead for lead in _RHYTHM if lead in recorded), 0.0)])
    return _cells(rows, [TOP - depth for depth in _DEPTHS])


def is_together(recorded: Sequence[str], seconds: float) -> bool:
    """Tell whether all columns show the same seconds, as the recording is too short to go on in the last."""
    return len(recorded) > FEW and seconds < SHOWN_S - SHOWN_S / len(ROWS[0]) / 2


def _baselines(count: int) -> list[float]:
    """Evenly spaced heights of this many rows, on bold grid lines and around the middle of the grid."""
    pitch = min(GRID_HEIGHT / count // 5 * 5, _LARGEST_PITCH)
    first = (GRID_HEIGHT - pitch * (count - 1)) / 2 // 5 * 5 + 5
    return [TOP - first - pitch * row for row in range(count)]


def _cells(rows: Sequence[Sequence[tuple[str, float]]], baselines: Sequence[float]) -> list[Cell]:
    cells = []
    for number, (row, baseline) in enumerate(zip(rows, baselines, strict=False)):
        # Not up to the next row's baseline, where a cut-off trace could be taken for that row's own
        floor = baselines[number + 1] + _CLEARANCE if number + 1 < len(rows) else BOTTOM
        ceiling = baselines[number - 1] - _CLEARANCE if number else TOP
        width = TRACE_WIDTH / len(row)
        for column, (lead, begin) in enumerate(row):
            cells.append(Cell(lead, number, baseline, TRACE_LEFT + column * width, width, begin, floor, ceiling))
    return cells


class Room:
    """Which places of the grid are taken by traces or texts, to half a millimetre."""

    STEP = 0.5

    def __init__(self) -> None:
        """Nothing is taken."""
        self.taken = np.zeros((round(GRID_HEIGHT / self.STEP), round(GRID_WIDTH / self.STEP)), bool)

    def take_trace(self, x: np.ndarray, y: np.ndarray, floor: float, ceiling: float) -> None:
        """Mark a trace through points (x, y), of which NaN are gaps, as far as it lies between floor and ceiling."""
        y = np.clip(y, floor, ceiling)
        for column in range(self.taken.shape[1]):
            begin = LEFT + column * self.STEP
            # One more point on either side, as lines join points
            first = max(int(np.searchsorted(x, begin - self.STEP / 2)) - 1, 0)
            part = y[first : int(np.searchsorted(x, begin + 1.5 * self.STEP)) + 1]
            part = part[np.isfinite(part)]
            if len(part) and x[0] - self.STEP <= begin <= x[-1] + self.STEP:
                low, high = self._row(part.min() - self.STEP), self._row(part.max() + self.STEP)
                self.taken[low : high + 1, column] = True

    def take(self, x: float, y: float, width: float, height: float) -> None:
        """Mark a rectangle with its lower left corner at (x, y)."""
        left, right = self._column(x), self._column(x + width)
        self.taken[self._row(y) : self._row(y + height) + 1, left : right + 1] = True

    def place(self, cell: Cell, width: float, height: float, wanted: tuple[float, float]) -> tuple[float, float, bool]:
        """Find room for a text in a cell, near a place, and take it.

        Args:
            cell: whose text it is.
            width: of the text.
            height: of the text.
            wanted: lower left corner if there is room.

        Returns:
            The lower left corner, and whether the text is free of traces and other texts; if there is no room, it
            covers little of them.
        """
        # No nearer to the neighbours' baselines than to its own
        below, above = cell.baseline - (cell.floor - _CLEARANCE), cell.ceiling + _CLEARANCE - cell.baseline
        least = max(cell.baseline - 0.45 * below, BOTTOM + 1)
        most = max(min(cell.baseline + 0.8 * above, TOP - 1) - height, least)
        heights = np.arange(least, most + 1e-6, self.STEP)
        end = min(cell.left + cell.width - width - 1, cell.left + _ASIDE)
        lefts = np.arange(cell.left + 1.5, max(end, cell.left + 2), 2 * self.STEP)
        sums = np.pad(self.taken.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        low = np.array([self._row(y) for y in heights])[:, None]
        high = np.array([self._row(y + height) + 1 for y in heights])[:, None]
        left = np.array([self._column(x) for x in lefts])[None]
        right = np.array([self._column(x + width) + 1 for x in lefts])[None]
        covered = sums[high, right] - sums[low, right] - sums[high, left] + sums[low, left]  # (heights, lefts)
        # A step aside is as bad as two up or down, since a name belongs at the beginning of its lead
        far = np.hypot(heights[:, None] - wanted[1], 2 * (lefts[None] - wanted[0]))
        free = covered == 0
        cost = np.where(free, far, np.inf) if free.any() else far + 100 * covered / covered.max()
        best = np.unravel_index(np.argmin(cost), far.shape)
        x, y = float(lefts[best[1]]), float(heights[best[0]])
        self.take(x, y, width, height)
        return x, y, bool(free[best])

    def _row(self, y: float) -> int:
        return int(np.clip((y - BOTTOM) / self.STEP, 0, self.taken.shape[0] - 1))

    def _column(self, x: float) -> int:
        return int(np.clip((x - LEFT) / self.STEP, 0, self.taken.shape[1] - 1))
