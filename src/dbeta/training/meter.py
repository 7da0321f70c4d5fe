"""Collects what a pretraining run logs besides its loss: loss components, accuracies, embedding rank, step time."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from dbeta.model.distributed import world_size
from dbeta.model.losses import IGNORED, LOSS_FIELDS


class Stopwatch(TrainerCallback):
    """Measures the time of training steps, excluding evaluation and saving."""

    def __init__(self) -> None:
        """Start at zero; time runs from `start`."""
        self.running = False
        self.seconds, self.steps = 0.0, 0
        self._since = 0.0

    def start(self) -> None:
        """Start the stopwatch unless it is running."""
        if not self.running:
            self.running, self._since = True, time.perf_counter()

    def take(self) -> tuple[int, float]:
        """Return the steps and seconds since the last call."""
        taken = self.steps, self.seconds
        self.steps, self.seconds = 0, 0.0
        return taken

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Count the step and its time, including data loading."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self.steps += 1
        self._since = now

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        """Exclude the time since the step."""
        self._since = time.perf_counter()

    def on_save(self, *_: Any, **__: Any) -> None:
        """Exclude the time since the step or the evaluation."""
        self._since = time.perf_counter()


class Meter:
    """Accumulates logged figures over the micro-batches since the last log."""

    def __init__(self) -> None:
        """Start empty."""
        self.sums: dict[str, Tensor] = {}
        self.embeds: Tensor | None = None

    @torch.no_grad()
    def add(self, output: Any, batch: dict[str, Tensor]) -> None:
        """Count a batch."""
        device = output.ecg_embeds.device
        counted = {name: output[name].detach().double() for name in LOSS_FIELDS if output.get(name) is not None}
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
        """Return means over all processes and the rank of this process's last embeddings, then reset."""
        if not self.sums:
            return {}
        names = sorted(self.sums)
        values = torch.stack([self.sums[name] for name in names])
        if world_size() > 1:
            torch.distributed.all_reduce(values)
        total = dict(zip(names, values.tolist(), strict=True))
        logs = {name: total[name] / total["batches"] for name in LOSS_FIELDS if name in total}
        if "pairs" in total:
            logs["etm_accuracy"] = total["etm_right"] / total["pairs"]
        if total.get("tokens"):
            logs["mlm_accuracy"] = total["mlm_right"] / total["tokens"]
        if self.embeds is not None:
            logs["embedding_rank"] = effective_rank(self.embeds)
        self.sums, self.embeds = {}, None
        return logs


def effective_rank(embeds: Tensor) -> float:
    """Effective rank of embeddings (n, D): exp of the entropy of their singular values (RankMe, Garrido 2023)."""
    values = torch.linalg.svdvals(embeds.cpu() - embeds.cpu().mean(dim=0))
    share = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-(share * (share + 1e-12).log()).sum()))
