"""What each kind of dataset says of its records, as one table (see `dbeta.corpus.sources.base`).

A new source is a function of a path that returns a `Source`, and a line in `SOURCES`.
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

SOURCES: dict[str, Callable[[Path], Source]] = {
    "ptb-xl": read_ptb_xl,
    "mimic-iv-ecg": read_mimic_iv_ecg,
    "challenge-2021": read_challenge_2021,
    "code-15": read_code_15,
    "manifest": read_manifest,
}
