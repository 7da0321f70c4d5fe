"""An index of recordings that words are looked up in: a folder of unit embeddings and the names that belong to them.

`index.faiss` holds the embeddings (exact inner product, which of unit vectors is the cosine), `records.parquet` a row
for each, and `index.json` which model made them: no other model can search in it.
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
    """Recordings to search in.

    Args:
        vectors: a FAISS index of unit embeddings (n, D).
        records: (n rows) with the columns `file` and `record`.
        about: what `index.json` says.
        folder: where it lies, for messages.
    """

    def __init__(self, vectors: Any, records: pd.DataFrame, about: dict[str, Any], folder: Path) -> None:
        """Keep the parts together."""
        self.vectors, self.records, self.about, self.folder = vectors, records, about, folder

    def __len__(self) -> int:
        """How many recordings it holds."""
        return len(self.records)

    @classmethod
    def load(cls, folder: str | Path) -> Index:
        """Load what `dbeta index` wrote.

        Raises:
            DBetaError: the folder is no index or is damaged.
        """
        import faiss

        folder = Path(folder)
        about = read_about(folder)
        try:
            vectors = faiss.read_index(str(folder / VECTORS_FILE))
            records = pd.read_parquet(folder / RECORDS_FILE)
        except Exception as error:  # a damaged file can make the libraries raise anything
            raise DBetaError(f"{folder}: cannot be read as an index; make it again with `dbeta index`") from error
        if not (vectors.ntotal == len(records) == about.get("records") and vectors.d == about.get("dimension")):
            raise DBetaError(f"{folder}: its files do not belong together; make it again with `dbeta index`")
        return cls(vectors, records, about, folder)

    def check(self, fingerprint: str) -> None:
        """Refuse a model that did not make this index.

        Args:
            fingerprint: of the model's checkpoint (`DBeta.checkpoint_fingerprint`).

        Raises:
            DBetaError: the index is of another model.
        """
        if self.about.get("fingerprint") != fingerprint:
            made_by = self.about.get("model") or "the bundled one or one without a name"
            raise DBetaError(
                f"{self.folder}: was made by another model ({made_by}), whose embeddings are not comparable; name that "
                "model, or make the index again"
            )

    def nearest(self, direction: np.ndarray, k: int = 10) -> pd.DataFrame:
        """The recordings nearest to a direction.

        Args:
            direction: (D,) of unit length.
            k: how many; fewer where the index has fewer.

        Returns:
            The columns of `records` and `score`, the cosine; best first.
        """
        if k < 1:
            raise DBetaError(f"the number of recordings to find (-k) is at least 1, not {k}")
        if not len(self):
            return self.records.assign(score=np.zeros(0))
        query = np.ascontiguousarray(direction[None], np.float32)
        scores, rows = self.vectors.search(query, min(k, len(self)))
        return self.records.iloc[rows[0]].assign(score=scores[0].astype(float)).reset_index(drop=True)


def read_about(folder: Path) -> dict[str, Any]:
    """What `index.json` says.

    Raises:
        DBetaError: the folder is no index, or one of another version.
    """
    about = load_json(folder / ABOUT_FILE)
    if not isinstance(about, dict):
        raise DBetaError(f"{folder}: is no index; make one with `dbeta index`")
    if about.get("format") != FORMAT:
        raise DBetaError(f"{folder}: was made by another version of dbeta; make it again with `dbeta index`")
    return about
