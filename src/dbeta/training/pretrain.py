"""Pretraining: a recipe → a checkpoint folder.

Special here: the checkpoint that ranks the validation split's findings best without ever having been trained on it
(zero-shot) is the one that is kept, the last one beside it.
"""

from __future__ import annotations

import inspect
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset, concatenate_datasets
from safetensors.torch import save_file
from transformers import AutoTokenizer

from dbeta.checkpoint import PANEL_FILE, save_text_embeddings
from dbeta.corpus.negatives import Negatives
from dbeta.corpus.reports import wordings, write_report
from dbeta.corpus.simulate.rows import SOURCE, SimulatedRows
from dbeta.corpus.store import CorpusRows, load_corpus, read_counts
from dbeta.corpus.tokenizer import train_tokenizer
from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.model.config import PRESETS
from dbeta.model.parallel import world_size
from dbeta.processing import DBetaProcessor
from dbeta.training.card import write_card
from dbeta.training.collate import PretrainCollator
from dbeta.training.figures import draw_log
from dbeta.training.recipe import SIMULATED, Optimization, Recipe, training_arguments
from dbeta.training.stream import TrainingStream
from dbeta.training.trainer import PretrainTrainer, last_checkpoint, remove_incomplete
from dbeta.training.validation import FEWEST_POSITIVES, Validation, embed_corpus, zero_shot_auroc

#: Recordings of the training split that percentiles are taken among.
PANEL_SIZE = 4096
PANEL_COLUMNS = ["signal", "sampling_rate"]
#: Simulated records whose reports a tokenizer is trained on, and on which a model is validated by default.
TOKENIZER_SAMPLE, SIMULATED_VALIDATION = 8192, 512


@dataclass
class Data:
    """What a run learns from.

    Attributes:
        training: the training records of each corpus that have words to learn from.
        weights: share of each in what is drawn.
        validation: the validation split.
        decided: the findings that each corpus decides.
        negatives: each corpus's table of farthest reports, where the recipe asks for it.
    """

    training: list[CorpusRows | SimulatedRows]
    weights: list[float]
    validation: Validation
    decided: list[list[str]]
    negatives: list[Negatives] | None

    @property
    def records(self) -> int:
        """Training records of all corpora."""
        return sum(map(len, self.training))

    def texts(self) -> list[str]:
        """What a tokenizer is trained on: the reports, the findings as often as they are stated, and their wordings."""
        reports, stated = [], []
        for rows in self.training:
            if isinstance(rows, SimulatedRows):
                columns = rows[range(min(len(rows), TOKENIZER_SAMPLE))]
                reports += columns["report"]
                stated += [one for row in columns["findings"] for one in row]
                reports += [write_report(row, random.Random(i)) for i, row in enumerate(columns["findings"]) if row]
            else:
                reports += rows.table.column("report").take(rows.rows).to_pylist()
                stated += [one for row in rows.table.column("findings").take(rows.rows).to_pylist() for one in row]
        return [*reports, *stated, *(words for finding in sorted(set(stated)) for words in wordings(finding))]


def load_data(recipe: Recipe) -> Data:
    """Open a recipe's corpora.

    Raises:
        DBetaError: one is missing, has nothing to learn from, no validation split, or no table of negatives.
    """
    training, decided, tables = [], [], []
    for path in recipe.corpora:
        if is_simulated(path):
            rows = simulated_rows(recipe)
            training.append(rows)
            decided.append(rows.vocabulary)
            if recipe.negatives == "n3s":
                raise DBetaError(
                    'recipe: ECGs simulated as they are asked for have no table of negatives; set negatives to "batch", '
                    "or simulate a corpus with `dbeta corpus simulate` and name its folder"
                )
            continue
        counts = read_counts(path)
        corpus = load_corpus(path)
        # Columns by themselves: rows would bring their signals along
        columns = [corpus.data.column(name).to_pylist() for name in ("split", "report", "findings")]
        worded = [i for i, (split, *texts) in enumerate(zip(*columns, strict=True)) if split == "train" and any(texts)]
        if not worded:
            raise DBetaError(f"{path}: no training record has a report or findings to learn from")
        training.append(CorpusRows(corpus, np.array(worded)))
        decided.append(counts["vocabulary"])
        if recipe.negatives == "n3s":
            tables.append(Negatives.load(path))
    validation = []
    for path in [Path(recipe.validation)] if recipe.validation else recipe.corpora:
        if is_simulated(path):
            if wanted := recipe.simulation.get("validation", SIMULATED_VALIDATION):
                rows = simulated_rows(recipe)
                # Numbers that training never reaches
                columns = rows[range(len(rows), len(rows) + wanted)]
                validation.append((rows_dataset(columns), rows.vocabulary))
            continue
        counts = read_counts(path)
        if "validation" in counts["splits"]:
            validation.append((load_corpus(path, "validation"), counts["vocabulary"]))
    if not validation:
        raise DBetaError(
            f"{recipe.validation or ', '.join(map(str, recipe.corpora))}: has no records in split 'validation'; name "
            "a corpus that has, as in --set validation=runs/corpus/ptb-xl"
        )
    return Data(training, list(recipe.corpora.values()), Validation.of(validation), decided, tables or None)


