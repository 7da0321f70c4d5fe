"""Adds the effects of electrodes and ECG machines to a signal: noise, filters, faults and quantization.

Noise is added at the electrodes, so that leads sharing an electrode share its noise and Einthoven's law holds; filters
act on signal and noise alike, including ST segments.

Sources: filter bands as in AHA/ACC/HRS part I (Kligfield et al. 2007); kinds of noise as in Moody, Muldrow and Mark
(1984).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dbeta.ecg import LEADS
from dbeta.simulation.draws import Draws
from dbeta.simulation.torso import MEASURED

#: Electrodes: right arm, left arm, left leg, V1 to V6.
ELECTRODES = 9
#: Matrix from electrodes to measured leads; precordial leads are relative to Wilson's terminal.
LEADS_FROM_ELECTRODES = (
    (-1.0, 1.0, 0.0, *(0.0,) * 6),
    (-1.0, 0.0, 1.0, *(0.0,) * 6),
    *((-1 / 3, -1 / 3, -1 / 3, *(float(i == j) for j in range(6))) for i in range(6)),
)
#: Cut-off frequencies in Hz and how often machines use them.
HIGH_PASS = ((0.05, 0.55), (0.15, 0.15), (0.32, 0.05), (0.5, 0.25))
LOW_PASS = ((35.0, 0.04), (40.0, 0.21), (100.0, 0.15), (150.0, 0.6))
#: Exchanged limb electrodes: the finding, the resulting leads I and II, the axis that an axis of 0 degrees turns into
#: (axes are mirrored), and how often. In order: the arms; left arm and left leg; right arm and left leg.
LIMB_SWAPS = (
    ("arm lead reversal", ((-1.0, 0.0), (-1.0, 1.0)), 180.0, 0.014),
    ("arm and leg lead reversal", ((0.0, 1.0), (1.0, 0.0)), 60.0, 0.005),
    ("arm and leg lead reversal", ((1.0, -1.0), (0.0, -1.0)), -60.0, 0.005),
)
#: Exchanged precordial electrodes, by number, and how often.
CHEST_SWAPS = ((1, 2, 0.004), (2, 3, 0.004), (1, 3, 0.003), (1, 6, 0.001))
CHEST_SWAP = "precordial lead reversal"
#: Relative frequency of each electrode coming loose, and the leads that are then flat.
LOOSE = (
    *((1, (0, 1, 2, 3, 4, 5)), (1, (0,)), (1, (1,))),  # the right arm is in every limb lead that is measured
    *((4, (6 + number,)) for number in range(6)),
)
#: Relative muscle noise of the electrodes: more at the arms than at the leg or the chest; chest leads get theirs from
#: the arms through Wilson's terminal.
MUSCLES = (1.0, 1.4, 0.4, *(0.2,) * 6)
#: Length of the noise bank, samples.
BANK = 1 << 20
BANK_STEP = 16
#: Noise above these sizes is a finding, mV (root mean square).
WANDERS, TREMBLES = 0.12, 0.05


@dataclass
class Recordings:
    """B recordings.

    Attributes:
        measured: (B, 8, T) mV.
        flat: (B, 12) bool, leads without signal.
        exchanged: name of a finding → (B,) bool, records with these electrodes exchanged.
        mirror: (B,) degrees; with exchanged limb electrodes, the axis a becomes mirror − a; NaN elsewhere.
        wander: (B,) root mean square of the baseline wander, mV.
        tremor: (B,) root mean square of muscle noise, mV.
    """

    measured: Tensor
    flat: Tensor
    exchanged: dict[str, Tensor]
    mirror: Tensor
    wander: Tensor
    tremor: Tensor


def record(draws: Draws, clean: Tensor, rate: float) -> Recordings:
    """Record noise-free signals with simulated machines.

    Args:
        draws: random numbers of B records.
        clean: (B, 8, T) mV; overwritten.
        rate: sampling rate, Hz.
    """
    count, _, samples = clean.shape
    device = clean.device
    exchanged, mirror = _exchange(draws, clean)
    tremor = 0.0045 * draws.spread("tremor", 0.65) * torch.where(draws.chance("much tremor", 0.06), 5.0, 1.0)
    wander = 0.042 * draws.spread("wander", 0.65) * torch.where(draws.chance("much wander", 0.05), 4.0, 1.0)
    steady, slow = noise_bank(rate, device)
    uneven = draws.spread("electrode noise", 0.5, ELECTRODES, 2)
    places = (draws.uniform("noise position", 0, 1, ELECTRODES, 2) * ((BANK - samples) // BANK_STEP)).long()
    shake = (tremor[:, None] * uneven[..., 0] * uneven.new_tensor(MUSCLES))[..., None]
    drift = (wander[:, None] * uneven[..., 1])[..., None]
    noise, low = (
        one.unfold(0, samples, BANK_STEP).index_select(0, where.flatten()).view(count, ELECTRODES, samples)
        for one, where in zip((steady, slow), places.unbind(dim=2), strict=True)
    )
    noise.mul_(shake).addcmul_(low, drift)
    _add_bursts(noise, draws, rate)
    _add_mains(noise, draws, rate)
    clean.baddbmm_(torch.tensor(LEADS_FROM_ELECTRODES, device=device).expand(count, -1, -1), noise)
    out = filtered(draws, clean, rate)

    # The machine's limited range and resolution
    step = torch.tensor([0.001, 0.0025, 0.00488, 0.005], device=device)[draws.choice("step", [0.25, 0.25, 0.25, 0.25])]
    out.div_(step[:, None, None]).round_().mul_(step[:, None, None])
    clipped, limit = draws.chance("clipped", 0.02), draws.uniform("clipping limit", 1.5, 3.5)[:, None, None]
    rows = clipped.nonzero()[:, 0]
    out[rows] = out[rows].clamp(-limit[rows], limit[rows])
    flat = _lost_electrodes(draws, out)
    return Recordings(out, flat, exchanged, mirror, wander, tremor)


def _exchange(draws: Draws, clean: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Exchange electrodes, in place; return `exchanged` and `mirror` of `Recordings`."""
    limbs = draws.choice(
        "limb exchange", [1 - sum(chance for *_, chance in LIMB_SWAPS), *(chance for *_, chance in LIMB_SWAPS)]
    )
    chest = draws.choice(
        "chest exchange", [1 - sum(chance for *_, chance in CHEST_SWAPS), *(chance for *_, chance in CHEST_SWAPS)]
    )
    mirror = torch.full((len(clean),), torch.nan, device=clean.device)
    exchanged = dict.fromkeys((name for name, *_ in LIMB_SWAPS), limbs < 0)
    for number, (name, matrix, degrees, _) in enumerate(LIMB_SWAPS, 1):
        rows = (limbs == number).nonzero()[:, 0]
        if len(rows):
            clean[rows, :2] = clean.new_tensor(matrix) @ clean[rows, :2]
        mirror[rows] = degrees
        exchanged[name] = exchanged[name] | (limbs == number)
    for number, (one, other, _) in enumerate(CHEST_SWAPS, 1):
        rows = (chest == number).nonzero()[:, 0]
        clean[rows, 1 + one], clean[rows, 1 + other] = clean[rows, 1 + other], clean[rows, 1 + one]
    return exchanged | {CHEST_SWAP: chest > 0}, mirror


