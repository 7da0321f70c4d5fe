"""Embeddings by content: each computed once, and anew when anything changes that they follow from."""

import warnings

import numpy as np
import pytest
import torch

from dbeta.errors import DBetaError, DBetaWarning
from dbeta.evaluation.benchmarks import load_benchmark
from dbeta.evaluation.embeddings import (
    default_cache,
    embed_benchmark,
    read_signals,
    repeated_recordings,
)
from dbeta.evaluation.zero_shot import random_twin
from dbeta.inference.load import load


@pytest.fixture
def model(micro_checkpoint):
    return load(micro_checkpoint, precision="float32")


@pytest.fixture
def task(micro_ptb_xl):
    task = load_benchmark("ptb-xl-super", micro_ptb_xl)
    return task.take(np.r_[0:4, task.rows("test")])


@pytest.fixture
def computed(monkeypatch, model):
    """How many recordings went through the model."""
    counts = []
    inner = model.embed_signals
    monkeypatch.setattr(model, "embed_signals", lambda signals: counts.append(len(signals)) or inner(signals))
    return counts


def test_embeddings_are_those_of_embed(model, task):
    found = embed_benchmark({"m": model}, task)
    ecgs = [task.reader(row, 10.0) for row in task.records.to_dict("records")]
    np.testing.assert_allclose(found.embeds["m"], model.embed(ecgs), atol=1e-5)
    assert len(found.digests) == len(found.benchmark) == len(task)
    assert found.unread == {}


def test_several_models_and_progress(model, task):
    seen = []
    twin = random_twin(model)
    found = embed_benchmark({"m": model, "t": twin}, task, progress=lambda done, total: seen.append((done, total)))
    assert set(found.embeds) == {"m", "t"}
    assert np.abs(found.embeds["m"] - found.embeds["t"]).max() > 1e-3
    assert seen == [(i + 1, len(task)) for i in range(len(task))]


def test_nothing_is_computed_twice(model, task, computed, tmp_path):
    first = embed_benchmark({"m": model}, task, cache=tmp_path)
    assert sum(computed) == len(task)
    again = embed_benchmark({"m": model}, task, cache=tmp_path)
    assert sum(computed) == len(task)
    np.testing.assert_array_equal(first.embeds["m"], again.embeds["m"])
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]
    # Other records of the same model are added
    embed_benchmark({"m": model}, task.take([1, 0, len(task) - 1]), cache=tmp_path)
    assert sum(computed) == len(task)


def test_another_model_is_another_cache(model, task, computed, tmp_path):
    embed_benchmark({"m": model}, task, cache=tmp_path)
    embed_benchmark({"t": random_twin(model)}, task, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_changed_recording_is_computed_anew(model, task, computed, tmp_path):
    embed_benchmark({"m": model}, task, cache=tmp_path)
    task.reader = type(task.reader)(task.reader.folder, first_seconds=5.0)
    changed = embed_benchmark({"m": model}, task, cache=tmp_path)
    assert sum(computed) == 2 * len(task)
    assert len(changed.embeds["m"]) == len(task)


def test_a_damaged_cache_is_no_cache(model, task, computed, tmp_path):
    embed_benchmark({"m": model}, task, cache=tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"nothing")
    embed_benchmark({"m": model}, task, cache=tmp_path)
    assert sum(computed) == 2 * len(task)


def test_a_cache_that_cannot_be_written_costs_nothing_else(model, task, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = embed_benchmark({"m": model}, task, cache=tmp_path / "file")
    assert len(found.embeds["m"]) == len(task)
    assert any(issubclass(one.category, DBetaWarning) and "could not be cached" in str(one.message) for one in caught)


def test_an_interruption_keeps_what_was_computed(model, task, computed, tmp_path):
    model.batch_size = 2

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_benchmark({"m": model}, task, cache=tmp_path, progress=stop)
    before = sum(computed)
    embed_benchmark({"m": model}, task, cache=tmp_path)
    assert before == 4
    assert sum(computed) == len(task)


def test_records_that_cannot_be_read_are_told_and_left_out(model, task):
    name = task.records["record_id"].iloc[2]
    task.records.loc[2, "file"] = "nowhere"
    found = embed_benchmark({"m": model}, task)
    assert list(found.unread) == [name]
    assert "no such file" in found.unread[name]
    assert name not in set(found.benchmark.records["record_id"])
    assert len(found.embeds["m"]) == len(found.benchmark.labels) == len(task) - 1


def test_not_one_test_record_can_be_read(model, task):
    task.records["file"] = np.where(task.records["split"] == "test", "nowhere", task.records["file"])
    with pytest.raises(DBetaError, match="no test recording is readable"):
        embed_benchmark({"m": model}, task)


def test_the_fingerprint_follows_weights_and_precision(micro_checkpoint, model):
    assert model.ecg_embedding_fingerprint() == load(micro_checkpoint, precision="float32").ecg_embedding_fingerprint()
    assert model.ecg_embedding_fingerprint() != load(micro_checkpoint, precision="bfloat16").ecg_embedding_fingerprint()
    changed = load(micro_checkpoint, precision="float32")
    with torch.no_grad():
        changed.model.ecg_tower.ecg_proj.bias[0] += 1e-6
    assert model.ecg_embedding_fingerprint() != changed.ecg_embedding_fingerprint()
    # The text tower embeds no ECGs
    model.embed_text("sinus rhythm")
    assert model.ecg_embedding_fingerprint() == load(micro_checkpoint, precision="float32").ecg_embedding_fingerprint()


def test_the_same_recording_under_another_name_is_found():
    digests = [b"a", b"b", b"c", b"b", b"c"]
    splits = ["train", "train", "validation", "test", "train"]
    assert repeated_recordings(digests, splits).tolist() == [1]


def test_signals_in_a_file(model, task, tmp_path):
    found, signals = read_signals(task, model.processor.input_format, tmp_path / "signals.npy")
    assert signals.shape == (len(task), 12, model.processor.n_samples)
    assert signals.dtype == np.float16
    expected = model.processor.signal(task.reader(task.records.iloc[0].to_dict(), 10.0))
    np.testing.assert_allclose(signals[0], expected, atol=2e-3)
    assert len(found.benchmark) == len(task)


def test_where_embeddings_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "dbeta" / "embeddings"


def test_a_model_that_gives_no_numbers(model, task, tmp_path):
    with torch.no_grad():
        model.model.ecg_tower.ecg_proj.bias[0] = float("nan")
    with pytest.raises(DBetaError, match="m: its embeddings are not finite"):
        embed_benchmark({"m": model}, task, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
