"""The heart's electrical field over one beat, as sums of bell curves with a direction each.

A wave may rise faster than it falls or the reverse, as T waves do. Everything is a sum, so that the effects of findings
combine as they do in patients.

Axes as in `torso`; times in seconds from the onset of the QRS complex, vectors in mV.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Of a template: from before the QRS complex (a pacing spike or a delta wave begins on time) to after the longest QT.
BEGIN, END = -0.04, 0.76


@dataclass
class Bells:
    """Bell curves of B records.

    Attributes:
        center: (B, K) seconds.
        before: (B, K) seconds, width on the rising side.
        after: (B, K) seconds, width on the falling side.
        vector: (B, K, P) mV; the parts are x, y, z and, where there are five, the local ones.
    """

    center: Tensor
    before: Tensor
    after: Tensor
    vector: Tensor

    def sampled(self, times: Tensor) -> Tensor:
        """Their sum at times (W,): (B, P, W)."""
        distance = times - self.center[..., None]  # (B, K, W)
        steepness = torch.where(distance < 0, 1 / self.before[..., None], 1 / self.after[..., None])
        return self.vector.transpose(1, 2) @ distance.mul_(steepness).square_().mul_(-0.5).exp_()


class Tents(Bells):
    """Tents instead of bell curves, with widths from the top to the foot: their corners are what is sharp in a beat."""

    def sampled(self, times: Tensor) -> Tensor:
        """Their sum at times (W,): (B, P, W)."""
        distance = times - self.center[..., None]  # (B, K, W)
        steepness = torch.where(distance < 0, -1 / self.before[..., None], 1 / self.after[..., None])
        return self.vector.transpose(1, 2) @ distance.mul_(steepness).neg_().add_(1).clamp_(min=0)


def joined(*parts: Bells) -> Bells:
    """All bells of several parts."""
    return Bells(*(torch.cat(list(field), dim=1) for field in zip(*(vars(one).values() for one in parts), strict=True)))
