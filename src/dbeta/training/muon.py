"""Muon for the matrices inside the model, AdamW for everything else, as one optimizer.

Special here: `torch.optim.Muon` takes two-dimensional weights only and orthogonalises in bfloat16, for which many
processors have no units; this one also takes convolutions, flattened, and orthogonalises in the gradient's own type.

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
#: Root mean square of an update in units of the learning rate, about what AdamW's is.
UPDATE_RMS = 0.2
#: Weights with a side below this are AdamW's: there is little to orthogonalise.
SMALLEST_SIDE = 16
#: Layers whose outputs are no hidden features: logits of words, samples of an ECG.
OUTPUTS = frozenset(("decoder", "predict"))


class Muon(torch.optim.AdamW):
    """AdamW whose parameter groups with `muon: True` are orthogonalised momentum instead.

    Args:
        groups: parameter groups; those with `muon` hold `hidden_matrices`.
        **settings: of `torch.optim.AdamW`, also the learning rate and decay of Muon's groups.
    """

    def __init__(self, groups: Any, **settings: Any) -> None:
        """Make the optimizer."""
        super().__init__(groups, **settings)
        for group in self.param_groups:
            group.setdefault("muon", False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all groups."""
        every = self.param_groups
        for group in every:
            if group["muon"]:
                self._step_matrices(group)
        self.param_groups = [group for group in every if not group["muon"]]
        try:
            return super().step(closure)
        finally:
            self.param_groups = every

    def _step_matrices(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
                state["step"] = torch.tensor(0.0)  # which AdamW expects of every state that it loads
            state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
            ahead = parameter.grad.lerp(state["momentum"], MOMENTUM)  # Nesterov's
            update = orthogonalize(ahead.flatten(1)).view_as(parameter)
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            scale = UPDATE_RMS * math.sqrt(max(len(parameter), parameter[0].numel()))
            parameter.add_(update, alpha=-group["lr"] * scale)


def hidden_matrices(model: nn.Module) -> frozenset[str]:
    """Names of the weights that map hidden features onto hidden features: no table, no norm, no output, not small."""
    return frozenset(
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d)
        and name.rpartition(".")[2] not in OUTPUTS
        and isinstance(module._parameters.get("weight"), nn.Parameter)  # not what a parametrization computes
        and min(len(module.weight), module.weight[0].numel()) >= SMALLEST_SIDE
    )


def orthogonalize(matrix: Tensor) -> Tensor:
    """The nearest matrix with singular values of about 1 (0.7 to 1.2), by Newton-Schulz iteration.

    Args:
        matrix: (rows, columns), any scale.

    Returns:
        The same shape.
    """
    a, b, c = QUINTIC
    wide = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=1e-12)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x
