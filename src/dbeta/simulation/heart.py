"""What a heart is like: everything that shapes its beats, one number for each record.

Findings are degrees, not cases. A bundle branch block may be half there, an infarct is a loss of early
forces from its territory, strain is a turn of the T wave; whatever combination is asked for follows. What is near an
electrode is not seen as a dipole: next to x, y and z, waves have two local parts, `front` (seen by V1 to V4) and `side`
(by V4 to V6; see `torso`).

Sources: vectors and durations as in Macfarlane et al., Comprehensive Electrocardiology; criteria as in the AHA/ACCF/HRS
recommendations (2009); territories as in the universal definition of myocardial infarction (2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from dbeta.simulation.torso import rotations
from dbeta.simulation.waves import Bells, Tents, joined

#: Territories of the left ventricle → the direction from its middle, and its local parts.
TERRITORIES: dict[str, tuple[float, ...]] = {
    "septal": (-0.25, 0.10, -0.60, 0.32, 0.0),
    "anterior": (0.30, 0.10, -0.60, 0.42, 0.35),
    "lateral": (0.95, -0.15, 0.10, 0.0, 0.45),
    "inferior": (0.10, 0.98, 0.10, 0.0, 0.0),
    "posterior": (0.15, 0.20, 0.95, -0.35, 0.0),
}
#: Parts of a wave's vector.
PARTS = 5
#: Bell curves of a beat that `Heart.individual` varies, and corners of its QRS complex.
VARIED, CORNERS = 16, 9

# Rows of waves: when (as a fraction of the duration), widths before and after that (likewise), vector (mV: to the left,
# to the feet, to the back, local parts `front` and `side`). Sizes were set by comparison with PTB-XL's folds 1 to 8;
# directions and order as in Macfarlane et al.

#: Septum, apex, free wall, base.
NORMAL_QRS = [
    (0.20, 0.085, 0.085, (-0.12, -0.05, -0.22)),
    (0.40, 0.100, 0.100, (0.84, 0.56, -0.36, 0.36, 0.42)),
    (0.56, 0.100, 0.100, (1.02, 0.52, 0.66, -1.15, 0.30)),
    (0.80, 0.085, 0.085, (-0.16, -0.06, 0.44, -0.27, 0.0)),
]
#: Left bundle branch block: no septal force to the right; slow, to the left and backwards.
LEFT_BLOCK_QRS = [
    (0.18, 0.09, 0.09, (0.30, 0.08, 0.10, -0.05, 0.0)),
    (0.42, 0.12, 0.12, (0.85, 0.02, 0.85, -0.75, -0.55)),
    (0.68, 0.12, 0.11, (0.95, -0.22, 0.95, -0.75, -0.65)),
]
#: Right bundle branch block adds the late right ventricle, to the right and forwards.
RIGHT_BLOCK_QRS = [
    (0.60, 0.10, 0.10, (-0.05, 0.0, -0.40, 0.35)),
    (0.84, 0.12, 0.14, (-0.36, 0.0, -0.75, 0.30)),
    (1.14, 0.13, 0.18, (-0.26, 0.0, -0.42, 0.20)),
]
#: Islands of late muscle; their vectors are each heart's own.
ISLANDS = [(0.66, 0.055, 0.055, (0.0, 0.0, 0.0)), (0.90, 0.07, 0.08, (0.0, 0.0, 0.0))]
#: Right atrium, left atrium.
P_WAVE = [(0.36, 0.17, 0.17, (0.03, 0.095, -0.04)), (0.64, 0.17, 0.17, (0.06, 0.05, 0.04))]
#: A beat from the ventricles: its direction is given, with these sizes in mV.
VENTRICULAR_QRS = [(0.22, 0.09, 0.10, (0.0,)), (0.48, 0.13, 0.13, (0.0,)), (0.76, 0.12, 0.12, (0.0,))]
VENTRICULAR_SIZES = (0.55, 1.55, 0.85)
#: mV by which a whole scar lowers septum, apex and free wall; and the middle of a left bundle branch block.
SCAR_LOSS, SCAR_LOSS_BLOCKED = (0.36, 0.70, 0.22), 0.5
#: Seconds by which a full block or delay lengthens QRS, and an enlarged left atrium P.
LEFT_BLOCK_DELAY, RIGHT_BLOCK_DELAY, FASCICLE_DELAY, DELAY, LEFT_ATRIUM_DELAY = 0.060, 0.045, 0.006, 0.045, 0.025
#: A delta wave: when it is largest and its widths before and after (seconds); mV; seconds by which it lengthens QRS.
DELTA_WAVE, DELTA_SIZE, DELTA_DURATION = (0.032, 0.016, 0.020), 0.55, 0.028
#: The T wave in mV; mV that strain and ischemia of degree 1 add to it, and strain to the ST segment.
T_VECTOR = (0.42, 0.19, -0.32, 0.0, 0.05)
STRAIN_T, ISCHEMIA_T, STRAIN_ST = 0.42, 0.45, 0.10
#: Seconds of a textbook QT interval and QRS complex, and from the peak of T to its end.
USUAL_QT, USUAL_QRS, T_PEAK_TO_END = 0.39, 0.09, 0.085

#: Shape of what is more than a number for each record, and what a textbook heart has other than 0 (see `Heart`).
SHAPES: dict[str, tuple[int, ...]] = {
    "t_turn": (2,),
    "pathway": (3,),
    "scar": (len(TERRITORIES),),
    "injury": (len(TERRITORIES),),
    "ischemia": (len(TERRITORIES),),
    "st": (3,),
    "individual": (VARIED, 1 + PARTS),
    "corners": (CORNERS, 1 + PARTS),
    "corner_width": (CORNERS,),
}
USUAL = {
    "qrs": USUAL_QRS,
    "qrs_gain": 1.0,
    "p_duration": 0.1,
    "p_gain": 1.0,
    "qt": USUAL_QT,
    "t_gain": 1.0,
    "corner_width": 0.006,
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
        st_longer: seconds of it by which the ST segment is longer than usual, as calcium has it; negative if shorter.
        t_gain: of the T wave; negative ones are inverted.
        t_turn: (B, 2) radians of the T wave from its usual direction, in the frontal and the horizontal plane,
            there forwards.
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
        fragments: of the QRS complex, as after an infarct or in a non-specific delay.
        coved: of a right precordial J point, as in Brugada's pattern, mV.
        individual: (B, VARIED, 1 + PARTS) small random numbers by which everybody's waves differ from the textbook's:
            of each wave's width, and of its vector in mV.
        corners: (B, CORNERS, 1 + PARTS) of the QRS complex, where fronts meet or break through: when, between 0 and 1,
            and mV.
        corner_width: (B, CORNERS) of them, seconds.
    """

    qrs: Tensor
    qrs_gain: Tensor
    p_duration: Tensor
    p_gain: Tensor
    qt: Tensor
    st_longer: Tensor
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
    fragments: Tensor
    coved: Tensor
    individual: Tensor
    corners: Tensor
    corner_width: Tensor

    @classmethod
    def healthy(cls, count: int) -> Heart:
        """So many textbook hearts."""
        values = {
            one.name: torch.full((count, *SHAPES.get(one.name, ())), USUAL.get(one.name, 0.0)) for one in fields(cls)
        }
        return cls(**values)


