"""Applies diseases to a heart: conduction, chambers, coronary arteries and repolarization.

Each function changes `heart` in place.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dbeta.simulation.diseases import AGES, DIFFUSE, INFARCTS, ISCHEMIAS
from dbeta.simulation.draws import Draws
from dbeta.simulation.heart import Heart
from dbeta.simulation.textbook import PATHWAY_SHARES, PATHWAYS


def conduct(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Apply blocks and accessory pathways in the ventricles."""
    right = causes["rbbb"] | causes["rbbb lafb"] | causes["rbbb lpfb"]
    heart.right_block = right * draws.uniform("right bundle branch block", 0.8, 1.35) + causes["irbbb"] * (
        0.25 + 0.6 * draws.uniform("incomplete right bundle branch block").square()
    )
    # Incomplete blocks have a QRS below 120 ms, complete ones above
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
    pathway = draws.choice("pathway", PATHWAY_SHARES)
    ways = draws.tensor(PATHWAYS)
    heart.pathway = normalize(ways[pathway] + draws.normal("pathway direction", 0, 0.2, 3), dim=1)
    strain = draws.uniform("block strain", 0.5, 1.1) * (causes["lbbb"] + 0.45 * right + 0.35 * causes["ilbbb"])
    heart.strain = (
        strain
        + causes["wpw"] * draws.uniform("preexcitation strain", 0.2, 0.9)
        + causes["ivcd"] * draws.uniform("conduction delay strain", 0.0, 0.6)
    )


def load_chambers(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Apply hypertrophy and enlargement."""
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
    # A thick septum gives deep narrow q waves in the lateral leads
    heart.individual[:, 0, 1:4] += (causes["septal"] * draws.uniform("septal hypertrophy", 0.7, 1.4))[
        :, None
    ] * heart.individual.new_tensor([-0.30, 0.0, -0.30])


def block_arteries(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Apply infarcts, injury and ischemia by territory."""
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
        if place != DIFFUSE:
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


def repolarize(draws: Draws, causes: dict[str, Tensor], heart: Heart) -> None:
    """Apply changes of the ST segment and T wave other than ischemia, and non-specific ones."""
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
    # Diseased muscle has low T waves, whatever the disease
    names = ("infarction", "ischemia", "injury", "lvh", "lvh strain", "rvh", "fibrillation", "flutter", "ivcd", "first")
    worn = torch.stack([causes[name] for name in names]).any(dim=0) & draws.chance("worn", 0.75)
    heart.t_gain = torch.where(worn, gain * draws.uniform("worn t gain", 0.15, 0.95), gain)
    turned = (causes["t"] | causes["non-diagnostic t"])[:, None] * draws.normal("t change direction", 0, 0.5, 2)
    heart.t_turn = heart.t_turn + turned
    # Low T waves turn forwards: they are lost first in I and V6, last in V2
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
