"""All file formats: how each is recognised, which check it must pass before it is parsed, and its reader.

A new format is a reader in `dbeta.io.formats` and a row in `FORMATS`. Formats are recognised by content, never by file
name alone, as archives rename files and an attacker chooses the name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dbeta.io.formats.base import Options, Recording, known_lead
from dbeta.io.formats.binary_tables import npy_records, read_npy, read_parquet
from dbeta.io.formats.clinical import read_aecg, read_mfer, read_mortara, read_muse, read_philips, read_scp
from dbeta.io.formats.code_hdf5 import hdf5_records, read_hdf5
from dbeta.io.formats.columns import split_unit
from dbeta.io.formats.dicom import read_dicom
from dbeta.io.formats.holter import read_edf, read_ishne
from dbeta.io.formats.kardia import ATC_SIGNATURE, is_kardia, read_atc, read_kardia
from dbeta.io.formats.matlab import read_matlab
from dbeta.io.formats.text_layout import looks_like_table, separator_of, split_line
from dbeta.io.formats.text_tables import read_csv
from dbeta.io.formats.watch import is_watch, read_watch
from dbeta.io.formats.wfdb_header import SIGNAL_LINE
from dbeta.io.formats.wfdb_records import read_wfdb
from dbeta.io.head import FileHead
from dbeta.io.safety.hdf5 import check_hdf5
from dbeta.io.safety.limits import (
    LARGEST_DICOM,
    LARGEST_FILE,
    LARGEST_HEADER,
    LARGEST_SCP,
    LARGEST_TABLE,
    LARGEST_XML,
)
from dbeta.io.safety.markup import check_xml
from dbeta.io.safety.matlab import check_matlab
from dbeta.io.safety.records import check_dicom, check_mfer, check_parquet, check_scp, check_table, check_wfdb


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: as users say it.
        recognise: whether a file is of this format, by its first bytes.
        read: the reader.
        check: raises `DBetaError` for a hostile file of this format; None if the reader needs no check.
        suspect: whether some parser could take a file for this format; its check then applies even if the file is
            recognised as another, because one file can be valid in two formats. None: as `recognise`.
        largest: bytes that the parser accepts; infinite if it reads in parts or maps the file.
        records: names the recordings of a file that may hold several, for `read_ecg(record=…)`; none if it holds one.
        endings: of file names, used by no other kind of file.
        shared_endings: of file names, used by other kinds of files as well.
        raw: whether the reader can return raw numbers (`Options.raw_gain`).
    """

    name: str
    recognise: Callable[[FileHead], bool]
    read: Callable[[Path, Options], Recording]
    check: Callable[[Path], None] | None = None
    suspect: Callable[[FileHead], bool] | None = None
    largest: float = LARGEST_FILE
    records: Callable[[Path], list[str]] | None = None
    endings: tuple[str, ...] = ()
    shared_endings: tuple[str, ...] = ()
    raw: bool = False

    def suspected(self, head: FileHead) -> bool:
        """Whether some parser could take the file for this format."""
        return (self.suspect or self.recognise)(head)


_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

#: A record line and a line of a signal or segment, after comments.
_WFDB_HEADER = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s*#[^\n]*\n|\s)*+[^\s/]+(?:/\d+)?[ \t]+\d+(?:[ \t][^\n]*)?\n(?:#[^\n]*\n|\s)*+\S+[ \t]+\d"
)


def _starts_with(*signatures: bytes) -> Callable[[FileHead], bool]:
    return lambda head: head.data.startswith(signatures)


def _has_dicom_preamble(head: FileHead) -> bool:
    return head.data[128:132] == b"DICM"


def _is_bare_dicom(head: FileHead) -> bool:
    """DICOM without its preamble: a first element of group 2 or 8, with a known type or a short length."""
    data = head.data
    group, element, length = data[:2], data[2:4], int.from_bytes(data[4:8], "little")
    if group not in (b"\x02\x00", b"\x08\x00") or len(data) < 64:
        return False
    explicit = element[1:] == b"\x00" and data[4:6] in (b"UL", b"CS", b"UI", b"OB", b"DA", b"SH")
    return explicit or (group == b"\x08\x00" and element[:1] in b"\x00\x01\x05\x08\x16" and length < 65)