def depolarization(heart: Heart) -> tuple[Bells, Tensor]:
    """The QRS complex, and its duration in seconds (B,)."""
    count = heart.qrs.shape[0]
    fixed = _fixed(heart)
    normal = _bells(heart, NORMAL_QRS)
    # Left ventricular load: more of the free wall, backwards and to the left; right: forwards and to the right
    left, right = heart.left_load[:, None], heart.right_load[:, None]
    normal.vector[:, 0] += left * fixed(0, 0, 0.20)  # less septal r: poor progression in V1 to V3
    normal.vector[:, 1] += left * fixed(0.30, -0.05, 0.20, -0.1, 0.1) + right * fixed(-0.55, 0.25, -0.25)
    normal.vector[:, 2] += left * fixed(0.95, -0.15, 0.75, -0.3, 0.2) + right * fixed(-1.15, 0.25, -0.95, 0.1, -0.2)
    normal.vector[:, 3] += left * fixed(0, 0, 0.25) + right * fixed(-0.35, 0, 0)
    # A blocked fascicle: first away from its wall, then late towards it
    front, back = heart.anterior_block[:, None], heart.posterior_block[:, None]
    normal.vector[:, 0] += front * fixed(0.05, 0.25, 0.05) + back * fixed(0.30, -0.25, 0)
    normal.vector[:, 1] += front * fixed(-0.05, -0.70, 0.1, 0, -0.15) + back * fixed(-0.75, 0.40, 0)
    normal.vector[:, 2] += front * fixed(-0.05, -1.02, 0.05, 0, -0.35) + back * fixed(-1.05, 0.55, 0)
    # A scar: the early forces that would come from there are missing
    lost = heart.scar @ _directions(heart)  # (B, PARTS)
    normal.vector[:, 0] -= SCAR_LOSS[0] * lost
    normal.vector[:, 1] -= SCAR_LOSS[1] * lost
    normal.vector[:, 2] -= SCAR_LOSS[2] * lost
    # Left bundle branch block: no septal force to the right, a slow and notched way to the left and back
    block = heart.left_block.clamp(0, 1)[:, None]
    normal.vector *= (1 - block)[..., None]
    slow = _bells(heart, LEFT_BLOCK_QRS)
    slow.vector[:, 1] -= SCAR_LOSS_BLOCKED * lost
    slow.vector *= block[..., None]
    # Right bundle branch block: the right ventricle comes late, to the right and forwards
    late = _bells(heart, RIGHT_BLOCK_QRS)
    late.vector *= heart.right_block[:, None, None]
    # Islands of late muscle
    islands = _bells(heart, ISLANDS)
    islands.vector += heart.fragments[:, None, None] * 2.2 * heart.individual[:, 10:12, 1:]
    every = joined(normal, slow, late, islands)
    own = heart.individual[:, : every.center.shape[1]]
    here = every.vector.abs().sum(dim=2, keepdim=True).clamp(max=1)
    every.vector = every.vector + own[..., 1:] * here
    widths = (0.5 * own[..., 0]).exp()
    duration = heart.qrs + LEFT_BLOCK_DELAY * heart.left_block + DELAY * heart.delay
    duration = duration + FASCICLE_DELAY * (front + back)[:, 0]
    slower = (duration * (1 + 0.25 * heart.delay))[:, None] * widths
    every.center = every.center * duration[:, None]
    every.before = every.before * slower
    every.after = every.after * slower
    # A delta wave begins before, and widens the complex by as much
    delta = Bells(
        torch.full_like(duration, DELTA_WAVE[0])[:, None],
        torch.full_like(duration, DELTA_WAVE[1])[:, None],
        torch.full_like(duration, DELTA_WAVE[2])[:, None],
        _whole((DELTA_SIZE * heart.preexcitation)[:, None] * heart.pathway)[:, None],
    )
    every.center = every.center + DELTA_DURATION * heart.preexcitation[:, None]
    every.vector = every.vector * heart.qrs_gain[:, None, None]
    total = duration + RIGHT_BLOCK_DELAY * heart.right_block + DELTA_DURATION * heart.preexcitation
    assert every.vector.shape == (count, every.center.shape[1], PARTS)
    return joined(every, delta), total


