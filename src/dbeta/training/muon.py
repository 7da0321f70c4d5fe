"""Muon for the model's hidden matrices and AdamW for everything else, as one optimizer.

The update is that of `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, with two differences: it orthogonalizes
in the gradient's own precision instead of bfloat16, which is slow on many CPUs and rounds each update by about 1 %; and
it also handles convolutions, flattened to matrices.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale of an update that lets
it share AdamW's learning rate and decay is that of Liu et al. 2025, "Muon is scalable for LLM training", section 2.2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

#: Coefficients of the quintic Newton-Schulz iteration that lifts small singular values fastest (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95
#: Root mean square of an update in units of the learning rate, about that of AdamW.
UPDATE_RMS = 0.2
#: Weights with a dimension below this go to AdamW: there is little to orthogonalize.
SMALLEST_SIDE = 16
#: Layers whose outputs are not hidden features but logits of words or samples of an ECG.
OUTPUTS = frozenset(("decoder", "predict"))


class Muon(torch.optim.AdamW):
    """AdamW, except that parameter groups with `muon: True` are updated with orthogonalized momentum.

    Args:
        groups: parameter groups; those with `muon` contain `hidden_matrices`.
        **settings: arguments of `torch.optim.AdamW`; learning rate and decay also apply to Muon's groups.
    """

    def __init__(self, groups: Any, **settings: Any) -> None:
        """Create the optimizer."""
        super().__init__(groups, **settings)
        for group in self.param_groups:
            group.setdefault("muon", False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all groups; the closure is evaluated once, before any update.

        Returns:
            The closure's loss, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        every = self.param_groups
        for group in every:
            if group["muon"]:
                self._step_matrices(group)
        self.param_groups = [group for group in every if not group["muon"]]
        try:
            super().step()
        finally:
            self.param_groups = every
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
                state["step"] = torch.tensor(0.0)  # AdamW expects it in every state it loads
            state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
            ahead = parameter.grad.lerp(state["momentum"], MOMENTUM)  # Nesterov momentum
            update = orthogonalize(ahead.flatten(1)).view_as(parameter)
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            scale = UPDATE_RMS * math.sqrt(max(len(parameter), parameter[0].numel()))
            parameter.add_(update, alpha=-group["lr"] * scale)


def hidden_matrices(model: nn.Module) -> frozenset[str]:
    """Names of weights that map hidden features to hidden features: no embeddings, norms, outputs or small ones."""
    return frozenset(
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d)
        and name.rpartition(".")[2] not in OUTPUTS
        and isinstance(module._parameters.get("weight"), nn.Parameter)  # a parametrization computes its weight
        and min(len(module.weight), module.weight[0].numel()) >= SMALLEST_SIDE
    )


def orthogonalize(matrix: Tensor) -> Tensor:
    """Compute the nearest matrix with singular values of about 1 (0.7 to 1.2), by Newton-Schulz iteration.

    Args:
        matrix: (rows, columns), any scale.

    Returns:
        Matrix of the same shape.
    """
    a, b, c = QUINTIC
    wide = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=1e-12)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x
