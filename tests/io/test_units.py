import pytest

from dbeta.io.units import millivolts


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
