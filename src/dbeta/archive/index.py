"""Writes search indexes, which `dbeta.inference.search` reads: unit embeddings and one row per recording."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.inference.search import ABOUT_FILE, FORMAT, RECORDS_FILE, VECTORS_FILE
from dbeta.utils.files import write_text


def write_index(folder: Path, tables: Iterable[Any], dimension: int, fingerprint: str, model: str | None) -> None:
    """Write the files of an index into a folder.

    Args:
        folder: an existing folder.
        tables: `pyarrow` tables with a column `embedding` of vectors of any length.
        dimension: embedding dimension D.
        fingerprint: fingerprint of the model's checkpoint.
        model: the model's name as the user gave it; None for the bundled one.
    """
    import faiss
    import pyarrow.parquet as pq

    vectors = faiss.IndexFlatIP(dimension)
    writer: Any = None
    for table in tables:
        embeds = np.array(table.column("embedding").combine_chunks().flatten(), np.float32)
        embeds = embeds.reshape(-1, dimension)  # (n, D)
        faiss.normalize_L2(embeds)
        vectors.add(embeds)
        names = table.drop_columns(["embedding"])
        writer = writer or pq.ParquetWriter(folder / RECORDS_FILE, names.schema)
        writer.write_table(names)
    writer.close()
    faiss.write_index(vectors, str(folder / VECTORS_FILE))
    about = {"format": FORMAT, "model": model, "fingerprint": fingerprint}
    about |= {"dimension": dimension, "records": vectors.ntotal}
    write_text(folder / ABOUT_FILE, json.dumps(about, indent=1) + "\n")
