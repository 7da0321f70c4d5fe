"""Conditions: what dbeta can be asked for by name, and the texts that stand for each.

The words are in `conditions.yaml`, a file that a clinician can read and correct without any Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from dbeta.errors import DBetaError

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
        findings_for: 2 to 4 observations that a tracing with the condition shows.
        findings_against: 2 to 4 observations that a tracing without it shows, normal or of what is mistaken for it.
        benchmark_labels: `labels` as pairs, which unlike a mapping can be hashed.
    """

    key: str
    name: str
    synonyms: tuple[str, ...]
    description: str
    statements: tuple[str, ...]
    super_class: str | None
    default: bool
    findings_for: tuple[str, ...] = ()
    findings_against: tuple[str, ...] = ()
    benchmark_labels: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """For each benchmark that has any, its labels that mean this condition; see the head of `conditions.yaml`."""
        return dict(self.benchmark_labels)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts that stand for the condition, lower case: the name, each synonym, then "name: description"."""
        texts = (self.name, *self.synonyms, f"{self.name}: {self.description}")
        return tuple(text.lower() for text in texts)

    @property
    def prompts_for(self) -> tuple[str, ...]:
        """`findings_for`, lower case, as the model reads texts."""
        return tuple(text.lower() for text in self.findings_for)

    @property
    def prompts_against(self) -> tuple[str, ...]:
        """`findings_against`, lower case, as the model reads texts."""
        return tuple(text.lower() for text in self.findings_against)


@cache
def _conditions() -> tuple[Condition, ...]:
    """Every condition, in the file's order."""
    text = files("dbeta.conditions").joinpath("conditions.yaml").read_text(encoding="utf-8")
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
            findings_for=tuple(entry["for"]),
            findings_against=tuple(entry["against"]),
            benchmark_labels=tuple((name, tuple(labels)) for name, labels in entry.get("labels", {}).items()),
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


def condition_of_label(benchmark: str, label: str) -> Condition:
    """The condition that a benchmark's label means.

    Args:
        benchmark: "ptb-xl", whose labels are the 71 statements (the specific condition is found, not the super-class
            that also lists the statement); "ptb-xl-super", the super-classes; or one that the head of
            `conditions.yaml` lists: "ptb-xl-sub", "cpsc2018", "csn", "challenge-2021", "code".
        label: as the benchmark writes it. Underscores around it do not matter: PTB-XL writes NST_ and _AVB, others
            drop them.

    Raises:
        DBetaError: the benchmark is none of these, or has no such label.
    """
    table = _by_label()
    if benchmark not in table:
        raise DBetaError(f"{benchmark}: no benchmark whose labels are known; name one of {', '.join(table)}")
    try:
        return table[benchmark][label.strip("_")]
    except KeyError:
        raise DBetaError(
            f"{label}: no label of the benchmark {benchmark}; name one of {', '.join(table[benchmark])}"
        ) from None


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


@cache
def _by_label() -> dict[str, dict[str, Condition]]:
    """For each benchmark the condition of each label, written without underscores around it."""
    specific = [condition for condition in _conditions() if condition.super_class not in SUPER_CLASSES[1:]]
    table = {
        "ptb-xl": {code.strip("_"): condition for condition in specific for code in condition.statements},
        "ptb-xl-super": super_class_conditions(),
    }
    for condition in _conditions():
        for benchmark, labels in condition.benchmark_labels:
            table.setdefault(benchmark, {}).update(dict.fromkeys(labels, condition))
    return table


def plain_condition(name: str, description: str = "", against: str = "") -> Condition:
    """A condition that `conditions.yaml` does not know, of no more than a few words.

    Args:
        name: in words.
        description: what the tracing shows; by default the name.
        against: what one without it shows; by default its negation.
    """
    return Condition(
        key=re.sub(r"\W+", "_", name.lower()).strip("_"),
        name=name,
        synonyms=(),
        description=description or name,
        statements=(),
        super_class=None,
        default=False,
        findings_for=(description or name,),
        findings_against=(against or f"no {name}",),
    )
