"""Benchmarks that models are evaluated on: records, labels, prompts and splits.

To add a benchmark, write a function from the dataset's folder to a `Benchmark` (see `base`) in a module of this folder,
and add it to `BENCHMARKS` in `dbeta.evaluation.catalog` under the NAME used in `dbeta evaluate TASK NAME`. Each class
needs a condition: list the benchmark's labels under `labels` in `conditions.yaml`, and look them up with
`condition_of_label`.
"""

from __future__ import annotations

from pathlib import Path

from dbeta.corpus.store import is_corpus
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, add_groups
from dbeta.evaluation.benchmarks.from_corpus import load_from_corpus
from dbeta.evaluation.benchmarks.merl import load_merl
from dbeta.evaluation.catalog import BENCHMARKS, CORPUS

__all__ = ["BENCHMARKS", "CORPUS", "Benchmark", "add_groups", "load_benchmark"]


def load_benchmark(
    name: str,
    raw: Path,
    fold: int | None = None,
    *,
    protocol: str = "corrected",
    split_file: Path | None = None,
    subset_ok: bool = False,
) -> Benchmark:
    """Load a benchmark by name.

    Args:
        name: one of `BENCHMARKS`, or "corpus".
        raw: the dataset's folder as downloaded, or a corpus built from it.
        fold: official fold of PTB-XL to test on (see `load_ptb_xl`).
        protocol: "corrected", or "merl" for MERL's splits, labels and quirks.
        split_file: MERL's, for that.
        subset_ok: accept missing recordings.

    Raises:
        DBetaError: the name or protocol is unknown, or `raw` does not contain the dataset.
    """
    if name not in BENCHMARKS and name != CORPUS:
        raise DBetaError(f"{name}: unknown benchmark; choose one of {', '.join([*BENCHMARKS, CORPUS])}")
    if protocol not in ("corrected", "merl"):
        raise DBetaError(f"{protocol}: unknown protocol; choose corrected or merl")
    if not raw.is_dir():
        raise DBetaError(f"{raw}: no such folder; name the folder of the dataset as downloaded")
    folds = name in BENCHMARKS and BENCHMARKS[name].official_folds
    if fold is not None and (not folds or protocol == "merl" or is_corpus(raw)):
        raise DBetaError(f"{raw}: not PTB-XL's own folder with its official folds; leave out --fold")
    if (protocol == "merl") != (split_file is not None):
        raise DBetaError("MERL's protocol needs its split file: give --protocol merl and --split-file together")
    benchmark = _load(name, raw, fold, split_file, subset_ok)
    if not len(benchmark.rows("test")):
        raise DBetaError(f"{raw}: has no labelled test records of {name}")
    if name in BENCHMARKS:
        benchmark.dataset = BENCHMARKS[name].dataset
        benchmark.sources |= {benchmark.dataset, *BENCHMARKS[name].included_in}
    return benchmark


def _load(name: str, raw: Path, fold: int | None, split_file: Path | None, subset_ok: bool) -> Benchmark:
    if is_corpus(raw):
        if split_file is not None:
            raise DBetaError(f"{raw}: is a corpus; MERL's protocol needs the dataset's folder as downloaded")
        return load_from_corpus(name, raw)
    if name == CORPUS:
        raise DBetaError(f"{raw}: not a corpus; create one with `dbeta corpus build`")
    if split_file is not None:
        return load_merl(name, raw, split_file, subset_ok=subset_ok)
    entry = BENCHMARKS[name]
    folds = {"fold": fold, "subset_ok": subset_ok} if entry.official_folds else {}
    return entry.load(raw, **entry.options, **folds)
