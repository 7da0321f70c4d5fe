"""What a reader returns → ECG: standard leads by name, one sampling rate, mV, checked for plausibility."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from dbeta.ecg import ECG, LEADS, standard_lead_name
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError
from dbeta.io.amplitude import Sizes, measure
from dbeta.io.formats.base import NO_LEAD, SLOWEST, Options, Recording, known_lead
from dbeta.io.safety.limits import check_values, shown
from dbeta.io.units import millivolts
from dbeta.signal.calibration import find_pulses
from dbeta.signal.limb_leads import GAINS_CONTRADICT, UNDETERMINED, VOLTAGES, gains_contradict

#: Amplitude in any unit up to which a signal is flat but for rounding.
ROUNDING = 1e-6
#: Seconds; anything shorter is a remnant or an averaged beat.
SHORTEST = 0.1
#: Seconds; anything shorter may hold no heartbeat.
_BEAT = 0.6


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
    rows, others, renamed = _standard_rows(recording.names, options.leads)
    rate = _sampling_rate(recording, options)
    held = len(recording.signal[rows[0][0]])
    total = recording.total or held
    stretch = options.stretch(rate, total)
    # Readers that return only a part have cut it already
    begin, end = stretch if recording.total is None else (0, held)
    chosen = [row for row, _ in rows]
    signal = _cut(recording, chosen, begin, end, options.units)
    _check_extent(signal, rate, total)
    notes = [*recording.notes, *renamed, *_overruled_units(recording, chosen, options.units)]
    leads = [lead for _, lead in rows]
    signal, total, cut = _without_pulses(signal, rate, leads, stretch, total)
    notes += cut
    if recording.unit_assumed and not options.units:
        if total / rate < _BEAT:
            raise DBetaError("states no unit, and is too short to tell it by a heartbeat; state it with --units, as mV")
        found = _sizes(recording, chosen, rate, signal)
        notes += _judge_unit(found) if recording.sizes is None else _judge_units(found, recording.sizes)
        recording.meta["unit"] = "mV (assumed)"
    else:
        notes += _check_amplitude(measure(signal, rate))
    # Texts from the file end up on terminals and in logs
    meta = {key: shown(value) if isinstance(value, str) else value for key, value in recording.meta.items()}
    meta |= {"source": source, "duration": total / rate}
    if recording.gains and not options.raw_gain:
        # Counts per mV, as leads may have different units
        gains = np.array([recording.gains[row] / _millivolts(recording, row, options.units) for row in chosen])
        if gains_contradict(signal, leads, gains):
            meta |= {VOLTAGES: UNDETERMINED}
            notes.append(GAINS_CONTRADICT)
    for note in notes:
        warnings.warn(f"{source}: {shown(note)}", DBetaWarning, stacklevel=3)
    if notes:
        meta["notes"] = [shown(note) for note in notes]
    if options.raw_gain:
        meta["raw_gain"] = options.raw_gain
    if options.start > 0:
        meta["start"] = options.start
    if others:
        meta["other_channels"] = [shown(name, 60) for name in others]
    return ECG(signal, rate, leads, shown(recording.report, 20_000), None, meta)


def _standard_rows(
    names: Sequence[str], given: Sequence[str] | None
) -> tuple[list[tuple[int, str]], list[str], list[str]]:
    """The channels that are standard leads, as (row, lead), the names of the others, and warnings."""
    leads = [known_lead(name) for name in names]
    notes = []
    if given is not None:
        stated = [None if name == NO_LEAD else standard_lead_name(name) for name in given]
        if len(stated) != len(names):
            raise DBetaError(
                f"has {len(names)} leads but --leads names {len(stated)}; name each once, in order, and {NO_LEAD} for "
                "a channel to leave out"
            )
        # A name that the file has twice is wrong at least once
        changed = [row for row, lead in enumerate(leads) if stated[row] and lead not in (None, stated[row])]
        if any(leads.count(leads[row]) < 2 for row in changed):
            raise DBetaError(f"names its leads {', '.join(map(str, names))}; leave out --leads")
        notes = [
            f"its channel {row + 1}, named {names[row]}, is read as {stated[row]} as --leads says" for row in changed
        ]
        leads = stated
    if all(lead is None for lead in leads):
        if not names:
            raise DBetaError("holds no channel; get or export the recording again")
        raise DBetaError(
            f"holds none of the leads {', '.join(LEADS)}, but {', '.join(map(str, names[:20]))}; if some of these are "
            f"leads, name all in order with --leads, as in --leads I,{NO_LEAD},V1, with {NO_LEAD} for any other channel"
        )
    twice = next((lead for lead in leads if lead and leads.count(lead) > 1), None)
    if twice:
        places = [str(row + 1) for row, lead in enumerate(leads) if lead == twice]
        raise DBetaError(
            f"has lead {twice} twice, as channels {' and '.join(places)} of {len(names)}; name all channels in order "
            f"with --leads, and {NO_LEAD} for one to leave out"
        )
    others = [str(name) for name, lead in zip(names, leads, strict=True) if lead is None]
    return [(row, lead) for row, lead in enumerate(leads) if lead is not None], others, notes


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
    """A channel's unit in mV, from the caller or else from the file."""
    unit = given or (recording.units[row] if recording.units else "mV")
    factor = millivolts(unit)
    if factor is None:
        raise DBetaError(
            f"has lead {recording.names[row]} in {unit or 'no unit'!r}, which is not a unit of voltage; state the unit "
            "with --units, as uV or mV"
        )
    return factor


