"""Reads any ECG file: WFDB, DICOM, clinical XML, SCP-ECG, EDF, ISHNE, MFER, MATLAB, HDF5, NumPy, CSV, Parquet.

- The format is detected from the content, not the file name.
- The result is the same for all formats: twelve leads by name in the standard order, mV, float32.
- Every failure is a one-sentence `DBetaError` that names the file and what to do. Libraries' exceptions and warnings do
  not leak; they are caught only around the call of the parser.
- Missing metadata is not guessed, with two exceptions: the unit and lead order of CODE's HDF5 layout, which differ
  between releases without being stated, are inferred from the signal; floating-point tables without a unit are taken
  to be in mV if the amplitude is plausible.
- The patient's identity is left out unless requested.
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
from dbeta.io.catalog import FORMATS
from dbeta.io.convert import to_ecg
from dbeta.io.formats.base import Options
from dbeta.io.safety.limits import is_file, is_folder, links_outside, readable_name, shown
from dbeta.io.screen import refuse_hostile
from dbeta.io.units import millivolts
from dbeta.signal import lead_checks

#: Ends the warning about an error of the leads that can be repaired.
FIX_HINT = "; --fix-leads repairs it"
# Endings of formats that hold one recording
_SINGLE = {ending for one in FORMATS if one.records is None for ending in (*one.endings, *one.shared_endings)}


def read_ecg(
    path: str | Path,
    *,
    sampling_rate: float | None = None,
    leads: Sequence[str] | None = None,
    record: str | int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    units: str | None = None,
    raw_gain: str | None = None,
    keep_identifiers: bool = False,
    fix_leads: bool = False,
) -> ECG:
    """Read a recording: the twelve standard leads (12, samples) in mV, as float32.

    Limb leads that the file lacks are computed from any two that it has; other leads that it lacks are NaN and listed
    in `meta["missing_leads"]`. Channels that are none of the twelve (V3R, V7–V9, Frank leads, pressures) are left out
    and listed in `meta["other_channels"]`. Errors of the leads (`dbeta.signal.lead_checks`) are warned of and listed
    in `meta["lead_errors"]`.

    Args:
        path: a WFDB header (or its signal file, or the record's name without extension), DICOM, HL7 aECG, Philips
            Sierra, GE MUSE or Mortara XML, SCP-ECG, EDF(+), BDF(+), ISHNE, MFER, CPSC2018's MATLAB struct, HDF5 in
            CODE's layout (`tracings`, `exam_id`), NumPy, CSV or Parquet. The content decides, not the name.
        sampling_rate: Hz, for files that do not state it (`--fs`): needed for `.npy`, and for tables without a column
            of times; 400 is the default for HDF5. A value that contradicts the file is an error.
        leads: lead names in the file's order, for files that do not name them (`--leads`): needed for `.npy` and for
            tables without a header row, either way round. "-" marks a channel to leave out, also one of a known name.
            Names that contradict the file's are an error, unless the file has that name twice.
        record: the recording to read from a file that holds several (`--record`): of HDF5 an exam_id, or else a row
            number from 0 ("row 3" is never an exam_id); of an array with three axes, its number from 0. It may also
            follow the path, as in "exams.hdf5#17".
        start: seconds to skip. Of WFDB, EDF, ISHNE, HDF5 and `.npy` files only the requested stretch is loaded.
        duration: seconds to read; None for all.
        units: unit of the samples, for files that do not state it (`--units`): "uV", "1e-4 V", a gain as "200/mV", or a
            number, which is mV per count. Without it, arrays and tables of floating-point numbers are taken to be in
            mV if that is plausible; whole numbers need it. It overrules a unit in the file, with a warning.
        raw_gain: unit of the raw numbers in the file ("uV", "1000/mV", or mV per count) in place of the gains and
            offsets that its header states wrongly (`--raw-gain`). Not for arrays and tables.
        keep_identifiers: return the patient's id as `patient_id`, name and birth date in `meta` (`patient_name`,
            `birth_date`), and the report unchanged. By default they are left out, and names, ids, signatures and the
            birth date are removed from the report as far as the file states them.
        fix_leads: repair errors of the leads as far as possible (`--fix-leads`).

    Returns:
        The recording. `meta` has `source` (file name), `duration` (full length in seconds, also when only a part was
        read), `start` (seconds skipped, if any) and, if known, `age` (years), `sex` ("male" or "female"),
        `dx` (codes), `device` and `record`. `notes` has the warnings about what was changed, left out or assumed;
        `voltages` is "undetermined" where the gains in the file contradict the limb-lead equations. `report` is the
        file's own interpretation.

    Warns:
        DBetaWarning: the voltages are implausible; leads are exchanged, inverted, copies of others, or shown one after
            the other; or limb electrodes are exchanged.

    Raises:
        DBetaError: the file cannot be read or holds none of the twelve leads; the message says what to do.
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
            raise DBetaError(f"the unit (--units) {units!r} is not a unit of voltage; write uV, mV, 1e-4 V or 200/mV")
        named, record = split_record(path, record)
        file = _find_file(named)
        if raw_gain is not None and millivolts(raw_gain) is None:
            raise DBetaError(f"the raw gain (--raw-gain) {raw_gain!r} is not understood; write uV, 1000/mV or 0.001")
        if raw_gain is not None and units is not None:
            raise DBetaError("takes either --units, of the values, or --raw-gain, of the raw numbers; leave out one")
        kind = detect.choose_format(file)
        if raw_gain is not None and not kind.raw:
            raise DBetaError(f"is {kind.name}, of which --raw-gain cannot be stated; leave it out, or give --units")
        if record is not None and kind.records is None:
            raise DBetaError("holds a single recording; leave out --record")
        options = Options(sampling_rate, leads, record, start, duration, units, raw_gain)
        with np.errstate(all="ignore"):  # values that overflow become NaN below
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
        raise DBetaError(f"{path}: does not fit into memory; read a part of it, or split it") from error
    with np.errstate(all="ignore"):
        return _checked(ecg, fix=fix_leads)


