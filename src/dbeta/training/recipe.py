"""A recipe: one YAML file that says all of a training run."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import TrainingArguments

from dbeta.checkpoints.read import fastest_dtype, named_folder
from dbeta.errors import DBetaError
from dbeta.model.config import PRESETS

#: What a recipe's key holds, in words.
KINDS = {str: "a name", dict: "settings of its own"}
#: In the place of a corpus's folder: ECGs that are simulated as they are asked for.
SIMULATED = "simulated"
CHOICES = {"schedule": ("three_stage",), "matrices": ("muon",)}
STRATEGIES = ("save_strategy", "eval_strategy", "logging_strategy")


@dataclass
class Recipe:
    """A training run.

    Attributes:
        preset: model sizes, "tiny" or "base".
        corpus: folder made by `dbeta corpus build`, or several with the weight of each in what is drawn; "simulated"
            in the place of a folder are ECGs that are simulated as they are asked for.
        simulation: of those, `records`, `seed`, `mix`, `untold` (`SimulatedRows`) and `validation`, the number of
            further records to validate on, 0 for none.
        validation: corpus whose validation split is measured on; None: those of `corpus`.
        output: folder for the checkpoint.
        tokenizer: "train" (on the training split), or a folder or hub id.
        text_encoder: folder or hub id of pretrained T5 weights; None trains it from nothing.
        start_from: folder of a checkpoint to go on from, or "tiny" or "tiny-sim", with its sizes and its tokenizer in
            the place of `preset` and `tokenizer`; None begins from nothing.
        start_share: how much of that checkpoint's weights is in the result, 0 to below 1; the rest is of the step that
            was kept. What the start knew of others' recordings is forgotten less (WiSE-FT, Wortsman et al. 2022).
        negatives: where misaligned texts come from: "n3s" (`dbeta corpus negatives`) or "batch".
        model: changes to the preset (`DBetaConfig`; `faithful: true` for the published switches).
        collator: arguments of `PretrainCollator`.
        optimizer: `Optimization`.
        training: arguments of `transformers.TrainingArguments`; `bf16: auto` where the processor has units for it.
    """

    preset: str = "tiny"
    corpus: str | dict[str, float] = "runs/corpus/ptb-xl"
    validation: str | None = None
    simulation: dict[str, Any] = field(default_factory=dict)
    output: str = "runs/tiny"
    tokenizer: str = "train"
    text_encoder: str | None = None
    start_from: str | None = None
    start_share: float = 0.0
    negatives: str = "batch"
    model: dict[str, Any] = field(default_factory=dict)
    collator: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def corpora(self) -> dict[Path, float]:
        """Each corpus's folder and weight."""
        mixed = self.corpus if isinstance(self.corpus, dict) else {self.corpus: 1.0}
        return {Path(path): weight for path, weight in mixed.items()}

    @property
    def start_folder(self) -> Path | None:
        """The folder of the checkpoint that the run goes on from.

        Raises:
            DBetaError: it is a model that this installation lacks.
        """
        return None if self.start_from is None else named_folder(self.start_from)

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the run makes its own tokenizer."""
        return self.tokenizer == "train" and self.start_from is None


@dataclass(frozen=True)
class Optimization:
    """The `optimizer` section of a recipe.

    Attributes:
        head_rate: learning rate of heads, projections and fusion, in units of the encoders'.
        schedule: "three_stage", or None for that of `TrainingArguments`.
        warmup: share of the steps in which the rate rises from 1 % to its full value.
        hold: share in which it stays; then it falls to 1 %, by the same factor each step (wav2vec 2.0's schedule).
        matrices: "muon" for the weights between hidden features (`dbeta.training.muon`), or None for the optimizer of
            `TrainingArguments` throughout.
        matrix_rate: how many times the others' learning rate those weights get.
    """

    head_rate: float = 1.0
    schedule: str | None = None
    warmup: float = 0.1
    hold: float = 0.4
    matrices: str | None = None
    matrix_rate: float = 1.0

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Optimization:
        """Check a recipe's section.

        Raises:
            DBetaError: a setting is unknown or out of its range.
        """
        known = asdict(cls())
        for key, value in settings.items():
            if key not in known:
                raise DBetaError(f"recipe: unknown setting optimizer.{key}; there are {', '.join(known)}")
            if key in CHOICES:
                if value is not None and value not in CHOICES[key]:
                    raise DBetaError(f"recipe: optimizer.{key} is {', '.join(CHOICES[key])} or left out, not {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise DBetaError(f"recipe: optimizer.{key} should be a number of at least 0, not {value!r}")
        made = cls(**settings)
        if made.warmup + made.hold > 1:
            raise DBetaError("recipe: optimizer.warmup and optimizer.hold are shares of the run; together at most 1")
        return made


def load_recipe(path: Path, changes: list[str] | None = None) -> Recipe:
    """Read a recipe and apply `key=value` changes; a dot reaches inside (`training.max_steps=10`).

    Raises:
        DBetaError: the file is missing or no recipe, or a key is unknown.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DBetaError(f"{path}: cannot be read as a recipe ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise DBetaError(f"{path}: not a recipe; it should hold keys such as preset, corpus and training")
    for change in changes or []:
        _apply(content, change)
    defaults = asdict(Recipe())
    for key, value in content.items():
        if key not in defaults:
            raise DBetaError(f"{path}: unknown key {key!r}; a recipe has {', '.join(defaults)}")
        if key == "corpus" and isinstance(value, dict):
            _check_weights(path, value)
            continue
        if key == "start_share":  # `make_config` checks it
            continue
        kind = dict if isinstance(defaults[key], dict) else str
        if value is not None and not isinstance(value, kind):
            raise DBetaError(f"{path}: {key} should hold {KINDS[kind]}, not {value!r}")
    recipe = Recipe(**{key: value for key, value in content.items() if value is not None})
    for key, choices in (("preset", PRESETS), ("negatives", ("n3s", "batch"))):
        if str(getattr(recipe, key)) not in choices:
            raise DBetaError(f"{path}: unknown {key} {getattr(recipe, key)!r}; choose one of {', '.join(choices)}")
    return recipe


def _apply(content: dict[str, Any], change: str) -> None:
    """Carry out one `key=value`."""
    key, equals, value = change.partition("=")
    if not equals:
        raise DBetaError(f"--set {change}: write it as key=value")
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise DBetaError(f"--set {change}: {parent} holds a single value")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise DBetaError(f"--set {change}: {value!r} is not a YAML value") from None


def _check_weights(path: Path, corpora: dict[Any, Any]) -> None:
    for name, weight in corpora.items():
        good = isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < float("inf")
        if not isinstance(name, str) or not good:
            raise DBetaError(f"{path}: corpus {name!r} should have a weight above 0, not {weight!r}")
    if not corpora:
        raise DBetaError(f"{path}: corpus names no folder")


def training_arguments(settings: dict[str, Any], steps_dir: Path) -> TrainingArguments:
    """A recipe's training settings as `TrainingArguments`.

    Raises:
        DBetaError: a setting is unknown or of the wrong kind.
    """
    own = {
        "output_dir": str(steps_dir),
        "report_to": [],
        "remove_unused_columns": False,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    typed = dict(settings)
    for key, value in settings.items():
        if value is None:
            raise DBetaError(f"recipe: training.{key} has no value; give one or leave it out")
        if key in STRATEGIES and value == "epoch":
            raise DBetaError(f"recipe: training.{key} counts in steps, since a run is one long epoch; choose steps")
        default = getattr(TrainingArguments, key, None)
        if isinstance(value, str) and isinstance(default, int | float) and not isinstance(default, bool):
            try:
                typed[key] = type(default)(float(value))  # YAML reads 1e-3, without a point, as text
            except ValueError:
                raise DBetaError(f"recipe: training.{key} should be a number, not {value!r}") from None
    if not isinstance(typed.get("bf16", False), bool) and typed["bf16"] != "auto":
        raise DBetaError(f"recipe: training.bf16 is true, false or auto, not {typed['bf16']!r}")
    if typed.get("bf16") == "auto":
        gpu = torch.cuda.is_available() and not typed.get("use_cpu")
        typed["bf16"] = fastest_dtype(torch.device("cuda" if gpu else "cpu")) == torch.bfloat16
    if not torch.cuda.is_available():
        typed.setdefault("use_cpu", True)
    if typed.get("save_total_limit") == 1:
        typed["save_total_limit"] = 2  # the best and the last; with one, `Trainer` would delete the last
    try:
        args = TrainingArguments(**(own | typed))
    except (TypeError, ValueError) as error:
        raise DBetaError(f"recipe: the training settings are wrong ({error})") from None
    for name, least in (("per_device_train_batch_size", 1), ("gradient_accumulation_steps", 1), ("seed", 0)):
        value = getattr(args, name)
        if not isinstance(value, int) or value < least:
            raise DBetaError(f"recipe: training.{name} should be a whole number of at least {least}, not {value!r}")
    if not 0 <= args.learning_rate < float("inf"):
        raise DBetaError(f"recipe: training.learning_rate should be at least 0, not {args.learning_rate!r}")
    return args
