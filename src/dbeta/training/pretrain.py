"""Pretraining: runs a recipe and writes a checkpoint folder.

The step with the best zero-shot AUROC on the validation split is kept, with the last step beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from dbeta.checkpoints.names import PANEL_FILE
from dbeta.checkpoints.text_embeddings import save_text_embeddings
from dbeta.corpus.tokenizer import train_tokenizer
from dbeta.errors import DBetaError
from dbeta.model import DBetaModel
from dbeta.model.distributed import world_size
from dbeta.model.processor import DBetaProcessor
from dbeta.training.arguments import training_arguments
from dbeta.training.card import write_card
from dbeta.training.collate import PretrainCollator
from dbeta.training.data import Data, Panel, load_data
from dbeta.training.figures import draw_log
from dbeta.training.model_config import make_config, make_model, read_start
from dbeta.training.parts import freeze
from dbeta.training.recipe import Recipe
from dbeta.training.stream import TrainingStream
from dbeta.training.trainer import PretrainTrainer, last_checkpoint, remove_incomplete
from dbeta.training.validation import FEWEST_POSITIVES, embed_corpus, zero_shot_auroc


def load_tokenizer(recipe: Recipe) -> Any:
    """The tokenizer that a recipe names, or that of the checkpoint it starts from.

    Raises:
        DBetaError: it cannot be loaded.
    """
    source = recipe.start_folder or recipe.tokenizer
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise DBetaError(
            f'{recipe.where}: no tokenizer could be loaded from {source}; name a folder or hub id, or "train"'
        ) from error


def build_model(recipe: Recipe, texts: Sequence[str]) -> tuple[DBetaModel, DBetaProcessor]:
    """Build the model and processor that a recipe describes.

    Args:
        recipe: the run.
        texts: texts to train a tokenizer on, if the recipe asks for one.
    """
    config = make_config(recipe)
    if recipe.trains_tokenizer:
        # Trained in one process only: a different counting order may give different merges
        tokenizer: Any = broadcast_object_list([train_tokenizer(texts, config.text_config.vocab_size)])[0]
    else:
        tokenizer = load_tokenizer(recipe)
    config.text_config.pad_token_id = tokenizer.pad_token_id
    config.text_config.eos_token_id = tokenizer.eos_token_id
    if len(tokenizer) > config.text_config.vocab_size:
        raise DBetaError(
            f"{recipe.where}: the tokenizer has {len(tokenizer)} tokens, "
            f"the text encoder has room for {config.text_config.vocab_size}"
        )
    model = make_model(recipe, config)
    if recipe.text_encoder is not None:
        try:
            model.text_encoder.load_pretrained(recipe.text_encoder)
        except (OSError, ValueError, RuntimeError) as error:
            raise DBetaError(
                f"{recipe.where}: no T5 encoder of these sizes could be loaded from {recipe.text_encoder}; "
                "name a folder or hub id"
            ) from error
    if recipe.start_folder is not None:
        _load_start(model, recipe.start_folder / "model.safetensors")
    processor = DBetaProcessor.of_model(config, tokenizer)
    return model, processor


def _read_weights(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise DBetaError(f"start_from: {file}: cannot be read ({error}); get the checkpoint again") from None


def _load_start(model: DBetaModel, file: Path) -> None:
    """Load a checkpoint's weights into a model; parts that the checkpoint lacks keep their initial weights."""
    given = _read_weights(file)
    own = model.state_dict()
    for name, value in given.items():
        if name in own and own[name].shape != value.shape:
            raise DBetaError(
                f"start_from: {file}: {name} has shape {tuple(value.shape)}, but the recipe's model has "
                f"{tuple(own[name].shape)}; remove the sizes from the recipe's model section"
            )
    if not own.keys() & given.keys():
        raise DBetaError(f"start_from: {file}: has no weights that fit this model; name another checkpoint")
    model.load_state_dict(given, strict=False)


@torch.no_grad()
def blend_with_start(model: DBetaModel, file: Path, share: float) -> None:
    """Interpolate a model's weights towards the checkpoint it started from, in place.

    Source: WiSE-FT (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022), section 3.

    Args:
        model: the trained model.
        file: weights that it started from; parameters missing there are left unchanged.
        share: 0 keeps the model, 1 returns to the start.
    """
    given = _read_weights(file)
    for name, value in model.named_parameters():
        if name in given:
            value.lerp_(given[name].to(value), share)


