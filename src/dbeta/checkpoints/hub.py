"""A hub id → a folder: a checkpoint's files from the Hugging Face hub, downloaded once into the hub's own cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from dbeta.errors import DBetaError

#: Configurations and tokenizers of every kind; of the weights only what `load` reads.
PATTERNS = ["*.json", "*.model", "model.safetensors", "reference_panel.safetensors", "text_embeddings.safetensors"]
#: The same for any text encoder; weights only in safetensors, which cannot run code.
TEXT_ENCODER_PATTERNS = ["*.json", "*.model", "*.txt", "model*.safetensors"]
#: Seconds the hub has for its first answer.
PATIENCE = 10.0


def download(name: str, patterns: Sequence[str] = PATTERNS) -> Path:
    """The folder of a model on the hub, downloaded unless it is in the cache; where the hub fails, as the cache has it.

    Args:
        name: hub id, such as "org/name".
        patterns: files to get.

    Raises:
        DBetaError: this is no hub id, or the model is not in the cache and the hub cannot be reached or refuses it.
    """
    try:
        # Asked first because it takes a time limit: in a network that swallows packets, `snapshot_download` never ends
        HfApi().model_info(name, timeout=PATIENCE)
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:  # of the hub, of its HTTP library, of the disk
        try:
            return Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
        except Exception:
            raise DBetaError(f"{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What stood in the way, and what to do about it."""
    if isinstance(error, HFValidationError):
        return "is neither a folder here nor a hub id; name a checkpoint folder, or a model of the hub as org/name"
    if isinstance(error, OfflineModeIsEnabled):
        return "is no folder here, and HF_HUB_OFFLINE keeps the hub out of reach; unset it or name a folder"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        return "the hub gives this model only to those who asked for it; ask on its page, then run `hf auth login`"
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        return "is no folder here, and the hub shows no such model; check the name, or log in with `hf auth login`"
    if status is not None:
        return f"is no folder here, and the hub answered with an error ({status}); try again later or name a folder"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return f"cannot be kept in the hub's cache ({error.strerror}); make room, or set HF_HOME to another folder"
    return "is no folder here, and the hub cannot be reached; check the network or name a folder"
