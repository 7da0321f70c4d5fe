"""Who the patients are and what they have: random numbers → rhythm, heart, torso and the causes of findings.

Special here: diseases come in combinations. Each of six axes (rhythm, AV conduction, ventricular conduction, chambers,
coronary arteries, repolarisation) is drawn by itself, then what goes together is drawn to each other: strain with
load, atrial with ventricular enlargement, ST-T changes with blocks. What is normal is spread as widely as it is in
healthy people of all ages, for normal variants are what findings must be told from.

Sources: normal limits by age and sex as in Rijnbeek et al. (2014) and Mason et al. (2007); combinations as in Surawicz
and Knilans, Chou's Electrocardiography in Clinical Practice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dbeta.simulation import rhythm as rhythms
from dbeta.simulation.diseases import (
    AGES,
    AV_BLOCKS,
    CHAMBERS,
    CONDUCTION,
    CORONARY,
    INFARCTS,
    ISCHEMIAS,
    MIXES,
    REPOLARIZATION,
    RHYTHMS,
)
from dbeta.simulation.draws import Draws
from dbeta.simulation.heart import CORNERS, PARTS, VARIED, Heart
from dbeta.simulation.render import FastAtria
from dbeta.simulation.rhythm import Rhythm
from dbeta.simulation.torso import lead_matrices

#: Beats that a record can have.
BEATS = 64


@dataclass
class Patients:
    """B patients.

    Attributes:
        age: (B,) years.
        male: (B,) bool.
        rhythm: theirs.
        heart: theirs.
        matrices: (B, 8, PARTS) their torsos.
        focus: (B, 3) away from where ventricular beats begin.
        fast: their atria, where these flutter or fibrillate.
        uniform: (B, 3, BEATS) for `draw_beats`.
        normal: (B, 2, BEATS) for `draw_beats`.
        causes: (B,) bool each: what ails them, by the names of this module's tables; territories as
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
    """Patients with whatever a mix makes likely.

    Args:
        draws: their random numbers.
        mix: of `MIXES`.
    """
    age = (56 + 19 * draws.normal("age")).clamp(17, 96)
    male = draws.chance("male", 0.52)
    causes = _draw_causes(draws, MIXES[mix], age)
    heart = _healthy_heart(draws, age, male)
    rhythm = _draw_rhythm(draws, causes, age, male)
    _draw_intervals(draws, causes, rhythm, heart, male)
    _conduct(draws, causes, heart)
    _load_chambers(draws, causes, heart)
    _block_arteries(draws, causes, heart)
    _repolarize(draws, causes, heart)
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
        *(age, male, rhythm, heart, matrices, direction, fast),
        uniform=draws.uniform("beats uniform", 0, 1, 3, BEATS),
        normal=draws.normal("beats normal", 0, 1, 2, BEATS),
        causes=causes,
    )


