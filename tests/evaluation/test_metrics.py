"""Figures worked out by hand, and what the bootstrap resamples."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dbeta.evaluation.metrics import compare, mean_of, resample, score_labels, summarize, weighted_metrics


def one_label(labels, scores, patients=None, **options):
    """The figures of a single label; each record its own patient unless said otherwise."""
    labels, scores = np.array(labels)[:, None], np.array(scores, dtype=float)[:, None]
    patients = range(len(labels)) if patients is None else patients
    return score_labels(labels, scores, ["x"], list(patients), **({"resamples": 50} | options))


@pytest.mark.parametrize(
    ("labels", "scores", "auroc", "auprc"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0, 1.0),
        # Found third and fourth of four: 1/2 × 1/3 + 1/2 × 2/4
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0, 0.4167),
        # Pairs in order: .35 > .1, .8 > .1, .8 > .4, three of four; first and third: 1/2 × 1 + 1/2 × 2/3
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75, 0.8333),
        # All tied: chance, and the share of positives
        ([0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5, 0.25),
        # One tie across the classes counts half: (1 + 1 + 1/2 + 1) / 4; 1/2 × 1 + 1/2 × 2/3
        ([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8], 0.875, 0.8333),
        # Only the order counts, not the values
        ([0, 1, 0, 1], [-1e6, 5.0, -3.0, 1e9], 1.0, 1.0),
    ],
)
def test_values_by_hand(labels, scores, auroc, auprc):
    result = one_label(labels, scores)
    assert result["classes"]["x"]["auroc"][0] == auroc
    assert result["classes"]["x"]["auprc"][0] == auprc
    assert result["classes"]["x"]["positives"] == sum(labels)
    assert result["macro"]["auroc"] == result["classes"]["x"]["auroc"]


def test_a_label_that_cannot_be_scored_is_left_out_of_the_mean():
    labels = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]).T
    scores = np.array([[1, 2, 3, 4], [4, 2, 3, 1], [1, 2, 3, 4], [1, 2, 3, 4]], dtype=float).T
    result = score_labels(labels, scores, ["right", "wrong", "never", "always"], "abcd", resamples=50)
    classes = result["classes"]
    assert classes["never"] == {"positives": 0, "decided": 4, "auroc": None, "auprc": None}
    assert classes["always"] == {"positives": 4, "decided": 4, "auroc": None, "auprc": None}
    assert classes["right"]["auroc"][0] == 1.0
    assert classes["wrong"]["auroc"][0] == 0.0  # positives at 2 and 1, negatives at 4 and 3
    assert result["macro"]["auroc"][0] == pytest.approx(0.5)


def test_no_label_can_be_scored():
    result = score_labels(np.zeros((3, 1)), np.ones((3, 1)), ["x"], [1, 2, 3], resamples=5)
    assert result["macro"] == {"auroc": None, "auprc": None}


def normal_scores(n, seed=0):
    """A label of half the records whose scores overlap with the others'."""
    labels = np.arange(n) % 2
    return labels, np.random.default_rng(seed).normal(size=n) + labels


def test_the_interval_holds_the_value_and_shrinks_with_more_patients():
    few, many = (one_label(*normal_scores(n), resamples=100)["classes"]["x"] for n in (40, 640))
    for metric in ("auroc", "auprc"):
        widths = []
        for value, low, high in (few[metric], many[metric]):
            assert low < value < high
            widths.append(high - low)
        assert 2 < widths[0] / widths[1] < 8  # √16 = 4


