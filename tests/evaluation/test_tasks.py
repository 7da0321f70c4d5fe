"""Whole evaluations of a micro model: the form of what comes out, and the files."""

import json

import numpy as np
import pandas as pd
import pytest

from dbeta.errors import DBetaError
from dbeta.evaluation import finetuning, report
from dbeta.evaluation.benchmarks import load_benchmark
from dbeta.evaluation.compare import PUBLISHED, compare_runs, read_metrics, render_comparison
from dbeta.evaluation.finetuning import evaluate_finetune, evaluate_finetuned_identification
from dbeta.evaluation.report import write_report
from dbeta.evaluation.result import Result, in_domain
from dbeta.evaluation.sections import render
from dbeta.evaluation.tasks import (
    evaluate_identification,
    evaluate_probe,
    evaluate_retrieval,
    evaluate_zero_shot,
)
from dbeta.evaluation.zero_shot import random_twin
from dbeta.inference.load import load
from dbeta.training.finetune import LEAD_SETS, Settings

LABELS = ["NORM", "MI", "STTC", "CD", "HYP"]


@pytest.fixture(scope="module")
def model(micro_checkpoint):
    return load(micro_checkpoint)


@pytest.fixture
def task(micro_ptb_xl):
    return load_benchmark("ptb-xl-super", micro_ptb_xl, 9)


@pytest.fixture
def zero_shot(model, task):
    return evaluate_zero_shot({"micro": model}, task, resamples=10)


def test_zero_shot(zero_shot):
    metrics = zero_shot.metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert (metrics["task"], metrics["benchmark"], metrics["model"]) == ("zero-shot", "ptb-xl-super", "micro")
    assert metrics["n_records"] == 20
    assert metrics["n_patients"] == 10
    assert metrics["splits"] == {"test": 20, "validation": 4}
    assert list(metrics["classes"]) == LABELS
    for label, positives in zip(LABELS, [10, 5, 0, 5, 5], strict=True):
        one = metrics["classes"][label]
        assert one["positives"] == positives
        assert (one["auroc"] is None) == (positives == 0)
    assert list(metrics["prompts"]) == ["ensemble", "name", "description", "pairs"]
    assert metrics["prompts"]["ensemble"]["macro"] == metrics["macro"]
    assert set(metrics["baselines"]) == {"random", "normality", "age and sex"}
    assert set(metrics["provenance"]) == {"versions", "data_fingerprint", "models", "bootstrap"}
    predictions = zero_shot.predictions
    assert len(predictions) == 20
    assert predictions["label:MI"].sum() == 5
    assert predictions["probability:NORM"].between(0, 1).all()


def test_the_same_twice(model, task, zero_shot):
    again = evaluate_zero_shot({"micro": model}, task, resamples=10)
    assert again.metrics == zero_shot.metrics
    pd.testing.assert_frame_equal(again.predictions, zero_shot.predictions)


def test_the_data_fingerprint_follows_samples_labels_and_splits(model, task, zero_shot):
    def fingerprint():
        return evaluate_zero_shot({"micro": model}, task, resamples=10).metrics["provenance"]["data_fingerprint"]

    before = zero_shot.metrics["provenance"]["data_fingerprint"]
    assert fingerprint() == before
    task.labels[task.rows("test")[0], 0] ^= 1
    assert fingerprint() != before


def test_two_models_are_compared(model, task):
    found = evaluate_zero_shot({"a": model, "b": random_twin(model, 3)}, task, resamples=10)
    assert list(found.metrics["others"]) == ["b"]
    one = found.metrics["comparisons"]["b"]["macro"]["auroc"]
    difference = found.metrics["macro"]["auroc"][0] - found.metrics["others"]["b"]["macro"]["auroc"][0]
    assert one["difference"][0] == pytest.approx(difference, abs=2e-4)
    assert set(found.predictions["model"]) == {"a", "b"}
    assert "## a against b" in render(found.metrics, [])


def test_an_ecg_only_model_has_no_words(model, task, monkeypatch):
    monkeypatch.setattr(model.model.config, "parts", "ecg")
    with pytest.raises(DBetaError, match=r"micro: has no text encoder, .* probe it instead"):
        evaluate_zero_shot({"micro": model}, task)