def _draw_causes(draws: Draws, mix: dict[str, float], age: Tensor) -> dict[str, Tensor]:
    """What ails each of them."""
    causes: dict[str, Tensor] = {}
    older = (0.7 + 0.6 * (age - 17) / 79).clamp(max=1.3)  # diseases of age
    sick = ~draws.chance("healthy", mix["healthy"])

    def axis(name: str, table: dict[str, float], likely: Tensor | float = 1.0) -> None:
        has = sick & draws.chance(f"{name} axis: diseased", mix[name] * likely)
        which = draws.choice(f"{name} axis: disease", list(table.values()))
        for number, cause in enumerate(table):
            causes[cause] = has & (which == number)

    axis("rhythm", RHYTHMS)
    axis("av", AV_BLOCKS, older)
    axis("conduction", CONDUCTION, older)
    axis("chambers", CHAMBERS, older)
    axis("coronary", CORONARY, older)
    axis("repolarization", REPOLARIZATION)
    no_atria = causes["fibrillation"] | causes["flutter"] | causes["svt"] | causes["junctional"] | causes["paced"]
    no_atria = no_atria | causes["dual paced"]
    for name in (*AV_BLOCKS, "wpw", "lae", "rae"):
        causes[name] = causes[name] & ~no_atria
    for name in ("wenckebach", "two to one", "complete"):
        for other in ("pac", "pvc", "bigeminy", "trigeminy", "atrial bigeminy", "pause", "ectopic atrial", "wpw"):
            causes[name] = causes[name] & ~causes[other]
    # What goes with what
    causes["lae"] = causes["lae"] | (
        (causes["lvh"] | causes["lvh strain"])
        & ~no_atria
        & draws.chance("atrial enlargement with left ventricular hypertrophy", 0.3)
    )
    causes["rae"] = causes["rae"] | (
        causes["rvh"] & ~no_atria & draws.chance("atrial enlargement with right ventricular hypertrophy", 0.4)
    )
    hidden = causes["paced"] | causes["dual paced"] | causes["complete"]
    for name in (*CONDUCTION, *CHAMBERS, *CORONARY, *REPOLARIZATION):
        if name not in ("lae", "rae"):
            causes[name] = causes[name] & ~hidden
    for name in CORONARY:
        causes[name] = causes[name] & ~causes["wpw"]
    for family, table in (("infarction", INFARCTS), ("ischemia", ISCHEMIAS), ("injury", ISCHEMIAS)):
        which = draws.choice(f"{family} territory", [weight for _, weight in table.values()])
        for number, place in enumerate(table):
            causes[f"{family} {place}"] = causes[family] & (which == number)
    # A diffuse injury has no name of its own
    causes["injury anterolateral"] = causes["injury anterolateral"] | causes.pop("injury ")
    when = draws.choice("infarct age", [0.16, 0.24, 0.60])
    for number, name in enumerate(AGES):
        causes[name] = causes["infarction"] & (when == number)
    return causes


def _healthy_heart(draws: Draws, age: Tensor, male: Tensor) -> Heart:
    """Hearts without disease, as different as they are."""
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
    # Juvenile T waves, more often in women: turned backwards
    juvenile = draws.chance("juvenile t", 0.04 + 0.16 * young * ~male)
    heart.t_turn[:, 1] -= juvenile * draws.uniform("juvenile t angle", 0.35, 0.8)
    heart.individual = draws.normal("individual waves", 0, 1, VARIED, 1 + PARTS) * draws.tensor(
        [0.20, 0.13, 0.07, 0.09, 0.14, 0.16]
    )
    heart.individual[:, -1, 1:] *= 0.3
    # Some have more of the right ventricle in their complexes, others less
    heart.right_load = draws.normal("right ventricular share", 0, 0.10)
    heart.corner_width = draws.uniform("corner width", 0.003, 0.010, CORNERS)
    sharp = (
        0.15 * draws.spread("corner scale", 0.3)[:, None, None] * draws.normal("corner vectors", 0, 1, CORNERS, PARTS)
    )
    heart.corners = torch.cat([draws.uniform("corner times", 0.06, 0.94, CORNERS, 1), sharp], dim=2)
    # The normal ST segment of men rises in V2 to V4
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
    """PR and QT intervals."""
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
    # Much calcium leaves hardly an ST segment, little a long one
    heart.st_longer = causes["hypocalcemia"] * draws.uniform("hypocalcemia st", 0.05, 0.13)
    heart.st_longer = heart.st_longer - causes["hypercalcemia"] * draws.uniform("hypercalcemia st", 0.035, 0.07)
    heart.qt = heart.qt + heart.st_longer
    # Corrected by Fridericia, as in patients; at most what fits between two beats
    interval = 60 / rhythm.rate
    longest = (0.25 + 0.55 * interval).minimum(0.86 * interval).clamp(max=0.66)
    heart.qt = (heart.qt * interval.clamp(0.3, 1.6) ** (1 / 3)).minimum(longest)


