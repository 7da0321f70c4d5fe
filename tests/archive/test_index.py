"""An index of recordings: words find them, and only the model that made it."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from command_line import refused
from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.inference.load import load
from dbeta.inference.search import Index
from dbeta.io.read import read_ecg

TEXTS = ("pause", "anterior st elevation")


@pytest.fixture
def folder(tmp_path, make_ecg, write_record):
    """Five recordings and a bad one."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for seed in range(5):
        write_record(folder, make_ecg(seed=seed, rate=50 + 20 * seed), f"r{seed}")
    (folder / "r5.hea").write_text("nonsense")
    return folder


@pytest.fixture
def index(run, folder, tmp_path, micro_checkpoint):
    """Its index."""
    code, out, err = run("index", folder, "--output", tmp_path / "index", "--model", micro_checkpoint)
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        f"5 recordings in {tmp_path / 'index'}",
        f"1 of 6 recordings could not be used: see {tmp_path / 'index' / 'errors.csv'}",
    ]
    return tmp_path / "index"


def test_an_index_of_nothing(run, folder, tmp_path, micro_checkpoint):
    """Not one recording could be used, or a shard has none."""
    listed = tmp_path / "list.txt"
    listed.write_text(str(folder / "r5.hea"))
    for name, options in (("failed", []), ("shard", ["--shard", "2/2"])):
        code, _, err = run("index", "--list", listed, "-o", name, *options, "--model", micro_checkpoint)
        assert code == 0, err
        assert (tmp_path / name / "errors.csv").exists() == (name == "failed")
        code, out, err = run("search", "pause", "--index", name, "--model", micro_checkpoint, "--json")
        assert (code, json.loads(out)) == (0, []), err


def test_hits_are_the_nearest(index, folder, micro_checkpoint):
    assert sorted(file.name for file in index.iterdir()) == [
        "errors.csv",
        "index.faiss",
        "index.json",
        "records.parquet",
    ]
    assert pd.read_csv(index / "errors.csv")["file"].tolist() == [str(folder / "r5.hea")]
    assert not list(index.parent.glob(".*partial"))
    model = load(micro_checkpoint)
    files = sorted(folder.glob("r[0-4].hea"))
    embeds = model.embed(files)
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    for text in TEXTS:
        cosines = embeds @ model.embed_condition(text)
        hits = model.search(text, index, k=3)
        assert hits["file"].tolist() == [str(files[i]) for i in np.argsort(-cosines)[:3]]
        np.testing.assert_allclose(hits["score"], np.sort(cosines)[::-1][:3], atol=1e-5)
    assert len(model.search("pause", Index.load(index), k=50)) == 5
    with pytest.raises(DBetaError, match="at least 1"):
        model.search("pause", index, k=0)
    with pytest.raises(DBetaError, match="empty"):
        model.search(" ", index)


def test_search_on_the_command_line(run, index, micro_checkpoint):
    """The model that made the index is the default."""
    code, out, err = run("search", "pause", "--index", index, "-k", 2, "--json")
    assert (code, err) == (0, "")
    expected = load(micro_checkpoint).search("pause", index, k=2)
    assert [row["file"] for row in json.loads(out)] == expected["file"].tolist()
    code, out, _ = run("search", "pause", "--index", index, "-k", 2)
    assert code == 0
    assert "Not a medical device" in out
    assert expected["record"][0] in out


def test_a_recording_is_searched_by_example(run, index, folder, micro_checkpoint):
    """What is like the recording, most of all itself."""
    record = folder / "r3.hea"
    code, out, err = run("search", record, "--index", index, "-k", 2, "--json")
    assert (code, err) == (0, "")
    hits = json.loads(out)
    assert hits[0]["file"] == str(record)
    assert hits[0]["score"] == pytest.approx(1, abs=1e-3)
    model = load(micro_checkpoint)
    embeds = model.embed(sorted(folder.glob("r[0-4].hea")))
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    assert hits[1]["score"] == pytest.approx(np.sort(embeds @ embeds[3])[-2], abs=1e-3)
    for query in (record, read_ecg(record)):
        assert model.search(query, index, k=1)["file"].tolist() == [str(record)]
    assert json.loads(run("search", folder / "r3", "--index", index, "-k", 1, "--json")[1])[0]["file"] == str(record)
    _, out, _ = run("search", record, "--index", index)
    assert "cosine similarity of the two recordings" in out


def test_one_of_several_recordings_is_searched_by_example(run, index, folder, tmp_path):
    ecgs = [read_ecg(folder / f"r{number}.hea") for number in range(3)]
    np.save(tmp_path / "a.npy", np.stack([ecg.signal for ecg in ecgs]))
    told = ("--fs", ecgs[0].sampling_rate, "--leads", ",".join(ecgs[0].leads), "--units", "mV")
    _, out, _ = run("search", tmp_path / "a.npy#2", "--index", index, "-k", 1, "--json", *told)
    assert json.loads(out)[0]["file"] == str(folder / "r2.hea")
    assert "give them with --leads and --fs" in refused(run("search", tmp_path / "a.npy#2", "--index", index))


