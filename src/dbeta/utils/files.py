"""Writes files and folders atomically, and reads JSON that may be missing or damaged."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dbeta.errors import DBetaError


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; what the body writes there then replaces the target.

    If the body raises, the target is unchanged and the temporary path is removed. A file is flushed to the disk before
    it is renamed, and an existing folder is moved aside first, so that a kill leaves either version complete.

    Args:
        target: file or folder to write; its parent must exist.

    Yields:
        A path that does not exist: write a file there, or create a folder.
    """
    # A random name, since several processes may write the same target
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
            # Some libraries create files that only the owner can read
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_writable(target: Path) -> None:
    """Check that a file or folder can be created beside others of this place, before any work is done.

    Args:
        target: file or folder to write; its parent must exist.

    Raises:
        DBetaError: it cannot.
    """
    probe = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(target: Path, error: OSError, kept: str = "") -> DBetaError:
    """Make the error for an output that could not be written, which names the output and not a temporary file.

    Args:
        target: the output, as the user gave it.
        error: the reason.
        kept: what an interrupted run has kept, if anything, such as "finished shards".
    """
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    again = f"free some space and run again{f': {kept} are kept' if kept else ''}"
    advice = again if full else "name a place that you may write to"
    return DBetaError(f"{target}: cannot be written ({error.strerror or error}); {advice}")


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files and folders that `replacing` left in a folder when its process was killed."""
    for left in folder.glob(".*.partial"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def load_json(file: Path) -> Any:
    """Read a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
