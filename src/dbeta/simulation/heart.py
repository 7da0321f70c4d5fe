"""Parameters that shape the beats of a heart, one number per record, and the waves that follow from them.

Findings are degrees, not categories: a bundle branch block may be partial, an infarct is a loss of early forces from
its territory, strain is a rotation of the T wave; any combination works. Activity close to an electrode does not look
like a dipole, so waves have two local components besides x, y and z: `front` (seen by V1 to V4) and `side` (by V4 to
V6; see `torso`).

Sources: vectors and durations as in Macfarlane et al., Comprehensive Electrocardiology; criteria as in the AHA/ACCF/HRS
recommendations (2009); territories as in the universal definition of myocardial infarction (2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from dbeta.simulation import textbook
from dbeta.simulation.textbook import CORNERS, PARTS, TERRITORIES, VARIED
from dbeta.simulation.torso import rotations
from dbeta.simulation.waves import Bells, Tents, joined

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
    "qrs": textbook.USUAL_QRS,
    "qrs_gain": 1.0,
    "p_duration": 0.1,
    "p_gain": 1.0,
    "qt": textbook.USUAL_QT,
    "t_gain": 1.0,
    "corner_width": 0.006,
}


@dataclass
class Heart:
    """B hearts; tensors are (B,) unless stated. Degrees are 0 for none and 1 for a typical case of the finding.

    Attributes:
        qrs: duration of the QRS complex without block, in seconds.
        qrs_gain: factor of the QRS complex's size.
        p_duration: duration of the P wave in seconds.
        p_gain: factor of the P wave's size.
        qt: QT interval at the mean rate, in seconds.
        st_longer: seconds by which the ST segment is longer than usual, as in hypocalcemia; negative if shorter.
        t_gain: factor of the T wave's size; negative for inverted T waves.
        t_turn: (B, 2) rotation of the T wave from its usual direction, in radians, in the frontal and the horizontal
            plane (there positive forwards).
        right_block, left_block: degree of bundle branch block; 0.5 is incomplete.
        anterior_block, posterior_block: degree of fascicular block.
        delay: degree of non-specific intraventricular conduction delay.
        preexcitation: degree of the delta wave; `pathway` (B, 3) is its direction.
        left_load, right_load: degree of ventricular hypertrophy.
        strain: degree of secondary ST-T changes due to hypertrophy or block.
        left_atrium, right_atrium: degree of enlargement.
        scar: (B, 5) loss of forces by territory, in the order of `TERRITORIES`.
        injury: (B, 5) ST elevation by territory, mV; negative is depression.
        ischemia: (B, 5) inversion of the T wave by territory.
        st: (B, 3) shift of the ST segment of the whole heart, mV.
        sag: sagging of the ST segment in mV, as with digitalis.
        peak: degree of T wave peaking, as in hyperkalemia.
        u_gain: size of the U wave, mV.
        notch: size of a notch at the J point in mV, as in early repolarization.
        fragments: degree of QRS fragmentation, as after an infarct or in a non-specific delay.
        coved: coved elevation of the right precordial J point in mV, as in the Brugada pattern.
        individual: (B, VARIED, 1 + PARTS) small random deviations from the textbook's waves: in the width of each wave,
            and in its vector in mV.
        corners: (B, CORNERS, 1 + PARTS) corners of the QRS complex, where wave fronts meet or break through: time from
            0 to 1, and vector in mV.
        corner_width: (B, CORNERS) widths of the corners, seconds.
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
    """Compute the QRS complex and its duration in seconds (B,)."""
    count = heart.qrs.shape[0]
    fixed = _fixed(heart)
    normal = _bells(heart, textbook.NORMAL_QRS)
    left, right = heart.left_load[:, None, None], heart.right_load[:, None, None]
    normal.vector += left * fixed(textbook.LEFT_LOAD) + right * fixed(textbook.RIGHT_LOAD)
    front, back = heart.anterior_block[:, None, None], heart.posterior_block[:, None, None]
    normal.vector += front * fixed(textbook.ANTERIOR_FASCICLE) + back * fixed(textbook.POSTERIOR_FASCICLE)
    # A scar: the early forces that would come from there are missing
    lost = heart.scar @ _directions(heart)  # (B, PARTS)
    for part, loss in enumerate(textbook.SCAR_LOSS):
        normal.vector[:, part] -= loss * lost
    # Left bundle branch block: no septal force to the right, a slow and notched way to the left and back
    block = heart.left_block.clamp(0, 1)[:, None]
    normal.vector *= (1 - block)[..., None]
    slow = _bells(heart, textbook.LEFT_BLOCK_QRS)
    slow.vector[:, 1] -= textbook.SCAR_LOSS_BLOCKED * lost
    slow.vector *= block[..., None]
    # Right bundle branch block: the right ventricle comes late, to the right and forwards
    late = _bells(heart, textbook.RIGHT_BLOCK_QRS)
    late.vector *= heart.right_block[:, None, None]
    # Islands of late muscle
    islands = _bells(heart, textbook.ISLANDS)
    islands.vector += heart.fragments[:, None, None] * textbook.ISLAND_SIZE * heart.individual[:, 10:12, 1:]
    every = joined(normal, slow, late, islands)
    own = heart.individual[:, : every.center.shape[1]]
    here = every.vector.abs().sum(dim=2, keepdim=True).clamp(max=1)
    every.vector = every.vector + own[..., 1:] * here
    widths = (0.5 * own[..., 0]).exp()
    duration = heart.qrs + textbook.LEFT_BLOCK_DELAY * heart.left_block + textbook.DELAY * heart.delay
    duration = duration + textbook.FASCICLE_DELAY * (heart.anterior_block + heart.posterior_block)
    slower = (duration * (1 + 0.25 * heart.delay))[:, None] * widths
    every.center = every.center * duration[:, None]
    every.before = every.before * slower
    every.after = every.after * slower
    # A delta wave begins before, and widens the complex by as much
    delta = Bells(
        torch.full_like(duration, textbook.DELTA_WAVE[0])[:, None],
        torch.full_like(duration, textbook.DELTA_WAVE[1])[:, None],
        torch.full_like(duration, textbook.DELTA_WAVE[2])[:, None],
        _whole((textbook.DELTA_SIZE * heart.preexcitation)[:, None] * heart.pathway)[:, None],
    )
    every.center = every.center + textbook.DELTA_DURATION * heart.preexcitation[:, None]
    every.vector = every.vector * heart.qrs_gain[:, None, None]
    total = duration + textbook.RIGHT_BLOCK_DELAY * heart.right_block + textbook.DELTA_DURATION * heart.preexcitation
    assert every.vector.shape == (count, every.center.shape[1], PARTS)
    return joined(every, delta), total


