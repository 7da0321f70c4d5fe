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
from dbeta.training.arguments import training_arguments
from dbeta.training.recipe import CollatorSettings, Optimization, Recipe, load_recipe

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
    assert {path.stem for path in RECIPES} == {"paper-base", "base", "small", "fusion", "tiny", "tiny-sim"}


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
        ("preset: huge", [], "preset must be base or tiny, not 'huge'"),
        ("preset: [tiny", [], "cannot be read as a recipe"),
        ("just words", [], "not a recipe"),
        ("", [], "not a recipe"),
        ("preset: tiny", ["output"], "write it as key=value"),
        ("preset: tiny", ["=3"], "^--set =3: write it as key=value, such as training.max_steps=10$"),
        ("preset: tiny", ["training.=3"], "--set training.=3: write it as key=value"),
        ("preset: tiny", ["ouput=x"], "unknown setting ouput"),
        ("preset: tiny", ["preset.size=3"], "preset is a single value, not a mapping"),
        ("preset: tiny", ["output=[a"], "is not a YAML value"),
        ("preset: tiny\ntraining: fast", [], "training must be a mapping"),
        ("output: {a: 1}", [], "output must be a string, not {'a': 1}"),
        ("preset: [tiny]", [], "preset must be base or tiny"),
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
    file = tmp_path / "nothing.yaml"
    with pytest.raises(DBetaError) as error:
        load_recipe(file)
    assert (
        str(error.value)
        == f"{file}: cannot be read (No such file or directory); name a recipe, such as recipes/tiny.yaml"
    )


def test_a_rate_that_yaml_reads_as_text():
    assert training_arguments(Recipe(training={"learning_rate": "1e-3"})).learning_rate == 1e-3


def test_bf16_where_the_processor_has_units_for_it(monkeypatch):
    for dtype, expected in ((torch.bfloat16, True), (torch.float32, False)):
        monkeypatch.setattr("dbeta.training.arguments.fastest_dtype", lambda device, dtype=dtype: dtype)
        assert training_arguments(Recipe(training={"bf16": "auto"})).bf16 is expected


def test_several_corpora_have_weights(recipe_file):
    assert load_recipe(recipe_file("corpus: one")).corpora == {"one": 1.0}
    assert load_recipe(recipe_file("corpus: {one: 3, two: 0.5}")).corpora == {"one": 3, "two": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("corpus: {one: 0}", "corpus must be a folder, or folders with weights above 0, not {'one': 0}"),
        ("corpus: {one: much}", "folders with weights above 0, not {'one': 'much'}"),
        ("corpus: {}", "folders with weights above 0"),
        ("corpus: [one]", "corpus must be a folder"),
        ("negatives: far", "negatives must be n3s or batch, not 'far'"),
    ],
)
def test_mistakes_in_corpora_and_negatives(recipe_file, content, message):
    with pytest.raises(DBetaError, match=message):
        load_recipe(recipe_file(content))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 5}, "unknown setting optimizer.rate; choose from head_rate, schedule, warmup, hold"),
        ({"head_rate": -1}, "optimizer.head_rate must be a number of at least 0"),
        ({"head_rate": "fast"}, "optimizer.head_rate must be a number"),
        ({"schedule": "cosine"}, "optimizer.schedule must be three_stage or left out"),
        ({"warmup": 0.7, "hold": 0.7}, "optimizer: warmup plus hold must be at most 1"),
        ({"matrices": "shampoo"}, "optimizer.matrices must be muon or left out"),
        ({"rates": {"encoder": 0}}, "optimizer: rates has 'encoder', which is no part of the model; choose from embed"),
        ({"rates": {"embedding": -1}}, "optimizer.rates"),
        ({"matrix_rate": True}, "optimizer.matrix_rate must be a number of at least 0"),
    ],
)
def test_mistakes_in_the_optimizer_section(recipe_file, settings, message):
    file = recipe_file(yaml.safe_dump({"optimizer": settings}))
    with pytest.raises(DBetaError, match=f"^{re.escape(str(file))}: {message}"):
        load_recipe(file)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": "some"}, "collator.pairs must be pair, equal or entailment, not 'some'"),
        ({"prompts": -1}, "collator.prompts must be a whole number of at least 0"),
        ({"max_stated": 0}, "collator.max_stated must be a whole number of at least 1"),
        ({"gain_jitter": -0.5}, "collator.gain_jitter must be a number of at least 0"),
        ({"crop": 1.5}, "collator.crop must be a number from 0 to 1"),
        ({"crop": "often"}, "collator.crop must be a number from 0 to 1, not 'often'"),
        ({"written_share": True}, "collator.written_share must be a number from 0 to 1"),
        ({"gain_jitter": float("nan")}, "collator.gain_jitter must be a number of at least 0"),
        ({"negatives_seen": "maybe"}, "collator.negatives_seen must be true or false"),
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
        ({"start_share": 1}, "start_share must be a number from 0 to below 1, not 1"),
        ({"simulation": {"records": 0}}, "simulation.records must be a whole number of at least 1"),
        (
            {"simulation": {"speed": 3}},
            "unknown setting simulation.speed; choose from records, seed, mix",
        ),
        ({"simulation": {"untold": "q waves"}}, "simulation.untold must be a list of findings"),
        ({"simulation": {"mix": "wild"}}, "simulation.mix must be one of balanced, clinic, healthy, not 'wild'"),
        ({"simulation": {"mix": 3}}, "simulation.mix must be one of balanced, clinic, healthy, not 3"),
        ({"simulation": {"untold": ["q waves", "luck"]}}, "simulation: untold has 'luck', not a simulator finding"),
        ({"simulation": {"validation": -1}}, "simulation.validation must be a whole number of at least 0"),
        ({"start_share": True}, "start_share must be a number from 0 to below 1, not True"),
        ({"model": 3}, "model must be a mapping, not 3"),
        ({"collator": "none"}, "collator must be a mapping, not 'none'"),
    ],
)
def test_mistakes_in_other_sections(recipe_file, section, message):
    with pytest.raises(DBetaError, match=message):
        load_recipe(recipe_file(yaml.safe_dump(section)))


