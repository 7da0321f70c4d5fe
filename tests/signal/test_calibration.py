import numpy as np
import pytest
from scipy.signal import lfilter

from dbeta.ecg import INDEPENDENT_LEADS, LEADS
from dbeta.errors import DBetaWarning, NoSignalError
from dbeta.io.read import find_ecgs, read_ecg
from dbeta.signal.calibration import Pulse, find_pulses

RATE = 500


def noisy(ecg):
    ecg.signal += np.random.default_rng(1).normal(0, 0.02, ecg.signal.shape).astype(np.float32)
    return ecg


def pulse(height=1.0, width=0.2, before=0.1, after=0.08):
    return np.repeat([0, height, 0], [round(seconds * RATE) for seconds in (before, width, after)])


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.08), (0, 0.08), (0.1, 0), (0, 0)])
@pytest.mark.parametrize("height", [1.0, 0.5, 2.0])
def test_a_pulse_at_either_end(make_ecg, before, after, height):
    ecg = noisy(make_ecg())
    steps = np.tile(pulse(height, 0.2, before, after), (12, 1))
    size = steps.shape[1]
    assert find_pulses(np.hstack([ecg.signal, steps]), RATE) == [Pulse(5000, 5000 + size, height, 0.2)]
    assert find_pulses(np.hstack([steps, ecg.signal]), RATE) == [Pulse(0, size, height, 0.2)]
    both = find_pulses(np.hstack([steps, ecg.signal, steps]), RATE)
    assert [(one.begin, one.end) for one in both] == [(0, size), (5000 + size, 5000 + 2 * size)]


def test_a_pulse_with_the_noise_of_amplifiers(make_ecg):
    ecg = noisy(make_ecg())
    steps = pulse() + np.random.default_rng(0).normal(0, 0.008, (12, len(pulse())))
    (found,) = find_pulses(np.hstack([ecg.signal, steps]), RATE)
    assert found.begin == pytest.approx(5000, abs=10)  # with the flat line before it
    assert (found.height, found.width) == (pytest.approx(1, abs=0.05), pytest.approx(0.2, abs=0.01))


def test_missing_samples_and_computed_leads_beside_a_pulse(make_ecg):
    ecg = noisy(make_ecg())
    steps = np.tile(pulse(), (12, 1))
    steps[2] = 0  # III and the augmented leads, as computed from I and II
    steps[3:6] *= np.array([-1, 0.5, 0.5])[:, None]
    signal = np.hstack([ecg.signal, steps, np.full((12, 20), np.nan)])
    assert find_pulses(signal, RATE) == [Pulse(5000, signal.shape[1], 1.0, 0.2)]


@pytest.mark.parametrize("leads", [("I",), ("I", "II"), ("V1", "V2", "V3")])
def test_a_pulse_in_few_leads_is_an_exact_rectangle(make_ecg, leads):
    ecg = noisy(make_ecg())
    signal = np.stack([ecg[lead] for lead in leads])
    assert not find_pulses(signal, RATE, leads)
    found = find_pulses(np.hstack([signal, np.tile(pulse(), (len(leads), 1))]), RATE, leads)
    assert [(one.begin, one.end, one.width) for one in found] == [(5000, 5190, 0.2)]


@pytest.mark.parametrize("leads", [LEADS, INDEPENDENT_LEADS, ("I",), ("V2", "V3")])
def test_a_pacemaker_and_flat_ends_are_no_pulse(make_ecg, leads):
    ecg = noisy(make_ecg())
    signal = np.stack([ecg[lead] for lead in leads])
    spikes = np.zeros(5000)
    spikes[100::400] = spikes[101::400] = 3.0
    signal = signal + spikes
    signal[:, 4990:] = 2.0  # a spike as the last samples
    assert not find_pulses(signal, RATE, leads)
    signal[:, 4700:] = 0
    assert not find_pulses(signal, RATE, leads)
    assert not find_pulses(np.zeros_like(signal), RATE, leads)
    assert not find_pulses(np.full_like(signal, np.nan), RATE, leads)


