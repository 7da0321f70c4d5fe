"""WFDB records: a header with its signal files, also with the `.mat` of the challenges 2020 and 2021.

Each signal has its own rate (several samples per frame). Unlike the `wfdb` library, the reader warns of a gain of 0 or
none, which means "not calibrated" and is read as 200 counts per mV, and reads what is left of a file that is cut short.
Records of several segments are put together in `wfdb_segments`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dbeta.errors import DBetaError
from dbeta.io.amplitude import measure
from dbeta.io.formats.base import Options, Recording, patient_facts
from dbeta.io.formats.rates import plan
from dbeta.io.formats.wfdb_header import Channel, Header, read_header
from dbeta.io.formats.wfdb_samples import available_frames, read_counts
from dbeta.io.formats.wfdb_segments import read_segments
from dbeta.io.identity import Identity

# Georgia's records in the first release of the challenge 2020 state 4.88/mV, µV per count instead of counts per mV;
# later releases state 1000/mV for the same samples.
_WRONG_GAIN, _TRUE_GAIN = 4.88, 1000.0


def read_wfdb(file: Path, options: Options) -> Recording:
    """Read a record by its header, with the signal files in the same folder.

    Raises:
        DBetaError: the header or a signal file is damaged or missing.
    """
    header = read_header(file)
    recording = read_segments(file, header, options) if header.segments else _read_record(file, header, options)
    facts, recording.identity = _comments(header.comments)
    recording.meta |= facts
    return recording


def _read_record(file: Path, header: Header, options: Options) -> Recording:
    channels = header.channels
    frames, notes = _extent(file, header)
    frame_rate = _frame_rate(header, options)
    stretch = plan([one.name for one in channels], [one.per_frame for one in channels], frame_rate, frames, options)
    counts = read_counts(file.parent, channels, stretch.wanted, stretch.first, stretch.last)
    notes += stretch.notes
    if options.raw_gain:
        signal = stretch.join(counts.__getitem__)
        units, gains = [options.raw_gain] * len(channels), []
    else:
        signal = stretch.join(lambda row: (counts[row] - channels[row].baseline) / channels[row].gain)
        units, gains = [one.unit for one in channels], [one.gain for one in channels]
        notes += _check_gain(signal, channels, stretch.wanted, stretch.rate)
    meta = stretch.meta
    return Recording(
        signal, stretch.names, stretch.rate, units, stretch.total, "", Identity(), meta, notes=notes, gains=gains
    )


def _extent(file: Path, header: Header) -> tuple[int, list[str]]:
    """Frames that the signal files hold, and a warning if the header promises more."""
    held = available_frames(file.parent, header.channels)
    skewed = [frames + channel.skew for frames, channel in zip(held, header.channels, strict=True)]
    total = min(header.frames or max(held), max(held))
    if total < 1:
        raise DBetaError("holds no samples; get the signal files again")
    per_frame = header.channels[held.index(max(held))].per_frame
    if header.frames and total < header.frames:
        promised = header.frames * per_frame
        return total, [f"its header promises {promised} samples, it holds {total * per_frame}; it may be cut short"]
    short = [one.name or one.file for one, has in zip(header.channels, skewed, strict=True) if has < total]
    if short:
        return total, [f"lead {', '.join(short[:12])} is cut short and missing (NaN) from there on"]
    return total, []


def _frame_rate(header: Header, options: Options) -> float:
    """Frames per second, from the header or else from the caller."""
    if header.rate is not None:
        return header.rate
    if options.sampling_rate is None:
        raise DBetaError("does not state its sampling rate; give it in Hz with --fs")
    return options.sampling_rate / max(one.per_frame for one in header.channels)


def _check_gain(signal: list[np.ndarray], channels: list[Channel], rows: list[int], rate: float) -> list[str]:
    """Warnings about the gains; corrects in place the one that is known to be wrong."""
    if not all(channels[row].stated_gain for row in rows):
        return ["its header states no gain, so 200 counts per mV are assumed; voltages may be wrong"]
    if rows and {channels[row].stated_gain for row in rows} == {_WRONG_GAIN}:
        stated = np.stack([signal[row] for row in rows])
        corrected = stated * (_WRONG_GAIN / _TRUE_GAIN)
        if measure(corrected, rate).believable() and not measure(stated, rate).believable():
            for row, values in zip(rows, corrected, strict=True):
                signal[row] = values
            return ["its gain of 4.88/mV, known to be wrong in the challenge 2020, is read as 1000/mV"]
    return []


def _comments(comments: list[str]) -> tuple[dict[str, Any], Identity]:
    """What the header's comments say about the patient."""
    pairs = (line.lstrip("# ").partition(":") for line in comments)
    facts = {key.strip(" <>").casefold(): value.strip() for key, _, value in pairs}
    meta = patient_facts(facts.get("age"), facts.get("sex", facts.get("gender")))
    if facts.get("dx", "unknown").casefold() not in ("unknown", ""):
        meta["dx"] = [code.strip() for code in facts["dx"].split(",")]
    return meta, Identity(facts.get("subject_id", ""))
