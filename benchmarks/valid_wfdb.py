"""Valid WFDB records: every stored format that ECG archives use, frames, segments, gains, offsets and several files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from valid_recordings import Draw, Valid, quantised

# Bits of a sample of each format; the lowest value of each means "no sample"
_BITS = {"16": 16, "61": 16, "80": 8, "160": 16, "24": 24, "32": 32, "212": 12}


def _pack_212(values: np.ndarray) -> bytes:
    pairs = np.append(values, 0)[: 2 * -(-len(values) // 2)].reshape(-1, 2) & 0xFFF
    triples = np.stack([pairs[:, 0] & 0xFF, pairs[:, 0] >> 8 | pairs[:, 1] >> 8 << 4, pairs[:, 1] & 0xFF], axis=1)
    packed = triples.astype(np.uint8).tobytes()
    return packed if len(values) % 2 == 0 else packed[:-1]


_PACK: dict[str, Callable[[np.ndarray], bytes]] = {
    "16": lambda values: values.astype("<i2").tobytes(),
    "61": lambda values: values.astype(">i2").tobytes(),
    "80": lambda values: (values + 128).astype(np.uint8).tobytes(),
    "160": lambda values: (values + 32768).astype("<u2").tobytes(),
    "24": lambda values: values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
    "32": lambda values: values.astype("<i4").tobytes(),
    "212": _pack_212,
}


def wfdb_record(draw: Draw, folder: Path) -> Valid:
    """A record, in one or two signal files, some with several samples per frame."""
    leads = draw.leads()
    frames, per_frame = draw.integer(200, 700), draw.one_of((1, 1, 1, 2, 8))
    frame_rate = draw.one_of((100.0, 125.0, 250.0, 360.0, 500.0, 1000.0, 257.5)) / per_frame
    rate = frame_rate * per_frame
    ecg = draw.ecg(rate, frames * per_frame)
    others = draw.one_of(((), (), ("ABP",), ("vx", "vy", "vz")))
    names = [*leads, *others]
    names = draw.order(names) if others else names
    split = draw.integer(1, len(names)) if draw.chance() else len(names)
    lines, expected, steps = [], {}, {}
    for part, held in enumerate((names[:split], names[split:])):
        if not held:
            continue
        form = draw.one_of(tuple(_BITS))
        lowest, highest = -(2 ** (_BITS[form] - 1)), 2 ** (_BITS[form] - 1) - 1
        file = f"rec{part or ''}.dat"
        columns = []
        for name in held:
            step = 10 / highest if form in ("80", "212") else draw.one_of((0.001, 0.005, 0.00488, 0.0025))
            unit, size = draw.one_of((("mV", 1.0), ("uV", 1e-3), ("V", 1e3), ("µV", 1e-3), ("", 1.0)))
            baseline = draw.integer(-50, 50) if form not in ("80", "212") else 0
            wide = per_frame if name in ecg else draw.one_of((per_frame, 1))  # other signals may be slower
            values = ecg.get(name, np.zeros(frames * wide))
            counts = quantised(values, step, lowest + 60, highest - 60) + baseline
            if draw.chance() and draw.chance():
                counts[draw.integer(0, len(counts) - 1)] = lowest  # no sample
            gain = f"{size / step:.10g}" + (f"({baseline})" if baseline or draw.chance() else "")
            gain += f"/{unit}" if unit else ""
            zero = baseline if draw.chance() else 0
            spread = f"x{wide}" if wide > 1 else ""
            lines.append(f"{file} {form}{spread} {gain} {_BITS[form]} {zero} {counts[0]} 0 0 {name}")
            if name in ecg:
                expected[name] = np.where(counts == lowest, np.nan, (counts - baseline) * step)
                steps[name] = step
            columns.append(counts.reshape(frames, wide))
        block = np.concatenate(columns, axis=1)  # (frames, samples of all signals)
        (folder / file).write_bytes(_PACK[form](block.ravel()))
    clock = draw.one_of(("", "/1000", "/1000(5)"))
    when = draw.one_of(("", " 10:30:05", " 10:30:05.250 01/04/2020"))
    text = [f"rec {len(names)} {frame_rate:.10g}{clock} {frames}{when}", *lines]
    text += draw.one_of(((), ("# Age: 61", "# Sex: F"), ("#Dx: 426783006",)))
    header = folder / "rec.hea"
    header.write_text("\n".join(text) + "\n", encoding="utf-8")
    return Valid(header, rate, expected, steps, independent=lambda: _by_wfdb(folder / "rec", expected))


def wfdb_segments(draw: Draw, folder: Path) -> Valid:
    """A record of several segments, some of them gaps, with a layout segment or without."""
    rate, leads = draw.one_of((250.0, 500.0)), draw.leads()
    lengths = [draw.integer(150, 500) for _ in range(draw.integer(2, 4))]
    ecg = draw.ecg(rate, sum(lengths))
    step = draw.one_of((0.001, 0.005))
    variable = draw.chance()
    gaps = {draw.integer(1, len(lengths) - 1)} if variable and draw.chance() else set()
    expected = {lead: np.full(sum(lengths), np.nan) for lead in leads}
    segments = ["rec_layout 0"] if variable else []
    signals = [f"{{file}} 16 {1 / step:.10g}/mV 16 0 0 0 0 {lead}" for lead in leads]
    if variable:
        lines = [line.format(file="~").replace(" 16 ", " 0 ", 1) for line in signals]
        (folder / "rec_layout.hea").write_text("\n".join([f"rec_layout {len(leads)} {rate:g} 0", *lines]) + "\n")
    at = 0
    for number, length in enumerate(lengths):
        if number in gaps:
            segments.append(f"~ {length}")
        else:
            name = f"rec_{number:04d}"
            held = draw.order(leads)[: draw.integer(1, len(leads))] if variable else leads
            counts = [quantised(ecg[lead][at : at + length], step, -32000, 32000) for lead in held]
            (folder / f"{name}.dat").write_bytes(np.stack(counts, axis=1).astype("<i2").tobytes())
            lines = [signals[leads.index(lead)].format(file=f"{name}.dat") for lead in held]
            (folder / f"{name}.hea").write_text("\n".join([f"{name} {len(held)} {rate:g} {length}", *lines]) + "\n")
            for lead, row in zip(held, counts, strict=True):
                expected[lead][at : at + length] = row * step
            segments.append(f"{name} {length}")
        at += length
    header = folder / "rec.hea"
    header.write_text("\n".join([f"rec/{len(segments)} {len(leads)} {rate:g} {at}", *segments]) + "\n")
    expected = {lead: row for lead, row in expected.items() if np.isfinite(row).any()}
    return Valid(
        header,
        rate,
        expected,
        dict.fromkeys(expected, step),
        independent=lambda: _by_wfdb(folder / "rec", expected),
    )


def challenge_record(draw: Draw, folder: Path) -> Valid:
    """The challenges' MATLAB files, which a WFDB header describes."""
    from scipy.io import savemat

    from dbeta.ecg import LEADS

    rate = draw.one_of((257.0, 500.0, 1000.0))
    ecg = draw.ecg(rate, draw.integer(300, 1500))
    step = draw.one_of((0.001, 0.00488))
    counts = np.stack([quantised(ecg[lead], step, -32000, 32000) for lead in LEADS])
    savemat(folder / "rec.mat", {"val": counts.astype(np.int16)}, format="4")
    lines = [f"rec 12 {rate:g} {counts.shape[1]}"]
    lines += [
        f"rec.mat 16+24 {1 / step:.10g}/mV 16 0 {row[0]} 0 0 {lead}" for lead, row in zip(LEADS, counts, strict=True)
    ]
    header = folder / "rec.hea"
    header.write_text("\n".join([*lines, "#Age: 61", "#Sex: Male", "#Dx: 426783006"]) + "\n")
    expected = dict(zip(LEADS, counts * step, strict=True))
    return Valid(
        header, rate, expected, dict.fromkeys(LEADS, step), independent=lambda: _by_wfdb(folder / "rec", expected)
    )


def _by_wfdb(record: Path, wanted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import wfdb

    scale = {"mV": 1.0, "uV": 1e-3, "V": 1e3, "µV": 1e-3}
    # wfdb takes µV in UTF-8 for V
    unknown = {line.split()[-1] for line in record.with_suffix(".hea").read_text("utf-8").splitlines() if "µ" in line}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = wfdb.rdrecord(str(record), smooth_frames=False, m2s=True)
    signals = body.e_p_signal if body.p_signal is None else list(body.p_signal.T)
    leads = {
        name: np.asarray(values) * scale.get(unit, np.nan)
        for name, values, unit in zip(body.sig_name, signals, body.units, strict=True)
        if name not in unknown
    }
    return {lead: row for lead, row in leads.items() if lead in wanted and not np.isnan(row).all()}