def _may_be_dicom(head: FileHead) -> bool:
    return _has_dicom_preamble(head) or head.data[:2] in (b"\2\0", b"\x08\0")


def _is_hdf5(head: FileHead) -> bool:
    return head.data.startswith(_HDF5_SIGNATURE) or head.data[512:520] == _HDF5_SIGNATURE


def _may_be_hdf5(head: FileHead) -> bool:
    """The library looks for the signature at 0, 512, 1024, 2048 and so on."""
    if head.suffix in (".h5", ".hdf5") or head.data.startswith(_HDF5_SIGNATURE):
        return True
    at, size = 512, head.file.stat().st_size
    with head.file.open("rb") as stream:
        while at < size:
            stream.seek(at)
            if stream.read(8) == _HDF5_SIGNATURE:
                return True
            at *= 2
    return False


def _is_edf(head: FileHead) -> bool:
    return _may_be_edf(head) and head.data[252:256].strip().isdigit()


_may_be_edf = _starts_with(b"0       ", b"\xffBIOSEMI")
_is_matlab_5 = _starts_with(b"MATLAB 5.0 MAT-file")


def _may_be_matlab(head: FileHead) -> bool:
    return head.suffix == ".mat" or head.data.startswith(b"MATLAB 5.0")


def _is_matlab_4(head: FileHead) -> bool:
    """A matrix in MATLAB's version 4, as the challenges' signal files are: type, rows, columns, name."""
    data = head.data
    if len(data) < 22:
        return False
    kind, rows, columns, imaginary, length = np.frombuffer(data[:20], "<i4").tolist()
    name = data[20 : 20 + length - 1]
    return 0 <= kind <= 52 and rows > 0 and columns > 0 and imaginary in (0, 1) and 1 < length < 64 and name.isalnum()


def _has_root(name: str, content: str = "") -> Callable[[FileHead], bool]:
    """XML with this root element and, where the name is a common one, an element that matches `content`."""

    def recognise(head: FileHead) -> bool:
        if head.text is None or not head.text.lstrip().startswith("<"):
            return False
        return head.xml_root == name and re.search(content, head.long_text) is not None

    return recognise


def _may_be_xml(head: FileHead) -> bool:
    return head.may_be_xml


def _is_wfdb(head: FileHead) -> bool:
    if head.text is None or head.text.lstrip().startswith("<"):
        return False
    if head.suffix == ".hea":
        return True
    lines = head.lines
    if not lines or not re.fullmatch(r"[-.\w]+(/\d+)?\s+\d+(\s+[\d.]+\S*.*)?", lines[0]):
        return False
    return "/" in lines[0].split()[0] or (len(lines) > 1 and SIGNAL_LINE.fullmatch(lines[1]) is not None)


def _may_be_wfdb(head: FileHead) -> bool:
    return b"\0" not in head.data and (head.suffix == ".hea" or _WFDB_HEADER.match(head.data) is not None)


def _is_table(head: FileHead) -> bool:
    if head.text is None or head.text.lstrip().startswith(("<", "{")):
        return False
    if head.suffix in (".csv", ".tsv"):
        return True
    lines = head.lines[:2]
    if len(lines) < 2:
        return False
    separator = separator_of(lines)
    first, second = (split_line(line, separator) for line in lines)
    names = [split_unit(cell)[0].strip('"') for cell in first]
    if 1 < len(first) == len(second) and sum(known_lead(name) is not None for name in names) > 1:
        return True
    return looks_like_table(head.lines)


def _is_watch(head: FileHead) -> bool:
    return head.text is not None and not head.text.lstrip().startswith(("<", "{")) and is_watch(head.text)


def _is_kardia(head: FileHead) -> bool:
    return head.text is not None and head.text.startswith("{") and is_kardia(head.long_text)


def _may_be_table(head: FileHead) -> bool:
    return head.suffix in (".csv", ".tsv")


def _is_scp(head: FileHead) -> bool:
    # Slow to import, so only for files that match no signature
    from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser

    return bool(SCPECGParser.can_parse(head.file, head.data))


