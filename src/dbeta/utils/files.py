"""Files and folders that appear whole or not at all, and JSON that may be missing or damaged."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary name beside `target` to write a file or a folder under, which then takes the target's place.

    Where the body raises, the target stays as it was and nothing of the attempt remains. A file is on the disk before
    it is renamed; a folder that is replaced is moved aside first, so that a kill leaves the old or the new one whole.

    Args:
        target: file or folder to write; its parent exists.

    Yields:
        A path that does not exist yet: write to it, or make it a folder.
    """
    # Not of another run's name: two may be at work
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield temporary
        if temporary.is_dir():
            old = temporary.with_suffix(".old")
            if target.exists():
                target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # Of libraries, some let nobody else read what they write
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove from a folder what `replacing` had not finished when its process was killed."""
    for left in folder.glob(".*.partial"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def load_json(file: Path) -> Any:
    """What a JSON file holds, or None where there is none or it is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
