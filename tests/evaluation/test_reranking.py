"""Re-ranked retrieval: which pairs are matched, what the report shows."""

import numpy as np
import pytest

import dbeta
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks import load_benchmark
from dbeta.evaluation.reranking import rerank_scores
from dbeta.evaluation.retrieval import first_hits
from dbeta.evaluation.sections import _retrieval
from dbeta.evaluation.tasks import evaluate_retrieval


@pytest.fixture
def model(micro_checkpoint):
    return dbeta.load(micro_checkpoint, precision="float32")


def test_the_nearest_of_each_query_are_sorted_by_matching(model, make_ecg):
    signals = np.stack([model.processor.signal(make_ecg(seed=i)) for i in range(5)])
    texts = ["sinus rhythm", "atrial fibrillation", "paced rhythm", "left bundle branch block"]
    scores = np.random.default_rng(0).uniform(-1, 1, (4, 5))
    matched = model.match_matrix([make_ecg(seed=i) for i in range(5)], texts).T  # (texts, records)
    by_text, by_record = rerank_scores(model, signals, texts, scores, 2)
    for before, after, truth in ((scores, by_text, matched), (scores.T, by_record, matched.T)):
        for row, new, match in zip(before, after, truth, strict=True):
            first, rest = np.argsort(-row)[:2], np.argsort(-row)[2:]
            assert set(np.argsort(-new)[:2]) == set(first)
            np.testing.assert_allclose(new[first] - 10, match[first], atol=1e-5)
            assert (new[rest] == row[rest]).all()
    # A hit among the first can only move among them
    relevant = np.eye(4, 5, dtype=bool)
    ranks, again = first_hits(scores, relevant), first_hits(by_text, relevant)
    assert ((ranks <= 2) == (again <= 2)).all() and (ranks[ranks > 2] == again[ranks > 2]).all()


def test_the_report_shows_the_gain_beside_both(model, micro_ptb_xl):
    benchmark = load_benchmark("ptb-xl-super", micro_ptb_xl, 9)
    metrics = evaluate_retrieval({"micro": model}, benchmark, rerank=3, resamples=20).metrics
    for way in ("text_to_ecg", "ecg_to_text"):
        for key in ("recall@1", "recall@5"):
            gain, low, high = metrics["reranked"]["gain"][way][key]
            assert gain == pytest.approx(metrics["reranked"][way][key][0] - metrics[way][key][0], abs=1e-3)
            assert low <= high
        assert metrics["reranked"]["gain"][way]["recall@5"][0] == 0.0  # 3 items sorted: none beyond 3 changes
    text = _retrieval(metrics)
    assert "## Re-ranked by matching" in text and text.count("re-ranked | gain") == 3
    assert "Re-ranked" not in _retrieval({key: value for key, value in metrics.items() if key != "reranked"})
    with pytest.raises(DBetaError, match="two encoders only"):
        evaluate_retrieval({"tiny": dbeta.load("tiny")}, benchmark, rerank=3, resamples=20)
