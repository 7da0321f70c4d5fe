"""The `training` section of a recipe as `transformers.TrainingArguments`, with every value checked against its type."""

from __future__ import annotations

import functools
import sys
import typing
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, StrictBool
from transformers import TrainingArguments

from dbeta.checkpoints.read import fastest_dtype
from dbeta.errors import DBetaError
from dbeta.training.settings import Amount, Positive, Seed, check_value, settings

if typing.TYPE_CHECKING:
    from dbeta.training.recipe import Recipe

STRATEGIES = ("save_strategy", "eval_strategy", "logging_strategy")


@settings()
class _Checked:
    """Settings with a narrower range than their type."""

    seed: Seed = 0
    per_device_train_batch_size: Positive = 8
    gradient_accumulation_steps: Positive = 1
    learning_rate: Amount = 5e-5
    bf16: Annotated[StrictBool | Literal["auto"], Field(description="true, false or auto")] = False


def training_arguments(recipe: Recipe) -> TrainingArguments:
    """A recipe's training settings as `TrainingArguments`.

    Raises:
        DBetaError: a setting is unknown or wrong.
    """
    try:
        typed = check_types(recipe.training)
        if typed.get("bf16") == "auto":
            gpu = torch.cuda.is_available() and not typed.get("use_cpu")
            typed["bf16"] = fastest_dtype(torch.device("cuda" if gpu else "cpu")) == torch.bfloat16
        if not torch.cuda.is_available():
            typed.setdefault("use_cpu", True)
        if typed.get("save_total_limit") == 1:
            typed["save_total_limit"] = 2  # the best and the last; with one, `Trainer` would delete the last
        own = {
            "output_dir": str(Path(recipe.output) / "steps"),
            "report_to": [],
            "train_sampling_strategy": "sequential",  # the stream is shuffled already
            "remove_unused_columns": False,
            "logging_first_step": True,
            "logging_nan_inf_filter": False,
            "disable_tqdm": not sys.stderr.isatty(),
            "dataloader_pin_memory": torch.cuda.is_available(),
        }
        return TrainingArguments(**(own | typed))
    except DBetaError as error:
        raise DBetaError(f"{recipe.where}: training.{error}") from None
    except (TypeError, ValueError) as error:
        raise DBetaError(f"{recipe.where}: invalid training settings ({error})") from None


def check_types(section: Mapping[Any, Any]) -> dict[str, Any]:
    """Check each training setting against the type that `TrainingArguments` declares.

    Args:
        section: the settings; numbers that YAML reads as text, such as 1e-3 without a point, become numbers.

    Returns:
        The settings.

    Raises:
        DBetaError: one is unknown, or its value is of another type or out of range; the message begins with its name.
    """
    typed = {str(key): _typed(str(key), value) for key, value in section.items()}
    _Checked(**{one.name: typed[one.name] for one in fields(_Checked) if one.name in typed})
    return typed


def _typed(key: str, value: Any) -> Any:
    hints = _hints()
    if key not in hints:
        near = get_close_matches(key, hints)
        hint = f"did you mean {' or '.join(near)}?" if near else "see transformers.TrainingArguments"
        raise DBetaError(f"{key} is not a training setting; {hint}")
    if value is None:
        raise DBetaError(f"{key} has no value; give one or leave it out")
    if key in STRATEGIES and value == "epoch":
        raise DBetaError(f"{key} must be steps or no, since a run is a single epoch")
    return value if key == "bf16" else check_value(key, value, hints[key])  # which may also be "auto"


@functools.cache
def _hints() -> dict[str, Any]:
    """The type of each setting."""
    hints = typing.get_type_hints(TrainingArguments)
    return {one.name: hints[one.name] for one in fields(TrainingArguments)}
