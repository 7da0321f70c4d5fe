"""Generates the times of atrial and ventricular beats for many records at once.

Atria and ventricles have separate events, joined by conduction, so that later steps need no special cases for blocks,
escape beats and ectopic beats. Random numbers are passed in; none are drawn here.

Sources: rates, intervals and ratios as in the AHA/ACCF/HRS recommendations for the interpretation of the ECG (2009)
and in Surawicz and Knilans, Chou's Electrocardiography in Clinical Practice; respiratory arrhythmia as in McSharry et
al. (2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Rhythms; `Rhythm.kind` is an index into these.
KINDS = (
    "sinus",
    "atrial fibrillation",
    "atrial flutter",
    "supraventricular tachycardia",
    "ectopic atrial",
    "junctional",
    "ventricular pacing",
    "dual-chamber pacing",
    "second-degree type I",
    "second-degree 2:1",
    "third-degree",
)
SINUS, FIBRILLATION, FLUTTER, SVT, ECTOPIC, JUNCTIONAL, PACED, DUAL_PACED, WENCKEBACH, TWO_TO_ONE, COMPLETE = range(
    len(KINDS)
)
#: Origins of ventricular beats, as in `Events.origin`.
CONDUCTED, VENTRICULAR, PACER, ESCAPE = range(4)
#: Origins of atrial beats.
SINUS_NODE, ECTOPIC_FOCUS, RETROGRADE = range(3)


@dataclass
class Rhythm:
    """Parameters of the rhythm of B records, each (B,).

    Attributes:
        kind: index into `KINDS`.
        rate: ventricular rate per minute, or the sinus node's if the ventricles do not follow it.
        pr: PR interval of conducted beats, seconds.
        respiratory: maximum relative change of the RR interval by breathing.
        breathing: breaths per second.
        jitter: standard deviation of the remaining variation of the RR interval, relative to it.
        atrial_rate: rate of flutter waves, or of atria that the ventricles do not follow, per minute.
        ratio: flutter waves, or cycle length of type I block, per ventricular beat.
        premature_atrial: probability of a premature atrial complex at each beat, never two in a row; 1 for bigeminy.
        premature_ventricular: probability of a premature ventricular complex after each beat.
        every: 2 for ventricular bigeminy, 3 for trigeminy, 0 for neither.
        coupling: coupling interval of premature complexes, relative to the RR interval.
        pause: length of a sinus pause in seconds, 0 for none.
        disorder: standard deviation of the log RR interval in atrial fibrillation.
    """

    kind: Tensor
    rate: Tensor
    pr: Tensor
    respiratory: Tensor
    breathing: Tensor
    jitter: Tensor
    atrial_rate: Tensor
    ratio: Tensor
    premature_atrial: Tensor
    premature_ventricular: Tensor
    every: Tensor
    coupling: Tensor
    pause: Tensor
    disorder: Tensor


@dataclass
class Events:
    """Beats of B records; unused entries have `valid` False.

    Attributes:
        time: (B, E) seconds from the start of the recording.
        origin: (B, E) where the beat comes from.
        valid: (B, E) bool.
    """

    time: Tensor
    origin: Tensor
    valid: Tensor


@dataclass
class Beats:
    """The beats of B records.

    Attributes:
        atria: P waves; `time` is their onset.
        ventricles: QRS complexes; `time` is their onset.
        spikes: pacing spikes.
        interval: (B, E) seconds since the preceding ventricular beat, for the duration of repolarisation.
    """

    atria: Events
    ventricles: Events
    spikes: Events
    interval: Tensor


def draw_beats(rhythm: Rhythm, seconds: float, uniform: Tensor, normal: Tensor) -> Beats:
    """Generate the beats of each record, from 2 s before its start.

    Args:
        rhythm: parameters of B records.
        seconds: length of the recording.
        uniform: (B, 3, E) random numbers between 0 and 1; E is the maximum number of beats.
        normal: (B, 2, E) random numbers.
    """
    kind = rhythm.kind[:, None]
    count = uniform.shape[2]
    steps = torch.arange(count, device=kind.device)
    # If the ventricles do not follow the sinus node, the atria have their own rate
    own = (kind == COMPLETE) | (kind == PACED)
    atrial_rate = torch.where(own, rhythm.atrial_rate[:, None], rhythm.rate[:, None])
    atrial_rate = torch.where(kind == TWO_TO_ONE, 2 * rhythm.rate[:, None], atrial_rate)
    rr = 60 / atrial_rate  # (B, 1)
    regular = (kind == SVT) | (kind == DUAL_PACED)
    jitter = torch.where(regular, 0.004, rhythm.jitter[:, None])
    spacing = rr * (1 + jitter * normal[:, 0])  # (B, E)
    early = (uniform[:, 0] < rhythm.premature_atrial[:, None]) & ((kind == SINUS) | (kind == ECTOPIC))
    every_other = (rhythm.premature_atrial[:, None] >= 1) & (steps % 2 == 0)  # bigeminy
    early = torch.where(rhythm.premature_atrial[:, None] >= 1, every_other, early & ~early.roll(1, dims=1))
    spacing = torch.where(early, spacing * rhythm.coupling[:, None], spacing)
    spacing = torch.where(early.roll(1, dims=1), spacing * 1.15, spacing)  # the node is reset and slightly slowed
    start = -2 - rr * uniform[:, 1, :1]
    # Early enough for the beat after the pause to be recorded
    moment = 1.0 + (seconds - 5.5) * uniform[:, 2, -1:]
    reached = start + spacing.cumsum(dim=1) > moment
    paused = reached & ~reached.roll(1, dims=1) & (steps > 0) & (rhythm.pause[:, None] > 0)
    spacing = torch.where(paused, spacing + rhythm.pause[:, None], spacing)
    atrial = start + spacing.cumsum(dim=1)
    breath = 2 * torch.pi * (rhythm.breathing[:, None] * atrial + uniform[:, 1, 1:2])
    follows = (kind == SINUS) | (kind == WENCKEBACH) | (kind == TWO_TO_ONE) | (kind == COMPLETE) | (kind == PACED)
    # Shift of the phase chosen so that the interval itself changes by the given fraction
    swing = rhythm.respiratory[:, None] / (2 * torch.pi * rhythm.breathing[:, None])
    atrial = atrial + torch.where(follows, swing * breath.sin(), 0.0)

    fibrillating = (kind == FIBRILLATION) | (kind == FLUTTER)
    atrial_origin = torch.where(early | (kind == ECTOPIC), ECTOPIC_FOCUS, SINUS_NODE)

    conducted, pr = _conduct(rhythm, steps, early, uniform)
    ventricular = atrial + pr
    # Fibrillation: irregular intervals; flutter: whole multiples of the flutter interval
    loose = (60 / rhythm.rate[:, None]) * (rhythm.disorder[:, None] * normal[:, 1]).exp().clamp(0.5, 2.2)
    wave = 60 / rhythm.atrial_rate[:, None]
    block = torch.where(uniform[:, 2] < 0.25 * (rhythm.ratio[:, None] > 2.5), 2.0, rhythm.ratio[:, None].round())
    loose = torch.where(kind == FLUTTER, wave * block, loose)
    irregular = start + loose.cumsum(dim=1)
    ventricular = torch.where(fibrillating, irregular, ventricular)
    slow = start + (60 / rhythm.rate[:, None]) * (1 + 0.01 * normal[:, 1]).cumsum(dim=1)
    ventricular = torch.where(own, slow, ventricular)
    conducted |= own | fibrillating
    pacer = (kind == PACED) | (kind == DUAL_PACED)
    origin = torch.where(pacer, PACER, torch.where(kind == COMPLETE, ESCAPE, CONDUCTED)).expand(-1, count)

    # Premature ventricular complexes: the next atrial beat finds the ventricles refractory
    often = torch.where(
        rhythm.every[:, None] > 0,
        steps % rhythm.every[:, None].clamp(min=1) == 0,
        uniform[:, 2] < rhythm.premature_ventricular[:, None],
    )
    often &= (rhythm.every[:, None] > 0) | (rhythm.premature_ventricular[:, None] > 0)
    premature = often & conducted & ~own
    premature &= ~(premature.roll(1, dims=1) & (rhythm.every[:, None] == 0))
    ahead = ventricular.roll(-1, dims=1) - ventricular
    ahead[:, -1] = ahead[:, -2]
    conducted = conducted & ~premature.roll(1, dims=1)
    extra = ventricular + ahead * rhythm.coupling[:, None]

    before = -1.0
    after = seconds + 1.0
    has_p = ~(fibrillating | (kind == SVT) | (kind == JUNCTIONAL)).expand(-1, count)
    atria = Events(atrial, atrial_origin.expand(-1, count), has_p & (atrial > before) & (atrial < after))
    # Retrograde P waves after the beats of a junctional rhythm or a re-entry tachycardia
    backward = ((kind == JUNCTIONAL) | (kind == SVT)).expand(-1, count)
    retro = Events(
        ventricular + 0.08 + 0.06 * uniform[:, 1, 2:3],
        torch.full_like(origin, RETROGRADE),
        backward & (uniform[:, 1, 3:4] < 0.5) & (ventricular > before) & (ventricular < after),
    )
    times = torch.cat([ventricular, extra], dim=1)
    origins = torch.cat([origin, torch.full_like(origin, VENTRICULAR)], dim=1)
    valid = torch.cat([conducted, premature], dim=1) & (times > before) & (times < after)
    ventricles = _sorted(Events(times, origins, valid))
    interval = ventricles.time.diff(dim=1, prepend=ventricles.time[:, :1] - 60 / rhythm.rate[:, None])
    spikes = Events(ventricular - 0.004, origin, conducted & pacer & (ventricular > 0) & (ventricular < seconds))
    both = Events(atrial - 0.004, origin, (kind == DUAL_PACED) & (atrial > 0) & (atrial < seconds))
    return Beats(_joined(atria, retro), ventricles, _joined(spikes, both), interval.clamp(0.25, 2.5))


def _conduct(rhythm: Rhythm, steps: Tensor, early: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Return which atrial beats reach the ventricles (B, E), and their delays in seconds."""
    kind = rhythm.kind[:, None]
    cycle = rhythm.ratio[:, None].round().clamp(min=3)
    place = steps % cycle
    conducted = torch.ones_like(early)
    conducted &= ~((kind == WENCKEBACH) & (place == cycle - 1))
    conducted &= ~((kind == TWO_TO_ONE) & (steps % 2 == 1))
    # The increment is largest at the second beat of a cycle
    longer = 0.09 * place / (1 + 0.35 * place)
    pr = rhythm.pr[:, None] + torch.where(kind == WENCKEBACH, longer, 0.0)
    pr = pr + torch.where(early, 0.02 + 0.03 * uniform[:, 2], 0.0)
    return conducted, pr


def _joined(first: Events, second: Events) -> Events:
    return Events(*(torch.cat(pair, dim=1) for pair in zip(vars(first).values(), vars(second).values(), strict=True)))


def _sorted(events: Events) -> Events:
    """Sort by time, with invalid events at the end."""
    order = torch.where(events.valid, events.time, torch.inf).argsort(dim=1)
    return Events(events.time.gather(1, order), events.origin.gather(1, order), events.valid.gather(1, order))
