"""Which text holds for which record."""

import itertools
import math
import random

import pytest
import torch

from dbeta.conditions.statements import Band
from dbeta.training.pairs import RULES, Record, Text, batch_signs, encode_facts, pair_sign, text_key

A, B, AB, NONE = frozenset("a"), frozenset("b"), frozenset("ab"), frozenset()


def record(findings: frozenset[str], report: str = "own", decided: frozenset[str] = AB) -> Record:
    return Record(report, findings, decided)


@pytest.mark.parametrize(
    ("text", "of", "sign"),
    [
        (Text("t", A, True), record(AB), 1),
        (Text("t", A, True), record(B), -1),
        (Text("t", AB, True), record(A), -1),  # half of it does not hold
        (Text("t", A, True), record(B, decided=B), 0),  # nobody decided
        (Text("t", AB, True), record(NONE, decided=B), -1),  # one is undecided, the other known to be absent
        (Text("own", A, True), record(B), -1),  # equal words do not matter to a sentence
        (Text("own", A), record(A), 1),  # its own report, or an equal one
        (Text("own"), record(NONE), 1),
        (Text("t", A), record(B), -1),  # the other record lacks a finding
        (Text("t", A), record(AB), 0),  # it has them all; what else the report says is not known
        (Text("t", A), record(NONE, decided=NONE), 0),
        (Text("t"), record(A), -1),  # nothing is known of the report: it is taken to be wrong
        (Text("t", A, True, B), record(A), 1),  # "a, no b"
        (Text("t", A, True, B), record(AB), -1),
        (Text("t", A, True, B), record(A, decided=A), 0),
        (Text("t", NONE, True, B), record(A), 1),
    ],
)
def test_pair_sign(text, of, sign):
    assert pair_sign(text, of) == sign


def signs(records, own, texts, aligned, rule, prompts=()):
    """The matrix of a batch."""
    facts = encode_facts(records, own, texts, prompts, {"a": 0, "b": 1, "c": 2})
    return batch_signs(facts, torch.tensor(aligned), rule)


def test_the_matrix_says_what_pair_sign_says():
    """All kinds of texts against all kinds of records."""
    sets = [NONE, A, B, AB, frozenset("c"), frozenset("abc")]
    kinds = itertools.product(("x", "y"), sets, sets)
    records = [Record(report, findings, findings | known) for report, findings, known in kinds]
    texts = [Text(words, states, complete) for words in "xz" for states in sets for complete in (True, False)]
    texts += [Text("x", states, True, denies) for states in sets for denies in sets if not states & denies]
    texts = [text for text in texts if text.states or text.denies or not text.complete]  # a sentence says something
    rng = random.Random(0)
    for _ in range(40):
        some = rng.choices(records, k=6)
        shown = rng.choices(texts, k=6)
        found = signs(some, [Text("")] * 6, shown, [True] * 6, "entailment")
        for i, j in itertools.product(range(6), range(6)):
            assert found[i, j] == pair_sign(shown[j], some[i]), (some[i], shown[j])


def test_numbers_are_compared_in_the_matrix_as_in_a_pair():
    """With findings, denials and prompts; a measure that is not known decides nothing."""
    rng = random.Random(1)
    measures = ("rate", "pr", "axis")
    records = [
        Record(
            "r",
            rng.choice((NONE, A)),
            AB,
            numbers=tuple(rng.choices((math.nan, 50.0, 70.0, 160.0, 178.0), k=6)),
        )
        for _ in range(30)
    ]
    texts = [
        Text(
            "t",
            states,
            True,
            denies,
            tuple(Band.of(one, number, how) for one, how in zip(chosen, ("at", "above"), strict=False)),
        )
        for states, denies, number in itertools.product((NONE, A), (NONE, B), (55.0, 72.0, 163.0, -179.0))
        for chosen in (measures[:1], measures[1:], ())
        if states or denies or chosen
    ]
    columns = {"a": 0, "b": 1}
    for start in range(0, len(texts), 10):
        some = texts[start : start + 10]
        batch = records[: len(some)]
        facts = encode_facts(batch, [Text("")] * len(some), some, texts[:7], columns)
        found = batch_signs(facts, torch.ones(len(some), dtype=torch.bool), "entailment")
        for i, j in itertools.product(range(len(some)), range(len(some) + 7)):
            text = [*some, *texts[:7]][j]
            assert found[i, j] == pair_sign(text, batch[i]), (batch[i], text)


def test_rules_of_a_hand_made_batch():
    records = [record(A, "x"), record(A, "x"), record(B, "y"), record(AB, "z")]
    texts = [Text("x", A), Text("x", A), Text("z", AB), Text("z", AB)]  # the third has got the fourth's report
    own = [*texts[:2], Text("y", B), texts[3]]
    aligned = [True, True, False, True]
    assert signs(records, own, texts, aligned, "pair").tolist() == [
        [1, -1, -1, -1],
        [-1, 1, -1, -1],
        [-1, -1, -1, -1],
        [-1, -1, -1, 1],
    ]
    assert signs(records, own, texts, aligned, "equal").tolist() == [
        [1, 1, -1, -1],
        [1, 1, -1, -1],
        [-1, -1, -1, -1],
        [-1, -1, 1, 1],
    ]
    assert signs(records, own, texts, aligned, "entailment").tolist() == [
        [1, 1, -1, -1],
        [1, 1, -1, -1],
        [-1, -1, -1, -1],
        [0, 0, 1, 1],  # it has all that the short report is known to state
    ]


@pytest.mark.parametrize("rule", RULES)
def test_a_pair_that_is_called_misaligned_is_a_negative_whatever_its_words(rule):
    one, own = record(A, "x"), Text("x", A)
    assert signs([one, one], [own, own], [own, own], [False, True], rule)[0, 0] == -1


def test_equal_sentences_are_equal_texts():
    texts = [Text("sinus rhythm", A, True)] * 2
    records = [record(A, "x"), record(A, "y")]
    assert signs(records, texts, texts, [True, True], "equal").tolist() == [[1, 1], [1, 1]]
    assert signs(records, texts, texts, [True, True], "pair").tolist() == [[1, -1], [-1, 1]]


def test_prompts_stand_behind_the_texts():
    records, texts = [record(A, "x"), record(B, "y", decided=B)], [Text("x", A), Text("y", B)]
    prompts = [Text("a", A, True), Text("b", B, True)]
    assert signs(records, texts, texts, [True, True], "entailment", prompts)[:, 2:].tolist() == [[1, -1], [0, 1]]


def test_records_without_a_report_are_not_equal_for_it():
    texts = [Text("a", A, True), Text("b", B, True)]
    records = [record(A, ""), record(B, "")]
    assert signs(records, texts, texts, [True, True], "equal").tolist() == [[1, -1], [-1, 1]]


def test_keys_of_texts():
    assert text_key("") == 0
    assert text_key("sinus rhythm") == text_key("sinus " + "rhythm") > 0
    assert text_key("sinus rhythm") != text_key("sinus rhythm.")
    assert torch.tensor([text_key(str(i)) for i in range(100)]).dtype == torch.int64
