"""Renders templates and beat times into the noise-free twelve leads.

Each sample looks up the beat it belongs to, and each kind of beat is computed once per record. Beats begin on a sample;
repolarisation stretches or shrinks with the preceding interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dbeta.simulation.batched import taken
from dbeta.simulation.heart import PARTS, Heart, atrial, corners, depolarization, repolarization, ventricular
from dbeta.simulation.rhythm import ESCAPE, FIBRILLATION, FLUTTER, PACER, VENTRICULAR, Beats, Events, Rhythm
from dbeta.simulation.torso import all_leads
from dbeta.simulation.waves import BEGIN, END, Bells, joined

#: Exponent by which the QT interval follows the preceding RR interval from beat to beat (Fridericia's third, damped).
QT_FOLLOWS = 0.25
#: Start and end of a P wave's template, seconds from its onset.
P_BEGIN, P_END = -0.02, 0.24
#: P waves that do not come from the sinus node travel the other way: factors of each component.
UPWARDS = (0.7, -0.9, 1.0, 1.0, 1.0)
#: Vector of a pacing spike in mV, and direction of a beat paced from the right ventricular apex.
SPIKE = (0.5, -1.2, 0.4, 0.0, 0.0)
APEX = (0.32, -0.80, 0.51)
#: QRS duration of beats of ventricular origin, seconds.
ECTOPIC_QRS = 0.15


@dataclass
class FastAtria:
    """Atrial flutter or fibrillation.

    Attributes:
        size: (B,) size of the waves, mV.
        direction: (B, PARTS) their direction.
        phases: (B, 4) random phases between 0 and 1.
    """

    size: Tensor
    direction: Tensor
    phases: Tensor


@dataclass
class Clean:
    """Noise-free recordings of B records.

    Attributes:
        measured: (B, 8, T) mV, the leads of `dbeta.simulation.torso.MEASURED`.
        complexes: (B, 12, W) mV, the dominant beat of each record, from `BEGIN` before its onset.
        duration: (B,) maximum duration of the conducted QRS complexes, seconds (`depolarization`).
    """

    measured: Tensor
    complexes: Tensor
    duration: Tensor

    @property
    def signals(self) -> Tensor:
        """(B, 12, T) mV in the standard lead order."""
        return all_leads(self.measured)


def render(
    heart: Heart,
    beats: Beats,
    matrices: Tensor,
    seconds: float,
    rate: float,
    focus: Tensor,
    rhythm: Rhythm | None = None,
    fast: FastAtria | None = None,
) -> Clean:
    """Render hearts' beats over time.

    Args:
        heart: B hearts.
        beats: their beats (`dbeta.simulation.rhythm.draw_beats`).
        matrices: (B, 8, PARTS) lead matrices of their torsos (`lead_matrices`).
        seconds: length of each recording.
        rate: sampling rate, Hz.
        focus: (B, 3) unit vectors away from the origin of ventricular beats; paced beats begin at the right
            ventricular apex.
        rhythm: where and how fast the atria flutter or fibrillate.
        fast: size and direction of those waves.
    """
    samples = round(seconds * rate)
    dipole, usual, duration = _ventricles(heart, beats, samples, rate, focus)
    dipole += _atria(heart, beats.atria, samples, rate)
    if rhythm is not None and fast is not None:
        _add_fast_atria(dipole, rhythm, fast, rate)
    out = matrices @ dipole.transpose(1, 2)  # (B, 8, T)
    _add_spikes(out, beats.spikes, matrices, rate)
    return Clean(out, all_leads(matrices @ usual.transpose(1, 2)), duration)


def sampled(bells: Bells, begin: float, end: float, rate: float) -> Tensor:
    """Sample bells from `begin` to `end` at `rate`, fading to zero at both ends: (B, W, PARTS)."""
    times = torch.arange(round(begin * rate), round(end * rate) + 1, device=bells.center.device) / rate
    edge = ((times - begin) / 0.02).clamp(0, 1) * ((end - times) / 0.04).clamp(0, 1)
    return (bells.sampled(times) * edge).transpose(1, 2).contiguous()


def _ventricles(heart: Heart, beats: Beats, samples: int, rate: float, focus: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """QRS complexes and T waves (B, T, PARTS), each record's dominant beat (B, W, PARTS), and QRS duration (B,)."""
    count, device = len(focus), focus.device
    qrs, duration = depolarization(heart)
    sharp = sampled(corners(heart, duration), BEGIN, END, rate)
    bank = [sampled(joined(qrs, repolarization(heart, qrs, duration)), BEGIN, END, rate).add_(sharp)]
    # Which template each origin of a record's beats uses; conducted beats use the record's own
    rows = torch.arange(count, device=device)[:, None].repeat(1, 4)
    filled = count
    here = beats.ventricles
    for origins, direction in (
        ((VENTRICULAR, ESCAPE), focus),
        ((PACER,), torch.tensor(APEX, device=device).expand(count, 3)),
    ):
        has = torch.stack([(here.valid & (here.origin == origin)).any(dim=1) for origin in origins]).any(dim=0)
        which = has.nonzero()[:, 0]
        if len(which):
            wide = torch.full((len(which),), ECTOPIC_QRS, device=device)
            bank.append(sampled(ventricular(taken(heart, which), direction[which], wide), BEGIN, END, rate))
            for origin in origins:
                rows[which, origin] = torch.arange(filled, filled + len(which), device=device)
            filled += len(which)
    usual = beats.interval.where(here.valid, torch.nan).nanmean(dim=1)
    stretch = repolarization_stretch(beats, usual)
    turning = duration.clamp(min=0.15) - BEGIN
    shapes = torch.cat(bank)
    out, current = _looked_up(here, shapes, rows, samples, rate, BEGIN, turning=turning, stretch=stretch)
    # The T wave of the preceding beat, which may still be running when beats are close together
    soonest = beats.interval.where(here.valid, torch.inf).amin(dim=1)
    quick = (soonest < 1.25 * heart.qt + 0.1).nonzero()[:, 0]
    if len(quick):
        before, _ = _looked_up(
            taken(here, quick),
            shapes,
            rows[quick],
            samples,
            rate,
            BEGIN,
            turning=turning[quick],
            stretch=stretch[quick],
            current=current[quick] - 1,
        )
        out[quick] += before
    # Paced and escape rhythms are assumed to last throughout
    beat = torch.zeros(count, dtype=torch.long, device=device)
    for origin in (PACER, ESCAPE):
        beat[(here.valid & (here.origin == origin)).any(dim=1)] = origin
    return out, shapes[rows.gather(1, beat[:, None])[:, 0]], duration


