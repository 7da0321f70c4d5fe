"""The benchmarks that models are evaluated on: records, labels, prompts and splits.

To add a benchmark, write a function from the dataset's folder to a `Benchmark` (see `base`) in a module of this folder,
and add it to `BENCHMARKS` under the NAME used in `dbeta evaluate TASK NAME`. Each class needs a condition: list the
benchmark's labels under `labels` in `conditions.yaml`, and look them up with `condition_of_label`. Name its dataset in
`_DATASETS`, so that reports can tell models that were pretrained on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dbeta.corpus.store import is_corpus
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, add_groups
from dbeta.evaluation.benchmarks.challenge_2021 import load_challenge_2021
from dbeta.evaluation.benchmarks.code import load_code_15, load_code_15_demographics, load_code_test
from dbeta.evaluation.benchmarks.cpsc2018_csn import load_cpsc2018, load_csn
from dbeta.evaluation.benchmarks.from_corpus import load_from_corpus
from dbeta.evaluation.benchmarks.merl import load_merl
from dbeta.evaluation.benchmarks.ptb_xl import TASKS, load_ptb_xl

__all__ = ["BENCHMARKS", "CORPUS", "Benchmark", "add_groups", "load_benchmark"]

#: Name on the command line → function that loads the benchmark from the dataset's folder.
BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    **{f"ptb-xl-{task}": partial(load_ptb_xl, task=task) for task in TASKS},
    "cpsc2018": load_cpsc2018,
    "csn": load_csn,
    "code-test": load_code_test,
    "code-15": load_code_15,
    "code-15-demographics": load_code_15_demographics,
    "challenge-2021": load_challenge_2021,
}
#: Name of the benchmark made from any built corpus.
CORPUS = "corpus"


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
        DBetaError: the name or protocol is unknown, or `raw` does not hold the dataset.
    """
    if name not in BENCHMARKS and name != CORPUS:
        raise DBetaError(f"{name}: unknown benchmark; choose one of {', '.join([*BENCHMARKS, CORPUS])}")
    if protocol not in ("corrected", "merl"):
        raise DBetaError(f"{protocol}: unknown protocol; choose corrected or merl")
    if not raw.is_dir():
        raise DBetaError(f"{raw}: no such folder; name the folder of the dataset as downloaded")
    if fold is not None and (not name.startswith("ptb-xl-") or protocol == "merl" or is_corpus(raw)):
        raise DBetaError(f"{raw}: is not PTB-XL's own folder with its official folds; leave out --fold")
    if (protocol == "merl") != (split_file is not None):
        raise DBetaError("MERL's protocol needs its split file: give --protocol merl and --split-file together")
    benchmark = _load(name, raw, fold, split_file, subset_ok)
    if not len(benchmark.rows("test")):
        raise DBetaError(f"{raw}: has no labelled test records of {name}")
    dataset, supersets = next((found for start, found in _DATASETS.items() if name.startswith(start)), ("", ()))
    if dataset:
        benchmark.dataset = dataset
        benchmark.sources |= frozenset([dataset, *supersets])
    return benchmark


#: Prefix of a benchmark's name → its dataset, and other datasets that include its recordings.
_DATASETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ptb-xl": ("ptb-xl", ("challenge-2021",)),
    "cpsc2018": ("cpsc2018", ("challenge-2021",)),
    "csn": ("csn", ("challenge-2021",)),
    "challenge-2021": ("challenge-2021", ()),
    "code-15": ("code-15", ()),
    "code-test": ("code-test", ()),
}


def _load(name: str, raw: Path, fold: int | None, split_file: Path | None, subset_ok: bool) -> Benchmark:
    if is_corpus(raw):
        if split_file is not None:
            raise DBetaError(f"{raw}: is a corpus; MERL's protocol needs the dataset's folder as downloaded")
        return load_from_corpus(name, raw)
    if name == CORPUS:
        raise DBetaError(f"{raw}: not a corpus; create one with `dbeta corpus build`")
    if split_file is not None:
        return load_merl(name, raw, split_file, subset_ok=subset_ok)
    if name.startswith("ptb-xl-"):
        return BENCHMARKS[name](raw, fold=fold, subset_ok=subset_ok)
    return BENCHMARKS[name](raw)
