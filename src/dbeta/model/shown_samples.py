"""What the MEM head may read of the recording itself: the shown samples, and regression of leads on one another.

Twelve leads are projections of nearly the same sources, so most of a lead is a linear combination of the others. A
network has to learn this combination for each set of leads anew; with the leads' correlations as its only parameters,
regression has it for all sets at once, and the network predicts the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Share of a lead's variance that is noise of its own.
NOISE = 0.01
#: Share of a token's samples that are not 0 where a lead was recorded.
RECORDED = 0.5


def shown_samples(ecg: Tensor, hidden: Tensor | None, n_tokens: int, samples_per_token: int) -> tuple[Tensor, Tensor]:
    """The samples of the visible tokens, each lead standardised over what is shown of it.

    Args:
        ecg: (B, leads, samples), 0 where a lead is masked.
        hidden: (B, tokens) bool, tokens that must not be read.
        n_tokens: number of tokens.
        samples_per_token: samples of each.

    Returns:
        (B, tokens, leads, samples per token) float32, 0 where nothing is shown; (B, tokens, leads) bool, where
        something is.
    """
    x = ecg[..., : n_tokens * samples_per_token].float().unflatten(-1, (n_tokens, -1)).transpose(1, 2)
    seen = (x != 0).float().mean(dim=-1) > RECORDED
    if hidden is not None:
        seen = seen & ~hidden[..., None]
    used = seen.float()
    count = used.sum(dim=1).clamp(min=1) * samples_per_token  # (B, leads)
    mean = (x.sum(dim=-1) * used).sum(dim=1) / count
    x = (x - mean[:, None, :, None]) * used[..., None]
    return x / (x.square().sum(dim=(1, 3)) / count + 1e-6).sqrt()[:, None, :, None], seen


class LeadRegression(nn.Module):
    """Expected standardised signal of each lead, given those that are shown in the same token; 0 where none is."""

    def __init__(self, leads: int) -> None:
        """Start with uncorrelated leads, which predict nothing."""
        super().__init__()
        #: Its product with its transpose is the leads' covariance.
        self.factor = nn.Parameter(torch.eye(leads))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Predict all leads from `shown_samples`: (B, tokens, leads, samples per token) float32."""
        with torch.autocast(x.device.type, enabled=False):
            used = seen.float()
            factor = self.factor.float()
            covariance = factor @ factor.T
            # Leads that are not used stand alone, so that one system serves every set of leads
            system = covariance * used[..., :, None] * used[..., None, :]
            system = system + torch.diag_embed(NOISE + 1 - used)
            return covariance @ (torch.linalg.solve(system, x) * used[..., None])
