"""Conditions: what dbeta can be asked for by name, and the texts that stand for each.

The words are in `conditions.yaml`, a file that a clinician can read and correct without any Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

#: PTB-XL's five diagnostic super-classes, in the order of its benchmark.
SUPER_CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


@dataclass(frozen=True)
class Condition:
    """A finding of the 12-lead ECG, in words.

    Args:
        key: stable snake_case identifier.
        name: as clinicians say it.
        synonyms: other usual wordings and abbreviations.
        description: what the tracing shows.
        statements: the PTB-XL statements (SCP-ECG codes) that mean this condition.
        super_class: the PTB-XL super-class this condition stands for, one of `SUPER_CLASSES`, or None.
        default: whether it is asked for when a user names no conditions.
    """

    key: str
    name: str
    synonyms: tuple[str, ...]
    description: str
    statements: tuple[str, ...]
    super_class: str | None
    default: bool

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts that stand for the condition, lower case: the name, each synonym, then "name: description"."""
        texts = (self.name, *self.synonyms, f"{self.name}: {self.description}")
        return tuple(text.lower() for text in texts)


@cache
def _conditions() -> tuple[Condition, ...]:
    """Every condition, in the file's order."""
    text = files("dbeta.evaluation").joinpath("conditions.yaml").read_text(encoding="utf-8")
    # libyaml, where it is built in, spares a tenth of a second
    entries = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tuple(
        Condition(
            key=key,
            name=entry["name"],
            synonyms=tuple(entry["synonyms"]),
            description=entry["description"],
            statements=tuple(entry["statements"]),
            super_class=entry.get("super_class"),
            default=entry.get("default", False),
        )
        for key, entry in entries.items()
    )


def load_conditions() -> dict[str, Condition]:
    """Every condition by its key, in the order of `conditions.yaml`; the file is read once."""
    return {condition.key: condition for condition in _conditions()}


def default_conditions() -> list[Condition]:
    """The common conditions that are asked for when a user names none."""
    return [condition for condition in _conditions() if condition.default]


def find_condition(text: str) -> Condition | None:
    """The condition whose key, name or synonym this is, or None.

    Case does not matter, nor whether words are joined by a hyphen, an underscore or a space.
    """
    return _by_wording().get(_folded(text))


def super_class_conditions() -> dict[str, Condition]:
    """The conditions that stand for PTB-XL's super-classes: NORM, MI, STTC, CD, HYP, in that order."""
    found = {condition.super_class: condition for condition in _conditions()}
    return {super_class: found[super_class] for super_class in SUPER_CLASSES}


def _folded(text: str) -> str:
    """One spelling for "T-wave Inversion", "t wave inversion" and "t_wave_inversion"."""
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()


@cache
def _by_wording() -> dict[str, Condition]:
    """The condition for each folded key, name and synonym."""
    return {
        _folded(wording): condition
        for condition in _conditions()
        for wording in (condition.key, condition.name, *condition.synonyms)
    }