def filtered(draws: Draws, signals: Tensor, rate: float) -> Tensor:
    """Apply each record's filters: (B, L, T) → (B, L, T).

    The signal is filtered as if periodic, since machines are already running when a recording begins.
    """
    device = signals.device
    frequency = torch.fft.rfftfreq(signals.shape[2], 1 / rate, device=device)
    low = torch.tensor([cut for cut, _ in HIGH_PASS], device=device)[
        draws.choice("high-pass", [one for _, one in HIGH_PASS])
    ]
    high = torch.tensor([cut for cut, _ in LOW_PASS], device=device)[
        draws.choice("low-pass", [one for _, one in LOW_PASS])
    ]
    ratio = frequency / low[:, None]
    # One pole, either with the phase that distorts ST segments or, as in machines that look ahead, without
    pole = torch.complex(ratio.square(), ratio) / (1 + ratio.square())
    forward = draws.chance("high-pass phase", 0.4)[:, None]
    high_pass = torch.where(forward, pole, (ratio.square() / (1 + ratio.square())).to(pole.dtype))
    order = 1.0 + draws.choice("low-pass order", [0.2, 0.4, 0.4])
    low_pass = (1 + (frequency / high[:, None]) ** (2 * order[:, None])).rsqrt()
    response = high_pass * low_pass
    return torch.fft.irfft(torch.fft.rfft(signals).mul_(response[:, None]), n=signals.shape[2])


