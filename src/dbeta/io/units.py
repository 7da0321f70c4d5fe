"""Units of voltage in their usual spellings."""

from __future__ import annotations

import re

_MILLIVOLTS = {"nv": 1e-6, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "mv": 1.0, "v": 1e3}
_MILLIVOLTS |= {"мкв": 1e-3, "мв": 1.0, "微伏": 1e-3, "毫伏": 1.0}
_MILLIVOLTS |= {"nanovolt": 1e-6, "microvolt": 1e-3, "millivolt": 1.0, "volt": 1e3}

_NUMBER = r"(?P<number>\d*\.?\d+(?:e[-+]?\d+)?)"
_UNIT = rf"(?P<unit>{'|'.join(sorted(_MILLIVOLTS, key=len, reverse=True))})s?"
_COUNT = r"(?:bit|lsb|count|counts|adc|adu|digit)"

# "mV", "1e-4 V", "1.25uV", "4.88 uV/LSB"; "200/mV", "200 adu/mV"; "0.005" is mV per count
_VALUE = re.compile(rf"(?:{_NUMBER}\s*[*x·]?\s*)?{_UNIT}(?:\s*(?:/|per)\s*{_COUNT})?")
_GAIN = re.compile(rf"{_NUMBER}\s*{_COUNT}?\s*/\s*{_UNIT}")
_PLAIN = re.compile(_NUMBER)


def millivolts(unit: str) -> float | None:
    """The size of a unit in mV; None if the text is not a unit of voltage.

    Args:
        unit: "mV", "uV", "nV", "V", in words or with a factor ("1e-4 V", "4.88 uV/LSB"), a gain ("200/mV"), or a
            number alone, which is mV per count.
    """
    folded = unit.strip().casefold()
    if len(folded) > 40:  # not a unit, and the patterns below take quadratic time
        return None
    if match := _VALUE.fullmatch(folded):
        factor = float(match["number"] or 1) * _MILLIVOLTS[match["unit"]]
    elif match := _GAIN.fullmatch(folded):
        gain = float(match["number"])
        factor = _MILLIVOLTS[match["unit"]] / gain if gain else 0.0
    elif match := _PLAIN.fullmatch(folded):
        factor = float(match["number"])
    else:
        return None
    return factor if 0 < factor < float("inf") else None
