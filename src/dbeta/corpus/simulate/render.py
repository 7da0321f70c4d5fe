"""Beats laid along time: templates and events → the eight measured leads, without noise.

Special here: every beat takes its samples from the record's template, at its own moment to the millisecond and with its
repolarisation stretched or shortened by the interval before it; nothing is computed twice for equal beats.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dbeta.corpus.simulate.heart import Heart, atrial, depolarization, repolarization, ventricular
from dbeta.corpus.simulate.rhythm import Beats, Events
from dbeta.corpus.simulate.torso import all_leads
from dbeta.corpus.simulate.waves import BEGIN, END, Bells, joined

#: Seconds between the points of a template.
STEP = 0.001
#: How much of a change of the interval the QT interval follows from beat to beat (Fridericia's third, damped).
QT_FOLLOWS = 0.25


def templates(bells: Bells, matrices: Tensor, begin: float = BEGIN, end: float = END) -> Tensor:
    """Bells seen by the leads: (B, W, 8) at steps of `STEP`, fading to nothing at both ends.

    Args:
        bells: of B records.
        matrices: (B, 8, 3).
        begin: of the template, seconds.
        end: of the template, seconds.
    """
    times = torch.arange(begin, end, STEP, device=matrices.device)
    edge = ((times - begin) / 0.02).clamp(0, 1) * ((end - times) / 0.04).clamp(0, 1)
    return (matrices @ (bells.sampled(times) * edge)).transpose(1, 2).contiguous()


def add_beats(
    out: Tensor,
    events: Events,
    shapes: Tensor,
    which: Tensor,
    rate: float,
    *,
    begin: float = BEGIN,
    end: float = END,
    turning: Tensor | None = None,
    stretch: Tensor | None = None,
    gain: Tensor | None = None,
) -> None:
    """Add beats to recordings, in place.

    Args:
        out: (B, T, 8), mV.
        events: when.
        shapes: (B, K, W, 8) templates.
        which: (B, E) the template of each beat.
        rate: Hz.
        begin: of the templates, seconds.
        end: of the templates, seconds.
        turning: (B,) seconds after which a beat is stretched; None stretches nothing.
        stretch: (B, E) by how much.
        gain: (B, E) of each beat.
    """
    _, samples, leads = out.shape
    record, beat = events.valid.nonzero(as_tuple=True)
    time = events.time[record, beat]  # (N,)
    first = ((time + begin) * rate).ceil().long()
    width = int((end - begin) * 1.3 * rate) if stretch is not None else int((end - begin) * rate)
    at = first[:, None] + torch.arange(width, device=out.device)  # (N, width)
    since = at / rate - time[:, None]
    if stretch is not None and turning is not None:
        turn = turning[record][:, None]
        since = torch.where(since > turn, turn + (since - turn) / stretch[record, beat][:, None], since)
    point = ((since - begin) / STEP).round().long()
    points = shapes.shape[2]
    inside = (at >= 0) & (at < samples) & (point >= 0) & (point < points)
    row = record * shapes.shape[1] + which[record, beat]
    flat = shapes.view(-1, leads)
    values = flat[(row[:, None] * points + point.clamp(0, points - 1))[inside]]
    if gain is not None:
        values = values * gain[record, beat][:, None].expand(-1, width)[inside][:, None]
    out.view(-1, leads).index_add_(0, (record[:, None] * samples + at)[inside], values)


def repolarization_stretch(beats: Beats, usual: Tensor) -> Tensor:
    """By how much each beat's ST segment and T wave are longer than usual: (B, E).

    Args:
        beats: with the interval before each.
        usual: (B,) seconds, the mean interval, for which the templates were made.
    """
    return (beats.interval / usual[:, None]).clamp(0.5, 1.8) ** QT_FOLLOWS


#: Of a P wave's template, seconds from its onset.
P_BEGIN, P_END = -0.02, 0.24
#: A P wave from elsewhere than the sinus node goes the other way: what it does to each axis.
UPWARDS = (0.7, -0.9, 1.0)
#: A pacing spike's direction and size in mV.
SPIKE = (0.5, -1.2, 0.4)


def clean_signals(heart: Heart, beats: Beats, matrices: Tensor, seconds: float, rate: float, focus: Tensor) -> Tensor:
    """Noise-free recordings: (B, 12, T) mV in the standard lead order.

    Args:
        heart: of B records.
        beats: theirs (`dbeta.corpus.simulate.rhythm.draw_beats`).
        matrices: (B, 8, 3) their torsos (`lead_matrices`).
        seconds: of each recording.
        rate: Hz.
        focus: (B, 3) unit vectors away from where ventricular beats begin; paced ones begin at the apex of the right
            ventricle.
    """
    count = len(matrices)
    qrs, duration = depolarization(heart)
    wide = torch.full_like(duration, 0.15)
    apex = torch.tensor([0.32, -0.80, 0.51]).expand(count, 3)
    conducted = joined(qrs, repolarization(heart, qrs, duration))
    ectopic, paced = (ventricular(heart, direction, wide) for direction in (focus, apex))
    # In the order of CONDUCTED, VENTRICULAR, PACER, ESCAPE
    shapes = torch.stack([templates(one, matrices) for one in (conducted, ectopic, paced, ectopic)], dim=1)
    out = torch.zeros(count, round(seconds * rate), 8)
    usual = beats.interval.where(beats.ventricles.valid, torch.nan).nanmean(dim=1)
    stretch = repolarization_stretch(beats, usual)
    add_beats(
        *(out, beats.ventricles, shapes, beats.ventricles.origin, rate),
        turning=duration.clamp(min=0.15),
        stretch=stretch,
    )
    wave = atrial(heart)
    backward = Bells(wave.center, wave.before, wave.after, wave.vector * torch.tensor(UPWARDS))
    forms = [templates(one, matrices, P_BEGIN, P_END) for one in (wave, backward, backward)]
    atria = beats.atria
    add_beats(out, atria, torch.stack(forms, dim=1), atria.origin, rate, begin=P_BEGIN, end=P_END)
    _add_spikes(out, beats.spikes, matrices, rate)
    return all_leads(out.transpose(1, 2))


def _add_spikes(out: Tensor, spikes: Events, matrices: Tensor, rate: float) -> None:
    """Pacing spikes, 2 ms long or one sample, in place."""
    record, beat = (spikes.valid & (spikes.origin >= 0)).nonzero(as_tuple=True)
    at = (spikes.time[record, beat] * rate).round().long()
    inside = (at >= 0) & (at < out.shape[1])
    size = matrices @ torch.tensor(SPIKE)  # (B, 8)
    for offset in range(max(1, round(0.002 * rate))):
        place = (at[inside] + offset).clamp(max=out.shape[1] - 1)
        out.view(-1, 8).index_add_(0, record[inside] * out.shape[1] + place, size[record[inside]])
