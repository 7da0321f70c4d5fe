"""Recordings → embeddings of their windows, many recordings in one batch and a day in many.

Special here: recordings go through the model in groups that follow from their order alone, so that a run which goes on
where another was interrupted computes the very same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import ECG
from dbeta.inference.loader import Prepared, prepare_files
from dbeta.signal.preprocess import InputFormat
from dbeta.signal.quality import FAIR, GOOD, UNUSABLE
from dbeta.signal.windows import merge_notes

#: Windows after which a group of recordings ends, however few recordings they are.
MANY_WINDOWS = 1024

#: Embeds (n, leads, samples) as (n, D).
Encoder = Callable[[Sequence[np.ndarray]], np.ndarray]
#: Is told how far a long recording has come: its name, windows done, windows in all.
Watch = Callable[[str, int, int], None]


@dataclass
class Embedded:
    """A recording's embeddings, or why it has none.

    Attributes:
        file: the recording as it was given.
        record: its id in its file, or the file's name; empty for an `ECG` that has none.
        name: file's name and id, as in "exams.hdf5#17".
        starts: (n,) seconds at which its windows begin; one window for a recording of ten seconds.
        windows: (n, D) float32, the embedding of each window.
        qualities: (n,) "good", "fair" or "unusable", the verdict of `dbeta.signal.quality` on each window.
        duration: of the recording, seconds.
        error: the sentence that says why it cannot be used; then there are no windows.
        notes: what it was warned of.
    """

    file: ECG | str | Path
    record: str = ""
    name: str = ""
    starts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    windows: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    qualities: np.ndarray = field(default_factory=lambda: np.zeros(0, "U8"))
    duration: float = 0.0
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def quality(self) -> str:
        """Of the whole: "unusable" if all windows are, "good" if nine of ten are, else "fair"."""
        if (self.qualities == UNUSABLE).all():
            return UNUSABLE
        return GOOD if (self.qualities == GOOD).mean() >= 0.9 else FAIR

    @property
    def embedding(self) -> np.ndarray:
        """(D,) float32: the mean over the windows."""
        return self.windows.mean(axis=0, dtype=np.float64).astype(np.float32)


def embed_groups(
    encode: Encoder,
    recordings: Iterable[ECG | str | Path],
    wanted: InputFormat,
    *,
    batch_size: int,
    workers: int | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Iterator[list[Embedded]]:
    """Embed recordings, `batch_size` of them or one of a day at a time.

    Args:
        encode: the model.
        recordings: ECGs, or files that `read_ecg` can read.
        wanted: the model's input.
        batch_size: windows that go through the model at once, and recordings of a group.
        workers: processes that read (see `prepare_files`).
        watch: is told how far a recording of several pieces has come.
        **options: those of `read_ecg`.

    Yields:
        Groups of recordings in their order; one that cannot be used says so in `error`.
    """
    group: list[_Open] = []
    waiting: list[tuple[_Open, np.ndarray]] = []
    one: _Open | None = None

    def compute(count: int) -> None:
        batch = waiting[:count]
        if not batch:
            return
        del waiting[:count]
        for (owner, _), row in zip(batch, encode([window for _, window in batch]), strict=True):
            owner.rows.append(row)

    for piece in prepare_files(recordings, wanted, workers=workers, **options):
        if one is None:
            one = _Open(piece.file)
            group.append(one)
        one.add(piece)
        waiting.extend((one, window) for window in (() if piece.windows is None else piece.windows))
        while len(waiting) >= batch_size:
            compute(batch_size)
        if watch is not None and piece.duration > 0 and not (piece.last and one.pieces == 1):
            watch(one.done.name, *(round(at / wanted.duration) for at in (piece.end, piece.duration)))
        if piece.last:
            one = None
            if len(group) == batch_size or sum(len(member.starts) for member in group) >= MANY_WINDOWS:
                compute(len(waiting))
                yield [member.close() for member in group]
                group = []
    if group:
        compute(len(waiting))
        yield [member.close() for member in group]


class _Open:
    """A recording of which pieces are still to come, or windows still to be embedded."""

    def __init__(self, file: ECG | str | Path) -> None:
        self.done = Embedded(file)
        self.pieces = self.lost = 0
        self.starts: list[float] = []
        self.qualities: list[tuple[str, str]] = []
        self.rows: list[np.ndarray] = []

    def add(self, piece: Prepared) -> None:
        done = self.done
        self.pieces += 1
        self.lost += piece.lost
        self.starts += piece.starts.tolist()
        self.qualities += piece.qualities
        done.record, done.name = done.record or piece.record, done.name or piece.name
        done.duration = piece.duration or done.duration
        done.notes += piece.notes
        done.error = piece.error

    def close(self) -> Embedded:
        done = self.done
        done.notes = merge_notes(done.notes)
        count = self.lost + len(self.starts)
        if done.error is None and not self.rows:
            done.error = f"{done.name}: holds no signal in any of its {count} windows"
        elif done.error is None:
            done.starts, done.windows = np.array(self.starts), np.stack(self.rows)
            done.qualities = np.array([verdict for verdict, _ in self.qualities])
            unusable = [reason for verdict, reason in self.qualities if verdict == UNUSABLE]
            if len(unusable) == len(self.rows):
                done.notes.append(f"{done.name}: has no usable signal, {unusable[0]}; no finding is given")
            elif unusable:
                done.notes.append(
                    f"{done.name}: {len(unusable)} of {len(self.rows)} windows have no usable signal ({unusable[0]}) "
                    "and are left out of the findings"
                )
            if self.lost:
                done.notes.append(f"{done.name}: {self.lost} of {count} windows hold no signal and are left out")
        return done
