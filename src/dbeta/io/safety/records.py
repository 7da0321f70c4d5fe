"""Checks of WFDB headers, DICOM, MFER, SCP-ECG, Parquet and text tables."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

from dbeta.errors import DBetaError
from dbeta.io.safety.limits import (
    INFLATED,
    LARGEST_DICOM,
    MFER_CHANNELS,
    MFER_TAGS,
    MIB,
    TABLE_CELLS,
    TABLE_ROW,
    check_channels,
    check_values,
    inflate,
    links_outside,
)


def check_wfdb(header: Path, *folders: Path) -> None:
    """Check the names in a header, before the files that it names are opened.

    Args:
        header: of a record or segment.
        folders: that its signal files may be links into; by default the header's own and that of its target.

    Raises:
        DBetaError: it is not a header, or names files outside its folder.
    """
    lines, _ = header_lines(header)
    lines = lines or ["?"]
    if any(len(word) > 60 for word in lines[0].split()):
        raise DBetaError("cannot be read as a WFDB header (it has an overlong number); get or export the file again")
    folders = folders or (header.parent, header.resolve().parent)
    if header.is_symlink() and links_outside(header, *folders):
        raise DBetaError(f"names the segment {header.stem}, a link out of its folder; put the file itself there")
    if "/" in lines[0].split()[0]:
        return
    check_channels(len(lines) - 1)
    for line in lines[1:]:
        name = line.split()[0]
        if not re.fullmatch(r"[^/\\:]{1,200}", name) or name in (".", ".."):
            raise DBetaError(
                f"cannot be read as a WFDB header ({name[:80]!r} is not a file in its folder); get or export the "
                "file again"
            )
        signal = header.with_name(name)
        if signal.is_symlink() and links_outside(signal, *folders):
            raise DBetaError(f"names the signal file {name}, a link out of its folder; put the file itself there")


def header_lines(header: Path) -> tuple[list[str], list[str]]:
    """The lines of a WFDB header without blank ones, and its comments without their #.

    The text is UTF-8 or, in older files, Latin-1.
    """
    data = header.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = [line for line in (one.strip() for one in re.split(r"[\r\n]+", text)) if line]
    comments = [line.lstrip("# \t") for line in lines if line.startswith("#")]
    return [line for line in lines if not line.startswith("#")], comments


def check_dicom(file: Path) -> None:
    """Refuse deflate bombs: pydicom inflates a data set that was deflated as a whole, without limit."""
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with file.open("rb") as stream:
        try:
            read_preamble(stream, force=True)
            meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
            deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
        except Exception:  # reported by the parser later
            return
        if deflated:
            inflate(iter(lambda: stream.read(MIB), b""), LARGEST_DICOM, -zlib.MAX_WBITS)


def check_mfer(file: Path) -> None:
    """Refuse more channels or frames than recorders have, and deep nesting.

    Source: MFER Part 1, table 5-64 (https://www.mfer.org).
    """
    with file.open("rb") as stream:
        _MFERScreen(stream).walk(file.stat().st_size, 0)


class _MFERScreen:
    _ORDER, _CHANNELS, _SAMPLES, _ATTRIBUTES, _GROUP, _END = 0x01, 0x05, 0x1E, 0x3F, 0x67, 0x80

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.order: Literal["big", "little"] = "big"
        self.tags, self.channels, self.all_channels = 0, 1, 0

    def walk(self, end: int, depth: int) -> None:
        stream = self.stream
        while stream.tell() < end and (tag := stream.read(1)[0]) != self._END:
            self.tags += 1
            if self.tags > MFER_TAGS or self.all_channels > MFER_CHANNELS:
                raise DBetaError(
                    "is not a recording, or has more parts than any recorder writes; export the file again"
                )
            if tag == 0:
                continue
            if tag == self._ATTRIBUTES:  # of one channel, whose number follows in 7-bit groups
                while (byte := stream.read(1)) and byte[0] & 0x80:
                    pass
            length = int.from_bytes(stream.read(1), "big")
            inside = length == 0x80
            if inside:  # ends with an end mark
                length = end - stream.tell()
            elif length > 0x80:
                length = int.from_bytes(stream.read(length & 0x7F), "big")
            start = stream.tell()
            if start + length > end:
                return
            if inside or tag == self._GROUP:
                if depth > 4:
                    raise DBetaError("has definitions nested deeper than any recorder writes; export the file again")
                self.walk(start + length, depth + 1)
                if inside:
                    continue
            self._take(tag, length)
            stream.seek(start + length)

    def _take(self, tag: int, length: int) -> None:
        if tag == self._SAMPLES:
            self.all_channels += self.channels
        elif tag == self._ORDER and length:
            self.order = "little" if self.stream.read(1) == b"\1" else "big"
        elif tag == self._CHANNELS and length <= 4:
            self.channels = int.from_bytes(self.stream.read(length), self.order) or 1
            check_channels(self.channels)


def check_scp(file: Path) -> None:
    """Limit the number of beats to add to each lead; sizes of leads have 16 bits and need no limit."""
    content = file.read_bytes()
    size = min(int.from_bytes(content[10:14], "little"), len(content))
    for at in range(22, 6 + size, 10):
        section = int.from_bytes(content[at : at + 2], "little")
        length = int.from_bytes(content[at + 2 : at + 6], "little")
        if section == 4 and length > MIB // 4:
            raise DBetaError(f"lists beats in {length:,} bytes, more than any SCP-ECG recording has; export it again")


def check_table(file: Path) -> None:
    """Limit the first row: parsing takes a hundred times the memory of each of its cells."""
    with file.open("rb") as stream:
        first = stream.readline(TABLE_ROW + 1)
    if len(first) > TABLE_ROW or max(map(first.count, (b",", b";", b"\t", b"|"))) > TABLE_CELLS:
        raise DBetaError("has a first row too long for a table of leads; write a column for each lead")


def check_parquet(file: Path) -> None:
    """Limit the sizes in the footer, as a few bytes may stand for billions of equal values."""
    import pyarrow.parquet as pq

    try:
        meta = pq.read_metadata(file)
        groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
    except Exception as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise DBetaError(f"cannot be read as Parquet ({reason}); get or export the file again") from error
    check_values(meta.num_rows)
    if meta.num_columns > TABLE_CELLS or max((group.total_byte_size for group in groups), default=0) > 2 * INFLATED:
        raise DBetaError("unpacks to far more than any recording of its kind; get or export the file again")
