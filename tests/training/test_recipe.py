"""Recipes: what they hold, how they are changed, and mistakes in them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig
from dbeta.model.config import PRESETS
from dbeta.training.recipe import CollatorSettings, Optimization, Recipe, load_recipe, training_arguments

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.fixture
def recipe_file(tmp_path):
    """The factory of recipe files with this content."""

    def write(content: str) -> Path:
        file = tmp_path / "r.yaml"
        file.write_text(content)
        return file

    return write


def test_there_are_recipes():
    assert {path.stem for path in RECIPES} == {"paper-base", "base", "small", "tiny", "tiny-sim"}


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_every_recipe_loads_and_its_settings_are_known(path):
    recipe = load_recipe(path)
    config = PRESETS[recipe.preset](**recipe.model)
    assert set(recipe.model) - {"faithful"} <= set(config.to_dict())
    recipe.training |= {"use_cpu": True, "bf16": False}
    training_arguments(recipe)


def test_a_recipe_and_its_changes(recipe_file):
    file = recipe_file("preset: base\nmodel: {ecg_mask_ratio: 0.5, lead_mask_prob: 0.1}\n")
    plain = load_recipe(file)
    assert plain == Recipe(preset="base", model={"ecg_mask_ratio": 0.5, "lead_mask_prob": 0.1})
    changes = [
        "model.ecg_mask_ratio=0.25",
        "training.max_steps=10",
        "collator.pairs=pair",
        "output=runs/a=b",
        "model.loss_weights.etm=0.5",
    ]
    changed = load_recipe(file, changes)
    assert changed.model == {"ecg_mask_ratio": 0.25, "lead_mask_prob": 0.1, "loss_weights": {"etm": 0.5}}
    assert changed.training == {"max_steps": 10}
    assert changed.collator == CollatorSettings(pairs="pair")
    assert changed.output == "runs/a=b"


@pytest.mark.parametrize(
    "content, changes, message",
    [
        ("presets: tiny", [], "unknown setting presets; choose from preset, corpus, validation"),
        ("preset: huge", [], "preset should be base or tiny, not 'huge'"),
        ("preset: [tiny", [], "cannot be read as a recipe"),
        ("just words", [], "not a recipe"),
        ("", [], "not a recipe"),
        ("preset: tiny", ["output"], "write it as key=value"),
        ("preset: tiny", ["ouput=x"], "unknown setting ouput"),
        ("preset: tiny", ["preset.size=3"], "preset holds a single value"),
        ("preset: tiny", ["output=[a"], "is not a YAML value"),
        ("preset: tiny\ntraining: fast", [], "training should be settings of its own"),
        ("output: {a: 1}", [], "output should be a name, not {'a': 1}"),
        ("preset: [tiny]", [], "preset should be base or tiny"),
    ],
)
def test_mistakes_in_a_recipe(recipe_file, content, changes, message):
    with pytest.raises(DBetaError, match=message):
        load_recipe(recipe_file(content), changes)


def test_an_empty_section_is_a_section(recipe_file):
    file = recipe_file("preset: tiny\nmodel:\ntraining:\n")
    assert load_recipe(file) == Recipe(preset="tiny")
    assert load_recipe(file, ["model.ecg_layers=2"]).model == {"ecg_layers": 2}


def test_a_missing_recipe(tmp_path):
    with pytest.raises(DBetaError, match=r"nothing\.yaml: cannot be read"):
        load_recipe(tmp_path / "nothing.yaml")


def test_a_rate_that_yaml_reads_as_text():
    assert training_arguments(Recipe(training={"learning_rate": "1e-3"})).learning_rate == 1e-3


def test_bf16_where_the_processor_has_units_for_it(monkeypatch):
    for dtype, expected in ((torch.bfloat16, True), (torch.float32, False)):
        monkeypatch.setattr("dbeta.training.recipe.fastest_dtype", lambda device, dtype=dtype: dtype)
        assert training_arguments(Recipe(training={"bf16": "auto"})).bf16 is expected


def test_several_corpora_have_weights(recipe_file):
    assert load_recipe(recipe_file("corpus: one")).corpora == {"one": 1.0}
    assert load_recipe(recipe_file("corpus: {one: 3, two: 0.5}")).corpora == {"one": 3, "two": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("corpus: {one: 0}", "corpus should be a folder, or folders with weights above 0, not {'one': 0}"),
        ("corpus: {one: much}", "folders with weights above 0, not {'one': 'much'}"),
        ("corpus: {}", "folders with weights above 0"),
        ("corpus: [one]", "corpus should be a folder"),
        ("negatives: far", "negatives should be n3s or batch, not 'far'"),
    ],
)
def test_mistakes_in_corpora_and_negatives(recipe_file, content, message):
    with pytest.raises(DBetaError, match=message):
        load_recipe(recipe_file(content))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 5}, "unknown setting optimizer.rate; choose from head_rate, schedule, warmup, hold"),
        ({"head_rate": -1}, "optimizer.head_rate should be a number of at least 0"),
        ({"head_rate": "fast"}, "optimizer.head_rate should be a number"),
        ({"schedule": "cosine"}, "optimizer.schedule should be three_stage or left out"),
        ({"warmup": 0.7, "hold": 0.7}, "optimizer: warmup and hold .* at most 1"),
        ({"matrices": "shampoo"}, "optimizer.matrices should be muon or left out"),
        ({"matrix_rate": True}, "optimizer.matrix_rate should be a number of at least 0"),
    ],
)
def test_mistakes_in_the_optimizer_section(recipe_file, settings, message):
    file = recipe_file(yaml.safe_dump({"optimizer": settings}))
    with pytest.raises(DBetaError, match=f"^{re.escape(str(file))}: {message}"):
        load_recipe(file)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": "some"}, "collator.pairs should be pair, equal or entailment, not 'some'"),
        ({"prompts": -1}, "collator.prompts should be a whole number of at least 0"),
        ({"max_stated": 0}, "collator.max_stated should be a whole number of at least 1"),
        ({"gain_jitter": -0.5}, "collator.gain_jitter should be a number of at least 0"),
        ({"crop": 1.5}, "collator.crop should be a number from 0 to 1"),
        ({"crop": "often"}, "collator.crop should be a number from 0 to 1, not 'often'"),
        ({"written_share": True}, "collator.written_share should be a number from 0 to 1"),
        ({"gain_jitter": float("nan")}, "collator.gain_jitter should be a number of at least 0"),
        ({"negatives_seen": "maybe"}, "collator.negatives_seen should be true or false"),
        ({"written": 0.5}, "unknown setting collator.written; choose from written_share, misaligned_share"),
        ({1: 2}, "unknown setting collator.1"),
    ],
)
def test_mistakes_in_the_collator_section(recipe_file, settings, message):
    file = recipe_file(yaml.safe_dump({"collator": settings}))
    with pytest.raises(DBetaError, match=f"^{re.escape(str(file))}: {message}"):
        load_recipe(file)
    if all(isinstance(name, str) for name in settings):
        with pytest.raises(DBetaError, match=message.replace("collator.", "")):
            CollatorSettings(**settings)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"start_share": 1}, "start_share should be a number from 0 to below 1, not 1"),
        ({"simulation": {"records": 0}}, "simulation.records should be a whole number of at least 1"),
        (
            {"simulation": {"speed": 3}},
            "unknown setting simulation.speed; choose from records, seed, mix",
        ),
        ({"simulation": {"untold": "q waves"}}, "simulation.untold should be a list of findings"),
        ({"simulation": {"validation": -1}}, "simulation.validation should be a whole number of at least 0"),
        ({"start_share": True}, "start_share should be a number from 0 to below 1, not True"),
        ({"model": 3}, "model should be settings of its own, not 3"),
        ({"collator": "none"}, "collator should be settings of its own, not 'none'"),
    ],
)
def test_mistakes_in_other_sections(recipe_file, section, message):
    with pytest.raises(DBetaError, match=message):
        load_recipe(recipe_file(yaml.safe_dump(section)))


def test_settings_stay_checked_when_they_are_replaced():
    assert replace(CollatorSettings(), crop="1e-1").crop == 0.1  # which YAML reads as text
    with pytest.raises(DBetaError, match="crop should be a number from 0 to 1, not 7"):
        replace(CollatorSettings(), crop=7)
    assert Optimization(2.0).head_rate == 2.0
    with pytest.raises(DBetaError, match="head_rate should be a number of at least 0, not -1"):
        Optimization(-1)


def test_an_unknown_training_setting_is_named_with_the_nearest_one(recipe_file):
    recipe = load_recipe(recipe_file("training: {learning_rat: 1}"))
    with pytest.raises(
        DBetaError, match=r"r\.yaml: training.learning_rat is not a training .* did you mean learning_rate"
    ):
        training_arguments(recipe)


def test_the_papers_recipe_is_the_papers():
    """Paper, appendix on pretraining, as far as it says."""
    recipe = load_recipe(next(path for path in RECIPES if path.stem == "paper-base"))
    config = DBetaConfig.base(**recipe.model)
    assert config.to_dict() == DBetaConfig.base(faithful=True).to_dict()
    training, collator = recipe.training, recipe.collator
    assert training["max_steps"] == 300_000
    assert training["per_device_train_batch_size"] * training.get("gradient_accumulation_steps", 1) == 128
    assert (training["learning_rate"], training["weight_decay"]) == (5e-5, 0.01)
    assert (training["adam_beta1"], training["adam_beta2"], training["adam_epsilon"]) == (0.9, 0.98, 1e-6)
    assert recipe.optimizer == Optimization(1.0, "three_stage", 0.1, 0.4)
    assert recipe.negatives == "n3s"
    assert (collator.written_share, collator.misaligned_share, collator.pairs) == (0.0, 0.5, "pair")
    assert collator.negatives_seen is False