def _checked(ecg: ECG, *, fix: bool) -> ECG:
    """The twelve standard leads, with warnings about errors of the leads and, if `fix`, repaired."""
    errors = lead_checks.check_leads(ecg)
    ecg = ecg.standard()
    if not errors:
        return ecg
    ecg.meta["lead_errors"] = [error.as_dict() for error in errors]
    for error in errors:
        fixable = "; repaired" if fix else FIX_HINT
        message = f"{ecg.meta['source']}: {error.message}{fixable if error.repair else ''}"
        warnings.warn(message, DBetaWarning, stacklevel=3)
    return lead_checks.fix_leads(ecg, errors) if fix else ecg


def split_record(path: Path, record: str | int | None = None) -> tuple[Path, str | int | None]:
    """File and recording of a path such as `exams.hdf5#17`, unless there is a file of just that name."""
    name, mark, number = path.name.rpartition("#")
    if record is not None or not (mark and name and number) or is_file(path):
        return path, record
    file = path.with_name(name)
    return (file, number) if is_file(file) else (path, None)


def recordings_of(file: Path) -> list[Path]:
    """The recordings of a file that holds several, as `exams.hdf5#17`, or else the file itself.

    Files with the ending of a format that holds one recording are not opened.
    """
    if file.suffix.lower() in _SINGLE or not is_file(file):
        return [file]
    try:
        kind = detect.detect(file)
        if kind is None or kind.records is None:
            return [file]
        refuse_hostile(file)
        names = kind.records(file)
    except (DBetaError, OSError):
        return [file]  # reading it reports what is wrong
    return [file.with_name(f"{file.name}#{name}") for name in names] if len(names) > 1 else [file]


def as_ecg(ecg: ECG | str | Path, *, duration: float | None = None) -> ECG:
    """A recording itself, or the first seconds of a file.

    Args:
        ecg: an `ECG`, or a file that `read_ecg` can read.
        duration: seconds of the file; None for all of it.

    Raises:
        DBetaError: `ecg` is neither, or the file cannot be read.
    """
    if isinstance(ecg, ECG):
        return ecg
    if not isinstance(ecg, str | Path):
        kind = type(ecg).__name__
        raise DBetaError(f"a recording is a dbeta.ECG or a file, not {kind}; write dbeta.ECG(signal, sampling_rate)")
    return read_ecg(ecg, duration=duration)


def find_ecgs(directory: str | Path) -> list[Path]:
    """All recordings below a folder, sorted; a WFDB record counts once, as its `.hea`, with all its segments.

    Files with the ending of a recording are listed even if they are damaged, unreadable or broken links, and so are
    unreadable folders, so that nothing is left out silently: `read_ecg` reports what is wrong. Other files are listed
    if their content is a recording, unlike tables of metadata, texts and images. Links to folders are not followed.

    Raises:
        DBetaError: the folder does not exist or is not a folder.
    """
    return search_folder(directory)[0]


def search_folder(directory: str | Path) -> tuple[list[Path], list[str]]:
    """As `find_ecgs`, together with notes on what was left out besides the signal files of recordings."""
    directory = Path(directory)
    if not is_folder(directory):
        raise DBetaError(f"{directory}: is not a folder; give the folder of the recordings")
    found: list[Path] = []
    others = outside = linked = 0

    def locked(error: OSError) -> None:
        found.append(Path(error.filename or directory))

    for place, folders, names in os.walk(directory, onerror=locked):
        linked += sum(Path(place, name).is_symlink() for name in folders)
        # Results of interrupted runs of dbeta
        folders[:] = [name for name in folders if not (name.startswith(".") and name.endswith(".partial"))]
        headers = detect.WFDBHeaders(Path(place))
        for name in names:
            file = Path(place, name)
            if name.startswith("."):
                continue
            # Files outside the folder were not chosen by the user who named it
            if is_file(file) and file.is_symlink() and links_outside(file, directory):
                outside += 1
            elif detect.is_recording(file, headers):
                found.append(file)
            elif not detect.wfdb_header(file, headers) and not detect.is_segment(file, headers):
                others += 1
    if outside:
        message = f"{directory}: {outside} links lead out of the folder and were left out; list their files instead"
        warnings.warn(message, DBetaWarning, stacklevel=3)
    notes = {
        f"{others} files in {directory} are not recordings and were left out": others,
        f"{linked} links to folders in {directory} were not followed; name those folders": linked,
    }
    return sorted(found), [text for text, count in notes.items() if count]


def _find_file(path: Path) -> Path:
    """The file to open, checked to be readable and harmless.

    Raises:
        DBetaError: it does not exist, must not be read, or is hostile.
    """
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
        raise DBetaError("must not be read by this user; ask its owner for permission") from None
    except DBetaError:
        raise
    except (OSError, ValueError) as error:
        raise DBetaError(f"cannot be opened ({error}); check the path") from error
    return path
