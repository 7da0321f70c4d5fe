import numpy as np
import pytest

from dbeta.ecg import ECG, LEADS
from dbeta.signal.quality import assess_quality

TIME = np.arange(5000) / 500


def noise(seed=0, scale=0.1, shape=(12, 5000)):
    return scale * np.random.default_rng(seed).standard_normal(shape)


def coloured(power, cut=250, seed=0, shape=(12, 5000)):
    """Noise whose amplitude falls with a power of the frequency, 0.2 mV."""
    f = np.fft.rfftfreq(shape[1], 1 / 500)
    x = np.fft.irfft(np.fft.rfft(noise(seed, 1, shape)) * (f + 0.1) ** -power * (f < cut), shape[1])
    return 0.2 * x / x.std(axis=1, keepdims=True)


def electrodes(of_electrode):
    """Twelve leads from what nine electrodes pick up, (9, samples)."""
    right, left, foot = of_electrode[:3]
    limbs = [left - right, foot - right, foot - left]
    limbs += [right - (left + foot) / 2, left - (right + foot) / 2, foot - (right + left) / 2]
    return np.stack([*limbs, *(of_electrode[3:] - of_electrode[:3].mean(axis=0))])


@pytest.mark.parametrize("rate", [40, 70, 150])
@pytest.mark.parametrize("sampling_rate", [500, 1000, 240, 100])
def test_a_good_recording(make_ecg, rate, sampling_rate):
    quality = assess_quality(make_ecg(rate=rate, sampling_rate=sampling_rate))
    assert quality.verdict == "good"
    assert quality.reason == ""
    assert set(quality.leads.values()) == {"good"}
    assert not any(quality.problems.values())


@pytest.mark.parametrize(
    "signal",
    [
        noise(),
        noise(scale=1.0),
        noise(scale=0.005),
        electrodes(noise(shape=(9, 5000))),
        coloured(0.5),
        coloured(1.0),
        coloured(0, cut=40),
        electrodes(coloured(0.5, shape=(9, 5000))),
        np.outer(np.linspace(-0.3, 0.3, 12), noise(scale=1, shape=5000)),
        0.5 * np.sin(2 * np.pi * 0.25 * TIME) * np.linspace(0.2, 1, 12)[:, None] + noise(scale=0.004),
    ],
    ids=["white", "loud", "faint", "electrodes", "pink", "brown", "slow", "pink electrodes", "one source", "breath"],
)
def test_noise_is_no_heart(signal):
    quality = assess_quality(ECG(signal, 500))
    assert quality.verdict == "unusable"
    assert "no heartbeat" in quality.reason


@pytest.mark.parametrize("hum", [50, 60, 50.13, 59.9])
@pytest.mark.parametrize("size", [0.05, 5.0])
@pytest.mark.parametrize("scale", [0.0, 0.003])
def test_mains_is_no_heart(hum, size, scale):
    signal = size * np.sin(2 * np.pi * hum * TIME) * np.linspace(0.3, 1, 12)[:, None] + noise(scale=scale)
    quality = assess_quality(ECG(signal, 500))
    assert quality.verdict == "unusable"
    assert quality.reason == "mains hum and no heartbeat"


@pytest.mark.parametrize("seed", range(5))
def test_one_lead_of_noise(seed):
    assert assess_quality(ECG(noise(seed)[:1], 500, ["II"])).verdict == "unusable"


def test_one_lead_of_a_heart(make_ecg):
    quality = assess_quality(make_ecg(leads=("II",)))
    assert quality.verdict == "fair"
    assert quality.leads["II"] == "good"
    assert quality.problems["V1"] == ["missing"]


def test_ventricular_fibrillation_is_a_heart():
    rng = np.random.default_rng(1)
    f = np.fft.rfftfreq(5000, 1 / 500)
    dipole = np.fft.irfft(np.fft.rfft(rng.standard_normal((3, 5000))) * ((f > 3) & (f < 7)), 5000)
    leads = rng.standard_normal((8, 3)) @ (0.3 * dipole / dipole.std(axis=1, keepdims=True)) + noise(scale=0.01)[:8]
    ecg = ECG(leads, 500, ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))
    assert assess_quality(ecg).verdict != "unusable"


def test_flat_and_missing_leads(make_ecg):
    ecg = make_ecg()
    ecg.signal[6] = 0.7
    ecg.signal[7] = np.nan
    ecg.signal[8, 1000:2000] = np.nan
    ecg.signal[9, 2000:] = ecg.signal[9, 2000]
    quality = assess_quality(ecg)
    assert [quality.leads[lead] for lead in ("V1", "V2", "V3", "V4")] == ["unusable", "unusable", "fair", "unusable"]
    assert quality.problems["V1"] == ["flat"]
    assert quality.problems["V2"] == ["missing"]
    assert quality.problems["V3"] == ["samples missing"]
    assert "flat" in quality.problems["V4"]
    assert quality.verdict == "fair"
    rows = quality.rows()
    assert [row["lead"] for row in rows] == list(LEADS)
    assert rows[8]["missing"] == 0.2
    assert rows[7]["beats"] is None


@pytest.mark.parametrize(
    ("problem", "disturb"),
    [
        ("baseline wander", lambda x: x + 0.6 * np.sin(2 * np.pi * 0.2 * TIME)),
        ("mains hum", lambda x: x + 0.1 * np.sin(2 * np.pi * 50 * TIME)),
        ("mains hum", lambda x: x + 0.1 * np.sin(2 * np.pi * 60 * TIME)),
        ("muscle noise", lambda x: x + noise(scale=0.15)[0]),
        ("saturated", lambda x: np.clip(x, None, 0.12)),
        ("no clear beats", lambda x: coloured(0.5)[0]),
    ],
)
def test_a_problem_of_one_lead(make_ecg, problem, disturb):
    ecg = make_ecg()
    ecg.signal[10] = disturb(ecg.signal[10])
    quality = assess_quality(ecg)
    assert quality.leads.pop("V5") != "good"
    assert problem in quality.problems["V5"]
    assert set(quality.leads.values()) == {"good"}


