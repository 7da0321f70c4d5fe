"""Probes: which records they learn from, few-shot curves, and what can be known without the ECG."""

import numpy as np
import pandas as pd
import pytest

from dbeta.conditions.registry import plain_condition
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.probe import (
    demographic_features,
    device_features,
    few_shot,
    probe,
    some_patients,
    without_recording,
)


def made_up(n=600, labels=2, seed=0, **columns):
    """Two records of each patient, 70 % train, 15 % validation, 15 % test; labels follow from the embeddings."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // 2
    embeds = rng.normal(size=(n, 8)).astype(np.float32)
    truth = (embeds[:, :labels] + rng.normal(size=(n, labels)) * 0.3 > 0.5).astype(np.int8)
    split = np.where(patient < 0.7 * n / 2, "train", np.where(patient < 0.85 * n / 2, "validation", "test"))
    table = pd.DataFrame(
        {
            "record_id": [str(i) for i in range(n)],
            "patient_id": [f"p{i}" for i in patient],
            "split": split,
            "age": np.nan,
            "sex": "unknown",
            "device": "",
            "report": "",
        }
        | columns
    )
    conditions = {f"c{i}": plain_condition(f"c{i}") for i in range(labels)}
    return Benchmark("mine", "", table, truth, conditions, None), embeds


def test_a_probe_finds_what_lies_open():
    task, embeds = made_up()
    seen = []
    found = probe(task, embeds, resamples=20, progress=lambda done, total: seen.append((done, total)))
    assert list(found) == ["1%", "10%", "100%"]
    assert found["100%"].metrics["macro"]["auroc"][0] > 0.95
    assert found["1%"].metrics["macro"]["auroc"][0] < found["100%"].metrics["macro"]["auroc"][0]
    assert "sd_over_seeds" in found["1%"].metrics
    assert "sd_over_seeds" not in found["100%"].metrics
    assert seen[-1] == (11, 11)
    assert found["100%"].metrics["calibration"]["ece"] < 0.1


def test_noise_gives_chance():
    task, _ = made_up()
    noise = np.random.default_rng(9).normal(size=(600, 8)).astype(np.float32)
    value, low, high = probe(task, noise, resamples=100)["100%"].metrics["macro"]["auroc"]
    assert low < 0.5 < high
    assert abs(value - 0.5) < 0.15


def test_test_labels_change_no_score():
    """Nothing of the test may reach the probe."""
    task, embeds = made_up()
    before = probe(task, embeds, resamples=5)["100%"].scores
    task.labels[task.rows("test")] = 1 - task.labels[task.rows("test")]
    np.testing.assert_array_equal(probe(task, embeds, resamples=5)["100%"].scores, before)


def test_shares_are_of_patients_and_differ_by_seed():
    patients = np.repeat([f"p{i}" for i in range(100)], 3)
    chosen = some_patients(patients, 0.1, 0)
    assert chosen.sum() == 30
    assert len(np.unique(patients[chosen])) == 10
    assert (some_patients(patients, 0.1, 0) == chosen).all()
    assert (some_patients(patients, 0.1, 1) != chosen).any()
    assert some_patients(patients, 0.001, 0).sum() == 3


def test_merls_probe_takes_merls_subsets():
    task, embeds = made_up()
    task.subsets = {"10%": frozenset(str(i) for i in range(0, 420, 10)), "1%": frozenset(["700"])}
    found = probe(task, embeds, merl=True, resamples=5)
    assert list(found) == ["10%", "100%"]  # of the 1 % none is there
    assert found["100%"].metrics["macro"]["auroc"][0] > 0.9


@pytest.mark.parametrize("split", ["train", "validation"])
def test_nothing_to_learn_from(split):
    task, embeds = made_up()
    rows = task.rows(*({"train", "validation", "test"} - {split}))
    with pytest.raises(DBetaError, match=f"has no {split} records; only zero-shot"):
        probe(task.take(rows), embeds[rows])


def test_the_few_shot_curve_rises():
    task, embeds = made_up(1200)
    found = few_shot(task, embeds, resamples=20)
    assert found["classes"] == ["c0", "c1"]
    assert list(found["shots"]) == ["1", "2", "4", "8", "16", "32", "64", "128"]
    values = [one["auroc"][0] for one in found["shots"].values()]
    assert values[-1] > 0.93
    assert values[0] < values[3] < values[-1] + 0.01


def test_few_shot_with_few_positives():
    task, embeds = made_up(200)
    task.labels[:, 1] = 0
    task.labels[task.rows("train")[:5], 1] = 1
    task.labels[task.rows("test")[0], 1] = 1
    found = few_shot(task, embeds, resamples=5)
    assert list(found["shots"])[-1] == "32"
    assert found["classes"] == ["c0"]  # the other has but five
    task.labels[:] = 0
    assert few_shot(task, embeds, resamples=5) == {"classes": [], "shots": {}}


def test_age_and_sex_alone():
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 90, 600)
    task, _ = made_up(age=age, sex=np.where(rng.random(600) < 0.5, "female", "male"))
    task.labels[:, 0] = (np.abs(age - 55) > 20).astype(int)  # both the young and the old: no straight line finds it
    found = without_recording(task, resamples=20)
    assert list(found) == ["age and sex"]
    assert found["age and sex"]["classes"]["c0"]["auroc"][0] > 0.9
    assert abs(found["age and sex"]["classes"]["c1"]["auroc"][0] - 0.5) < 0.2


def test_the_device_alone():
    device = np.array(["a", "b", "c"] * 200)
    task, _ = made_up(device=device)
    task.labels[:, 0] = device == "b"
    assert without_recording(task, resamples=5)["device"]["classes"]["c0"]["auroc"][0] == 1.0


def test_unknown_demographics():
    task, _ = made_up()
    assert demographic_features(task.records, task.rows("train")) is None
    assert device_features(task.records) is None
    assert without_recording(task) == {}
    some, _ = made_up(age=[50.0, np.nan] * 300)
    assert np.isfinite(demographic_features(some.records, some.rows("train"))).all()
