"""Recipes: one YAML file describes a whole training run."""

from __future__ import annotations

import sys
from dataclasses import field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import Field, StrictBool, model_validator
from transformers import TrainingArguments

from dbeta.checkpoints.read import fastest_dtype, named_folder
from dbeta.errors import DBetaError
from dbeta.training.settings import (
    Amount,
    Count,
    Name,
    Positive,
    Share,
    ShareBelow1,
    Weight,
    settings,
)

#: Written in place of a corpus folder: ECGs simulated on demand.
SIMULATED = "simulated"
STRATEGIES = ("save_strategy", "eval_strategy", "logging_strategy")
Section = Annotated[dict[str, Any], Field(description="settings of its own")]


@settings()
class CollatorSettings:
    """The `collator` section of a recipe: which texts ECGs are paired with, and augmentation.

    Attributes:
        written_share: probability that a text is written from its record's findings instead of being its report.
        misaligned_share: probability that a record gets a text that does not hold for it (paper: 1/2).
        negatives_seen: whether the model sees that text; the published code shows the record's own text and still
            labels the pair misaligned.
        pairs: how the sign of a pair is found, "pair", "equal" or "entailment" (`dbeta.training.pairs`).
        prompts: short single-finding texts added to each batch for ETS, at most all findings; only with "entailment".
        gain_jitter: standard deviation of a random log-gain per lead, against overfitting to voltages.
        crop: probability that a record is cut to a random window of at least half its length and padded like a short
            recording: against overfitting, and so that short recordings are familiar.
        max_stated: most findings that a written text states.
        denied_share: probability that a written text also says of one or two findings that they are absent.
        statements: probability that a written text makes further statements, or these alone: what is absent, numbers
            and waves (`dbeta.training.statements`); numbers and waves are known of simulated ECGs only.
        statement_prompts: texts of one such statement added to each batch for ETS; only with "entailment".
        near_share: of the misaligned texts, how many differ from the record's own in one thing only: a finding, a side,
            a territory, a degree or a number; the others are drawn as `negatives` says.
        near_prompts: of how many records of a batch such a near text is also added for ETS; only with "entailment".
        lead_sets: probability that a record is shown in a random set of leads (`dbeta.training.masking.LEAD_SETS`),
            the others masked; what its leads cannot show is then undetermined.
    """

    written_share: Share = 0.5
    misaligned_share: Share = 0.5
    negatives_seen: Annotated[StrictBool, Field(description="true or false")] = True
    pairs: Annotated[Literal["pair", "equal", "entailment"], Field(description="pair, equal or entailment")] = (
        "entailment"
    )
    prompts: Count = 0
    gain_jitter: Amount = 0.0
    crop: Share = 0.0
    max_stated: Positive = 3
    denied_share: Share = 0.0
    statements: Share = 0.0
    statement_prompts: Count = 0
    near_share: Share = 0.0
    near_prompts: Count = 0
    lead_sets: Share = 0.0

    @property
    def uses_waves(self) -> bool:
        """Whether texts state numbers or waves, so that simulated records have to tell theirs."""
        return bool(self.statements or self.statement_prompts)


@settings()
class Optimization:
    """The `optimizer` section of a recipe.

    Attributes:
        head_rate: learning rate of heads, projections and fusion, as a multiple of the encoders'.
        schedule: "three_stage", or None for that of `TrainingArguments`.
        warmup: share of the steps in which the rate rises from 1 % to its full value.
        hold: share in which it stays; then it falls to 1 % by the same factor each step (wav2vec 2.0's schedule).
        matrices: "muon" for the weights between hidden features (`dbeta.training.muon`), or None for the optimizer of
            `TrainingArguments` throughout.
        matrix_rate: learning rate of those weights, as a multiple of the others'.
    """

    head_rate: Amount = 1.0
    schedule: Annotated[Literal["three_stage"] | None, Field(description="three_stage or left out")] = None
    warmup: Share = 0.1
    hold: Share = 0.4
    matrices: Annotated[Literal["muon"] | None, Field(description="muon or left out")] = None
    matrix_rate: Amount = 1.0

    @model_validator(mode="after")
    def _check_shares(self) -> Optimization:
        if self.warmup + self.hold > 1:
            raise ValueError("warmup and hold are shares of the run; together they should be at most 1")
        return self


@settings()
class SimulationSettings:
    """The `simulation` section of a recipe, for the corpus "simulated" (`SimulatedRows`).

    Attributes:
        records: training records.
        seed: of the simulation.
        mix: how common diseases are.
        untold: findings that are undetermined in every record.
        validation: further records to validate on, 0 for none.
    """

    records: Positive = 1_000_000
    seed: Count = 0
    mix: Name = "balanced"
    untold: Annotated[list[str], Field(description="a list of findings")] = field(default_factory=list)
    validation: Count = 512


