"""Which record stands at which position of a run."""

import pickle
from collections import Counter

import numpy as np
import pytest

from dbeta.corpus.store import CorpusRows, decode_signal, load_corpus
from dbeta.training.stream import TrainingStream


class Numbers:
    """A corpus of so many rows that hold their number."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows):
        return {"name": [f"{self.name}{row}" for row in rows]}


def drawn(stream: TrainingStream, positions) -> list[str]:
    return [row["name"] for row in stream.__getitems__(list(positions))]


def test_a_corpus_is_gone_through_whole_and_in_a_new_order_each_time():
    stream = TrainingStream([Numbers("a", 7)], [1.0], 21, seed=0)
    rounds = [drawn(stream, range(start, start + 7)) for start in (0, 7, 14)]
    assert all(sorted(one) == [f"a{i}" for i in range(7)] for one in rounds)
    assert len({tuple(one) for one in rounds}) == 3
    assert drawn(TrainingStream([Numbers("a", 7)], [1.0], 21, seed=1), range(7)) != rounds[0]


def test_a_position_is_the_same_however_it_is_asked_for():
    stream = TrainingStream([Numbers("a", 50), Numbers("b", 9)], [2.0, 1.0], 300, seed=5)
    whole = drawn(stream, range(300))
    again = TrainingStream([Numbers("a", 50), Numbers("b", 9)], [2.0, 1.0], 300, seed=5)
    assert [again[i]["name"] for i in reversed(range(300))] == whole[::-1]
    assert drawn(again, range(299, 0, -7)) == [whole[i] for i in range(299, 0, -7)]


def test_corpora_mix_by_weight_and_the_longest_lasting_gives_each_record_once():
    stream = TrainingStream([Numbers("a", 60), Numbers("b", 10)], [3.0, 1.0], 10_000, seed=0)
    assert stream.round_length == 80
    first = Counter(drawn(stream, range(80)))
    assert all(first[f"a{i}"] == 1 for i in range(60))
    assert all(first[f"b{i}"] == 2 for i in range(10))
    share = sum(name.startswith("b") for name in drawn(stream, range(400))) / 400
    assert share == pytest.approx(0.25)


def test_rows_say_where_they_stand():
    row = TrainingStream([Numbers("a", 3), Numbers("b", 3)], [1.0, 1.0], 9, seed=0)[4]
    assert row["position"] == 4
    assert row["name"].startswith("ab"[row["corpus"]])


@pytest.mark.parametrize(("sizes", "weights"), [([], []), ([3], [0.0]), ([3], [-1.0]), ([0], [1.0]), ([3, 3], [1.0])])
def test_streams_that_cannot_be(sizes, weights):
    with pytest.raises(ValueError, match=r"stream needs|weight of a corpus"):
        TrainingStream([Numbers("a", size) for size in sizes], weights, 9)


def test_real_rows_are_read_without_copying_their_signals(micro_corpus):
    corpus = load_corpus(micro_corpus)
    rows = CorpusRows(corpus, np.array([5, 0, 33]))
    assert len(rows) == 3
    for source in (rows, pickle.loads(pickle.dumps(rows))):
        columns = source[[2, 0]]
        for i, number in enumerate((33, 5)):
            row = {name: column[i] for name, column in columns.items()}
            assert isinstance(row["signal"], memoryview)
            expected = corpus[number]
            assert {name: expected[name] for name in CorpusRows.COLUMNS} == {name: row[name] for name in rows.COLUMNS}
            np.testing.assert_array_equal(decode_signal(row).signal, decode_signal(expected).signal)
