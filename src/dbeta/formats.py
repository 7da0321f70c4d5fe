"""The file formats: one reader each, from a file to its channels as they are, before leads and units are sorted out.

A new format is a function of (file, options) that returns a `Recording`, and a line in `READERS`.
"""

from __future__ import annotations

import csv
import functools
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dbeta.ecg import LEADS, augmented_leads, standard_lead_name
from dbeta.errors import DBetaError

# The orders of the limb leads in CODE-15 % (and most others), CODE-test and MIMIC-IV-ECG.
_LIMB_ORDERS = (
    ("I", "II", "III", "aVR", "aVL", "aVF"),
    ("I", "II", "III", "aVL", "aVF", "aVR"),
    ("I", "II", "III", "aVR", "aVF", "aVL"),
)


@dataclass
class Options:
    """What the caller said, for files that are silent."""

    sampling_rate: float | None
    leads: Sequence[str] | None
    record: str | int | None
    duration: float | None

    def samples(self, sampling_rate: float | None) -> int | None:
        """How many samples `duration` asks for, None for all."""
        if self.duration is None or not sampling_rate:
            return None
        return math.ceil(round(self.duration * sampling_rate, 6))


@dataclass
class Recording:
    """What a file holds before the leads are sorted out."""

    signal: np.ndarray | list[np.ndarray]  # (channels, samples), or a row for each channel
    names: Sequence[str]
    sampling_rate: float | None
    units: Sequence[str] = ()  # of each channel; mV where not given
    total: int | None = None  # samples in the file, where `signal` has only the first of them
    report: str = ""
    patient_id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    unit_assumed: bool = False


@contextmanager
def parsing(kind: str) -> Iterator[None]:
    """Around the call of a library's parser, and nothing else: its exceptions become one sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            raise DBetaError(f"cannot be read as {kind} ({reason}); get or export the file again") from error


def known_lead(name: str) -> str | None:
    """The standard lead of this name, or None."""
    try:
        return standard_lead_name(name)
    except DBetaError:
        return None


def disagreement(lead: np.ndarray, expected: np.ndarray) -> float:
    """0 for equal shapes, about 0.7 for unrelated ones, 1 for opposite ones; blind to offsets, 0 for a flat lead."""
    valid = np.isfinite(lead) & np.isfinite(expected)
    lead, expected = lead[valid].astype(np.float64), expected[valid].astype(np.float64)
    if valid.sum() < 2 or lead.std() == 0:
        return 0.0
    return float((lead - expected).std() / (lead.std() + expected.std()))


def _read_wfdb(file: Path, options: Options) -> Recording:
    with parsing("a WFDB header"):
        import wfdb

    if file.suffix.lower() != ".hea":
        raise DBetaError(
            f"needs its header {file.with_suffix('.hea').name}, which carries sampling rate, leads and gain"
        )
    record, signals = _wfdb_outline(file)
    if "/" in record[0]:
        raise DBetaError("is a record of several segments; give the header of one segment")
    if record[1:2] == ["0"] or record[3:4] == ["0"]:
        raise DBetaError("lists no signals or no samples; give the header of a 12-lead recording")
    for name in dict.fromkeys(signals):
        if not file.with_name(name).is_file():
            raise DBetaError(f"names the signal file {name}, which is missing; put it in the same folder")
    # WFDB's silent default, 250 Hz, would stretch most ECGs
    stated = re.match(r"[\d.]+", record[2]) if len(record) > 2 else None
    total = int(record[3]) if len(record) > 3 and record[3].isdecimal() else None
    wanted = options.samples(float(stated[0]) if stated else options.sampling_rate)
    with parsing("a WFDB record"):
        end = min(wanted, total) if wanted and total else None
        body = wfdb.rdrecord(str(file.absolute().with_suffix("")), sampto=end)
        signal = body.p_signal.T  # (channels, samples)
    comments = (line.lstrip("# ").partition(":") for line in body.comments)
    said = {key.strip(" <>").casefold(): value.strip() for key, _, value in comments}
    meta = _patient(said.get("age"), said.get("sex", said.get("gender")))
    if said.get("dx", "unknown").casefold() not in ("unknown", ""):
        meta["dx"] = [code.strip() for code in said["dx"].split(",")]
    patient = said.get("subject_id")
    rate = body.fs if stated else options.sampling_rate
    return Recording(signal, body.sig_name, rate, body.units, total or body.sig_len, patient_id=patient, meta=meta)


def _wfdb_outline(header: Path) -> tuple[list[str], list[str]]:
    """The words of the record line and the signals' files: what must be known before wfdb opens them."""
    lines = [line.strip() for line in header.read_text("ascii", errors="replace").splitlines()]
    record, *signals = [line.split() for line in lines if line and not line.startswith("#")] or [[]]
    names = [words[0] for words in signals]
    if not (re.fullmatch(r"[-\w]+(/\d+)?", "".join(record[:1])) and "".join(record[1:2]).isdecimal()):
        raise DBetaError("cannot be read as a WFDB header (it has no record line); get or export the file again")
    # Never a path to elsewhere; the lines of a record of segments name segments
    odd = [name for name in names if "/" not in record[0] and not re.fullmatch(r"~?[-\w]*\.?\w*", name, re.ASCII)]
    if odd:
        raise DBetaError(
            f"cannot be read as a WFDB header ({odd[0]!r} is no file's name); get or export the file again"
        )
    return record, names


