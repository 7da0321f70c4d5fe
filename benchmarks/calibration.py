"""How often calibration pulses are found, and how often one is found where there is none.

    python benchmarks/calibration.py FOLDER [FOLDER …] [--every N] [--added 40]

FOLDERs hold real recordings without pulses. `dbeta.signal.calibration.find_pulses` is tried on each with twelve, eight,
six, three, two and one leads, which must give nothing; then on recordings spread over all of them to which pulses of
several kinds were added, at the end and at the beginning. A pulse counts as found if what is cut ends within 20 ms of
where the ECG does; in brackets those of which more or less was cut.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from dbeta.ecg import ECG, INDEPENDENT_LEADS, LEADS
from dbeta.errors import DBetaError
from dbeta.io.read import find_ecgs, read_ecg
from dbeta.signal.calibration import find_pulses

SETS = {
    "12 leads": LEADS,
    "8 leads": INDEPENDENT_LEADS,
    "6 limb leads": LEADS[:6],
    "I, II, V5": ("I", "II", "V5"),
    "I, II": ("I", "II"),
    "V1, V2": ("V1", "V2"),
    "I": ("I",),
    "II": ("II",),
    "V2": ("V2",),
}
#: Height in mV, seconds of the flat line before and after, noise in mV, seconds of decay, pulses in a row.
KINDS = {
    "1 mV": (1.0, 0.2, 0.2, 0.0, 0.0, 1),
    "0.5 mV": (0.5, 0.2, 0.2, 0.0, 0.0, 1),
    "no flat end": (1.0, 0.2, 0.0, 0.0, 0.0, 1),
    "nothing around": (1.0, 0.0, 0.0, 0.0, 0.0, 1),
    "noise of 5 µV": (1.0, 0.2, 0.2, 0.005, 0.0, 1),
    "noise of 5 µV, no flat end": (1.0, 0.2, 0.0, 0.005, 0.0, 1),
    "noise of 10 µV": (1.0, 0.2, 0.2, 0.01, 0.0, 1),
    "noise of 20 µV": (1.0, 0.2, 0.2, 0.02, 0.0, 1),
    "noise of 40 µV": (1.0, 0.2, 0.2, 0.04, 0.0, 1),
    "negative": (-1.0, 0.2, 0.2, 0.0, 0.0, 1),
    "two in a row": (1.0, 0.2, 0.2, 0.0, 0.0, 2),
    "decay of 0.3 s": (1.0, 0.2, 0.2, 0.0, 0.3, 1),
    "decay of 3 s": (1.0, 0.2, 0.2, 0.0, 3.0, 1),
}


def pulse(kind: str, rate: float) -> np.ndarray:
    """One lead's calibration, mV."""
    height, before, after, _, decay, count = KINDS[kind]
    parts = [np.repeat([0.0, height, 0.0], [round(seconds * rate) for seconds in (before, 0.2, after)])] * count
    shape = np.concatenate(parts)
    return lfilter([1, -1], [1, -np.exp(-1 / (rate * decay))], shape) if decay else shape


def recordings(folders: list[Path], every: int) -> Iterator[tuple[Path, ECG]]:
    """The recordings that can be read."""
    for file in [file for folder in folders for file in find_ecgs(folder)][::every]:
        try:
            yield file, read_ecg(file)
        except DBetaError:
            continue


def main() -> None:
    """Print both rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--added", type=int, default=40, help="recordings to which pulses are added")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    count, alarms, chosen = 0, 0, []
    for file, ecg in recordings(args.folders, args.every):
        count += 1
        cut = any("calibration pulse" in note for note in ecg.meta.get("notes", []))
        found = {
            name: pulses
            for name, leads in SETS.items()
            if (pulses := find_pulses(np.stack([ecg[lead] for lead in leads]), ecg.sampling_rate, leads))
        }
        if cut or found:
            alarms += 1
            print(f"  {file}: {found or 'cut when read'}", flush=True)
        elif np.isfinite(ecg.signal).all() and (np.ptp(ecg.signal, axis=1) > 0.2).all() and ecg.duration >= 5:
            chosen.append(ecg)
    print(f"{count} recordings in {len(SETS)} sets of leads, a pulse in {alarms} of them")
    chosen = chosen[:: max(len(chosen) // args.added, 1)]
    print(f"found of those added to {len(chosen)} recordings, at either end")
    rng = np.random.default_rng(0)
    for kind in KINDS:
        shares = []
        for name, leads in SETS.items():
            hits = some = 0
            for ecg in chosen:
                shape, rate = pulse(kind, ecg.sampling_rate), ecg.sampling_rate
                signal = np.stack([ecg[lead] for lead in leads])
                added = shape + rng.normal(0, KINDS[kind][3], (len(leads), len(shape)))
                size = signal.shape[1]
                at_end = find_pulses(np.hstack([signal, added]), rate, leads)
                at_start = find_pulses(np.hstack([added, signal]), rate, leads)
                hits += any(abs(one.begin - size) <= 0.02 * rate for one in at_end)
                hits += any(abs(one.end - len(shape)) <= 0.02 * rate for one in at_start)
                some += bool(at_end) + bool(at_start)
            tried = max(2 * len(chosen), 1)
            shares.append(f"{name} {hits / tried:.0%}" + (f" ({some / tried:.0%})" if some > hits else ""))
        print(f"  {kind}: {', '.join(shares)}", flush=True)


if __name__ == "__main__":
    main()
