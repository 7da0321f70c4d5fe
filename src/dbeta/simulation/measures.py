"""Rate, intervals, axis and amplitudes, measured on the noise-free signal.

Findings are decided by criteria in millivolts and milliseconds on these measurements, not by the drawn parameters.

Sources: definitions of the CSE Working Party (1985) for onsets and ends; J + 60 ms for the ST segment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dbeta.simulation.heart import atrial
from dbeta.simulation.patients import Patients
from dbeta.simulation.render import ECTOPIC_QRS, P_BEGIN, P_END, Clean, sampled
from dbeta.simulation.rhythm import (
    COMPLETE,
    DUAL_PACED,
    ECTOPIC,
    ECTOPIC_FOCUS,
    PACED,
    SINUS,
    TWO_TO_ONE,
    VENTRICULAR,
    Beats,
    Events,
)
from dbeta.simulation.torso import MEASURED
from dbeta.simulation.waves import BEGIN

#: Fraction of the steepest slope above which a sample belongs to the QRS complex.
SLOPE = 0.05
#: Seconds from where the steepest tangent meets the baseline to the end of a T wave of usual width.
TANGENT = 0.013


@dataclass
class Measures:
    """Measurements of B records; leads in the standard order.

    Attributes:
        rate: (B,) ventricular rate per minute.
        irregularity: (B,) standard deviation of the RR interval relative to its mean.
        longest: (B,) longest RR interval, seconds.
        early_atrial: (B,) number of premature atrial beats in the recording.
        early_ventricular: (B,) number of premature ventricular beats in the recording.
        pr: (B,) PR interval, seconds; NaN without conducted P waves.
        qrs: (B,) QRS duration, seconds.
        qt: (B,) QT interval, seconds.
        qtc: (B,) QT interval corrected by Fridericia's formula, seconds.
        axis: (B,) frontal axis, degrees from −180 to 180.
        q: (B, 12) mV, depth of a Q wave before the R wave, or of a QS complex.
        q_time: (B, 12) duration of that Q wave, seconds.
        r: (B, 12) mV, maximum voltage of the complex.
        s: (B, 12) mV, magnitude of the minimum voltage after the R wave.
        r_prime: (B, 12) mV, maximum voltage of the complex after the S wave.
        t: (B, 12) mV, peak voltage of the T wave, positive or negative.
        st: (B, 12) mV at J + 60 ms.
        size: (B, 12) mV, peak-to-peak voltage of the complex.
        p_height: (B,) mV, height of the P wave in II.
        p_terminal: (B,) mV·s, depth times duration of the P wave's negative part in V1 (Morris et al. 1964).
    """

    rate: Tensor
    irregularity: Tensor
    longest: Tensor
    early_atrial: Tensor
    early_ventricular: Tensor
    pr: Tensor
    qrs: Tensor
    qt: Tensor
    qtc: Tensor
    axis: Tensor
    q: Tensor
    q_time: Tensor
    r: Tensor
    s: Tensor
    r_prime: Tensor
    t: Tensor
    st: Tensor
    size: Tensor
    p_height: Tensor
    p_terminal: Tensor


def measure(patients: Patients, beats: Beats, clean: Clean, seconds: float, rate: float) -> Measures:
    """Measure noise-free records.

    Args:
        patients: B patients.
        beats: their beats.
        clean: their noise-free signals.
        seconds: length of each recording.
        rate: sampling rate, Hz.
    """
    whole = clean.complexes  # (B, 12, W)
    device = whole.device
    kind = patients.rhythm.kind
    slow = torch.stack([kind == one for one in (PACED, DUAL_PACED, COMPLETE)]).any(dim=0)
    duration = clean.duration.where(~slow, clean.duration.clamp(min=ECTOPIC_QRS))
    # Only the T wave needs the rest of the beat
    latest = duration + 0.03
    width = min(whole.shape[2], math.ceil((float(latest.max()) - BEGIN) * rate) + 2)
    x = whole[..., :width]
    time = torch.arange(width, device=device) / rate + BEGIN
    steep = x.diff(dim=2, prepend=x[..., :1]).abs().amax(dim=1) * rate  # (B, W)
    steep = steep.where(time <= latest[:, None], 0.0)
    large = steep > SLOPE * steep.amax(dim=1, keepdim=True)
    first = large.float().argmax(dim=1)  # (B,)
    last = width - 1 - large.flip(1).float().argmax(dim=1)
    at = torch.arange(width, device=device)
    inside = ((at >= first[:, None]) & (at <= last[:, None]))[:, None]  # (B, 1, W)
    high, peak = x.masked_fill(~inside, -9.0).max(dim=2)
    before = inside & (at < peak[..., None])
    after = inside & (at > peak[..., None])
    r = high.clamp(min=0)
    no_r = r < 0.05
    lowest = -x.masked_fill(~inside, 9.0).amin(dim=2)
    q = torch.where(no_r, lowest, -x.masked_fill(~before, 9.0).amin(dim=2)).clamp(min=0)
    s = torch.where(no_r, lowest, -x.masked_fill(~after, 9.0).amin(dim=2)).clamp(min=0)
    trough = x.masked_fill(~after, 9.0).argmin(dim=2)
    r_prime = x.masked_fill(~(after & (at > trough[..., None])), 0.0).amax(dim=2)
    negative = x < -0.02
    q_time = (torch.where(no_r[..., None], inside, before) & negative).sum(dim=2) / rate
    net = (x * inside).sum(dim=2) / rate
    axis = torch.rad2deg(torch.atan2(net[:, 5] * 2 / 3**0.5, net[:, 0]))
    point = (last + round(0.06 * rate)).clamp(max=whole.shape[2] - 1)
    t = whole.where((torch.arange(whole.shape[2], device=device) > point[:, None])[:, None], 0.0)
    t = t.gather(2, t.abs().argmax(dim=2, keepdim=True))[..., 0]
    st = whole.gather(2, point[:, None, None].expand(-1, 12, 1))[..., 0]
    onset = time[first]
    heart_rate, irregularity, longest = _rates(beats, seconds)
    broad = (patients.heart.qt - patients.heart.st_longer) / 0.39  # width of the T wave, as in `repolarization`
    qt = patients.heart.qt + duration - 0.09 - TANGENT * broad - onset
    has_pr = torch.stack([kind == one for one in (SINUS, ECTOPIC, TWO_TO_ONE, DUAL_PACED)]).any(dim=0)
    return Measures(
        rate=heart_rate,
        irregularity=irregularity,
        longest=longest,
        early_atrial=_count(beats.atria, ECTOPIC_FOCUS, seconds) * (kind != ECTOPIC),
        early_ventricular=_count(beats.ventricles, VENTRICULAR, seconds),
        pr=(patients.rhythm.pr + onset).where(has_pr, torch.nan),
        qrs=(last - first) / rate,
        qt=qt,
        qtc=qt / (60 / heart_rate) ** (1 / 3),
        axis=axis,
        q=q,
        q_time=q_time,
        r=r,
        s=s,
        r_prime=r_prime,
        t=t,
        st=st,
        size=(high + lowest).clamp(min=0),
        **_p_waves(patients, rate),
    )


def _p_waves(patients: Patients, rate: float) -> dict[str, Tensor]:
    """Measure the P waves of conducted beats, whether or not a record has any."""
    waves = sampled(atrial(patients.heart), P_BEGIN, P_END, rate) @ patients.matrices.transpose(1, 2)  # (B, W, 8)
    below = -waves[..., MEASURED.index("V1")]
    return {
        "p_height": waves[..., MEASURED.index("II")].amax(dim=1),
        "p_terminal": below.amax(dim=1).clamp(min=0) * (below > 0.015).sum(dim=1) / rate,
    }


def _count(events: Events, origin: int, seconds: float) -> Tensor:
    """Count the beats of an origin that lie entirely within a recording: (B,)."""
    return (events.valid & (events.origin == origin) & (events.time > 0) & (events.time < seconds - 0.3)).sum(dim=1)


def _rates(beats: Beats, seconds: float) -> tuple[Tensor, Tensor, Tensor]:
    """Beats per minute, their irregularity and the longest interval, from the beats within the recording."""
    here = beats.ventricles
    valid = here.valid & (here.time >= 0) & (here.time <= seconds)
    time = here.time.where(valid, torch.nan)
    interval = time.diff(dim=1)
    mean = interval.nanmean(dim=1)
    spread = (interval - mean[:, None]).square().nanmean(dim=1).sqrt()
    return 60 / mean, spread / mean, interval.nan_to_num(0.0).amax(dim=1)
