"""Recipes: what they hold, how they are changed, and mistakes in them."""

from pathlib import Path

import pytest
import torch

from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig
from dbeta.model.processor import DBetaProcessor
from dbeta.training.collate import PretrainCollator
from dbeta.training.recipe import PRESETS, Optimization, Recipe, load_recipe, training_arguments

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
    assert {path.stem for path in RECIPES} == {"paper-base", "base", "tiny", "tiny-sim"}


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_every_recipe_loads_and_its_settings_are_known(path, tmp_path):
    recipe = load_recipe(path)
    config = PRESETS[recipe.preset](**recipe.model)
    assert set(recipe.model) - {"faithful"} <= set(config.to_dict())
    PretrainCollator(DBetaProcessor(), config, **recipe.collator)
    training_arguments(recipe.training | {"use_cpu": True, "bf16": False}, tmp_path)


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
    assert changed.collator == {"pairs": "pair"}
    assert changed.output == "runs/a=b"


@pytest.mark.parametrize(
    "content, changes, message",
    [
        ("presets: tiny", [], "unknown key 'presets'; a recipe has preset, corpus, validation"),
        ("preset: huge", [], "unknown preset 'huge'; choose one of base, tiny"),
        ("preset: [tiny", [], "cannot be read as a recipe"),
        ("just words", [], "not a recipe"),
        ("", [], "not a recipe"),
        ("preset: tiny", ["output"], "write it as key=value"),
        ("preset: tiny", ["ouput=x"], "unknown key 'ouput'"),
        ("preset: tiny", ["preset.size=3"], "preset holds a single value"),
        ("preset: tiny", ["output=[a"], "is not a YAML value"),
        ("preset: tiny\ntraining: fast", [], "training should hold settings"),
        ("output: {a: 1}", [], "output should hold a name, not {'a': 1}"),
        ("preset: [tiny]", [], "preset should hold a name"),
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


def test_a_rate_that_yaml_reads_as_text(tmp_path):
    assert training_arguments({"learning_rate": "1e-3"}, tmp_path).learning_rate == 1e-3


def test_bf16_where_the_processor_has_units_for_it(tmp_path, monkeypatch):
    for dtype, expected in ((torch.bfloat16, True), (torch.float32, False)):
        monkeypatch.setattr("dbeta.training.recipe.fastest_dtype", lambda device, dtype=dtype: dtype)
        assert training_arguments({"bf16": "auto"}, tmp_path).bf16 is expected


def test_several_corpora_have_weights(recipe_file):
    assert load_recipe(recipe_file("corpus: one")).corpora == {Path("one"): 1.0}
    assert load_recipe(recipe_file("corpus: {one: 3, two: 0.5}")).corpora == {Path("one"): 3, Path("two"): 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("corpus: {one: 0}", "corpus 'one' should have a weight above 0, not 0"),
        ("corpus: {one: much}", "corpus 'one' should have a weight above 0, not 'much'"),
        ("corpus: {}", "corpus names no folder"),
        ("corpus: [one]", "corpus should hold a name"),
        ("negatives: far", "unknown negatives 'far'; choose one of n3s, batch"),
    ],
)
def test_mistakes_in_corpora_and_negatives(recipe_file, content, message):
    with pytest.raises(DBetaError, match=message):
        load_recipe(recipe_file(content))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 5}, "unknown setting optimizer.rate; there are head_rate, schedule, warmup, hold"),
        ({"head_rate": -1}, "optimizer.head_rate should be a number of at least 0"),
        ({"head_rate": "fast"}, "optimizer.head_rate should be a number"),
        ({"schedule": "cosine"}, "optimizer.schedule is three_stage or left out"),
        ({"warmup": 0.7, "hold": 0.7}, "together at most 1"),
        ({"matrices": "shampoo"}, "optimizer.matrices is muon or left out"),
        ({"matrix_rate": True}, "optimizer.matrix_rate should be a number of at least 0"),
    ],
)
def test_mistakes_in_the_optimizer_section(settings, message):
    with pytest.raises(DBetaError, match=message):
        Optimization.of(settings)


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
    assert Optimization.of(recipe.optimizer) == Optimization(1.0, "three_stage", 0.1, 0.4)
    assert recipe.negatives == "n3s"
    assert (collator["written_share"], collator["misaligned_share"], collator["pairs"]) == (0.0, 0.5, "pair")
    assert collator["negatives_seen"] is False
