"""The `model` section of a recipe, and the checkpoint it may start from, as a `DBetaConfig`."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

from dbeta.checkpoints.names import BUNDLED
from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.model.config import PRESETS
from dbeta.model.losses import LOSSES
from dbeta.training.recipe import Recipe
from dbeta.training.settings import check_value


def make_config(recipe: Recipe) -> DBetaConfig:
    """The configuration that a recipe describes.

    Raises:
        DBetaError: a setting is unknown or impossible.
    """
    start = recipe.start_folder
    settings = {} if start is None else read_start(start)
    if start is not None and recipe.text_encoder is not None:
        raise DBetaError(f"{recipe.where}: start_from brings its own text encoder; leave text_encoder out")
    if recipe.start_share and start is None:
        raise DBetaError(f"{recipe.where}: start_share needs start_from; name a checkpoint to start from")
    changes = _model_settings(recipe)
    try:
        config = PRESETS[recipe.preset](**changes) if start is None else DBetaConfig.from_dict(settings | changes)
    except Exception as error:  # transformers checks T5's settings with exceptions of its own
        raise DBetaError(f"{recipe.where}: invalid model settings ({one_line(error)})") from None
    for name in ("ecg_layers", "ecg_heads", "fusion_layers", "fusion_heads", "mem_layers", "mem_heads", "hidden_size"):
        count = getattr(config, name)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise DBetaError(f"{recipe.where}: model.{name} must be a whole number of at least 1, not {count!r}")
    if config.n_kept_tokens < 1:
        raise DBetaError(f"{recipe.where}: model.ecg_mask_ratio masks every token of a recording; lower it")
    return config


def make_model(recipe: Recipe, config: DBetaConfig) -> DBetaModel:
    """A new model with initial weights.

    Raises:
        DBetaError: the sizes do not fit together.
    """
    try:
        return DBetaModel(config)
    except Exception as error:  # whatever a layer of torch or transformers makes of wrong sizes
        raise DBetaError(f"{recipe.where}: invalid model settings ({one_line(error)})") from None


def one_line(error: Exception) -> str:
    """The message of an exception in one line, shortened."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _model_settings(recipe: Recipe) -> dict[str, Any]:
    """The `model` section of a recipe, each value checked against the type that `DBetaConfig` declares."""
    hints = {"faithful": bool} | typing.get_type_hints(DBetaConfig.__init__)
    checked: dict[str, Any] = {}
    for name, value in recipe.model.items():
        if name not in hints or name == "return":  # `PretrainedConfig` would silently accept it
            raise DBetaError(f"{recipe.where}: unknown model setting {name!r}")
        try:
            checked[name] = value if name == "text_config" else check_value(name, value, hints[name])
        except DBetaError as error:
            raise DBetaError(f"{recipe.where}: model.{error}") from None
    for name in checked.get("loss_weights") or {}:
        if name not in LOSSES:
            raise DBetaError(f"{recipe.where}: model.loss_weights has no {name!r}; choose from {', '.join(LOSSES)}")
    return checked


def read_start(folder: Path) -> dict[str, Any]:
    """The configuration of the checkpoint that a recipe starts from.

    Raises:
        DBetaError: the folder is not a checkpoint.
    """
    config, weights = folder / "config.json", folder / "model.safetensors"
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DBetaError(
            f"start_from: {config}: cannot be read ({error}); name the folder of a checkpoint, "
            f"or {' or '.join(BUNDLED)}"
        ) from None
    if not isinstance(settings, dict) or not weights.is_file():
        raise DBetaError(f"start_from: {folder}: not a checkpoint; name a folder written by `dbeta pretrain`")
    return settings