def _may_be_scp(head: FileHead) -> bool:
    return head.binary and head.data[8:10] == b"\0\0" and head.data[28:32] == b"\7\0\0\0"


def _is_mfer(head: FileHead) -> bool:
    from ecgdatakit.parsing.parsers.mfer import MFERParser

    return bool(MFERParser.can_parse(head.file, head.data))


def _may_be_mfer(head: FileHead) -> bool:
    return head.data[:1] == b"@" and head.data[2:5] == b"MFR"


HDF5 = Format(
    "HDF5",
    _is_hdf5,
    read_hdf5,
    check_hdf5,
    suspect=_may_be_hdf5,
    largest=math.inf,
    records=hdf5_records,
    endings=(".h5", ".hdf5"),
)
PARQUET = Format(
    "a Parquet table",
    _starts_with(b"PAR1"),
    read_parquet,
    check_parquet,
    suspect=lambda head: head.suffix == ".parquet" or head.data.startswith(b"PAR1"),
    shared_endings=(".parquet",),
)
DICOM = Format(
    "DICOM",
    _has_dicom_preamble,
    read_dicom,
    check_dicom,
    suspect=_may_be_dicom,
    largest=LARGEST_DICOM,
    endings=(".dcm", ".dicom"),
    raw=True,
)
CSV = Format(
    "a text table",
    _is_table,
    read_csv,
    check_table,
    suspect=_may_be_table,
    largest=LARGEST_TABLE,
    shared_endings=(".csv",),
)
MFER = Format("MFER", _is_mfer, read_mfer, check_mfer, suspect=_may_be_mfer, endings=(".mwf", ".mfer"), raw=True)


def _xml(name: str, recognise: Callable[[FileHead], bool], read: Callable[[Path, Options], Recording]) -> Format:
    return Format(
        name, recognise, read, check_xml, suspect=_may_be_xml, largest=LARGEST_XML, shared_endings=(".xml",), raw=True
    )


#: In order: the first row that recognises a file is its format. Signatures come first, formats without one last.
FORMATS = (
    DICOM,
    HDF5,
    Format("a MATLAB file", _is_matlab_5, read_matlab, check_matlab, suspect=_may_be_matlab, shared_endings=(".mat",)),
    PARQUET,
    Format(
        "a NumPy array",
        _starts_with(b"\x93NUMPY"),
        read_npy,
        largest=math.inf,
        records=npy_records,
        endings=(".npy",),
    ),
    Format(
        "ISHNE",
        _starts_with(b"ISHNE1.0"),
        read_ishne,
        suspect=_starts_with(b"ISHNE"),
        largest=math.inf,
        shared_endings=(".ecg",),
        raw=True,
    ),
    Format("EDF or BDF", _is_edf, read_edf, suspect=_may_be_edf, largest=math.inf, endings=(".edf", ".bdf"), raw=True),
    _xml("HL7 aECG", _has_root("AnnotatedECG"), read_aecg),
    _xml("Philips XML", _has_root("restingecgdata"), read_philips),
    _xml("GE MUSE XML", _has_root("RestingECG"), read_muse),
    _xml("Mortara XML", _has_root("ECG", "CHANNEL|SUBJECT|ACQUISITION_TIME"), read_mortara),
    Format(
        "a WFDB header",
        _is_wfdb,
        read_wfdb,
        check_wfdb,
        suspect=_may_be_wfdb,
        largest=LARGEST_HEADER,
        endings=(".hea",),
        raw=True,
    ),
    Format("Kardia's JSON", _is_kardia, read_kardia, largest=LARGEST_XML),
    Format("a Kardia ATC file", _starts_with(ATC_SIGNATURE), read_atc, endings=(".atc",)),
    Format("a watch's CSV", _is_watch, read_watch, check_table, largest=LARGEST_TABLE),
    CSV,
    Format("a MATLAB 4 file", _is_matlab_4, read_matlab, check_matlab, suspect=_may_be_matlab),
    replace(DICOM, recognise=_is_bare_dicom, endings=()),
    Format(
        "SCP-ECG", _is_scp, read_scp, check_scp, suspect=_may_be_scp, largest=LARGEST_SCP, endings=(".scp",), raw=True
    ),
    MFER,
)
