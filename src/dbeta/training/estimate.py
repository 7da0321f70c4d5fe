"""Estimates the parameters, memory, steps and time of a run before it starts."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dbeta.errors import DBetaError
from dbeta.model import DBetaModel
from dbeta.model.config import DBetaConfig
from dbeta.model.distributed import world_size
from dbeta.training.arguments import training_arguments
from dbeta.training.data import load_data
from dbeta.training.flops import count_flops
from dbeta.training.model_config import make_config, make_model
from dbeta.training.parts import freeze
from dbeta.training.pretrain import count_steps, load_tokenizer
from dbeta.training.recipe import Recipe

#: Batch size of the timed step; the time of a step is scaled to the run's batch.
TIMED = 4
#: Text tokens per record in that batch.
TEXT_TOKENS = 48
GIB = 1024**3


@dataclass
class Estimate:
    """Figures of a dry run.

    Attributes:
        parameters: number of parameters of the model.
        records: number of training records, None if a corpus does not exist yet.
        batch: records per step, over all processes.
        steps: number of steps, None if it depends on an unknown number of records.
        flops_per_record: floating-point operations of a training step per record.
        state_gib: weights, gradients and Adam's two moments, float32.
        activations_gib: additional memory of a step, from a step of `TIMED` records scaled to the batch; on a CPU
            from the growth of the process, which is only approximate.
        seconds_per_step: measured on `TIMED` records and scaled.
        hours: duration of the run, without evaluation and saving.
        device: device that was timed.
        problems: reasons why the run could not start yet, such as a corpus that has not been built.
    """

    parameters: int
    records: int | None
    batch: int
    steps: int | None
    flops_per_record: float
    state_gib: float
    activations_gib: float
    seconds_per_step: float
    hours: float | None
    device: str
    problems: list[str]


def estimate(recipe: Recipe) -> Estimate:
    """Estimate a run by timing a small step of its model on this machine.

    Raises:
        DBetaError: a setting is invalid. A corpus that does not exist yet is not an error.
    """
    args = training_arguments(recipe)
    torch.manual_seed(args.seed)
    config = make_config(recipe)
    problems, records = [], None
    try:
        records = load_data(recipe).records
    except DBetaError as error:
        problems.append(str(error))
    if not recipe.trains_tokenizer:
        try:
            load_tokenizer(recipe)
        except DBetaError as error:
            problems.append(str(error))
    model = make_model(recipe, config).to(args.device).train()
    freeze(model, recipe.optimizer.rates)
    if args.gradient_checkpointing:
        model.activation_checkpointing_enable()
    batch = {name: value.to(args.device) for name, value in made_up_batch(model.config).items()}
    flops = 3 * count_flops(model, batch) / TIMED
    seconds, activations = _time_step(model, batch, args)
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps
    steps = count_steps(args, records or 0) if records or args.max_steps > 0 else None
    seconds_per_step = seconds * per_step / TIMED
    parameters = sum(one.numel() for one in model.parameters())
    return Estimate(
        parameters=parameters,
        records=records,
        batch=per_step * world_size(),
        steps=steps,
        flops_per_record=flops,
        state_gib=16 * parameters / GIB,
        activations_gib=activations * args.per_device_train_batch_size / TIMED,
        seconds_per_step=seconds_per_step,
        hours=None if steps is None else steps * seconds_per_step / 3600,
        device=torch.cuda.get_device_name() if args.device.type == "cuda" else f"{torch.get_num_threads()} threads",
        problems=problems,
    )


def made_up_batch(config: DBetaConfig, records: int = TIMED) -> dict[str, Tensor]:
    """Make a pretraining batch of noise."""
    ecg = torch.randn(records, len(config.leads), config.n_samples)
    ids = torch.randint(3, config.text_config.vocab_size, (records, min(TEXT_TOKENS, config.max_text_tokens)))
    return {
        "ecg": ecg,
        "target_ecg": ecg,
        "ids_restore": torch.stack([torch.randperm(config.n_tokens) for _ in range(records)]),
        "input_ids": ids,
        "target_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mlm_labels": ids,
        "aligned": torch.arange(records) % 2 == 0,
        "ets_labels": 2 * torch.eye(records) - 1,
    }


def _time_step(model: DBetaModel, batch: dict[str, Tensor], args: Any) -> tuple[float, float]:
    """Seconds of the faster of two training steps after a warm-up step, and GiB of memory beyond the state."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    gpu = args.device.type == "cuda"
    best, activations, start_memory = float("inf"), 0.0, _peak_memory()
    for _ in range(3):
        if gpu:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        start = time.perf_counter()
        with torch.autocast(args.device.type, torch.bfloat16, enabled=bool(args.bf16)):
            loss = model(**batch).loss
        loss.backward()
        activations = max(activations, (_peak_memory() - start_memory) / GIB)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        if gpu:
            torch.cuda.synchronize()
            activations = (torch.cuda.max_memory_allocated() - before) / GIB
        best = min(best, time.perf_counter() - start)
    return best, activations


def _peak_memory() -> int:
    """Peak memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def show(recipe: Recipe, found: Estimate) -> dict[str, Any]:
    """A dry run as JSON-compatible values."""
    return {"recipe": asdict(recipe), "estimate": asdict(found)}
