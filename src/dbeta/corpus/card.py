"""The data card of a corpus: counts, distributions and notes, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dbeta.corpus.store import SPLITS
from dbeta.ecg import LEADS
from dbeta.utils.notice import NOTICE

#: Longest list of reports, devices, rates, … in a card, the most frequent first.
LISTED = 15

_CARD = """# Corpus of {source}

{records:,} recordings of {patients:,} patients; {rejected:,} more were rejected. {hours:,.1f} hours of signal.
{notice}

Made with

    {command}

{notes}

## Splits

{split_rule}.

{splits}

## Signals

Twelve leads in the standard order, int16 microvolts; longer recordings are cut to their first {seconds:g} s.

{rates}

{lengths}

## Reports

{reports}

## Findings

{findings}

## Patients

Age: {age}.

{sexes}

{devices}

## Rejected

{reasons}

## Licence and use

{licence} {notice}
"""
#: Licence of a corpus built from a dataset that others collected.
THEIRS = (
    "The recordings, reports and labels come from the dataset and are under its licence: check it before sharing this "
    "folder or\na model trained on it."
)


class Tally:
    """Counts for the card, summed over shards.

    Attributes:
        records: rows.
        splits: rows of each split.
        patients: the split of each patient.
        notes: warnings given while reading the records.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.records = 0
        self.seconds = 0.0
        self.splits: Counter[str] = Counter()
        self.patients: dict[str, str] = {}
        self.notes: Counter[str] = Counter()
        self.rates: Counter[float] = Counter()
        self.lengths: Counter[float] = Counter()
        self.reports: Counter[str] = Counter()
        self.findings: Counter[tuple[str, str]] = Counter()
        self.unknown: Counter[str] = Counter()
        self.sexes: Counter[str] = Counter()
        self.devices: Counter[str] = Counter()
        self.ages: Counter[int] = Counter()

    def add(self, shard: Any) -> None:
        """Add the rows of a shard, a `pyarrow.Table`."""
        import pyarrow.compute as pc

        sizes = pc.binary_length(shard.column("signal")).to_numpy()
        rates = shard.column("sampling_rate").to_numpy().astype(float)
        durations = sizes / (2 * len(LEADS)) / rates
        rows = shard.drop_columns("signal").to_pydict()
        self.records += shard.num_rows
        self.seconds += float(durations.sum())
        self.splits.update(rows["split"])
        self.patients.update(zip(rows["patient_id"], rows["split"], strict=True))
        self.rates.update(rates.tolist())
        self.lengths.update(np.round(durations, 1).tolist())
        self.reports.update(rows["report"])
        pairs = zip(rows["split"], rows["findings"], strict=True)
        self.findings.update((split, one) for split, findings in pairs for one in findings)
        self.unknown.update(one for row in rows["unknown"] for one in row)
        self.sexes.update(rows["sex"])
        self.devices.update(rows["device"])
        self.ages.update(int(age) for age in rows["age"] if age is not None and age == age)


def write_card(
    counts: dict[str, Any],
    tally: Tally,
    rejected: Sequence[tuple[str, str]],
    *,
    notes: Sequence[str],
    split_rule: str,
    seconds: float,
    command: str,
    licence: str = THEIRS,
) -> str:
    """Write the card.

    Args:
        counts: the content of `corpus.json`.
        tally: of all shards.
        rejected: file and reason of each rejected record.
        notes: sentences for users of the corpus.
        split_rule: how the splits were made.
        seconds: limit on the length of a recording.
        command: the command that made the corpus.
        licence: sentences on the licence.

    Returns:
        Markdown.
    """
    patients = Counter(tally.patients.values())
    warned = [f"{_records(n)} gave a warning: {note}." for note, n in tally.notes.most_common(LISTED)]
    splits = [(name, f"{tally.splits[name]:,}", f"{patients[name]:,}") for name in SPLITS]
    ages = np.repeat(list(tally.ages), list(tally.ages.values())) if tally.ages else np.array([])
    low, median, high = np.percentile(ages, [5, 50, 95]) if len(ages) else (0, 0, 0)
    spread = f"median {median:.0f} years, 5th to 95th percentile {low:.0f} to {high:.0f}; " if len(ages) else ""
    return _CARD.format(
        source=counts["source"],
        records=counts["records"],
        patients=counts["patients"],
        rejected=counts["rejected"],
        hours=tally.seconds / 3600,
        notice=NOTICE,
        command=command,
        licence=licence,
        notes="\n".join(f"- {note}" for note in [*notes, *warned]) or "No notes.",
        split_rule=split_rule[0].upper() + split_rule[1:],
        splits=_table(("split", "records", "patients"), splits),
        seconds=seconds,
        rates=_shares("sampling rate", {f"{rate:g} Hz": n for rate, n in tally.rates.most_common(LISTED)}, tally),
        lengths=_shares("length", {f"{length:g} s": n for length, n in tally.lengths.most_common(LISTED)}, tally),
        reports=_reports(tally),
        findings=_findings(tally, counts["vocabulary"]),
        age=f"{spread}unknown for {tally.records - len(ages):,} records",
        sexes=_shares("sex", dict(tally.sexes.most_common()), tally),
        devices=_shares("device", {name or "unknown": n for name, n in tally.devices.most_common(LISTED)}, tally),
        reasons=_reasons(rejected),
    )


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _reports(tally: Tally) -> str:
    stated = Counter({report: n for report, n in tally.reports.items() if report})
    with_report = stated.total()
    if not with_report:
        return "None."
    words = np.array([len(report.split()) for report in stated])
    ends = np.cumsum(np.array(list(stated.values()))[order := np.argsort(words)])
    low, median, high = (int(words[order][np.searchsorted(ends, share * with_report)]) for share in (0.05, 0.5, 0.95))
    intro = (
        f"{_records(with_report)} ({with_report / tally.records:.1%}) have one; {len(stated):,} reports are unique. "
        f"Median length {median} words, 5th to 95th percentile {low} to {high}, at most {words.max()}."
    )
    frequent = [(_cell(report), f"{n:,}", f"{n / with_report:.1%}") for report, n in stated.most_common(LISTED)]
    return f"{intro}\n\n{_table(('most frequent', 'records', 'share'), frequent)}"


def _findings(tally: Tally, vocabulary: Sequence[str]) -> str:
    if not vocabulary:
        return "None were annotated."
    rows = []
    for name in sorted(vocabulary, key=lambda one: (-sum(tally.findings[split, one] for split in SPLITS), one)):
        in_split = [tally.findings[split, name] for split in SPLITS]
        rows.append((_cell(name), *(f"{n:,}" for n in (*in_split, sum(in_split), tally.unknown[name]))))
    intro = f"{len(vocabulary)} findings; each is present, absent or undecided (unknown) in a record."
    return f"{intro}\n\n{_table(('finding', *SPLITS, 'all', 'unknown'), rows)}"


def _reasons(rejected: Sequence[tuple[str, str]]) -> str:
    if not rejected:
        return "None."
    reasons = Counter(reason for _, reason in rejected)
    rows = [(_cell(reason), f"{n:,}") for reason, n in reasons.most_common(LISTED)]
    return f"{_records(len(rejected))}, all in `rejected.csv`.\n\n{_table(('most frequent reasons', 'records'), rows)}"


def _shares(name: str, counts: dict[str, int], tally: Tally) -> str:
    rows = [(_cell(value), f"{n:,}", f"{n / tally.records:.1%}") for value, n in counts.items()]
    return _table((name, "records", "share"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Escape and shorten text for a table cell."""
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 160 else text[:159] + "…"
