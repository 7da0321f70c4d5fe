"""Damages files for `fuzz_reading.py`; the same seed and number always give the same damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fuzz_seeds import Seed

#: Replacements for numbers: huge, negative, empty, and forms that only Python accepts as numbers.
_NUMBERS = (
    b"-1",
    b"0",
    b"-0",
    b"",
    b"nan",
    b"inf",
    b"-inf",
    b"1e308",
    b"1e-308",
    b"-1e308",
    b"1e400",
    b"0.0",
    b"4294967295",
    b"2147483647",
    b"-2147483648",
    b"65536",
    b"32767",
    b"99999999999999999999",
    b"9" * 5000,
    b"1_000",
    b"0x10",
    b"1,5",
    "²".encode(),
    "١٢".encode(),
    b"1.0.0",
    b"+",
    b"x",
    b" ",
    b"\n",
    b"1000000",
    b"1e9",
)
_SUFFIXES = (
    ".hea",
    ".dat",
    ".mat",
    ".dcm",
    ".xml",
    ".scp",
    ".edf",
    ".ecg",
    ".mwf",
    ".h5",
    ".npy",
    ".csv",
    ".parquet",
    ".XML",
    ".json",
    ".arc",
    ".xle",
    ".txt",
    ".gz",
    "",
)
_OPTIONS: tuple[dict[str, Any], ...] = ({}, {"sampling_rate": 500.0}, {"record": 1}, {"duration": 1.0})
_HEAD = 1024


def mutate(seeds: list[Seed], seed: int, number: int) -> tuple[str, Seed]:
    """Return the kind of damage and the damaged file with this number."""
    rng = np.random.default_rng([seed, number])
    small = [one for one in seeds if sum(map(len, one.files.values())) < 50_000]
    # Large real files take most of the time, so only one in ten is used
    pool = seeds if rng.random() < 0.1 else small
    chosen = pool[rng.integers(len(pool))]
    files = dict(chosen.files)
    names = list(files)
    done = []
    for _ in range(1 + int(rng.random() < 0.3)):
        target = names[0] if len(names) == 1 or rng.random() < 0.6 else names[rng.integers(1, len(names))]
        how = list(_WAYS)[rng.integers(len(_WAYS))]
        # Most other damage ends at the first unclosed tag
        if files[target].lstrip().startswith(b"<") and rng.random() < 0.5:
            how = "extreme numbers in"
        other = pool[rng.integers(len(pool))]
        files[target] = _WAYS[how](files[target], rng, next(iter(other.files.values())))
        done.append(f"{how} {target}")
    if rng.random() < 0.08:
        first = names[0]
        suffix = _SUFFIXES[rng.integers(len(_SUFFIXES))]
        renamed = first.rpartition(".")[0] + suffix
        files = {renamed if name == first else name: content for name, content in files.items()}
        done.append(f"rename to {renamed}")
    options = chosen.options
    if rng.random() < 0.1:
        options = _OPTIONS[rng.integers(len(_OPTIONS))]
    return f"{chosen.name}: {', '.join(done)}", Seed(chosen.name, files, options)


def _place(content: bytes, rng: np.random.Generator) -> int:
    """Draw a random position, half of the time in the head."""
    return int(rng.integers(min(len(content), _HEAD) if rng.random() < 0.5 else len(content)))


def _flip(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 17))):
        if damaged:
            damaged[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def _truncate(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    return content[: _place(content, rng)] if content else content


def _duplicate(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """Repeat a block, after itself or over another place."""
    if not content:
        return content
    start = _place(content, rng)
    block = content[start : start + int(rng.integers(1, 5000))] * int(rng.integers(1, 5))
    at = start if rng.random() < 0.5 else _place(content, rng)
    return content[:at] + block + content[at + (len(block) if rng.random() < 0.5 else 0) :]


def _drop(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    start = _place(content, rng) if content else 0
    return content[:start] + content[start + int(rng.integers(1, 2000)) :]


def _numbers(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """Replace numbers in text, or 1 to 8 bytes of binary content by extreme ones."""
    found = list(re.finditer(rb"[-+]?\d+(?:\.\d+)?", content[:200_000]))
    if len(found) < 20 or (b"\0" in content[:400] and rng.random() < 0.7):
        return _fields(content, rng, other)
    early = found[: max(40, len(found) // 20)]
    for _ in range(int(rng.integers(1, 4))):
        one = (early if rng.random() < 0.7 else found)[rng.integers(len(early))]
        content = content[: one.start()] + _NUMBERS[rng.integers(len(_NUMBERS))] + content[one.end() :]
    return content


def _fields(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        width = int(rng.choice([1, 2, 4, 8]))
        at = _place(content, rng) & -width if content else 0
        kinds = (b"\xff" * width, b"\0" * width, b"\xff" * (width - 1) + b"\x7f", b"\0" * (width - 1) + b"\x80")
        nan = np.array([np.nan, np.inf, -1e308, 1e300])[rng.integers(4)]
        float_ = (np.float32(nan) if abs(nan) in (np.inf,) or nan != nan else np.float32(3e38)).tobytes()
        chosen = (*kinds, np.float64(nan).tobytes(), float_)[rng.integers(6)]
        damaged[at : at + len(chosen)] = chosen
    return bytes(damaged)


def _splice(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """Join the head of this file to the tail of another."""
    return content[: _place(content, rng) if content else 0] + other[_place(other, rng) if other else 0 :]


def _noise(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    start = _place(content, rng) if content else 0
    noise = rng.bytes(int(rng.integers(1, 300)))
    return content[:start] + noise + content[start + len(noise) :]


_WAYS: dict[str, Callable[[bytes, np.random.Generator, bytes], bytes]] = {
    "flip bits of": _flip,
    "truncate": _truncate,
    "duplicate a block of": _duplicate,
    "drop a block of": _drop,
    "extreme numbers in": _numbers,
    "extreme fields in": _fields,
    "splice": _splice,
    "noise in": _noise,
}