def _atria(heart: Heart, atria: Events, samples: int, rate: float) -> Tensor:
    """Compute P waves: (B, T, PARTS)."""
    wave = atrial(heart)
    backward = Bells(wave.center, wave.before, wave.after, wave.vector * wave.vector.new_tensor(UPWARDS))
    shapes = torch.cat([sampled(one, P_BEGIN, P_END, rate) for one in (wave, backward)])
    own = torch.arange(len(heart.qrs), device=shapes.device)
    rows = torch.stack([own, own + len(own), own + len(own)], dim=1)  # by SINUS_NODE, ECTOPIC_FOCUS, RETROGRADE
    return _looked_up(atria, shapes, rows, samples, rate, P_BEGIN)[0]


def _looked_up(
    events: Events,
    shapes: Tensor,
    rows: Tensor,
    samples: int,
    rate: float,
    begin: float,
    *,
    turning: Tensor | None = None,
    stretch: Tensor | None = None,
    current: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Look up, for each sample, the value of the most recent beat.

    Args:
        events: beats; the valid ones in order of time.
        shapes: (R, W, PARTS) templates that end at zero.
        rows: (B, origins) template of each origin.
        samples: length of a recording.
        rate: sampling rate, Hz.
        begin: start of the templates, seconds.
        turning: (B,) seconds after a template's start from which it is stretched.
        stretch: (B, E) factor of the stretching.
        current: (B, T) beat that each sample looks up; by default the most recent.

    Returns:
        (B, T, PARTS), and (B, T) the beat of each sample, −1 for none.
    """
    device, width = shapes.device, shapes.shape[1]
    starts = ((events.time + begin) * rate).round().where(events.valid, torch.inf)  # (B, E)
    starts, order = starts.sort(dim=1)
    at = torch.arange(samples, device=device, dtype=starts.dtype)
    if current is None:
        begun = torch.zeros(len(starts), samples + 1, dtype=torch.int32, device=device)
        begun.scatter_add_(1, starts.clamp(0, samples).long(), torch.ones_like(starts, dtype=torch.int32))
        current = begun[:, :-1].cumsum(dim=1) - 1
    beat = current.clamp(min=0)
    since = at - starts.gather(1, beat)
    if stretch is not None and turning is not None:
        beyond = since - (turning * rate)[:, None]
        slower = 1 / stretch.gather(1, order) - 1  # (B, E)
        since.addcmul_(beyond.clamp_(min=0), slower.gather(1, beat))
    since = since.masked_fill_(current < 0, width).clamp_(max=width - 1).round_().long()
    row = rows.gather(1, events.origin.gather(1, order)).gather(1, beat)
    return nn.functional.embedding(row * width + since, shapes.view(-1, PARTS)), current


def repolarization_stretch(beats: Beats, usual: Tensor) -> Tensor:
    """Factor by which each beat's ST segment and T wave are longer than usual: (B, E).

    Args:
        beats: the beats with their preceding intervals.
        usual: (B,) seconds, the mean interval that the templates were made for.
    """
    return (beats.interval / usual[:, None]).clamp(0.5, 1.8) ** QT_FOLLOWS


def _add_fast_atria(dipole: Tensor, rhythm: Rhythm, fast: FastAtria, rate: float) -> None:
    """Add flutter and fibrillatory waves, in place."""
    time = torch.arange(dipole.shape[1], device=dipole.device) / rate
    for kind in (FLUTTER, FIBRILLATION):
        which = (rhythm.kind == kind).nonzero()[:, 0]
        if not len(which):
            continue
        speed = rhythm.atrial_rate[which, None] / 60
        turns = 2 * torch.pi * fast.phases[which]
        if kind == FLUTTER:
            phase = 2 * torch.pi * speed * time + turns[:, :1]
            # A sawtooth, from its first harmonics
            wave = phase.sin() + 0.45 * (2 * phase + 0.4).sin() + 0.2 * (3 * phase + 0.8).sin()
        else:
            # Speed and size wander, as with several wave fronts
            wander = 2.2 * (2 * torch.pi * 0.31 * time + turns[:, 1:2]).sin()
            wander += 1.1 * (2 * torch.pi * 0.83 * time + turns[:, 2:3]).sin()
            phase = 2 * torch.pi * speed * time + turns[:, :1] + wander
            size = 1 + 0.5 * (2 * torch.pi * 0.23 * time + turns[:, 3:]).sin()
            wave = size * (phase.sin() + 0.35 * (2.13 * phase + turns[:, 1:2]).sin())
        dipole[which] += (wave * fast.size[which, None])[..., None] * fast.direction[which, None]


def _add_spikes(out: Tensor, spikes: Events, matrices: Tensor, rate: float) -> None:
    """Add pacing spikes, 2 ms or one sample long, in place."""
    record, beat = spikes.valid.nonzero(as_tuple=True)
    if not len(record):
        return
    at = (spikes.time[record, beat] * rate).round().long()
    size = (matrices @ matrices.new_tensor(SPIKE))[record]  # (N, 8)
    flat = out.view(-1)
    leads = torch.arange(8, device=out.device)
    for offset in range(max(1, round(0.002 * rate))):
        place = (at + offset).clamp(0, out.shape[2] - 1)
        flat.index_add_(0, ((record[:, None] * 8 + leads) * out.shape[2] + place[:, None]).flatten(), size.flatten())
