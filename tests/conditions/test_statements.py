"""Wordings of statements: what is taught, what is held back, and what numbers say."""

import itertools
import math
import random

import pytest

from dbeta.conditions.registry import load_conditions
from dbeta.conditions.statements import (
    NUMBERS,
    Band,
    facts,
    lead_groups,
    negation,
    negation_forms,
    number_forms,
    number_words,
    numbered,
    sentences,
    wave_fact,
    wave_names,
    wave_words,
)

LANGUAGES = ("en", "de")


def wave_wordings(held_back):
    """Many wordings of each wave in V1 and V2."""
    rng = random.Random(0)
    return {
        wave_words(wave, ("V1", "V2"), rng, language, held_back=held_back)
        for wave, language, _ in itertools.product(wave_names(), LANGUAGES, range(60))
    }


def test_what_is_held_back_is_not_taught():
    for language in LANGUAGES:
        assert not set(negation_forms(language)) & set(negation_forms(language, held_back=True))
        for measure, how in itertools.product(NUMBERS, ("at", "above", "below")):
            taught = set(number_forms(measure, language, how))
            assert not taught & set(number_forms(measure, language, how, held_back=True))
    assert not wave_wordings(held_back=False) & wave_wordings(held_back=True)
    assert not set(sentences()) & set(sentences(held_back=True))


def test_the_two_halves_of_the_sentences_are_all_of_them():
    said = {text for one in load_conditions().values() for text in (*one.prompts_for, *one.prompts_against)}
    assert set(sentences()) | set(sentences(held_back=True)) == said
    assert 0.1 < len(sentences(held_back=True)) / len(said) < 0.3
    assert said <= set(facts())


def test_no_taught_form_makes_a_sentence_that_is_held_back():
    made = wave_wordings(held_back=False)
    rng = random.Random(0)
    for wave, leads, _ in itertools.product(wave_names(), lead_groups(), range(40)):
        made.add(wave_words(wave, leads, rng))
    for measure, how in itertools.product(NUMBERS, ("at", "above", "below")):
        made |= {number_words(form, n) for form in number_forms(measure, "en", how) for n in range(-180, 600)}
    assert not made & set(sentences(held_back=True))


def test_facts_are_named_once():
    assert len(set(facts())) == len(facts())
    assert wave_fact("inverted t", "V2") in facts()


@pytest.mark.parametrize("held_back", [False, True])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_statement_has_words(language, held_back):
    rng = random.Random(1)
    for measure in NUMBERS:
        words, band = numbered(measure, 163.0, rng, language, held_back=held_back)
        assert "{" not in words and band.measure == measure
    for wave in wave_names():
        for leads in lead_groups():
            words = wave_words(wave, leads, rng, language, held_back=held_back)
            assert words == words.lower() and "{" not in words
    assert "flimmer" in negation("atrial fibrillation", rng, "de", held_back=held_back).replace("vhf", "flimmer")


def test_the_forms_that_people_type_are_taught():
    assert {"no {x}", "without {x}", "{x} absent", "not {x}", "free of {x}"} <= set(negation_forms("en"))
    assert {"kein {x}", "ohne {x}"} <= set(negation_forms("de"))


@pytest.mark.parametrize(
    ("measure", "number", "how", "signs"),
    [
        ("rate", 70, "at", {70: 1, 73: 1, 67: 1, 75: 0, 79: -1, 60: -1}),
        ("rate", 150, "at", {155: 1, 160: 0, 170: -1}),  # a tenth of it
        ("pr", 200, "at", {209: 1, 215: 0, 230: -1, 170: -1}),
        ("qrs", 120, "above", {120: 1, 180: 1, 116: 0, 100: -1}),
        ("qtc", 440, "below", {300: 1, 440: 1, 445: 0, 460: -1}),
        ("axis", 175, "at", {-178: 1, 175: 1, -165: 0, -100: -1, 0: -1}),  # the circle closes
        ("pr", 200, "at", {math.nan: 0}),
    ],
)
def test_what_a_number_says(measure, number, how, signs):
    band = Band.of(measure, number, how)
    assert {value: band.sign(value) for value in signs} == signs


def test_seconds():
    assert number_words("pr {s} s", 160) == "pr 0.16 s"
    rng = random.Random(3)
    for _ in range(200):
        words, band = numbered("pr", 187.0, rng)
        if words.endswith(" s"):
            assert float(words.split()[-2]) * 1000 == pytest.approx(band.centre)
        assert band.sign(187.0) == 1
