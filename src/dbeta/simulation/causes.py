"""Draws the causes of findings: diseases on six axes, and the rules for which can occur together.

Each axis (rhythm, AV conduction, ventricular conduction, chambers, coronary arteries, repolarization) is drawn
independently. The rules below then remove causes that cannot occur or be seen together, and add atrial enlargement to
ventricular hypertrophy.

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

#: Rhythms without conducted P waves, and causes that need conducted P waves.
NO_P_WAVES = ("fibrillation", "flutter", "svt", "junctional", "paced", "dual paced")
NEEDS_P_WAVES = (*AV_BLOCKS, "wpw", "lae", "rae")
#: Blocks that drop beats, and the causes that are not simulated together with them.
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
#: Rhythms of ventricular origin; they hide everything that shapes conducted beats, but not the atria's P waves.
VENTRICULAR_RHYTHMS = ("paced", "dual paced", "complete")
SHAPES_OF_CONDUCTED_BEATS = tuple(
    name for name in (*CONDUCTION, *CHAMBERS, *CORONARY, *REPOLARIZATION) if name not in ("lae", "rae")
)
#: Probabilities of atrial enlargement given hypertrophy of the same side's ventricle, and of each age of an infarct.
LEFT_ATRIUM_TOO, RIGHT_ATRIUM_TOO = 0.3, 0.4
AGE_WEIGHTS = {"acute": 0.16, "evolving": 0.24, "old": 0.60}


def draw_causes(draws: Draws, mix: dict[str, float], age: Tensor) -> dict[str, Tensor]:
    """Draw the causes that each patient has.

    Args:
        draws: random numbers of the patients.
        mix: how often each axis is diseased, from `dbeta.simulation.diseases.MIXES`.
        age: (B,) years.

    Returns:
        Name of a cause → (B,) bool.
    """
    causes = _draw_axes(draws, mix, age)
    # The order matters: a block removed because of fast atria must not remove anything else
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
    older = (0.7 + 0.6 * (age - 17) / 79).clamp(max=1.3)  # diseases that become more common with age
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
    """Remove causes from patients who have any of the causes in `where`, in place."""
    excluded = _any_of(causes, where)
    for name in names:
        causes[name] = causes[name] & ~excluded


def _enlarge_atria(draws: Draws, causes: dict[str, Tensor]) -> None:
    """Add atrial enlargement to ventricular hypertrophy if there are P waves to show it."""
    p_waves = ~_any_of(causes, NO_P_WAVES)
    left = _any_of(causes, ("lvh", "lvh strain")) & p_waves
    right = causes["rvh"] & p_waves
    too = draws.chance("atrial enlargement with left ventricular hypertrophy", LEFT_ATRIUM_TOO)
    causes["lae"] = causes["lae"] | (left & too)
    too = draws.chance("atrial enlargement with right ventricular hypertrophy", RIGHT_ATRIUM_TOO)
    causes["rae"] = causes["rae"] | (right & too)


def _draw_territories(draws: Draws, causes: dict[str, Tensor]) -> None:
    """Draw the territories of infarction, ischemia and injury, and the age of an infarct."""
    for family, table in (("infarction", INFARCTS), ("ischemia", ISCHEMIAS), ("injury", ISCHEMIAS)):
        which = draws.choice(f"{family} territory", [weight for _, weight in table.values()])
        for number, place in enumerate(table):
            causes[f"{family} {place}"] = causes[family] & (which == number)
    # Diffuse subendocardial injury has no statement of its own
    diffuse = causes.pop(f"injury {DIFFUSE}")
    causes["injury anterolateral"] = causes["injury anterolateral"] | diffuse
    when = draws.choice("infarct age", [AGE_WEIGHTS[name] for name in AGES])
    for number, name in enumerate(AGES):
        causes[name] = causes["infarction"] & (when == number)
