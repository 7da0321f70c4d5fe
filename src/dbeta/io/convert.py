"""What a reader returns → ECG: standard leads by name, one sampling rate, mV, checked for plausibility."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from dbeta.ecg import ECG, LEADS, standard_lead_name
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError
from dbeta.io.formats.base import NO_LEAD, SLOWEST, Options, Recording, known_lead
from dbeta.io.safety.limits import check_values, shown
from dbeta.io.units import BELIEVABLE, beat_amplitude, millivolts

#: Amplitude in any unit up to which a signal is flat but for rounding.
ROUNDING = 1e-6
#: Seconds; anything shorter is a remnant or an averaged beat.
SHORTEST = 0.1


def to_ecg(recording: Recording, options: Options, source: str) -> ECG:
    """The standard leads of a recording, in mV, over the requested stretch.

    Args:
        recording: from a reader.
        options: of the caller.
        source: name of the file.

    Raises:
        DBetaError: leads, unit or sampling rate are missing or contradict the options, or there is no signal.

    Warns:
        DBetaWarning: what the reader noted; the amplitude cannot be that of an ECG.
    """
    rows, others = _standard_rows(recording.names, options.leads)
    rate = _sampling_rate(recording, options)
    held = len(recording.signal[rows[0][0]])
    total = recording.total or held
    begin, end = options.stretch(rate, total)
    if recording.total is not None:
        begin, end = 0, held  # the reader has cut it already
    signal = _cut(recording, [row for row, _ in rows], begin, end, options.units)
    _check_extent(signal, rate, total)
    notes = [*recording.notes, *_check_amplitude(signal, rate, recording.unit_assumed)]
    for note in notes:
        warnings.warn(f"{source}: {note}", DBetaWarning, stacklevel=3)
    # Texts from the file end up on terminals and in logs
    meta = {key: shown(value) if isinstance(value, str) else value for key, value in recording.meta.items()}
    meta |= {"source": source, "duration": total / rate}
    if options.start > 0:
        meta["start"] = options.start
    if others:
        meta["other_channels"] = [shown(name, 60) for name in others]
    return ECG(signal, rate, [lead for _, lead in rows], shown(recording.report, 20_000), None, meta)


def _standard_rows(names: Sequence[str], given: Sequence[str] | None) -> tuple[list[tuple[int, str]], list[str]]:
    """The channels that are standard leads, as (row, lead), and the names of the others."""
    leads = [known_lead(name) for name in names]
    if given is not None:
        stated = [None if name == NO_LEAD else standard_lead_name(name) for name in given]
        if len(stated) != len(names):
            raise DBetaError(
                f"has {len(names)} leads but --leads names {len(stated)}; name each once, in order, and {NO_LEAD} for "
                "a channel that is none of the twelve"
            )
        if any(own not in (None, other) for own, other in zip(leads, stated, strict=True)):
            raise DBetaError(f"names its leads {', '.join(map(str, names))}; leave out --leads")
        leads = stated
    if all(lead is None for lead in leads):
        if not names:
            raise DBetaError("holds no channel; get or export the recording again")
        raise DBetaError(
            f"holds none of the leads {', '.join(LEADS)}, but {', '.join(map(str, names[:20]))}; if some of these are "
            f"leads, name all in order with --leads, as in --leads I,{NO_LEAD},V1, with {NO_LEAD} for any other channel"
        )
    others = [str(name) for name, lead in zip(names, leads, strict=True) if lead is None]
    return [(row, lead) for row, lead in enumerate(leads) if lead is not None], others


def _sampling_rate(recording: Recording, options: Options) -> float:
    """Hz, from the file or else from the caller."""
    rate = recording.sampling_rate
    if rate and options.sampling_rate and not math.isclose(rate, options.sampling_rate, rel_tol=1e-3):
        raise DBetaError(f"is sampled at {rate:g} Hz, not at {options.sampling_rate:g}; leave out --fs")
    rate = rate or options.sampling_rate
    if not rate:
        raise DBetaError("does not state its sampling rate; give it in Hz with --fs")
    if rate < SLOWEST:
        raise DBetaError(f"is sampled at {rate:g} Hz, too slow for an ECG; correct its sampling rate")
    return rate


def _cut(recording: Recording, rows: list[int], begin: int, end: int, units: str | None) -> np.ndarray:
    """The rows from sample `begin` up to `end` in mV, (rows, samples) float32; NaN where the value is no voltage."""
    lengths = {len(recording.signal[row]) for row in rows}
    if len(lengths) > 1:
        raise DBetaError("has leads of different length; export the twelve leads over the same time at the same rate")
    check_values((end - begin) * len(rows))
    signal = np.empty((len(rows), max(min(end, lengths.pop()) - begin, 0)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for lead, row in zip(signal, rows, strict=True):  # one by one, as they may be memory-mapped float64
            lead[:] = recording.signal[row][begin:end]
            lead *= _millivolts(recording, row, units)
            lead[~(np.abs(lead) < 1e9)] = np.nan  # no voltage, and its square would overflow
    return signal


def _millivolts(recording: Recording, row: int, given: str | None) -> float:
    """A channel's unit in mV, from the file or else from the caller."""
    unit = (recording.units[row] if recording.units else "mV") or given or ""
    factor = millivolts(unit)
    if factor is None:
        raise DBetaError(
            f"has lead {recording.names[row]} in {unit or 'no unit'!r}; convert it to uV, mV or V, or state the unit "
            "with --units"
        )
    if given and not math.isclose(factor, millivolts(given) or 0, rel_tol=1e-3):
        raise DBetaError(f"is in {unit}, not in {given}; leave out --units")
    return factor


def _check_extent(signal: np.ndarray, rate: float, total: int) -> None:
    if signal.size == 0:
        raise DBetaError("holds no samples; get the file again")
    if np.isnan(signal).all():
        raise NoSignalError("holds no valid sample in any of the twelve leads; get the file again", total / rate)
    if total / rate < SHORTEST:
        extent = f"{total / rate:.2g} s, at a sampling rate of {rate:g} Hz"
        raise DBetaError(f"holds only {extent}; get or export the recording again")


def _check_amplitude(signal: np.ndarray, rate: float, unit_assumed: bool) -> list[str]:
    """A note if the beats cannot be those of an ECG in mV; an error if that unit was only assumed."""
    amplitude = beat_amplitude(signal, rate)
    if amplitude <= ROUNDING or BELIEVABLE[0] <= amplitude <= BELIEVABLE[1]:
        return []
    if unit_assumed:
        raise DBetaError(f"has beats of {amplitude:.3g}, which cannot be mV; state their unit with --units, as uV")
    return [f"its beats measure {amplitude:.3g} mV, which no heart produces; gain, unit or signal is wrong"]
