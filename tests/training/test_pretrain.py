"""Recipes, and whole runs of the smallest size."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from dbeta.corpus.store import decode_signal, load_corpus
from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.processing import DBetaProcessor
from dbeta.training import pretrain as module
from dbeta.training import validation
from dbeta.training.collate import PretrainCollator
from dbeta.training.pretrain import pretrain
from dbeta.training.recipe import PRESETS, Recipe, load_recipe, training_arguments
from dbeta.training.trainer import LOSSES
from dbeta.training.validation import embed_corpus, zero_shot_auroc

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
FILES = {
    "README.md",
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "reference_panel.safetensors",
    "tokenizer.json",
    "training_log.json",
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


@pytest.fixture
def recipe_file(tmp_path):
    """The factory of recipe files with this content."""

    def write(content: str) -> Path:
        file = tmp_path / "r.yaml"
        file.write_text(content)
        return file

    return write


def test_there_are_recipes():
    assert "tiny" in [path.stem for path in RECIPES]


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_every_recipe_loads_and_its_settings_are_known(path, tmp_path):
    recipe = load_recipe(path)
    config = PRESETS[recipe.preset](**recipe.model)
    assert set(recipe.model) <= set(config.to_dict())
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
        ("presets: tiny", [], "unknown key 'presets'; a recipe has preset, corpus"),
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


def test_a_run_writes_a_whole_checkpoint(recipe, micro_corpus):
    output = pretrain(recipe)
    assert output == Path(recipe.output)
    assert {path.name for path in output.iterdir()} >= FILES
    assert not (output / "partial").exists()

    history = json.loads((output / "training_log.json").read_text())
    steps = [entry for entry in history if "loss" in entry]
    assert [entry["step"] for entry in steps] == [1, 2, 3, 4]
    for entry in steps:
        assert all(math.isfinite(entry[name]) for name in LOSSES)
        assert entry["loss"] == pytest.approx(sum(entry[name] for name in LOSSES), abs=2e-3)
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

    with pytest.raises(DBetaError, match="already holds a model"):
        pretrain(recipe)
    with pytest.raises(DBetaError, match="already holds a model"):
        pretrain(recipe, resume=True)


def test_training_changes_the_weights_and_follows_from_the_seed(recipe, tmp_path):
    recipe.training |= {"save_strategy": "no", "eval_strategy": "no", "max_steps": 2}
    weights = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        recipe.output, recipe.training["seed"] = str(tmp_path / name), seed
        weights.append(load_file(pretrain(recipe) / "model.safetensors"))
    a, b, c = weights
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_killed_run_goes_on(recipe, tmp_path, monkeypatch):
    whole = _steps(pretrain(recipe))

    recipe.output = str(tmp_path / "killed")
    step = module.PretrainTrainer.training_step

    def die_at_the_fourth(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module.PretrainTrainer, "training_step", die_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe)
    assert not (Path(recipe.output) / "model.safetensors").exists()
    with pytest.raises(DBetaError, match="unfinished run"):
        pretrain(recipe)

    saved = load_file(Path(recipe.output) / "steps" / "checkpoint-2" / "model.safetensors")
    starts = []

    def remember(self, model, *args, **kwargs):
        starts.append(model.etm_head.classifier.weight.detach().clone())
        return step(self, model, *args, **kwargs)

    monkeypatch.setattr(module.PretrainTrainer, "training_step", remember)
    resumed = _steps(pretrain(recipe, resume=True))
    assert len(starts) == 2  # steps 3 and 4 only
    assert torch.equal(starts[0], saved["etm_head.classifier.weight"])
    assert [entry["step"] for entry in resumed] == [1, 2, 3, 4]
    assert [entry["learning_rate"] for entry in resumed] == [entry["learning_rate"] for entry in whole]
    assert resumed[:2] == whole[:2]


def _steps(output: Path) -> list[dict]:
    history = json.loads((output / "training_log.json").read_text())
    return [entry for entry in history if "loss" in entry]


def test_resuming_what_never_began_starts_it(recipe):
    recipe.training["max_steps"] = 1
    assert (pretrain(recipe, resume=True) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "part, setting",
    [
        ("model", {"ecg_layers": "many"}),
        ("collator", {"written": 0.5}),
        ("training", {"learning_speed": 1.0}),
        ("model", {"text_config": {"vocab_size": 100, "d_model": 32, "d_kv": 8, "num_layers": 1, "num_heads": 4}}),
    ],
)
def test_wrong_settings_are_one_sentence(recipe, part, setting):
    getattr(recipe, part).update(setting)
    with pytest.raises(DBetaError, match="recipe: "):
        pretrain(recipe)
    assert not (Path(recipe.output) / "model.safetensors").exists()


def test_a_missing_corpus_is_named(recipe, tmp_path):
    recipe.corpus = str(tmp_path / "nowhere")
    with pytest.raises(DBetaError, match="not a corpus"):
        pretrain(recipe)


@pytest.fixture
def trained(micro_model, micro_tokenizer):
    """A fresh micro model and its processor."""
    return micro_model(), DBetaProcessor(micro_tokenizer, sampling_rate=100, n_samples=1000, max_text_tokens=32)


def test_embeddings_of_a_corpus(trained, micro_corpus):
    model, processor = trained
    corpus = load_corpus(micro_corpus, "validation")
    model.train()
    embeds = embed_corpus(model, processor, corpus, batch_size=7)
    assert model.training
    assert embeds.shape == (20, 32)
    torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(embed_corpus(model.eval(), processor, corpus), embeds)


def test_zero_shot_auroc_against_known_scores(trained, micro_corpus, monkeypatch):
    """Ten of the twenty validation records are normal, and have sinus rhythm; nothing else is frequent enough."""
    model, processor = trained
    corpus = load_corpus(micro_corpus, "validation")
    normal = torch.tensor([["normal ecg" in row] for row in corpus["findings"]]).float()
    assert normal.sum() == 10
    monkeypatch.setattr(model, "embed_text", lambda **_: torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    for scores, expected in ((normal, 1.0), (1 - normal, 0.0), (torch.full((20, 1), 0.5), 0.5)):
        embeds = torch.cat([scores, torch.ones(20, 1)], dim=1)
        monkeypatch.setattr(validation, "embed_corpus", lambda *_, embeds=embeds: embeds)
        assert zero_shot_auroc(model, processor, corpus) == expected


def test_zero_shot_auroc_without_frequent_findings_is_not_a_number(trained, micro_corpus):
    assert math.isnan(zero_shot_auroc(*trained, load_corpus(micro_corpus, "test")))


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
        ("training", {"learning_rate": "fast"}, "training.learning_rate should be a number, not 'fast'"),
        ("training", {"seed": "abc"}, "training.seed should be a number"),
        ("training", {"per_device_train_batch_size": 0}, "should be at least 1"),
        ("training", {"no_such_setting": 1}, "the training settings are wrong"),
        ("collator", {"crop": "often"}, "crop should lie between 0 and 1"),
        ("collator", {"written_share": 7}, "written_share should lie between 0 and 1"),
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


def test_a_rate_that_yaml_reads_as_text(tmp_path):
    assert training_arguments({"learning_rate": "1e-3"}, tmp_path).learning_rate == 1e-3
