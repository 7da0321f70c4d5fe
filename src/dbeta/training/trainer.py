"""The training loop: `transformers.Trainer` with this project's losses, rates, log and safeguards.

Special here: nothing but the model's own state decides what a step does (`stream`, `collate`), so a resumed run equals
an uninterrupted one; and a step whose loss or gradient is not finite never reaches the weights.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import Trainer

from dbeta.errors import DBetaError
from dbeta.model.distributed import rank, world_size
from dbeta.model.losses import IGNORED
from dbeta.model.processor import DBetaProcessor
from dbeta.training.flops import count_flops, matrix_peak
from dbeta.training.muon import Muon, hidden_matrices
from dbeta.training.pairs import with_signs
from dbeta.training.recipe import Optimization
from dbeta.training.validation import zero_shot_auroc

LOSSES = ("mlm_loss", "mem_loss", "etm_loss", "ets_loss")
#: Parts of the model that get the plain learning rate.
ENCODERS = frozenset(("ecg_encoder", "text_encoder"))
#: Where a schedule starts and ends, as a share of the full rate.
LOWEST_RATE = 0.01


class PretrainTrainer(Trainer):
    """Trains on a `TrainingStream` and measures zero-shot AUROC in evaluation.

    Args:
        processor: the model's.
        pairs: rule for the signs of ETS (`dbeta.training.pairs`).
        optimization: rates and schedule.
        **kwargs: those of `Trainer`.
    """

    optimizer: Any
    lr_scheduler: Any

    def __init__(self, *, processor: DBetaProcessor, pairs: str, optimization: Optimization, **kwargs: Any) -> None:
        """Keep what the steps need."""
        super().__init__(**kwargs)
        self.processor = processor
        self.pairs = pairs
        self.optimization = optimization
        self._meter = Meter()
        self._batch: dict[str, Any] = {}
        self._paused = 0.0
        self._since: tuple[int, float] | None = None
        self._step_flops = self._peak = 0.0

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        """In order: the stream is shuffled already."""
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def create_optimizer(self, model: Any = None) -> Any:
        """The heads' rate apart from the encoders' (an independent reimplementation found 5× stable); Muon if asked."""
        model = self.model if model is None else model
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(model))
            muon = self.optimization.matrices == "muon"
            inner = hidden_matrices(model) if muon else frozenset()
            groups: dict[tuple[bool, bool, bool], list[Any]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    plain = not ENCODERS.isdisjoint(name.split("."))  # wrappers put their own names in front
                    groups.setdefault((not plain, name in decayed, name in inner), []).append(parameter)
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, model)
            if muon:
                if self.is_fsdp_enabled:
                    raise DBetaError("optimizer.matrices needs whole weights; leave it out with training.fsdp")
                if not issubclass(kind, torch.optim.AdamW):
                    raise DBetaError(f"optimizer.matrices goes with AdamW, not with {self.args.optim.value}")
                kind = Muon
            rate = settings.pop("lr", self.args.learning_rate)
            self.optimizer = kind(
                [
                    {
                        "params": parameters,
                        "lr": rate
                        * (self.optimization.head_rate if head else 1.0)
                        * (self.optimization.matrix_rate if matrix else 1.0),
                        "weight_decay": self.args.weight_decay if decay else 0.0,
                        **({"muon": matrix} if muon else {}),
                    }
                    for (head, decay, matrix), parameters in sorted(groups.items(), key=lambda one: one[0])
                ],
                lr=rate,
                **settings,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The recipe's schedule."""
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
        """Forward and backward of one batch; stops where the loss is not finite."""
        if not self._step_flops:
            # Three times the forward pass: the backward pass costs two of it (Kaplan et al. 2020, section 2.1)
            self._step_flops = (
                3 * count_flops(self.model, self._prepare_inputs(inputs)) * self.args.gradient_accumulation_steps
            )
            self._peak = matrix_peak(self.args.device, torch.bfloat16 if self.args.bf16 else torch.float32)
        if self._since is None:
            self._since = (self.state.global_step, time.perf_counter())
        self._batch = inputs
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise self._diverged("loss")
        return loss

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """The weighted loss; its parts are remembered for the log."""
        ready = with_signs(inputs, self.pairs)
        output = model(**ready)
        self._meter.add(output, ready)
        return (output.loss, output) if return_outputs else output.loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The gradient's norm; stops where it is not finite, before the optimizer's step (fp16 has its own guard)."""
        norm = super()._get_grad_norm(model, grad_norm)
        if not self.args.fp16 and not math.isfinite(norm):
            raise self._diverged("gradient")
        return norm

    def _diverged(self, what: str) -> DBetaError:
        """What to tell of a step that must not be taken; the batch is kept."""
        file = Path(self.args.output_dir).parent / f"bad-batch-{self.state.global_step + 1}-{rank()}.safetensors"
        save_file({name: tensor.cpu().contiguous() for name, tensor in _flat(self._batch)}, file)
        kept = last_checkpoint(Path(self.args.output_dir))
        then = f"go on from {kept} with --resume" if kept else "start again"
        return DBetaError(
            f"the {what} is not finite in step {self.state.global_step + 1}; that step was not taken and its batch is "
            f"in {file}: mend the corpus or lower training.learning_rate, then {then}"
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add each loss, accuracies, embedding rank, speed and utilisation since the last log."""
        if "loss" in logs:
            logs |= self._meter.take()
            logs |= self._speed()
        super().log(logs, *args, **kwargs)

    def _speed(self) -> dict[str, float]:
        if self._since is None:
            return {}
        step, then = self._since
        now = time.perf_counter()
        seconds = now - then - self._paused
        self._since, self._paused = (self.state.global_step, now), 0.0
        steps = self.state.global_step - step
        if steps < 1 or seconds <= 0:
            return {}
        per_step = self.args.train_batch_size * self.args.gradient_accumulation_steps * world_size()
        return {
            "samples_per_second": round(steps * per_step / seconds, 2),
            "mfu": round(steps * self._step_flops / seconds / self._peak, 4),
        }

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Zero-shot AUROC over the findings of the validation split, as `eval_zero_shot`."""
        start = time.perf_counter()
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        metrics = {"eval_zero_shot": zero_shot_auroc(self.model, self.processor, dataset)}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._paused += time.perf_counter() - start
        return metrics

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The state that makes a checkpoint whole comes after this, and must not come before another process's file
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        start = time.perf_counter()
        super()._save_checkpoint(model, trial)
        self._paused += time.perf_counter() - start


class Meter:
    """Sums of what is logged, over the micro-batches since the last log."""

    def __init__(self) -> None:
        """Start empty."""
        self.sums: dict[str, Tensor] = {}
        self.embeds: Tensor | None = None

    @torch.no_grad()
    def add(self, output: Any, batch: dict[str, Tensor]) -> None:
        """Count a batch."""
        device = output.ecg_embeds.device
        counted = {name: output[name].detach().double() for name in LOSSES if output.get(name) is not None}
        counted["batches"] = torch.ones((), dtype=torch.double, device=device)
        if output.get("etm_logits") is not None:
            correct = output.etm_logits.argmax(dim=-1) == batch["aligned"].long()
            counted["etm_right"] = correct.sum().double()
            counted["pairs"] = torch.tensor(float(len(correct)), dtype=torch.double, device=device)
            labels = batch["mlm_labels"]
            counted["mlm_right"] = (output.mlm_logits.argmax(dim=-1) == labels).sum().double()
            counted["tokens"] = (labels != IGNORED).sum().double()
        for name, value in counted.items():
            self.sums[name] = self.sums.get(name, 0) + value
        self.embeds = output.ecg_embeds.detach().float()

    def take(self) -> dict[str, float]:
        """Means over all processes, and the rank of this one's last embeddings; starts anew."""
        if not self.sums:
            return {}
        names = sorted(self.sums)
        values = torch.stack([self.sums[name] for name in names])
        if world_size() > 1:
            torch.distributed.all_reduce(values)
        total = dict(zip(names, values.tolist(), strict=True))
        logs = {name: total[name] / total["batches"] for name in LOSSES if name in total}
        if "pairs" in total:
            logs["etm_accuracy"] = total["etm_right"] / total["pairs"]
        if total.get("tokens"):
            logs["mlm_accuracy"] = total["mlm_right"] / total["tokens"]
        if self.embeds is not None:
            logs["embedding_rank"] = effective_rank(self.embeds)
        self.sums, self.embeds = {}, None
        return logs


def effective_rank(embeds: Tensor) -> float:
    """How many directions embeddings (n, D) use: exp of the entropy of their singular values (RankMe, Garrido 2023)."""
    values = torch.linalg.svdvals(embeds.cpu() - embeds.cpu().mean(dim=0))
    share = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-(share * (share + 1e-12).log()).sum()))


def three_stages(done: float, warmup: float, hold: float) -> float:
    """The share of the full learning rate when a share of the run is done: linear rise, constant, exponential fall."""
    if done < warmup:
        return LOWEST_RATE + (1 - LOWEST_RATE) * done / warmup
    if done <= warmup + hold:
        return 1.0
    return LOWEST_RATE ** ((done - warmup - hold) / (1 - warmup - hold))


def last_checkpoint(steps_dir: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end; its state comes last."""
    found = sorted(steps_dir.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    return next((folder for folder in reversed(found) if _complete(folder)), None)


def remove_incomplete(steps_dir: Path) -> None:
    """Delete what a killed run was in the middle of writing."""
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
