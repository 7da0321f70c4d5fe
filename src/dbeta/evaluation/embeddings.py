"""Embeds a benchmark's recordings, reading each once for all models and caching the embeddings.

The cache is keyed by the prepared samples and by the model (weights, configuration, precision), so an embedding is
recomputed exactly when one of them changes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from dbeta.errors import DBetaError, DBetaWarning
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.benchmarks.readers import Prepared, prepare_record
from dbeta.inference.dbeta import DBeta
from dbeta.inference.loader import AHEAD, FEWEST_FILES
from dbeta.signal.preprocess import InputFormat
from dbeta.utils.files import replacing
from dbeta.utils.fingerprints import DIGEST_SIZE
from dbeta.utils.workers import KILLED, default_workers, map_in_workers

Progress = Callable[[int, int], None]


@dataclass
class Embedded:
    """Embeddings of the readable records of a benchmark.

    Attributes:
        benchmark: the benchmark, reduced to the records that could be read.
        embeds: name of a model → (records, D) float32, not normalised.
        digests: hash of each record's samples; equal for copies of the same recording.
        unread: record id → why it could not be read.
    """

    benchmark: Benchmark
    embeds: dict[str, np.ndarray]
    digests: list[bytes]
    unread: dict[str, str]


def default_cache() -> Path:
    """Return the default cache of embeddings: `dbeta/embeddings` in the user's cache folder (XDG_CACHE_HOME)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbeta" / "embeddings"


