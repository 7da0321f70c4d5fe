"""Which reader takes a file: told by its first bytes and never by its name, which archives change at will."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, known_lead
from dbeta.io.formats.clinical import read_aecg, read_mfer, read_mortara, read_muse, read_philips, read_scp
from dbeta.io.formats.code_hdf5 import read_hdf5
from dbeta.io.formats.dicom import read_dicom
from dbeta.io.formats.holter import read_edf, read_ishne
from dbeta.io.formats.matlab import read_matlab
from dbeta.io.formats.tables import csv_columns, parquet_columns, read_csv, read_npy, read_parquet, separator_of
from dbeta.io.formats.wfdb_records import SIGNAL_LINE, read_wfdb
from dbeta.io.safety.limits import is_file

_SNIFFED = 4096  # bytes


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    name: str
    read: Callable[[Path, Options], Recording]


WFDB = Format("a WFDB header", read_wfdb)
HDF5 = Format("HDF5", read_hdf5)
DICOM = Format("DICOM", read_dicom)
MATLAB = Format("a MATLAB file", read_matlab)
NPY = Format("a NumPy array", read_npy)
PARQUET = Format("a Parquet table", read_parquet)
CSV = Format("a table in text", read_csv)
EDF = Format("EDF or BDF", read_edf)
ISHNE = Format("an ISHNE Holter recording", read_ishne)
SCP = Format("SCP-ECG", read_scp)
MFER = Format("MFER", read_mfer)

# By the root element; the first three names are no one else's.
_XML = {
    "AnnotatedECG": Format("HL7 aECG", read_aecg),
    "restingecgdata": Format("Philips XML", read_philips),
    "RestingECG": Format("GE MUSE XML", read_muse),
    "ECG": Format("Mortara XML", read_mortara),
}

#: What each ending promises, for the message about a file that is something else; None where it says nothing.
EXPECTED = {
    ".hea": "a WFDB header",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".scp": "SCP-ECG",
    ".edf": "EDF",
    ".bdf": "BDF",
    ".ecg": "an ISHNE Holter recording",
    ".mwf": "MFER",
    ".mfer": "MFER",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".npy": "a NumPy array",
    ".xml": "an ECG in XML (HL7 aECG, Philips, GE MUSE or Mortara)",
    ".mat": "a MATLAB file",
    ".parquet": "a Parquet table",
    ".csv": "a table in text",
}

# A folder's file with such an ending is a recording, or meant to be one: it is never left out in silence.
_SURE = {".hea", ".dcm", ".dicom", ".scp", ".edf", ".bdf", ".mwf", ".mfer", ".h5", ".hdf5", ".npy"}

# So is one with such an ending, if no record's header goes with it, and unless it is whole and something else.
_MEANT = {".ecg", ".mat", ".dat", ".xml", ".parquet"}

# What stands in the place of a recording: the page that a failed download left, or too little to tell.
_NO_ROOTS = {"", "html", "ECG"}

# Never opened in search of recordings.
_OTHER = re.compile(
    r"\.(atr|avi|bmp|bz2|c|cpp|css|docx?|gif|gz|html?|ini|ipynb|jpe?g|js|jsonl?|log|md|mp4|npz|pdf|pickle|pkl|png|ps|pt"
    r"|pyc?|qrs|r|rar|rst|safetensors|sh|svg|tar|tiff?|toml|ttf|xlsx?|xz|ya?ml|zip)"
)


def detect(file: Path) -> Format | None:
    """What a file is, by its content; None for no known format."""
    with file.open("rb") as stream:
        head = stream.read(_SNIFFED)
    for test in (_by_magic, _by_text, _by_structure):
        if found := test(head, file):
            return found
    return None


def choose_format(file: Path) -> Format:
    """What a file is.

    Raises:
        DBetaError: it is nothing that can be read; the message says what it was taken for.
    """
    if found := detect(file):
        return found
    suffix = file.suffix.lower()
    if suffix == ".dat":
        raise DBetaError(
            f"needs its header {file.with_suffix('.hea').name}, which carries sampling rate, leads and gain"
        )
    if suffix in EXPECTED:
        raise DBetaError(f"is not {EXPECTED[suffix]}, whatever its name says; get or export the file again")
    raise DBetaError(f"is of no known format; give one of {', '.join(EXPECTED)}")


def wfdb_header(file: Path) -> Path | None:
    """The header of a WFDB record's signal file, which has the same name but for its ending; None for another file."""
    header = file.with_suffix(".hea")
    if not is_file(header):
        header = file.with_suffix(".HEA")
    if file.suffix.lower() == ".hea" or not is_file(header):
        return None
    if file.suffix.lower() in (".dat", ".mat"):
        return header
    try:
        with header.open("rb") as stream:
            _, *named = re.findall(rb"^([^\s#]\S*)", stream.read(16 * _SNIFFED), re.MULTILINE) or [b""]
    except OSError:
        return None  # the header is a recording that cannot be read, this is none of its files as far as can be told
    return header if os.fsencode(file.name) in named else None


