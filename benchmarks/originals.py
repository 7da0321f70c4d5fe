"""PTB-XL's recordings at 500 Hz as their machines wrote them; the folder's `restored.csv` tells which these are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import wfdb

from dbeta.corpus.sources.ptb_xl import VALIDATION_FOLD


def original_signals(folder: Path, *, held_back: bool, limit: int | None = None) -> Iterator[np.ndarray]:
    """Yield recordings, (12, samples) in mV.

    Args:
        folder: PTB-XL's.
        held_back: those of fold 9, else those of folds 1–8.
        limit: at most so many.
    """
    table = pd.read_csv(folder / "ptbxl_database.csv")
    about = pd.read_csv(folder / "restored.csv").set_index("ecg_id")
    table = table[table["ecg_id"].map((~about["restored"].astype(bool)) & (about["rate"] == 500)).astype(bool)]
    fold = table["strat_fold"]
    table = table[fold == VALIDATION_FOLD if held_back else fold < VALIDATION_FOLD][:limit]
    for name in table["filename_hr"]:
        yield wfdb.rdrecord(str(folder / name)).p_signal.T
