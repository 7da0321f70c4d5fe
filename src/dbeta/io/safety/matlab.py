"""MATLAB 5: compressed variables inflate up to a limit, and those to be read must have the form that `scipy` expects.

`scipy.io.loadmat` looks up types without bounds checks and reads past missing parts, so that one wrong byte can crash
the process. Of variables that no reader asks for, only the beginning is checked.

Source: MathWorks, MAT-File Format (R2024a), chapter 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dbeta.errors import DBetaError
from dbeta.io.safety.limits import DEPTH, INFLATED, inflate

#: The variables that readers ask for.
VARIABLES = (b"ECG", b"val")

_INT8, _INT32, _UINT32, _MATRIX, _PACKED = 1, 5, 6, 14, 15
_NUMBERS = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
_LETTERS = {1, 2, 4, 16, 17, 18}
_CELL, _STRUCT, _CHAR, _NUMERIC, _COMPLEX = 1, 2, 4, range(6, 16), 0x08


def check_matlab(file: Path) -> None:
    """Check every variable of a MATLAB 5 file.

    Raises:
        DBetaError: it is damaged, or unpacks to more than any recording.
    """
    left, size = INFLATED, file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(128)
        if not all(head[:4]):
            return  # version 4, which has no nested or compressed parts
        order = "little" if head[126:128] == b"IM" else "big"
        while len(tag := stream.read(8)) == 8:
            kind, length = (int.from_bytes(tag[at : at + 4], order) for at in (0, 4))  # type: ignore[arg-type]
            if length > size:
                raise _damaged(f"it declares a variable of {length:,} bytes")
            content = stream.read(length)
            if kind == _PACKED:
                content = inflate([content], left, keep=True)
                left -= len(content)
                # Tag of the matrix inside; anything after it is never read
                kind, length = (int.from_bytes(content[at : at + 4], order) for at in (0, 4))  # type: ignore[arg-type]
                content = content[8:]
            if kind != _MATRIX or length > len(content):
                raise _damaged("it has an invalid or truncated variable")
            _check_matrix(memoryview(content)[:length], order, 0)


def _damaged(reason: str) -> DBetaError:
    return DBetaError(f"cannot be read as a MATLAB file ({reason}); get or export the file again")


def _elements(content: memoryview, order: Any) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of each part of a variable; small parts have their bytes inside the tag."""
    at = 0
    while at < len(content):
        kind, length = (int.from_bytes(content[start : start + 4], order) for start in (at, at + 4))
        small = kind >> 16
        start, length = (at + 4, small) if small else (at + 8, length)
        if start + length > len(content) or small > 4:
            raise _damaged("a part of a variable is cut short")
        yield kind & 0xFFFF, content[start : start + length]
        at = at + 8 if small else start + length + (-length % 8)


def _check_matrix(content: memoryview, order: Any, depth: int) -> None:
    if not content and depth:
        return  # an empty cell
    if depth > DEPTH:
        raise _damaged(f"its variables are nested deeper than {DEPTH} levels")
    parts = _elements(content, order)
    none = (0, memoryview(b""))
    (flags_kind, flags), (shape_kind, shape), (name_kind, name) = (next(parts, none) for _ in range(3))
    flags_ok = flags_kind == _UINT32 and len(flags) == 8 and content[:4] == _UINT32.to_bytes(4, order)
    if not (flags_ok and shape_kind == _INT32 and len(shape) in range(8, 129, 4) and name_kind == _INT8):
        raise _damaged("a variable has no valid header")
    if depth == 0 and bytes(name) not in VARIABLES:
        return
    word = int.from_bytes(flags[:4], order)
    sizes = [int.from_bytes(shape[at : at + 4], order) for at in range(0, len(shape), 4)]
    if math.prod(sizes) > len(content):
        raise _damaged(f"it declares an array of {' x '.join(map(str, sizes[:8]))} that it does not hold")
    _check_content(list(parts), word & 0xFF, word >> 8 & _COMPLEX, math.prod(sizes), order, depth)


def _check_content(
    rest: list[tuple[int, memoryview]], kind: int, imaginary: int, count: int, order: Any, depth: int
) -> None:
    """Check number and types of the parts after the header."""
    types, inner = [one for one, _ in rest], rest
    if kind in _NUMERIC:
        fits, inner = len(rest) == (2 if imaginary else 1) and set(types) <= _NUMBERS, []
    elif kind == _CHAR:
        fits, inner = len(rest) == 1 and set(types) <= _LETTERS, []
    elif kind == _CELL:
        fits = types == [_MATRIX] * count
    elif kind == _STRUCT:
        width = int.from_bytes(rest[0][1], order) if rest else 0
        names = len(rest[1][1]) // width if len(rest) > 1 and 0 < width <= 64 else 0
        fits = types == [_INT32, _INT8, *[_MATRIX] * (names * count)] and names > 0
        inner = rest[2:]
    else:
        raise _damaged(f"it has an array of the unsupported class {kind}")
    if not fits:
        raise _damaged("a variable lacks parts or has parts of the wrong type")
    for _, one in inner:
        _check_matrix(one, order, depth + 1)
