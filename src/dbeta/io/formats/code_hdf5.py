"""HDF5 in CODE's layout; unit and lead order differ between releases, unstated, and are inferred from the signal."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import LEADS, augmented_leads
from dbeta.errors import DBetaError
from dbeta.io.amplitude import Sizes, measure, unit_name
from dbeta.io.formats.base import Options, Recording, disagreement, parsing
from dbeta.io.safety.hdf5 import read_rows

# The orders of the limb leads in CODE-15 % (and most others), CODE-test and MIMIC-IV-ECG.
_LIMB_ORDERS = (
    ("I", "II", "III", "aVR", "aVL", "aVF"),
    ("I", "II", "III", "aVL", "aVF", "aVR"),
    ("I", "II", "III", "aVR", "aVF", "aVL"),
)

_BLOCK = 100_000  # samples read at once


def read_hdf5(file: Path, options: Options) -> Recording:
    """Read one recording of an HDF5 file in CODE's layout, without its zero padding."""
    import h5py

    shape, ids = _outline(file)
    row = _choose_row(shape[0], ids, options.record)
    rate = options.sampling_rate or 400.0
    with parsing("HDF5"), h5py.File(file) as content:
        first, last = _used(content["tracings"], row)
    if last == first:
        raise DBetaError(f"has only zeros in row {row}; choose another recording with --record")
    begin, end = options.stretch(rate, last - first)
    with parsing("HDF5"), h5py.File(file) as content:
        # The lead order is inferred from the beginning, whichever stretch is requested
        opening = read_rows(content["tracings"], row, slice(first, min(last, first + _BLOCK)))  # (samples, 12)
        signal = read_rows(content["tracings"], row, slice(first + begin, first + end))  # (samples, 12)
        opening, signal = (part.T.astype(np.float64) for part in (opening, signal))
    names = options.leads or _limb_order(opening) + LEADS[6:]
    meta: dict[str, Any] = {"record": _name(row, ids, Counter(map(str, ids)))}
    assumed = []
    if options.units:
        unit = options.units
    else:
        found = _code_unit(file, file.stat().st_mtime_ns, row, rate)
        unit, meta["unit"] = f"{found} mV", f"{unit_name(found)} (assumed)"
        assumed.append(f"in {unit_name(found)}")
    assumed += [] if options.sampling_rate else [f"sampled at {rate:g} Hz"]
    assumed += [] if options.leads else [f"of leads in the order {', '.join(names)}"]
    notes = [f"does not state all that is needed; taken to be {', '.join(assumed)}"] if assumed else []
    return Recording(signal, names, rate, [unit] * len(LEADS), last - first, meta=meta, notes=notes)


def _used(tracings: Any, row: int) -> tuple[int, int]:
    """First sample of a recording and the one after its last, between zero padding; equal if it is all zeros."""
    count = tracings.shape[1]
    starts = range(0, count, _BLOCK)

    def nonzero(start: int) -> np.ndarray:
        return start + np.flatnonzero((read_rows(tracings, row, slice(start, start + _BLOCK)) != 0).any(axis=1))

    first = next((int(at[0]) for at in map(nonzero, starts) if at.size), count)
    last = next((int(at[-1]) + 1 for at in map(nonzero, reversed(starts)) if at.size), count)
    return first, last


def _outline(file: Path) -> tuple[tuple[int, ...], list[Any]]:
    """Shape of the tracings, and the exam_ids if the file has any."""
    import h5py

    shape: tuple[int, ...] = ()
    with parsing("HDF5"), h5py.File(file) as content:
        if isinstance(content.get("tracings"), h5py.Dataset):
            shape = content["tracings"].shape
        ids = read_rows(content["exam_id"], slice(None)).ravel().tolist() if "exam_id" in content else []
    if len(shape) != 3 or shape[2] != len(LEADS) or 0 in shape:
        raise DBetaError("is not in CODE's layout: it needs a dataset 'tracings' of shape (recordings, samples, 12)")
    if len(ids) not in (0, shape[0]):
        raise DBetaError(f"holds {shape[0]} recordings but {len(ids)} exam_ids; get the file again")
    return shape, ids


