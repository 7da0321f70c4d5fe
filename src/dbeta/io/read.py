"""Any ECG file → ECG: WFDB, DICOM, clinical XML, SCP-ECG, EDF, ISHNE, MFER, MATLAB, HDF5, NumPy, CSV, Parquet.

What is special:
- a file is read for what it is, whatever its name;
- whatever the file, the result is the same: twelve leads by name in the standard order, mV, float32;
- every failure is a DBetaError of one sentence that names the file and what to do; no library's exception or warning
  leaks, and a parser's exceptions are caught only around the call of the parser;
- nothing is guessed where the file is silent, except in CODE's HDF5 layout, whose releases differ in unit and lead
  order without saying so: there the signal itself decides; and that floating-point tables without a unit are mV, if
  their size can be that of an ECG;
- who the patient is stays in the file unless it is asked for.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError
from dbeta.io import detect
from dbeta.io.catalog import HDF5
from dbeta.io.convert import to_ecg
from dbeta.io.formats.base import Options
from dbeta.io.safety.limits import is_file, is_folder, links_outside, readable_name, shown
from dbeta.io.screen import refuse_hostile
from dbeta.io.units import millivolts
from dbeta.signal import lead_checks


def read_ecg(
    path: str | Path,
    *,
    sampling_rate: float | None = None,
    leads: Sequence[str] | None = None,
    record: str | int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    units: str | None = None,
    keep_identifiers: bool = False,
    fix_leads: bool = False,
) -> ECG:
    """Read a recording: the twelve standard leads (12, samples) in mV, as float32.

    Limb leads that the file lacks are computed from any two that it has; other leads that it lacks are NaN and listed
    in `meta["missing_leads"]`. Channels that are none of the twelve (V3R, V7–V9, Frank leads, pressures) are left out
    and listed in `meta["other_channels"]`. What is wrong with the leads (`dbeta.signal.lead_checks`) is warned of and
    listed in `meta["lead_errors"]`.

    Args:
        path: a WFDB header (or its signal file, or the record's name without extension), DICOM, HL7 aECG, Philips
            Sierra, GE MUSE or Mortara XML, SCP-ECG, EDF(+), BDF(+), ISHNE, MFER, CPSC2018's MATLAB struct, HDF5 in
            CODE's layout (`tracings`, `exam_id`), NumPy, CSV or Parquet. The content decides, not the name.
        sampling_rate: Hz, for files that do not carry it (`--fs`): needed for `.npy`, and for tables without a column
            of times; 400 is the default for HDF5. A value that contradicts the file is an error.
        leads: lead names in the file's order, for files that do not carry them (`--leads`): needed for `.npy` and for
            tables without a header row, either way round. "-" is a channel that is no lead. Names that contradict the
            file's are an error.
        record: which recording of an HDF5 file (`--record`): an exam_id, or else a row number from 0.
        start: seconds to skip. WFDB, EDF, ISHNE, HDF5 and `.npy` files are read in the memory of the stretch alone.
        duration: read only so many seconds.
        units: unit of the samples, for files that do not state it (`--units`): "uV", "1e-4 V", a gain as "200/mV", or a
            number, which is mV per count. Arrays and tables of floating-point numbers are taken to be in mV without
            it, unless that cannot be; whole numbers need it. A unit that contradicts the file is an error.
        keep_identifiers: hand on the patient's id as `patient_id`, and name and birth date in `meta`
            (`patient_name`, `birth_date`), and the report as it is. Otherwise these stay behind, and names, ids,
            signatures and the birth date are taken out of the report as far as the file tells them.
        fix_leads: put right what is wrong with the leads, as far as that can be done (`--fix-leads`).

    Returns:
        The recording. `meta` has `source` (file name), `duration` (full length in seconds, also when only a part was
        read), `start` (seconds skipped, where any were) and, where known, `age` (years), `sex` ("male" or "female"),
        `dx` (codes), `device` and `record`. `report` is what the file states about the recording.

    Warns:
        DBetaWarning: the voltages cannot be those of an ECG; leads are exchanged, inverted, copies of others, or shown
            one after the other; or the electrodes of limbs are exchanged.

    Raises:
        DBetaError: the file cannot be read, or holds none of the twelve leads; the message names the file and what to
            do.
    """
    path = Path(path)
    try:
        if not (math.isfinite(start) and start >= 0):
            raise DBetaError(f"the start must be a number of seconds from 0, not {start}")
        if duration is not None and not (math.isfinite(duration) and duration > 0):
            raise DBetaError(f"the duration must be a positive number of seconds, not {duration}")
        if sampling_rate is not None and not (math.isfinite(sampling_rate) and sampling_rate > 0):
            raise DBetaError(f"the sampling rate (--fs) must be a positive number of Hz, not {sampling_rate}")
        if units is not None and millivolts(units) is None:
            raise DBetaError(f"the unit (--units) {units!r} is none of voltage; write uV, mV, 1e-4 V or 200/mV")
        file = _find_file(path)
        kind = detect.choose_format(file)
        if record is not None and kind is not HDF5:
            raise DBetaError("holds a single recording; leave out --record, which is for HDF5 files")
        options = Options(sampling_rate, leads, record, start, duration, units)
        with np.errstate(all="ignore"):  # what overflows is no voltage, and is set to NaN below
            recording = kind.read(file, options)
        if keep_identifiers:
            recording.meta |= recording.identity.facts()
        else:
            recording.report = recording.identity.without(recording.report)
        with np.errstate(all="ignore"):
            ecg = to_ecg(recording, options, readable_name(file.name))
        ecg.patient_id = recording.identity.patient_id or None if keep_identifiers else None
    except NoSignalError as error:
        raise NoSignalError(f"{path}: {shown(str(error))}", error.duration) from error.__cause__
    except DBetaError as error:
        raise DBetaError(f"{path}: {shown(str(error))}") from error.__cause__
    except MemoryError as error:
        raise DBetaError(f"{path}: needs more memory than there is; read a part of it, or split it") from error
    with np.errstate(all="ignore"):
        return _checked(ecg, fix=fix_leads)


def _checked(ecg: ECG, *, fix: bool) -> ECG:
    """The twelve leads, what is wrong with them told and, where asked, put right."""
    errors = lead_checks.check_leads(ecg)
    ecg = ecg.standard()
    if not errors:
        return ecg
    ecg.meta["lead_errors"] = [error.as_dict() for error in errors]
    for error in errors:
        fixable = "; put right" if fix else "; --fix-leads puts it right"
        message = f"{ecg.meta['source']}: {error.message}{fixable if error.repair else ''}"
        warnings.warn(message, DBetaWarning, stacklevel=3)
    return lead_checks.fix_leads(ecg, errors) if fix else ecg


def as_ecg(ecg: ECG | str | Path, *, duration: float | None = None) -> ECG:
    """A recording as it is, or the first seconds of a file.

    Args:
        ecg: an `ECG`, or a file that `read_ecg` can read.
        duration: seconds of the file; None for all of it.

    Raises:
        DBetaError: it is neither, or the file cannot be read.
    """
    if isinstance(ecg, ECG):
        return ecg
    if not isinstance(ecg, str | Path):
        kind = type(ecg).__name__
        raise DBetaError(f"a recording is a dbeta.ECG or a file, not {kind}; write dbeta.ECG(signal, sampling_rate)")
    return read_ecg(ecg, duration=duration)


def find_ecgs(directory: str | Path) -> list[Path]:
    """All recordings below a folder, sorted; a WFDB record counts once, as its `.hea`.

    A file whose ending says that it is a recording counts even if it is damaged, cannot be read or is a link to
    nothing, and so does a folder that cannot be read, so that nothing is left out in silence: `read_ecg` says what is
    wrong with it. Any other file is looked into, and counts if it is one: tables of metadata, texts and pictures do
    not. Links to folders are not followed.

    Raises:
        DBetaError: the folder does not exist or is not a folder.
    """
    return search_folder(directory)[0]


def search_folder(directory: str | Path) -> tuple[list[Path], list[str]]:
    """As `find_ecgs`; and what was left out besides recordings' signal files, in a sentence or two."""
    directory = Path(directory)
    if not is_folder(directory):
        raise DBetaError(f"{directory}: is not a folder; give the folder that holds the recordings")
    found: list[Path] = []
    others = outside = linked = 0

    def locked(error: OSError) -> None:
        found.append(Path(error.filename or directory))

    for place, folders, names in os.walk(directory, onerror=locked):
        linked += sum(Path(place, name).is_symlink() for name in folders)
        # What an interrupted run of ours has done lies in such a folder
        folders[:] = [name for name in folders if not (name.startswith(".") and name.endswith(".partial"))]
        for name in names:
            file = Path(place, name)
            if name.startswith("."):
                continue
            # What a folder from elsewhere links to was not chosen by who named the folder
            if is_file(file) and file.is_symlink() and links_outside(file, directory):
                outside += 1
            elif detect.is_recording(file):
                found.append(file)
            elif not detect.wfdb_header(file):
                others += 1
    if outside:
        message = f"{directory}: {outside} links lead out of the folder and are left out; list their files instead"
        warnings.warn(message, DBetaWarning, stacklevel=3)
    notes = {
        f"{others} files in {directory} are no recordings and were left out": others,
        f"{linked} links to folders in {directory} were not followed; name those folders": linked,
    }
    return sorted(found), [text for text, count in notes.items() if count]


def _find_file(path: Path) -> Path:
    """The file to open. Checked here, so that each parser may take for granted a file that can be read."""
    try:
        header = path.with_name(path.name + ".hea") if path.name else path
        path = header if not path.is_file() and header.is_file() else detect.wfdb_header(path) or path
        if path.is_dir():
            os.scandir(path).close()  # raises where the folder is locked
            raise DBetaError("is a folder; give a file in it")
        refuse_hostile(path)
    except FileNotFoundError:
        raise DBetaError("there is no such file; check the path") from None
    except PermissionError:
        raise DBetaError("may not be read; ask its owner for permission") from None
    except DBetaError:
        raise
    except (OSError, ValueError) as error:
        raise DBetaError(f"cannot be opened ({error}); check the path") from error
    return path