def corners(heart: Heart, duration: Tensor) -> Tents:
    """Sharp corners of QRS complexes of the given duration (B,): highest mid-complex, zero at both ends."""
    when = heart.corners[..., 0]
    size = (heart.qrs_gain[:, None] * (torch.pi * when).sin().square())[..., None]
    width = heart.corner_width
    return Tents(when * duration[:, None], width, width, size * heart.corners[..., 1:])


def repolarization(heart: Heart, qrs: Bells, duration: Tensor) -> Bells:
    """Compute ST segment, T wave and U wave.

    Args:
        heart: B hearts.
        qrs: their depolarisation, which determines the direction of secondary changes.
        duration: QRS duration, seconds.
    """
    fixed, directions = _fixed(heart), _directions(heart)
    forces = (qrs.vector * (qrs.before + qrs.after)[..., None]).sum(dim=1)  # (B, PARTS), the area of the complex
    against = -forces / forces.norm(dim=1, keepdim=True).clamp(min=1e-4)
    t = fixed([textbook.T_VECTOR])[0].expand(len(duration), -1)
    own = heart.individual[:, -1, 1:]
    turned = (t[:, None, :3] @ rotation_about(heart.t_turn).transpose(1, 2))[:, 0]
    t = torch.cat([turned, t[:, 3:]], dim=1) + own
    t = t * heart.t_gain[:, None]
    t = t + textbook.STRAIN_T * heart.strain[:, None] * against - textbook.ISCHEMIA_T * heart.ischemia @ directions
    t = t * (1 + 0.8 * heart.peak[:, None])
    narrow = 1 - 0.35 * heart.peak.clamp(0, 1)
    scale = (heart.qt - heart.st_longer) / textbook.USUAL_QT  # calcium leaves the T wave as it is
    end = heart.qt + duration - textbook.USUAL_QRS  # a wide complex delays its repolarisation
    peak = end - textbook.T_PEAK_TO_END * scale * narrow
    st = _whole(heart.st) + heart.injury @ directions + textbook.STRAIN_ST * heart.strain[:, None] * against
    plateau = (duration + peak) / 2 - 0.02
    short = torch.full_like(scale, 0.008)
    u, notch, coved_st, coved_t = fixed(
        [textbook.U_DIRECTION, textbook.NOTCH_DIRECTION, textbook.COVED_ST, textbook.COVED_T]
    )
    waves = [
        (peak, 0.062 * scale * narrow * (0.4 * heart.individual[:, -1, 0]).exp(), 0.036 * scale * narrow, t),
        (plateau, (plateau - duration) * 0.75, (peak - plateau) * 0.55, st),
        (plateau, (plateau - duration) * 0.50, (peak - plateau) * 0.50, heart.sag[:, None] * against),
        (end + 0.075, 0.028 * scale, 0.034 * scale, heart.u_gain[:, None] * u),
        (duration + 0.008, short, short * 1.5, heart.notch[:, None] * notch),
        (duration + 0.010, short * 2, short * 5, heart.coved[:, None] * coved_st),
        (peak, 0.05 * scale, 0.036 * scale, textbook.COVED_T_SIZE * heart.coved[:, None] * coved_t),
    ]
    center, before, after, vector = zip(*waves, strict=True)
    return Bells(torch.stack(center, 1), torch.stack(before, 1), torch.stack(after, 1), torch.stack(vector, 1))


