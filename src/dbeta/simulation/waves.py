"""Models the heart's electrical field over one beat as a sum of bell curves, each with a direction.

A wave may rise faster than it falls or vice versa, as T waves do. Everything is additive, so that the effects of
findings combine as they do in patients.

Axes as in `torso`; times in seconds from the onset of the QRS complex, vectors in mV.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Start and end of a template: before the QRS complex (for a pacing spike or delta wave), after the longest QT.
BEGIN, END = -0.04, 0.76


@dataclass
class Bells:
    """Bell curves of B records.

    Attributes:
        center: (B, K) seconds.
        before: (B, K) seconds, width on the rising side.
        after: (B, K) seconds, width on the falling side.
        vector: (B, K, P) mV; the components are x, y, z and, if there are five, the local ones.
    """

    center: Tensor
    before: Tensor
    after: Tensor
    vector: Tensor

    def sampled(self, times: Tensor) -> Tensor:
        """Sum of the curves at times (W,): (B, P, W)."""
        distance = times - self.center[..., None]  # (B, K, W)
        steepness = torch.where(distance < 0, 1 / self.before[..., None], 1 / self.after[..., None])
        return self.vector.transpose(1, 2) @ distance.mul_(steepness).square_().mul_(-0.5).exp_()


class Tents(Bells):
    """Triangular curves instead of bells, with widths from top to foot; their corners are the sharp parts of a beat."""

    def sampled(self, times: Tensor) -> Tensor:
        """Sum of the curves at times (W,): (B, P, W)."""
        distance = times - self.center[..., None]  # (B, K, W)
        steepness = torch.where(distance < 0, -1 / self.before[..., None], 1 / self.after[..., None])
        return self.vector.transpose(1, 2) @ distance.mul_(steepness).neg_().add_(1).clamp_(min=0)


def joined(*parts: Bells) -> Bells:
    """Concatenate the bells of several parts."""
    return Bells(*(torch.cat(list(field), dim=1) for field in zip(*(vars(one).values() for one in parts), strict=True)))