def _patient(age: Any, sex: Any) -> dict[str, Any]:
    """Age in years and sex in one spelling, each only where it is known."""
    meta: dict[str, Any] = {}
    with suppress(TypeError, ValueError):
        meta |= {"age": int(float(age))} if 0 <= float(age) < 150 else {}
    folded = str(sex).strip().casefold()
    return meta | ({"sex": {"m": "male", "f": "female"}[folded[0]]} if folded in ("m", "f", "male", "female") else {})


def _read_mat(file: Path, options: Options) -> Recording:
    from scipy.io import loadmat

    with parsing("a MATLAB file"):
        content = loadmat(file, variable_names=["ECG", "val"])
    if "ECG" not in content:
        name = file.with_suffix(".hea").name
        raise DBetaError(
            f"holds no struct ECG as CPSC2018's files do; if it is a WFDB signal, put its header {name} beside it"
        )
    with parsing("a MATLAB file as CPSC2018 published them"):
        ecg = content["ECG"]
        signal = np.asarray(ecg["data"][0, 0], dtype=np.float32)  # (12, samples)
        meta = _patient(np.ravel(ecg["age"][0, 0])[0], np.ravel(ecg["sex"][0, 0])[0])
    if signal.ndim != 2 or len(signal) != len(LEADS):
        raise DBetaError(f"has samples of shape {signal.shape} where CPSC2018's files have 12 leads")
    return Recording(signal, LEADS, 500.0, meta=meta)


def read_clinical(file: Path, options: Options) -> Recording:
    """DICOM, HL7 aECG, Philips, GE and Mortara XML, SCP-ECG, EDF: the rhythm strip, never the median beat."""
    from ecgdatakit import FileParser

    suffix = file.suffix.lower() if file.suffix.lower() in READERS else ".dcm"
    kind = {".dcm": "DICOM", ".dicom": "DICOM", ".xml": "an ECG in XML", ".scp": "SCP-ECG", ".edf": "EDF"}[suffix]
    with parsing(kind):
        found = FileParser.detect_format(file)
    # The content decides, so a misnamed file could reach any parser.
    if found is None or suffix not in found["extensions"]:
        raise DBetaError(f"is not {kind}, whatever its name says; give the file its true extension")
    with parsing(kind):
        body = FileParser.parse(file, units="mV")
    leads = body.leads
    groups = body.raw_metadata.get("multiplex_groups", [])
    if leads and groups and len(leads[0].samples) < min(2 * leads[0].sampling_rate, max(g["samples"] for g in groups)):
        # The library tells an averaged beat by its label, which is optional in DICOM.
        raise DBetaError("has an averaged beat where the rhythm strip should be; export the rhythm strip first")
    signal = [lead.samples for lead in leads]
    if body.source_format == "sierra_xml" and len({len(row) for row in signal}) == 1:
        signal = list(_without_calibration_pulse(np.stack(signal)))
    # Counts without a calibration have no unit, and are refused for that.
    units = ["" if lead.is_raw else lead.units for lead in leads]
    rate = next((lead.sampling_rate for lead in leads if known_lead(lead.label)), None)
    device = f"{body.recording.device.manufacturer} {body.recording.device.model}".strip()
    meta = _patient(body.patient.age, body.patient.sex) | ({"device": device} if device else {})
    # Only the statement: its reason ("QRSd >115mS, not LBBB/RBBB") names findings that are absent.
    report = "; ".join(text.strip() for text, _ in body.interpretation.statements if text.strip())
    names = [lead.label for lead in leads]
    return Recording(signal, names, rate, units, None, report, body.patient.patient_id or None, meta)


