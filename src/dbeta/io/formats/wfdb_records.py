"""WFDB records: a header with its signal files, also with the `.mat` of the challenges 2020 and 2021.

Unlike the library, the reader warns of a gain of 0 or none, which means "not calibrated" and is read as 200 counts per
mV. Source: WFDB header(5) and signal(5).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.formats.base import Options, Recording, parsing, patient_facts
from dbeta.io.identity import Identity
from dbeta.io.safety.records import check_wfdb_stretch
from dbeta.io.units import BELIEVABLE, beat_amplitude

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"

#: Signal line of a header: file, format with its modifiers, and the gain, which may be missing.
SIGNAL_LINE = re.compile(rf"(\S+)\s+\d+(?:x\d+)?(?::\d+)?(?:\+\d+)?(?:\s+(-?{_NUMBER})\S*)?(?:\s.*)?", re.IGNORECASE)

# Georgia's records in the first release of the challenge 2020 state 4.88/mV, µV per count instead of counts per mV;
# later releases state 1000/mV for the same samples.
_WRONG_GAIN, _TRUE_GAIN = 4.88, 1000.0


def read_wfdb(file: Path, options: Options) -> Recording:
    """Read a record by its header, with the signal files in the same folder."""
    with parsing("a WFDB header"):
        import wfdb

    if file.suffix != ".hea":  # wfdb opens no other
        raise DBetaError(f"is a WFDB header under another name; rename it to {file.with_suffix('.hea').name}")
    record, signals = _outline(file)
    if "/" in record[0]:
        raise DBetaError("has several segments; give the header of one segment")
    if record[1:2] == ["0"] or record[3:4] == ["0"]:
        raise DBetaError("lists no signals or no samples; give the header of a 12-lead recording")
    for name in dict.fromkeys(words[0] for words in signals):
        if not file.with_name(name).is_file():
            raise DBetaError(f"names the signal file {name}, which is missing; put it in the same folder")
    # Without a stated rate, wfdb would silently use 250 Hz
    stated = re.match(_NUMBER, record[2]) if len(record) > 2 else None
    total = int(record[3]) if len(record) > 3 and record[3].isdecimal() else None
    rate = float(stated[0]) if stated else options.sampling_rate
    begin, end = options.stretch(rate, total) if rate and total else (0, None)
    check_wfdb_stretch(file, begin, end)
    with parsing("a WFDB record"):
        body = wfdb.rdrecord(str(file.absolute().with_suffix("")), sampfrom=begin, sampto=end)
        signal = body.p_signal.T  # (channels, samples)
    comments = (line.lstrip("# ").partition(":") for line in body.comments)
    facts = {key.strip(" <>").casefold(): value.strip() for key, _, value in comments}
    meta = patient_facts(facts.get("age"), facts.get("sex", facts.get("gender")))
    if facts.get("dx", "unknown").casefold() not in ("unknown", ""):
        meta["dx"] = [code.strip() for code in facts["dx"].split(",")]
    rate = body.fs if stated else options.sampling_rate
    signal, notes = _check_gain(signal, [float(words[1] or 0) for words in signals], rate or 0)
    identity = Identity(facts.get("subject_id", ""))
    return Recording(signal, body.sig_name, rate, body.units, total, "", identity, meta, notes=notes)


def _check_gain(signal: np.ndarray, gains: list[float], rate: float) -> tuple[np.ndarray, list[str]]:
    if not all(gains):
        return signal, ["its header states no gain, so 200 counts per mV are assumed; voltages may be wrong"]
    if rate and set(gains) == {_WRONG_GAIN}:
        corrected = signal * (_WRONG_GAIN / _TRUE_GAIN)
        if BELIEVABLE[0] < beat_amplitude(corrected, rate) < BELIEVABLE[1] < beat_amplitude(signal, rate):
            return corrected, ["its gain of 4.88/mV, known to be wrong in the challenge 2020, is read as 1000/mV"]
    return signal, []


def _outline(header: Path) -> tuple[list[str], list[tuple[str, str | None]]]:
    """The words of the record line, and each signal's file and gain, read before wfdb opens anything."""
    lines = [line.strip() for line in header.read_text("utf-8-sig", errors="replace").splitlines()]
    first, *others = [line for line in lines if line and not line.startswith("#")] or [""]
    record = first.split()
    if not "".join(record[1:2]).isdecimal():
        raise DBetaError("cannot be read as a WFDB header (it has no record line); get or export the file again")
    if not re.fullmatch(r"[-\w]+(/\d+)?", record[0], re.ASCII):
        raise DBetaError(
            f"has the record name {record[0]!r}, but WFDB allows only unaccented letters, digits, - and _; rename "
            "the record in the header's first line"
        )
    if re.match(r"[\d.]+e", "".join(record[2:3]), re.IGNORECASE):
        raise DBetaError(f"states its sampling rate as {record[2]!r}; write it without an exponent in the header")
    if "/" in record[0]:  # its other lines name segments
        return record, []
    signals = [match for match in map(SIGNAL_LINE.fullmatch, others) if match]
    # Only names of files in the same folder
    odd = [line.split()[0] for line in others if not re.fullmatch(r"~?[-\w]*\.?\w*", line.split()[0], re.ASCII)]
    if odd:
        raise DBetaError(
            f"cannot be read as a WFDB header ({odd[0]!r} is not a file name); get or export the file again"
        )
    return record, [(match[1], match[2]) for match in signals]
