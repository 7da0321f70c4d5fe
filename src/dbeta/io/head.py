"""The first bytes of a file, and what they show: enough to recognise its format without reading it."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

HEAD = 4096  # bytes
#: Bytes that are searched for the root element of an XML file, as comments may precede it.
LONG_HEAD = 16 * HEAD

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class FileHead:
    """The beginning of a file.

    Attributes:
        file: the file.
        suffix: its ending in lower case.
        data: its first `HEAD` bytes.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        """Read the first bytes."""
        self.file, self.suffix = file, file.suffix.lower()
        with file.open("rb") as stream:
            self.data = stream.read(HEAD)

    @cached_property
    def text(self) -> str | None:
        """The beginning as text; None for binary content."""
        return as_text(self.data)

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, stripped, without comments (#) and blank lines."""
        lines = (line.strip() for line in (self.text or "").splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    @property
    def binary(self) -> bool:
        """Whether the content cannot be text in an encoding that any parser would try."""
        return b"\0" in self.data and not self.data.startswith(_UTF_16)

    @cached_property
    def may_be_xml(self) -> bool:
        """Whether an XML parser could accept it, in whatever encoding."""
        # Its first bytes are a checksum and a length, which may be those of "<"; no XML holds the null character at 8
        if self.data[16:22] == b"SCPECG" and self.data[8:10] == b"\0\0":
            return False
        texts = (self.data.decode(encoding, "ignore") for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
        return any(text.lstrip("\ufeff\0").lstrip().startswith("<") for text in texts)

    @cached_property
    def xml_root(self) -> str:
        """Name of the root element, without its namespace; "" if there is none."""
        root = re.search(r"<(?:[\w.-]+:)?([A-Za-z]\w*)[\s>/]", re.sub(r"(?s)<!--.*?(?:-->|$)", "", self.long_text))
        return root[1] if root else ""

    @cached_property
    def long_text(self) -> str:
        """The first `LONG_HEAD` bytes as text; "" for binary content."""
        with self.file.open("rb") as stream:
            return as_text(stream.read(LONG_HEAD)) or ""


def as_text(data: bytes) -> str | None:
    """Bytes decoded as UTF-8 or, with a byte order mark, UTF-16; None if there are control characters."""
    if data.startswith(_UTF_16):
        return data[: len(data) // 2 * 2].decode("utf-16", errors="replace")
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in data):
        return None
    return data.decode("utf-8-sig", errors="replace")