def test_words_and_files_are_told_apart(run, index, folder, micro_checkpoint, monkeypatch):
    for query in ("missing.hea", "./pause", "missing.npy", "/nowhere/a"):
        said = refused(run("search", query, "--index", index))
        assert f"{query}: there is no such file; check the path, or add --text" in said
        assert run("search", query, "--index", index, "--text")[0] == 0
    assert "is a folder" in refused(run("search", folder, "--index", index))
    assert "leave out the options" in refused(run("search", "pause", "--index", index, "--units", "uV"))
    assert "empty" in refused(run("search", "", "--index", index))
    monkeypatch.chdir(folder.parent)
    said = refused(run("search", "recordings", "--index", index))
    assert "recordings: is a folder; give a file in it, or add --text to search for these words" in said
    assert run("search", "recordings", "--index", index, "--text")[0] == 0
    for query in ("missing.hdf5#7", "recordings/missing.npy#2"):
        assert f"{query}: there is no such file" in refused(run("search", query, "--index", index))
    for query in ("ST/T change", "sinus rhythm. normal ecg", "x" * 300, "lead #2", "#"):
        assert run("search", query, "--index", index)[0] == 0, query
    record = str(folder / "r3.hea")
    assert (
        run("search", record, "--index", index, "--text", "--json")[1]
        != run(*("search", record, "--index", index, "--json"))[1]
    )
    with pytest.warns(DBetaWarning, match=r"is a file but is searched as words; .* pass a Path"):
        load(micro_checkpoint).search(record, index)


def test_an_example_without_usable_signal(run, index, folder, write_record):
    noise = ECG(0.1 * np.random.default_rng(0).standard_normal((12, 5000)), 500)
    record = write_record(folder, noise, "noise")
    code, out, err = run("search", record, "--index", index)
    assert (code, out) == (1, "")
    assert "error: noise.hea: has no usable signal to search for" in err


def test_another_model_is_refused(run, index, micro_checkpoint, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in micro_checkpoint.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = load_file(other / "model.safetensors")
    name = next(name for name in weights if name.startswith("ecg_proj"))
    save_file(weights | {name: weights[name] + 1}, other / "model.safetensors")
    said = refused(run("search", "pause", "--index", index, "--model", other))
    assert "was built with another model" in said
    assert str(micro_checkpoint) in said


def test_a_fingerprint_is_of_weights_not_of_precision(micro_checkpoint):
    one, other = (load(micro_checkpoint, precision=precision) for precision in ("float32", "bfloat16"))
    assert one.checkpoint_fingerprint() == other.checkpoint_fingerprint()


def test_what_is_no_index(run, index, tmp_path, folder, micro_checkpoint):
    assert "is not an index" in refused(run("search", "pause", "--index", tmp_path / "none"))
    assert "already exists" in refused(run("index", folder, "-o", index))
    assert "does not exist" in refused(run("index", folder, "-o", tmp_path / "none" / "index"))
    (index / "index.faiss").write_bytes(b"damaged")
    said = refused(run("search", "pause", "--index", index, "--model", micro_checkpoint))
    assert "the index cannot be read" in said
    about = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps(about | {"format": 0}))
    assert "another version" in refused(run("search", "pause", "--index", index))


def test_a_corpus(run, micro_corpus, micro_ptb_xl, tmp_path, micro_checkpoint):
    code, _, err = run("index", micro_corpus, "-o", tmp_path / "index", "--model", micro_checkpoint)
    assert code == 0, err
    index = Index.load(tmp_path / "index")
    assert len(index) == 34
    model = load(micro_checkpoint)
    best = model.search("sinus rhythm", index, k=1).loc[0]
    embed = model.embed(next(micro_ptb_xl.rglob(f"{int(best['record']):05d}_hr.hea")))[0]
    cosine = embed @ model.embed_condition("sinus rhythm") / np.linalg.norm(embed)
    assert best["score"] == pytest.approx(cosine, abs=1e-3)


def test_a_corpus_beside_a_folder(run, micro_corpus, folder, tmp_path, micro_checkpoint):
    """Both are indexed, the files first, and a shard has its share of both."""
    code, _, err = run("index", micro_corpus, folder, "-o", tmp_path / "index", "--model", micro_checkpoint)
    assert code == 0, err
    assert f"39 recordings in {tmp_path / 'index'}" in err
    both = Index.load(tmp_path / "index")
    assert both.records["file"].tolist()[:5] == [str(folder / f"r{number}.hea") for number in range(5)]
    assert both.records["record"].tolist()[5:] == [str(number) for number in range(1, 35)]
    model = load(micro_checkpoint)
    for alone in (folder, micro_corpus):
        run("index", alone, "-o", tmp_path / f"of-{alone.name}", "--model", micro_checkpoint)
        part = model.search("pause", tmp_path / f"of-{alone.name}", k=50)
        whole = model.search("pause", both, k=50).set_index(["file", "record"])["score"]
        expected = part.set_index(["file", "record"])["score"]
        np.testing.assert_allclose(whole[expected.index], expected, atol=1e-4)
    counts = []
    for number in (1, 2, 3):
        name = tmp_path / f"shard{number}"
        options = ["--shard", f"{number}/3", "--model", micro_checkpoint]
        assert run("index", folder, micro_corpus, "-o", name, *options)[0] == 0
        counts.append(len(Index.load(name)))
    assert sum(counts) == 39


def test_embeddings_and_findings_of_a_corpus(run, micro_corpus, tmp_path, micro_checkpoint):
    model = ["--model", micro_checkpoint]
    assert run("embed", micro_corpus, "-o", "e.parquet", *model)[0] == 0
    table = pd.read_parquet("e.parquet")
    assert table["record"].tolist() == [str(number) for number in range(1, 35)]
    options = ["--conditions", "pause", *model]
    assert run("diagnose", micro_corpus, "-o", "f.csv", *options)[0] == 0
    assert len(pd.read_csv("f.csv")) == 34
    assert "leave out the options" in refused(run("embed", micro_corpus, "-o", "g.parquet", "--units", "uV", *model))
    assert "add --output" in refused(run("diagnose", micro_corpus, *model))
