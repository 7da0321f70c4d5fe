"""What a heart is like: everything that shapes its beats, one number for each record.

Special here: findings are degrees, not cases. A bundle branch block may be half there, an infarct is a loss of early
forces from its territory, strain is a turn of the T wave; whatever combination is asked for follows.

Sources: vectors and durations as in Macfarlane et al., Comprehensive Electrocardiology; criteria as in the AHA/ACCF/HRS
recommendations (2009); territories as in the universal definition of myocardial infarction (2018).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dbeta.corpus.simulate.torso import rotations
from dbeta.corpus.simulate.waves import Bells, joined

#: Territories of the left ventricle → the direction from its middle, and how near each precordial electrode is.
TERRITORIES: dict[str, tuple[tuple[float, float, float], tuple[float, ...]]] = {
    "septal": ((-0.35, 0.15, -0.9), (1.0, 1.0, 0.5, 0.1, 0.0, 0.0)),
    "anterior": ((0.35, 0.1, -0.93), (0.3, 0.8, 1.0, 0.9, 0.3, 0.0)),
    "lateral": ((0.95, -0.15, 0.1), (0.0, 0.0, 0.0, 0.3, 1.0, 1.0)),
    "inferior": ((0.1, 0.98, 0.1), (0.0, 0.0, 0.0, 0.0, 0.1, 0.2)),
    "posterior": ((0.15, 0.2, 0.95), (-0.8, -1.0, -0.6, -0.1, 0.1, 0.3)),
}


@dataclass
class Heart:
    """B hearts; each (B,) unless said otherwise. Degrees are 0 for none and 1 for what is usual where a finding is.

    Attributes:
        qrs: duration of the QRS complex without block, seconds.
        qrs_gain: of the QRS complex.
        p_duration: seconds.
        p_gain: of the P wave.
        qt: QT interval at the mean rate, seconds.
        t_gain: of the T wave; negative ones are inverted.
        t_turn: (B, 2) radians of the T wave from its usual direction, in the frontal and the horizontal plane.
        right_block, left_block: of a bundle branch; 0.5 is incomplete.
        anterior_block, posterior_block: of a fascicle.
        delay: non-specific, of the ventricles.
        preexcitation: of a delta wave, with `pathway` (B, 3), its direction.
        left_load, right_load: ventricular hypertrophy.
        strain: secondary ST-T changes of what is loaded or blocked.
        left_atrium, right_atrium: enlargement.
        scar: (B, 5) loss of forces by territory, in the order of `TERRITORIES`.
        injury: (B, 5) ST elevation by territory, mV; negative is depression.
        ischemia: (B, 5) inversion of the T wave by territory.
        st: (B, 3) mV, a shift of the ST segment in all of the heart.
        sag: hollowing of the ST segment, as under digitalis, mV.
        peak: of the T wave, as in hyperkalemia.
        u_gain: of the U wave, mV.
        notch: of the J point, as in early repolarization, mV.
    """

    qrs: Tensor
    qrs_gain: Tensor
    p_duration: Tensor
    p_gain: Tensor
    qt: Tensor
    t_gain: Tensor
    t_turn: Tensor
    right_block: Tensor
    left_block: Tensor
    anterior_block: Tensor
    posterior_block: Tensor
    delay: Tensor
    preexcitation: Tensor
    pathway: Tensor
    left_load: Tensor
    right_load: Tensor
    strain: Tensor
    left_atrium: Tensor
    right_atrium: Tensor
    scar: Tensor
    injury: Tensor
    ischemia: Tensor
    st: Tensor
    sag: Tensor
    peak: Tensor
    u_gain: Tensor
    notch: Tensor

    @classmethod
    def healthy(cls, count: int) -> Heart:
        """So many textbook hearts."""
        wide = {"t_turn": 2, "pathway": 3, "scar": 5, "injury": 5, "ischemia": 5, "st": 3}
        usual = {"qrs": 0.09, "qrs_gain": 1.0, "p_duration": 0.1, "p_gain": 1.0, "qt": 0.39, "t_gain": 1.0}
        return cls(
            **{
                one.name: torch.full(
                    (count, wide[one.name]) if one.name in wide else (count,), usual.get(one.name, 0.0)
                )
                for one in fields(cls)
            }
        )


def _bells(shape: tuple[int, ...], rows: list[tuple[float, float, float, tuple[float, float, float]]]) -> Bells:
    """Rows of centre, widths before and after, and vector, the same for each record."""
    center, before, after, vector = (torch.tensor(list(column)) for column in zip(*rows, strict=True))
    return Bells(*(one.expand(*shape, *one.shape).clone() for one in (center, before, after, vector)))


def depolarization(heart: Heart) -> tuple[Bells, Tensor]:
    """The QRS complex, and its duration in seconds (B,)."""
    count = heart.qrs.shape[0]
    # Fractions of the duration: septum, apex, free wall, base
    normal = _bells(
        (count,),
        [
            (0.20, 0.085, 0.085, (-0.10, -0.05, -0.26)),
            (0.40, 0.100, 0.100, (0.70, 0.66, -0.36)),
            (0.56, 0.100, 0.100, (0.86, 0.62, 0.62)),
            (0.80, 0.085, 0.085, (-0.14, -0.22, 0.40)),
        ],
    )
    # Left ventricular load: more of the free wall, backwards and to the left; right: forwards and to the right
    left, right = heart.left_load[:, None], heart.right_load[:, None]
    normal.vector[:, 1] += left * torch.tensor([0.35, 0.05, -0.05]) + right * torch.tensor([-0.55, 0.25, -0.25])
    normal.vector[:, 2] += left * torch.tensor([0.95, 0.05, 0.75]) + right * torch.tensor([-1.15, 0.25, -0.95])
    normal.vector[:, 3] += left * torch.tensor([0.0, 0.0, 0.25]) + right * torch.tensor([-0.35, 0.0, 0.0])
    # A blocked fascicle: first away from its wall, then late towards it
    front, back = heart.anterior_block[:, None], heart.posterior_block[:, None]
    normal.vector[:, 0] += front * torch.tensor([0.05, 0.25, 0.05]) + back * torch.tensor([0.30, -0.25, 0.0])
    normal.vector[:, 1] += front * torch.tensor([0.05, -0.95, 0.1]) + back * torch.tensor([-0.75, 0.40, 0.0])
    normal.vector[:, 2] += front * torch.tensor([0.10, -1.35, 0.05]) + back * torch.tensor([-1.05, 0.55, 0.0])
    # A scar: the early forces that would come from there are missing
    directions = torch.tensor([direction for direction, _ in TERRITORIES.values()])
    lost = heart.scar @ directions  # (B, 3)
    normal.vector[:, 0] -= 0.30 * lost
    normal.vector[:, 1] -= 0.85 * lost
    normal.vector[:, 2] -= 0.35 * lost
    # Left bundle branch block: no septal force to the right, a slow and notched way to the left and back
    block = heart.left_block.clamp(0, 1)[:, None]
    normal.vector *= (1 - block)[..., None]
    slow = _bells(
        (count,),
        [
            (0.18, 0.09, 0.09, (0.35, 0.20, -0.05)),
            (0.42, 0.12, 0.12, (0.95, 0.35, 0.75)),
            (0.68, 0.12, 0.11, (1.05, 0.10, 0.85)),
        ],
    )
    slow.vector *= block[..., None]
    # Right bundle branch block: the right ventricle comes late, to the right and forwards
    late = _bells((count,), [(0.92, 0.10, 0.14, (-0.62, 0.05, -0.72)), (1.12, 0.12, 0.16, (-0.36, 0.02, -0.40))])
    late.vector *= heart.right_block[:, None, None]
    duration = heart.qrs + 0.055 * heart.left_block + 0.045 * heart.delay + 0.006 * (front + back)[:, 0]
    every = joined(normal, slow, late)
    every.center, every.before, every.after = (
        one * duration[:, None] for one in (every.center, every.before, every.after)
    )
    every.before *= 1 + 0.25 * heart.delay[:, None]
    every.after *= 1 + 0.25 * heart.delay[:, None]
    # A delta wave begins before, and widens the complex by as much
    delta = Bells(
        0.032 + torch.zeros(count, 1),
        0.016 + torch.zeros(count, 1),
        0.020 + torch.zeros(count, 1),
        (0.55 * heart.preexcitation)[:, None, None] * heart.pathway[:, None],
    )
    every.center = every.center + 0.028 * heart.preexcitation[:, None]
    every.vector = every.vector * heart.qrs_gain[:, None, None]
    total = duration + 0.045 * heart.right_block + 0.028 * heart.preexcitation
    return joined(every, delta), total


def repolarization(heart: Heart, qrs: Bells, duration: Tensor) -> Bells:
    """ST segment, T wave and U wave.

    Args:
        heart: of B records.
        qrs: their depolarisation, which decides where secondary changes point.
        duration: of it, seconds.
    """
    count = len(duration)
    directions = torch.tensor([direction for direction, _ in TERRITORIES.values()])
    forces = (qrs.vector * (qrs.before + qrs.after)[..., None]).sum(dim=1)  # (B, 3), the area of the complex
    against = -forces / forces.norm(dim=1, keepdim=True).clamp(min=1e-4)
    t = torch.tensor([0.28, 0.20, -0.17]).expand(count, 3)
    t = (t[:, None] @ rotation_about(heart.t_turn).transpose(1, 2))[:, 0] * heart.t_gain[:, None]
    t = t + 0.42 * heart.strain[:, None] * against - 0.45 * heart.ischemia @ directions
    t = t * (1 + 0.8 * heart.peak[:, None])
    narrow = 1 - 0.35 * heart.peak.clamp(0, 1)
    scale = heart.qt / 0.39
    end = heart.qt + duration - 0.09  # a wide complex delays its repolarisation
    peak = end - 0.085 * scale * narrow
    st = heart.st + heart.injury @ directions + 0.10 * heart.strain[:, None] * against
    plateau = (duration + peak) / 2 - 0.02
    waves = [
        (peak, 0.062 * scale * narrow, 0.036 * scale * narrow, t),
        (plateau, (plateau - duration) * 0.75, (peak - plateau) * 0.55, st),
        (plateau, (plateau - duration) * 0.50, (peak - plateau) * 0.50, heart.sag[:, None] * against),
        (end + 0.075, 0.028 * scale, 0.034 * scale, heart.u_gain[:, None] * torch.tensor([0.45, 0.35, -0.7])),
        (
            duration + 0.008,
            0.008 + 0 * scale,
            0.012 + 0 * scale,
            heart.notch[:, None] * torch.tensor([0.75, 0.55, -0.2]),
        ),
    ]
    center, before, after, vector = zip(*waves, strict=True)
    return Bells(torch.stack(center, 1), torch.stack(before, 1), torch.stack(after, 1), torch.stack(vector, 1))


def rotation_about(turn: Tensor) -> Tensor:
    """Rotations (B, 3, 3) by (frontal, horizontal) radians."""
    return rotations(torch.stack([torch.zeros_like(turn[:, 0]), turn[:, 1], turn[:, 0]], dim=1))


def atrial(heart: Heart) -> Bells:
    """The P wave: the right atrium first, then the left; times from its onset."""
    wave = _bells((len(heart.qrs),), [(0.36, 0.17, 0.17, (0.03, 0.095, -0.04)), (0.64, 0.17, 0.17, (0.06, 0.05, 0.04))])
    right, left = heart.right_atrium[:, None], heart.left_atrium[:, None]
    wave.vector[:, 0] += right * torch.tensor([0.0, 0.11, -0.03])
    wave.vector[:, 1] += left * torch.tensor([0.02, 0.01, 0.08])
    wave.vector = wave.vector * heart.p_gain[:, None, None]
    duration = heart.p_duration + 0.025 * heart.left_atrium
    wave.center[:, 1] += 0.06 * heart.left_atrium
    wave.center, wave.before, wave.after = (one * duration[:, None] for one in (wave.center, wave.before, wave.after))
    return wave


def ventricular(heart: Heart, direction: Tensor, duration: Tensor) -> Bells:
    """A beat that begins in the ventricles, and spreads through muscle: QRS and its opposite T wave.

    Args:
        heart: gives the gain and the QT interval.
        direction: (B, 3) unit vectors, away from where it begins.
        duration: (B,) seconds.
    """
    count = len(duration)
    turn = torch.tensor([[0.25, 0.0, 0.9], [0.0, 0.0, 0.0], [-0.5, 0.0, -0.6]])
    shape = _bells(
        (count,), [(0.22, 0.09, 0.10, (0, 0, 0)), (0.48, 0.13, 0.13, (0, 0, 0)), (0.76, 0.12, 0.12, (0, 0, 0))]
    )
    size = torch.tensor([0.55, 1.55, 0.85])
    shape.vector = (direction[:, None] + 0.35 * turn) * size[:, None] * heart.qrs_gain[:, None, None]
    for name in ("center", "before", "after"):
        setattr(shape, name, getattr(shape, name) * duration[:, None])
    end = heart.qt + duration - 0.09
    opposite = _bells((count,), [(0.0, 0.0, 0.0, (0, 0, 0))])
    opposite.center = (end - 0.09)[:, None]
    opposite.before, opposite.after = torch.full((count, 1), 0.075), torch.full((count, 1), 0.045)
    opposite.vector = -0.55 * direction[:, None] * heart.qrs_gain[:, None, None]
    return joined(shape, opposite)
