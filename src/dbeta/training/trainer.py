"""The training loop: `transformers.Trainer` with this project's losses, learning rates, log and safeguards.

A step depends only on the trainer's saved state (`stream`, `collate`), so a resumed run equals an uninterrupted one. A
step whose loss or gradient is not finite never changes the weights.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer

from dbeta.errors import DBetaError
from dbeta.model.distributed import rank, world_size
from dbeta.model.processor import DBetaProcessor
from dbeta.training.flops import count_flops, matrix_peak
from dbeta.training.meter import Meter, Stopwatch
from dbeta.training.muon import Muon, hidden_matrices
from dbeta.training.pairs import with_signs
from dbeta.training.parts import rate_of
from dbeta.training.recipe import Optimization
from dbeta.training.validation import zero_shot_auroc

#: Parts of the model trained at the base learning rate.
ENCODERS = frozenset(("ecg_encoder", "text_encoder"))
#: Learning rate at the start and end of a schedule, as a fraction of the full rate.
LOWEST_RATE = 0.01


class PretrainTrainer(Trainer):
    """Trains on a `TrainingStream` and evaluates zero-shot AUROC.

    Args:
        processor: the model's processor.
        pairs: labelling rule for ETS (`dbeta.training.pairs`).
        optimization: learning rates and schedule.
        **kwargs: arguments of `Trainer`.
    """

    optimizer: Any
    lr_scheduler: Any

    def __init__(self, *, processor: DBetaProcessor, pairs: str, optimization: Optimization, **kwargs: Any) -> None:
        """Store the settings."""
        super().__init__(**kwargs)
        self.processor = processor
        self.pairs = pairs
        self.optimization = optimization
        self._meter = Meter()
        self._stopwatch = Stopwatch()
        self.add_callback(self._stopwatch)
        self._batch: dict[str, Any] = {}
        self._step_flops = self._peak = 0.0

    def create_optimizer(self, model: Any = None) -> Any:
        """Use separate rates for encoders and heads (an independent reimplementation found 5× stable); Muon if set."""
        model = self.model if model is None else model
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(model))
            muon = self.optimization.matrices == "muon"
            inner = hidden_matrices(model) if muon else frozenset()
            groups: dict[tuple[bool, bool, bool, float], list[Any]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    plain = not ENCODERS.isdisjoint(name.split("."))  # wrappers add prefixes
                    key = not plain, name in decayed, name in inner, rate_of(name, self.optimization.rates)
                    groups.setdefault(key, []).append(parameter)
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, model)
            if muon:
                if self.is_fsdp_enabled:
                    raise DBetaError("optimizer.matrices needs unsharded weights; leave out it or training.fsdp")
                if not issubclass(kind, torch.optim.AdamW):
                    raise DBetaError(f"optimizer.matrices requires AdamW, not {self.args.optim.value}")
                kind = Muon
            rate = settings.pop("lr", self.args.learning_rate)
            self.optimizer = kind(
                [
                    {
                        "params": parameters,
                        "lr": rate
                        * part_rate
                        * (self.optimization.head_rate if head else 1.0)
                        * (self.optimization.matrix_rate if matrix else 1.0),
                        "weight_decay": self.args.weight_decay if decay else 0.0,
                        **({"muon": matrix} if muon else {}),
                    }
                    for (head, decay, matrix, part_rate), parameters in sorted(groups.items(), key=lambda one: one[0])
                ],
                lr=rate,
                **settings,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Use the recipe's schedule."""
        if self.optimization.schedule is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            warmup, hold = self.optimization.warmup, self.optimization.hold
            self.lr_scheduler = LambdaLR(
                self.optimizer if optimizer is None else optimizer,
                lambda step: three_stages(step / max(1, num_training_steps), warmup, hold),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Run forward and backward pass of one batch.

        Raises:
            DBetaError: the loss or the gradient is not finite.
        """
        if not self._step_flops:
            # Three times the forward pass, since the backward pass costs two (Kaplan et al. 2020, section 2.1)
            self._step_flops = (
                3 * count_flops(self.model, self._prepare_inputs(inputs)) * self.args.gradient_accumulation_steps
            )
            self._peak = matrix_peak(self.args.device, torch.bfloat16 if self.args.bf16 else torch.float32)
        self._stopwatch.start()
        self._batch = inputs
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise self._diverged("loss")
        if self.accelerator.sync_gradients and not self.args.fp16:  # fp16 skips such steps itself
            # Checked before clipping, which would turn an infinite norm into zeros; nothing is clipped here
            norm = self.accelerator.clip_grad_norm_(model.parameters(), math.inf)
            if norm is not None and not math.isfinite(norm):
                raise self._diverged("gradient")
        return loss

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """Compute the weighted loss; its components are kept for the log."""
        ready = with_signs(inputs, self.pairs)
        output = model(**ready)
        self._meter.add(output, ready)
        return (output.loss, output) if return_outputs else output.loss

    def _diverged(self, what: str) -> DBetaError:
        """Save the batch of a step that must not be taken, and return the error."""
        file = Path(self.args.output_dir).parent / f"bad-batch-{self.state.global_step + 1}-{rank()}.safetensors"
        save_file({name: tensor.cpu().contiguous() for name, tensor in _flat(self._batch)}, file)
        kept = last_checkpoint(Path(self.args.output_dir))
        then = f"continue from {kept} with --resume" if kept else "start over"
        return DBetaError(
            f"the {what} is not finite in step {self.state.global_step + 1}; the step was skipped and its batch is in "
            f"{file}. Repair the corpus or lower training.learning_rate, then {then}"
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add loss components, accuracies, embedding rank, speed and utilisation since the last log."""
        if "loss" in logs:
            logs |= self._meter.take()
            logs |= self._speed()
        super().log(logs, *args, **kwargs)

    def _speed(self) -> dict[str, float]:
        steps, seconds = self._stopwatch.take()
        if steps < 1 or seconds <= 0:
            return {}
        per_step = self.args.train_batch_size * self.args.gradient_accumulation_steps * world_size()
        return {
            "samples_per_second": round(steps * per_step / seconds, 2),
            "mfu": round(steps * self._step_flops / seconds / self._peak, 4),
        }

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Compute zero-shot AUROC over the findings of the validation split, as `eval_zero_shot`."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        metrics = {"eval_zero_shot": zero_shot_auroc(self.model, self.processor, dataset)}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_rng_state(self, output_dir: str) -> None:
        # `Trainer` has no public hook before it writes its state. That file marks a checkpoint as complete, so it must
        # not be written before the other processes' files
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()


def three_stages(done: float, warmup: float, hold: float) -> float:
    """Share of the full learning rate at a given share of the run: linear rise, constant, exponential decay."""
    if done < warmup:
        return LOWEST_RATE + (1 - LOWEST_RATE) * done / warmup
    if done <= warmup + hold:
        return 1.0
    return LOWEST_RATE ** ((done - warmup - hold) / (1 - warmup - hold))


def last_checkpoint(steps_dir: Path) -> Path | None:
    """The newest complete checkpoint of a run; it is complete once the trainer's state is written."""
    found = sorted(steps_dir.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    return next((folder for folder in reversed(found) if _complete(folder)), None)


def remove_incomplete(steps_dir: Path) -> None:
    """Delete incomplete checkpoints left by a killed run."""
    for folder in steps_dir.glob("checkpoint-*"):
        if not _complete(folder):
            shutil.rmtree(folder)


def _complete(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True


def _flat(batch: dict[str, Any], prefix: str = "") -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, value in batch.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return found
