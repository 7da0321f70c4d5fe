"""Projects the heart's dipole onto the body-surface leads.

Each record has its own lead matrix: Dower's, rotated and scaled, with shifted precordial electrodes at varying distance
from the heart.

Axes as in Frank's system: x to the left, y to the feet, z to the back; mV.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: The measured leads, from which III, aVR, aVL and aVF are derived.
MEASURED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
#: Dower's transformation (Dower, Machado and Osborne 1980): lead = row · (x, y, z).
DOWER = (
    (0.632, -0.235, 0.059),
    (0.235, 1.066, -0.132),
    (-0.515, 0.157, -0.917),
    (0.044, 0.164, -1.387),
    (0.882, 0.098, -1.277),
    (1.213, 0.127, -0.601),
    (1.125, 0.127, -0.086),
    (0.831, 0.076, 0.230),
)
#: Factors by which the leads of healthy people are larger than Dower's, measured on PTB-XL's folds 1 to 8.
NEARNESS = (1.14, 0.96, 0.80, 1.26, 0.91, 0.84, 0.83, 0.97)
#: Intercostal spaces by which precordial electrodes lie lower relative to the heart than in Dower's chest.
LOWER = (0.0, 0.0, 0.3, 0.7, 0.7, 0.6)
#: Precordial electrode positions, counted from 0, nearest to the `front` and the `side` of the left ventricle.
LOCAL = (1.6, 4.2)


def lead_matrices(normal: Tensor, shift: Tensor, angles: Tensor) -> Tensor:
    """Compute one lead matrix per record: (B, 8, 5); the last two columns are the local components.

    Args:
        normal: (B, 8, 3) random numbers for individual variation.
        shift: (B, 2) displacement of the precordial electrodes: along the row, in electrode distances (positive to the
            left), and across it, in intercostal spaces (positive downwards).
        angles: (B, 3) radians by which the heart is rotated about x, y and z (see `rotations`).
    """
    dower = torch.tensor(DOWER, device=normal.device) * torch.tensor(NEARNESS, device=normal.device)[:, None]
    chest = dower[2:].expand(len(normal), -1, -1)
    # Interpolated between neighbours and extrapolated a little beyond the ends
    place = (torch.arange(6.0, device=normal.device) + shift[:, :1]).clamp(-0.7, 5.7)  # (B, 6)
    low = place.floor().long().clamp(0, 4)
    part = (place - low)[..., None]
    rows = low[..., None].expand(-1, -1, 3)
    chest = chest.gather(1, rows) * (1 - part) + chest.gather(1, rows + 1) * part
    lower = shift[:, 1:, None] + torch.tensor(LOWER, device=normal.device)[:, None]  # (B, 6, 1)
    lower = torch.tensor([0.0, 0.35, 0.0], device=normal.device) * lower
    matrix = torch.cat([dower[:2].expand(len(normal), -1, -1), chest + lower], dim=1)
    own = torch.cat([normal[:, :2], _smoothed(normal[:, 2:])], dim=1)
    near = (0.18 * own[:, :, :1]).exp()
    near[:, :2] = 1  # limb leads are far from the heart in everybody
    dipole = (matrix * near + 0.06 * own.roll(1, dims=2)) @ rotations(angles)
    middles = torch.tensor(LOCAL, device=normal.device)  # (2,)
    distance = torch.arange(6.0, device=normal.device)[:, None] + shift[:, :1, None] - middles  # (B, 6, 2)
    local = nn.functional.pad((-0.5 * (distance / 0.95).square()).exp(), (0, 0, 2, 0))
    return torch.cat([dipole, local * near], dim=2)


def _smoothed(along: Tensor) -> Tensor:
    """Smooth random numbers (B, 6, K) over neighbouring precordial electrodes, keeping their variance."""
    padded = torch.cat([along[:, :1], along, along[:, -1:]], dim=1)
    mixed = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return mixed / mixed.new_tensor([10, 6, 6, 6, 6, 10])[:, None].sqrt()


def rotations(angles: Tensor) -> Tensor:
    """Rotation matrices (B, 3, 3) about x, then y, then z; positive about z turns the frontal axis to the right."""
    a, b, c = angles.unbind(dim=1)
    one, nil = torch.ones_like(a), torch.zeros_like(a)
    about_x = torch.stack([one, nil, nil, nil, a.cos(), -a.sin(), nil, a.sin(), a.cos()], dim=1).view(-1, 3, 3)
    about_y = torch.stack([b.cos(), nil, b.sin(), nil, one, nil, -b.sin(), nil, b.cos()], dim=1).view(-1, 3, 3)
    about_z = torch.stack([c.cos(), -c.sin(), nil, c.sin(), c.cos(), nil, nil, nil, one], dim=1).view(-1, 3, 3)
    return about_z @ about_y @ about_x


def all_leads(measured: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute the twelve leads in the standard order from the eight measured: (B, 8, T) → (B, 12, T), or into `out`."""
    if out is None:
        out = measured.new_empty(len(measured), 12, measured.shape[2])
    one, two = measured[:, 0], measured[:, 1]
    out[:, :2] = measured[:, :2]
    torch.sub(two, one, out=out[:, 2])
    torch.add(one, two, out=out[:, 3]).mul_(-0.5)
    torch.sub(one, two, alpha=0.5, out=out[:, 4])
    torch.sub(two, one, alpha=0.5, out=out[:, 5])
    out[:, 6:] = measured[:, 2:]
    return out
