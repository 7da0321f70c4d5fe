"""Downloads a checkpoint from the Hugging Face hub into the hub's cache."""

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

#: Configurations, tokenizers of any kind, and the weights that `load` reads.
PATTERNS = ["*.json", "*.model", "model.safetensors", "reference_panel.safetensors", "text_embeddings.safetensors"]
#: The same for any text encoder; weights only as safetensors, which cannot run code.
TEXT_ENCODER_PATTERNS = ["*.json", "*.model", "*.txt", "model*.safetensors"]
#: Timeout in seconds for the hub's first answer.
TIMEOUT = 10.0


def download(name: str, patterns: Sequence[str] = PATTERNS) -> Path:
    """Download a model unless it is cached; use the cached version where the hub fails.

    Args:
        name: hub id, such as "org/name".
        patterns: files to download.

    Returns:
        The model's folder in the cache.

    Raises:
        DBetaError: `name` is not a hub id, or the model is not cached and the hub is unreachable or denies access.
    """
    try:
        # Called first for its timeout: `snapshot_download` hangs in a network that drops packets
        HfApi().model_info(name, timeout=TIMEOUT)
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:  # from the hub, its HTTP library or the disk
        try:
            return Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
        except Exception:
            raise DBetaError(f"{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Explain the failure, and what to do about it."""
    if isinstance(error, HFValidationError):
        return "is neither a folder nor a hub id; name a checkpoint folder, or a model on the hub as org/name"
    if isinstance(error, OfflineModeIsEnabled):
        return "is not a folder, and HF_HUB_OFFLINE disables the hub; unset it or name a folder"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        return "access to this model must be requested; request it on the model's page, then run `hf auth login`"
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        return "is not a folder, and the hub has no such model; check the name, or log in with `hf auth login`"
    if status is not None:
        return f"is not a folder, and the hub answered with an error ({status}); try again later or name a folder"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return f"cannot be stored in the hub's cache ({error.strerror}); free some space, or set another HF_HOME"
    return "is not a folder, and the hub is unreachable; check the network or name a folder"