@settings()
class Recipe:
    """A training run.

    Attributes:
        preset: model sizes, "tiny" or "base".
        corpus: folder made by `dbeta corpus build`, or several with the weight of each in what is drawn; "simulated"
            instead of a folder means ECGs simulated on demand.
        validation: corpus whose validation split is measured on; None: those of `corpus`.
        simulation: `SimulationSettings`.
        output: folder for the checkpoint.
        tokenizer: "train" (on the training split), or a folder or hub id.
        text_encoder: folder or hub id of pretrained T5 weights; None trains it from scratch.
        start_from: folder of a checkpoint to continue from, or "tiny" or "tiny-sim"; its sizes and tokenizer replace
            `preset` and `tokenizer`. None starts from random weights.
        start_share: how much of that checkpoint's weights is blended into the result, 0 to below 1; keeps more of what
            the start knew (WiSE-FT, Wortsman et al. 2022).
        negatives: where misaligned texts come from: "n3s" (`dbeta corpus negatives`) or "batch".
        model: changes to the preset (`DBetaConfig`; `faithful: true` for the published switches).
        collator: `CollatorSettings`.
        optimizer: `Optimization`.
        training: arguments of `transformers.TrainingArguments`; `bf16: auto` where the processor has units for it.
    """

    #: Prefix of error messages: the file that it was read from.
    where = "recipe"

    preset: Annotated[Literal["base", "tiny"], Field(description="base or tiny")] = "tiny"
    corpus: Annotated[
        str | Annotated[dict[str, Weight], Field(min_length=1)],
        Field(description="a folder, or folders with weights above 0"),
    ] = "runs/corpus/ptb-xl"
    validation: Annotated[str | None, Field(strict=True, description="a name")] = None
    simulation: Annotated[SimulationSettings, Field(description="settings of its own")] = field(
        default_factory=SimulationSettings
    )
    output: Name = "runs/tiny"
    tokenizer: Name = "train"
    text_encoder: Annotated[str | None, Field(strict=True, description="a name")] = None
    start_from: Annotated[str | None, Field(strict=True, description="a name")] = None
    start_share: ShareBelow1 = 0.0
    negatives: Annotated[Literal["n3s", "batch"], Field(description="n3s or batch")] = "batch"
    model: Section = field(default_factory=dict)
    collator: Annotated[CollatorSettings, Field(description="settings of its own")] = field(
        default_factory=CollatorSettings
    )
    optimizer: Annotated[Optimization, Field(description="settings of its own")] = field(default_factory=Optimization)
    training: Section = field(default_factory=dict)

    @property
    def corpora(self) -> dict[str, float]:
        """Each corpus, a folder or `SIMULATED`, and its weight."""
        return self.corpus if isinstance(self.corpus, dict) else {self.corpus: 1.0}

    @property
    def start_folder(self) -> Path | None:
        """The folder of the checkpoint that the run continues from.

        Raises:
            DBetaError: it is a bundled model that this installation lacks.
        """
        return None if self.start_from is None else named_folder(self.start_from)

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the run trains its own tokenizer."""
        return self.tokenizer == "train" and self.start_from is None


def load_recipe(path: Path, changes: list[str] | None = None) -> Recipe:
    """Read a recipe and apply `key=value` changes; a dot reaches inside (`training.max_steps=10`).

    Raises:
        DBetaError: the file is missing or not a recipe, or a setting is unknown or wrong.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DBetaError(f"{path}: cannot be read as a recipe ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise DBetaError(f"{path}: not a recipe; it should hold keys such as preset, corpus and training")
    for change in changes or []:
        _apply(content, change)
    try:
        recipe = Recipe(**{str(key): value for key, value in content.items() if value is not None})
    except DBetaError as error:
        raise DBetaError(f"{path}: {error}") from None
    recipe.where = str(path)
    return recipe


def _apply(content: dict[str, Any], change: str) -> None:
    """Apply one `key=value`."""
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


@settings()
class _Checked:
    """The training settings that are checked here; `TrainingArguments` lets wrong values of them pass."""

    seed: Count = 0
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
        typed = {str(key): _typed(str(key), value) for key, value in recipe.training.items()}
        _Checked(**{one.name: typed[one.name] for one in fields(_Checked) if one.name in typed})
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
        raise DBetaError(f"{recipe.where}: the training settings are wrong ({error})") from None


def _typed(key: str, value: Any) -> Any:
    """A training setting; numbers that YAML reads as text, such as 1e-3 without a point, become numbers."""
    if key not in TrainingArguments.__dataclass_fields__:
        near = get_close_matches(key, TrainingArguments.__dataclass_fields__)
        hint = f"did you mean {' or '.join(near)}?" if near else "see transformers.TrainingArguments"
        raise DBetaError(f"{key} is not a training setting; {hint}")
    if value is None:
        raise DBetaError(f"{key} has no value; give one or leave it out")
    if key in STRATEGIES and value == "epoch":
        raise DBetaError(f"{key} counts in steps, since a run is one long epoch; choose steps")
    default = getattr(TrainingArguments, key, None)
    if isinstance(value, str) and isinstance(default, int | float) and not isinstance(default, bool):
        try:
            return type(default)(float(value))
        except ValueError:
            raise DBetaError(f"{key} should be a number, not {value!r}") from None
    return value
