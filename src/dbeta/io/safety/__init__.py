"""Files that would harm whoever reads them are refused before a parser sees them.

What is special:
- found by content, not by name, as the attacker chooses the name;
- each check costs little beside reading: sizes that a file declares are compared with the file's own, what is
  compressed is inflated up to a limit and no further, and XML is streamed without building anything;
- a limit is far above any real recording of its kind, so that none is lost to it.

A recording of 24 hours passes where its format can be read in parts; `check_values` refuses to hold one at once.
"""

from __future__ import annotations

import math
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from dbeta.errors import DBetaError
from dbeta.io.safety.hdf5 import check_hdf5
from dbeta.io.safety.limits import MIB, WHOLE_FILE, WHOLE_FILES
from dbeta.io.safety.markup import check_xml
from dbeta.io.safety.matlab import check_matlab
from dbeta.io.safety.records import check_dicom, check_mfer, check_parquet, check_scp, check_table, check_wfdb

# zip, gzip, bzip2, xz, zstandard, 7-zip
_COMPRESSED = (b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c")
_SPECIAL = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))


def refuse_hostile(file: Path) -> None:
    """Check a file that is about to be parsed, a WFDB header together with the signal files it names.

    A link to a regular file is followed, as it was the caller who chose it.

    Raises:
        DBetaError: it is none that may be opened; the sentence says why.
        OSError: it cannot be opened.
    """
    # Before it is opened: opening a pipe waits for ever
    status = file.stat()
    for is_special, name in _SPECIAL:
        if is_special(status.st_mode):
            raise DBetaError(f"is a {name}, no file; give a regular file")
    if status.st_size == 0:  # nor is what a kernel writes, which may never end
        raise DBetaError("is empty; get the file again")
    with file.open("rb") as stream:
        head = stream.read(4096)
    if head.startswith(_COMPRESSED):
        raise DBetaError("is compressed; unpack it first")
    if re.match(rb"\x80[\x02-\x05][\x95}\](cX]", head):
        raise DBetaError("is a Python pickle, which can run any code when opened; save the samples with numpy.save")
    kinds = list(_recognise(file, head))
    for kind, _ in kinds:
        limit = WHOLE_FILES.get(kind, math.inf if kind in _IN_PARTS else WHOLE_FILE)
        if status.st_size > limit:
            raise DBetaError(f"has {status.st_size // MIB:,} MB, too much for {kind}; split the recording first")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _, check in kinds:
            if check:
                check(file)


#: Formats of which a part can be read, or that are mapped into memory.
_IN_PARTS = ("HDF5", "NumPy", "ISHNE", "EDF")
_HDF5 = b"\x89HDF\r\n\x1a\n"


def _recognise(file: Path, head: bytes) -> Iterator[tuple[str, Callable[[Path], None] | None]]:
    """All that a file may be taken for, in words, with the check for it.

    All, and by the name as well, as one file can be valid in two formats: a MATLAB file may begin like an EDF file.
    """
    suffix = file.suffix.lower()
    texts = (head.decode(encoding, "ignore").lstrip("\ufeff\0") for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
    binary = b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))
    found = [
        ("DICOM", check_dicom, head[128:132] == b"DICM" or head[:2] in (b"\2\0", b"\x08\0")),
        ("HDF5", check_hdf5, _holds_hdf5(file, head) or suffix in (".h5", ".hdf5")),
        ("MATLAB", check_matlab, suffix == ".mat" or head.startswith(b"MATLAB 5.0")),
        ("Parquet", check_parquet, suffix == ".parquet" or head.startswith(b"PAR1")),
        ("NumPy", None, head.startswith(b"\x93NUMPY")),
        ("ISHNE", None, head.startswith(b"ISHNE")),
        ("EDF", None, head.startswith((b"0       ", b"\xffBIOSEMI"))),
        ("XML", check_xml, any(text.lstrip().startswith("<") for text in texts)),
        ("a WFDB header", check_wfdb, b"\0" not in head and (suffix == ".hea" or _HEADER.match(head))),
        ("SCP-ECG", check_scp, binary and head[8:10] == b"\0\0" and head[28:32] == b"\7\0\0\0"),
        ("MFER", check_mfer, head[:1] == b"@" and head[2:5] == b"MFR"),
    ]
    known = [(kind, check) for kind, check, is_so in found if is_so]
    yield from known
    if not known:
        yield ("this format", check_mfer) if binary else ("a table", check_table)
    if suffix in (".csv", ".tsv") and known:
        yield "a table", check_table


#: A record line and a line of a signal or segment, after comments.
_HEADER = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s*#[^\n]*\n|\s)*+[-\w]+(?:/\d+)?[ \t]+\d+(?:[ \t][^\n]*)?\n(?:#[^\n]*\n|\s)*+\S+[ \t]+\d"
)


def _holds_hdf5(file: Path, head: bytes) -> bool:
    """Whether the signature stands at 0, 512, 1024 … as whatever may precede it has such a length."""
    if head.startswith(_HDF5):
        return True
    at, size = 512, file.stat().st_size
    with file.open("rb") as stream:
        while at < size:
            stream.seek(at)
            if stream.read(8) == _HDF5:
                return True
            at *= 2
    return False