def _conduct(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Blocks and short cuts in the ventricles."""
    right = causes["rbbb"] | causes["rbbb lafb"] | causes["rbbb lpfb"]
    heart.right_block = right * draws.uniform("right bundle branch block", 0.8, 1.35) + causes["irbbb"] * (
        0.25 + 0.6 * draws.uniform("incomplete right bundle branch block").square()
    )
    # An incomplete block is one of less than 120 ms, a complete one of more
    narrow = 0.104 - 0.045 * heart.right_block
    heart.qrs = torch.where(causes["irbbb"] & ~right, heart.qrs.minimum(narrow), heart.qrs)
    heart.qrs = torch.where(right, heart.qrs.clamp(min=0.086), heart.qrs)
    # A small r' is a normal variant
    heart.right_block = heart.right_block + draws.chance("normal r'", 0.07) * draws.uniform(
        "normal r' size", 0.05, 0.15
    )
    heart.left_block = causes["lbbb"] * draws.uniform("left bundle branch block", 0.92, 1.1) + causes[
        "ilbbb"
    ] * draws.uniform("incomplete left bundle branch block", 0.4, 0.62)
    heart.anterior_block = (causes["lafb"] | causes["rbbb lafb"]) * draws.uniform(
        "left anterior fascicular block", 0.65, 1.1
    )
    heart.posterior_block = (causes["lpfb"] | causes["rbbb lpfb"]) * draws.uniform(
        "left posterior fascicular block", 0.8, 1.2
    )
    heart.delay = causes["ivcd"] * (0.04 + 0.55 * draws.uniform("conduction delay") ** 1.5)
    heart.qrs = torch.where(causes["ivcd"], heart.qrs.clamp(min=0.090), heart.qrs)
    heart.fragments = heart.fragments + causes["ivcd"] * draws.uniform("conduction delay fragmentation", 0.05, 0.7)
    heart.preexcitation = causes["wpw"] * draws.uniform("preexcitation", 0.6, 1.4)
    pathway = draws.choice("pathway", [0.5, 0.3, 0.2])
    ways = draws.tensor([[0.35, 0.75, -0.55], [0.75, -0.55, -0.25], [-0.45, 0.55, -0.75]])
    heart.pathway = normalize(ways[pathway] + draws.normal("pathway direction", 0, 0.2, 3), dim=1)
    strain = draws.uniform("block strain", 0.5, 1.1) * (causes["lbbb"] + 0.45 * right + 0.35 * causes["ilbbb"])
    heart.strain = (
        strain
        + causes["wpw"] * draws.uniform("preexcitation strain", 0.2, 0.9)
        + causes["ivcd"] * draws.uniform("conduction delay strain", 0.0, 0.6)
    )


def _load_chambers(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Hypertrophy and enlargement."""
    left = causes["lvh"] | causes["lvh strain"]
    heart.left_load = left * draws.uniform("left ventricular load", 0.10, 0.65) + causes["voltage"] * draws.uniform(
        "voltage load", 0.10, 0.35
    )
    heart.qrs_gain = torch.where(left | causes["voltage"], heart.qrs_gain.clamp(min=0.7), heart.qrs_gain)
    heart.right_load = heart.right_load + causes["rvh"] * draws.uniform("right ventricular load", 0.5, 1.25)
    strained = causes["lvh strain"] | (causes["rvh"] & draws.chance("right ventricular strain", 0.5))
    heart.strain = (
        heart.strain
        + strained * draws.uniform("load strain", 0.45, 1.2)
        + causes["lvh"] * draws.uniform("load strain without the diagnosis", 0.0, 0.5)
    )
    heart.left_atrium = causes["lae"] * draws.uniform("left atrium", 0.6, 1.6)
    heart.right_atrium = causes["rae"] * draws.uniform("right atrium", 0.7, 1.6)
    heart.qrs = heart.qrs + 0.008 * left
    # A thick septum: deep narrow q waves in the lateral leads
    heart.individual[:, 0, 1:4] += (causes["septal"] * draws.uniform("septal hypertrophy", 0.7, 1.4))[
        :, None
    ] * heart.individual.new_tensor([-0.30, 0.0, -0.30])


def _block_arteries(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Infarcts, injury and ischemia by territory."""
    heart.scar = heart.scar + 0.0
    every = draws
    for place, (territories, _) in INFARCTS.items():
        draws = every.scope(f"infarction {place}")
        has = causes[f"infarction {place}"][:, None]
        where = heart.scar.new_tensor(territories) * draws.spread("spread", 0.2, 5)
        extent = (0.22 + 0.9 * draws.uniform("extent") ** 1.4)[:, None] * has
        acute, evolving, old = (causes[name][:, None] for name in AGES)
        scar = torch.where(acute, 0.35, 1.0) * extent
        heart.scar = heart.scar + where * scar * scar.new_tensor([1.0, 1.0, 1.0, 0.8, 1.0])
        fresh = (
            acute * draws.uniform("acute injury", 0.10, 0.45)[:, None]
            + evolving * draws.uniform("evolving injury", 0.02, 0.14)[:, None]
        )
        left_over = (
            old
            * (draws.uniform("lasting injury") < 0.3)[:, None]
            * draws.uniform("lasting injury size", 0.01, 0.06)[:, None]
        )
        heart.injury = heart.injury + has * where * (fresh + left_over)
        inverted = (
            evolving * draws.uniform("evolving inversion", 0.5, 1.2)[:, None]
            + acute * draws.uniform("acute inversion", -0.5, 0.3)[:, None]
        )
        late = draws.uniform("late inversion of all", -0.2, 0.2) + draws.chance("late inversion", 0.35) * draws.uniform(
            "late inversion size", 0.3, 0.9
        )
        inverted = inverted + old * late[:, None]
        heart.ischemia = heart.ischemia + has * where * inverted
    for place, (territories, _) in ISCHEMIAS.items():
        draws = every.scope(f"ischemia {place}")
        where = heart.scar.new_tensor(territories) * draws.spread("spread", 0.2, 5)
        has = causes[f"ischemia {place}"][:, None]
        heart.ischemia = heart.ischemia + has * where * draws.uniform("ischemia", 0.25, 0.95)[:, None]
        heart.injury = heart.injury - has * where * (draws.uniform("ischemia injury", 0.0, 0.09))[:, None]
        if place:
            has = causes[f"injury {place}"][:, None]
            heart.injury = heart.injury - has * where * draws.uniform("injury", 0.08, 0.26)[:, None]
            heart.ischemia = heart.ischemia + has * where * draws.uniform("injury ischemia", -0.2, 0.6)[:, None]
    draws = every
    has = causes["aneurysm"][:, None]
    where = heart.scar.new_tensor([0.8, 1.0, 0.3, 0.0, 0.0]) * draws.spread("aneurysm spread", 0.2, 5)
    heart.scar = heart.scar + has * where * draws.uniform("aneurysm scar", 0.8, 1.3)[:, None]
    heart.injury = heart.injury + has * where * draws.uniform("aneurysm injury", 0.09, 0.24)[:, None]
    heart.ischemia = heart.ischemia + has * where * draws.uniform("aneurysm ischemia", 0.2, 0.7)[:, None]
    scarred = causes["infarction"] | causes["aneurysm"]
    heart.fragments = heart.fragments + scarred * draws.chance("scar fragments", 0.3) * draws.uniform(
        "scar fragmentation", 0.2, 0.9
    )
    heart.scar = heart.scar.clamp(max=1.5)


def _repolarize(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Changes of the ST segment and the T wave that no lack of blood explains, or none for certain."""
    gain = heart.t_gain
    gain = torch.where(causes["low t"], draws.uniform("low t gain", 0.02, 0.30), gain)
    gain = torch.where(causes["t"], draws.uniform("t gain in t change", -0.15, 0.45), gain)
    gain = torch.where(causes["non-diagnostic t"], draws.uniform("t gain in non-diagnostic t change", 0.05, 0.55), gain)
    gain = torch.where(causes["st"], gain * draws.uniform("t gain in st change", 0.3, 0.9), gain)
    gain = torch.where(causes["digitalis"], gain * draws.uniform("t gain in digitalis", 0.0, 0.7), gain)
    gain = torch.where(causes["hypokalemia"], gain * draws.uniform("t gain in hypokalemia", 0.0, 0.5), gain)
    gain = torch.where(causes["short qt"], gain.clamp(min=0.8) * draws.uniform("t gain in short qt", 1.0, 1.5), gain)
    gain = torch.where(
        causes["early"], gain.clamp(min=1.0) * draws.uniform("t gain in early repolarization", 1.0, 1.4), gain
    )
    gain = torch.where(causes["drug"], gain * draws.uniform("t gain in drug effect", 0.1, 0.7), gain)
    # Sick muscle has low T waves, whatever it is sick of
    names = ("infarction", "ischemia", "injury", "lvh", "lvh strain", "rvh", "fibrillation", "flutter", "ivcd", "first")
    worn = torch.stack([causes[name] for name in names]).any(dim=0) & draws.chance("worn", 0.75)
    heart.t_gain = torch.where(worn, gain * draws.uniform("worn t gain", 0.15, 0.95), gain)
    turned = (causes["t"] | causes["non-diagnostic t"])[:, None] * draws.normal("t change direction", 0, 0.5, 2)
    heart.t_turn = heart.t_turn + turned
    # ... which turn forwards: first they are lost in I and V6, last in V2
    odd = causes["t"] | causes["non-diagnostic t"] | causes["st"]
    forward = (worn | odd) * draws.uniform("t turned forward", 0.0, 1.4) + odd * draws.uniform(
        "t turned further forward", 0.0, 0.4
    )
    heart.t_turn[:, 1] += forward
    toward = heart.st.new_tensor([0.6, 0.45, -0.1])
    depressed = causes["st"] * draws.uniform("st depression", 0.035, 0.12) + causes["hypokalemia"] * draws.uniform(
        "hypokalemia st depression", 0.02, 0.08
    )
    lifted = causes["early"] * draws.uniform("early repolarization st", 0.04, 0.12) + causes[
        "pericarditis"
    ] * draws.uniform("pericarditis st", 0.08, 0.2)
    heart.st = heart.st - depressed[:, None] * toward
    heart.st = heart.st + lifted[:, None] * heart.st.new_tensor([0.75, 0.65, -0.75])
    heart.sag = causes["digitalis"] * draws.uniform("digitalis sag", 0.06, 0.18)
    heart.peak = causes["hyperkalemia"] * draws.uniform("hyperkalemia peak", 0.8, 1.8)
    heart.u_gain = heart.u_gain + causes["hypokalemia"] * draws.uniform("hypokalemia u wave", 0.06, 0.18)
    heart.notch = causes["early"] * draws.uniform("early repolarization notch", 0.08, 0.25) + draws.chance(
        "normal notch", 0.06
    ) * draws.uniform("normal notch size", 0.02, 0.07)
    heart.coved = causes["brugada"] * draws.uniform("brugada", 0.2, 0.45)


def _draw_torsos(draws: Draws, causes: dict[str, Tensor], age: Tensor, male: Tensor, heart: Heart) -> Tensor:
    """Chests, electrodes and how the heart lies in them; the T wave turns less with it than the QRS complex does."""
    stout = draws.chance("stout", 0.22) * draws.uniform("stoutness", 0.4, 1.0)
    thin = draws.chance("thin", 0.15) * draws.uniform("thinness", 0.4, 1.0)
    angles = draws.normal("heart angles", 0, 1, 3) * draws.tensor([0.10, 0.28, 0.24])
    angles[:, 2] += 0.15 - 0.0065 * (age - 35) - 0.3 * stout + 0.3 * thin
    # A lying or a standing heart, and one turned about its long axis
    angles[:, 2] += draws.chance("lying heart", 0.06) * draws.uniform("lying heart angle", -0.9, -0.4) + draws.chance(
        "standing heart", 0.05
    ) * draws.uniform("standing heart angle", 0.4, 0.9)
    angles[:, 1] += draws.chance("turned about its long axis", 0.10) * draws.uniform(
        "angle about its long axis", -0.6, 0.6
    )
    # Whatever strains the left ventricle turns the axis to the left
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
    """Typical flutter goes up the septum and shows in II, III and aVF; fibrillation shows best in V1."""
    flutter = normalize(draws.tensor([0.1, 0.95, -0.35]) + draws.normal("flutter direction", 0, 0.25, 3), dim=1)
    fibrillation = normalize(
        draws.tensor([-0.1, 0.45, -0.85]) + draws.normal("fibrillation direction", 0, 0.3, 3), dim=1
    )
    direction = torch.where((rhythm.kind == rhythms.FLUTTER)[:, None], flutter, fibrillation)
    return torch.nn.functional.pad(direction, (0, PARTS - 3))
