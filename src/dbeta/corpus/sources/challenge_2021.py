"""PhysioNet/CinC Challenge 2021 (Reyna et al. 2021): SNOMED codes of seven sub-datasets; no reports, no patient ids.

The sub-datasets were annotated with different sets of codes, so a finding that a sub-dataset never states is unknown
for its records, not absent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from dbeta.conditions.registry import find_condition
from dbeta.corpus.sources.base import Source, all_findings, ecgbench_labels, finding_name, hashed_splits

#: Abbreviations of the challenge whose names are not in `conditions.yaml` → findings. Pairs that the challenge scores
#: as one (CLBBB and LBBB, CRBBB and RBBB, PAC and SVPB, PVC and VPB) share a name.
MEANINGS: dict[str, tuple[str, ...]] = {
    "LQRSV": ("low QRS voltage",),
    "NSIVCB": ("non-specific intraventricular conduction delay",),
    "PAC": ("premature atrial complex",),
    "SVPB": ("premature atrial complex",),
    "BPAC": ("premature atrial complex",),
    "PVC": ("premature ventricular complex",),
    "VPB": ("premature ventricular complex",),
    "VEB": ("premature ventricular complex",),
    "VPVC": ("premature ventricular complex",),
    "PR": ("paced rhythm",),
    "AP": ("paced rhythm",),
    "VPP": ("paced rhythm",),
    "QAb": ("Q waves",),
    "TAb": ("T-wave abnormality",),
    "NSSTTA": ("non-specific ST-T changes",),
    "AVJR": ("junctional rhythm",),
    "IIAVBII": ("second-degree AV block",),
    "MoI": ("second-degree AV block",),
    "WPW": ("Wolff-Parkinson-White",),
    "SVB": ("bigeminy",),
    "PAF": ("atrial fibrillation",),
    "CAF": ("atrial fibrillation",),
    "RAF": ("atrial fibrillation",),
    "AFAFL": ("atrial fibrillation", "atrial flutter"),
    "PVT": ("ventricular tachycardia",),
    "AVNRT": ("paroxysmal supraventricular tachycardia",),
    "AVRT": ("paroxysmal supraventricular tachycardia",),
}

#: Finding → more specific findings. An annotator who states one need not state the other.
KINDS = {
    "bundle branch block": ("left bundle branch block", "right bundle branch block"),
    "bradycardia": ("sinus bradycardia",),
    "myocardial infarction": (
        "anterior myocardial infarction",
        "acute st-elevation myocardial infarction",
    ),
}

#: Sub-datasets with several records of some patients but no patient ids (PTB: 290 patients; INCART: 32).
UNDIVIDED = ("ptb", "st_petersburg_incart")


def read_challenge_2021(raw: Path) -> Source:
    """Read the challenge's public training set, all sub-datasets that are present.

    Findings are the scored classes and the others that are in `conditions.yaml`; `statements` has all codes.

    Args:
        raw: the folder that holds `training/`.

    Raises:
        DBetaError: the folder is not the challenge's training set.
    """
    records = ecgbench_labels("challenge2021", raw)
    codes = [[code for code in dx.split(",") if code] for dx in records["dx"]]
    meaning = _meanings()
    findings = [sorted({name for code in row for name in meaning(code)}) for row in codes]
    vocabulary = all_findings(findings)
    stated = pd.Series(findings, index=records["source"].to_numpy()).groupby(level=0).agg(all_findings)
    foreign = {name: [one for one in vocabulary if one not in own] for name, own in stated.items()}
    unknown = [
        sorted({*(foreign[subset] if row else vocabulary), *_undecided(own, vocabulary)} - set(own))
        for row, own, subset in zip(codes, findings, records["source"], strict=True)
    ]
    patients = pd.Series(records.index.astype(str))
    splits, rule = hashed_splits(patients)
    undivided = records["source"].str.lower().isin(UNDIVIDED).to_numpy()
    table = pd.DataFrame(
        {
            "record_id": records.index.astype(str),
            "file": records["signal_path"].str.removesuffix(".mat").to_numpy() + ".hea",
            "findings": findings,
            "unknown": unknown,
            "statements": codes,
            "patient_id": patients,
            "split": ["train" if whole else split for whole, split in zip(undivided, splits, strict=True)],
            "age": pd.to_numeric(records["age"], errors="coerce").to_numpy(),
            "sex": records["sex"].str.lower().str[:1].map({"m": "male", "f": "female"}).fillna("unknown").to_numpy(),
        }
    )
    notes = [
        "There are no reports: texts are written from the findings.",
        "The challenge has no patient ids: each record counts as its own patient. The sub-datasets known to have "
        f"several records per patient ({', '.join(UNDIVIDED)}) are in train as a whole.",
        "A finding that a sub-dataset never states is unknown for its records.",
        "The challenge includes PTB-XL, CPSC2018 and Chapman-Shaoxing-Ningbo: a model trained on this corpus has seen "
        "the test records of benchmarks made from them.",
    ]
    return Source(table, vocabulary, raw, rule, notes)


def _meanings() -> Callable[[str], tuple[str, ...]]:
    """Make a function from a SNOMED code to its findings; none for codes that are neither scored nor known."""
    from ecgbench.labels.challenge2021 import load_dx_mapping

    found: dict[str, tuple[str, ...]] = {}
    for code, row in load_dx_mapping().iterrows():
        if row["abbreviation"] in MEANINGS:
            found[str(code)] = tuple(finding_name(one) for one in MEANINGS[row["abbreviation"]])
        elif row["scored"] or find_condition(row["dx_name"]):
            found[str(code)] = (finding_name(row["dx_name"]),)
    return lambda code: found.get(code, ())


def _undecided(findings: list[str], vocabulary: list[str]) -> set[str]:
    """Find findings left open by `KINDS`: the general one where a kind is stated, the kinds where only it is stated."""
    undecided: set[str] = set()
    for whole, kinds in KINDS.items():
        if any(kind in findings for kind in kinds):
            undecided.add(whole)
        elif whole in findings:
            undecided.update(kinds)
    return undecided & set(vocabulary)