def test_a_pulse_is_cut_and_said(tmp_path, make_ecg):
    ecg = noisy(make_ecg())
    np.save(tmp_path / "a.npy", np.hstack([ecg.signal, np.tile(pulse(), (12, 1))]))
    options = {"sampling_rate": RATE, "leads": LEADS, "units": "mV"}
    with pytest.warns(DBetaWarning, match=r"a calibration pulse of 1 mV and 0.2 s at its end is left out, 0.38 s"):
        read = read_ecg(tmp_path / "a.npy", **options)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-6)
    assert read.meta["duration"] == 10
    assert "calibration pulse" in read.meta["notes"][0]
    # In a part of the recording it is missing, and times stay
    part = read_ecg(tmp_path / "a.npy", start=9, **options)
    assert part.duration == pytest.approx(1.38)
    np.testing.assert_array_equal(np.isnan(part.signal[0]), np.arange(690) >= 500)
    assert not np.isnan(read_ecg(tmp_path / "a.npy", duration=9, **options).signal).any()


@pytest.mark.parametrize(
    ("kind", "height"),
    [("20 µV", 1), ("40 µV", 1), ("negative", -1), ("two", 1), ("decay", 1)],
)
def test_other_kinds_of_pulses(make_ecg, kind, height):
    ecg = noisy(make_ecg())
    shape = pulse(height=height, before=0.2, after=0.2)
    shape = np.tile(shape, 2) if kind == "two" else shape
    if kind == "decay":
        shape = lfilter([1, -1], [1, -np.exp(-1 / (RATE * 0.3))], shape)
    noise = {"20 µV": 0.02, "40 µV": 0.04}.get(kind, 0)
    steps = shape + np.random.default_rng(0).normal(0, noise, (12, len(shape)))
    (found,) = find_pulses(np.hstack([ecg.signal, steps]), RATE)
    assert found.begin == pytest.approx(5000, abs=100 if noise else 0)
    assert found.height == pytest.approx(height, abs=0.15)
    assert found.width == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("leads", [("I",), ("I", "II", "V5")])
@pytest.mark.parametrize("after", [0, 0.2])
def test_few_leads_with_little_noise(make_ecg, leads, after):
    ecg = noisy(make_ecg())
    signal = np.stack([ecg[lead] for lead in leads])
    shape = pulse(before=0.2, after=after)
    steps = shape + np.random.default_rng(0).normal(0, 0.004, (len(leads), len(shape)))
    (found,) = find_pulses(np.hstack([signal, steps]), RATE, leads)
    assert found.begin == pytest.approx(5000, abs=10)
    assert (found.height, found.width) == (pytest.approx(1, abs=0.01), pytest.approx(0.2, abs=0.01))


def test_parts_that_begin_or_end_within_a_pulse(tmp_path, make_ecg):
    ecg = noisy(make_ecg())
    options = {"sampling_rate": RATE, "leads": LEADS, "units": "mV"}
    steps = np.tile(pulse(before=0.2, after=0.2), (12, 1))
    np.save(tmp_path / "end.npy", np.hstack([ecg.signal, steps]))
    np.save(tmp_path / "start.npy", np.hstack([steps, ecg.signal]))
    with pytest.warns(DBetaWarning, match="calibration pulse"):
        part = read_ecg(tmp_path / "end.npy", start=5, duration=5.3, **options)
    np.testing.assert_array_equal(np.isnan(part.signal[0]), np.arange(2650) >= 2500)
    with pytest.warns(DBetaWarning, match="calibration pulse"):
        part = read_ecg(tmp_path / "start.npy", start=0.3, duration=5, **options)
    np.testing.assert_array_equal(np.isnan(part.signal[0]), np.arange(2500) < 150)
    for name, start, duration in (("end", 10.1, None), ("end", 10, 0.6), ("start", 0, 0.3)):
        with pytest.raises(NoSignalError, match="holds only a calibration pulse there; read another part"):
            read_ecg(tmp_path / f"{name}.npy", start=start, duration=duration, **options)


@pytest.mark.shared
def test_no_alarm_in_real_recordings(shared):
    files = [*find_ecgs(shared / "challenge-2021"), *find_ecgs(shared / "cpsc2018-native"), *find_ecgs(shared / "ludb")]
    for file in files[::3]:
        assert not any("calibration" in note for note in read_ecg(file).meta.get("notes", []))
