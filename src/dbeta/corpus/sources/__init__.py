"""The datasets that corpora are built from.

To add a dataset, write `sources/NAME.py` with a function from the dataset's folder to a `Source` (see `base`): a table
with one row per record, the vocabulary of findings, and the split rule. Add it to `SOURCES` under the NAME used in
`dbeta corpus build NAME`. Signals are not read here: `dbeta.corpus.build` reads each row's `file` with `read_ecg`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dbeta.corpus.sources.base import Source
from dbeta.corpus.sources.challenge_2021 import read_challenge_2021
from dbeta.corpus.sources.code_15 import read_code_15
from dbeta.corpus.sources.manifest import read_manifest
from dbeta.corpus.sources.mimic_iv_ecg import read_mimic_iv_ecg
from dbeta.corpus.sources.ptb_xl import read_ptb_xl

#: Name on the command line → function that reads the dataset's tables.
SOURCES: dict[str, Callable[[Path], Source]] = {
    "ptb-xl": read_ptb_xl,
    "mimic-iv-ecg": read_mimic_iv_ecg,
    "challenge-2021": read_challenge_2021,
    "code-15": read_code_15,
    "manifest": read_manifest,
}
