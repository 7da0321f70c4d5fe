"""Valid tables and arrays: text in the dialects of spreadsheets, Parquet, NumPy, MATLAB, HDF5 in CODE's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dbeta.ecg import LEADS
from valid_recordings import Draw, Valid, quantised

_UNITS = {"mV": 1.0, "uV": 1e-3, "µV": 1e-3, "V": 1e3}


def text_table(draw: Draw, folder: Path) -> Valid:
    """Text: separator, decimal sign, encoding, line ends, units in the header, times in s or ms, or none."""
    rate, leads = draw.one_of((100, 250, 500, 1000)), draw.leads()
    ecg = draw.ecg(rate, draw.integer(rate, 2 * rate), least=1.2)
    separator, decimal = draw.one_of(((",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")))
    unit = draw.one_of((None, *_UNITS))
    size = _UNITS[unit] if unit else 1.0
    leads = leads if unit else draw.order(LEADS)  # a few small leads may leave the unit in doubt
    step = 0.001
    counts = {lead: quantised(ecg[lead], step, -32000, 32000) for lead in leads}
    # Numbers in V have too many zeros for fixed digits
    columns = {lead: [f"{value * step / size:.9g}" for value in counts[lead]] for lead in leads}
    style = draw.one_of(("{} ({})", "{} [{}]"))
    head = {lead: style.format(lead, unit) if unit else lead for lead in leads}
    options: dict[str, object] = {}
    clock = draw.one_of(("none", "time_s", "time (ms)", "ms"))
    per = {"time_s": 1.0, "time (ms)": 1000.0, "ms": 1000.0}.get(clock)
    cells = [[head[lead] for lead in leads], *map(list, zip(*columns.values(), strict=True))]
    if per:
        start = draw.one_of((0, 5))
        times = [f"{per * (start + row / rate):.6g}" for row in range(len(cells) - 1)]
        cells = [[clock, *cells[0]], *([time, *row] for time, row in zip(times, cells[1:], strict=True))]
    else:
        options["sampling_rate"] = float(rate)
    if not per and unit is None and draw.chance():
        cells = cells[1:]  # no header
        options["leads"] = leads
    if decimal == ",":
        first = 0 if "leads" in options else 1
        cells = [*cells[:first], *([cell.replace(".", ",") for cell in row] for row in cells[first:])]
    quote = '"' if draw.chance() else ""
    end = draw.one_of(("\n", "\r\n"))
    text = end.join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in cells) + end
    path = folder / f"rec.{draw.one_of(('csv', 'txt', 'tsv'))}"
    path.write_bytes(text.encode(draw.one_of(("utf-8", "utf-8-sig", "cp1252", "utf-16"))))
    expected = {lead: row * step for lead, row in counts.items()}
    return Valid(path, float(rate), expected, dict.fromkeys(leads, step), options, part=unit is not None)


def parquet(draw: Draw, folder: Path) -> Valid:
    """Parquet: floats or counts, row groups, times or none."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    rate, leads = draw.one_of((100, 250, 500)), draw.leads()
    ecg = draw.ecg(rate, draw.integer(rate, 4 * rate), least=1.2)
    kind, unit = draw.one_of((("float32", "mV"), ("float64", ""), ("int16", "uV"), ("int32", "")))
    step = 0.001
    leads = leads if unit or kind.startswith("int") else draw.order(LEADS)  # a few leads may leave the unit in doubt
    counts = {lead: quantised(ecg[lead], step, -32000, 32000) for lead in leads}
    whole = kind.startswith("int")
    names = {lead: f"{lead} ({unit})" if unit else lead for lead in leads}
    table = {names[lead]: (row if whole else row * step).astype(kind) for lead, row in counts.items()}
    options: dict[str, object] = {"units": "0.001"} if whole and not unit else {}
    if draw.chance():
        table = {"time": np.arange(len(ecg["I"])) / rate, **table}
    else:
        options["sampling_rate"] = float(rate)
    path = folder / "rec.parquet"
    pq.write_table(pa.table(table), path, row_group_size=draw.one_of((64, 1000, 10_000)))
    expected = {lead: row * step for lead, row in counts.items()}
    told = bool(unit or "units" in options)
    return Valid(path, float(rate), expected, dict.fromkeys(leads, step), options, part=told)


def array(draw: Draw, folder: Path) -> Valid:
    """NumPy: either way round, C or Fortran order, any byte order, floats or counts."""
    rate, leads = draw.one_of((100, 250, 500)), draw.leads()
    ecg = draw.ecg(rate, draw.integer(rate, 4 * rate), least=1.2)
    kind = draw.one_of(("<f4", ">f4", "<f8", "<i2", ">i2", "<i4"))
    told = "i" in kind or draw.chance()
    leads = leads if told else draw.order(LEADS)  # a few small leads may leave the unit in doubt
    step = 0.005
    counts = np.stack([quantised(ecg[lead], step, -32000, 32000) for lead in leads])
    held = (counts if "i" in kind else counts * step).astype(kind)
    held = held.T if draw.chance() else held
    held = np.asfortranarray(held) if draw.chance() else np.ascontiguousarray(held)
    path = folder / "rec.npy"
    np.save(path, held)
    options: dict[str, object] = {"sampling_rate": float(rate), "leads": leads}
    if told:
        options["units"] = draw.one_of(("5 uV", "200/mV", "0.005")) if "i" in kind else "mV"
    expected = dict(zip(leads, counts * step, strict=True))
    return Valid(path, float(rate), expected, dict.fromkeys(leads, step), options, part=told)


def matlab(draw: Draw, folder: Path) -> Valid:
    """CPSC2018's struct, compressed or not."""
    from scipy.io import savemat

    ecg = draw.ecg(500.0, draw.integer(500, 5000))
    signal = np.stack([ecg[lead] for lead in LEADS])
    content = {"sex": draw.one_of(("Male", "Female")), "age": draw.integer(1, 99), "data": signal}
    path = folder / "rec.mat"
    savemat(path, {"ECG": content}, do_compression=draw.chance())
    return Valid(path, 500.0, dict(zip(LEADS, signal, strict=True)), dict.fromkeys(LEADS, 1e-6))


def code_hdf5(draw: Draw, folder: Path) -> Valid:
    """CODE's layout: several recordings, zero padding, chunks, 1e-4 V with or without being told, mV."""
    import h5py

    rate, count = 400.0, draw.integer(1, 4)
    samples = draw.integer(1200, 3000)
    recordings = [draw.ecg(rate, samples) for _ in range(count)]
    unit, size = draw.one_of((("1e-4 V", 0.1), ("mV", 1.0)))
    before, after = draw.integer(0, 500), draw.integer(0, 500)
    held = np.zeros((count, before + samples + after, 12), np.float32)
    for row, ecg in enumerate(recordings):
        held[row, before : before + samples] = np.stack([ecg[lead] for lead in LEADS], axis=1) / size
    path = folder / "rec.hdf5"
    with h5py.File(path, "w") as file:
        packing = {"chunks": (1, 250, 12), "compression": "gzip"} if draw.chance() else {}
        file.create_dataset("tracings", data=held, **packing)
        file["exam_id"] = np.arange(1000, 1000 + count)
    chosen = draw.integer(0, count - 1)
    options: dict[str, object] = {"record": str(1000 + chosen), "units": unit}
    return Valid(path, rate, recordings[chosen], dict.fromkeys(LEADS, 1e-5), options)
