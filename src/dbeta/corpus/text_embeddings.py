"""Embeds texts with TF-IDF, which needs no download, or with any transformers or D-BETA text encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dbeta.checkpoints.hub import TEXT_ENCODER_PATTERNS, download
from dbeta.checkpoints.read import fastest_dtype, read_checkpoint
from dbeta.errors import DBetaError
from dbeta.model.embed import embed_texts as embed_dbeta_texts

TFIDF = "tfidf"
#: Dimension that TF-IDF vectors are reduced to.
TFIDF_DIMENSION = 128
#: Longer texts are truncated for a transformer; the longest reports have about 250 tokens.
MAX_TOKENS = 512

Progress = Callable[[int, int], None]


def embed_texts(
    texts: Sequence[str], encoder: str = TFIDF, batch_size: int = 64, progress: Progress | None = None
) -> np.ndarray:
    """Embed texts.

    Args:
        texts: cleaned reports.
        encoder: "tfidf"; or a folder or hub id, either of a transformers text encoder such as "google/flan-t5-small"
            (mean of the encoder's last hidden state over tokens, as in the paper) or of a D-BETA checkpoint (its own
            text embedding).
        batch_size: texts per batch of a transformer.
        progress: called with (texts done, total).

    Returns:
        (n, D) float32 of unit length, or zeros for a text without any word known to TF-IDF.

    Raises:
        DBetaError: the encoder is missing or unusable.
    """
    if batch_size < 1:
        raise DBetaError(f"the batch size must be at least 1, not {batch_size}")
    report = progress or (lambda done, total: None)
    if encoder == TFIDF:
        embeddings = _tfidf(texts)
        report(len(texts), len(texts))
    else:
        embeddings = _by_length(texts, open_encoder(encoder), batch_size, report)
    if not np.isfinite(embeddings).all():
        raise DBetaError(f"{encoder}: produces embeddings that are not finite; its weights are damaged")
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


def _tfidf(texts: Sequence[str]) -> np.ndarray:
    """Embed texts by TF-IDF of words and word pairs and a truncated SVD (latent semantic analysis, Deerwester 1990)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        # Words that occur in one text only do not relate it to others, and are most of the vocabulary
        min_df=2 if len(texts) >= 1000 else 1,
        max_features=100_000,
        token_pattern=r"\b\w+\b",  # single letters are leads and waves: "t waves", "lead v"
        dtype=np.float32,
    )
    words = vectorizer.fit_transform(texts)
    dimension = min(TFIDF_DIMENSION, *words.shape)
    if dimension == min(words.shape):  # too few texts to reduce
        return words.toarray()
    return TruncatedSVD(dimension, random_state=0).fit_transform(words).astype(np.float32)


def _by_length(
    texts: Sequence[str], embed: Callable[[list[str]], np.ndarray], batch_size: int, progress: Progress
) -> np.ndarray:
    """Embed texts of similar length together, so that little of a batch is padding."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
    batches = []
    for start in range(0, len(order), batch_size):
        batches.append(embed([texts[i] for i in order[start : start + batch_size]]))
        progress(min(start + batch_size, len(order)), len(order))
    sorted_embeddings = np.concatenate(batches)
    embeddings = np.empty_like(sorted_embeddings)
    embeddings[order] = sorted_embeddings
    return embeddings


def open_encoder(name: str) -> Callable[[list[str]], np.ndarray]:
    """Open a text encoder from a folder or hub id.

    Returns:
        A function from a batch of texts to (B, D) float32.

    Raises:
        DBetaError: it does not exist or cannot be loaded.
    """
    folder = Path(name).expanduser()
    if not folder.exists() and not name.startswith((".", "/", "~")):
        folder = download(name, TEXT_ENCODER_PATTERNS)
    if not (folder / "config.json").is_file():
        raise DBetaError(f"{name}: not a folder with a config.json; name {TFIDF}, a text encoder's folder or a hub id")
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
        if kind != "dbeta":
            return _open_transformer(folder)
    except ImportError:
        raise
    except Exception as error:  # a damaged file can make the libraries raise anything
        reason = next(iter(str(error).splitlines()), "")[:200].rstrip(".:") or type(error).__name__
        raise DBetaError(f"{name}: cannot be loaded as a text encoder ({reason})") from error
    found = read_checkpoint(folder)
    return partial(embed_dbeta_texts, found.model, found.processor)


def _open_transformer(folder: Path) -> Callable[[list[str]], np.ndarray]:
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = AutoModelForTextEncoding if type(config) in AutoModelForTextEncoding._model_mapping else AutoModel
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, loading = kind.from_pretrained(
        folder, dtype=fastest_dtype(device), local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    # The pooler is unused, and many checkpoints lack it
    if missing := sorted(key for key in loading["missing_keys"] if "pooler" not in key):
        raise ValueError(f"its weights lack {len(missing)} tensors, such as {missing[0]}")
    encoder: Any = model.get_encoder() if getattr(config, "is_encoder_decoder", False) else model
    encoder = encoder.eval().to(device)
    length = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or MAX_TOKENS, MAX_TOKENS)

    def embed(texts: list[str]) -> np.ndarray:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt").to(device)
        with torch.inference_mode():
            states = encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
            mask = tokens.attention_mask[..., None]  # (B, T, 1)
            return ((states.float() * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu().numpy()

    return embed