def test_what_a_model_was_trained_on(model, task, monkeypatch):
    assert in_domain(model, task) is None
    monkeypatch.setattr(model.model.config, "trained_on", ["mimic-iv-ecg"])
    assert in_domain(model, task) is False
    monkeypatch.setattr(model.model.config, "trained_on", ["mimic-iv-ecg", "challenge-2021"])
    assert in_domain(model, task) is True
    metrics = evaluate_zero_shot({"micro": model}, task, resamples=10).metrics
    assert "**micro** is **in-domain** here: it was pretrained on mimic-iv-ecg, challenge-2021" in render(metrics, [])


@pytest.mark.slow
def test_probe(model, task, tmp_path):
    found = evaluate_probe({"micro": model}, task, resamples=10, cache=tmp_path)
    metrics = found.metrics
    assert list(metrics["fractions"]) == ["1%", "10%", "100%"]
    assert metrics["fractions"]["100%"]["macro"] == metrics["macro"]
    assert metrics["baselines"]["random"]["fractions"].keys() == metrics["fractions"].keys()
    assert metrics["few_shot"]["shots"]
    text = render(metrics, ["labels"])
    assert "How few labels suffice" in text
    assert "![macro AUROC by the number of labels](labels.png)" in text


def test_a_recording_that_is_also_in_the_test_is_not_trained_on(model, task):
    train, test = task.rows("train")[0], task.rows("test")[0]
    task.records.loc[train, "file"] = task.records.loc[test, "file"]
    found = evaluate_probe({"micro": model}, task, resamples=10)
    assert any(
        "1 records of training or validation have recordings that are also in the test split" in note
        for note in found.metrics["notes"]
    )


def test_retrieval(model, task):
    found = evaluate_retrieval({"micro": model, "other": random_twin(model, 2)}, task, resamples=10)
    assert found.metrics["pairs"] == 20
    assert found.metrics["unique_reports"] == 4
    assert set(found.metrics["others"]) == {"other"}
    text = render(found.metrics, [])
    assert "| report → ECG: chance |" in text
    assert "4 unique reports" in text


def test_identification(model, task):
    found = evaluate_identification({"micro": model}, task, resamples=10)
    assert found.metrics["patients"] == found.metrics["queries"] == 10
    assert "| chance | 0.1000 |" in render(found.metrics, [])


