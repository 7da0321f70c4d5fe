"""Pretraining: a recipe file → a checkpoint folder, on `transformers.Trainer`.

Special here: every loss is logged by name, and the checkpoint that ranks the validation split's findings best without
ever having been trained on it (zero-shot) is the one that is kept.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoTokenizer, Trainer, TrainingArguments

from dbeta.checkpoint import PANEL_FILE, save_text_embeddings
from dbeta.corpus.reports import wordings
from dbeta.corpus.store import decode_signal, load_corpus
from dbeta.corpus.tokenizer import train_tokenizer
from dbeta.errors import DBetaError
from dbeta.inference import DBeta
from dbeta.model import DBetaModel
from dbeta.model.config import PRESETS
from dbeta.processing import DBetaProcessor
from dbeta.training.card import write_card
from dbeta.training.collate import PretrainCollator

LOSSES = ("mlm_loss", "mem_loss", "etm_loss", "ets_loss")
#: A validation finding with fewer positives than this says more about chance than about the model.
FEWEST_POSITIVES = 10
#: What a recipe's key holds, in words.
KINDS = {str: "a name", dict: "settings of its own"}


@dataclass
class Recipe:
    """A training run.

    Attributes:
        preset: model sizes, "tiny" or "base".
        corpus: folder made by `dbeta corpus build`.
        output: folder for the checkpoint.
        tokenizer: "train" (on the corpus's training split), or a folder or hub id.
        text_encoder: folder or hub id of pretrained T5 weights; None trains it from nothing.
        model: changes to the preset (`DBetaConfig`).
        collator: arguments of `PretrainCollator`.
        training: arguments of `transformers.TrainingArguments`.
    """

    preset: str = "tiny"
    corpus: str = "runs/corpus/ptb-xl"
    output: str = "runs/tiny"
    tokenizer: str = "train"
    text_encoder: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    collator: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


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
    defaults = asdict(Recipe())
    for key, value in content.items():
        if key not in defaults:
            raise DBetaError(f"{path}: unknown key {key!r}; a recipe has {', '.join(defaults)}")
        kind = dict if isinstance(defaults[key], dict) else str
        if value is not None and not isinstance(value, kind):
            raise DBetaError(f"{path}: {key} should hold {KINDS[kind]}, not {value!r}")
    recipe = Recipe(**{key: value for key, value in content.items() if value is not None})
    if str(recipe.preset) not in PRESETS:
        raise DBetaError(f"{path}: unknown preset {recipe.preset!r}; choose one of {', '.join(PRESETS)}")
    return recipe


class PretrainTrainer(Trainer):
    """`Trainer` that logs each loss by name and measures zero-shot AUROC in evaluation."""

    def __init__(self, *args: Any, processor: DBetaProcessor, **kwargs: Any) -> None:
        """Keep the processor for evaluation."""
        super().__init__(*args, **kwargs)
        self.processor = processor
        self._sums: dict[str, list[Tensor]] = {name: [] for name in LOSSES}

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """The weighted loss; its parts are remembered for the log."""
        output = model(**inputs)
        for name in LOSSES:
            self._sums[name].append(output[name].detach())
        return (output.loss, output) if return_outputs else output.loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the mean of each loss since the last log."""
        if "loss" in logs:
            for name, values in self._sums.items():
                if values:
                    logs[name] = round(float(torch.stack(values).mean()), 4)
                    values.clear()
        super().log(logs, *args, **kwargs)

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Zero-shot AUROC over the findings of the validation split, as `eval_zero_shot`."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        metrics = {"eval_zero_shot": zero_shot_auroc(self.model, self.processor, dataset)}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def embed_corpus(model: DBetaModel, processor: DBetaProcessor, corpus: Any, batch_size: int = 64) -> Tensor:
    """Embeddings of a corpus's recordings, unit length: (n, D) float32 on the CPU."""
    with evaluating(model, processor, batch_size) as dbeta:
        return normalize(torch.from_numpy(dbeta.embed(decode_signal(row) for row in corpus)), dim=-1)


@contextmanager
def evaluating(model: DBetaModel, processor: DBetaProcessor, batch_size: int = 64) -> Iterator[DBeta]:
    """The model as inference uses it, put back into training afterwards if it was."""
    was_training = model.training
    try:
        yield DBeta(model, processor, batch_size=batch_size)
    finally:
        model.train(was_training)


def common_findings(corpus: Any) -> list[str]:
    """The findings of a corpus that at least `FEWEST_POSITIVES` records have, and as many have not."""
    counts = Counter(finding for row in corpus["findings"] for finding in set(row))
    return sorted(name for name, n in counts.items() if FEWEST_POSITIVES <= n <= len(corpus) - FEWEST_POSITIVES)


def zero_shot_auroc(model: DBetaModel, processor: DBetaProcessor, corpus: Any) -> float:
    """Macro AUROC over the findings of a corpus, each finding's phrase as the prompt; NaN where there are none."""
    findings = [set(row) for row in corpus["findings"]]
    names = common_findings(corpus)
    if not names:
        return float("nan")
    embeds = embed_corpus(model, processor, corpus)
    with evaluating(model, processor) as dbeta:
        prompts = normalize(torch.from_numpy(dbeta.embed_text(names)), dim=-1)
    scores = (embeds @ prompts.T).numpy()
    pairs = zip(names, scores.T, strict=True)
    return float(np.mean([roc_auc_score([name in one for one in findings], column) for name, column in pairs]))


def build_model(recipe: Recipe, texts: list[str]) -> tuple[DBetaModel, DBetaProcessor]:
    """A fresh model and its processor, as a recipe says.

    Args:
        recipe: the run.
        texts: what a tokenizer is trained on, where the recipe asks for one.
    """
    try:
        config = PRESETS[recipe.preset](**recipe.model)
    except (TypeError, ValueError) as error:
        raise DBetaError(f"recipe: the model's settings are wrong ({error})") from None
    if recipe.tokenizer == "train":
        tokenizer: Any = train_tokenizer(texts, config.text_config.vocab_size)
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(recipe.tokenizer)
        except (OSError, ValueError) as error:
            raise DBetaError(
                f'recipe: no tokenizer could be loaded from {recipe.tokenizer}; name a folder or hub id, or "train"'
            ) from error
    config.text_config.pad_token_id = tokenizer.pad_token_id
    config.text_config.eos_token_id = tokenizer.eos_token_id
    if len(tokenizer) > config.text_config.vocab_size:
        raise DBetaError(
            f"recipe: the tokenizer has {len(tokenizer)} tokens, "
            f"the text encoder has room for {config.text_config.vocab_size}"
        )
    try:
        model = DBetaModel(config)
    except (TypeError, ValueError) as error:
        raise DBetaError(f"recipe: the model's settings are wrong ({error})") from None
    if recipe.text_encoder is not None:
        try:
            model.text_encoder.load_pretrained(recipe.text_encoder)
        except (OSError, ValueError, RuntimeError) as error:
            raise DBetaError(
                f"recipe: no T5 of these sizes could be loaded from {recipe.text_encoder}; name a folder or hub id"
            ) from error
    processor = DBetaProcessor.of_model(config, tokenizer)
    return model, processor


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
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    typed = dict(settings)
    for key, value in settings.items():
        default = getattr(TrainingArguments, key, None)
        if isinstance(value, str) and isinstance(default, int | float) and not isinstance(default, bool):
            try:
                typed[key] = type(default)(float(value))  # YAML reads 1e-3, without a point, as text
            except ValueError:
                raise DBetaError(f"recipe: training.{key} should be a number, not {value!r}") from None
    try:
        args = TrainingArguments(**(own | typed))
    except (TypeError, ValueError) as error:
        raise DBetaError(f"recipe: the training settings are wrong ({error})") from None
    if args.per_device_train_batch_size < 1:
        raise DBetaError("recipe: training.per_device_train_batch_size should be at least 1")
    return args


def pretrain(recipe: Recipe, *, resume: bool = False) -> Path:
    """Run a recipe and write the checkpoint: weights, configuration, processor, reference panel.

    Args:
        recipe: the run.
        resume: go on from the last of the run's own checkpoints; from the beginning where there is none yet.

    Returns:
        The checkpoint's folder, `recipe.output`.

    Raises:
        DBetaError: the recipe, the corpus or the output folder cannot be used.
    """
    output = Path(recipe.output)
    if (output / "model.safetensors").exists():
        raise DBetaError(f"{output}: already holds a model; choose another --output or remove it")
    steps_dir = output / "steps"
    if steps_dir.exists() and any(steps_dir.iterdir()) and not resume:
        raise DBetaError(f"{output}: an unfinished run lies here; go on with --resume or remove it")
    train = load_corpus(Path(recipe.corpus), "train")
    paired = [i for i, texts in enumerate(zip(train["report"], train["findings"], strict=True)) if any(texts)]
    if not paired:
        raise DBetaError(f"{recipe.corpus}: no training record has a report or findings to learn from")
    train = train.select(paired)
    validation = load_corpus(Path(recipe.corpus), "validation")

    args = training_arguments(recipe.training, steps_dir)
    torch.manual_seed(args.seed)
    stated = [finding for row in train["findings"] for finding in row]
    texts = [*train["report"], *stated, *(words for finding in sorted(set(stated)) for words in wordings(finding))]
    model, processor = build_model(recipe, texts)
    try:
        collator = PretrainCollator(processor, model.config, **recipe.collator)
    except (TypeError, ValueError) as error:
        raise DBetaError(f"recipe: the collator's settings are wrong ({error})") from None
    trainer = PretrainTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=collator,
        processor=processor,
    )
    trainer.train(resume_from_checkpoint=resume and any(steps_dir.glob("checkpoint-*")))

    partial = output / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    panel = embed_corpus(model, processor, train)
    save_file({"ecg_embeds": panel.half().contiguous()}, partial / PANEL_FILE)
    save_text_embeddings(partial)
    (partial / "training_log.json").write_text(json.dumps(trainer.state.log_history, indent=1) + "\n")
    write_card(
        partial,
        name=output.name,
        parameters=sum(one.numel() for one in model.parameters()),
        corpus=Path(recipe.corpus),
        recipe=asdict(recipe),
        figure=round(zero_shot_auroc(model, processor, validation), 4),
        n_findings=len(common_findings(validation)),
        fewest=FEWEST_POSITIVES,
        step=trainer.state.best_global_step or trainer.state.global_step,
        steps=trainer.state.global_step,
    )
    mode = (partial / "config.json").stat().st_mode
    for file in sorted(partial.iterdir(), key=lambda file: file.name == "model.safetensors"):
        file.chmod(mode)  # safetensors lets nobody else read what it writes
        file.rename(output / file.name)
    partial.rmdir()
    return output
