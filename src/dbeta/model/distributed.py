"""Gathering and averaging across processes for the losses; each function is a no-op in a single process.

Gradients flow through gathered tensors and means are over all processes' items, so that DDP, which averages the
processes' gradients, gets the gradient of the joint batch.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    """All processes' tensors, one after another; backwards, each gets the sum of what came back for its own."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        """(B, …) → (processes · B, …)."""
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        """(processes · B, …) → (B, …)."""
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        return grad.chunk(world_size())[rank()]


def gather(x: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks, with gradients: (B, …) → (processes · B, …)."""
    return x if world_size() == 1 else _Gather.apply(x)


def mean_over_all(total: Tensor, count: Tensor) -> Tensor:
    """A process's share of a mean over all processes' items: the mean of these shares is that mean.

    Args:
        total: scalar, sum over this process's items.
        count: scalar, how many they are; no items at all give 0.
    """
    processes = world_size()
    if processes > 1:
        count = count.detach().clone()
        dist.all_reduce(count)
    return total * processes / count.clamp(min=1)
