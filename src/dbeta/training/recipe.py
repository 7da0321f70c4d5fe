"""Recipes: one YAML file describes a whole training run."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, StrictBool, model_validator

from dbeta.checkpoints.read import named_folder
from dbeta.errors import DBetaError
from dbeta.simulation.diseases import MIXES
from dbeta.simulation.finding_table import TABLE
from dbeta.training.parts import PART_NAMES
from dbeta.training.settings import (
    Amount,
    Count,
    Name,
    Positive,
    Seed,
    Share,
    ShareBelow1,
    Weight,
    settings,
)

#: Stands in place of a corpus folder for ECGs simulated on demand.
SIMULATED = "simulated"
Section = Annotated[dict[str, Any], Field(description="a mapping")]


def _mix(name: str) -> str:
    if name not in MIXES:
        raise ValueError("unknown mix")
    return name


@settings()
class CollatorSettings:
    """The `collator` section of a recipe: how ECGs are paired with texts and augmented.

    Attributes:
        written_share: probability that a text is generated from the record's findings instead of being its report.
        misaligned_share: probability that a record is paired with a text that is not true of it (paper: 1/2).
        negatives_seen: whether the model sees that text; the published code shows the record's own text and still
            labels the pair misaligned.
        pairs: how pairs are labelled positive or negative, "pair", "equal" or "entailment" (`dbeta.training.pairs`).
        prompts: short single-finding texts added to each batch for ETS, at most all findings; only with "entailment".
        gain_jitter: standard deviation of a random log-gain per lead, against overfitting to voltages.
        crop: probability that a record is cut to a random window of at least half its length and padded like a short
            recording: against overfitting, and so that short recordings are familiar.
        max_stated: maximum number of findings stated in a generated text.
        denied_share: probability that a generated text also states that one or two findings are absent.
        statements: probability that a generated text makes further statements, or these alone: what is absent, numbers
            and waves (`dbeta.training.statements`); numbers and waves are known for simulated ECGs only.
        statement_prompts: number of texts of one such statement added to each batch for ETS; only with "entailment".
        near_share: share of the misaligned texts that differ from the record's own in one thing only: a finding, a
            side, a territory, a degree or a number; the others are drawn as `negatives` says.
        near_prompts: number of records per batch for which such a near text is also added for ETS; only with
            "entailment".
        dead_stretches: probability that one to three stretches of a record, each in some of its leads, are masked.
        leads_only: probability that a batch hides whole leads and dead stretches, but no tokens, and at least one lead
            of each record: what `DBeta.reconstruct` meets where leads are missing.
        lead_sets: probability that a record is shown with a random set of leads (`dbeta.training.masking.LEAD_SETS`),
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
    dead_stretches: Share = 0.0
    leads_only: Share = 0.0
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
        hold: share at the full value; then the rate decays exponentially to 1 % (wav2vec 2.0's schedule).
        matrices: "muon" for the weights between hidden features (`dbeta.training.muon`), or None for the optimizer of
            `TrainingArguments` throughout.
        matrix_rate: learning rate of those weights, as a multiple of the others'.
        rates: learning rates of parts of the model (`dbeta.training.parts`), as further multiples: 0 freezes a part, so
            that {embedding: 0} trains fusion and heads on encoders that stay as they are.
    """

    head_rate: Amount = 1.0
    schedule: Annotated[Literal["three_stage"] | None, Field(description="three_stage or left out")] = None
    warmup: Share = 0.1
    hold: Share = 0.4
    matrices: Annotated[Literal["muon"] | None, Field(description="muon or left out")] = None
    matrix_rate: Amount = 1.0
    rates: Annotated[dict[str, Amount], Field(description="a mapping of parts to multiples of at least 0")] = field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Optimization:
        for name in self.rates:
            if name not in PART_NAMES:
                raise ValueError(
                    f"rates has {name!r}, which is no part of the model; choose from {', '.join(PART_NAMES)}"
                )
        if self.warmup + self.hold > 1:
            raise ValueError("warmup plus hold must be at most 1; both are shares of the run")
        return self


@settings()
class SimulationSettings:
    """The `simulation` section of a recipe, for the corpus "simulated" (`SimulatedRows`).

    Attributes:
        records: number of training records.
        seed: seed of the simulation.
        mix: how common diseases are.
        untold: findings left undetermined in every record.
        validation: number of additional records for validation, 0 for none.
    """

    records: Positive = 1_000_000
    seed: Seed = 0
    mix: Annotated[str, AfterValidator(_mix), Field(strict=True, description=f"one of {', '.join(MIXES)}")] = "balanced"
    untold: Annotated[list[str], Field(description="a list of findings")] = field(default_factory=list)
    validation: Count = 512

    @model_validator(mode="after")
    def _check_untold(self) -> SimulationSettings:
        for name in self.untold:
            if name not in TABLE:
                raise ValueError(f"untold has {name!r}, not a simulator finding")
        return self


@settings()
class Recipe:
    """A training run.

    Attributes:
        preset: model sizes, "tiny" or "base".
        corpus: folder made by `dbeta corpus build`, or a mapping from several folders to their sampling weights;
            "simulated" instead of a folder means ECGs simulated on demand.
        validation: corpus whose validation split is used; None uses the validation splits of `corpus`.
        simulation: `SimulationSettings`.
        output: checkpoint folder.
        tokenizer: "train" (on the training split), or a folder or hub id.
        text_encoder: folder or hub id of pretrained T5 weights; None trains it from scratch.
        start_from: folder of a checkpoint to continue from, or "tiny" or "tiny-sim"; its sizes and tokenizer replace
            `preset` and `tokenizer`. None starts from random weights.
        start_share: how much of that checkpoint's weights is blended into the result, 0 to below 1; keeps more of what
            the start knew (WiSE-FT, Wortsman et al. 2022).
        negatives: where misaligned texts come from: "n3s" (`dbeta corpus negatives`) or "batch".
        model: overrides of the preset (`DBetaConfig`; `faithful: true` for the published switches).
        collator: `CollatorSettings`.
        optimizer: `Optimization`.
        training: arguments of `transformers.TrainingArguments`; `bf16: auto` uses bfloat16 if the hardware supports it.
    """

    #: The file that the recipe was read from; error messages start with it.
    where = "recipe"

    preset: Annotated[Literal["base", "tiny"], Field(description="base or tiny")] = "tiny"
    corpus: Annotated[
        str | Annotated[dict[str, Weight], Field(min_length=1)],
        Field(description="a folder, or folders with weights above 0"),
    ] = "runs/corpus/ptb-xl"
    validation: Annotated[str | None, Field(strict=True, description="a string")] = None
    simulation: Annotated[SimulationSettings, Field(description="a mapping")] = field(
        default_factory=SimulationSettings
    )
    output: Name = "runs/tiny"
    tokenizer: Name = "train"
    text_encoder: Annotated[str | None, Field(strict=True, description="a string")] = None
    start_from: Annotated[str | None, Field(strict=True, description="a string")] = None
    start_share: ShareBelow1 = 0.0
    negatives: Annotated[Literal["n3s", "batch"], Field(description="n3s or batch")] = "batch"
    model: Section = field(default_factory=dict)
    collator: Annotated[CollatorSettings, Field(description="a mapping")] = field(default_factory=CollatorSettings)
    optimizer: Annotated[Optimization, Field(description="a mapping")] = field(default_factory=Optimization)
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
    except OSError as error:
        raise DBetaError(
            f"{path}: cannot be read ({error.strerror}); name a recipe, such as recipes/tiny.yaml"
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DBetaError(f"{path}: cannot be read as a recipe ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise DBetaError(f"{path}: not a recipe; expected keys such as preset, corpus and training")
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
    *parents, last = key.split(".")
    if not equals or not all([*parents, last]):
        raise DBetaError(f"--set {change}: write it as key=value, such as training.max_steps=10")
    place = content
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise DBetaError(f"--set {change}: {parent} is a single value, not a mapping")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise DBetaError(f"--set {change}: {value!r} is not a YAML value") from None