@pytest.mark.parametrize("frequency", [50, 60])
@pytest.mark.parametrize("size", [0.1, 0.5, 2.0])
def test_hum_is_no_muscle(make_ecg, frequency, size):
    ecg = make_ecg()
    ecg.signal += size * np.sin(2 * np.pi * frequency * TIME, dtype=np.float32)
    problems = assess_quality(ecg).problems
    assert all("mains hum" in of and "muscle noise" not in of for of in problems.values())


@pytest.mark.parametrize(
    "signal",
    [0.3 * np.sin(2 * np.pi * 50 * TIME) + noise(scale=0.02)[0], noise(scale=0.3)[0]],
    ids=["hum", "noise"],
)
def test_a_disconnected_lead(make_ecg, signal):
    ecg = make_ecg()
    ecg.signal[8] = signal
    quality = assess_quality(ecg)
    assert "disconnected" in quality.problems.pop("V3")
    assert not any(quality.problems.values())
    alone = assess_quality(ECG(np.tile(signal, (12, 1)), 500))
    assert not any("disconnected" in of for of in alone.problems.values())


def test_a_lead_at_the_end_of_its_range(make_ecg):
    ecg = make_ecg()
    ecg.signal[6], ecg.signal[7], ecg.signal[8] = 3.2, -5.0, 1.0
    quality = assess_quality(ecg)
    assert [quality.problems[lead] for lead in ("V1", "V2", "V3")] == [["saturated"], ["saturated"], ["flat"]]
    assert {quality.leads[lead] for lead in ("V1", "V2", "V3")} == {"unusable"}


@pytest.mark.parametrize(("value", "what"), [(0.0, "flat"), (3.0, "saturated")])
def test_all_flat(value, what):
    quality = assess_quality(ECG(np.full((12, 5000), value), 500))
    assert (quality.verdict, quality.reason) == ("unusable", f"every lead is {what}")


def test_all_saturated():
    quality = assess_quality(ECG(np.clip(20 * coloured(1.0), -1, 1), 500))
    assert (quality.verdict, quality.reason) == ("unusable", "every lead is saturated")


def test_nothing_recorded():
    quality = assess_quality(ECG(np.full((12, 100), np.nan), 500))
    assert quality.verdict == "unusable"
    assert "missing" in quality.reason


def test_padding_hides_no_noise(make_ecg):
    signal = noise()
    signal[:, :800] = signal[:, 4000:] = 0
    assert assess_quality(ECG(signal, 500)).verdict == "unusable"
    ecg = make_ecg()
    ecg.signal[:, :800] = ecg.signal[:, 4200:] = 0
    assert assess_quality(ecg).reason == ""


@pytest.mark.parametrize("samples", [1, 2, 7, 60, 400])
def test_a_short_recording_is_judged_without_an_error(make_ecg, samples):
    ecg = make_ecg()
    assert assess_quality(ECG(ecg.signal[:, :samples], 500)).verdict in ("good", "fair", "unusable")


def test_the_recording_is_left_as_it_was(make_ecg):
    ecg = make_ecg()
    ecg.signal[3, 100:200] = np.nan
    before = ecg.signal.copy()
    assess_quality(ecg)
    np.testing.assert_array_equal(ecg.signal, before)


def printout(ecg, columns=4):
    """Leads shown one after the other, as on paper."""
    samples = ecg.signal.shape[1] // columns
    signal = np.full_like(ecg.signal, np.nan)
    for row in range(12):
        at = row * columns // 12 * samples
        signal[row, at : at + samples] = ecg.signal[row, at : at + samples]
    return ECG(signal, ecg.sampling_rate, meta=ecg.meta)


@pytest.mark.parametrize("columns", [2, 4])
@pytest.mark.parametrize("strip", [False, True])
def test_the_columns_of_a_printout_are_judged_on_their_own_time(make_ecg, columns, strip):
    ecg = make_ecg()
    paper = printout(ecg, columns)
    if strip:
        paper.signal[1] = ecg.signal[1]
    quality = assess_quality(paper)
    assert quality.reason == ""
    assert "unusable" not in quality.leads.values()
    assert quality.problems["V1"] == ["samples missing"]
    assert quality.problems["II"] == ([] if strip else ["samples missing"])
    np.testing.assert_allclose(quality.measures["missing"][6:], 1 - 1 / columns)
    assert (quality.measures["flat"] == 0).all()
    np.testing.assert_allclose(quality.measures["beats"][6:9], assess_quality(ecg).measures["beats"][6:9], rtol=0.5)


def test_a_flat_column_of_a_printout_is_unusable(make_ecg):
    paper = printout(make_ecg())
    paper.signal[6, np.isfinite(paper.signal[6])] = 0.1
    paper.signal[7, np.isfinite(paper.signal[7])] = noise(scale=0.3, shape=1250)
    quality = assess_quality(paper)
    assert quality.problems["V1"] == ["flat"]
    assert quality.leads["V2"] == "unusable"
    assert quality.leads["V4"] == "fair"


def test_less_than_a_beat_is_unusable(make_ecg):
    ecg = make_ecg()
    ecg.signal[8, 900:] = np.nan
    ecg.signal[9, np.arange(5000) % 900 > 300] = np.nan
    quality = assess_quality(ecg)
    assert (quality.leads["V3"], quality.leads["V4"]) == ("unusable", "unusable")
