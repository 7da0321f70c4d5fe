"""Draws the causes of findings: diseases on six axes, and the rules of what goes with what.

Each axis (rhythm, AV conduction, ventricular conduction, chambers, coronary arteries, repolarization) is drawn by
itself. Then the rules below remove causes that cannot be present or seen together, and add atrial to ventricular
enlargement.

Source: combinations as in Surawicz and Knilans, Chou's Electrocardiography in Clinical Practice.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from dbeta.simulation.diseases import (
    AGES,
    AV_BLOCKS,
    CHAMBERS,
    CONDUCTION,
    CORONARY,
    DIFFUSE,
    INFARCTS,
    ISCHEMIAS,
    REPOLARIZATION,
    RHYTHMS,
)
from dbeta.simulation.draws import Draws

#: Rhythms without P waves that conduct, and what needs such P waves.
NO_P_WAVES = ("fibrillation", "flutter", "svt", "junctional", "paced", "dual paced")
NEEDS_P_WAVES = (*AV_BLOCKS, "wpw", "lae", "rae")
#: Blocks that drop beats, and the rhythms and pathways that are not simulated with them.
DROPS_BEATS = ("wenckebach", "two to one", "complete")
NOT_WITH_DROPPED_BEATS = (
    "pac",
    "pvc",
    "bigeminy",
    "trigeminy",
    "atrial bigeminy",
    "pause",
    "ectopic atrial",
    "wpw",
)
#: Rhythms that begin in the ventricles and hide all that shapes conducted beats, but not the atria's P waves.
VENTRICULAR_RHYTHMS = ("paced", "dual paced", "complete")
SHAPES_OF_CONDUCTED_BEATS = tuple(
    name for name in (*CONDUCTION, *CHAMBERS, *CORONARY, *REPOLARIZATION) if name not in ("lae", "rae")
)
#: Probabilities of atrial enlargement with hypertrophy of the ventricle behind it; of each age of an infarct.
LEFT_ATRIUM_TOO, RIGHT_ATRIUM_TOO = 0.3, 0.4
AGE_WEIGHTS = {"acute": 0.16, "evolving": 0.24, "old": 0.60}


def draw_causes(draws: Draws, mix: dict[str, float], age: Tensor) -> dict[str, Tensor]:
    """Draw what each patient has.

    Args:
        draws: their random numbers.
        mix: how often each axis is diseased, from `dbeta.simulation.diseases.MIXES`.
        age: (B,) years.

    Returns:
        Name of a cause → (B,) bool.
    """
    causes = _draw_axes(draws, mix, age)
    # The order matters: blocks that fast atria rule out hide nothing
    _remove(causes, NEEDS_P_WAVES, NO_P_WAVES)
    _remove(causes, DROPS_BEATS, NOT_WITH_DROPPED_BEATS)
    _enlarge_atria(draws, causes)
    _remove(causes, SHAPES_OF_CONDUCTED_BEATS, VENTRICULAR_RHYTHMS)
    _remove(causes, CORONARY, ("wpw",))
    _draw_territories(draws, causes)
    return causes


def _draw_axes(draws: Draws, mix: dict[str, float], age: Tensor) -> dict[str, Tensor]:
    """Draw whether each axis is diseased, and by what."""
    causes: dict[str, Tensor] = {}
    older = (0.7 + 0.6 * (age - 17) / 79).clamp(max=1.3)  # factor for diseases of age
    sick = ~draws.chance("healthy", mix["healthy"])
    for name, table, likely in (
        ("rhythm", RHYTHMS, 1.0),
        ("av", AV_BLOCKS, older),
        ("conduction", CONDUCTION, older),
        ("chambers", CHAMBERS, older),
        ("coronary", CORONARY, older),
        ("repolarization", REPOLARIZATION, 1.0),
    ):
        has = sick & draws.chance(f"{name} axis: diseased", mix[name] * likely)
        which = draws.choice(f"{name} axis: disease", list(table.values()))
        for number, cause in enumerate(table):
            causes[cause] = has & (which == number)
    return causes


def _any_of(causes: dict[str, Tensor], names: Iterable[str]) -> Tensor:
    return torch.stack([causes[name] for name in names]).any(dim=0)


def _remove(causes: dict[str, Tensor], names: Iterable[str], where: Iterable[str]) -> None:
    """Remove causes from patients with any cause of `where`, in place."""
    excluded = _any_of(causes, where)
    for name in names:
        causes[name] = causes[name] & ~excluded


def _enlarge_atria(draws: Draws, causes: dict[str, Tensor]) -> None:
    """Add atrial enlargement to ventricular hypertrophy, where there are P waves to show it."""
    p_waves = ~_any_of(causes, NO_P_WAVES)
    left = _any_of(causes, ("lvh", "lvh strain")) & p_waves
    right = causes["rvh"] & p_waves
    too = draws.chance("atrial enlargement with left ventricular hypertrophy", LEFT_ATRIUM_TOO)
    causes["lae"] = causes["lae"] | (left & too)
    too = draws.chance("atrial enlargement with right ventricular hypertrophy", RIGHT_ATRIUM_TOO)
    causes["rae"] = causes["rae"] | (right & too)


def _draw_territories(draws: Draws, causes: dict[str, Tensor]) -> None:
    """Draw the territory of infarction, ischemia and injury, and the age of an infarct."""
    for family, table in (("infarction", INFARCTS), ("ischemia", ISCHEMIAS), ("injury", ISCHEMIAS)):
        which = draws.choice(f"{family} territory", [weight for _, weight in table.values()])
        for number, place in enumerate(table):
            causes[f"{family} {place}"] = causes[family] & (which == number)
    # No statement names a diffuse subendocardial injury
    diffuse = causes.pop(f"injury {DIFFUSE}")
    causes["injury anterolateral"] = causes["injury anterolateral"] | diffuse
    when = draws.choice("infarct age", [AGE_WEIGHTS[name] for name in AGES])
    for number, name in enumerate(AGES):
        causes[name] = causes["infarction"] & (when == number)
