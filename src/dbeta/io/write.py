"""Writes a recording as WFDB, CSV or Parquet, and marks reconstructed samples."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.signal.gaps import stretches
from dbeta.utils.files import replacing, write_text

#: Endings that `write_ecg` knows.
ENDINGS = (".hea", ".csv", ".parquet")
#: Units per mV of a written WFDB record: fine enough for every float32 sample of an ECG.
GAIN = 1e6
#: Count of a missing sample in storage format 32.
MISSING = -(2**31)


def mask_file(path: Path) -> Path:
    """The file beside a WFDB record that holds the mask of reconstructed samples."""
    return path.with_suffix(".reconstructed.npz")


def write_ecg(ecg: ECG, path: Path) -> None:
    """Write a recording; samples that `meta["reconstructed"]` names are marked.

    - `.csv`, `.parquet`: a column `time` in seconds, one per lead in mV, and `V1 reconstructed`, 1 or 0, for each lead
      of which samples were reconstructed.
    - `.hea`: a WFDB record of 32 bits, with the first and the last reconstructed sample of each stretch in the header's
      comments, and all as `reconstructed` (leads, samples) in `NAME.reconstructed.npz`.

    Args:
        ecg: the recording.
        path: the file; its ending selects the format.

    Raises:
        DBetaError: the ending is unknown, or the file cannot be written.
    """
    check_ending(path)
    mask = ecg.meta.get("reconstructed")
    mask = np.zeros(ecg.signal.shape, bool) if mask is None else np.asarray(mask, bool)
    try:
        if path.suffix == ".hea":
            _write_wfdb(ecg, mask, path)
        else:
            _write_table(ecg, mask, path)
    except OSError as error:
        raise DBetaError(f"{path}: cannot be written ({error.strerror or error})") from error


def check_ending(path: Path) -> None:
    """Check that a recording can be written under this name.

    Raises:
        DBetaError: the ending is unknown, or WFDB does not allow the name.
    """
    if path.suffix not in ENDINGS:
        raise DBetaError(f"{path}: recordings are written as {', '.join(ENDINGS)}; use one of these endings")
    if path.suffix == ".hea" and not re.fullmatch(r"[-\w]+", path.stem, re.ASCII):
        raise DBetaError(f"{path}: names of WFDB records have only letters, digits, - and _; choose such a name")


def _write_table(ecg: ECG, mask: np.ndarray, path: Path) -> None:
    import pandas as pd

    columns = {"time": np.arange(ecg.signal.shape[1]) / ecg.sampling_rate}
    columns |= {f"{lead} [mV]": row for lead, row in zip(ecg.leads, ecg.signal, strict=True)}
    columns |= {
        f"{lead} reconstructed": row.astype(np.int8) for lead, row in zip(ecg.leads, mask, strict=True) if row.any()
    }
    table = pd.DataFrame(columns)
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


def _write_wfdb(ecg: ECG, mask: np.ndarray, path: Path) -> None:
    """Write a header, 32-bit counts of 1 / `GAIN` mV and, if samples were reconstructed, their mask.

    Source: WFDB header(5) and signal(5).
    """
    counts = np.round(np.nan_to_num(ecg.signal.T.astype(np.float64), nan=0.0) * GAIN).astype("<i4")  # (samples, leads)
    counts[np.isnan(ecg.signal.T)] = MISSING
    data = path.with_suffix(".dat")
    lines = [f"{path.stem} {len(ecg.leads)} {ecg.sampling_rate:.10g} {len(counts)}"]
    for lead, row in zip(ecg.leads, counts.T.astype(np.int64), strict=True):
        # The checksum is the sum of all counts in 16 bits
        checksum = (int(row.sum()) + 2**15) % 2**16 - 2**15
        lines.append(f"{data.name} 32 {GAIN:g}/mV 32 0 {row[0]} {checksum} 0 {lead}")
    for lead, marked in zip(ecg.leads, mask, strict=True):
        if parts := [f"{begin}-{end - 1}" for begin, end in stretches(marked)]:
            lines.append(f"# reconstructed by dbeta, not measured: {lead} samples {' '.join(parts)}")
    if mask.any():
        with replacing(mask_file(path)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, reconstructed=mask)
    with replacing(data) as temporary:
        temporary.write_bytes(counts.tobytes())
    # The header last: without it, there is no record
    write_text(path, "\n".join([*lines, ""]))
