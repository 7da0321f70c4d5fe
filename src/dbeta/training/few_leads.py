"""What is known of a record that is shown in a few of its leads: what they cannot show is undetermined."""

from __future__ import annotations

from functools import cache

import numpy as np

from dbeta.conditions.statements import NUMBERS
from dbeta.simulation.finding_table import TABLE
from dbeta.simulation.wave_facts import fact_leads
from dbeta.training.pairs import FACT_PLACES, Record

#: Leads without which there is no axis.
_AXIS = frozenset(("I", "II"))
#: Leads of which any two give the others.
_LIMB = frozenset(("I", "II", "III", "aVR", "aVL", "aVF"))


def readable(record: Record, leads: frozenset[str]) -> Record:
    """A record's facts without those that need leads which are not shown; one of two limb leads gives no other."""
    shown = leads | _LIMB if len(leads & _LIMB) > 1 else leads
    hidden = _hidden(shown)
    numbers = list(record.numbers)
    if not shown >= _AXIS:
        numbers[NUMBERS.index("axis")] = float("nan")
    waves = None if record.waves is None else np.where(_hidden_facts(shown), np.int8(0), record.waves)
    return Record(record.report, record.findings - hidden, record.decided - hidden, waves, tuple(numbers))


@cache
def _hidden(shown: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name, row in TABLE.items() if not shown.issuperset(row.leads))


@cache
def _hidden_facts(shown: frozenset[str]) -> np.ndarray:
    return np.array([not shown >= fact_leads(fact) for fact in FACT_PLACES])
