"""Tables and arrays that know little of themselves: NumPy and CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dbeta.errors import DBetaError
from dbeta.formats.base import Options, Recording, parsing


def read_npy(file: Path, options: Options) -> Recording:
    """An array of (leads, samples) or (samples, leads)."""
    with parsing("a NumPy array"):
        signal = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(signal, np.ndarray) or signal.dtype.kind not in "fiu":
        raise DBetaError("is not an array of numbers; save the samples in mV with numpy.save")
    return _from_array(signal, options.leads, options)


def read_csv(file: Path, options: Options) -> Recording:
    """A table with a column for each lead, or without a header row either way round."""
    import pandas as pd

    header = csv_header(file)
    with parsing("a table of numbers"):
        table = pd.read_csv(
            file, sep=_csv_separator(file), header=None, skiprows=1 if header else 0, encoding="utf-8-sig"
        )
        signal = table.to_numpy(dtype=np.float64).T  # (columns, rows)
    if header is None:
        return _from_array(signal.T, options.leads, options)
    if len(header) != len(signal):
        raise DBetaError(f"has {len(header)} names but {len(signal)} columns; correct its header row")
    return Recording(signal, header, None, unit_assumed=True)


def _csv_separator(file: Path) -> str:
    with parsing("text"), file.open(encoding="utf-8-sig") as stream:
        first = stream.readline(1_000_000)
    return max(",;\t", key=first.count)


def csv_header(file: Path) -> list[str] | None:
    """The cells of the first row, or None where they are numbers."""
    separator = _csv_separator(file)
    with parsing("text"), file.open(encoding="utf-8-sig", newline="") as stream:
        cells = [cell.strip() for cell in next(csv.reader(stream, delimiter=separator))]
    try:
        [float(cell or "nan") for cell in cells]
    except ValueError:
        return cells
    return None


def _from_array(array: np.ndarray, leads: Sequence[str] | None, options: Options) -> Recording:
    """Samples without names: the axis as long as `leads` is that of the leads, the first one if both are."""
    if leads is None or not options.sampling_rate:
        raise DBetaError("does not say its leads and sampling rate; give them with --leads and --fs")
    if array.ndim != 2 or len(leads) not in array.shape:
        raise DBetaError(f"has shape {array.shape}, but --leads names {len(leads)} leads; one axis must be the leads")
    signal = array if array.shape[0] == len(leads) else array.T  # (leads, samples)
    return Recording(signal, leads, None, unit_assumed=True)