def hdf5_records(file: Path) -> list[str]:
    """The recordings of a file in CODE's layout: exam_ids or, where there is none of its own, "row N".

    CODE-15 % ends each part with an empty row of exam_id 0, which is not listed.
    """
    shape, ids = _outline(file)
    if not ids:
        return [f"row {row}" for row in range(shape[0])]
    counts = Counter(map(str, ids))
    names = [str(_name(row, ids, counts)) for row in range(len(ids))]
    if ids[-1] == 0 and len(ids) > 1:
        import h5py

        with parsing("HDF5"), h5py.File(file) as content:
            first, last = _used(content["tracings"], shape[0] - 1)
        names = names[:-1] if first == last else names
    return names


def _name(row: int, ids: list[Any], counts: Counter[str]) -> Any:
    """What `--record` takes for a row: its exam_id; "row N" where that is 0 or not its own; N where there are none."""
    if not ids:
        return row
    return ids[row] if counts[str(ids[row])] == 1 and ids[row] != 0 else f"row {row}"


def _choose_row(count: int, ids: list[Any], record: str | int | None) -> int:
    if record is None:
        if count > 1:
            raise DBetaError(f"holds {count} recordings; choose one by exam_id or row number with --record")
        return 0
    numbered = re.fullmatch(r"row (\d{1,9})", str(record))
    if numbered and int(numbered[1]) < count:
        return int(numbered[1])
    # CODE-15 % ends each part with an empty row of exam_id 0, which must not hide row 0
    matches = [row for row, exam in enumerate(ids) if str(exam) == str(record) != "0"]
    if len(matches) > 1:
        rows = ", ".join(map(str, matches[:5]))
        raise DBetaError(f'has exam_id {record} in rows {rows}; choose one with --record "row {matches[0]}"')
    if not matches and str(record).isdecimal() and int(record) < count:
        matches = [int(record)]
    if not matches:
        raise DBetaError(f"has no recording {record}; give --record an exam_id or a row number from 0 to {count - 1}")
    return matches[0]


@functools.lru_cache(maxsize=64)
def _code_unit(file: Path, changed: int, row: int, rate: float) -> float:
    """The file's unit in mV: 0.1 (the documented 1e-4 V) or 1, as copies of CODE are found in both.

    Inferred from the QRS complexes of up to 16 recordings spread over the file and of the one in `row`. `changed`, the
    modification time, invalidates the cache.

    Raises:
        DBetaError: both units are possible, or neither.
    """
    import h5py

    sizes = []
    with parsing("HDF5"), h5py.File(file) as content:
        tracings = content["tracings"]
        for one in {row, *np.linspace(0, len(tracings) - 1, 16).astype(int).tolist()}:
            found = measure(read_rows(tracings, one, slice(0, _BLOCK)).T.astype(np.float64), rate)
            sizes += [found.size] if found.size > 0 else []
    found = Sizes(float(np.median(sizes)) if sizes else 0.0, len(LEADS))
    possible = [unit for unit in (0.1, 1.0) if found.believable(unit)]
    if found.size == 0 or len(possible) == 1:
        return possible[0]
    raise DBetaError(
        f"does not state its unit, and its QRS complexes measure {found.size:.2g}: state it, {found.in_each_unit()}"
    )


def _limb_order(signal: np.ndarray) -> tuple[str, ...]:
    """The known order that agrees best with Goldberger's equations, as CODE-15 % and CODE-test differ."""
    expected = augmented_leads(signal[0], signal[1])
    errors = [sum(disagreement(signal[row], expected[order[row]]) for row in (3, 4, 5)) / 3 for order in _LIMB_ORDERS]
    if min(errors) > 0.5:
        raise DBetaError("has limb leads in an unknown order; name the twelve leads in the file's order with --leads")
    return _LIMB_ORDERS[int(np.argmin(errors))]
