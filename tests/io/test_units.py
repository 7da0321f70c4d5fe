import numpy as np
import pytest

from dbeta.io.units import beat_amplitude, millivolts


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("mV", 1),
        ("mv", 1),
        ("uV", 1e-3),
        ("µV", 1e-3),  # the micro sign
        ("μV", 1e-3),  # the Greek letter
        ("nV", 1e-6),
        ("V", 1e3),
        ("microvolts", 1e-3),
        ("MILLIVOLT", 1),
        ("1e-4 V", 0.1),
        ("1e-4V", 0.1),
        ("1.25uV", 1.25e-3),
        ("4.88 uV/LSB", 4.88e-3),
        ("2.5 * uV", 2.5e-3),
        ("200/mV", 0.005),
        ("1000 adu/mV", 0.001),
        ("0.00488", 0.00488),
        (".5mV", 0.5),
    ],
)
def test_units_in_millivolts(unit, value):
    assert millivolts(unit) == pytest.approx(value)


@pytest.mark.parametrize("unit", ["", "mmHg", "NU", "bpm", "V/s", "0", "0/mV", "-1 mV", "1e999", "V m", "1e-999"])
def test_what_is_no_unit_of_voltage(unit):
    assert millivolts(unit) is None


def test_the_amplitude_is_that_of_the_beats(make_ecg):
    ecg = make_ecg()
    expected = beat_amplitude(ecg.signal, 500)
    assert 1 < expected < 2
    wander = 5 * np.sin(2 * np.pi * 0.05 * np.arange(5000) / 500)
    spoilt = ecg.signal + wander
    spoilt[:, 2000:2005] = 500  # one artefact
    spoilt[3] = np.nan
    spoilt[:, 4000:] = np.nan
    assert 1 < beat_amplitude(spoilt, 500) < 3.2
    assert beat_amplitude(ecg.signal[:, :300], 500) > 0.5
    assert beat_amplitude(np.ones((12, 5000)), 500) == 0
    assert beat_amplitude(np.full((12, 5000), np.nan), 500) == 0
