"""Embeddings of the default conditions' prompts, stored beside the weights.

They let `dbeta diagnose` answer without loading the text encoder, and are ignored if made by other weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dbeta.checkpoints.names import TEXTS_FILE, WEIGHTS_FILE
from dbeta.conditions.registry import default_conditions
from dbeta.model.config import DBetaConfig
from dbeta.model.dual_encoder import DualEncoder
from dbeta.model.embed import embed_texts
from dbeta.model.processor import DBetaProcessor
from dbeta.utils.files import replacing
from dbeta.utils.fingerprints import text_embedding_fingerprint


def save_text_embeddings(folder: Path) -> None:
    """Embed the default conditions' prompts with a checkpoint, and store the embeddings in its folder."""
    (folder / TEXTS_FILE).unlink(missing_ok=True)
    config, processor = DBetaConfig.from_pretrained(folder), DBetaProcessor.from_pretrained(folder)
    model = DualEncoder(config, folder / WEIGHTS_FILE, torch.device("cpu"), torch.float32)
    texts = list(dict.fromkeys(prompt for condition in default_conditions() for prompt in condition.prompts))
    embeds = torch.from_numpy(embed_texts(model, processor, texts))  # (n, D)
    about = {"texts": json.dumps(texts), "made_from": fingerprint_of_texts(folder, config, processor)}
    with replacing(folder / TEXTS_FILE) as partial:
        save_file({"text_embeds": embeds}, partial, metadata=about)


def read_text_embeddings(file: Path | None, made_from: str) -> dict[str, np.ndarray]:
    """Read the stored embeddings.

    Args:
        file: `text_embeddings.safetensors`, or None.
        made_from: fingerprint of the checkpoint (`fingerprint_of_texts`).

    Returns:
        Text → (D,) embedding; empty without a file, or where other weights made it.
    """
    if file is None:
        return {}
    with safe_open(file, framework="pt") as content:
        about = content.metadata() or {}
        if about.get("made_from") != made_from:
            return {}
        embeds = content.get_tensor("text_embeds").numpy()
    return dict(zip(json.loads(about["texts"]), embeds, strict=True))


def fingerprint_of_texts(folder: Path, config: DBetaConfig, processor: DBetaProcessor) -> str:
    """Compute the fingerprint of everything that determines text embeddings (see `text_embedding_fingerprint`)."""
    settings = [config.text_config.to_dict(), config.text_attention_mask]
    settings += [processor.max_text_tokens, processor.lower_case]
    tokenizer = folder / "tokenizer.json"
    return text_embedding_fingerprint(folder / WEIGHTS_FILE, settings, tokenizer if tokenizer.is_file() else None)
