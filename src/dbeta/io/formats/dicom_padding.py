"""Which samples of a DICOM multiplex group are padding, where its padding value is one that samples may have too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: Seconds for which a channel must hold a possible value at an end to be padded with it. Of 4,128 real leads' sets, 7 %
#: hold 0 for more than 0.1 s at an end, none but dead leads for more than 0.2 s.
PADDED = 0.25
#: Less suffices where all of at least so many channels hold it at once, as they do in none of those.
SEVERAL = 3
#: Seconds from which a stretch that is kept although it may be padding is worth a word.
WORTH_SAYING = 0.1


@dataclass
class Padding:
    """What of a group is padding.

    Attributes:
        marked: (channels, samples) bool.
        doubtful: by channel the seconds at its ends that are taken for padding though they might be samples.
        kept: the same of those that are taken for samples though they might be padding.
    """

    marked: np.ndarray
    doubtful: dict[int, float] = field(default_factory=dict)
    kept: dict[int, float] = field(default_factory=dict)


def find_padding(counts: np.ndarray, padding: int, rate: float) -> Padding:
    """Decide which counts (channels, samples) of a group at `rate` Hz are padding.

    A value that no sample near it could have is padding everywhere, another only in a stretch at a channel's end that
    no ECG would hold, as it would be constant.
    """
    equal = counts == padding
    limits = np.iinfo(counts.dtype)
    impossible = counts.dtype.itemsize > 1 and padding in (limits.min, limits.max)
    everywhere = equal.all(axis=0)
    common = [_run(everywhere), _run(everywhere[::-1])]
    found = Padding(np.zeros_like(equal))
    for row, (same, values) in enumerate(zip(equal, counts, strict=True)):
        others = values[~same].astype(np.int64)
        if impossible or others.size == 0:
            found.marked[row] = same
            continue
        low, high = int(others.min()), int(others.max())
        reach = max(high - low, 1)
        if not low - reach <= padding <= high + reach:
            found.marked[row] = same
            continue
        ends = (same, common[0], found.marked[row]), (same[::-1], common[1], found.marked[row][::-1])
        kept = 0
        for end, shared, part in ends:
            run = _run(end)
            padded = run if run >= PADDED * rate else shared if len(counts) >= SEVERAL else 0
            part[:padded] = True
            kept = max(kept, run - padded)
        if found.marked[row].any():
            found.doubtful[row] = float(found.marked[row].sum() / rate)
        if kept >= WORTH_SAYING * rate:
            found.kept[row] = kept / rate
    return found


def _run(values: np.ndarray) -> int:
    """Length of the run of True at the start."""
    return len(values) if values.all() else int(np.argmin(values))
