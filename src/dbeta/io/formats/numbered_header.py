"""First rows of a table that only number its columns, as pandas writes by default, and are no samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Numbers of columns are below this.
_LARGEST = 1e6
#: Times the largest step between rows below by which a row stands apart from them.
_APART = 5.0


def numbering(top: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str] | None:
    """The cells of a first row that numbers the columns, in any order and format; None if it is a row of samples.

    Args:
        top: its cells; the first may be empty, above the numbers of the rows.
        rows: the cells of the rows below.
    """
    beside_index = len(top) > 1 and not top[0]
    cells = list(top[1:] if beside_index else top)
    numbers = whole_numbers(cells)
    if numbers is None or len(set(numbers)) < len(numbers):
        return None
    below = [row[len(top) - len(cells) :] for row in rows]
    if beside_index and all(row and row[0] for row in rows):
        return cells
    if (
        len(numbers) > 1
        and sorted(numbers)[0] in (0, 1)
        and sorted(numbers)[-1] - sorted(numbers)[0] == len(numbers) - 1
    ):
        # Two samples may be 1 and 0 by chance
        return cells if len(numbers) > 2 or numbers[0] < numbers[1] else None
    filled = [cell for row in below for cell in row if cell]
    if not filled:
        return None
    if not any(map(_has_decimals, cells)) and all(map(_has_decimals, filled)):
        return cells
    return cells if len(numbers) > 1 and _stands_apart(numbers, below) else None


def is_doubtful(top: Sequence[str]) -> bool:
    """Whether a row of samples might as well be the number of a single column."""
    return len(top) == 1 and whole_numbers(top) in ([0], [1])


def whole_numbers(cells: Sequence[str]) -> list[int] | None:
    """Cells as whole numbers from 0; None if one is none."""
    try:
        values = [float(cell.replace(",", ".")) for cell in cells]
    except ValueError:
        return None
    fine = all(0 <= value < _LARGEST and value.is_integer() for value in values)
    return (
        [int(value) for value in values] if fine and cells and not any(cell.startswith("-") for cell in cells) else None
    )


def _has_decimals(cell: str) -> bool:
    return "." in cell or "," in cell or "e" in cell.casefold() or cell.casefold() in ("nan", "inf", "-inf")


def _stands_apart(numbers: Sequence[int], below: Sequence[Sequence[str]]) -> bool:
    """Whether most columns jump from the first row to the next as they do nowhere in the rows below."""
    try:
        values = np.array([[float(cell.replace(",", ".") or "nan") for cell in row] for row in below])
    except ValueError:
        return False
    if values.ndim != 2 or len(values) < 3 or values.shape[1] != len(numbers):
        return False
    steps = np.abs(np.diff(values, axis=0)).max(axis=0)
    return bool((np.abs(values[0] - numbers) > _APART * steps + 1e-9).mean() > 0.6)
