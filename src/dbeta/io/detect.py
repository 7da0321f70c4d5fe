"""Which format a file has, and which files of a folder are recordings."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dbeta.errors import DBetaError
from dbeta.io.catalog import CSV, FORMATS, PARQUET, Format
from dbeta.io.formats.base import known_lead
from dbeta.io.formats.binary_tables import parquet_columns
from dbeta.io.formats.text_tables import csv_columns
from dbeta.io.head import LONG_HEAD, FileHead
from dbeta.io.safety.limits import is_file

# A file with such an ending is a recording, or meant to be one, and is never left out silently.
_ENDINGS = {ending for one in FORMATS for ending in one.endings}
_SHARED_ENDINGS = [ending for one in FORMATS for ending in one.shared_endings]
# So is one with such an ending, unless it belongs to a WFDB record or is clearly something else.
_LIKELY_ENDINGS = {".dat", *_SHARED_ENDINGS} - {".csv"}

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
            _, *named = re.findall(rb"^([^\s#]\S*)", stream.read(LONG_HEAD), re.MULTILINE) or [b""]
    except OSError:
        return None  # the unreadable header is listed as a recording itself
    return header if os.fsencode(file.name) in named else None


def is_recording(file: Path) -> bool:
    """Whether a file in a folder is a recording of its own; reads its first bytes at most.

    True as well for a damaged or unreadable file, or a broken link, with the ending of a recording: reading it reports
    what is wrong.
    """
    suffix = file.suffix.lower()
    if suffix in _ENDINGS:
        return True
    if _OTHER.fullmatch(suffix) or wfdb_header(file):
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
