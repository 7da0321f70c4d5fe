"""The type `ECG`: a signal in mV (leads × samples), its sampling rate in Hz, and the names of its leads.

Independent of files and models: `dbeta.io` reads ECGs, `dbeta.signal` turns them into model input.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from dbeta.errors import DBetaError, NoSignalError

#: The standard 12-lead order: limb leads, augmented limb leads, precordial leads (AHA/ACC/HRS 2007, part I).
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

#: The leads an electrocardiograph measures; III, aVR, aVL and aVF follow from I and II.
INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

#: A lead whose samples vary by less than this, in mV, carries no signal.
FLAT = 1e-3

# D1–D3 are the limb leads in Latin countries, C1–C6 the precordial leads of IEC 60601-2-25.
_BY_FOLDED_NAME = {lead.casefold(): lead for lead in LEADS}
_BY_FOLDED_NAME |= {"d1": "I", "d2": "II", "d3": "III", "di": "I", "dii": "II", "diii": "III"}
_BY_FOLDED_NAME |= {f"c{number}": f"V{number}" for number in range(1, 7)}

_BY_FOLDED_NAME |= {"l1": "I", "l2": "II", "l3": "III", "vr": "aVR", "vl": "aVL", "vf": "aVF"}

# Without a word before it, a number may be that of a column
_NUMBERED = re.compile(r"(?:^|.*[\s_:.])(?:lead|ableitung|derivaci[oó]n)[\s_:.]*([123])")

# Before and after a lead's name, as devices write it. A hyphen counts as a separator only right after a prefix: "-aVR"
# and "ECG -aVR" are the inverted lead, not aVR. WCT is Wilson's central terminal, against which V1–V6 are measured.
_NAMED_AFTER = "wct|ref|einthoven|goldberger|wilson"
_DECORATED_NAME = re.compile(
    r"(?:(?:mdc|ecg|ekg|lead|ableitung|derivaci[oó]n)(?:-|[\s_:.]*)|abl[\s_:.]+)*([a-z0-9][a-z0-9\s_]*?)"
    rf"(?:[\s_-]*(?:(?:{_NAMED_AFTER})|\((?:{_NAMED_AFTER})\)|,\s*(?:augmented|{_NAMED_AFTER}).*))?"
    r"(?:\s*[\[(][mnuµμ]?v[\])])?"
)


def standard_lead_name(name: str) -> str:
    """The standard spelling of a lead name.

    Accepts, in upper or lower case, `aVR`, `Lead aVR`, `ECG V1`, `MDC_ECG_LEAD_II`, `DII`, `C1`, `VR`, `L1`,
    `Lead 1`, `V1-wct`, `I-Ref`, `V1 [mV]` and `Lead I (Einthoven)`, also in quotes, and with a trailing plus or dot.

    Raises:
        DBetaError: the name is not one of the twelve standard leads.
    """
    standard = _standard_spelling(str(name))
    if standard is None:
        raise DBetaError(f"lead {name!r} is not one of the twelve standard leads {', '.join(LEADS)}")
    return standard


@functools.lru_cache(maxsize=1024)
def _standard_spelling(name: str) -> str | None:
    # Shortened, as a hostile file's name could make the search slow
    folded = unicodedata.normalize("NFKC", name[:100]).strip("\"'\t ").casefold().removesuffix(".").removesuffix("+")
    if numbered := _NUMBERED.fullmatch(folded):
        folded = f"l{numbered[1]}"
    match = _DECORATED_NAME.fullmatch(folded)
    return _BY_FOLDED_NAME.get(re.sub(r"[\s_]", "", match[1])) if match else None


#: Factors of I and II for each limb lead, by Einthoven's and Goldberger's equations.
LIMB_LEADS = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}


def augmented_leads(one: np.ndarray, two: np.ndarray) -> dict[str, np.ndarray]:
    """Goldberger's leads from I and II: aVR = −(I + II)/2, aVL = I − II/2, aVF = II − I/2."""
    return {"aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}


@dataclass(eq=False)
class ECG:
    """An ECG recording.

    Args:
        signal: (leads, samples), mV; stored as float32. NaN marks samples that are missing.
        sampling_rate: Hz.
        leads: a name for each row of `signal`, in any usual spelling; stored in the standard one.
        report: the text that accompanies the recording.
        patient_id: pseudonym of the patient, if known.
        meta: anything else (age, sex, device, source file).

    Raises:
        DBetaError: the array is empty or not two-dimensional, a lead is unknown or named twice, the names do not match
            the rows, or the sampling rate is not a positive number.
    """

    signal: np.ndarray
    sampling_rate: float
    leads: Sequence[str] = LEADS
    report: str = ""
    patient_id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the shape, the leads and the sampling rate."""
        self.signal = np.asarray(self.signal, dtype=np.float32)
        if self.signal.ndim != 2 or self.signal.size == 0:
            raise DBetaError(f"an ECG needs samples as (leads, samples), not an array of shape {self.signal.shape}")
        self.leads = tuple(standard_lead_name(lead) for lead in self.leads)
        if len(self.leads) != len(self.signal):
            raise DBetaError(f"{len(self.signal)} rows of samples but {len(self.leads)} lead names")
        if len(set(self.leads)) < len(self.leads):
            raise DBetaError(f"a lead is named twice in {', '.join(self.leads)}")
        if not (isinstance(self.sampling_rate, Real) and math.isfinite(self.sampling_rate) and self.sampling_rate > 0):
            raise DBetaError(f"the sampling rate must be a positive number of Hz, not {self.sampling_rate!r}")
        self.sampling_rate = float(self.sampling_rate)

    def __getitem__(self, lead: str) -> np.ndarray:
        """The samples of one lead by name, (samples,), mV."""
        name = standard_lead_name(lead)
        if name not in self.leads:
            raise DBetaError(f"lead {name} is not in this recording, which has {', '.join(self.leads)}")
        return self.signal[self.leads.index(name)]

    def __repr__(self) -> str:
        """A one-line summary."""
        return f"ECG({len(self.leads)} leads, {self.duration:.1f} s at {self.sampling_rate:g} Hz)"

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.signal.shape[1] / self.sampling_rate

    def standard(self) -> ECG:
        """The recording with all twelve leads in the standard order; itself if it has them already.

        Any two of the six limb leads give the other four (Einthoven: III = II − I; Goldberger: `augmented_leads`). A
        lead that cannot be computed is NaN throughout and named in `meta["missing_leads"]`; the model gets zeros in
        its place, as for leads masked in pretraining. A lead without any valid sample counts
        as missing.

        Raises:
            NoSignalError: no lead holds a valid sample.
        """
        valid = np.isfinite(self.signal).any(axis=1)
        if self.leads == LEADS and valid.all():
            return self
        rows = {lead: row for lead, row, good in zip(self.leads, self.signal, valid, strict=True) if good}
        if not rows:
            raise NoSignalError("holds no signal, every sample is missing")
        rows = _limb_leads(rows) | rows
        missing = [lead for lead in LEADS if lead not in rows]
        if self.leads == LEADS and self.meta.get("missing_leads") == missing:
            return self
        nothing = np.full(self.signal.shape[1], np.nan, np.float32)
        meta = {name: value for name, value in self.meta.items() if name != "missing_leads"}
        if missing:
            meta["missing_leads"] = missing
        signal = np.stack([rows.get(lead, nothing) for lead in LEADS])
        return ECG(signal, self.sampling_rate, LEADS, self.report, self.patient_id, meta)


def _limb_leads(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All six limb leads if at least two of them are among the rows, else none."""
    known = [lead for lead in LIMB_LEADS if lead in rows][:2]
    if len(known) < 2:
        return {}
    inverse = np.linalg.inv(np.array([LIMB_LEADS[lead] for lead in known])).astype(np.float32)  # (I and II, known)
    with np.errstate(invalid="ignore"):  # ∞ − ∞, in files that mark missing samples as infinite
        one, two = (
            rows[lead] if lead in rows else weights[0] * rows[known[0]] + weights[1] * rows[known[1]]
            for lead, weights in zip(("I", "II"), inverse, strict=True)
        )
        return {"I": one, "II": two, "III": two - one} | augmented_leads(one, two)