def count_steps(args: Any, records: int) -> int:
    """Number of steps of a run: `max_steps`, or as many as `num_train_epochs` over the records take."""
    if args.max_steps > 0:
        return args.max_steps
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size()
    return max(1, round(args.num_train_epochs * records / per_step))


def make_trainer(recipe: Recipe, data: Data) -> PretrainTrainer:
    """Make the trainer of a run.

    Raises:
        DBetaError: a setting of the recipe is invalid.
    """
    args = training_arguments(recipe)
    torch.manual_seed(args.seed)
    model, processor = build_model(recipe, data.texts() if recipe.trains_tokenizer else [])
    freeze(model, recipe.optimizer.rates)
    if not any(one.requires_grad for one in model.parameters()):
        raise DBetaError(f"{recipe.where}: optimizer.rates freezes all of this model; leave a part above 0")
    per_batch = args.per_device_train_batch_size * world_size()
    args.max_steps = count_steps(args, data.records)
    length = args.max_steps * args.gradient_accumulation_steps * per_batch
    collator = PretrainCollator(
        processor,
        model.config,
        recipe.collator,
        decided=data.decided,
        negatives=data.negatives,
        seed=args.seed,
        global_batch=per_batch,
    )
    return PretrainTrainer(
        model=model,
        args=args,
        train_dataset=TrainingStream(data.training, data.weights, length, args.seed),
        eval_dataset=data.validation,
        data_collator=collator,
        processor=processor,
        pairs=recipe.collator.pairs,
        optimization=recipe.optimizer,
    )


def pretrain(recipe: Recipe, *, resume: bool = False) -> Path:
    """Run a recipe and write the checkpoint: weights, configuration, processor, reference panel, log and plots.

    Args:
        recipe: the run.
        resume: continue from the run's last checkpoint; starts from the beginning if there is none.

    Returns:
        The checkpoint's folder, `recipe.output`: the best step by validation; its subfolder `last` holds the last.

    Raises:
        DBetaError: the recipe, the corpus or the output folder cannot be used, or a loss was not finite.
    """
    output = Path(recipe.output)
    if (output / "model.safetensors").exists():
        raise DBetaError(f"{output}: already contains a model; choose another --output or remove it")
    steps_dir = output / "steps"
    if steps_dir.exists() and any(steps_dir.iterdir()) and not resume:
        raise DBetaError(f"{output}: contains an unfinished run; continue with --resume or remove it")
    data = load_data(recipe)
    trainer = make_trainer(recipe, data)
    if trainer.is_world_process_zero():
        remove_incomplete(steps_dir)
    trainer.accelerator.wait_for_everyone()
    start = last_checkpoint(steps_dir) if resume else None
    trainer.train(resume_from_checkpoint=None if start is None else str(start))
    if recipe.start_folder is not None and recipe.start_share:
        blend_with_start(trainer.model, recipe.start_folder / "model.safetensors", recipe.start_share)
    write_result(trainer, recipe, data)
    return output


def _trained_on(recipe: Recipe, data: Data) -> list[str] | None:
    """Names of the datasets the weights were trained on, including those of the starting checkpoint."""
    sources = {rows.source for rows in data.training}
    if recipe.start_folder is not None:
        before = read_start(recipe.start_folder).get("trained_on")
        if before is None:
            return None  # what it was trained on is unknown
        sources |= set(before)
    return sorted(sources)


def write_result(trainer: PretrainTrainer, recipe: Recipe, data: Data) -> None:
    """Write a finished run's checkpoint; all processes compute, only the first writes."""
    output = Path(recipe.output)
    model, processor, state = trainer.model, trainer.processor, trainer.state
    figure = zero_shot_auroc(model, processor, data.validation)
    panel = embed_corpus(model, processor, Panel(data.training))
    if not trainer.is_world_process_zero():
        trainer.accelerator.wait_for_everyone()
        return
    partial = output / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.config.trained_on = _trained_on(recipe, data)
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
        corpora=[rows.describe() for rows in data.training],
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
    # Not `replacing`, since the output folder also holds the steps of the run: the weights, which tell a finished run,
    # come last
    mode = (partial / "config.json").stat().st_mode
    shutil.rmtree(output / "last", ignore_errors=True)
    for file in sorted(partial.iterdir(), key=lambda file: file.name == "model.safetensors"):
        if file.is_file():
            file.chmod(mode)  # safetensors creates files that only their owner can read
        file.rename(output / file.name)
    partial.rmdir()
    trainer.accelerator.wait_for_everyone()
