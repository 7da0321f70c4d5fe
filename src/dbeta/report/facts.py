"""Collects the facts about a recording that `dbeta info` shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from dbeta.ecg import ECG
from dbeta.signal.quality import Quality

_IDENTIFIERS = ("patient_name", "birth_date")
#: What the reader changed or could not tell; its warnings say it in words.
_READING = ("voltages", "raw_gain")
_LEAD_LISTS = ("other_channels", "missing_leads", "fixed_leads")


def facts_of(ecg: ECG, quality: Quality) -> dict[str, Any]:
    """Describe a recording as JSON-compatible values.

    Args:
        ecg: the first minute of a recording.
        quality: quality of its signal.

    Returns:
        Durations in seconds, sampling rate in Hz, voltages in mV; `missing` is the fraction of missing samples.
    """
    duration = float(ecg.meta.get("duration", ecg.duration))
    finite = np.isfinite(ecg.signal)
    return {
        "record": ecg.meta.get("record", ecg.meta.get("source")),
        "sampling_rate": ecg.sampling_rate,
        "duration": round(duration, 3),
        "samples": round(duration * ecg.sampling_rate),
        "looked_at": round(ecg.duration, 3),
        "missing": round(float((~finite).mean()), 4),
        "patient_id": ecg.patient_id,
        **{key: ecg.meta[key] for key in _IDENTIFIERS if key in ecg.meta},
        "age": ecg.meta.get("age"),
        "sex": ecg.meta.get("sex"),
        "report": ecg.report or None,
        "peak_to_peak_mv": {
            lead: round(float(np.ptp(row[good])), 3) if good.any() else None
            for lead, row, good in zip(ecg.leads, ecg.signal, finite, strict=True)
        },
        **{key: ecg.meta[key] for key in (*_LEAD_LISTS, *_READING) if key in ecg.meta},
        "quality": quality.verdict,
        "quality_reason": quality.reason or None,
        "acceptable": quality.acceptable,
        "acceptability": round(quality.score, 4),
        "objections": quality.objections,
        "leads": quality.rows(),
        "lead_errors": ecg.meta.get("lead_errors", []),
    }