def is_simulated(corpus: Path) -> bool:
    """Whether a recipe's corpus is one that is simulated as it is asked for."""
    return str(corpus) == SIMULATED


def simulated_rows(recipe: Recipe) -> SimulatedRows:
    """What a recipe simulates.

    Raises:
        DBetaError: a setting is unknown or out of its range.
    """
    settings = {"records": 1_000_000, "seed": 0, "mix": "balanced"}
    for key, value in recipe.simulation.items():
        if key not in settings and key != "validation":
            raise DBetaError(f"recipe: unknown setting simulation.{key}; there are {', '.join([*settings, 'validation'])}")
        if key == "validation" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise DBetaError(f"recipe: simulation.validation should be a whole number of at least 0, not {value!r}")
    settings |= {key: value for key, value in recipe.simulation.items() if key in settings}
    return SimulatedRows(settings["records"], settings["seed"], settings["mix"])


def rows_dataset(columns: dict[str, Any]) -> Any:
    """Columns of simulated rows as a `datasets.Dataset`, in memory."""
    return Dataset.from_dict(columns | {"signal": [bytes(one) for one in columns["signal"]]})


def make_config(recipe: Recipe) -> DBetaConfig:
    """The configuration that a recipe describes.

    Raises:
        DBetaError: a setting is unknown or impossible.
    """
    try:
        config = PRESETS[recipe.preset](**recipe.model)
    except (TypeError, ValueError) as error:
        raise DBetaError(f"recipe: the model's settings are wrong ({error})") from None
    for name in ("ecg_layers", "ecg_heads", "fusion_layers", "fusion_heads", "mem_layers", "mem_heads", "hidden_size"):
        count = getattr(config, name)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise DBetaError(f"recipe: model.{name} should be a whole number of at least 1, not {count!r}")
    if config.n_kept_tokens < 1:
        raise DBetaError("recipe: model.ecg_mask_ratio leaves no token of a recording visible; lower it")
    known = inspect.signature(DBetaConfig.__init__).parameters
    for name in recipe.model:  # what `PretrainedConfig` would keep without a word
        if name not in known and name != "faithful":
            raise DBetaError(f"recipe: the model's settings are wrong (there is no {name!r})")
    return config


