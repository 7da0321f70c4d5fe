"""Labels ECG-text pairs of a batch for ETS: +1 if the text is true of the ECG, −1 if not, 0 if unknown.

Facts about records and texts are small tensors, so that they can be gathered from other processes and pairs across
processes get their true label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dbeta.conditions.statements import NUMBERS, Band, facts
from dbeta.model.distributed import gather, rank
from dbeta.model.losses import ets_labels

#: Labelling rules: +1 for aligned pairs only (as published), also for equal texts, or by what texts state (entailment).
RULES = ("pair", "equal", "entailment")


@dataclass(frozen=True)
class Text:
    """A text and what is known about its content.

    Attributes:
        words: the text.
        states: findings that it is known to state.
        complete: whether it states nothing else, like a text generated from findings; a report may say more.
        denies: findings that it says are absent.
        numbers: what it says of measures, at most one of each.

    States and denies may also be facts about waves (`dbeta.conditions.statements.facts`).
    """

    words: str
    states: frozenset[str] = frozenset()
    complete: bool = False
    denies: frozenset[str] = frozenset()
    numbers: tuple[Band, ...] = ()


@dataclass(frozen=True)
class Record:
    """What is known about a record.

    Attributes:
        report: its report, empty if it has none.
        findings: findings that are present.
        decided: findings annotated as present or absent.
        waves: signs of all `facts`, int8; None if none was decided.
        numbers: of each of `NUMBERS`, NaN if unknown.
    """

    report: str
    findings: frozenset[str]
    decided: frozenset[str]
    waves: np.ndarray | None = None
    numbers: tuple[float, ...] = (float("nan"),) * len(NUMBERS)

    def sign(self, fact: str) -> int:
        """Whether a finding or a fact about waves holds: +1 yes, −1 no, 0 not known."""
        if fact in self.findings:
            return 1
        if fact in self.decided:
            return -1
        if self.waves is None or fact not in FACT_PLACES:
            return 0
        return int(self.waves[FACT_PLACES[fact]])

    def value(self, measure: str) -> float:
        """One of `NUMBERS`, NaN where it is unknown."""
        return self.numbers[NUMBERS.index(measure)]


#: Facts about waves → their places.
FACT_PLACES = {fact: i for i, fact in enumerate(facts())}
#: Of a number in a text, as a tensor: its centre and four offsets (`Band`); one that says nothing.
_BAND, _SILENT = 5, (0.0, -np.inf, -np.inf, np.inf, np.inf)


def pair_sign(text: Text, record: Record) -> int:
    """Whether a text is true of a record: +1 yes, −1 no, 0 unknown (entailment).

    A text that states findings and numbers is true of every record that has them all and none of those it denies. It is
    not true if one is known to be otherwise, and unknown if one is undecided. A report is true of records with the same
    report; it is unknown for records with all findings that it is known to state; a report about which nothing is known
    is assumed not to be true of other records, as in plain contrastive learning.
    """
    if text.words == record.report and not text.complete:
        return 1
    signs = [
        *(record.sign(fact) for fact in text.states),
        *(-record.sign(fact) for fact in text.denies),
        *(band.sign(record.value(band.measure)) for band in text.numbers),
    ]
    if not signs:
        return -1
    return min(signs) if text.complete else min(0, *signs)


def text_key(words: str) -> int:
    """Number shared by equal texts, in every process; 0 for an empty text."""
    if not words:
        return 0
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") >> 1 or 1


def encode_facts(
    records: Sequence[Record], own: Sequence[Text], texts: Sequence[Text], prompts: Sequence[Text], vocabulary: Any
) -> dict[str, Tensor]:
    """Encode the facts of a batch as tensors.

    Args:
        records: B records.
        own: B texts, the record's own.
        texts: B texts, those the records are paired with.
        prompts: K additional texts.
        vocabulary: every finding → its column, F in total, with those of `facts` if records or texts have any.

    Returns:
        `records` (B, F) int8 of +1 present, −1 absent, 0 undecided; `record_keys` (B, 2) of report and own text;
        `numbers` (B, measures) of the records; `states` and `denies` (B, F) bool, `bands` (B, measures, 5), `keys` (B,)
        and `complete` (B,) of the texts; `prompt_states`, `prompt_denies` and `prompt_bands` of the K prompts.
    """
    table = np.zeros((len(records), len(vocabulary)), np.int8)
    places = [vocabulary[fact] for fact in FACT_PLACES] if any(one.waves is not None for one in records) else []
    # Most records of a corpus have the same findings annotated
    decided = {names: [vocabulary[name] for name in names] for names in {record.decided for record in records}}
    for row, record in zip(table, records, strict=True):
        row[decided[record.decided]] = -1
        for name in record.findings:
            row[vocabulary[name]] = 1
        if record.waves is not None:
            row[places] = record.waves

    def banded(of: Sequence[Text]) -> torch.Tensor:
        found = np.full((len(of), len(NUMBERS), _BAND), _SILENT, np.float32)
        for row, text in zip(found, of, strict=True):
            for band in text.numbers:
                row[NUMBERS.index(band.measure)] = astuple(band)[1:]
        return torch.from_numpy(found)

    def marked(of: Sequence[frozenset[str]]) -> Tensor:
        found = np.zeros((len(of), len(vocabulary)), bool)
        for row, names in zip(found, of, strict=True):
            for name in names:
                row[vocabulary[name]] = True
        return torch.from_numpy(found)

    return {
        "records": torch.from_numpy(table),
        "record_keys": torch.tensor(
            [[text_key(record.report), text_key(text.words)] for record, text in zip(records, own, strict=True)]
        ),
        "numbers": torch.tensor([record.numbers for record in records], dtype=torch.float32),
        "states": marked([text.states for text in texts]),
        "denies": marked([text.denies for text in texts]),
        "bands": banded(texts),
        "keys": torch.tensor([text_key(text.words) for text in texts]),
        "complete": torch.tensor([text.complete for text in texts]),
        "prompt_states": marked([text.states for text in prompts]),
        "prompt_denies": marked([text.denies for text in prompts]),
        "prompt_bands": banded(prompts),
    }


def batch_signs(facts: Mapping[str, Tensor], aligned: Tensor, rule: str) -> Tensor:
    """Label every ECG of this process with every text of all processes, then with the prompts.

    Args:
        facts: facts of this process (`encode_facts`).
        aligned: (B,) bool, whether text i belongs to ECG i.
        rule: one of `RULES`.

    Returns:
        (B, processes · B + K) float32 of +1, −1 and 0.
    """
    keys = gather(facts["keys"])  # (T,)
    signs = ets_labels(aligned, len(keys))
    if rule == "pair":
        return signs
    own = torch.arange(len(aligned), device=aligned.device)
    same = (facts["record_keys"][:, :, None] == keys).any(dim=1)  # (B, T)
    # A pair marked misaligned is a negative, whatever its words
    same[own, own + rank() * len(own)] &= aligned
    if rule == "equal":
        return torch.where(same, 1.0, signs)
    states, denies, bands = gather(facts["states"].byte()), gather(facts["denies"].byte()), gather(facts["bands"])
    complete = gather(facts["complete"].byte()).bool()
    entailed = _entailment(facts["records"], facts["numbers"], states, denies, bands)
    known = (states | denies).bool().any(dim=1) | _spoken(bands).any(dim=1)
    by_report = torch.where(known, entailed.clamp(max=0.0), -1.0)
    by_report = torch.where(same, 1.0, by_report)
    signs = torch.where(complete, entailed, by_report)
    at = own + rank() * len(own)
    signs[own, at] = torch.where(aligned, signs[own, at], -1.0)
    prompts = (facts[f"prompt_{name}"] for name in ("states", "denies", "bands"))
    return torch.cat([signs, _entailment(facts["records"], facts["numbers"], *prompts)], dim=1)


def with_signs(batch: Mapping[str, Any], rule: str) -> dict[str, Tensor]:
    """Prepare a collated batch for `DBetaModel.forward`: `ets_labels` (`batch_signs`) in place of `facts`."""
    ready = {name: value for name, value in batch.items() if name != "facts"}
    return ready | {"ets_labels": batch_signs(batch["facts"], batch["aligned"], rule)}


def _entailment(records: Tensor, numbers: Tensor, states: Tensor, denies: Tensor, bands: Tensor) -> Tensor:
    """+1 where a record has all a text states and nothing it denies, −1 where it is known not to, else 0: (B, T)."""
    has, lacks, undecided = ((records == sign).float() for sign in (1, -1, 0))
    wanted, unwanted = states.float().T, denies.float().T  # (F, T)
    wrong = lacks @ wanted + has @ unwanted > 0
    unsure = undecided @ (wanted + unwanted) > 0
    offset = numbers[:, None] - bands[..., 0]  # (B, T, measures)
    at = NUMBERS.index("axis")
    offset[..., at] = (offset[..., at] + 180) % 360 - 180
    wrong |= ((offset < bands[..., 1]) | (offset > bands[..., 4])).any(dim=2)
    # Nothing is said of a measure that is not known
    unsure |= (_spoken(bands) & ~((offset >= bands[..., 2]) & (offset <= bands[..., 3]))).any(dim=2)
    return torch.where(wrong, -1.0, torch.where(unsure, 0.0, 1.0))


def _spoken(bands: Tensor) -> Tensor:
    """Of which measures texts say something: (T, measures) bool."""
    return bands[..., 1].isfinite() | bands[..., 4].isfinite()