def test_the_interval_covers_what_theory_says():
    # Hanley and McNeil 1982, at the true AUROC of two unit normals one apart: Φ(1/√2) = 0.760
    area, n = 0.760, 100
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = ((area * (1 - area) + (n - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / n**2) ** 0.5
    _, low, high = one_label(*normal_scores(2 * n), resamples=200)["classes"]["x"]["auroc"]
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.3)


def test_a_patients_records_are_drawn_together():
    # Patient a is ranked rightly (1.0), b wrongly (0.0), both together 3 pairs of 4; aa and bb each come in a quarter
    # of the draws, so they are the ends of the interval. Drawn one by one, 200 records would stay within 0.75 ± 0.1.
    labels = [1, 0, 1, 0] * 50
    scores = [0.9, 0.1, 0.2, 0.8] * 50
    patients = ["a", "a", "b", "b"] * 50
    assert one_label(labels, scores, patients)["classes"]["x"]["auroc"] == [0.75, 0.0, 1.0]
    _, low, high = one_label(labels, scores)["classes"]["x"]["auroc"]
    assert 0.6 < low < high < 0.9


def test_a_single_patient_says_nothing_of_others():
    # Resampling one patient, or one patient with the label, always gives the same: that is no certainty
    assert one_label([1, 0, 1], [0.3, 0.2, 0.1], ["a"] * 3)["classes"]["x"]["auroc"] == [0.5, 0.0, 1.0]
    single = one_label([1, 1, 0, 0, 0], [5, 4, 3, 2, 1], ["a", "a", "b", "c", "d"])
    assert single["classes"]["x"]["auroc"] == [1.0, 0.0, 1.0]
    assert single["macro"]["auroc"] == [1.0, 0.0, 1.0]
    assert one_label([1, 1, 0, 0, 0], [5, 4, 3, 2, 1])["classes"]["x"]["auroc"] == [1.0, 1.0, 1.0]


def test_patients_may_be_numbers_or_words():
    labels, scores = normal_scores(40)
    numbers = [i // 2 for i in range(40)]
    assert one_label(labels, scores, numbers) != one_label(labels, scores)
    words = [f"{number:02d}" for number in numbers]
    assert one_label(labels, scores, [str(n).zfill(2) for n in numbers]) == one_label(labels, scores, words)


def test_draws_without_a_positive_are_left_out():
    # Two positives of five: (3/5)⁵ = 8 % of the draws miss them
    value, low, high = one_label([0, 0, 0, 1, 1], [1, 2, 3, 4, 5], resamples=100)["classes"]["x"]["auroc"]
    assert (value, low, high) == (1.0, 1.0, 1.0)


def test_the_seed_decides():
    labels, scores = normal_scores(60)
    first, again, other = (one_label(labels, scores, seed=seed)["macro"]["auroc"] for seed in (1, 1, 2))
    assert first == again
    assert first[0] == other[0]
    assert first[1:] != other[1:]


def test_the_global_generator_is_left_alone():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one_label(*normal_scores(20))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        one_label([0, 1, 0], [0.1, bad, 0.3])


@pytest.mark.parametrize(
    ("labels", "scores", "names", "patients"),
    [
        ((3, 2), (3, 1), 2, 3),
        ((3, 2), (2, 2), 2, 3),
        ((3, 2), (3, 2), 1, 3),
        ((3, 2), (3, 2), 2, 4),
        ((3, 2), (2, 3), 2, 3),
    ],
)
def test_shapes_must_agree(labels, scores, names, patients):
    with pytest.raises(ValueError, match="labels"):
        score_labels(np.ones(labels), np.ones(scores), ["x"] * names, list(range(patients)))


@pytest.mark.parametrize("seed", range(5))
def test_weighted_metrics_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(200) < 0.2
    scores = np.round(rng.normal(size=200) + truth, 1)  # many ties
    weights = rng.integers(0, 4, size=(20, 200))
    auroc, auprc = weighted_metrics(truth, scores, weights)
    for i, weight in enumerate(weights):
        assert auroc[i] == pytest.approx(roc_auc_score(truth, scores, sample_weight=weight), abs=1e-12)
        assert auprc[i] == pytest.approx(average_precision_score(truth, scores, sample_weight=weight), abs=1e-12)


def test_weights_without_a_positive_or_a_negative_have_no_value():
    truth = np.array([True, False, False])
    auroc, auprc = weighted_metrics(truth, np.array([3.0, 2.0, 1.0]), np.array([[0, 1, 1], [2, 0, 0], [1, 1, 1]]))
    assert np.isnan(auroc[:2]).all()
    assert np.isnan(auprc[:2]).all()
    assert auroc[2] == auprc[2] == 1.0


def test_undecided_records_do_not_count():
    labels = np.array([1, 0, -1, 1, 0, -1])[:, None]
    scores = np.array([0.9, 0.1, 1.0, 0.8, 0.2, -1.0])[:, None]
    one = score_labels(labels, scores, ["x"], "abcdef", resamples=20)["classes"]["x"]
    assert one["positives"] == 2
    assert one["decided"] == 4
    assert one["auroc"] == [1.0, 1.0, 1.0]
    # As if they were not there
    assert (
        one["auprc"][0]
        == score_labels(labels[labels >= 0][:, None], scores[labels >= 0][:, None], ["x"], "abde")["classes"]["x"][
            "auprc"
        ][0]
    )


def test_rare_classes_are_left_out_of_the_second_mean():
    labels = np.zeros((40, 2), int)
    labels[:15, 0] = labels[:3, 1] = 1
    scores = np.stack([np.arange(40)[::-1], np.arange(40)], axis=1).astype(float)  # the first right, the second wrong
    result = score_labels(labels, scores, ["common", "rare"], range(40), resamples=20)
    assert result["macro"]["auroc"][0] == 0.5
    assert result["macro_common"]["auroc"][0] == 1.0


def test_the_mean_of_seeds_is_narrower_than_each():
    rng = np.random.default_rng(0)
    labels = (np.arange(200) % 2)[:, None]
    patients = list(range(200))
    tables = [resample(labels, labels + rng.normal(size=(200, 1)) * 2, patients, resamples=200) for _ in range(5)]
    mean = summarize(mean_of(tables), labels, ["x"], patients)["macro"]["auroc"]
    assert mean[0] == pytest.approx(np.mean([table["auroc"][0, 0] for table in tables]), abs=1e-4)
    single = summarize(tables[0], labels, ["x"], patients)["macro"]["auroc"]
    assert mean[2] - mean[1] < single[2] - single[1]


def test_a_difference_is_paired():
    # Two models that differ by a little on every record: far surer than the two intervals suggest
    rng = np.random.default_rng(0)
    labels = (np.arange(300) % 2)[:, None]
    noise = rng.normal(size=(300, 1)) * 1.5
    better, worse = labels * 1.2 + noise, labels * 1.0 + noise
    tables = [resample(labels, scores, range(300), resamples=300) for scores in (better, worse)]
    figures = [summarize(table, labels, ["x"], range(300))["macro"]["auroc"] for table in tables]
    assert figures[0][1] < figures[1][2]  # the intervals overlap
    found = compare(*tables, ["x"])
    value, low, high = found["macro"]["auroc"]["difference"]
    assert value == pytest.approx(figures[0][0] - figures[1][0], abs=1e-4)
    assert 0 < low < value < high
    assert found["classes"]["x"]["auroc"]["p"] == pytest.approx(2 / 301, abs=1e-4)
    turned = compare(*tables[::-1], ["x"])["macro"]["auroc"]
    assert turned["difference"] == pytest.approx([-value, -high, -low], abs=2e-4)
    same = compare(tables[0], tables[0], ["x"])["macro"]["auroc"]
    assert same["difference"] == [0.0, 0.0, 0.0]
    assert same["p"] == 1.0


def test_a_class_without_a_value_has_no_difference():
    labels = np.array([[1, 0], [0, 0], [1, 0]])
    table = resample(labels, np.ones((3, 2)), "abc", resamples=10)
    assert compare(table, table, ["x", "y"])["classes"]["y"] == {"auroc": None, "auprc": None}
