"""The noise-free heart: rhythms and shapes measured again, by hand-written rules that know nothing of the simulator."""

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

from dbeta.ecg import LEADS, augmented_leads
from dbeta.simulation import rhythm as rhythms
from dbeta.simulation.heart import TERRITORIES, Heart
from dbeta.simulation.render import render
from dbeta.simulation.rhythm import Rhythm, draw_beats
from dbeta.simulation.torso import lead_matrices, rotations

RATE = 500


def steady(count: int, **changes) -> Rhythm:
    """Regular sinus rhythm at 75 a minute, with changes."""
    values = {
        "kind": rhythms.SINUS,
        "rate": 75.0,
        "pr": 0.16,
        "respiratory": 0.0,
        "breathing": 0.25,
        "jitter": 0.0,
        "atrial_rate": 80.0,
        "ratio": 4.0,
        "premature_atrial": 0.0,
        "premature_ventricular": 0.0,
        "every": 0,
        "coupling": 0.65,
        "pause": 0.0,
        "disorder": 0.22,
    }
    return Rhythm(**{name: torch.full((count,), value) for name, value in (values | changes).items()})


def beats(rhythm: Rhythm, seed: int = 0, seconds: float = 10.0):
    count = len(rhythm.kind)
    source = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, 3, 64, generator=source)
    return draw_beats(rhythm, seconds, uniform, torch.randn(count, 2, 64, generator=source))


def signals(rhythm: Rhythm, heart: Heart | None = None, seed: int = 0) -> np.ndarray:
    count = len(rhythm.kind)
    still = torch.zeros(count, 8, 3), torch.zeros(count, 2), torch.zeros(count, 3)
    focus = torch.tensor([[0.6, 0.6, -0.5]]).expand(count, 3)
    heart = heart or Heart.healthy(count)
    return render(heart, beats(rhythm, seed), lead_matrices(*still), 10.0, RATE, focus).signals.numpy()


def lead(signal: np.ndarray, name: str) -> np.ndarray:
    return signal[..., LEADS.index(name), :]


def r_times(signal: np.ndarray) -> np.ndarray:
    """Seconds of the QRS complexes of one recording."""
    steep = np.abs(np.diff(lead(signal, "II"), append=0)) + np.abs(np.diff(lead(signal, "V2"), append=0))
    at, _ = find_peaks(np.convolve(steep, np.ones(40) / 40, "same"), height=0.3 * steep.max() / 4, distance=120)
    return at / RATE


def test_the_augmented_leads_follow():
    x = signals(steady(1))[0]
    for name, expected in augmented_leads(lead(x, "I"), lead(x, "II")).items():
        np.testing.assert_allclose(lead(x, name), expected, atol=1e-5)
    np.testing.assert_allclose(lead(x, "III"), lead(x, "II") - lead(x, "I"), atol=1e-5)


def test_the_same_twice_and_in_any_company():
    one = signals(steady(4, jitter=0.05), seed=3)
    np.testing.assert_array_equal(one, signals(steady(4, jitter=0.05), seed=3))
    assert np.abs(one[0] - one[1]).max() > 0.1


@pytest.mark.parametrize("rate", [45, 75, 110])
def test_the_rate(rate):
    found = r_times(signals(steady(1, rate=float(rate)))[0])
    assert 60 / np.diff(found).mean() == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize("pr", [0.12, 0.16, 0.24, 0.32])
def test_the_pr_interval(pr):
    """From the onset of the P wave to that of the QRS complex, by the first 5 % of each wave."""
    x = lead(signals(steady(1, rate=60.0, pr=pr))[0], "II")
    r = int(r_times(signals(steady(1, rate=60.0, pr=pr))[0])[3] * RATE)
    before = x[r - int(0.48 * RATE) : r]
    steep = np.diff(before)
    qrs = np.flatnonzero(np.abs(steep) > 0.1 * np.abs(steep).max())[0]
    p = before[: qrs - 2]
    onset = np.flatnonzero(p > 0.05 * p.max())[0]
    assert (qrs - onset) / RATE == pytest.approx(pr, abs=0.025)


@pytest.mark.parametrize(
    ("changes", "low", "high"),
    [({}, 70, 110), ({"right_block": 1.0}, 115, 165), ({"left_block": 1.0}, 120, 180), ({"delay": 1.0}, 105, 170)],
)
def test_the_width_of_the_qrs_complex(changes, low, high):
    heart = Heart.healthy(1)
    for name, value in changes.items():
        setattr(heart, name, torch.tensor([value]))
    heart.t_gain, heart.p_gain = torch.zeros(2, 1)
    x = signals(steady(1, rate=60.0), heart)[0]
    r = int(r_times(x)[3] * RATE)
    size = np.abs(x[:, r - 100 : r + 120]).max(axis=0)
    inside = np.flatnonzero(size > 0.08 * size.max())
    assert low <= (inside[-1] - inside[0]) / RATE * 1000 <= high


