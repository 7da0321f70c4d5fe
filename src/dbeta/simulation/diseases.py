"""Frequencies: mixes of patients, the diseases on each axis by weight, and the territories of infarcts."""

from __future__ import annotations

#: Mixes: how often each axis is diseased.
MIXES: dict[str, dict[str, float]] = {
    "balanced": {
        "healthy": 0.20,
        "rhythm": 0.34,
        "av": 0.10,
        "conduction": 0.30,
        "chambers": 0.26,
        "coronary": 0.36,
        "repolarization": 0.28,
    },
    "clinic": {
        "healthy": 0.35,
        "rhythm": 0.22,
        "av": 0.06,
        "conduction": 0.16,
        "chambers": 0.14,
        "coronary": 0.20,
        "repolarization": 0.18,
    },
    "healthy": {
        "healthy": 1.0,
        "rhythm": 0.0,
        "av": 0.0,
        "conduction": 0.0,
        "chambers": 0.0,
        "coronary": 0.0,
        "repolarization": 0.0,
    },
}
#: Diseases on each axis, by weight.
RHYTHMS: dict[str, float] = {
    "bradycardia": 12,
    "tachycardia": 12,
    "arrhythmia": 14,
    "fibrillation": 14,
    "flutter": 7,
    "svt": 5,
    "ectopic atrial": 5,
    "junctional": 3,
    "paced": 6,
    "dual paced": 4,
    "pac": 10,
    "pvc": 12,
    "bigeminy": 4,
    "trigeminy": 3,
    "pause": 2,
    "atrial bigeminy": 2,
}
AV_BLOCKS: dict[str, float] = {"first": 70, "wenckebach": 10, "two to one": 8, "complete": 12}
CONDUCTION: dict[str, float] = {
    "rbbb": 17,
    "irbbb": 16,
    "lbbb": 15,
    "ilbbb": 7,
    "lafb": 18,
    "lpfb": 7,
    "rbbb lafb": 7,
    "ivcd": 14,
    "wpw": 7,
    "rbbb lpfb": 2,
}
CHAMBERS: dict[str, float] = {"lvh": 30, "lvh strain": 38, "rvh": 14, "lae": 16, "rae": 8, "septal": 3, "voltage": 14}
CORONARY: dict[str, float] = {"infarction": 58, "ischemia": 24, "injury": 13, "aneurysm": 5}
REPOLARIZATION: dict[str, float] = {
    "st": 16,
    "t": 14,
    "non-diagnostic t": 14,
    "low t": 10,
    "digitalis": 9,
    "long qt": 10,
    "hyperkalemia": 5,
    "hypokalemia": 6,
    "early": 6,
    "pericarditis": 5,
    "brugada": 3,
    "drug": 5,
    "short qt": 4,
    "hypercalcemia": 3,
    "hypocalcemia": 4,
}
#: Infarcts → involvement of the territories (septal, anterior, lateral, inferior, posterior), and weight.
INFARCTS: dict[str, tuple[tuple[float, ...], float]] = {
    "anterior": ((0.75, 0.70, 0.05, 0.0, 0.0), 12),
    "anteroseptal": ((1.0, 0.75, 0.0, 0.0, 0.0), 26),
    "anterolateral": ((0.1, 0.85, 0.8, 0.0, 0.0), 12),
    "lateral": ((0.0, 0.1, 1.0, 0.0, 0.0), 9),
    "inferior": ((0.0, 0.0, 0.0, 1.0, 0.1), 26),
    "inferolateral": ((0.0, 0.0, 0.75, 0.9, 0.0), 10),
    "inferoposterior": ((0.0, 0.0, 0.0, 0.85, 0.8), 5),
    "inferoposterolateral": ((0.0, 0.0, 0.65, 0.8, 0.7), 4),
    "posterior": ((0.0, 0.0, 0.1, 0.1, 1.0), 4),
}
#: Ischemia that is not confined to one territory.
DIFFUSE = "diffuse"
#: Ischemia and subendocardial injury → involvement of the territories, and weight.
ISCHEMIAS: dict[str, tuple[tuple[float, ...], float]] = {
    "anterior": ((0.5, 1.0, 0.2, 0.0, 0.0), 14),
    "anteroseptal": ((1.0, 0.7, 0.0, 0.0, 0.0), 14),
    "anterolateral": ((0.0, 0.45, 0.95, 0.0, 0.0), 28),
    "lateral": ((0.0, 0.1, 1.0, 0.0, 0.0), 14),
    "inferior": ((0.0, 0.0, 0.0, 1.0, 0.0), 14),
    "inferolateral": ((0.0, 0.0, 0.8, 0.9, 0.0), 16),
    DIFFUSE: ((0.0, 0.3, 0.8, 0.35, 0.0), 20),
}
#: Ages of an infarct.
AGES = ("acute", "evolving", "old")
#: Locations of ischemia and injury that are findings of their own.
NAMED_ISCHEMIAS = tuple(place for place in ISCHEMIAS if place != DIFFUSE)