def corners(heart: Heart, duration: Tensor) -> Tents:
    """What is sharp in QRS complexes that last so long (B,): highest in their middle, nothing at both ends."""
    when = heart.corners[..., 0]
    size = (heart.qrs_gain[:, None] * (torch.pi * when).sin().square())[..., None]
    width = heart.corner_width
    return Tents(when * duration[:, None], width, width, size * heart.corners[..., 1:])


def repolarization(heart: Heart, qrs: Bells, duration: Tensor) -> Bells:
    """ST segment, T wave and U wave.

    Args:
        heart: of B records.
        qrs: their depolarisation, which decides where secondary changes point.
        duration: of it, seconds.
    """
    fixed, directions = _fixed(heart), _directions(heart)
    forces = (qrs.vector * (qrs.before + qrs.after)[..., None]).sum(dim=1)  # (B, PARTS), the area of the complex
    against = -forces / forces.norm(dim=1, keepdim=True).clamp(min=1e-4)
    t = fixed(*T_VECTOR).expand(len(duration), -1)
    own = heart.individual[:, -1, 1:]
    turned = (t[:, None, :3] @ rotation_about(heart.t_turn).transpose(1, 2))[:, 0]
    t = torch.cat([turned, t[:, 3:]], dim=1) + own
    t = t * heart.t_gain[:, None]
    t = t + STRAIN_T * heart.strain[:, None] * against - ISCHEMIA_T * heart.ischemia @ directions
    t = t * (1 + 0.8 * heart.peak[:, None])
    narrow = 1 - 0.35 * heart.peak.clamp(0, 1)
    scale = (heart.qt - heart.st_longer) / USUAL_QT  # calcium leaves the T wave as it is
    end = heart.qt + duration - USUAL_QRS  # a wide complex delays its repolarisation
    peak = end - T_PEAK_TO_END * scale * narrow
    st = _whole(heart.st) + heart.injury @ directions + STRAIN_ST * heart.strain[:, None] * against
    plateau = (duration + peak) / 2 - 0.02
    short = torch.full_like(scale, 0.008)
    waves = [
        (peak, 0.062 * scale * narrow * (0.4 * heart.individual[:, -1, 0]).exp(), 0.036 * scale * narrow, t),
        (plateau, (plateau - duration) * 0.75, (peak - plateau) * 0.55, st),
        (plateau, (plateau - duration) * 0.50, (peak - plateau) * 0.50, heart.sag[:, None] * against),
        (end + 0.075, 0.028 * scale, 0.034 * scale, heart.u_gain[:, None] * fixed(0.45, 0.35, -0.7)),
        (duration + 0.008, short, short * 1.5, heart.notch[:, None] * fixed(0.75, 0.55, -0.2)),
        (duration + 0.010, short * 2, short * 5, heart.coved[:, None] * fixed(-0.25, 0.0, -0.6, 0.7, 0.0)),
        (peak, 0.05 * scale, 0.036 * scale, -0.6 * heart.coved[:, None] * fixed(-0.25, 0.0, -0.6, 0.5, 0.0)),
    ]
    center, before, after, vector = zip(*waves, strict=True)
    return Bells(torch.stack(center, 1), torch.stack(before, 1), torch.stack(after, 1), torch.stack(vector, 1))


