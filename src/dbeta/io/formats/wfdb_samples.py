"""Samples of WFDB signal files, in every storage format.

Decoded here because the `wfdb` library averages the samples of a frame unless told otherwise, refuses files that are
cut short, and decodes format 8 wrongly from any other place than the start
(`tests/io/formats/test_libraries.py`). Source: WFDB signal(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import parsing
from dbeta.io.formats.wfdb_header import Channel
from dbeta.io.safety.limits import check_values

_FLAC = {508: 8, 516: 16, 524: 24}  # bits


class _Storage(NamedTuple):
    """A block is the smallest group of samples in whole bytes."""

    block_samples: int
    block_bytes: int
    missing: int | None  # the count that marks a missing sample


_STORAGE = {
    8: _Storage(1, 1, None),
    16: _Storage(1, 2, -(2**15)),
    24: _Storage(1, 3, -(2**23)),
    32: _Storage(1, 4, -(2**31)),
    61: _Storage(1, 2, -(2**15)),
    80: _Storage(1, 1, -(2**7)),
    160: _Storage(1, 2, -(2**15)),
    212: _Storage(2, 3, -(2**11)),
    310: _Storage(3, 4, -(2**9)),
    311: _Storage(3, 4, -(2**9)),
} | {code: _Storage(1, 1, -(2 ** (bits - 1))) for code, bits in _FLAC.items()}

#: Whole samples in the bytes that are left after the last whole block.
_LEFT_OVER = {212: (0, 0, 1), 310: (0, 0, 1, 1), 311: (0, 0, 1, 2)}


def available_frames(folder: Path, channels: Sequence[Channel]) -> list[int]:
    """Whole frames of each channel in its signal file; 0 if it has none.

    Raises:
        DBetaError: a signal file is missing, or its storage format is unknown.
    """
    frames = {name: _frames_of(folder / name, group) for name, group in _files(channels).items()}
    return [max(frames.get(channel.file, 0) - channel.skew, 0) for channel in channels]


def read_counts(
    folder: Path, channels: Sequence[Channel], wanted: Sequence[int], begin: int, end: int
) -> dict[int, np.ndarray]:
    """Raw counts of the wanted channels over a stretch of frames.

    Args:
        folder: of the signal files.
        channels: all signals of the record, as files interleave them.
        wanted: indices of the channels to read.
        begin: first frame.
        end: the one after the last.

    Returns:
        For each index, (frames × samples per frame,) float64, NaN where the sample is missing or beyond the file's end.
    """
    found: dict[int, np.ndarray] = {}
    for name, group in _files(channels).items():
        rows = [row for row in wanted if channels[row].file == name]
        if not rows:
            continue
        last = min(end + max(channels[row].skew for row in rows), _frames_of(folder / name, group))
        first = min(begin, last)
        frames = _read_frames(folder / name, group, first, last)  # (frames, samples of all channels)
        edges = np.cumsum([0, *(channel.per_frame for channel in group)]).tolist()
        places = [row for row, channel in enumerate(channels) if channel.file == name]
        for row in rows:
            channel, at = channels[row], places.index(row)
            part = frames[channel.skew : channel.skew + end - begin, edges[at] : edges[at + 1]].astype(np.float64)
            part[part == _STORAGE[channel.format].missing] = np.nan
            found[row] = np.full((end - begin) * channel.per_frame, np.nan)
            found[row][: part.size] = part.ravel()
    nothing = {row: np.full((end - begin) * channels[row].per_frame, np.nan) for row in wanted if row not in found}
    return found | nothing


def _files(channels: Sequence[Channel]) -> dict[str, list[Channel]]:
    """The channels of each signal file, in order."""
    files: dict[str, list[Channel]] = {}
    for channel in channels:
        if channel.file != "~":
            files.setdefault(channel.file, []).append(channel)
    for name, group in files.items():
        codes = {channel.format for channel in group}
        if len(codes) > 1 or not codes <= _STORAGE.keys():
            known = ", ".join(map(str, sorted(_STORAGE)))
            raise DBetaError(
                f"stores {name[:60]} in format {' and '.join(map(str, sorted(codes)))}, but a file has one of the "
                f"formats {known}; correct the header"
            )
    return files


def _frames_of(file: Path, group: Sequence[Channel]) -> int:
    if not file.is_file():
        raise DBetaError(f"names the signal file {file.name}, which is missing; put it in the same folder")
    code, offset = group[0].format, group[0].offset
    per_frame = sum(channel.per_frame for channel in group)
    if code in _FLAC:
        with _flac(file, group) as stream:
            return max(stream.frames - offset, 0) // group[0].per_frame
    storage = _STORAGE[code]
    blocks, rest = divmod(max(file.stat().st_size - offset, 0), storage.block_bytes)
    left_over = _LEFT_OVER[code][rest] if code in _LEFT_OVER else 0
    return (blocks * storage.block_samples + left_over) // per_frame


def _read_frames(file: Path, group: Sequence[Channel], begin: int, end: int) -> np.ndarray:
    """Counts of the frames from `begin` to `end`, (frames, samples of all channels in turn)."""
    code, offset = group[0].format, group[0].offset
    per_frame = sum(channel.per_frame for channel in group)
    start = 0 if code == 8 else begin  # differences are summed from the start of the file
    check_values((end - start) * per_frame)
    if code in _FLAC:
        return _read_flac(file, group, begin, end)
    storage = _STORAGE[code]
    first = start * per_frame // storage.block_samples
    last = -(-end * per_frame // storage.block_samples)
    with file.open("rb") as stream:
        stream.seek(offset + first * storage.block_bytes)
        data = stream.read((last - first) * storage.block_bytes)
    data = data.ljust((last - first) * storage.block_bytes, b"\0")
    skipped = start * per_frame - first * storage.block_samples
    counts = _unpack(np.frombuffer(data, np.uint8), code)[skipped : skipped + (end - start) * per_frame]
    frames = counts.reshape(-1, per_frame)
    return _summed(frames, group)[begin:] if code == 8 else frames


def _unpack(data: np.ndarray, code: int) -> np.ndarray:
    """Counts in whole blocks of bytes."""
    plain = {8: "i1", 16: "<i2", 32: "<i4", 61: ">i2", 80: "u1", 160: "<u2"}
    if code in plain:
        counts = data.view(plain[code])
        return counts.astype(np.int32) - {80: 2**7, 160: 2**15}[code] if code in (80, 160) else counts
    blocks = data.reshape(-1, _STORAGE[code].block_bytes).astype(np.int32)  # (blocks, bytes)
    if code == 24:
        return _signed(blocks[:, 0] | blocks[:, 1] << 8 | blocks[:, 2] << 16, 24)
    if code == 212:
        pair = [blocks[:, 0] | (blocks[:, 1] & 0x0F) << 8, blocks[:, 2] | (blocks[:, 1] & 0xF0) << 4]
        return _signed(np.stack(pair, axis=1).ravel(), 12)
    low, high = blocks[:, 0] | blocks[:, 1] << 8, blocks[:, 2] | blocks[:, 3] << 8  # 16-bit words
    if code == 310:
        three = [low >> 1 & 0x3FF, high >> 1 & 0x3FF, (low >> 11 & 0x1F) | (high >> 11 & 0x1F) << 5]
    else:
        three = [low & 0x3FF, low >> 10 | (high & 0x0F) << 6, high >> 4 & 0x3FF]
    return _signed(np.stack(three, axis=1).ravel(), 10)


def _signed(counts: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of so many bits."""
    half = 1 << (bits - 1)
    return (counts ^ half) - half


