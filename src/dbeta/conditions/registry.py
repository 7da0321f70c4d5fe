"""Conditions that dbeta can score by name, and the texts that describe each.

The texts are in `conditions.yaml`, which clinicians can read and correct without Python.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from dbeta.ecg import LIMB_LEADS
from dbeta.errors import DBetaError

#: PTB-XL's five diagnostic super-classes, in the order of its benchmark.
SUPER_CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


@dataclass(frozen=True)
class Condition:
    """A finding of the 12-lead ECG, described in words.

    Args:
        key: stable snake_case identifier.
        name: as clinicians say it.
        synonyms: other usual wordings and abbreviations.
        description: what the tracing shows.
        statements: the PTB-XL statements (SCP-ECG codes) that mean this condition.
        super_class: the PTB-XL super-class this condition stands for, one of `SUPER_CLASSES`, or None.
        default: whether it is scored when a user names no conditions.
        findings_for: 2 to 4 observations in a tracing with the condition.
        findings_against: 2 to 4 observations in a tracing without it, either normal or of a mimic.
        benchmark_labels: `labels` as pairs, which can be hashed, unlike a mapping.
        leads: the measured leads in which it is looked for; empty if any lead shows it.
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
    leads: tuple[str, ...] = ()

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """Benchmark → its labels for this condition; see the top of `conditions.yaml`."""
        return dict(self.benchmark_labels)

    def readable_in(self, present: Collection[str]) -> bool:
        """Whether leads can show the condition, or that it is absent.

        They can if all of its limb leads are present, and more than half of its chest leads: one electrode that fell
        off does not hide an infarction, but a single lead shows none.

        Args:
            present: standard names of the leads that carry a signal.
        """
        limbs = [lead for lead in self.leads if lead in LIMB_LEADS]
        chest = [lead for lead in self.leads if lead not in LIMB_LEADS]
        return all(lead in present for lead in limbs) and (
            not chest or sum(lead in present for lead in chest) > len(chest) / 2
        )

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts that describe the condition, lower case: the name, each synonym, then "name: description"."""
        texts = (self.name, *self.synonyms, f"{self.name}: {self.description}")
        return tuple(text.lower() for text in texts)

    @property
    def prompts_for(self) -> tuple[str, ...]:
        """`findings_for` in lower case."""
        return tuple(text.lower() for text in self.findings_for)

    @property
    def prompts_against(self) -> tuple[str, ...]:
        """`findings_against` in lower case."""
        return tuple(text.lower() for text in self.findings_against)


@cache
def _conditions() -> tuple[Condition, ...]:
    """Read all conditions, in the order of `conditions.yaml`."""
    text = files("dbeta.conditions").joinpath("conditions.yaml").read_text(encoding="utf-8")
    # libyaml, where available, saves 0.1 s
    entries = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tuple(
        Condition(
            key=key,
            name=entry["name"],
            synonyms=tuple(entry["synonyms"]),
            description=entry["description"],
            statements=tuple(entry.get("statements", ())),
            super_class=entry.get("super_class"),
            default=entry.get("default", False),
            findings_for=tuple(entry["for"]),
            findings_against=tuple(entry["against"]),
            benchmark_labels=tuple((name, tuple(labels)) for name, labels in entry.get("labels", {}).items()),
            leads=tuple(entry.get("leads", ())),
        )
        for key, entry in entries.items()
    )


def load_conditions() -> dict[str, Condition]:
    """Load all conditions by key, in the order of `conditions.yaml`; the file is read once."""
    return {condition.key: condition for condition in _conditions()}


def default_conditions() -> list[Condition]:
    """List the common conditions that are scored when a user names none."""
    return [condition for condition in _conditions() if condition.default]


def find_condition(text: str) -> Condition | None:
    """Find a condition by key, name or synonym; None if there is none.

    Case is ignored, and hyphens, underscores and spaces are the same.
    """
    return _by_wording().get(_folded(text))


def known_parts(text: str, separators: str = ",") -> list[str]:
    """Split a list of conditions that is written as one text, such as "AFIB, left bundle branch block".

    Args:
        text: to be split.
        separators: the characters between conditions.

    Returns:
        The parts, if every one of them is a known condition and the text as a whole is none; otherwise nothing.
    """
    parts = [part.strip() for part in re.split(f"[{re.escape(separators)}]", text) if part.strip()]
    if len(parts) < 2 or find_condition(text) or not all(map(find_condition, parts)):
        return []
    return parts


def super_class_conditions() -> dict[str, Condition]:
    """Map PTB-XL's super-classes to conditions, in the order NORM, MI, STTC, CD, HYP."""
    found = {condition.super_class: condition for condition in _conditions()}
    return {super_class: found[super_class] for super_class in SUPER_CLASSES}


def condition_of_label(benchmark: str, label: str) -> Condition:
    """Find the condition of a benchmark's label.

    Args:
        benchmark: "ptb-xl", whose labels are the 71 statements (each gives its specific condition, not the super-class
            that also lists it); "ptb-xl-super"; or a benchmark listed at the top of `conditions.yaml`: "ptb-xl-sub",
            "cpsc2018", "csn", "challenge-2021", "code".
        label: as the benchmark writes it. Underscores around it are ignored: PTB-XL writes NST_ and _AVB, others drop
            them.

    Raises:
        DBetaError: the benchmark or the label is unknown.
    """
    table = _by_label()
    if benchmark not in table:
        raise DBetaError(f"{benchmark}: unknown benchmark; choose one of {', '.join(table)}")
    try:
        return table[benchmark][label.strip("_")]
    except KeyError:
        raise DBetaError(
            f"{label}: unknown label of the benchmark {benchmark}; choose one of {', '.join(table[benchmark])}"
        ) from None


def _folded(text: str) -> str:
    """Normalise "T-wave Inversion", "t wave inversion" and "t_wave_inversion" to the same spelling."""
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()


@cache
def _by_wording() -> dict[str, Condition]:
    """Map each normalised key, name and synonym to its condition."""
    return {
        _folded(wording): condition
        for condition in _conditions()
        for wording in (condition.key, condition.name, *condition.synonyms)
    }


@cache
def _by_label() -> dict[str, dict[str, Condition]]:
    """Map each benchmark's labels, without underscores around them, to conditions."""
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
    """Make a condition that is not in `conditions.yaml` from a few words.

    Args:
        name: of the condition.
        description: what the tracing shows; by default the name.
        against: what a tracing without it shows; by default "no" and the name.
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