def test_settings_stay_checked_when_they_are_replaced():
    assert replace(CollatorSettings(), crop="1e-1").crop == 0.1  # which YAML reads as text
    with pytest.raises(DBetaError, match="crop must be a number from 0 to 1, not 7"):
        replace(CollatorSettings(), crop=7)
    assert Optimization(2.0).head_rate == 2.0
    with pytest.raises(DBetaError, match="head_rate must be a number of at least 0, not -1"):
        Optimization(-1)


def test_an_unknown_training_setting_is_named_with_the_nearest_one(recipe_file):
    recipe = load_recipe(recipe_file("training: {learning_rat: 1}"))
    with pytest.raises(
        DBetaError, match=r"r\.yaml: training.learning_rat is not a training .* did you mean learning_rate"
    ):
        training_arguments(recipe)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_steps": [1]}, "max_steps must be a whole number, not [1]"),
        ({"max_steps": 2.5}, "max_steps must be a whole number, not 2.5"),
        ({"max_steps": "2.5"}, "max_steps must be a whole number, not 2.5"),
        ({"max_steps": True}, "max_steps must be a whole number, not True"),
        ({"max_steps": "many"}, "max_steps must be a whole number, not 'many'"),
        ({"max_grad_norm": [1]}, "max_grad_norm must be a number, not [1]"),
        ({"max_grad_norm": True}, "max_grad_norm must be a number, not True"),
        ({"weight_decay": float("nan")}, "weight_decay must be a finite number, not nan"),
        ({"logging_steps": {}}, "logging_steps must be a number, not {}"),
        ({"eval_steps": "often"}, "eval_steps must be a number, not 'often'"),
        ({"load_best_model_at_end": "yes"}, "load_best_model_at_end must be true or false, not 'yes'"),
        ({"gradient_checkpointing": 1}, "gradient_checkpointing must be true or false, not 1"),
        ({"optim": 3}, "optim must be text, not 3"),
        ({"lr_scheduler_type": ["cosine"]}, "lr_scheduler_type must be text, not ['cosine']"),
        ({"lr_scheduler_kwargs": [1]}, "lr_scheduler_kwargs must be a mapping or text, not [1]"),
        ({"label_names": "all"}, "label_names must be a list, not 'all'"),
        ({"seed": 1.5}, "seed must be a whole number, not 1.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0 and below 2^63, not -1"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, not 'fast'"),
        ({"bf16": "often"}, "bf16 must be true, false or auto, not 'often'"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must be a whole number of at least 1"),
    ],
)
def test_every_training_setting_has_its_type(setting, message):
    with pytest.raises(DBetaError, match=f"^recipe: training.{re.escape(message)}"):
        training_arguments(Recipe(training=setting))


def test_numbers_as_yaml_writes_them():
    settings = {"max_steps": "1e3", "warmup_steps": 5, "save_steps": 400.0, "eval_steps": "5e1", "seed": 2.0}
    args = training_arguments(Recipe(training=settings))
    assert (args.max_steps, args.warmup_steps, args.save_steps, args.eval_steps, args.seed) == (1000, 5, 400, 50, 2)
    assert isinstance(args.max_steps, int)


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
