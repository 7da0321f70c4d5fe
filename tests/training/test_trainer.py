"""Rates, schedule, log, and what happens when a run goes wrong or is cut off."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from dbeta.errors import DBetaError
from dbeta.training.data import load_data
from dbeta.training.meter import Stopwatch, effective_rank
from dbeta.training.muon import hidden_matrices
from dbeta.training.parts import EMBEDDING
from dbeta.training.pretrain import make_trainer, pretrain
from dbeta.training.recipe import Recipe, load_recipe
from dbeta.training.trainer import (
    PretrainTrainer,
    last_checkpoint,
    remove_incomplete,
    three_stages,
)

SOURCE = str(Path(__file__).parents[2] / "src")
FIGURES = ("loss", "grad_norm", "mlm_loss", "mem_loss", "etm_loss", "ets_loss", "etm_accuracy", "embedding_rank")


@pytest.fixture
def recipe_file(tmp_path, micro_corpus, micro_settings):
    """A run of six steps with dropout and a worker process, in a file."""
    content = {
        "preset": "tiny",
        "corpus": str(micro_corpus),
        "output": str(tmp_path / "run"),
        "model": micro_settings | {"hidden_dropout": 0.1, "attention_dropout": 0.1},
        "collator": {"gain_jitter": 0.1, "crop": 0.5, "prompts": 3},
        "optimizer": {"head_rate": 5.0, "schedule": "three_stage", "warmup": 0.2, "hold": 0.3},
        "training": {
            "seed": 3,
            "max_steps": 6,
            "per_device_train_batch_size": 4,
            "learning_rate": 1.0e-3,
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_steps": 2,
            "eval_strategy": "no",
            "use_cpu": True,
            "disable_tqdm": True,
            "dataloader_num_workers": 1,
        },
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture
def recipe(recipe_file) -> Recipe:
    """The same, read."""
    return load_recipe(recipe_file)


def steps(output: Path) -> list[dict]:
    """What a finished run logged of its steps."""
    return [entry for entry in json.loads((output / "training_log.json").read_text()) if "loss" in entry]


def same_curve(one: list[dict], other: list[dict]) -> None:
    """Every figure of every step but the speed."""
    assert [entry["step"] for entry in one] == [entry["step"] for entry in other]
    for a, b in zip(one, other, strict=True):
        for name in (*FIGURES, "learning_rate"):
            assert a[name] == pytest.approx(b[name], abs=1e-6), (a["step"], name)


def command(recipe_file: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "dbeta.cli", "pretrain", str(recipe_file), *more]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize(("accumulation", "workers"), [(1, 0), (1, 2), (2, 1)])
def test_a_resumed_run_equals_an_uninterrupted_one(recipe, tmp_path, monkeypatch, accumulation, workers):
    recipe.training |= {"gradient_accumulation_steps": accumulation, "dataloader_num_workers": workers}
    whole = steps(pretrain(recipe))
    recipe.output = str(tmp_path / "killed")
    step = PretrainTrainer.training_step

    def die_in_the_fifth(self, *args, **kwargs):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PretrainTrainer, "training_step", die_in_the_fifth)
        pretrain(recipe)
    same_curve(steps(pretrain(recipe, resume=True)), whole)
    first, second = (load_file(Path(folder) / "model.safetensors") for folder in (tmp_path / "run", recipe.output))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=0, msg=name)


@pytest.mark.slow
def test_a_run_that_is_killed_outright_goes_on_from_its_last_checkpoint(recipe_file, tmp_path):
    slow = command(recipe_file, "--set", "training.max_steps=60")
    process = subprocess.Popen(slow, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    steps_dir = tmp_path / "run" / "steps"
    end = time.monotonic() + 240
    while last_checkpoint(steps_dir) is None:
        assert process.poll() is None, "the run ended before it wrote a checkpoint"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    reached = int(last_checkpoint(steps_dir).name.rpartition("-")[2])
    half_written = steps_dir / f"checkpoint-{reached + 2}"
    half_written.mkdir(exist_ok=True)
    (half_written / "trainer_state.json").write_text('{"global_st')

    recipe = load_recipe(recipe_file)
    recipe.training["max_steps"] = 60
    resumed = steps(pretrain(recipe, resume=True))
    assert [entry["step"] for entry in resumed] == list(range(1, 61))
    recipe.output = str(tmp_path / "whole")
    same_curve(resumed, steps(pretrain(recipe)))


def test_half_written_checkpoints_do_not_count(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for number, state in ((2, "{}"), (4, "{}"), (10, '{"global_st'), (12, None)):
        (tmp_path / f"checkpoint-{number}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{number}" / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path).name == "checkpoint-4"
    remove_incomplete(tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-4"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_batch(recipe, monkeypatch):
    compute = PretrainTrainer.compute_loss

    def spoil(self, model, inputs, *args, **kwargs):
        loss = compute(self, model, inputs, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 4 else loss

    monkeypatch.setattr(PretrainTrainer, "compute_loss", spoil)
    with pytest.raises(DBetaError, match=r"the loss is not finite in step 5; .*bad-batch-5-0.*checkpoint-4 with --res"):
        pretrain(recipe)
    output = Path(recipe.output)
    batch = load_file(output / "bad-batch-5-0.safetensors")
    assert batch["ecg"].shape == (4, 12, 1000)
    assert "facts.records" in batch
    weights = load_file(output / "steps" / "checkpoint-4" / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert not (output / "model.safetensors").exists()
    monkeypatch.setattr(PretrainTrainer, "compute_loss", compute)
    assert (pretrain(recipe, resume=True) / "model.safetensors").is_file()


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(recipe, monkeypatch):
    recipe.training |= {"save_steps": 1, "max_grad_norm": 0.0}
    compute = PretrainTrainer.compute_loss

    def spoil(self, model, inputs, *args, **kwargs):
        loss = compute(self, model, inputs, *args, **kwargs)
        if self.state.global_step == 2:  # finite itself, but the root has no slope at 0
            weight = model.etm_head.classifier.weight
            return loss + ((weight - weight.detach()) ** 2).sum().sqrt()
        return loss

    monkeypatch.setattr(PretrainTrainer, "compute_loss", spoil)
    with pytest.raises(DBetaError, match="the gradient is not finite in step 3"):
        pretrain(recipe)
    assert last_checkpoint(Path(recipe.output) / "steps").name == "checkpoint-2"


def test_rates_of_parts(recipe):
    recipe.optimizer = replace(recipe.optimizer, rates={"embedding": 0, "text_proj": 0.5, "mem_head": 3})
    trainer = make_trainer(recipe, load_data(recipe))
    rate = {id(one): group["lr"] for group in trainer.create_optimizer().param_groups for one in group["params"]}
    for name, parameter in trainer.model.named_parameters():
        part = name.split(".")[0]
        if part in ("text_proj", "mem_head"):
            assert rate[id(parameter)] == pytest.approx(5e-3 * (0.5 if part == "text_proj" else 3)), name
        elif part in EMBEDDING:
            assert not parameter.requires_grad and id(parameter) not in rate, name
        else:
            assert rate[id(parameter)] == pytest.approx(5e-3), name
    recipe.optimizer = replace(recipe.optimizer, rates={"embedding": 0, "cross_modal": 0})
    with pytest.raises(DBetaError, match=r"optimizer\.rates freezes all of this model"):
        make_trainer(recipe, load_data(recipe))


@pytest.mark.parametrize("matrices", [None, "muon"])
def test_frozen_parts_do_not_change(recipe, tmp_path, matrices):
    recipe.training |= {"max_steps": 2, "weight_decay": 0.1, "dataloader_num_workers": 0}
    first = pretrain(recipe)
    second = replace(
        recipe,
        start_from=str(first),
        output=str(tmp_path / "second"),
        optimizer=replace(recipe.optimizer, rates={"embedding": 0}, matrices=matrices),
        model=recipe.model | {"mem_skip": True, "mem_regression": True, "loss_weights": {"ets": 0.0}},
        collator=replace(recipe.collator, leads_only=0.5, dead_stretches=0.5),
    )
    before = load_file(first / "model.safetensors")
    after = load_file(pretrain(second) / "model.safetensors")
    for name, value in after.items():
        frozen = name.split(".")[0] in EMBEDDING
        assert name not in before or torch.equal(value, before[name]) == frozen, name
    assert "mem_head.skip.weight" in after


def test_rates_of_encoders_and_heads(recipe):
    trainer = make_trainer(recipe, load_data(recipe))
    optimizer = trainer.create_optimizer()
    rate = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    decay = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    assert len(rate) == len(list(trainer.model.parameters()))
    for name, parameter in trainer.model.named_parameters():
        encoder = name.startswith(("ecg_encoder.", "text_encoder."))
        assert rate[id(parameter)] == pytest.approx(1e-3 if encoder else 5e-3), name
        assert (decay[id(parameter)] == 0) == ("bias" in name or "norm" in name or trainer.args.weight_decay == 0)


def test_rates_of_matrices(recipe):
    recipe.optimizer = replace(recipe.optimizer, matrices="muon", matrix_rate=2.0)
    trainer = make_trainer(recipe, load_data(recipe))
    chosen = hidden_matrices(trainer.model)
    groups = {id(one): group for group in trainer.create_optimizer().param_groups for one in group["params"]}
    assert len(groups) == len(list(trainer.model.parameters()))
    for name, parameter in trainer.model.named_parameters():
        encoder = name.startswith(("ecg_encoder.", "text_encoder."))
        assert groups[id(parameter)]["muon"] == (name in chosen), name
        rate = (1e-3 if encoder else 5e-3) * (2 if name in chosen else 1)
        assert groups[id(parameter)]["lr"] == pytest.approx(rate), name


def test_matrices_by_muon_need_adamw_for_the_rest(recipe):
    recipe.optimizer = replace(recipe.optimizer, matrices="muon")
    recipe.training |= {"optim": "adafactor"}
    with pytest.raises(DBetaError, match="requires AdamW, not adafactor"):
        pretrain(recipe)


def test_matrices_by_muon_are_not_sharded(recipe):
    recipe.optimizer = replace(recipe.optimizer, matrices="muon")
    trainer = make_trainer(recipe, load_data(recipe))
    trainer.is_fsdp_enabled = True
    with pytest.raises(DBetaError, match="needs unsharded weights"):
        trainer.create_optimizer()


def test_the_three_stages():
    assert three_stages(0.0, 0.1, 0.4) == pytest.approx(0.01)
    assert three_stages(0.05, 0.1, 0.4) == pytest.approx(0.505)
    assert three_stages(0.1, 0.1, 0.4) == three_stages(0.3, 0.1, 0.4) == three_stages(0.5, 0.1, 0.4) == 1
    assert three_stages(0.75, 0.1, 0.4) == pytest.approx(0.1)
    assert three_stages(1.0, 0.1, 0.4) == pytest.approx(0.01)
    assert three_stages(0.0, 0.0, 1.0) == three_stages(1.0, 0.0, 1.0) == 1


def test_effective_rank():
    assert effective_rank(torch.eye(8) - 0.125) == pytest.approx(7, abs=1e-3)
    line = torch.arange(10.0)[:, None] * torch.ones(1, 6)
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert math.isfinite(effective_rank(torch.zeros(4, 3)))


def test_the_stopwatch_leaves_out_evaluation_and_saving(monkeypatch):
    now = 0.0
    monkeypatch.setattr("dbeta.training.meter.time.perf_counter", lambda: now)
    watch = Stopwatch()
    watch.start()
    for seconds, event in (
        (2, watch.on_step_end),
        (30, watch.on_evaluate),
        (50, watch.on_save),
        (3, watch.on_step_end),
    ):
        now += seconds
        event()
    assert watch.take() == (2, 5.0)
    assert watch.take() == (0, 0.0)


@pytest.mark.slow
def test_every_step_logs_every_figure(recipe):
    recipe.training |= {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1}
    output = pretrain(recipe)
    logged = steps(output)
    for entry in logged:
        assert {*FIGURES, "learning_rate", "samples_per_second", "mfu"} <= entry.keys()
        assert entry["loss"] == pytest.approx(
            sum(entry[f"{name}_loss"] for name in ("mlm", "mem", "etm", "ets")), rel=1e-4
        )
        assert 0 <= entry["etm_accuracy"] <= 1
        assert entry["embedding_rank"] >= 1
        assert entry["samples_per_second"] > 0
        assert 0 < entry["mfu"] < 1
    assert (output / "training.png").read_bytes().startswith(b"\x89PNG")


TWO = """
import json, sys, torch
from dataclasses import replace
from pathlib import Path
from transformers import TrainerCallback
from dbeta.training.data import load_data
from dbeta.training.pretrain import make_trainer
from dbeta.training.recipe import load_recipe
recipe = load_recipe(Path(sys.argv[1]))
recipe.training |= {"per_device_train_batch_size": int(sys.argv[2]), "max_steps": 3, "save_strategy": "no"}
recipe.model |= {"hidden_dropout": 0.0, "attention_dropout": 0.0}
recipe.collator = replace(recipe.collator, misaligned_share=0.5, pairs=sys.argv[4])
recipe.negatives = "n3s"
trainer = make_trainer(recipe, load_data(recipe))
grads = []
class Remember(TrainerCallback):
    def on_pre_optimizer_step(self, *args, **kwargs):
        grads.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).clone())