def rotation_about(turn: Tensor) -> Tensor:
    """Rotations (B, 3, 3) by (frontal, horizontal) radians."""
    return rotations(torch.stack([torch.zeros_like(turn[:, 0]), turn[:, 1], turn[:, 0]], dim=1))


def atrial(heart: Heart) -> Bells:
    """The P wave: the right atrium first, then the left; times from its onset."""
    fixed = _fixed(heart)
    wave = _bells(heart, P_WAVE)
    wave.vector += 0.12 * heart.individual[:, -3:-1, 1:]
    right, left = heart.right_atrium[:, None], heart.left_atrium[:, None]
    wave.vector[:, 0] += right * fixed(0.0, 0.11, -0.03)
    wave.vector[:, 1] += left * fixed(0.02, 0.01, 0.08)
    wave.vector = wave.vector * heart.p_gain[:, None, None]
    duration = heart.p_duration + LEFT_ATRIUM_DELAY * heart.left_atrium
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
    turn = torch.tensor([[0.25, 0.0, 0.9], [0.0, 0.0, 0.0], [-0.5, 0.0, -0.6]], device=duration.device)
    shape = _bells(heart, VENTRICULAR_QRS)
    size = torch.tensor(VENTRICULAR_SIZES, device=duration.device)
    shape.vector = _whole((direction[:, None] + 0.35 * turn) * size[:, None] * heart.qrs_gain[:, None, None])
    shape.vector += 0.6 * heart.individual[:, :3, 1:]
    for name in ("center", "before", "after"):
        setattr(shape, name, getattr(shape, name) * duration[:, None])
    end = heart.qt + duration - USUAL_QRS
    opposite = Bells(
        (end - 0.09)[:, None],
        torch.full_like(end, 0.075)[:, None],
        torch.full_like(end, 0.045)[:, None],
        _whole(-0.55 * direction[:, None] * heart.qrs_gain[:, None, None]),
    )
    return joined(shape, opposite)


def _bells(heart: Heart, rows: Sequence[tuple[float, float, float, tuple[float, ...]]]) -> Bells:
    """Rows of center, widths before and after, and vector, the same for each record."""
    full = [(*times, (*vector, *(0.0,) * (PARTS - len(vector)))) for *times, vector in rows]
    columns = (torch.tensor(column, device=heart.qrs.device) for column in zip(*full, strict=True))
    return Bells(*(one.expand(len(heart.qrs), *one.shape).clone() for one in columns))


def _fixed(heart: Heart) -> Callable[..., Tensor]:
    """Makes vectors (PARTS,) on the heart's device; what is left out is 0."""
    return lambda *parts: torch.tensor([*parts, *(0.0,) * (PARTS - len(parts))], device=heart.qrs.device)


def _whole(spatial: Tensor) -> Tensor:
    """Vectors (…, 3) with local parts of 0."""
    return nn.functional.pad(spatial, (0, PARTS - 3))


def _directions(heart: Heart) -> Tensor:
    return torch.tensor(list(TERRITORIES.values()), device=heart.qrs.device)
