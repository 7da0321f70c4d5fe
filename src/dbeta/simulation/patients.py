"""Draws patients: age, sex, rhythm, heart, torso, and the causes of their findings.

Causes are drawn in `causes` and shape the heart in `disorders`. Normal variants vary as widely as in healthy people of
all ages, since findings must be distinguished from them.

Sources: normal limits by age and sex as in Rijnbeek et al. (2014) and Mason et al. (2007).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dbeta.simulation import rhythm as rhythms
from dbeta.simulation.causes import draw_causes
from dbeta.simulation.diseases import CORONARY, MIXES
from dbeta.simulation.disorders import block_arteries, conduct, load_chambers, repolarize
from dbeta.simulation.draws import Draws
from dbeta.simulation.heart import CORNERS, PARTS, VARIED, Heart
from dbeta.simulation.render import FastAtria
from dbeta.simulation.rhythm import Rhythm
from dbeta.simulation.torso import lead_matrices

#: Maximum number of beats of a record.
BEATS = 64


@dataclass
class Patients:
    """B patients.

    Attributes:
        age: (B,) years.
        male: (B,) bool.
        rhythm: parameters of their rhythms.
        heart: parameters of their hearts.
        matrices: (B, 8, PARTS) lead matrices of their torsos.
        focus: (B, 3) direction away from the origin of ventricular beats.
        fast: their atria, if these flutter or fibrillate.
        uniform: (B, 3, BEATS) for `draw_beats`.
        normal: (B, 2, BEATS) for `draw_beats`.
        causes: (B,) bool each: their causes, by the names in `diseases`; territories as
            "infarction inferior", "ischemia lateral", "injury anterior".
    """

    age: Tensor
    male: Tensor
    rhythm: Rhythm
    heart: Heart
    matrices: Tensor
    focus: Tensor
    fast: FastAtria
    uniform: Tensor
    normal: Tensor
    causes: dict[str, Tensor] = field(default_factory=dict)


def draw_patients(draws: Draws, mix: str = "balanced") -> Patients:
    """Draw patients according to a mix.

    Args:
        draws: random numbers of the patients.
        mix: name of a mix in `MIXES`.
    """
    age = (56 + 19 * draws.normal("age")).clamp(17, 96)
    male = draws.chance("male", 0.52)
    causes = draw_causes(draws, MIXES[mix], age)
    heart = _healthy_heart(draws, age, male)
    rhythm = _draw_rhythm(draws, causes, age, male)
    _draw_intervals(draws, causes, rhythm, heart, male)
    conduct(draws, causes, heart)
    load_chambers(draws, causes, heart)
    block_arteries(draws, causes, heart)
    repolarize(draws, causes, heart)
    matrices = _draw_torsos(draws, causes, age, male, heart)
    direction = normalize(draws.normal("ventricular focus", 0, 1, 3), dim=1)
    fast = FastAtria(
        size=torch.where(
            rhythm.kind == rhythms.FLUTTER,
            draws.uniform("flutter wave size", 0.06, 0.2),
            0.008 + 0.07 * draws.uniform("fibrillatory wave size").square(),
        ),
        direction=_fast_direction(draws, rhythm),
        phases=draws.uniform("fast atria phases", 0, 1, 4),
    )
    return Patients(
        age,
        male,
        rhythm,
        heart,
        matrices,
        direction,
        fast,
        uniform=draws.uniform("beats uniform", 0, 1, 3, BEATS),
        normal=draws.normal("beats normal", 0, 1, 2, BEATS),
        causes=causes,
    )


def _healthy_heart(draws: Draws, age: Tensor, male: Tensor) -> Heart:
    """Draw hearts without disease, with normal variation."""
    count = len(draws)
    heart = Heart.healthy(count)
    heart = Heart(**{name: value.to(draws.device) for name, value in vars(heart).items()})
    young = ((45 - age) / 28).clamp(0, 1)
    heart.qrs = (0.075 + 0.005 * male + draws.normal("qrs duration", 0, 0.008)).clamp(0.058, 0.102)
    heart.qrs_gain = 0.90 * draws.spread("qrs gain", 0.17) * (1 + 0.15 * young * male) * torch.where(male, 1.03, 0.95)
    heart.p_duration = (0.092 + 0.0002 * (age - 50) + draws.normal("p duration", 0, 0.010)).clamp(0.065, 0.118)
    heart.p_gain = draws.spread("p gain", 0.28) * 0.85
    heart.t_gain = draws.spread("t gain", 0.28) * torch.where(male, 1.05, 0.85) * (1 + 0.35 * young) * 0.95
    heart.t_turn = draws.normal("t direction", 0, 1, 2) * draws.tensor([0.09, 0.24])
    # Juvenile T waves, more common in women: turned backwards
    juvenile = draws.chance("juvenile t", 0.04 + 0.16 * young * ~male)
    heart.t_turn[:, 1] -= juvenile * draws.uniform("juvenile t angle", 0.35, 0.8)
    heart.individual = draws.normal("individual waves", 0, 1, VARIED, 1 + PARTS) * draws.tensor(
        [0.20, 0.13, 0.07, 0.09, 0.14, 0.16]
    )
    heart.individual[:, -1, 1:] *= 0.3
    # The right ventricle's share in the complexes varies
    heart.right_load = draws.normal("right ventricular share", 0, 0.10)
    heart.corner_width = draws.uniform("corner width", 0.003, 0.010, CORNERS)
    sharp = (
        0.15 * draws.spread("corner scale", 0.3)[:, None, None] * draws.normal("corner vectors", 0, 1, CORNERS, PARTS)
    )
    heart.corners = torch.cat([draws.uniform("corner times", 0.06, 0.94, CORNERS, 1), sharp], dim=2)
    # In men the normal ST segment is elevated in V2 to V4
    rise = draws.uniform("normal st rise", 0, 1) * torch.where(male, 0.05, 0.02) * (1 + young)
    heart.st = draws.normal("st shift", 0, 0.008, 3) + rise[:, None] * draws.tensor([0.3, 0.25, -0.9])
    heart.u_gain = draws.uniform("u wave", 0, 0.03)
    heart.fragments = draws.chance("fragmented", 0.08) * draws.uniform("fragmentation", 0.3, 1.0)
    return heart


def _draw_rhythm(draws: Draws, causes: dict[str, Tensor], age: Tensor, male: Tensor) -> Rhythm:
    count = len(draws)
    kind = torch.zeros(count, dtype=torch.long, device=draws.device)
    rate = (69.5 + 12 * draws.normal("sinus rate") - 2 * male).clamp(50, 103)

    def become(cause: str, number: int, low: float, high: float) -> None:
        nonlocal rate
        kind[causes[cause]] = number
        rate = torch.where(causes[cause], draws.uniform(f"ventricular rate in {cause}", low, high), rate)

    rate = torch.where(causes["bradycardia"], draws.uniform("ventricular rate in bradycardia", 36, 59), rate)
    rate = torch.where(
        causes["tachycardia"], 101 + 59 * draws.uniform("ventricular rate in tachycardia").square(), rate
    )
    rate = torch.where(causes["arrhythmia"], draws.uniform("ventricular rate in sinus arrhythmia", 52, 85), rate)
    become("fibrillation", rhythms.FIBRILLATION, 50, 128)
    become("svt", rhythms.SVT, 135, 215)
    become("ectopic atrial", rhythms.ECTOPIC, 55, 105)
    become("junctional", rhythms.JUNCTIONAL, 38, 75)
    become("paced", rhythms.PACED, 58, 88)
    become("dual paced", rhythms.DUAL_PACED, 58, 92)
    become("wenckebach", rhythms.WENCKEBACH, 60, 95)
    become("two to one", rhythms.TWO_TO_ONE, 30, 52)
    become("complete", rhythms.COMPLETE, 27, 50)
    kind[causes["flutter"]] = rhythms.FLUTTER
    atrial_rate = draws.uniform("rate of dissociated atria", 65, 105)
    atrial_rate = torch.where(causes["flutter"], draws.uniform("rate of flutter waves", 235, 345), atrial_rate)
    atrial_rate = torch.where(
        causes["fibrillation"], draws.uniform("rate of fibrillatory waves", 300, 480), atrial_rate
    )
    ratio = 2.0 + draws.choice("flutter conduction ratio", [0.40, 0.17, 0.43])
    ratio = torch.where(causes["wenckebach"], 3.0 + draws.choice("wenckebach cycle", [0.35, 0.4, 0.25]), ratio)
    rate = torch.where(causes["flutter"], atrial_rate / ratio, rate)
    young = ((60 - age) / 40).clamp(0, 1)
    respiratory = 0.085 * draws.uniform("respiratory variation") ** 2.5 + 0.03 * young * draws.uniform(
        "respiratory variation of the young"
    )
    respiratory = torch.where(
        causes["arrhythmia"],
        0.10 + 0.2 * draws.uniform("respiratory variation in sinus arrhythmia").square(),
        respiratory,
    )
    jitter = (0.004 + 0.03 * draws.uniform("rr jitter").square()) * torch.where(rate > 100, 0.4, 1.0)
    jitter = torch.where(causes["arrhythmia"], 0.01 + 0.05 * draws.uniform("rr jitter in sinus arrhythmia"), jitter)
    atrial_bigeminy = causes["atrial bigeminy"]
    every = 2 * causes["bigeminy"] + 3 * causes["trigeminy"]
    one_of = draws.uniform("ectopy probability", 0.05, 0.28)
    coupling = torch.where(
        causes["pvc"] | (every > 0),
        draws.uniform("ventricular coupling", 0.50, 0.78),
        draws.uniform("atrial coupling", 0.48, 0.78),
    )
    return Rhythm(
        kind=kind,
        rate=rate,
        pr=torch.zeros_like(rate),  # set by `_draw_intervals`
        respiratory=respiratory,
        breathing=draws.uniform("breathing rate", 0.16, 0.34),
        jitter=jitter,
        atrial_rate=atrial_rate,
        ratio=ratio,
        premature_atrial=torch.where(atrial_bigeminy, 1.0, causes["pac"] * one_of),
        premature_ventricular=causes["pvc"] * one_of,
        every=every,
        coupling=coupling,
        pause=causes["pause"] * draws.uniform("pause", 1.0, 2.2),
        disorder=draws.uniform("fibrillation disorder", 0.14, 0.30),
    )


def _draw_intervals(draws: Draws, causes: dict[str, Tensor], rhythm: Rhythm, heart: Heart, male: Tensor) -> None:
    """Draw PR and QT intervals."""
    pr = (0.147 + draws.normal("pr", 0, 0.017) - 0.0004 * (rhythm.rate - 70)).clamp(0.121, 0.194)
    longest = (60 / rhythm.rate - 0.14).clamp(0.215, 0.36)
    pr = torch.where(causes["first"], 0.207 + (longest - 0.207) * draws.uniform("first-degree pr").square(), pr)
    pr = torch.where(causes["wenckebach"], draws.uniform("wenckebach pr", 0.17, 0.26), pr)
    pr = torch.where(causes["two to one"], draws.uniform("two-to-one pr", 0.15, 0.24), pr)
    pr = torch.where(causes["wpw"], draws.uniform("wpw pr", 0.085, 0.122), pr)
    pr = torch.where(causes["dual paced"], draws.uniform("dual-chamber paced pr", 0.14, 0.21), pr)
    rhythm.pr = torch.where(causes["ectopic atrial"], pr - 0.02, pr)
    heart.qt = draws.normal("qt", 0.410, 0.017) + torch.where(male, 0.0, 0.010)
    heart.qt = heart.qt.clamp(0.362, 0.448)
    heart.qt = torch.where(causes["short qt"], draws.uniform("short qt", 0.305, 0.355), heart.qt)
    heart.qt = torch.where(causes["long qt"], draws.uniform("long qt", 0.475, 0.580), heart.qt)
    heart.qt = torch.where(causes["digitalis"], heart.qt - draws.uniform("digitalis qt", 0.015, 0.045), heart.qt)
    heart.qt = torch.where(causes["hypokalemia"], heart.qt + draws.uniform("hypokalemia qt", 0.0, 0.04), heart.qt)
    heart.qt = torch.where(causes["drug"], heart.qt + draws.uniform("drug qt", 0.02, 0.10), heart.qt)
    # High calcium nearly abolishes the ST segment, low calcium prolongs it
    heart.st_longer = causes["hypocalcemia"] * draws.uniform("hypocalcemia st", 0.05, 0.13)
    heart.st_longer = heart.st_longer - causes["hypercalcemia"] * draws.uniform("hypercalcemia st", 0.035, 0.07)
    heart.qt = heart.qt + heart.st_longer
    # Corrected by Fridericia's formula; limited to what fits between two beats
    interval = 60 / rhythm.rate
    longest = (0.25 + 0.55 * interval).minimum(0.86 * interval).clamp(max=0.66)
    heart.qt = (heart.qt * interval.clamp(0.3, 1.6) ** (1 / 3)).minimum(longest)


def _draw_torsos(draws: Draws, causes: dict[str, Tensor], age: Tensor, male: Tensor, heart: Heart) -> Tensor:
    """Draw chests, electrodes and the heart's position; the T wave rotates less with it than the QRS complex."""
    stout = draws.chance("stout", 0.22) * draws.uniform("stoutness", 0.4, 1.0)
    thin = draws.chance("thin", 0.15) * draws.uniform("thinness", 0.4, 1.0)
    angles = draws.normal("heart angles", 0, 1, 3) * draws.tensor([0.10, 0.28, 0.24])
    angles[:, 2] += 0.15 - 0.0065 * (age - 35) - 0.3 * stout + 0.3 * thin
    # Horizontal and vertical hearts, and rotation about the long axis
    angles[:, 2] += draws.chance("lying heart", 0.06) * draws.uniform("lying heart angle", -0.9, -0.4) + draws.chance(
        "standing heart", 0.05
    ) * draws.uniform("standing heart angle", 0.4, 0.9)
    angles[:, 1] += draws.chance("turned about its long axis", 0.10) * draws.uniform(
        "angle about its long axis", -0.6, 0.6
    )
    # Left ventricular strain turns the axis to the left
    strained = torch.stack([causes[name] for name in (*CORONARY, "lvh", "lvh strain", "ivcd", "first")]).any(dim=0)
    angles[:, 2] -= strained * draws.uniform("strained axis", 0.0, 0.5)
    heart.t_turn = heart.t_turn - 0.55 * angles[:, [2, 1]]
    shift = draws.normal("electrode shift", 0, 1, 2) * draws.tensor([0.28, 0.45])
    shift[:, 1] -= 0.25 * ~male
    matrices = lead_matrices(draws.normal("lead matrix", 0, 1, 8, 3), shift, angles)
    low = draws.chance("low voltage", 0.05) * draws.uniform("low voltage loss", 0.45, 0.65)
    scale = (1 - 0.25 * stout + 0.15 * thin) * (1 - low)
    chest = scale * (1 - 0.1 * stout) * (1 - 0.12 * ~male)
    return torch.cat([matrices[:, :2] * 1.13 * scale[:, None, None], matrices[:, 2:] * chest[:, None, None]], dim=1)


def _fast_direction(draws: Draws, rhythm: Rhythm) -> Tensor:
    """Draw the direction of atrial waves: typical flutter shows in II, III and aVF, fibrillation best in V1."""
    flutter = normalize(draws.tensor([0.1, 0.95, -0.35]) + draws.normal("flutter direction", 0, 0.25, 3), dim=1)
    fibrillation = normalize(
        draws.tensor([-0.1, 0.45, -0.85]) + draws.normal("fibrillation direction", 0, 0.3, 3), dim=1
    )
    direction = torch.where((rhythm.kind == rhythms.FLUTTER)[:, None], flutter, fibrillation)
    return torch.nn.functional.pad(direction, (0, PARTS - 3))