def load_tokenizer(recipe: Recipe) -> Any:
    """The tokenizer that a recipe names.

    Raises:
        DBetaError: it cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(recipe.tokenizer)
    except (OSError, ValueError) as error:
        raise DBetaError(
            f'recipe: no tokenizer could be loaded from {recipe.tokenizer}; name a folder or hub id, or "train"'
        ) from error


def build_model(recipe: Recipe, texts: Sequence[str]) -> tuple[DBetaModel, DBetaProcessor]:
    """A fresh model and its processor, as a recipe says.

    Args:
        recipe: the run.
        texts: what a tokenizer is trained on, where the recipe asks for one.
    """
    config = make_config(recipe)
    if recipe.tokenizer == "train":
        # One process's for all: who counts in another order may merge in another
        tokenizer: Any = broadcast_object_list([train_tokenizer(texts, config.text_config.vocab_size)])[0]
    else:
        tokenizer = load_tokenizer(recipe)
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


def count_steps(args: Any, records: int) -> int:
    """Steps of a run: `max_steps`, or what `num_train_epochs` times the records make."""
    if args.max_steps > 0:
        return args.max_steps
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size()
    return max(1, round(args.num_train_epochs * records / per_step))


def make_trainer(recipe: Recipe, data: Data) -> PretrainTrainer:
    """Everything of a run, ready to train.

    Raises:
        DBetaError: a setting of the recipe is wrong.
    """
    args = training_arguments(recipe.training, Path(recipe.output) / "steps")
    optimization = Optimization.of(recipe.optimizer)
    torch.manual_seed(args.seed)
    model, processor = build_model(recipe, data.texts() if recipe.tokenizer == "train" else [])
    per_batch = args.per_device_train_batch_size * world_size()
    args.max_steps = count_steps(args, data.records)
    length = args.max_steps * args.gradient_accumulation_steps * per_batch
    try:
        collator = PretrainCollator(
            processor,
            model.config,
            **(
                {"decided": data.decided, "negatives": data.negatives, "seed": args.seed, "global_batch": per_batch}
                | recipe.collator
            ),
        )
    except (TypeError, ValueError) as error:
        raise DBetaError(f"recipe: the collator's settings are wrong ({error})") from None
    return PretrainTrainer(
        model=model,
        args=args,
        train_dataset=TrainingStream(data.training, data.weights, length, args.seed),
        eval_dataset=data.validation,
        data_collator=collator,
        processor=processor,
        pairs=collator.pairs,
        optimization=optimization,
    )


def pretrain(recipe: Recipe, *, resume: bool = False) -> Path:
    """Run a recipe and write the checkpoint: weights, configuration, processor, reference panel, log and pictures.

    Args:
        recipe: the run.
        resume: go on from the last of the run's own checkpoints; from the beginning where there is none yet.

    Returns:
        The checkpoint's folder, `recipe.output`: the best step by validation; its subfolder `last` holds the last.

    Raises:
        DBetaError: the recipe, the corpus or the output folder cannot be used, or a loss was not finite.
    """
    output = Path(recipe.output)
    if (output / "model.safetensors").exists():
        raise DBetaError(f"{output}: already holds a model; choose another --output or remove it")
    steps_dir = output / "steps"
    if steps_dir.exists() and any(steps_dir.iterdir()) and not resume:
        raise DBetaError(f"{output}: an unfinished run lies here; go on with --resume or remove it")
    data = load_data(recipe)
    trainer = make_trainer(recipe, data)
    if trainer.is_world_process_zero():
        remove_incomplete(steps_dir)
    trainer.accelerator.wait_for_everyone()
    start = last_checkpoint(steps_dir) if resume else None
    trainer.train(resume_from_checkpoint=None if start is None else str(start))
    write_result(trainer, recipe, data)
    return output


def write_result(trainer: PretrainTrainer, recipe: Recipe, data: Data) -> None:
    """Write a finished run's checkpoint; what every process computes together, the first one writes."""
    output = Path(recipe.output)
    model, processor, state = trainer.model, trainer.processor, trainer.state
    figure = zero_shot_auroc(model, processor, data.validation)
    panel = embed_corpus(model, processor, panel_rows(data))
    if not trainer.is_world_process_zero():
        trainer.accelerator.wait_for_everyone()
        return
    partial = output / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.config.trained_on = sorted(
        {SOURCE if is_simulated(corpus) else read_counts(corpus)["source"] for corpus in recipe.corpora}
    )
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    save_file({"ecg_embeds": panel.half().contiguous()}, partial / PANEL_FILE)
    save_text_embeddings(partial)
    (partial / "training_log.json").write_text(json.dumps(state.log_history, indent=1) + "\n")
    draw_log(state.log_history, partial / "training.png")
    write_card(
        partial,
        name=output.name,
        parameters=sum(one.numel() for one in model.parameters()),
        corpora=list(recipe.corpora),
        recipe=asdict(recipe),
        figure=round(figure, 4),
        n_findings=len(data.validation.common),
        fewest=FEWEST_POSITIVES,
        step=state.best_global_step if trainer.args.load_best_model_at_end else state.global_step,
        steps=state.global_step,
    )
    last = last_checkpoint(output / "steps")
    if last is not None:
        (partial / "last").mkdir()
        shutil.copyfile(partial / "config.json", partial / "last" / "config.json")
        shutil.copyfile(last / "model.safetensors", partial / "last" / "model.safetensors")
        processor.save_pretrained(partial / "last")
    mode = (partial / "config.json").stat().st_mode
    shutil.rmtree(output / "last", ignore_errors=True)
    for file in sorted(partial.iterdir(), key=lambda file: file.name == "model.safetensors"):
        if file.is_file():
            file.chmod(mode)  # safetensors lets nobody else read what it writes
        file.rename(output / file.name)
    partial.rmdir()
    trainer.accelerator.wait_for_everyone()


def panel_rows(data: Data) -> Any:
    """Training recordings for the reference panel, evenly from all corpora."""
    share = max(1, PANEL_SIZE // len(data.training))
    parts = []
    for one in data.training:
        if isinstance(one, SimulatedRows):
            parts.append(rows_dataset(one[range(min(share, len(one)))]).select_columns(PANEL_COLUMNS))
        else:
            step = max(1, len(one) // share)
            parts.append(one.corpus.select(one.rows[::step][:share]).select_columns(PANEL_COLUMNS))
    # Kinds of numbers differ between a corpus and rows in memory
    return concatenate_datasets([part.cast(parts[0].features) for part in parts])
