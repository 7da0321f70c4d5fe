"""Recordings of AliveCor's Kardia devices: JSON of its interface, through `ecgdatakit`, and ATC files.

An ATC file is a signature and blocks of a name, a length, content and a checksum; the blocks `fmt ` (rate and size of a
step) and `ecg `, `ecg2` … (16-bit samples of the limb leads) are read.
"""

from __future__ import annotations

import re
import struct
from functools import partial
from pathlib import Path

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, parsing
from dbeta.io.formats.clinical import read_clinical
from dbeta.io.identity import Identity

#: The first bytes of an ATC file.
ATC_SIGNATURE = b"ALIVE\0\0\0"
_LEADS = {b"ecg ": "I", b"ecg2": "II", b"ecg3": "III", b"ecg4": "aVR", b"ecg5": "aVL", b"ecg6": "aVF"}
#: The only format of samples: 16-bit integers, the low byte first.
_INTEGERS = 1
#: Place and size of the recording's number, the phone's number, and the recorder's hardware in the block `info`.
_ABOUT = ((32, 44), (76, 44), (184, 32))
_KEYS = re.compile(r'"(?:recordedAt|algorithmDetermination|amplitudeResolution|data12L)"')

read_kardia = partial(read_clinical, kind="Kardia's JSON", parser="AliveCorKardiaParser")


def is_kardia(text: str) -> bool:
    """Whether the beginning of a file is that of a recording from Kardia's interface."""
    return text.lstrip("\ufeff \t\r\n").startswith("{") and len(set(_KEYS.findall(text))) > 1


def read_atc(file: Path, options: Options) -> Recording:
    """Read an ATC file, one to six limb leads."""
    blocks: dict[bytes, bytes] = {}
    with parsing("an ATC file"), file.open("rb") as stream:
        stream.seek(len(ATC_SIGNATURE) + 4)
        while len(start := stream.read(8)) == 8:
            name, size = struct.unpack("<4sI", start)
            content = stream.read(size)
            if len(content) < size:
                raise DBetaError(f"ends within its block {name.decode('ascii', 'replace')!r}; get the file again")
            blocks[name] = content
            stream.seek(4, 1)  # the checksum
    leads = [name for name in _LEADS if name in blocks]
    stated = blocks.get(b"fmt ", b"")
    if len(stated) < 5 or not leads:
        raise DBetaError("cannot be read as an ATC file (it has no samples, or no format of them); get the file again")
    kind, rate, nanovolts = struct.unpack_from("<BHH", stated)
    if kind != _INTEGERS or not rate:
        raise DBetaError(f"holds samples in the unknown format {kind}; export it from the Kardia app as PDF or JSON")
    signal = [np.frombuffer(blocks[name][: len(blocks[name]) // 2 * 2], "<i2") for name in leads]
    about = blocks.get(b"info", b"")
    texts = [about[at : at + size].split(b"\0")[0].decode("utf-8", "replace").strip() for at, size in _ABOUT]
    identity = Identity(others=tuple(text for text in texts[:2] if text))
    meta = {"device": f"AliveCor {texts[2]}"} if texts[2] else {}
    unit = f"{nanovolts} nV" if nanovolts else ""
    return Recording(
        signal, [_LEADS[name] for name in leads], float(rate), [unit] * len(leads), None, "", identity, meta
    )