def is_recording(file: Path) -> bool:
    """Whether what was found in a folder is a recording of its own, at the price of its first bytes at most.

    So is what its ending says is one, though it is damaged, cannot be read, or is a link to nothing: reading it says
    why it cannot be used.
    """
    suffix = file.suffix.lower()
    if suffix in _SURE:
        return True
    if _OTHER.fullmatch(suffix) or wfdb_header(file):
        return False
    meant = suffix in _MEANT
    if not is_file(file):
        return meant  # a pipe is never opened
    try:
        found = detect(file)
        if found is CSV:
            return _names_leads(csv_columns(file), suffix == ".csv")
        if found is PARQUET:
            return _names_leads(parquet_columns(file), False)
        if found is None:
            return meant and (suffix != ".xml" or _root(file)[0] in _NO_ROOTS)
        return not (found is DICOM and _is_directory(file))
    except (DBetaError, OSError):
        return meant


def _names_leads(names: list[str] | None, unnamed: bool) -> bool:
    """Whether columns are leads and not, say, the ages of patients."""
    return unnamed if names is None else sum(known_lead(name) is not None for name in names) > 1


def _is_directory(file: Path) -> bool:
    """DICOMDIR, the table of contents of a disc."""
    with file.open("rb") as stream:
        return b"1.2.840.10008.1.3.10" in stream.read(_SNIFFED)


def _by_magic(head: bytes, file: Path) -> Format | None:
    if head[128:132] == b"DICM":
        return DICOM
    if head.startswith(b"\x89HDF\r\n\x1a\n") or head[512:520] == b"\x89HDF\r\n\x1a\n":
        return HDF5
    if head.startswith((b"0       ", b"\xffBIOSEMI")) and head[252:256].strip().isdigit():
        return EDF
    magic = {b"\x93NUMPY": NPY, b"PAR1": PARQUET, b"ISHNE1.0": ISHNE, b"MATLAB 5.0 MAT-file": MATLAB}
    return next((kind for start, kind in magic.items() if head.startswith(start)), None)


def _by_text(head: bytes, file: Path) -> Format | None:
    text = _as_text(head)
    if text is None:
        return None
    if text.lstrip().startswith("<"):
        return _by_root(file)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and re.fullmatch(r"[-\w]+(/\d+)?\s+\d+(\s+[\d.]+\S*.*)?", lines[0]):
        signal = SIGNAL_LINE.fullmatch(lines[1]) if len(lines) > 1 else None
        if signal or "/" in lines[0].split()[0] or file.suffix.lower() == ".hea":
            return WFDB
    if file.suffix.lower() == ".hea":
        return WFDB
    return CSV if _is_table(lines, file) else None


def _root(file: Path) -> tuple[str, str]:
    """Name of an XML file's root element, "" where there is none, and the text that it was found in."""
    with file.open("rb") as stream:
        text = _as_text(stream.read(16 * _SNIFFED)) or ""  # comments may come first
    root = re.search(r"<(?:[\w.-]+:)?([A-Za-z]\w*)[\s>/]", re.sub(r"<!--.*?(?:-->|$)", "", text, flags=re.DOTALL))
    return (root[1] if root else ""), text


def _by_root(file: Path) -> Format | None:
    name, text = _root(file)
    # Anyone might call a root so
    return None if name == "ECG" and not re.search("CHANNEL|SUBJECT|ACQUISITION_TIME", text) else _XML.get(name)


def _as_text(head: bytes) -> str | None:
    """The beginning of a text in UTF-8 or UTF-16, or in Latin-1 if it has no control characters."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        return None
    return head.decode("utf-8-sig", errors="replace")


def _is_table(lines: list[str], file: Path) -> bool:
    if file.suffix.lower() in (".csv", ".tsv"):
        return True
    if not lines or len(lines) < 2:
        return False
    separator = separator_of(lines[:2])
    cells = [[cell.strip() for cell in line.split(separator)] for line in lines[:2]]
    named = _names_leads([re.split(r"[(\[/]", cell)[0].strip().strip('"') for cell in cells[0]], False)
    return len(cells[0]) > 1 and len(cells[0]) == len(cells[1]) and (named or all(map(_is_number, cells[0])))


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _by_structure(head: bytes, file: Path) -> Format | None:
    """Formats without a magic number: the first fields have to make sense together."""
    if _is_matlab_4(head):
        return MATLAB
    if _is_bare_dicom(head):
        return DICOM
    # Imported here as it takes a while
    from ecgdatakit.parsing.parsers.mfer import MFERParser
    from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser

    kinds = ((SCPECGParser, SCP), (MFERParser, MFER))
    return next((kind for parser, kind in kinds if parser.can_parse(file, head)), None)


def _is_matlab_4(head: bytes) -> bool:
    """A matrix in MATLAB's fourth format, as the challenges' signal files are: type, rows, columns, name."""
    if len(head) < 22:
        return False
    kind, rows, columns, imaginary, length = np.frombuffer(head[:20], "<i4").tolist()
    name = head[20 : 20 + length - 1]
    return 0 <= kind <= 52 and rows > 0 and columns > 0 and imaginary in (0, 1) and 1 < length < 64 and name.isalnum()


def _is_bare_dicom(head: bytes) -> bool:
    """DICOM without its preamble: a first element of group 2 or 8, with a known type or a short length."""
    group, element, length = head[:2], head[2:4], int.from_bytes(head[4:8], "little")
    if group not in (b"\x02\x00", b"\x08\x00") or len(head) < 64:
        return False
    explicit = element[1:] == b"\x00" and head[4:6] in (b"UL", b"CS", b"UI", b"OB", b"DA", b"SH")
    return explicit or (group == b"\x08\x00" and element[:1] in b"\x00\x01\x05\x08\x16" and length < 65)