def _summed(frames: np.ndarray, group: Sequence[Channel]) -> np.ndarray:
    """Counts from the differences that format 8 stores."""
    summed = np.empty(frames.shape, np.int64)
    at = 0
    for channel in group:
        part = frames[:, at : at + channel.per_frame]
        summed[:, at : at + channel.per_frame] = (channel.initial + np.cumsum(part, dtype=np.int64)).reshape(part.shape)
        at += channel.per_frame
    return summed


def _flac(file: Path, group: Sequence[Channel]):  # type: ignore[no-untyped-def]  # a type of soundfile
    import soundfile

    with parsing("FLAC", file):
        with file.open("rb") as start:
            if start.read(4) != b"fLaC":
                raise ValueError(f"{file.name} is not FLAC")
        stream = soundfile.SoundFile(file)
        if stream.channels != len(group) or len({channel.per_frame for channel in group}) > 1:
            stream.close()
            raise ValueError(f"{file.name} holds {stream.channels} channels, the header names {len(group)}")
        return stream


def _read_flac(file: Path, group: Sequence[Channel], begin: int, end: int) -> np.ndarray:
    per_frame, bits = group[0].per_frame, _FLAC[group[0].format]
    with _flac(file, group) as stream, parsing("FLAC", file):
        stored = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[stream.subtype]
        if stored > bits:
            raise ValueError(f"{file.name} has {stored} bits, the header says {bits}")
        stream.seek(group[0].offset + begin * per_frame)
        # The library fills 32 bits from the top
        counts = stream.read((end - begin) * per_frame, dtype="int32", always_2d=True) >> (32 - stored)
    if len(counts) < (end - begin) * per_frame:
        raise DBetaError(f"names the signal file {file.name}, which is damaged; get it again")
    frames = counts.reshape(-1, per_frame, len(group)).transpose(0, 2, 1)  # (frames, channels, samples)
    return frames.reshape(end - begin, -1)
