"""How much arithmetic a model's step is, and how much this machine could do: what utilisation is made of."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

#: Width of the square matrices whose product is taken for the machine's peak.
SIDE = {"cpu": 2048, "cuda": 8192}


@torch.no_grad()
def count_flops(model: nn.Module, batch: Mapping[str, Tensor]) -> float:
    """Floating-point operations of a forward pass, counted on two records of a batch and scaled to all of it."""
    n = len(batch["ecg"])
    few = {name: value[:2] if len(value) == n else value for name, value in batch.items()}
    few["ets_labels"] = few["ets_labels"][:, :2]
    few = {name: value for name, value in few.items() if not name.startswith("prompt_")}
    training = model.training
    model.eval()
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(**few)
    finally:
        model.train(training)
    return counter.get_total_flops() * n / len(few["ecg"])


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second that a large matrix product reaches on a device: the best of five, after one to warm up."""
    side = SIDE.get(device.type, 2048)
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
