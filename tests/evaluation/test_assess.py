"""Subgroups, within-device figures, calibration and the challenge score, on cases worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from dbeta.conditions.registry import find_condition, plain_condition
from dbeta.evaluation.assess import assess, reader_figures
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.benchmarks.challenge_2021 import CLASSES, read_weights
from dbeta.evaluation.calibration import calibrate, calibration_figures, expected_calibration_error
from dbeta.evaluation.challenge_score import challenge_score, tuned_challenge_score
from dbeta.evaluation.subgroups import among_abnormal, group_columns, within_groups


def benchmark(labels, split="test", **columns):
    labels = np.asarray(labels, np.int8)
    n = len(labels)
    table = pd.DataFrame(
        {
            "record_id": [f"{split} {i}" for i in range(n)],
            "patient_id": [f"{split} {i}" for i in range(n)],
            "split": split,
            "age": 50.0,
            "sex": "female",
            "device": "",
            "report": "",
        }
        | columns
    )
    return Benchmark(
        "mine", "", table, labels, {f"c{i}": plain_condition(f"c{i}") for i in range(labels.shape[1])}, None
    )


def test_groups_of_age_and_sex():
    test = benchmark(np.zeros((6, 1)), age=[39.9, 40, 59, 60, 75, np.nan], sex=["female", "male", "unknown"] * 2)
    test.records["group:site"] = ["a"] * 6
    columns = group_columns(test.records)
    assert columns["age"].tolist() == ["0–39", "40–59", "40–59", "60–74", "75+", ""]
    assert columns["sex"].tolist() == ["female", "male", "", "female", "male", ""]
    assert columns["site"].tolist() == ["a"] * 6


def test_a_score_that_only_tells_devices_apart_gets_a_half_within_them():
    rng = np.random.default_rng(0)
    device = np.repeat(["old", "new"], 200)
    labels = (rng.random(400) < np.where(device == "old", 0.9, 0.1)).astype(int)[:, None]
    scores = (device == "old").astype(float)[:, None] + rng.normal(size=(400, 1)) * 0.01
    test = benchmark(labels, device=device)
    metrics = assess(test, scores, None, None, resamples=50).metrics
    assert metrics["macro"]["auroc"][0] > 0.75
    value, low, high = metrics["within_device"]["macro"]["auroc"]
    assert low < 0.5 < high
    assert abs(value - 0.5) < 0.08
    assert metrics["within_device"]["groups"] == 2
    assert set(metrics["subgroups"]) == {"device"}
    assert metrics["subgroups"]["device"]["old"]["records"] == 200


def test_within_groups_is_the_weighted_mean_by_pairs():
    # Group a: one pair, ranked rightly; group b: 2 × 2 pairs, 3 right: (1 + 3) / (1 + 4)
    labels = np.array([1, 0, 1, 1, 0, 0])[:, None]
    scores = np.array([9, 8, 4, 2, 3, 1.0])[:, None]
    found = within_groups(benchmark(labels), scores, np.array(list("aabbbb")), 10, 0)
    assert found["macro"]["auroc"][0] == pytest.approx(0.8)
    assert within_groups(benchmark(labels), scores, np.array(["a"] * 6), 10, 0) is None


def test_among_abnormal_compares_the_sick():
    # The last two are healthy, and ranked lowest; of the sick, one pair of two is ranked rightly
    test = benchmark([[0, 1], [0, 0], [0, 0], [1, 0], [1, 0]])
    test.conditions = {"NORM": find_condition("normal ECG"), "MI": find_condition("myocardial infarction")}
    scores = np.array([[0, 0, 0, 0, 0], [2, 3, 1, 0, 0]], float).T
    found = among_abnormal(test, scores, 10, 0)
    assert found["records"] == 3
    assert found["classes"]["MI"]["auroc"][0] == 0.5
    assert list(found["classes"]) == ["MI"]
    metrics = assess(test, scores, None, None, resamples=5).metrics
    assert metrics["classes"]["MI"]["auroc"][0] == 0.75
    assert metrics["among_abnormal"]["macro"]["auroc"][0] == 0.5
    # Without a class for what is normal there is nothing to leave out
    assert among_abnormal(benchmark([[0], [1]]), np.zeros((2, 1)), 5, 0) is None


def test_small_groups_are_left_out():
    test = benchmark((np.arange(50) % 2)[:, None], sex=["female"] * 40 + ["male"] * 10)
    assert assess(test, np.arange(50.0)[:, None], None, None, resamples=5).metrics["subgroups"] == {}


def test_calibration_finds_the_probabilities():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 1)) * 3 + 5
    true = 1 / (1 + np.exp(-(x - 5)))
    labels = (rng.random((4000, 1)) < true).astype(np.int8)
    validated, tested = calibrate(labels[:2000], x[:2000], x[2000:])
    np.testing.assert_allclose(tested, true[2000:], atol=0.05)
    test = benchmark(labels[2000:])
    assert calibration_figures(test, tested)["ece"] < 0.03
    # Twice too sure: by hand, the mean distance of probability and share
    extreme = (tested > 0.5).astype(float)
    found = calibration_figures(test, extreme)["classes"]["c0"]["ece"]
    right = (labels[2000:] == extreme).mean(axis=0)[0]
    assert found == pytest.approx(1 - right, abs=0.02)
    assert validated.shape == (2000, 1)


def test_the_calibration_error_by_hand():
    # Bins: [0.2, 0.3) holds 0.2 and 0.25 with one positive, [0.3, 0.4) holds 0.3, and 1 is in a bin of its own
    truth, probabilities = np.array([1, 0, 0, 1, 0]), np.array([0.2, 0.25, 0.3, 1.0, 1.0])
    assert expected_calibration_error(truth, probabilities) == pytest.approx((abs(1 - 0.45) + 0.3 + abs(1 - 2)) / 5)


def test_a_class_that_validation_lacks_has_no_probability():
    labels = np.array([[1, 0], [0, 0]])
    _, tested = calibrate(labels, np.array([[1.0, 1.0], [0.0, 0.0]]), np.zeros((3, 2)))
    assert np.isfinite(tested[:, 0]).all()
    assert np.isnan(tested[:, 1]).all()


def one_hot(*rows):
    found = np.zeros((len(rows), len(CLASSES)), int)
    for row, names in zip(found, rows, strict=True):
        for name in names:
            row[list(CLASSES).index(name)] = 1
    return found


def test_the_challenge_score_by_hand():
    # Rewards: 1 on the diagonal, 0.5 for AF predicted as AFL and the other way round, else 0
    weights = np.eye(len(CLASSES))
    af, afl = list(CLASSES).index("AF"), list(CLASSES).index("AFL")
    weights[af, afl] = weights[afl, af] = 0.5
    truth = one_hot(["AF"], ["NSR"], ["AF", "PVC"])
    # Perfect: 1 + 1 + (2 pairs earn 1 each, of 2 × 2, each pair 1/2) = 1 + 1 + 1
    assert challenge_score(weights, truth, truth) == 1.0
    # All normal: 0 + 1 + 0
    assert challenge_score(weights, truth, one_hot(["NSR"], ["NSR"], ["NSR"])) == 0.0
    # 1st: AFL for AF earns 0.5 of a union of 2: 0.25; 2nd: right, 1; 3rd: AF of union 2: 1/2: 1.75
    answer = one_hot(["AFL"], ["NSR"], ["AF"])
    assert challenge_score(weights, truth, answer) == pytest.approx((1.75 - 1) / (3 - 1))
    # Nothing at all predicted
    assert challenge_score(weights, truth, np.zeros_like(truth)) == pytest.approx((0 - 1) / (3 - 1))


def slow_challenge_score(weights, truth, predicted):
    """The definition, record by record and pair by pair."""

    def earned(answer):
        total = 0.0
        for t, p in zip(truth, answer, strict=True):
            union = max(1, sum(a or b for a, b in zip(t, p, strict=True)))
            for i in np.flatnonzero(t):
                for j in np.flatnonzero(p):
                    total += weights[i][j] / union
        return total

    normal = one_hot(*[["NSR"]] * len(truth))
    return (earned(predicted) - earned(normal)) / (earned(truth) - earned(normal))


@pytest.mark.parametrize("seed", range(3))
def test_the_challenge_score_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    weights = rng.random((26, 26))
    truth, predicted = (rng.random((2, 30, 26)) < 0.15).astype(int)
    assert challenge_score(weights, truth, predicted) == pytest.approx(slow_challenge_score(weights, truth, predicted))


@pytest.mark.shared
def test_the_challenge_score_with_its_own_weights(shared):
    weights = read_weights(shared / "challenge-2021" / "weights.csv")
    truth = one_hot(["SB"], ["NSR"], ["AF"])
    # Sinus bradycardia called normal earns 0.45 of a union of 2, and so on: by hand from weights.csv
    mistaken = one_hot(["NSR"], ["NSR"], ["AFL"])
    normal = 0.45 / 2 + 1 + 0.25 / 2
    expected = (0.45 / 2 + 1 + 0.5 / 2 - normal) / (3 - normal)
    assert weights[list(CLASSES).index("SB"), list(CLASSES).index("NSR")] == 0.45
    assert challenge_score(weights, truth, mistaken) == pytest.approx(expected)


def test_the_threshold_is_chosen_on_validation():
    weights = np.eye(len(CLASSES))
    truth = one_hot(["AF"], ["NSR"], ["PVC"], ["AF"])
    probabilities = np.where(truth == 1, 0.31, 0.25)
    found = tuned_challenge_score(weights, truth, probabilities, truth, probabilities, np.arange(4))
    assert 0.25 < found["threshold"] <= 0.31
    assert found["value"] == [1.0, 1.0, 1.0]
    # A class that could not be calibrated is not predicted
    probabilities[:, list(CLASSES).index("PVC")] = np.nan
    assert tuned_challenge_score(weights, truth, probabilities, truth, probabilities, np.arange(4))["value"][0] < 1.0


def test_readers_say_yes_or_no():
    test = benchmark([[1], [1], [0], [0]])
    test.readers["somebody"] = np.array([[1], [0], [0], [0]])
    assert reader_figures(test) == {"somebody": 0.75}


def test_several_seeds_give_their_mean_and_spread():
    labels = (np.arange(60) % 2)[:, None]
    rng = np.random.default_rng(0)
    scores = [labels + rng.normal(size=(60, 1)) for _ in range(4)]
    both = assess(benchmark(labels), scores, None, None, resamples=20)
    single = [assess(benchmark(labels), one, None, None, resamples=20).metrics["macro"]["auroc"][0] for one in scores]
    assert both.metrics["macro"]["auroc"][0] == pytest.approx(np.mean(single), abs=1e-4)
    assert both.metrics["sd_over_seeds"]["auroc"] == pytest.approx(np.std(single, ddof=1), abs=1e-3)
    np.testing.assert_allclose(both.scores, np.mean(scores, axis=0))