@lru_cache(maxsize=4)
def noise_bank(rate: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Muscle and amplifier noise, and baseline wander, of unit size: two tensors (BANK,).

    Always the same; records differ in where they start reading.
    """
    rng = np.random.Generator(np.random.Philox(key=2018))
    spectrum = rng.standard_normal((2, BANK // 2 + 1)) + 1j * rng.standard_normal((2, BANK // 2 + 1))
    frequency = np.fft.rfftfreq(BANK, 1 / rate)
    # Muscle noise peaks at 10 Hz and falls above; breathing and movement are below 1 Hz
    muscle = 0.02 + (frequency / 18) ** 2 / (1 + (frequency / 18) ** 2.9)
    breathing = 1 + 1.2 * np.exp(-0.5 * ((frequency - 0.26) / 0.05) ** 2)
    drift = (frequency > 0.02) * (breathing / (1 + (frequency / 0.22) ** 3) + 0.1 / (1 + frequency))
    noise = np.fft.irfft(spectrum * np.stack([muscle, drift]))
    noise /= noise.std(axis=1, keepdims=True)
    muscle_noise, wander = torch.from_numpy(noise.astype(np.float32)).to(device)
    return muscle_noise, wander


def _add_bursts(noise: Tensor, draws: Draws, rate: float) -> None:
    """Add movement artefacts, as bursts in some electrodes of some records, in place."""
    moved, sharp = draws.chance("burst", 0.08), draws.chance("burst sharp", 0.5)
    at, length, size = (
        draws.uniform("burst time", 0, 1),
        draws.uniform("burst length", 0.05, 0.7),
        draws.uniform("burst size", 0.1, 0.9),
    )
    where = draws.uniform("burst electrodes", 0, 1, ELECTRODES)
    sign = torch.where(draws.chance("burst sign", 0.5), 1.0, -1.0)
    which = moved.nonzero()[:, 0]
    if not len(which):
        return
    samples = noise.shape[2]
    time = torch.arange(samples, device=noise.device) / rate
    away = (time - (at * samples / rate)[which, None]) / length[which, None]
    bump = torch.where(sharp[which, None], (away > 0) * (-away.clamp(min=0)).exp(), (-0.5 * away.square()).exp())
    gain = (where[which] > 0.6) * (size * sign)[which, None]
    noise[which] += gain[..., None] * bump[:, None]


def _add_mains(noise: Tensor, draws: Draws, rate: float) -> None:
    """Add mains hum of 50 or 60 Hz to some records, in place."""
    hum, sixty = draws.chance("mains", 0.15), draws.chance("mains 60 Hz", 0.4)
    size, phase = 0.006 * draws.spread("mains size", 0.8), draws.uniform("mains phase", 0, 6.2832)
    uneven = draws.normal("mains electrodes", 0, 1, ELECTRODES)
    which = hum.nonzero()[:, 0]
    if not len(which):
        return
    time = torch.arange(noise.shape[2], device=noise.device) / rate
    wave = (6.2832 * torch.where(sixty, 60.0, 50.0)[which, None] * time + phase[which, None]).sin()
    noise[which] += (size[which, None] * uneven[which])[..., None] * wave[:, None]


def _lost_electrodes(draws: Draws, out: Tensor) -> Tensor:
    """Flatten the leads of lost electrodes, in place; return these leads as (B, 12) bool."""
    lost, which = (
        draws.chance("electrode lost", 0.014),
        draws.choice("which electrode lost", [float(weight) for weight, _ in LOOSE]),
    )
    flat = torch.zeros(len(out), 12, dtype=torch.bool, device=out.device)
    for number, (_, leads) in enumerate(LOOSE):
        rows = (lost & (which == number)).nonzero()
        flat[rows, torch.tensor(leads, device=out.device)] = True
    record, lead = flat[:, [LEADS.index(name) for name in MEASURED]].nonzero(as_tuple=True)
    out[record, lead] = 0.0
    return flat