def rotation_about(turn: Tensor) -> Tensor:
    """Rotation matrices (B, 3, 3) from (frontal, horizontal) angles in radians."""
    return rotations(torch.stack([torch.zeros_like(turn[:, 0]), turn[:, 1], turn[:, 0]], dim=1))


def atrial(heart: Heart) -> Bells:
    """Compute the P wave, right atrium before left; times are from its onset."""
    fixed = _fixed(heart)
    wave = _bells(heart, textbook.P_WAVE)
    wave.vector += 0.12 * heart.individual[:, -3:-1, 1:]
    more_right, more_left = fixed([textbook.RIGHT_ATRIUM, textbook.LEFT_ATRIUM])
    wave.vector[:, 0] += heart.right_atrium[:, None] * more_right
    wave.vector[:, 1] += heart.left_atrium[:, None] * more_left
    wave.vector = wave.vector * heart.p_gain[:, None, None]
    duration = heart.p_duration + textbook.LEFT_ATRIUM_DELAY * heart.left_atrium
    wave.center[:, 1] += 0.06 * heart.left_atrium
    wave.center, wave.before, wave.after = (one * duration[:, None] for one in (wave.center, wave.before, wave.after))
    return wave


def ventricular(heart: Heart, direction: Tensor, duration: Tensor) -> Bells:
    """Compute a beat of ventricular origin, spreading through muscle: QRS and a T wave of opposite polarity.

    Args:
        heart: B hearts, for their gain and QT interval.
        direction: (B, 3) unit vectors pointing away from the origin of the beat.
        duration: (B,) QRS duration, seconds.
    """
    turn = torch.tensor(textbook.VENTRICULAR_TURN, device=duration.device)
    shape = _bells(heart, textbook.VENTRICULAR_QRS)
    size = torch.tensor(textbook.VENTRICULAR_SIZES, device=duration.device)
    shape.vector = _whole(
        (direction[:, None] + textbook.VENTRICULAR_BEND * turn) * size[:, None] * heart.qrs_gain[:, None, None]
    )
    shape.vector += 0.6 * heart.individual[:, :3, 1:]
    for name in ("center", "before", "after"):
        setattr(shape, name, getattr(shape, name) * duration[:, None])
    end = heart.qt + duration - textbook.USUAL_QRS
    opposite = Bells(
        (end - 0.09)[:, None],
        torch.full_like(end, 0.075)[:, None],
        torch.full_like(end, 0.045)[:, None],
        _whole(textbook.VENTRICULAR_T * direction[:, None] * heart.qrs_gain[:, None, None]),
    )
    return joined(shape, opposite)


def _bells(heart: Heart, rows: Sequence[tuple[float, float, float, tuple[float, ...]]]) -> Bells:
    """Make bells from rows of center, widths before and after, and vector; the same for each record."""
    full = [(*times, (*vector, *(0.0,) * (PARTS - len(vector)))) for *times, vector in rows]
    columns = (torch.tensor(column, device=heart.qrs.device) for column in zip(*full, strict=True))
    return Bells(*(one.expand(len(heart.qrs), *one.shape).clone() for one in columns))


def _fixed(heart: Heart) -> Callable[[Sequence[Sequence[float]]], Tensor]:
    """Makes vectors (rows, PARTS) on the heart's device; parts that are left out are 0."""
    return lambda rows: torch.tensor([[*one, *(0.0,) * (PARTS - len(one))] for one in rows], device=heart.qrs.device)


def _whole(spatial: Tensor) -> Tensor:
    """Extend vectors (…, 3) with local components of 0."""
    return nn.functional.pad(spatial, (0, PARTS - 3))


def _directions(heart: Heart) -> Tensor:
    return torch.tensor(list(TERRITORIES.values()), device=heart.qrs.device)
