"""Searches an index of recordings: a folder of unit embeddings and the recordings' names.

`index.faiss` holds the embeddings (exact inner product, the cosine for unit vectors), `records.parquet` one row per
recording, and `index.json` the model that computed them, the only one that can search the index.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dbeta.errors import DBetaError
from dbeta.utils.files import load_json

FORMAT = 1
VECTORS_FILE, RECORDS_FILE, ABOUT_FILE = "index.faiss", "records.parquet", "index.json"


class Index:
    """A loaded index.

    Args:
        vectors: a FAISS index of unit embeddings (n, D).
        records: (n rows) with the columns `file` and `record`.
        about: contents of `index.json`.
        folder: for error messages.
    """

    def __init__(self, vectors: Any, records: pd.DataFrame, about: dict[str, Any], folder: Path) -> None:
        """Store the parts."""
        self.vectors, self.records, self.about, self.folder = vectors, records, about, folder

    def __len__(self) -> int:
        """Number of recordings."""
        return len(self.records)

    @classmethod
    def load(cls, folder: str | Path) -> Index:
        """Load an index that `dbeta index` wrote.

        Raises:
            DBetaError: the folder is not an index, or is damaged.
        """
        import faiss

        folder = Path(folder)
        about = read_about(folder)
        try:
            vectors = faiss.read_index(str(folder / VECTORS_FILE))
            records = pd.read_parquet(folder / RECORDS_FILE)
        except Exception as error:  # a damaged file can make the libraries raise anything
            raise DBetaError(f"{folder}: the index cannot be read; rebuild it with `dbeta index`") from error
        if not (vectors.ntotal == len(records) == about.get("records") and vectors.d == about.get("dimension")):
            raise DBetaError(f"{folder}: index files are inconsistent; rebuild it with `dbeta index`")
        return cls(vectors, records, about, folder)

    def check(self, fingerprint: str) -> None:
        """Check that a model is the one that built this index.

        Args:
            fingerprint: of the model's checkpoint (`DBeta.checkpoint_fingerprint`).

        Raises:
            DBetaError: it is another model.
        """
        if self.about.get("fingerprint") != fingerprint:
            made_by = self.about.get("model") or "the bundled one"
            raise DBetaError(
                f"{self.folder}: was built with another model ({made_by}), whose embeddings are not comparable; use "
                "that model, or rebuild the index"
            )

    def nearest(self, direction: np.ndarray, k: int = 10) -> pd.DataFrame:
        """Find the recordings nearest to a direction.

        Args:
            direction: (D,) of unit length.
            k: number of recordings to return.

        Returns:
            The columns of `records` and `score`, the cosine; best first.
        """
        if k < 1:
            raise DBetaError(f"the number of recordings to find (-k) must be at least 1, not {k}")
        if not len(self):
            return self.records.assign(score=np.zeros(0))
        query = np.ascontiguousarray(direction[None], np.float32)
        scores, rows = self.vectors.search(query, min(k, len(self)))
        return self.records.iloc[rows[0]].assign(score=scores[0].astype(float)).reset_index(drop=True)


def read_about(folder: Path) -> dict[str, Any]:
    """Read `index.json`.

    Raises:
        DBetaError: the folder is not an index, or one of another version.
    """
    about = load_json(folder / ABOUT_FILE)
    if not isinstance(about, dict):
        raise DBetaError(f"{folder}: is not an index; build one with `dbeta index`")
    if about.get("format") != FORMAT:
        raise DBetaError(f"{folder}: was built by another version of dbeta; rebuild it with `dbeta index`")
    return about
