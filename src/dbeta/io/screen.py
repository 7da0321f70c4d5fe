"""Refuses hostile files before a parser sees them.

- The checks of all formats that a file could be taken for apply (`dbeta.io.catalog`), not only that of its own.
- Each check is cheap: declared sizes are compared with the file's own, compressed data is inflated up to a limit, and
  XML is streamed without building a tree.
- Each limit is far above any real recording of its format, so that none is refused.

A 24-hour recording passes if its format can be read in parts; `check_values` refuses to load all of it at once.
"""

from __future__ import annotations

import re
import stat
import warnings
from pathlib import Path

from dbeta.errors import DBetaError
from dbeta.io.catalog import CSV, FORMATS, MFER, Format
from dbeta.io.detect import recognise
from dbeta.io.head import FileHead
from dbeta.io.safety.limits import MIB

# zip, gzip, bzip2, xz, zstandard, 7-zip
_COMPRESSED = (b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c")
_SPECIAL = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))


def refuse_hostile(file: Path) -> None:
    """Check a file that is about to be parsed, a WFDB header together with the signal files it names.

    A link to a regular file is followed, as it was the caller who chose it.

    Raises:
        DBetaError: it must not be parsed; the message says why.
        OSError: it cannot be opened.
    """
    # Before opening, because opening a pipe blocks
    status = file.stat()
    for is_special, name in _SPECIAL:
        if is_special(status.st_mode):
            raise DBetaError(f"is a {name}; give a regular file")
    if status.st_size == 0:  # also files of the kernel, which may never end
        raise DBetaError("is empty; get the file again")
    head = FileHead(file)
    if head.data.startswith(_COMPRESSED):
        raise DBetaError("is compressed; unpack it first")
    if re.match(rb"\x80[\x02-\x05][\x95}\](cX]", head.data):
        raise DBetaError("is a Python pickle, which can run any code when opened; save the samples with numpy.save")
    formats = _possible_formats(head)
    for largest in (one.largest for one in formats):
        if status.st_size > largest:
            raise DBetaError(
                f"has {status.st_size // MIB:,} MB, more than the {largest / MIB:.0f} MB that can be read of its "
                "format; split the recording first"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for check in dict.fromkeys(one.check for one in formats):
            if check:
                check(file)


def _possible_formats(head: FileHead) -> list[Format]:
    """All formats that a file may be taken for, because one file can be valid in several."""
    found = [one for one in FORMATS if one is not CSV and one.suspected(head)]
    if not found:
        found = [MFER] if head.binary else [CSV]  # neither needs a signature
    elif CSV.suspected(head):
        found.append(CSV)
    recognised = recognise(head)
    return found + ([recognised] if recognised and recognised not in found else [])
