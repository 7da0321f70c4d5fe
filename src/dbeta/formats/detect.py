"""Which reader takes a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dbeta.formats.base import Options, Recording
from dbeta.formats.clinical import read_clinical
from dbeta.formats.code_hdf5 import read_hdf5
from dbeta.formats.matlab import read_matlab
from dbeta.formats.tables import read_csv, read_npy
from dbeta.formats.wfdb_records import read_wfdb

READERS: dict[str, Callable[[Path, Options], Recording]] = {
    ".hea": read_wfdb,
    ".dat": read_wfdb,
    ".mat": read_matlab,
    ".dcm": read_clinical,
    ".dicom": read_clinical,
    ".xml": read_clinical,
    ".scp": read_clinical,
    ".edf": read_clinical,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".npy": read_npy,
    ".csv": read_csv,
}
