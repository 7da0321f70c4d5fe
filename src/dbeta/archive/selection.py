"""Finds the recordings to process: files, those in folders and corpora, a list of paths, and every N-th of them."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbeta.corpus.store import CorpusRecordings, is_corpus
from dbeta.errors import DBetaError
from dbeta.io.read import recordings_of, search_folder
from dbeta.io.safety.limits import is_folder, readable_name

if TYPE_CHECKING:
    from dbeta.ecg import ECG


@dataclass
class Selection:
    """The recordings to process.

    Attributes:
        files: in order, without duplicates; only those of the shard.
        many: whether this is a batch (several recordings, a folder, a corpus, a list or a shard) rather than a single
            recording.
        shard: the shard, such as "2/8".
        corpora: processed after the files; only the recordings of the shard.
    """

    files: list[Path]
    many: bool
    shard: str = "1/1"
    corpora: list[CorpusRecordings] = field(default_factory=list)

    @property
    def sources(self) -> list[Sequence[ECG | Path]]:
        """The recordings: those of the files, then those of each corpus."""
        return [self.files, *self.corpora]

    @property
    def names(self) -> list[str]:
        """A name for each recording: its file, or the corpus's folder and the record's id."""
        inside = [f"{corpus.path}#{name}" for corpus in self.corpora for name in corpus.names]
        return [*map(readable_name, self.files), *map(readable_name, inside)]


def select_recordings(
    paths: Sequence[Path],
    list_file: Path | None = None,
    shard: str | None = None,
    *,
    inside: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> Selection:
    """Find the recordings to process; those of a folder are sorted by name.

    Args:
        paths: files, folders and corpora.
        list_file: text file with additional paths, one per line; "-" reads standard input.
        shard: "I/N" selects every N-th recording, starting at the I-th.
        inside: whether each recording of a file that holds several is one, as "exams.hdf5#17".
        note: called with a message about what is left out of each folder.

    Raises:
        DBetaError: no recording was found, the list cannot be read, or the shard is invalid.
    """
    number, count = (1, 1) if shard is None else _parse_shard(shard)
    listed = [] if list_file is None else _read_list(list_file)
    selection = Selection([], many=list_file is not None)
    found: list[Path] = []
    corpora: list[Path] = []
    for path in [*paths, *listed]:
        if not is_folder(path):
            found.append(path)
            continue
        selection.many = True
        if is_corpus(path):
            corpora.append(path)
        else:
            listed_there, notes = search_folder(path)
            found += listed_there
            for text in notes:
                note(text)
    files = dict.fromkeys(found)
    selection.files = [one for file in files for one in recordings_of(file)] if inside else list(files)
    selection.corpora = [CorpusRecordings(path) for path in dict.fromkeys(corpora)]
    if not selection.files and not selection.corpora:
        places = [*paths, *([list_file] if list_file else [])]
        raise DBetaError(f"{', '.join(map(str, places))}: no recordings found")
    selection.many |= len(selection.files) > 1
    if shard is not None:
        selection.files, selection.many = selection.files[number - 1 :: count], True
        selection.corpora = [corpus[number - 1 :: count] for corpus in selection.corpora]
        selection.shard = f"{number}/{count}"
    return selection


def _parse_shard(shard: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise DBetaError(f"--shard: write it as I/N, from 1/N to N/N, not {shard!r}")
    return number, count


def _read_list(file: Path) -> list[Path]:
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise DBetaError(f"{file}: the list cannot be read ({error.strerror}); check the path") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell's default
        content = content.decode("utf-16", "replace").encode()
    if b"\0" in content:
        raise DBetaError(f"{file}: not a list of paths; write one path per line, in UTF-8")
    return [Path(line.strip()) for line in os.fsdecode(content).split("\n") if line.strip()]