def test_finetuning(model, task, tmp_path):
    settings = Settings(epochs=2, batch_size=4, learning_rate=1e-3)
    found = evaluate_finetune({"micro": model}, task, tmp_path, leads=(12, 2), settings=settings, resamples=10)
    assert list(found.metrics["leads"]) == ["12", "2"]
    assert found.metrics["leads"]["2"]["names"] == ["I", "II"]
    assert found.metrics["leads"]["12"]["macro"] == found.metrics["macro"]
    assert "random" in found.metrics["baselines"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["micro-12-leads", "micro-2-leads"]
    text = render(found.metrics, [])
    assert "## Fewer leads" in text
    tuned = load(tmp_path / "micro-12-leads")
    ecg = task.reader(task.records.iloc[0].to_dict(), 10.0)
    assert np.abs(tuned.embed(ecg) - model.embed(ecg)).max() > 1e-4


@pytest.mark.slow
def test_another_run_is_not_resumed(model, task, micro_ptb_xl, tmp_path, monkeypatch):
    """A run of other settings, or on another split, starts anew: what it would resume may have seen the test."""
    options = {"scratch": False, "resamples": 10}
    other = load_benchmark("ptb-xl-super", micro_ptb_xl)  # fold 9 is validation there
    inner, started = finetuning.finetune, []

    def stopped(*arguments, **keywords):
        started.append(arguments[5])
        inner(*arguments, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "finetune", stopped)
    for benchmark, epochs in ((other, 2), (task, 2), (task, 1), (task, 1)):
        with pytest.raises(KeyboardInterrupt):
            evaluate_finetune({"micro": model}, benchmark, tmp_path, settings=Settings(epochs, 8), **options)
    assert len(set(started)) == 3
    assert started[2] == started[3]


def test_a_model_may_not_be_called_as_a_baseline(model, task, tmp_path):
    for evaluate in (evaluate_zero_shot, evaluate_probe, evaluate_retrieval, evaluate_identification):
        with pytest.raises(DBetaError, match="random: is the name of a baseline"):
            evaluate({"random": model}, task)
    with pytest.raises(DBetaError, match="is the name of a baseline"):
        evaluate_finetune({"random": model}, task, tmp_path)


def test_nothing_can_be_measured(model, task):
    task.labels[task.rows("test")] = 0
    for evaluate in (evaluate_zero_shot, evaluate_probe):
        with pytest.raises(DBetaError, match="no class has both positive and negative records"):
            evaluate({"micro": model}, task)


def test_a_fine_tuned_encoder_knows_what_it_saw(model, task, tmp_path):
    settings = Settings(epochs=1, batch_size=8)
    evaluate_finetune({"micro": model}, task, tmp_path, settings=settings, scratch=False, resamples=10)
    tuned = load(tmp_path / "micro-12-leads")
    assert tuned.model.config.trained_on == ["ptb-xl", "unknown"]
    assert in_domain(tuned, task) is True
    task.sources = frozenset(["csn"])
    assert in_domain(tuned, task) is None


def test_finetuned_identification(model, task, tmp_path):
    settings = Settings(epochs=2, batch_size=4, learning_rate=1e-3)
    found = evaluate_finetuned_identification({"micro": model}, task, tmp_path, settings=settings, resamples=10)
    assert found.metrics["patients"] == 10
    assert any("fine-tuned to identify the training patients" in note for note in found.metrics["notes"])
    assert list(tmp_path.iterdir()) == []
    assert set(found.metrics["baselines"]) == {"before fine-tuning"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"learning_rate": 2.0}, "learning_rate must be a number between 0 and 1"),
        ({"lead_dropout": 1.0}, "lead_dropout must be a number from 0 to below 1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(DBetaError, match=message):
        Settings(**settings)


def test_an_unknown_lead_set(model, task, tmp_path):
    with pytest.raises(DBetaError, match="no lead set with 5 leads; choose from 12, 6, 4, 3, 2, 1"):
        evaluate_finetune({"micro": model}, task, tmp_path, leads=(5,))
    assert set(LEAD_SETS) == {12, 6, 4, 3, 2, 1}


# --- Files


def test_the_files(zero_shot, tmp_path):
    write_report(zero_shot, tmp_path / "deep" / "out", "dbeta evaluate …")
    out = tmp_path / "deep" / "out"
    assert {"report.md", "metrics.json", "predictions.parquet", "classes.png", "prompts.png"} <= {
        file.name for file in out.iterdir()
    }
    assert not (out / ".partial").exists()
    metrics = read_metrics(out)
    assert metrics["provenance"]["command"] == "dbeta evaluate …"
    text = (out / "report.md").read_text()
    assert "Research use only. Not a medical device." in text
    assert "(few)" in text  # MI has five positives
    assert "<!--" not in text
    for file in out.glob("*.png"):
        assert f"]({file.name})" in text
        assert file.read_bytes()[:4] == b"\x89PNG"
    assert f"{metrics['macro']['auroc'][0]:.3f}" in text
    assert len(pd.read_parquet(out / "predictions.parquet")) == 20


def test_files_of_an_earlier_evaluation_are_gone(zero_shot, model, task, tmp_path):
    write_report(zero_shot, tmp_path, "")
    (tmp_path / "mine.txt").write_text("stays")
    write_report(evaluate_retrieval({"micro": model}, task, resamples=10), tmp_path, "")
    assert {file.name for file in tmp_path.iterdir()} == {"report.md", "metrics.json", "mine.txt"}


def test_nothing_is_half_written(zero_shot, tmp_path, monkeypatch):
    write_report(zero_shot, tmp_path, "first")
    before = (tmp_path / "metrics.json").read_text()
    monkeypatch.setattr(report, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(zero_shot, tmp_path, "second")
    assert (tmp_path / "metrics.json").read_text() == before
    assert not (tmp_path / ".partial").exists()


def test_an_output_that_is_a_file(zero_shot, tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(DBetaError, match="folder cannot be created"):
        write_report(zero_shot, tmp_path / "out", "")


# --- Comparison of runs


@pytest.fixture
def runs(zero_shot, model, task, tmp_path):
    write_report(zero_shot, tmp_path / "a", "")
    write_report(evaluate_probe({"micro": model}, task, resamples=10), tmp_path / "b", "")
    return tmp_path


def test_runs_beside_published_figures(runs):
    rows = compare_runs([runs / "a", runs / "b"])
    ours = [row for row in rows if row["source"] != "published"]
    assert [row["task"] for row in ours if row["model"] == "micro"] == [
        "zero-shot",
        "probe 1%",
        "probe 10%",
        "probe 100%",
    ]
    published = [row for row in rows if row["source"] == "published" and row["task"] == "zero-shot"]
    assert {row["model"]: row["auroc"] for row in published} == {
        "D-BETA (Pham et al. 2025)": 0.762,
        "MERL (Liu et al. 2024)": 0.742,
    }
    assert {row["benchmark"] for row in rows} == {"ptb-xl-super"}
    text = render_comparison(rows)
    assert "may not be compared with published" in text  # fold 9 is not what they were measured on
    assert text.count("published; not run here") == len(rows) - len(ours)
    assert "| zero-shot, ptb-xl-super | *D-BETA (Pham et al. 2025)* | 0.762 | – | – |" in text


def test_an_in_domain_model_is_named_so_beside_published_figures(model, task, tmp_path, monkeypatch):
    monkeypatch.setattr(model.model.config, "trained_on", ["ptb-xl"])
    write_report(evaluate_zero_shot({"micro": model}, task, resamples=10), tmp_path, "")
    text = render_comparison(compare_runs([tmp_path]))
    assert "micro was pretrained on this dataset (in-domain)." in text
    assert "| text prompts, in-domain, ptb-xl-super | micro |" in text
    assert "| zero-shot, ptb-xl-super | random weights |" in text
    report = (tmp_path / "report.md").read_text()
    assert report.startswith("# text prompts, in-domain on ptb-xl-super: micro\n")
    assert "zero-shot" not in report.split("## ")[0].lower()


@pytest.mark.slow
def test_fine_tuning_stands_beside_fine_tuning(model, task, tmp_path):
    settings = Settings(epochs=1, batch_size=8)
    models = {"a": model, "b": random_twin(model, 3)}
    found = evaluate_finetune(models, task, tmp_path / "work", leads=(12, 1), settings=settings, resamples=10)
    found.metrics["benchmark"] = "challenge-2021"
    write_report(found, tmp_path / "out", "")
    rows = [(row["task"], row["model"]) for row in compare_runs([tmp_path / "out"])]
    assert rows == [
        ("finetune, 12 leads", "a"),
        ("finetune, 12 leads", "b"),
        ("finetune, 12 leads", "random weights"),
        ("finetune, 12 leads", "D-BETA (Pham et al. 2025)"),
        ("finetune, 1 lead", "a"),
        ("finetune, 1 lead", "D-BETA (Pham et al. 2025)"),
    ]


def test_published_figures_are_each_there_once():
    keys = [(one.task, one.benchmark, one.who) for one in PUBLISHED]
    assert len(keys) == len(set(keys))
    assert all(0.5 < one.auroc < 1 for one in PUBLISHED)


@pytest.mark.parametrize("content", [None, "[]", "{", '{"task": "zero-shot"}'])
def test_what_is_no_evaluation(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DBetaError, match=r"no metrics.json there|was not written by an evaluation"):
        compare_runs([tmp_path])


def test_retrieval_has_no_auroc(model, task, tmp_path):
    write_report(evaluate_retrieval({"micro": model}, task, resamples=10), tmp_path, "")
    with pytest.raises(DBetaError, match="is an evaluation of retrieval, which has no AUROC"):
        compare_runs([tmp_path])


def test_a_result_without_predictions(zero_shot, tmp_path):
    write_report(Result(zero_shot.metrics), tmp_path, "")
    assert not (tmp_path / "predictions.parquet").exists()
