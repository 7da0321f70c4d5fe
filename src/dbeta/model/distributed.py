"""Gathering and averaging across processes for the losses; each function is a no-op in a single process.

Gradients flow through gathered tensors, and means are taken over the items of all processes, so that DDP, which
averages the processes' gradients, computes the gradient of the joint batch.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    """Concatenates the tensors of all processes; the backward pass sums each process's gradients over all of them."""

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
    """Concatenate the rows of all processes in rank order, with gradients: (B, …) → (processes · B, …)."""
    return x if world_size() == 1 else _Gather.apply(x)


def mean_over_all(total: Tensor, count: Tensor) -> Tensor:
    """This process's share of a mean over the items of all processes; the mean of the shares is that mean.

    Args:
        total: scalar, sum over this process's items.
        count: scalar, number of this process's items; the result is 0 if no process has any.
    """
    processes = world_size()
    if processes > 1:
        count = count.detach().clone()
        dist.all_reduce(count)
    return total * processes / count.clamp(min=1)