def _without_calibration_pulse(signal: np.ndarray) -> np.ndarray:
    """Philips ends its 11 s with a 1 mV pulse: a stretch in which all leads are equal, which an ECG never has."""
    differ = np.flatnonzero(np.ptp(signal, axis=0) > 0)
    return signal[:, : differ[-1] + 1] if differ.size else signal


def read_hdf5(file: Path, options: Options) -> Recording:
    """One recording of an HDF5 file in CODE's layout, without its zero padding."""
    import h5py

    shape: tuple[int, ...] = ()
    with parsing("HDF5"), h5py.File(file) as content:
        if isinstance(content.get("tracings"), h5py.Dataset):
            shape = content["tracings"].shape
        ids = content["exam_id"][:].ravel().tolist() if "exam_id" in content else []
    if len(shape) != 3 or shape[2] != len(LEADS) or 0 in shape:
        raise DBetaError("is not in CODE's layout: it needs a dataset 'tracings' of shape (recordings, samples, 12)")
    if len(ids) not in (0, shape[0]):
        raise DBetaError(f"holds {shape[0]} recordings but {len(ids)} exam_ids; get the file again")
    row = _choose_row(shape[0], ids, options.record)
    with parsing("HDF5"), h5py.File(file) as content:
        signal = content["tracings"][row].T.astype(np.float64)  # (12, samples)
        unit = _code_unit(file, file.stat().st_mtime_ns)
    used = np.flatnonzero((signal != 0).any(axis=0))
    if used.size == 0:
        raise DBetaError(f"has nothing but zeros in row {row}; choose another recording with --record")
    signal = signal[:, used[0] : used[-1] + 1] * unit
    names = options.leads or _limb_order(signal) + LEADS[6:]
    return Recording(signal, names, options.sampling_rate or 400.0, meta={"record": ids[row] if ids else row})


def _choose_row(count: int, ids: list[Any], record: str | int | None) -> int:
    if record is None:
        if count > 1:
            raise DBetaError(f"holds {count} recordings; choose one by exam_id or row number with --record")
        return 0
    # CODE-15 % ends each part with an empty row of exam_id 0, which must not hide row 0.
    matches = [row for row, exam in enumerate(ids) if str(exam) == str(record) != "0"]
    if not matches and str(record).isdecimal() and int(record) < count:
        matches = [int(record)]
    if not matches:
        raise DBetaError(f"has no recording {record}; give --record an exam_id or a row number from 0 to {count - 1}")
    return matches[0]


@functools.lru_cache(maxsize=64)
def _code_unit(file: Path, changed: int) -> float:
    """The factor from the file's unit to mV: 0.1 (the documented 1e-4 V) or 1, as copies of CODE are found in both.

    The largest step between samples at 400 Hz, the slope of the QRS, is about 0.6 mV and blind to baseline wander; the
    median over leads and recordings is ten times that in a file in 1e-4 V. `changed` makes an edited file a new one.
    """
    import h5py

    steps = []
    with h5py.File(file) as content:
        tracings = content["tracings"]
        for row in np.unique(np.linspace(0, len(tracings) - 1, 16).astype(int)):
            step = np.median(np.ptp(np.diff(tracings[row], axis=0), axis=0))
            steps += [step] if step > 0 else []
    return 0.1 if steps and np.median(steps) > 1.8 else 1.0


def _limb_order(signal: np.ndarray) -> tuple[str, ...]:
    """Which of the known orders agrees with Goldberger's equations, as CODE-15 % and CODE-test differ."""
    expected = augmented_leads(signal[0], signal[1])
    errors = [sum(disagreement(signal[row], expected[order[row]]) for row in (3, 4, 5)) / 3 for order in _LIMB_ORDERS]
    if min(errors) > 0.5:
        raise DBetaError("has limb leads in no known order; name the twelve leads in the file's order with --leads")
    return _LIMB_ORDERS[int(np.argmin(errors))]


def _read_npy(file: Path, options: Options) -> Recording:
    with parsing("a NumPy array"):
        signal = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(signal, np.ndarray) or signal.dtype.kind not in "fiu":
        raise DBetaError("is not an array of numbers; save the samples in mV with numpy.save")
    return _from_array(signal, options.leads, options)


def _read_csv(file: Path, options: Options) -> Recording:
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


READERS: dict[str, Callable[[Path, Options], Recording]] = {
    ".hea": _read_wfdb,
    ".dat": _read_wfdb,
    ".mat": _read_mat,
    ".dcm": read_clinical,
    ".dicom": read_clinical,
    ".xml": read_clinical,
    ".scp": read_clinical,
    ".edf": read_clinical,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".npy": _read_npy,
    ".csv": _read_csv,
}
