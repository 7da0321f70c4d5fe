"""Limits that no real recording exceeds, and checks of numbers, paths and streams."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

from dbeta.errors import DBetaError

MIB = 2**20
#: Bytes of a file that its parser loads as a whole.
LARGEST_FILE = 256 * MIB
#: The same for formats whose parser needs at least ten times the file's size.
LARGEST_TABLE, LARGEST_DICOM, LARGEST_XML, LARGEST_SCP, LARGEST_HEADER = 128 * MIB, 64 * MIB, 16 * MIB, 4 * MIB, MIB
#: Bytes that come out of what a file holds compressed.
INFLATED = 256 * MIB
#: Values (samples of all leads) held in memory at once: an hour and a half of 12 leads at 500 Hz.
VALUES = 2**25
#: Cells that are parsed of a text table, at 10 million per second.
TABLE_VALUES = 2**24
#: Channels of one recording, ten times those of any recorder.
CHANNELS = 256
#: Start tags and attributes in an XML file.
XML_NODES = 1_000_000
#: Definitions in an MFER file, and channels over all its frames: a day of 12 leads in frames of a second passes.
MFER_TAGS, MFER_CHANNELS = 1_000_000, 2_000_000
#: Bytes of Philips' leads after unpacking: 12 leads over 3 minutes at 1 kHz.
XLI = 4 * MIB
#: Nesting depth in any format.
DEPTH = 64
#: The first row of a table: bytes and cells. A lead may be a row.
TABLE_ROW, TABLE_CELLS = 4 * MIB, 100_000
#: Objects in an HDF5 file, and a chunk's bytes.
HDF5_OBJECTS, HDF5_CHUNK = 100_000, 64 * MIB
#: Upper bound of zlib's compression ratio.
DEFLATE_RATIO = 1032


def check_values(count: float, limit: int = VALUES) -> None:
    """Refuse to load more than `limit` values at once.

    Raises:
        DBetaError: `count` is more.
    """
    if count > limit:
        raise DBetaError(
            f"declares {count:.3g} samples, more than can be read at once; read a part of it (duration), or split it"
        )


def check_channels(count: float) -> None:
    """Refuse an implausible number of channels.

    Raises:
        DBetaError: it is more than `CHANNELS`.
    """
    if count > CHANNELS:
        raise DBetaError(f"declares {count:.6g} channels; get or export the file again")


def inflate(pieces: Iterable[bytes], limit: int, bits: int = zlib.MAX_WBITS, keep: bool = False) -> bytes:
    """Decompress up to a limit of bytes; data that is not a zlib stream is left to the parser.

    Args:
        pieces: compressed data.
        limit: bytes that may come out.
        bits: window size, as in `zlib.decompressobj`.
        keep: whether to return the result instead of b"".

    Raises:
        DBetaError: more comes out.
    """
    inflater = zlib.decompressobj(bits)
    kept, total = [], 0
    try:
        for piece in pieces:
            while piece and not inflater.eof:
                made = inflater.decompress(piece, MIB)
                piece = inflater.unconsumed_tail
                total += len(made)
                if keep:
                    kept.append(made)
                if total > limit:
                    raise DBetaError("unpacks to far more than any recording of its kind; get or export the file again")
    except zlib.error:
        pass
    return b"".join(kept)


def is_folder(path: Path) -> bool:
    """As `Path.is_dir`, but False instead of an error if the name is too long or its folder is locked."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """As `Path.is_file`, but False instead of an error if the name is too long or its folder is locked."""
    return os.path.isfile(path)  # noqa: PTH113


def links_outside(file: Path, *folders: Path) -> bool:
    """Whether a link leads to a place outside all of these folders."""
    real = file.resolve()
    return not any(real.is_relative_to(folder.resolve()) for folder in folders)


def readable_name(path: str | os.PathLike[str]) -> str:
    """A path as printable text, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def shown(text: str, length: int = 500) -> str:
    """Text from a file on one line, shortened, without control characters."""
    letters = ("?" if not (letter.isprintable() or letter.isspace()) else letter for letter in text[:length])
    return "".join(" " if letter.isspace() else letter for letter in letters)
