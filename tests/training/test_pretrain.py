"""Whole runs of the smallest size."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import dbeta
from dbeta.checkpoints.read import bundled_checkpoint
from dbeta.corpus.store import decode_signal, load_corpus
from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.model.losses import LOSS_FIELDS
from dbeta.model.processor import DBetaProcessor
from dbeta.training import pretrain as module
from dbeta.training.data import Panel, load_data
from dbeta.training.pretrain import pretrain
from dbeta.training.recipe import Optimization, SimulationSettings, load_recipe

FILES = {
    "README.md",
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "reference_panel.safetensors",
    "tokenizer.json",
    "training.png",
    "training_log.json",
    "last",
}


@pytest.fixture
def recipe(tmp_path, micro_corpus, micro_settings):
    """A run of four steps on the micro corpus, written to a file and read again."""
    content = {
        "preset": "tiny",
        "corpus": str(micro_corpus),
        "output": str(tmp_path / "run"),
        "model": micro_settings,
        "collator": {"gain_jitter": 0.1, "crop": 0.5},
        "training": {
            "seed": 3,
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 1.0e-3,
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_steps": 2,
            "eval_strategy": "steps",
            "eval_steps": 2,
            "load_best_model_at_end": False,
            "use_cpu": True,
            "disable_tqdm": True,
            "dataloader_num_workers": 0,
            "dataloader_pin_memory": False,
        },
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(content))
    return load_recipe(file)


def test_a_run_writes_a_whole_checkpoint(recipe, micro_corpus):
    output = pretrain(recipe)
    assert output == Path(recipe.output)
    assert {path.name for path in output.iterdir()} >= FILES
    assert not (output / "partial").exists()

    history = json.loads((output / "training_log.json").read_text())
    steps = [entry for entry in history if "loss" in entry]
    assert [entry["step"] for entry in steps] == [1, 2, 3, 4]
    for entry in steps:
        assert all(math.isfinite(entry[name]) for name in LOSS_FIELDS)
        assert entry["loss"] == pytest.approx(sum(entry[name] for name in LOSS_FIELDS), abs=2e-3)
    aurocs = [entry["eval_zero_shot"] for entry in history if "eval_zero_shot" in entry]
    assert len(aurocs) == 2
    assert all(0 <= value <= 1 for value in aurocs)

    model, processor = DBetaModel.from_pretrained(output).eval(), DBetaProcessor.from_pretrained(output)
    train = load_corpus(micro_corpus, "train")
    panel = load_file(output / "reference_panel.safetensors")["ecg_embeds"]
    assert (panel.shape, panel.dtype) == ((12, 32), torch.float16)
    with torch.no_grad():
        own = model.embed_ecg(processor(ecg=[decode_signal(row) for row in train])["ecg"])
    torch.testing.assert_close(panel.float(), own / own.norm(dim=-1, keepdim=True), atol=2e-3, rtol=0)
    assert model.config.text_config.pad_token_id == processor.tokenizer.pad_token_id == 0
    assert model.config.text_config.eos_token_id == processor.tokenizer.eos_token_id
    assert (processor.sampling_rate, processor.n_samples, processor.max_text_tokens) == (100, 1000, 32)

    with pytest.raises(DBetaError, match="already contains a model"):
        pretrain(recipe)
    with pytest.raises(DBetaError, match="already contains a model"):
        pretrain(recipe, resume=True)


@pytest.mark.slow
def test_the_best_step_is_kept_and_the_last_beside_it(recipe, monkeypatch):
    figures = iter([0.9, 0.6])
    monkeypatch.setattr(
        "dbeta.training.trainer.zero_shot_auroc", lambda *_: next(figures)
    )  # the run's own validation says that step 2 was the better one
    recipe.training |= {
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_zero_shot",
        "greater_is_better": True,
        "save_total_limit": 1,
    }
    output = pretrain(recipe)
    best, last = (load_file(folder / "model.safetensors") for folder in (output, output / "last"))
    kept = load_file(output / "steps" / "checkpoint-2" / "model.safetensors")
    assert all(torch.equal(best[name], kept[name]) for name in kept)
    assert not all(torch.equal(best[name], last[name]) for name in kept)
    assert "at step 2 of 4" in (output / "README.md").read_text()
    for folder in (output, output / "last"):
        assert dbeta.load(folder, device="cpu").embed(decode_signal(load_corpus(Path(recipe.corpus))[0])).shape == (
            1,
            32,
        )


@pytest.mark.slow
def test_a_run_on_several_corpora(recipe, micro_corpus, tmp_path):
    shutil.copytree(micro_corpus, tmp_path / "other")
    recipe.corpus = {str(micro_corpus): 3.0, str(tmp_path / "other"): 1.0}
    recipe.training |= {"max_steps": 2, "eval_strategy": "no"}
    output = pretrain(recipe)
    card = (output / "README.md").read_text()
    assert card.count("34 records of 17 patients") == 2
    assert len(load_file(output / "reference_panel.safetensors")["ecg_embeds"]) == 24


def test_a_run_needs_the_table_that_it_asks_for(recipe):
    recipe.negatives = "n3s"
    with pytest.raises(DBetaError, match="dbeta corpus negatives"):
        pretrain(recipe)


@pytest.mark.slow
def test_training_changes_the_weights_and_follows_from_the_seed(recipe, tmp_path):
    recipe.training |= {"save_strategy": "no", "eval_strategy": "no", "max_steps": 2}
    weights = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        recipe.output, recipe.training["seed"] = str(tmp_path / name), seed
        weights.append(load_file(pretrain(recipe) / "model.safetensors"))
    a, b, c = weights
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_an_unfinished_run_is_not_written_over(recipe):
    (Path(recipe.output) / "steps" / "checkpoint-1").mkdir(parents=True)
    with pytest.raises(DBetaError, match="unfinished run"):
        pretrain(recipe)


@pytest.mark.slow
def test_resuming_what_never_began_starts_it(recipe):
    recipe.training["max_steps"] = 1
    assert (pretrain(recipe, resume=True) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "part, setting",
    [
        ("model", {"ecg_layers": "many"}),
        ("training", {"learning_speed": 1.0}),
        ("model", {"text_config": {"vocab_size": 100, "d_model": 32, "d_kv": 8, "num_layers": 1, "num_heads": 4}}),
    ],
)
def test_wrong_settings_are_one_sentence(recipe, part, setting):
    getattr(recipe, part).update(setting)
    with pytest.raises(DBetaError, match=r"recipe\.yaml: "):
        pretrain(recipe)
    assert not (Path(recipe.output) / "model.safetensors").exists()


def test_a_missing_corpus_is_named(recipe, tmp_path):
    recipe.corpus = str(tmp_path / "nowhere")
    with pytest.raises(DBetaError, match="not a corpus"):
        pretrain(recipe)


@pytest.mark.shared
def test_a_base_text_encoder_with_t5s_tokenizer(shared, recipe, micro_settings):
    recipe.tokenizer = str(shared / "t5-tokenizer")
    recipe.model = micro_settings | {"text_config": micro_settings["text_config"] | {"vocab_size": 32128}}
    model, processor = module.build_model(recipe, [])
    assert isinstance(model.config, DBetaConfig)
    assert len(processor.tokenizer) <= 32128
    ids = processor(text=["sinus rhythm", "complete left bundle branch block"])
    assert model.embed_text(**ids).shape == (2, 32)
    recipe.model = micro_settings
    with pytest.raises(DBetaError, match="tokens"):
        module.build_model(recipe, [])


def test_a_corpus_without_words_teaches_nothing(recipe, micro_corpus, tmp_path):
    mute = load_corpus(micro_corpus).map(lambda row: {"report": "", "findings": []}, load_from_cache_file=False)
    mute.save_to_disk(tmp_path / "mute")
    shutil.copy(micro_corpus / "corpus.json", tmp_path / "mute")
    recipe.corpus = str(tmp_path / "mute")
    with pytest.raises(DBetaError, match="no training record has a report or findings"):
        pretrain(recipe)


@pytest.mark.parametrize(
    ("section", "setting", "message"),
    [
        ("training", {"learning_rate": "fast"}, "training.learning_rate must be a number, not 'fast'"),
        ("training", {"seed": "abc"}, "training.seed must be a whole number, not 'abc'"),
        ("training", {"per_device_train_batch_size": 0}, "must be a whole number of at least 1"),
        ("training", {"seed": -5}, "training.seed must be a whole number of at least 0"),
        ("training", {"learning_rate": None}, "training.learning_rate has no value"),
        ("training", {"bf16": "maybe"}, "training.bf16 must be true, false or auto"),
        ("training", {"save_strategy": "epoch"}, "training.save_strategy must be steps or no"),
        ("model", {"ecg_layers": 0}, "model.ecg_layers must be a whole number of at least 1"),
        ("model", {"lead_mask_prob": 7}, "lead_mask_prob must lie between 0 and 1"),
        ("model", {"ecg_mask_ratio": 1.0}, "masks every token"),
        ("model", {"mem_target": "foo"}, "mem_target must be one of full, lead_masked"),
        ("model", {"text_config": 7}, "text_config must be a mapping of T5 settings"),
        ("training", {"no_such_setting": 1}, "training.no_such_setting is not a training setting"),
    ],
)
def test_a_setting_of_the_wrong_kind(recipe, section, setting, message):
    getattr(recipe, section).update(setting)
    with pytest.raises(DBetaError, match=message):
        pretrain(recipe)
    assert not (Path(recipe.output) / "model.safetensors").exists()


@pytest.mark.parametrize("key", ["tokenizer", "text_encoder"])
def test_what_cannot_be_loaded_names_its_place(recipe, tmp_path, key):
    setattr(recipe, key, str(tmp_path / "nowhere"))
    with pytest.raises(DBetaError, match=r"could be loaded from .*nowhere"):
        pretrain(recipe)


# --- starting from a checkpoint


@pytest.mark.slow
def test_a_run_goes_on_from_a_checkpoint(recipe, tmp_path):
    recipe.training["max_steps"] = 1
    first = pretrain(recipe)
    settings = json.loads((first / "config.json").read_text())
    (first / "config.json").write_text(json.dumps(settings | {"trained_on": ["simulated"]}))
    recipe.start_from, recipe.output, recipe.model = str(first), str(tmp_path / "second"), {"lead_mask_prob": 0.25}
    model, processor = module.build_model(recipe, [])
    for name, value in load_file(first / "model.safetensors").items():
        assert torch.equal(model.state_dict()[name], value), name
    assert processor.tokenizer.get_vocab() == DBetaProcessor.from_pretrained(first).tokenizer.get_vocab()
    settings = json.loads((pretrain(recipe) / "config.json").read_text())
    assert settings["lead_mask_prob"] == 0.25
    assert settings["trained_on"] == ["ptb-xl", "simulated"]
    assert (first / "tokenizer.json").read_text() == (tmp_path / "second" / "tokenizer.json").read_text()


@pytest.mark.slow
def test_the_result_keeps_a_share_of_the_start(recipe, tmp_path):
    recipe.training["max_steps"] = 1
    first = load_file(pretrain(recipe) / "model.safetensors")
    recipe.start_from, recipe.output, recipe.start_share = recipe.output, str(tmp_path / "second"), 0.25
    result = load_file(pretrain(recipe) / "model.safetensors")
    trained = load_file(tmp_path / "second" / "last" / "model.safetensors")
    moved = 0.0
    for name, value in result.items():
        torch.testing.assert_close(value, 0.25 * first[name] + 0.75 * trained[name])
        moved = max(moved, float((trained[name] - first[name]).abs().max()))
    assert moved > 1e-4


def test_a_share_of_the_start_needs_a_start(recipe):
    recipe.start_from, recipe.start_share = None, 0.5
    with pytest.raises(DBetaError, match="start_share needs start_from"):
        pretrain(recipe)


def test_a_run_goes_on_from_a_model_of_the_package(recipe, tmp_path, monkeypatch):
    recipe.start_from, recipe.model = "tiny", {}
    model, _ = module.build_model(recipe, [])
    for name, value in load_file(bundled_checkpoint() / "model.safetensors").items():
        assert torch.equal(model.state_dict()[name], value), name
    # A folder of one's own goes before it
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    with pytest.raises(DBetaError, match=r"start_from: tiny/config.json: cannot be read"):
        module.build_model(recipe, [])


@pytest.mark.slow
def test_what_cannot_be_started_from(recipe, tmp_path, micro_settings):
    recipe.training["max_steps"] = 1
    first = pretrain(recipe)
    recipe.output = str(tmp_path / "second")
    recipe.start_from = str(tmp_path)
    with pytest.raises(DBetaError, match=r"start_from: .*config.json: cannot be read"):
        pretrain(recipe)
    recipe.start_from, recipe.model = str(first), {"ecg_intermediate_size": 32}
    with pytest.raises(DBetaError, match=r"has shape .* remove the sizes"):
        pretrain(recipe)
    recipe.model, recipe.text_encoder = {}, "t5"
    with pytest.raises(DBetaError, match="start_from brings its own text encoder"):
        pretrain(recipe)
    recipe.text_encoder = None
    (first / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(DBetaError, match="get the checkpoint again"):
        pretrain(recipe)
    (first / "model.safetensors").unlink()
    with pytest.raises(DBetaError, match="not a checkpoint"):
        pretrain(recipe)


# --- simulated ECGs


@pytest.fixture
def simulated(recipe):
    """The run on simulated ECGs alone, by contrast alone."""
    recipe.corpus = "simulated"
    recipe.simulation = SimulationSettings(records=64, seed=3, validation=24)
    recipe.model |= {"parts": "encoders"}
    recipe.collator = replace(recipe.collator, misaligned_share=0.0, prompts=8, denied_share=0.5)
    return recipe


def test_a_run_on_simulated_ecgs(simulated, monkeypatch):
    monkeypatch.setattr("dbeta.simulation.dataset.TEXT_SAMPLE", 64)
    output = pretrain(simulated)
    config = json.loads((output / "config.json").read_text())
    assert config["trained_on"] == ["simulated"]
    assert config["parts"] == "encoders"
    history = [entry for entry in json.loads((output / "training_log.json").read_text()) if "loss" in entry]
    assert [entry["step"] for entry in history] == [1, 2, 3, 4]
    assert all(entry["loss"] == entry["ets_loss"] for entry in history)
    assert not any("etm_accuracy" in entry or "mlm_loss" in entry for entry in history)
    assert load_file(output / "reference_panel.safetensors")["ecg_embeds"].shape == (64, 32)
    card = (output / "README.md").read_text()
    assert "- `simulated`: ECGs of `dbeta.simulation`" in card and "seed 3" in card
    assert dbeta.load(output).diagnose(dbeta.ECG(torch.randn(12, 5000).numpy(), 500)) is not None


@pytest.mark.slow
def test_a_run_on_simulated_ecgs_is_repeated_and_resumed_exactly(simulated, monkeypatch, tmp_path):
    simulated.optimizer = Optimization(matrices="muon", matrix_rate=2.5)
    monkeypatch.setattr("dbeta.simulation.dataset.TEXT_SAMPLE", 64)
    weights = []
    for name, workers in (("once", 0), ("again", 1)):
        simulated.output = str(tmp_path / name)
        simulated.training["dataloader_num_workers"] = workers
        pretrain(simulated)
        weights.append(load_file(tmp_path / name / "last" / "model.safetensors"))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_simulated_and_real_ecgs_together(simulated, micro_corpus, monkeypatch):
    monkeypatch.setattr("dbeta.simulation.dataset.TEXT_SAMPLE", 32)
    simulated.corpus = {"simulated": 0.5, str(micro_corpus): 0.5}
    simulated.validation = str(micro_corpus)
    output = pretrain(simulated)
    assert json.loads((output / "config.json").read_text())["trained_on"] == ["ptb-xl", "simulated"]
    assert load_file(output / "reference_panel.safetensors")["ecg_embeds"].shape == (64 + 12, 32)


def test_a_simulation_without_validation_records(simulated):
    simulated.simulation = replace(simulated.simulation, validation=0)
    with pytest.raises(DBetaError, match="no records in split 'validation'"):
        pretrain(simulated)


def test_simulated_ecgs_have_no_table_of_negatives(simulated):
    simulated.negatives = "n3s"
    with pytest.raises(DBetaError, match="no table of negatives"):
        pretrain(simulated)


def test_the_panel_is_taken_evenly_from_all_corpora(simulated, micro_corpus, monkeypatch):
    monkeypatch.setattr("dbeta.training.data.PANEL_SIZE", 8)
    simulated.corpus = {"simulated": 0.5, str(micro_corpus): 0.5}
    data = load_data(simulated)
    panel = Panel(data.training)
    rows = panel.__getitems__(list(range(len(panel))))
    assert len(panel) == len(rows) == 8
    made, stored = data.training
    places = [(made, i) for i in range(4)] + [(stored, 3 * i) for i in range(4)]
    for row, (source, index) in zip(rows, places, strict=True):
        expected = source[[index]]
        assert bytes(row["signal"]) == bytes(expected["signal"][0])
        assert row["report"] == expected["report"][0]
    assert [one["report"] for one in panel.__getitems__([3, 4])] == [rows[3]["report"], rows[4]["report"]]


def test_a_source_says_what_it_is(simulated, micro_corpus):
    simulated.corpus = {"simulated": 0.5, str(micro_corpus): 0.5}
    made, stored = load_data(simulated).training
    assert (made.source, stored.source) == ("simulated", "ptb-xl")
    assert (made.folder, stored.folder) == (None, micro_corpus)
    assert (len(made.validation()), len(stored.validation())) == (24, 20)
    assert "records 64; seed 3; mix balanced" in made.describe()
    assert "12 train" in stored.describe()