def _overruled_units(recording: Recording, rows: Sequence[int], given: str | None) -> list[str]:
    """A warning if the caller's unit differs from one that the file states in a way that is understood."""
    if not given or not recording.units:
        return []
    stated = {recording.units[row]: millivolts(recording.units[row]) for row in rows}
    other = [
        unit for unit, size in stated.items() if size and not math.isclose(size, millivolts(given) or 0, rel_tol=1e-3)
    ]
    return [f"states its unit as {', '.join(other[:3])}, but is read in {given} as --units says"] if other else []


def _check_extent(signal: np.ndarray, rate: float, total: int) -> None:
    if signal.size == 0:
        raise DBetaError("holds no samples; get the file again")
    if np.isnan(signal).all():
        raise NoSignalError("holds no valid sample in any of the twelve leads; get the file again", total / rate)
    if total / rate < SHORTEST:
        extent = f"{total / rate:.2g} s, at a sampling rate of {rate:g} Hz"
        raise DBetaError(f"holds only {extent}; get or export the recording again")


def _without_pulses(
    signal: np.ndarray, rate: float, leads: list[str], stretch: tuple[int, int], total: int
) -> tuple[np.ndarray, int, list[str]]:
    """Without calibration pulses at the ends: the signal, the samples of the whole recording, and notes.

    In a part of a recording they become NaN, so that the times of other parts remain right.
    """
    notes, whole = [], stretch == (0, total)
    first, last = 0, signal.shape[1]
    for pulse in find_pulses(signal, rate, leads, part=not whole):
        at_start = pulse.begin == 0
        if pulse.end - pulse.begin == signal.shape[1]:
            raise NoSignalError("holds only a calibration pulse there; read another part, or all of it", total / rate)
        where = "beginning" if at_start else "end"
        seconds = (pulse.end - pulse.begin) / rate
        notes.append(
            f"a calibration pulse of {pulse.height:.2g} mV and {pulse.width:.2g} s at its {where} is left out, "
            f"{seconds:.2g} s with the flat line around it"
        )
        if whole:
            first, last = (pulse.end, last) if at_start else (first, pulse.begin)
        else:
            signal[:, pulse.begin : pulse.end] = np.nan
    return signal[:, first:last], total - (signal.shape[1] - (last - first)), notes


def _sizes(recording: Recording, rows: list[int], rate: float, signal: np.ndarray) -> Sizes:
    """The QRS complexes by which an unstated unit is judged: those of the whole file, as far as it is at hand."""
    if recording.excerpt is not None:
        found = measure([recording.excerpt[row] for row in rows], rate)
    elif recording.total is None:
        found = measure([recording.signal[row] for row in rows], rate)
    else:
        found = Sizes(0.0, 0)
    return found if found.size > ROUNDING else measure(signal, rate)


def _judge_units(found: Sizes, all_of_them: Sizes) -> list[str]:
    """As `_judge_unit`, for one of several recordings, of which all together decide about the unit.

    Args:
        found: of the recording.
        all_of_them: of all recordings of the file.

    Raises:
        DBetaError: the unit cannot be mV, or another power of ten is as likely.
    """
    if all_of_them.size <= ROUNDING:
        return _judge_unit(found)
    _judge_unit(all_of_them)
    measures = f"the QRS complexes of its recordings measure {all_of_them.size:.2g}, those of this one {found.size:.2g}"
    return [f"states no unit; taken to be in mV, as {measures}", *_check_amplitude(found)]


def _judge_unit(found: Sizes) -> list[str]:
    """A note that an unstated unit is taken to be mV.

    Raises:
        DBetaError: it cannot be, or another power of ten is as likely.
    """
    if found.size <= ROUNDING:
        return []  # without a signal no unit matters
    if found.possible_units() == [1.0]:
        return [f"states no unit; taken to be in mV, as its QRS complexes measure {found.size:.2g}"]
    if found.believable():
        raise DBetaError(
            f"states no unit, and its QRS complexes measure {found.size:.2g}, which leaves it open: state it, "
            f"{found.in_each_unit()}"
        )
    others = found.in_each_unit()
    raise DBetaError(
        f"states no unit, and its QRS complexes measure {found.size:.2g}, which cannot be mV; state their unit with "
        f"--units{': they would be ' + others if others else ''}"
    )


def _check_amplitude(found: Sizes) -> list[str]:
    """A note if the beats cannot be those of an ECG in mV."""
    if found.size <= ROUNDING or found.believable():
        return []
    return [
        f"its QRS complexes measure {found.size:.3g} mV, unlike those of 99.9 % of recordings; gain, unit or signal is "
        "wrong"
    ]
