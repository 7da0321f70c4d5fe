"""Ranks, recall and chance, by hand."""

from math import comb
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from dbeta.conditions.registry import plain_condition
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import Benchmark
from dbeta.evaluation.identification import gallery_and_queries, identification
from dbeta.evaluation.retrieval import _chance, first_hits, retrieval


def task(reports, patients=None):
    n = len(reports)
    table = pd.DataFrame(
        {
            "record_id": [str(i) for i in range(n)],
            "patient_id": patients or [str(i) for i in range(n)],
            "split": "test",
            "report": reports,
        }
    )
    return Benchmark("mine", "", table, np.ones((n, 1), np.int8), {"x": plain_condition("x")}, None)


class Words:
    """A text encoder that knows three words."""

    axes: ClassVar = {"sinus rhythm": 0, "atrial fibrillation": 1, "left bundle branch block": 2}

    def embed_text(self, texts):
        return np.stack([np.eye(3, dtype=np.float32)[self.axes[text]] for text in texts])


def test_ranks_with_ties_in_the_middle():
    scores = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]])
    relevant = np.array([[True, False, False], [False, True, False], [True, False, False]])
    assert first_hits(scores, relevant).tolist() == [1, 2, 3]
    # The best of several counts
    assert first_hits(scores[:1], np.array([[False, True, True]])).tolist() == [2]


def test_duplicates_of_a_report_are_hits():
    reports = ["Sinus rhythm", "sinus rhythm.", "atrial fibrillation", "left bundle branch block", ""]
    # The second record looks like the first; the last two are taken for each other
    embeds = np.eye(3)[[0, 0, 2, 1, 0]].astype(np.float32)
    found = retrieval(Words(), task(reports), embeds, resamples=10)
    assert found["pairs"] == 4
    assert found["unique_reports"] == 3
    assert found["text_to_ecg"]["recall@1"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert found["ecg_to_text"]["recall@1"][0] == 0.5
    assert found["ecg_to_text"]["recall@5"] == [1.0, 1.0, 1.0]
    assert found["chance"]["text_to_ecg"]["recall@1"] == pytest.approx((2 / 4 + 1 / 4 + 1 / 4) / 3, abs=1e-4)
    assert found["chance"]["ecg_to_text"]["recall@1"] == pytest.approx(1 / 3, abs=1e-4)


def test_chance_is_the_hypergeometric_distributions():
    found = _chance(np.array([3, 1]), 20)
    for k in (1, 5, 10):
        expected = np.mean([1 - comb(20 - hits, k) / comb(20, k) for hits in (3, 1)])
        assert found[f"recall@{k}"] == pytest.approx(expected, abs=1e-4)
    rng = np.random.default_rng(0)
    ranks = [min(rng.permutation(20)[:3]) + 1 for _ in range(4000)]
    assert np.mean(ranks) == pytest.approx(21 / 4, abs=0.2)
    assert _chance(np.array([3]), 20)["median_rank"] == pytest.approx(21 / 4, abs=0.1)


def test_random_embeddings_are_at_chance():
    rng = np.random.default_rng(0)
    reports = [list(Words.axes)[i % 3] for i in range(300)]
    found = retrieval(Words(), task(reports), rng.normal(size=(300, 3)).astype(np.float32), resamples=100)
    _, low, high = found["ecg_to_text"]["recall@1"]
    assert low < found["chance"]["ecg_to_text"]["recall@1"] < high


def test_nothing_to_search():
    with pytest.raises(DBetaError, match="fewer than two unique reports"):
        retrieval(Words(), task(["sinus rhythm", "Sinus rhythm.", ""]), np.eye(3, dtype=np.float32))


# --- Patient identification


def test_the_gallery_holds_the_first_record_of_those_with_several():
    gallery, queries = gallery_and_queries(np.array(list("abacbbd")))
    assert gallery.tolist() == [0, 1]
    assert queries.tolist() == [2, 4, 5]


def test_identification_by_hand():
    patients = list("aabbcc")
    # b's second record looks like a
    embeds = np.eye(3)[[0, 0, 1, 0, 2, 2]].astype(np.float32) * 5
    found = identification(task([""] * 6, patients), embeds, resamples=50)
    assert found["patients"] == found["queries"] == 3
    assert found["accuracy@1"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert found["chance"] == pytest.approx(1 / 3, abs=1e-4)
    with pytest.raises(DBetaError, match="fewer than two test patients have several records"):
        identification(task([""] * 3, list("aab")), embeds[:3])
