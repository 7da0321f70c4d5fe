"""MATLAB files of CPSC2018 as first published: a struct `ECG` with sex, age and data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, parsing, patient_facts


def read_matlab(file: Path, options: Options) -> Recording:
    """Read a CPSC2018 file: twelve leads in mV at 500 Hz."""
    from scipy.io import loadmat

    with parsing("a MATLAB file"):
        content = loadmat(file, variable_names=["ECG", "val"])
    if "ECG" not in content:
        name = file.with_suffix(".hea").name
        raise DBetaError(
            f"has no ECG struct as CPSC2018's files do; if it is a WFDB signal, put its header {name} beside it"
        )
    with parsing("a MATLAB file as CPSC2018 published them"):
        ecg = content["ECG"]
        signal = np.asarray(ecg["data"][0, 0], dtype=np.float32)  # (12, samples)
        meta = patient_facts(np.ravel(ecg["age"][0, 0])[0], np.ravel(ecg["sex"][0, 0])[0])
    if signal.ndim != 2 or len(signal) != len(LEADS):
        raise DBetaError(f"has samples of shape {signal.shape} where CPSC2018's files have 12 leads")
    return Recording(signal, LEADS, 500.0, meta=meta)
