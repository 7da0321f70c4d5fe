"""Helpers for tests of the command line: a WFDB file, and checks of what a command printed."""

import numpy as np

from dbeta.ecg import LEADS

HEADER = "{name} 12 {rate} {samples}\n" + "".join(f"{{name}}.dat 16 1000/mV 16 0 0 0 0 {lead}\n" for lead in LEADS)


def write_wfdb(folder, ecg, name="rec"):
    """A WFDB record of 16-bit microvolts; a missing sample is −32768, as the format says."""
    counts = np.where(np.isnan(ecg.signal), -32768, np.round(np.nan_to_num(ecg.signal) * 1000)).astype("<i2")
    (folder / f"{name}.dat").write_bytes(counts.T.tobytes())
    header = folder / f"{name}.hea"
    header.write_text(HEADER.format(name=name, rate=f"{ecg.sampling_rate:g}", samples=counts.shape[1]))
    return header


def refused(result) -> str:
    """The one line of a refusal."""
    code, out, err = result
    assert code == 1, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def warned(result) -> str:
    """The warnings of a run that went well."""
    code, out, err = result
    assert code == 0, err
    assert out
    assert err
    assert all(line.startswith("warning: ") for line in err.splitlines())
    return err


def cells(out: str) -> list[list[str]]:
    """The rows of the tables in the output."""
    return [[one.strip() for one in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