def test_fibrillation_has_no_p_waves_and_no_order():
    rhythm = steady(1, kind=rhythms.FIBRILLATION, rate=90.0)
    found = beats(rhythm)
    assert not found.atria.valid.any()
    intervals = np.diff(r_times(signals(rhythm)[0]))
    assert intervals.std() / intervals.mean() > 0.12


def test_flutter_conducts_whole_waves():
    found = beats(steady(8, kind=rhythms.FLUTTER, atrial_rate=300.0, ratio=4.0))
    for row in range(8):
        waves = found.ventricles.time[row][found.ventricles.valid[row]].diff() / 0.2
        torch.testing.assert_close(waves, waves.round(), atol=1e-3, rtol=0)


def test_type_i_block_drops_a_beat_after_longer_and_longer_intervals():
    found = beats(steady(1, kind=rhythms.WENCKEBACH, ratio=4.0))
    atria = found.atria.time[0][found.atria.valid[0]]
    ventricles = found.ventricles.time[0][found.ventricles.valid[0]]
    assert len(atria) / len(ventricles) == pytest.approx(4 / 3, abs=0.25)
    pr = torch.stack([(ventricles[ventricles > p] - p).min() for p in atria[2:-3]])
    assert pr[pr < 0.6].max() - pr.min() > 0.08


def test_complete_block_lets_atria_and_ventricles_go_their_own_ways():
    found = beats(steady(1, kind=rhythms.COMPLETE, rate=38.0, atrial_rate=90.0))
    assert found.atria.valid.sum() > 2 * found.ventricles.valid.sum()
    assert (found.ventricles.origin[found.ventricles.valid] == rhythms.ESCAPE).all()


def test_two_to_one():
    found = beats(steady(1, kind=rhythms.TWO_TO_ONE, rate=40.0))
    assert found.atria.valid.sum().item() == pytest.approx(2 * found.ventricles.valid.sum().item(), abs=2)


def test_bigeminy_alternates():
    found = beats(steady(1, every=2))
    origin = found.ventricles.origin[0][found.ventricles.valid[0]]
    assert (origin[1:] != origin[:-1]).all()
    interval = found.ventricles.time[0][found.ventricles.valid[0]].diff()
    assert float(interval[::2].mean()) != pytest.approx(float(interval[1::2].mean()), rel=0.2)


def test_pacing_spikes_stand_before_the_beats():
    x = signals(steady(1, kind=rhythms.PACED, rate=70.0))[0]
    spikes = beats(steady(1, kind=rhythms.PACED, rate=70.0)).spikes
    at = (spikes.time[0][spikes.valid[0]] * RATE).round().long().numpy()
    steep = np.abs(np.diff(lead(x, "II")))
    assert len(at) >= 10
    assert steep[at[2] - 1] > 3 * np.median(np.sort(steep)[-500:])


def deepest_early(x: np.ndarray, name: str) -> float:
    """The most negative voltage of the first 40 ms of the QRS complex."""
    found = beats(steady(1, rate=60.0)).ventricles
    onset = int(found.time[0][found.valid[0]][3].item() * RATE)
    return float(lead(x, name)[onset : onset + 20].min())


@pytest.mark.parametrize(
    ("territory", "leads", "others"),
    [
        ("inferior", ["III", "aVF"], ["V4", "V5"]),
        ("septal", ["V1", "V2"], ["V5", "III"]),
        ("anterior", ["V2", "V3"], ["III"]),
    ],
)
def test_a_scar_takes_early_forces_from_its_leads(territory, leads, others):
    heart = Heart.healthy(1)
    heart.scar[0, list(TERRITORIES).index(territory)] = 1.0
    scarred, healthy = signals(steady(1, rate=60.0), heart)[0], signals(steady(1, rate=60.0))[0]
    for name in leads:
        assert deepest_early(scarred, name) < deepest_early(healthy, name) - 0.15
    for name in others:
        assert deepest_early(scarred, name) > deepest_early(healthy, name) - 0.15


def test_a_left_fascicular_block_turns_the_axis():
    def axis(heart):
        x = signals(steady(1, rate=60.0), heart)[0]
        one, foot = (lead(x, name)[:RATE].max() + lead(x, name)[:RATE].min() for name in ("I", "aVF"))
        return np.degrees(np.arctan2(foot, one))

    front, back = Heart.healthy(1), Heart.healthy(1)
    front.anterior_block[:] = 1
    back.posterior_block[:] = 1
    assert axis(front) < -30
    assert 0 < axis(Heart.healthy(1)) < 90
    assert axis(back) > 90


def test_rotations_keep_lengths():
    turned = rotations(torch.randn(5, 3))
    torch.testing.assert_close(turned @ turned.transpose(1, 2), torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
