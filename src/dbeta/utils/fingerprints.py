"""Fingerprints: hashes that tell whether a stored result still matches its inputs.

- `checkpoint_fingerprint`: a checkpoint's weights file and input format. Stored in an index and a batch run's plan.
- `ecg_embedding_fingerprint`: how a model in memory embeds ECGs, including precision. Stored in evaluations.
- `text_embedding_fingerprint`: how a checkpoint embeds texts. Stored in `text_embeddings.safetensors`.
- `source_fingerprint`: the records of a raw dataset, in order. Stored in the plan of a corpus build.
- `training_texts_fingerprint`: the texts of a corpus's training split. Stored in its table of negatives.
- `benchmark_fingerprint`: samples, labels and splits of an evaluation. Stored in `metrics.json`.
- `signal_digest`: a prepared signal. Part of the one before, and the name of a cached embedding.
- `names_fingerprint`: the recordings of a batch run, in order. Stored in its plan.
- `run_fingerprint`: everything that determines a fine-tuning run. Part of the name of its folder.

Torch is imported only inside the functions that need it, so that the others run without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Bytes of the digests of recordings and models in evaluations.
DIGEST_SIZE = 16


def checkpoint_fingerprint(weights: Path, input_format: object) -> str:
    """Hash a checkpoint's weights and input format, independently of the precision used.

    The file is hashed instead of the weights in memory, whose folded weight norm depends on the number of threads.

    Args:
        weights: the checkpoint's `model.safetensors`.
        input_format: of the processor; its `repr` is hashed.
    """
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(repr(input_format).encode())
    return digest.hexdigest()


def ecg_embedding_fingerprint(parts: Sequence[Any], config: Any, about: tuple[object, ...]) -> str:
    """Hash how a model in memory embeds ECGs: 32 hexadecimal digits.

    Args:
        parts: the modules that an ECG passes through, in order.
        config: the model's `DBetaConfig`.
        about: anything else that affects the result, such as the precision; its `repr` is hashed.
    """
    import torch

    settings = {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=DIGEST_SIZE)
    digest.update(repr(about).encode())
    for part in parts:
        for name, value in part.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def text_embedding_fingerprint(weights: Path, settings: Sequence[object], tokenizer: Path | None) -> str:
    """Hash how a checkpoint embeds texts: tokenizer, settings, and the first row of each tensor (training changes it).

    Whole tensors are not read, since stored text embeddings serve to skip loading T5.

    Args:
        weights: the checkpoint's `model.safetensors`.
        settings: of the text encoder and the processor, as JSON values.
        tokenizer: the checkpoint's `tokenizer.json`, if it has one.
    """
    from safetensors import safe_open

    digest = hashlib.sha256(json.dumps(list(settings), sort_keys=True, default=str).encode())
    with safe_open(weights, framework="np") as file:
        for name in sorted(name for name in file.keys() if name.startswith("text_")):  # noqa: SIM118
            digest.update(name.encode() + file.get_slice(name)[:1].tobytes())
    if tokenizer is not None:
        digest.update(tokenizer.read_bytes())
    return digest.hexdigest()


def source_fingerprint(table: pd.DataFrame, lists: Iterable[str]) -> str:
    """Hash a table of records, including their order.

    Args:
        table: one row per record.
        lists: names of the columns with lists of strings.
    """
    import pandas as pd

    lists = set(lists)
    digest = hashlib.sha256("\x1f".join(table.columns).encode())
    for name in sorted(table.columns):
        column = table[name]
        if name in lists:
            column = column.map("\x1f".join)
        elif column.dtype.kind not in "fiu":
            column = column.fillna("").astype(str)
        digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def training_texts_fingerprint(tables: Iterable[Any]) -> str:
    """Hash the records of a training split and their texts.

    Args:
        tables: `pyarrow` tables with the columns `record_id`, `report` and `findings`.
    """
    import pyarrow.compute as pc

    digest = hashlib.blake2b(digest_size=16)
    for table in tables:
        table = table.combine_chunks()
        digest.update("\n".join(table["record_id"].to_pylist()).encode() + b"\0")
        digest.update("\n".join(table["report"].to_pylist()).encode() + b"\0")
        # Lists are slow to read, and matter only where they replace a missing report
        lists = table.filter(pc.equal(table["report"], ""))["findings"].to_pylist()
        digest.update(json.dumps([sorted(one) for one in lists]).encode())
    return digest.hexdigest()


def benchmark_fingerprint(
    records: pd.DataFrame, labels: np.ndarray, classes: Sequence[str], digests: Sequence[bytes]
) -> str:
    """Hash the samples, labels and splits of an evaluation, independently of their order: 32 hexadecimal digits.

    Args:
        records: (n rows) with `record_id`, `patient_id` and `split`.
        labels: (n, C).
        classes: (C,) names.
        digests: (n,) of the prepared signals.
    """
    found = hashlib.blake2b(digest_size=16)
    order = np.argsort(records["record_id"].to_numpy(str))
    found.update(repr(classes).encode())
    for i in order:
        row = records.iloc[i]
        found.update(f"{row['record_id']} {row['patient_id']} {row['split']} ".encode())
        found.update(digests[i] + labels[i].tobytes())
    return found.hexdigest()


def signal_digest(signal: np.ndarray) -> bytes:
    """Hash a prepared signal: `DIGEST_SIZE` bytes."""
    return hashlib.blake2b(signal.tobytes(), digest_size=DIGEST_SIZE).digest()


def names_fingerprint(names: Iterable[str]) -> str:
    """Hash names, including their order; file names that are not valid text may be among them."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def run_fingerprint(facts: tuple[object, ...]) -> str:
    """Hash what determines a run, by its `repr`: 16 hexadecimal digits."""
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()
