"""XML: streamed through expat without building a tree, and refused at the first construct that no ECG has."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.parsers import expat

from dbeta.errors import DBetaError
from dbeta.io.safety.limits import DEPTH, MIB, XLI, XML_NODES, check_channels


class _XMLScreen:
    """Streams XML through expat; its handlers raise `DBetaError` at the first construct that no ECG has."""

    # Philips' parser allocates a list of this length
    _COUNTS = ("numberchannelsallocated", "numberchannelsvalid")

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = MIB
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.nodes = 0
        self.path: list[str] = []
        self.texts: list[list[str]] = []

    def _doctype(self, name: str, system: str | None, public: str | None, has_subset: int) -> None:
        # GE's files name a DTD, which is never fetched; one inside the file can hold entities and default values
        if has_subset:
            raise DBetaError("is XML with an internal DTD, as used by attacks; export it without")

    def _entity(self, *_: Any) -> None:
        raise DBetaError("is XML with its own entities, as used by attacks; export it without")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.nodes += 1 + len(attributes)
        self.path.append(name)
        self.texts.append([])
        if self.nodes > XML_NODES:
            raise DBetaError(f"is XML of more than {XML_NODES:,} elements; export a single ECG")
        if len(self.path) > DEPTH:
            raise DBetaError(f"is XML nested deeper than {DEPTH} levels; export it again")

    def _end(self, name: str) -> None:
        self.path.pop()
        text = "".join(self.texts.pop())
        if name in self._COUNTS:
            check_channels(_number(text))
        if name == "parsedwaveforms":
            _check_xli(text)

    def _text(self, text: str) -> None:
        if self.path and self.path[-1] in (*self._COUNTS, "parsedwaveforms"):
            self.texts[-1].append(text)


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return 0.0


def check_xml(file: Path) -> None:
    """Screen an XML file in each encoding that the parsers may try.

    Raises:
        DBetaError: it is not well-formed, or has a construct that no ECG has.
    """
    from ecgdatakit.parsing.helpers import decode_text

    content = file.read_bytes()
    try:
        _XMLScreen().parser.Parse(content, True)
        return
    except DBetaError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:
        refusal = error
    # The parsers try again if the stated encoding is wrong; some trust it, others do not
    named = re.match(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']", content)
    texts = {decode_text(content, encoding) for encoding in {named[1].decode() if named else None, None}}
    readable = 0
    for text in texts:
        body = re.sub(r"^\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff"), count=1)
        with suppress(expat.ExpatError, UnicodeError):
            _XMLScreen().parser.Parse(body, True)
            readable += 1
    if not readable:
        raise DBetaError(f"cannot be read as XML ({refusal}); get or export the file again") from refusal


def _check_xli(text: str) -> None:
    """Check Philips' compressed leads: chunks of a header (size, start) and 10-bit LZW, which can grow 600-fold."""
    try:
        packed = b64decode("".join(text.split()), validate=True)
    except ValueError:
        return  # samples as plain text
    at, total = 0, 0
    while at + 8 < len(packed):
        size = int.from_bytes(packed[at : at + 4], "little", signed=True)
        if not 0 < size <= len(packed) - at - 8:
            return  # not compressed, or refused by the parser
        for length in _lzw_lengths(packed[at + 8 : at + 8 + size]):
            total += length
            if total > XLI:
                raise DBetaError("holds compressed leads longer than any recording; export the file again")
        at += 8 + size


def _lzw_lengths(packed: bytes, bits: int = 10) -> Iterator[int]:
    """Number of bytes that each LZW code expands to."""
    last = (1 << bits) - 2
    lengths = [1] * 256
    held, count, previous = 0, 0, 0
    for byte in packed:
        held, count = (held << 8) | byte, count + 8
        if count < bits:
            continue
        count -= bits
        code, held = held >> count, held & ((1 << count) - 1)
        if code > last:
            return
        length = lengths[code] if code < len(lengths) else previous + 1
        if previous and len(lengths) <= last:
            lengths.append(previous + 1)
        previous = length
        yield length
