"""WFDB records: a header with its signal files, also with the `.mat` of the challenges 2020 and 2021."""

from __future__ import annotations

import re
from pathlib import Path

from dbeta.errors import DBetaError
from dbeta.formats.base import Options, Recording, parsing, patient_facts


def read_wfdb(file: Path, options: Options) -> Recording:
    """A record by its header, whose signal files lie beside it."""
    with parsing("a WFDB header"):
        import wfdb

    if file.suffix.lower() != ".hea":
        raise DBetaError(
            f"needs its header {file.with_suffix('.hea').name}, which carries sampling rate, leads and gain"
        )
    record, signals = _outline(file)
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
    rate = float(stated[0]) if stated else options.sampling_rate
    begin, end = options.stretch(rate, total) if rate and total else (0, None)
    with parsing("a WFDB record"):
        body = wfdb.rdrecord(str(file.absolute().with_suffix("")), sampfrom=begin, sampto=end)
        signal = body.p_signal.T  # (channels, samples)
    comments = (line.lstrip("# ").partition(":") for line in body.comments)
    said = {key.strip(" <>").casefold(): value.strip() for key, _, value in comments}
    meta = patient_facts(said.get("age"), said.get("sex", said.get("gender")))
    if said.get("dx", "unknown").casefold() not in ("unknown", ""):
        meta["dx"] = [code.strip() for code in said["dx"].split(",")]
    patient = said.get("subject_id")
    rate = body.fs if stated else options.sampling_rate
    return Recording(signal, body.sig_name, rate, body.units, total, patient_id=patient, meta=meta)


def _outline(header: Path) -> tuple[list[str], list[str]]:
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
