"""Counts floating-point operations of a step and measures the machine's peak, to compute utilisation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

#: Maximum width of the square matrices multiplied to measure the machine's peak.
SIDE = {"cpu": 2048, "cuda": 8192}
#: Time limit of one product in seconds; types without hardware support can be a thousand times slower.
LONGEST = 0.2


@torch.no_grad()
def count_flops(model: nn.Module, batch: Mapping[str, Any]) -> float:
    """Count the floating-point operations of a forward pass on two records of a batch, scaled to the whole batch."""
    n = len(batch["ecg"])
    left_out = ("facts", "ets_labels", "prompt_ids", "prompt_mask")
    few = {name: value[:2] if value.ndim else value for name, value in batch.items() if name not in left_out}
    few["ets_labels"] = torch.ones(len(few["ecg"]), len(few["ecg"]), device=few["ecg"].device)
    training = model.training
    model.eval()
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(**few)
    finally:
        model.train(training)
    return counter.get_total_flops() * n / len(few["ecg"])


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product on a device: the best of five, after a warm-up."""
    side = 128
    while side < SIDE.get(device.type, 2048) and 8 * _seconds(side, device, dtype, 2) < LONGEST:
        side *= 2
    return 2 * side**3 / _seconds(side, device, dtype, 6)


def _seconds(side: int, device: torch.device, dtype: torch.dtype, times: int) -> float:
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return best
