"""Valid recordings of watches and hand-held devices: Apple Watch's CSV in several languages, Kardia's JSON and ATC."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from valid_recordings import Draw, Valid, quantised

#: Words of the header by language: name, birth date, date, class, symptoms, software, device, rate, lead, unit.
_LANGUAGES = (
    "Name,Date of Birth,Recorded Date,Classification,Symptoms,Software Version,Device,Sample Rate,Lead,Unit",
    "Name,Geburtsdatum,Aufzeichnungsdatum,Klassifizierung,Symptome,Softwareversion,Gerät,Messrate,Ableitung,Einheit",
    "Nom,Date de naissance,Date,Classification,Symptômes,Version,Appareil,Fréquence,Dérivation,Unité",
    "名前,生年月日,記録日,分類,症状,バージョン,デバイス,サンプルレート,誘導,単位",
)
_HERTZ = ("hertz", "Hertz", "Hz", "ヘルツ")


def watch(draw: Draw, folder: Path) -> Valid:
    """Apple Watch: lead I in µV, decimal point or comma, any line end, quotes where a cell has a comma."""
    name, born, date, kind, symptoms, software, device, pace, lead, unit = draw.one_of(_LANGUAGES).split(",")
    rate, samples = draw.one_of((512.0, 511.8, 256.0)), draw.integer(800, 4000)
    values = quantised(draw.ecg(rate, samples, least=1.2)["I"], 0.001, -5000, 5000)  # µV
    decimal = draw.one_of((".", ","))
    written = f"{rate:g}".replace(".", decimal)
    rate_cell = f"{written} {draw.one_of(_HERTZ)}"
    rate_cell = f'"{rate_cell}"' if "," in rate_cell else rate_cell
    head = [f"{name},Test Person", f'{born},"8 Jan, 2002"', f"{date},2026-05-30 16:32:18 -0700", f"{kind},Sinus"]
    head += [f"{symptoms},", f"{software},1.90", f'{device},"Watch7,12"', f"{pace},{rate_cell}", "", ""]
    head += [f"{lead},{lead} I", f"{unit},{draw.one_of(('µV', 'μV', 'uV'))}", ""]
    digits = draw.one_of((0, 3))
    numbers = [f"{value:.{digits}f}".replace(".", decimal) for value in values]
    end = draw.one_of(("\n", "\r\n"))
    path = folder / "ecg.csv"
    path.write_bytes((end.join([*head, *numbers]) + end).encode(draw.one_of(("utf-8", "utf-8-sig"))))
    return Valid(path, rate, {"I": values * 0.001}, {"I": 0.001})


def kardia_json(draw: Draw, folder: Path) -> Valid:
    """Kardia's JSON: one lead or six, in steps of so many nV."""
    rate, step = draw.one_of((300.0, 500.0)), draw.one_of((500, 1000))
    leads = draw.one_of((("I",), ("I", "II", "III", "aVR", "aVL", "aVF")))
    ecg = draw.ecg(rate, draw.integer(600, 3000))
    counts = {lead: quantised(ecg[lead], step / 1e6, -32000, 32000) for lead in leads}
    samples = {lead.upper() if lead[0] == "a" else f"lead{lead}": row.tolist() for lead, row in counts.items()}
    raw = {"frequency": int(rate), "mainsFrequency": 50, "amplitudeResolution": step, "samples": samples}
    facts = {"id": "1", "recordedAt": "2024-01-01T12:00:00Z", "algorithmDetermination": "normal", "data": {"raw": raw}}
    path = folder / "kardia.json"
    path.write_text(json.dumps(facts, indent=draw.one_of((None, 2))))
    expected = {lead: row * step / 1e6 for lead, row in counts.items()}
    return Valid(path, rate, expected, dict.fromkeys(leads, step / 1e6))


def kardia_atc(draw: Draw, folder: Path) -> Valid:
    """Kardia's ATC: blocks of a name, a length, content and a checksum."""
    rate, step = draw.one_of((300, 600)), draw.one_of((500, 1000))
    leads = ("I", "II", "III", "aVR", "aVL", "aVF")[: draw.one_of((1, 6))]
    ecg = draw.ecg(rate, draw.integer(600, 3000))
    counts = {lead: quantised(ecg[lead], step / 1e6, -32000, 32000) for lead in leads}

    def block(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + struct.pack("<I", sum(content))

    parts = [block(b"info", bytes(268)), block(b"fmt ", struct.pack("<BHHBH", 1, rate, step, 0, 0))]
    for number, row in enumerate(counts.values(), 1):
        parts.append(block(b"ecg " if number == 1 else f"ecg{number}".encode(), row.astype("<i2").tobytes()))
    path = folder / "rec.atc"
    path.write_bytes(b"ALIVE\0\0\0" + struct.pack("<I", 2) + b"".join(parts))
    expected = {lead: row * step / 1e6 for lead, row in counts.items()}
    return Valid(path, float(rate), expected, dict.fromkeys(leads, step / 1e6))


def several_arrays(draw: Draw, folder: Path) -> Valid:
    """A NumPy array of several recordings, of which one is read."""
    rate, leads = draw.one_of((100, 500)), draw.leads()
    count, samples = draw.integer(2, 4), draw.integer(400, 1500)
    held = np.stack([np.stack([draw.ecg(rate, samples)[lead] for lead in leads]) for _ in range(count)])
    kind = draw.one_of(("<f4", "<f8"))
    path = folder / "all.npy"
    np.save(path, (held.swapaxes(1, 2) if draw.chance() else held).astype(kind))
    chosen = draw.integer(0, count - 1)
    options: dict[str, object] = {"sampling_rate": float(rate), "leads": leads, "units": "mV", "record": str(chosen)}
    return Valid(path, float(rate), dict(zip(leads, held[chosen], strict=True)), dict.fromkeys(leads, 1e-4), options)
