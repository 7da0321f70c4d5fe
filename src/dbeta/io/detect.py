"""Which format a file has, and which files of a folder are recordings."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path

from dbeta.errors import DBetaError
from dbeta.io.catalog import CSV, FORMATS, PARQUET, Format
from dbeta.io.formats.base import known_lead
from dbeta.io.formats.binary_tables import parquet_columns
from dbeta.io.formats.text_tables import csv_columns
from dbeta.io.head import HEAD, LONG_HEAD, FileHead
from dbeta.io.safety.limits import LARGEST_HEADER, is_file

# A file with such an ending is a recording, or meant to be one, and is never left out silently.
_ENDINGS = {ending for one in FORMATS for ending in one.endings}
_SHARED_ENDINGS = [ending for one in FORMATS for ending in one.shared_endings]
# So is one with such an ending, unless it belongs to a WFDB record or is clearly something else.
_LIKELY_ENDINGS = {".dat", *_SHARED_ENDINGS} - {".csv"}

# Nor are these ever signal files of a WFDB record under another name.
_NEVER_SIGNALS = {".xml", ".csv", ".parquet"}

# Roots of XML files that may stand in place of a recording: a failed download's page, or too little to tell.
_UNCLEAR_ROOTS = {"", "html", "ECG"}

# Never opened in search of recordings.
_OTHER = re.compile(
    r"\.(atr|avi|bmp|bz2|c|cpp|css|docx?|gif|gz|html?|ini|ipynb|jpe?g|js|jsonl|log|md|mp4|npz|pdf|pickle|pkl|png|ps|pt"
    r"|pyc?|qrs|r|rar|rst|safetensors|sh|svg|tar|tiff?|toml|ttf|xlsx?|xz|ya?ml|zip)"
)


def detect(file: Path) -> Format | None:
    """The format of a file, by its content; None if it is not known.

    Raises:
        OSError: the file cannot be opened.
    """
    return recognise(FileHead(file))


def recognise(head: FileHead) -> Format | None:
    """The first format of the catalog that recognises a file; None if there is none."""
    return next((one for one in FORMATS if one.recognise(head)), None)


def choose_format(file: Path) -> Format:
    """The format of a file.

    Raises:
        DBetaError: its format is unknown; the message names the format that its ending promises.
    """
    if found := detect(file):
        return found
    suffix = file.suffix.lower()
    if suffix == ".dat":
        raise DBetaError(f"needs its header {file.with_suffix('.hea').name}, which holds sampling rate, leads and gain")
    promised = [one.name for one in FORMATS if suffix in (*one.endings, *one.shared_endings)]
    if promised:
        names = f"{', '.join(promised[:-1])} or {promised[-1]}" if promised[1:] else promised[0]
        raise DBetaError(f"is not {names}, despite its ending; get or export the file again")
    endings = ", ".join(sorted(_ENDINGS | set(_SHARED_ENDINGS)))
    raise DBetaError(f"has an unknown format; give one of {endings}")


class WFDBHeaders:
    """The WFDB headers in a folder, and the files that belong to them; read when first needed."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self.folder = folder

    @cached_property
    def segments(self) -> set[str]:
        """Names in lower case of headers that are segments of another record."""
        named: set[str] = set()
        for header in self._headers:
            if b"/" in (_words(header, HEAD) or [b""])[0]:
                whole = _words(header, LARGEST_HEADER)
                named |= {os.fsdecode(name).lower() + ".hea" for name in whole[1:] if name != b"~"}
        return named

    @cached_property
    def signals(self) -> dict[str, Path]:
        """The header that names each signal file."""
        named: dict[str, Path] = {}
        for header in self._headers:
            first, *others = _words(header, LONG_HEAD) or [b""]
            if b"/" not in first:
                named |= {os.fsdecode(name): header for name in others}
        return named

    @property
    def _headers(self) -> list[Path]:
        try:
            files = sorted(file for file in self.folder.iterdir() if file.suffix.lower() == ".hea")
        except OSError:
            return []
        return [file for file in files if is_file(file)]


def _words(header: Path, size: int) -> list[bytes]:
    """The first word of each line but comments; of none if the header cannot be read."""
    try:
        with header.open("rb") as stream:
            return re.findall(rb"^[ \t]*([^\s#]\S*)", stream.read(size), re.MULTILINE)
    except OSError:
        return []  # an unreadable header is listed as a recording itself


def wfdb_header(file: Path, headers: WFDBHeaders | None = None) -> Path | None:
    """The header of a WFDB record's signal file; None for another file.

    Args:
        file: perhaps a signal file: of the header's name but for its ending, or of any name that a header states.
        headers: those of its folder, if they are at hand.
    """
    suffix = file.suffix.lower()
    if suffix == ".hea":
        return None
    header = next((one for one in map(file.with_suffix, (".hea", ".HEA")) if is_file(one)), None)
    if header and (suffix in (".dat", ".mat") or os.fsencode(file.name) in _words(header, LONG_HEAD)[1:]):
        return header
    if suffix in _ENDINGS or suffix in _NEVER_SIGNALS or _OTHER.fullmatch(suffix) or not is_file(file):
        return None
    return (headers or WFDBHeaders(file.parent)).signals.get(file.name)


def is_segment(file: Path, headers: WFDBHeaders) -> bool:
    """Whether a WFDB header is a segment of another record in its folder."""
    return file.suffix.lower() == ".hea" and file.name.lower() in headers.segments


def is_recording(file: Path, headers: WFDBHeaders | None = None) -> bool:
    """Whether a file in a folder is a recording of its own; reads its first bytes at most.

    True as well for a damaged or unreadable file, or a broken link, with the ending of a recording: reading it reports
    what is wrong.
    """
    suffix = file.suffix.lower()
    headers = headers or WFDBHeaders(file.parent)
    if suffix in _ENDINGS:
        return not is_segment(file, headers)
    if _OTHER.fullmatch(suffix) or wfdb_header(file, headers):
        return False
    likely = suffix in _LIKELY_ENDINGS
    if not is_file(file):
        return likely  # a pipe is never opened
    try:
        found = detect(file)
        if found is CSV:
            return _names_leads(csv_columns(file), suffix == ".csv")
        if found is PARQUET:
            return _names_leads(parquet_columns(file), False)
        if found is None:
            return likely and (suffix != ".xml" or FileHead(file).xml_root in _UNCLEAR_ROOTS)
        return not (found.name == "DICOM" and _is_directory(file))
    except (DBetaError, OSError):
        return likely


def _names_leads(names: list[str] | None, unnamed: bool) -> bool:
    """Whether a table's columns are leads rather than, say, patients' ages; `unnamed` if it has no header."""
    return unnamed if names is None else sum(known_lead(name) is not None for name in names) > 1


def _is_directory(file: Path) -> bool:
    """Whether a DICOM file is a DICOMDIR, the table of contents of a disc."""
    return b"1.2.840.10008.1.3.10" in FileHead(file).data