trainer.add_callback(Remember())
trainer.args.max_grad_norm = 0.0
trainer.train()
if trainer.is_world_process_zero():
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    torch.save({"grads": grads, "log": log}, sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["pair", "equal", "entailment"])
def test_two_processes_compute_what_one_does_on_the_joined_batch(recipe_file, tmp_path, micro_corpus, pairs):
    """Losses and gradients of three steps; no pair across processes is a false positive or negative."""
    from dbeta.corpus.negatives import build_negatives

    corpus = tmp_path / "corpus"
    subprocess.run(["cp", "-r", str(micro_corpus), str(corpus)], check=True)
    build_negatives(corpus)
    recipe_file.write_text(recipe_file.read_text().replace(str(micro_corpus), str(corpus)))
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = {
        1: [sys.executable, str(script)],
        2: [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", str(script)],
    }
    launch[2][5:7] = ["--standalone"]
    for processes, start in launch.items():
        result = subprocess.run(
            [*start, str(recipe_file), str(8 // processes), str(tmp_path / f"{processes}.pt"), pairs],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"{processes}.pt") for processes in (1, 2))
    for a, b in zip(one["log"], two["log"], strict=True):
        for name in ("loss", "mlm_loss", "mem_loss", "etm_loss", "ets_loss", "etm_accuracy", "mlm_accuracy"):
            assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-6), name
    assert len(one["grads"]) == 3
    for a, b in zip(one["grads"], two["grads"], strict=True):
        assert a.norm() > 1e-3
        torch.testing.assert_close(b, a, atol=1e-5 * float(a.abs().max()), rtol=1e-3)
