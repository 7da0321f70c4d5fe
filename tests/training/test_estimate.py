"""What a dry run says, and that it writes nothing."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.training.estimate import estimate, made_up_batch
from dbeta.training.recipe import Recipe, load_recipe


@pytest.fixture
def recipe(tmp_path, micro_corpus, micro_settings):
    """A run of three times twelve records in batches of four."""
    return Recipe(
        corpus=str(micro_corpus),
        output=str(tmp_path / "run"),
        model=micro_settings,
        training={"num_train_epochs": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    )


def test_figures_of_a_run(recipe, micro_settings):
    found = estimate(recipe)
    model = DBetaModel(DBetaConfig.tiny(**micro_settings))
    assert found.parameters == sum(one.numel() for one in model.parameters())
    assert (found.records, found.batch, found.steps) == (12, 4, 9)
    assert found.state_gib == 16 * found.parameters / 2**30
    assert found.seconds_per_step > 0
    assert found.hours == pytest.approx(9 * found.seconds_per_step / 3600)
    assert found.activations_gib >= 0
    assert found.problems == []
    assert found.flops_per_record > 1e6
    twice = estimate(Recipe(**vars(recipe) | {"model": micro_settings | {"ecg_layers": 4}}))
    assert twice.flops_per_record > found.flops_per_record


def test_a_corpus_that_is_not_there_yet(recipe, tmp_path):
    recipe.corpus = str(tmp_path / "nowhere")
    found = estimate(recipe)
    assert (found.records, found.steps, found.hours) == (None, None, None)
    assert len(found.problems) == 1
    assert "not a corpus" in found.problems[0]
    recipe.training["max_steps"] = 7
    assert estimate(recipe).steps == 7


def test_wrong_settings_are_found_before_the_run(recipe):
    recipe.model = recipe.model | {"ecg_layer": 3}
    with pytest.raises(DBetaError, match="unknown model setting 'ecg_layer'"):
        estimate(recipe)


def test_a_tokenizer_or_table_that_is_not_there_is_told(recipe, tmp_path):
    recipe.tokenizer, recipe.negatives = str(tmp_path / "nowhere"), "n3s"
    problems = " ".join(estimate(recipe).problems)
    assert "dbeta corpus negatives" in problems
    assert "no tokenizer could be loaded" in problems


def test_a_made_up_batch_teaches_everything(micro_config, micro_model):
    out = micro_model()(**made_up_batch(micro_config()))
    assert all(out[name] > 0 for name in ("mlm_loss", "mem_loss", "etm_loss", "ets_loss"))


def test_the_command(run, tmp_path, recipe):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(asdict(recipe)))
    code, out, _ = run("pretrain", file, "--dry-run", "--set", "training.num_train_epochs=6")
    assert code == 0
    assert "num_train_epochs: 6" in out
    for words in ("parameters", "steps", "18", "total time", "records per step"):
        assert words in out
    code, out, _ = run("pretrain", file, "--dry-run", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["recipe"]["corpus"] == recipe.corpus
    assert found["estimate"]["steps"] == 9
    assert not (tmp_path / "run").exists()
    code, _, err = run("pretrain", file, "--json")
    assert code == 2
    assert "--json requires --dry-run" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("simulation.mix=wild", "simulation.mix must be one of balanced, clinic, healthy, not 'wild'"),
        ("simulation.untold=[luck]", "simulation: untold has 'luck', not a simulator finding"),
        ("training.max_steps=[1]", "training.max_steps must be a whole number, not [1]"),
        ("model.n_samples=[1]", "model.n_samples must be a whole number, not [1]"),
        ("model.conv_layers=[1]", "model.conv_layers must be a list, not [1]"),
        ("model.hidden_dropout=true", "model.hidden_dropout must be a number, not True"),
        ("model.loss_weights.xyz=1", "model.loss_weights has no 'xyz'; choose from mlm, mem, etm, ets"),
        ("training.logging_steps={}", "training.logging_steps must be a number, not {}"),
    ],
)
def test_a_dry_run_refuses_wrong_settings(run, tmp_path, recipe, change, message):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(asdict(recipe) | {"corpus": "simulated"}))
    code, out, err = run("pretrain", file, "--dry-run", "--set", change)
    assert code == 1
    assert out == ""
    assert err.strip().splitlines()[-1].endswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.hidden_size=7", "invalid model settings"),
        ("model.text_config.d_model=abc", "invalid model settings"),
        ("model.text_config.num_heads=0", "invalid model settings"),
        ("model.sampling_rate=0", "sampling_rate must be a positive number of Hz"),
        ("model.leads=[X]", "leads must be some of I, II"),
        ("model.leads=[I,I]", "leads must be some of I, II"),
        ("training.seed=99999999999999999999", "training.seed must be a whole number of at least 0 and below 2"),
    ],
)
def test_sizes_that_do_not_fit_are_one_sentence(change, message):
    with pytest.raises(DBetaError, match=message) as caught:
        estimate(load_recipe(Path(__file__).parents[2] / "recipes" / "tiny-sim.yaml", [change]))
    assert "\n" not in str(caught.value)
