"""Groups the windows of recordings into model batches, and puts their embeddings together again by recording.

Groups depend only on the order of the recordings, so a resumed run computes exactly the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dbeta.ecg import ECG
from dbeta.inference.loader import Prepared
from dbeta.signal.quality import FAIR, GOOD, UNUSABLE
from dbeta.signal.windows import merge_notes

#: A group is closed once it has this many windows, however few recordings they come from.
MANY_WINDOWS = 1024

#: Reports the progress of a long recording: its name, windows done, windows in total.
Watch = Callable[[str, int, int], None]


@dataclass
class Embedded:
    """A recording's embeddings, or the reason it has none.

    Attributes:
        file: the recording as it was given.
        record: its ID in the file, or the file's name; empty for an `ECG` without either.
        name: file name and ID, as in "exams.hdf5#17".
        starts: (n,) start of each window in seconds; one window for a 10 s recording.
        windows: (n, D) float32, the embedding of each window.
        qualities: (n,) "good", "fair" or "unusable" for each window (see `dbeta.signal.quality`).
        alive: (n, leads) bool, which of the model's leads carry a signal in each window.
        duration: of the recording, in seconds.
        error: why the recording cannot be used; it then has no windows.
        notes: warnings about the recording.
    """

    file: ECG | str | Path
    record: str = ""
    name: str = ""
    starts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    windows: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    qualities: np.ndarray = field(default_factory=lambda: np.zeros(0, "U8"))
    alive: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    duration: float = 0.0
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def quality(self) -> str:
        """Quality of the whole recording: "unusable" if all windows are, "good" if at least 90 % are, else "fair"."""
        if (self.qualities == UNUSABLE).all():
            return UNUSABLE
        return GOOD if (self.qualities == GOOD).mean() >= 0.9 else FAIR

    @property
    def leads(self) -> np.ndarray:
        """(leads,) bool, the leads that carry a signal in at least half of the usable windows; (0,) if unknown."""
        if not len(self.alive):
            return np.zeros(0, bool)
        used = self.alive[self.qualities != UNUSABLE]
        return used.mean(axis=0) >= 0.5 if len(used) else np.zeros(self.alive.shape[1:], bool)

    @property
    def embedding(self) -> np.ndarray:
        """(D,) float32, the mean over the windows."""
        return self.windows.mean(axis=0, dtype=np.float64).astype(np.float32)


class Group:
    """Recordings whose windows go through the model together: up to `batch_size` recordings, or one very long one.

    After each piece, embed the full batches; once the group is `complete`, embed the partial batch and close it.

    Args:
        batch_size: windows per model batch, and the most recordings in a group.
    """

    def __init__(self, batch_size: int) -> None:
        """Start empty."""
        self.batch_size = batch_size
        self.recordings: list[_Open] = []
        self.waiting: list[tuple[_Open, np.ndarray]] = []
        self.embedding: list[_Open] = []

    def add(self, piece: Prepared) -> _Open:
        """Add the next piece of the last recording, or the first piece of a new one; return its recording."""
        if not self.recordings or self.recordings[-1].finished:
            self.recordings.append(_Open(piece.file))
        recording = self.recordings[-1]
        recording.add(piece)
        if piece.windows is not None:
            self.waiting += [(recording, window) for window in piece.windows]
        return recording

    @property
    def complete(self) -> bool:
        """Whether no recording may be added, and the last one has all its pieces."""
        windows = sum(len(recording.starts) for recording in self.recordings)
        full = len(self.recordings) == self.batch_size or windows >= MANY_WINDOWS
        return full and self.recordings[-1].finished

    def take_batch(self, *, partial: bool = False) -> list[np.ndarray]:
        """Take the windows of the next batch, each (leads, samples); none if there are too few for a full batch.

        Args:
            partial: also take fewer windows than a full batch.
        """
        if not partial and len(self.waiting) < self.batch_size:
            return []
        batch, self.waiting = self.waiting[: self.batch_size], self.waiting[self.batch_size :]
        self.embedding = [recording for recording, _ in batch]
        return [window for _, window in batch]

    def store(self, embeds: np.ndarray) -> None:
        """Store the embeddings (n, D) of the batch taken last."""
        for recording, row in zip(self.embedding, embeds, strict=True):
            recording.rows.append(row)

    def close(self) -> list[Embedded]:
        """The recordings in order, once all windows have been embedded."""
        return [recording.close() for recording in self.recordings]


class _Open:
    """A recording with pieces still to be read, or windows still to be embedded."""

    def __init__(self, file: ECG | str | Path) -> None:
        self.result = Embedded(file)
        self.finished = False
        self.pieces = self.lost = 0
        self.starts: list[float] = []
        self.qualities: list[tuple[str, str]] = []
        self.alive: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def add(self, piece: Prepared) -> None:
        result = self.result
        self.finished = piece.last
        self.pieces += 1
        self.lost += piece.lost
        self.starts += piece.starts.tolist()
        self.qualities += piece.qualities
        self.alive += list(piece.alive)
        result.record = result.record or piece.record
        result.name = result.name or piece.name
        result.duration = piece.duration or result.duration
        result.notes += piece.notes
        result.error = piece.error

    def close(self) -> Embedded:
        result = self.result
        result.notes = merge_notes(result.notes)
        if result.error is not None:
            return result
        count = self.lost + len(self.starts)
        if not self.rows:
            result.error = f"{result.name}: holds no signal in any of its {count} windows"
            return result
        result.starts, result.windows = np.array(self.starts), np.stack(self.rows)
        result.alive = np.stack(self.alive)
        result.qualities = np.array([verdict for verdict, _ in self.qualities])
        result.notes += self._quality_notes()
        if self.lost:
            result.notes.append(f"{result.name}: {self.lost} of {count} windows hold no signal and are left out")
        return result

    def _quality_notes(self) -> list[str]:
        name, count = self.result.name, len(self.rows)
        reasons = [reason for verdict, reason in self.qualities if verdict == UNUSABLE]
        if not reasons:
            return []
        if len(reasons) == count:
            return [f"{name}: has no usable signal, {reasons[0]}; no finding is given"]
        return [
            f"{name}: {len(reasons)} of {count} windows have no usable signal ({reasons[0]}) and are left out of the "
            "findings"
        ]