def embed_benchmark(
    models: Mapping[str, DBeta],
    benchmark: Benchmark,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Embedded:
    """Embed every record of a benchmark with each model.

    Args:
        models: by name.
        benchmark: benchmark with the splits that are needed.
        cache: folder in which embeddings are cached between runs; None for no cache.
        progress: called with (records done, total).
        workers: reader processes; by default one per core for large benchmarks, otherwise none.

    Raises:
        DBetaError: no test record is readable, or a model's embeddings are not finite.
    """
    formats = list(dict.fromkeys(model.processor.input_format for model in models.values()))
    jobs = {
        name: _Job(name, model, formats.index(model.processor.input_format), cache) for name, model in models.items()
    }

    def use(one: Prepared) -> None:
        for job in jobs.values():
            job.add(one)

    try:
        done, digests, unread = _read_all(benchmark, formats, use, progress, workers)
    finally:
        # Caches what an interrupted run has embedded
        for job in jobs.values():
            job.finish()
    return Embedded(benchmark.take(done), {name: job.table() for name, job in jobs.items()}, digests, unread)


def read_signals(
    benchmark: Benchmark,
    wanted: InputFormat,
    file: Path,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> tuple[Embedded, np.ndarray]:
    """Prepare every record of a benchmark into a memory-mapped file.

    Args:
        benchmark: benchmark with the splits that are needed.
        wanted: the model's input format.
        file: to write; 2 bytes per sample.
        progress: as for `embed_benchmark`.
        workers: as for `embed_benchmark`.

    Returns:
        The readable records, without embeddings, and (records, leads, samples) float16.

    Raises:
        DBetaError: no test record is readable.
    """
    shape = len(benchmark), len(wanted.leads), wanted.n_samples
    signals = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
    count = 0

    def use(one: Prepared) -> None:
        nonlocal count
        signals[count] = one.signals[0]
        count += 1

    done, digests, unread = _read_all(benchmark, [wanted], use, progress, workers)
    signals.flush()
    return Embedded(benchmark.take(done), {}, digests, unread), signals[:count]


def _read_all(
    benchmark: Benchmark,
    formats: Sequence[InputFormat],
    use: Callable[[Prepared], None],
    progress: Progress | None,
    workers: int | None,
) -> tuple[list[int], list[bytes], dict[str, str]]:
    """Call `use` with each readable record.

    Returns:
        Row numbers and digests of the readable records; record id → error of the others.
    """
    if workers is None:
        workers = default_workers() if len(benchmark) >= FEWEST_FILES else 0
    prepare = partial(prepare_record, reader=benchmark.reader, formats=formats)
    rows: Any = benchmark.records.to_dict("records")
    done: list[int] = []
    digests: list[bytes] = []
    unread: dict[str, str] = {}

    def killed(row: dict[str, Any]) -> Prepared:
        return Prepared([], [], KILLED)

    prepared = map_in_workers(prepare, rows, workers=workers, ahead=AHEAD, killed=killed)
    for i, (row, one) in enumerate(zip(rows, prepared, strict=True)):
        if one.error is not None:
            unread[str(row["record_id"])] = one.error
        else:
            done.append(i)
            digests.append(one.digests[0])
            use(one)
        if progress is not None:
            progress(i + 1, len(rows))
    if not (benchmark.records["split"].to_numpy()[done] == "test").any():
        reason = next(iter(unread.values()), "there is none")
        raise DBetaError(f"{benchmark.name}: no test recording is readable ({reason})")
    return done, digests, unread


class _Job:
    """Collects the embeddings of one model in the order of the records, from the cache where possible."""

    def __init__(self, name: str, model: DBeta, which: int, cache: Path | None) -> None:
        self.name, self.model, self.which = name, model, which
        self.file = None if cache is None else cache / f"{model.ecg_embedding_fingerprint()}.safetensors"
        self.known = _read_cache(self.file, model.model.config.hidden_size)
        self.before = len(self.known)
        self.order: list[bytes] = []
        self.waiting: dict[bytes, np.ndarray] = {}

    def add(self, one: Prepared) -> None:
        digest = one.digests[self.which]
        self.order.append(digest)
        if digest not in self.known:
            self.waiting[digest] = one.signals[self.which]
            if len(self.waiting) == self.model.batch_size:
                self._embed()

    def _embed(self) -> None:
        if self.waiting:
            embeds = self.model.embed_signals(list(self.waiting.values()))
            if not np.isfinite(embeds).all():
                raise DBetaError(f"{self.name}: its embeddings are not finite; its weights are damaged")
            self.known.update(zip(self.waiting, embeds, strict=True))
            self.waiting = {}

    def finish(self) -> None:
        self._embed()
        if self.file is not None and len(self.known) > self.before:
            _write_cache(self.file, self.known)

    def table(self) -> np.ndarray:
        return np.stack([self.known[digest] for digest in self.order])


def _read_cache(file: Path | None, dimension: int) -> dict[bytes, np.ndarray]:
    if file is None or not file.is_file():
        return {}
    try:
        tensors = load_file(file)
        keys, embeds = tensors["keys"], tensors["embeds"]
    except Exception:  # a damaged cache is ignored
        return {}
    if keys.shape != (len(embeds), DIGEST_SIZE) or embeds.shape[1:] != (dimension,):
        return {}
    return {key.tobytes(): row for key, row in zip(keys, embeds, strict=True)}


def _write_cache(file: Path, known: Mapping[bytes, np.ndarray]) -> None:
    keys = np.frombuffer(b"".join(known), np.uint8).reshape(len(known), DIGEST_SIZE)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            save_file({"keys": keys.copy(), "embeds": np.stack(list(known.values()))}, partial)
    except OSError as error:
        warnings.warn(f"{file}: embeddings could not be cached ({error.strerror})", DBetaWarning, stacklevel=2)


def repeated_recordings(digests: Sequence[bytes], splits: Iterable[str]) -> np.ndarray:
    """Find records of training and validation whose recording is also in the test split: their row numbers."""
    splits = list(splits)
    test = {digest for digest, split in zip(digests, splits, strict=True) if split == "test"}
    pairs = enumerate(zip(digests, splits, strict=True))
    return np.array([i for i, (digest, split) in pairs if split != "test" and digest in test], dtype=int)
