"""The table of negatives: what is far, what is never offered, what is kept on disk."""

import ast
import json
import os
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from dbeta.checkpoints.read import fastest_dtype
from dbeta.corpus import negative_search
from dbeta.corpus import negatives as module
from dbeta.corpus.negative_search import find_negatives, record_text, spread
from dbeta.corpus.negatives import NEGATIVES_FOLDER, Negatives, build_negatives
from dbeta.corpus.report_text import clean_report
from dbeta.corpus.text_embeddings import embed_texts
from dbeta.errors import DBetaError

RHYTHMS = ("sinus rhythm", "atrial fibrillation", "paced rhythm")
CHANGES = ("st depression", "t wave inversion", "q waves", "early repolarization")
PLACES = ("in anterior leads", "in inferior leads", "in lateral leads", "in septal leads")
#: 48 reports with their findings.
ROWS = [
    {"report": f"{rhythm}. {change} {place}.", "findings": [rhythm, change], "unknown": []}
    for rhythm in RHYTHMS
    for change in CHANGES
    for place in PLACES
]


def row(report="", findings=(), unknown=()):
    return {"report": report, "findings": list(findings), "unknown": list(unknown)}


def folder_state(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def corpus(micro_corpus, tmp_path):
    """A copy of the micro corpus that may be changed: four unique reports in the training split."""
    return shutil.copytree(micro_corpus, tmp_path / "corpus")


@pytest.fixture(scope="session")
def t5(tmp_path_factory, micro_tokenizer):
    """A T5 of the smallest size with random weights, encoder and decoder, as Flan-T5 is published."""
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    sizes = {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes, feed_forward_proj="gated-gelu")).save_pretrained(folder)
    micro_tokenizer.save_pretrained(folder)
    return folder


# --- the text of a record


@pytest.mark.parametrize(
    "one, text",
    [
        (row("sinus rhythm.", ["x"]), "sinus rhythm."),
        (row("", ["Sinus rhythm", "LVH", "av block"]), "av block. lvh. sinus rhythm"),
        (row(), ""),
    ],
)
def test_record_text(one, text):
    assert record_text(one) == text


# --- what is far


def test_negatives_are_the_farthest_and_never_the_text_itself():
    table, about = find_negatives(ROWS, count=8)
    assert (table.shape, table.dtype) == ((48, 8), np.int32)
    embeddings = spread(embed_texts([one["report"] for one in ROWS]))
    similarity = embeddings @ embeddings.T
    for i, ids in enumerate(table):
        assert i not in ids
        assert len(set(ids)) == 8
        assert (np.diff(similarity[i, ids]) >= -1e-6).all()
    # Findings shared with a random other text: 1 in 5 of the pairs share the rhythm, 1 in 4 the change
    same = [set(ROWS[i]["findings"]) & set(ROWS[j]["findings"]) for i, ids in enumerate(table) for j in ids]
    assert sum(map(bool, same)) < 0.1 * len(same)
    assert about["texts"] == 48
    assert about["count"] == 8
    assert about["may_be_true"] == 0


def test_a_text_that_holds_or_may_hold_is_no_negative():
    rows = [
        row("a long account of a heart that beats regularly, with a broad complex", ["sinus rhythm", "lbbb"], ["lvh"]),
        row("sinusrhythmus", ["sinus rhythm"]),
        row("linkshypertrophie", ["lvh"]),
        row("vorhofflimmern", ["atrial fibrillation"]),
        row("nobody knows what this says"),
        *(row(f"other text {i}", ["other"]) for i in range(10)),
    ]
    table, about = find_negatives(rows, count=4)
    assert not {1, 2} & set(table[0])
    assert 0 in find_negatives(rows, count=14)[0][1]  # what states more than holds may be offered
    assert about["may_be_true"] == 0
    assert find_negatives(rows, count=8)[1]["may_be_true"] > 0  # the ten that state the same have only five others


def test_where_all_others_may_be_true_the_farthest_are_kept():
    rows = [row(text, ["sinus rhythm"]) for text in ("sinus rhythm", "sinusrhythmus", "sinusrytm", "ritmo sinusale")]
    table, about = find_negatives(rows)
    assert table.shape == (4, 3)
    assert [sorted([i, *ids]) for i, ids in enumerate(table)] == [[0, 1, 2, 3]] * 4
    assert about["may_be_true"] == 1


def test_more_findings_than_fit_one_word():
    findings = [f"finding {i}" for i in range(150)]
    rows = [row(f"text {one}", [one]) for one in findings] + [row("a text of everything", findings)]
    table, _ = find_negatives(rows, count=4)
    assert not np.any([i in ids for i, ids in enumerate(table)])
    assert find_negatives(rows[-1:] + rows[:3], count=2)[1]["may_be_true"] > 0


def test_two_texts_have_each_other():
    table, about = find_negatives([row("sinus rhythm"), row("atrial fibrillation")])
    assert table.tolist() == [[1], [0]]
    assert about["ever_used"] == 1


@pytest.mark.parametrize("block", [1, 7, 48])
def test_the_table_does_not_depend_on_the_blocks_and_is_the_same_each_time(monkeypatch, block):
    table, about = find_negatives(ROWS)
    monkeypatch.setattr(negative_search, "_BLOCK", block)
    again, about_again = find_negatives(ROWS)
    assert about_again["ever_used"] == about["ever_used"]
    embeddings = spread(embed_texts([one["report"] for one in ROWS]))
    similarity = np.take_along_axis(embeddings @ embeddings.T, table, 1)
    np.testing.assert_allclose(np.take_along_axis(embeddings @ embeddings.T, again, 1), similarity, atol=1e-5)
    assert (find_negatives(ROWS)[0] == again).all()


def test_progress_runs_to_its_end():
    seen = []
    find_negatives(ROWS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (96, 96)
    assert seen == sorted(seen)


def test_spreading_takes_away_a_common_direction():
    rng = np.random.default_rng(0)
    embeddings = np.float32(rng.standard_normal((500, 20)) + 30)
    far = spread(embeddings)
    assert far.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(far, axis=1), 1, atol=1e-5)
    assert abs(float((far @ far.T).mean())) < 0.02
    assert spread(np.ones((5, 3), np.float32)).shape == (5, 0)
    assert spread(np.float32(rng.standard_normal((300, 200)))).shape == (300, negative_search.DIMENSION)


# --- on disk


def test_build_and_load(corpus):
    about = build_negatives(corpus)
    assert {"records": 12, "without_text": 0, "texts": 4, "count": 3, "encoder": "tfidf"}.items() <= about.items()
    assert sorted(path.name for path in (corpus / NEGATIVES_FOLDER).iterdir()) == [
        "negatives.json",
        "reports.parquet",
        "table.npy",
    ]
    found = Negatives.load(corpus)
    assert found.about == json.loads((corpus / NEGATIVES_FOLDER / "negatives.json").read_text()) == about
    assert len(found) == 4
    assert found.reports[0] == "sinus rhythm. normal ecg"
    assert "sinus rhythm" in found.findings[0]
    assert [unknown == {"sinus bradycardia"} for unknown in found.unknown] == [
        "sinus rhythm" in findings for findings in found.findings
    ]
    assert [found.id_of(report) for report in found.reports] == [0, 1, 2, 3]
    assert found.id_of("a text of another corpus") == -1
    # A small table is read by the page, not as a whole
    base = found.table
    while not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    copy = pickle.loads(pickle.dumps(found))  # as it goes to a worker
    assert (copy.table == found.table).all()
    assert copy.id_of(found.reports[2]) == 2


def test_a_draw_is_one_of_the_farthest():
    table = np.array([[1, 2], [2, 0], [0, 1]], np.int32)
    found = Negatives(table, ["a", "b", ""], [frozenset(), frozenset(), frozenset({"C", "B"})], [frozenset()] * 3, {})
    assert [found.draw(0, at) for at in (0.0, 0.49, 0.5, 0.999999)] == [1, 1, 2, 2]
    assert type(found.draw(1, 0.3)) is int
    assert found.id_of("b. c") == 2


def test_records_without_a_report_stand_for_their_findings(corpus, monkeypatch):
    whole = module._columns

    def without_reports(path):
        for table in whole(path):
            reports = ["" if i % 2 else one for i, one in enumerate(table["report"].to_pylist())]
            findings = [[] if i == 3 else one for i, one in enumerate(table["findings"].to_pylist())]
            for name, column in (("report", reports), ("findings", findings)):
                table = table.set_column(table.column_names.index(name), name, [column])
            yield table

    monkeypatch.setattr(module, "_columns", without_reports)
    about = build_negatives(corpus)
    assert about["without_text"] == 1
    found = Negatives.load(corpus)
    assert "" in found.reports
    i = found.reports.index("")
    assert found.id_of(". ".join(sorted(one.lower() for one in found.findings[i]))) == i
    assert found.id_of("") == -1


def test_the_same_corpus_gives_the_same_table_and_an_old_one_is_replaced(corpus):
    build_negatives(corpus, count=1)
    build_negatives(corpus)
    before = folder_state(corpus)
    build_negatives(corpus)
    assert folder_state(corpus) == before
    assert Negatives.load(corpus).table.shape == (4, 3)
    assert oct((corpus / NEGATIVES_FOLDER).stat().st_mode & 0o777) == oct((corpus.stat().st_mode | 0o700) & 0o777)


def test_what_fails_leaves_the_old_table_alone(corpus, monkeypatch):
    build_negatives(corpus)
    before = folder_state(corpus)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "save", fail)
    with pytest.raises(OSError):
        build_negatives(corpus, count=1)
    assert folder_state(corpus) == before
    assert not [path for path in corpus.iterdir() if path.name.startswith(".")]


def test_loading_refuses_what_does_not_fit(corpus, monkeypatch, tmp_path):
    with pytest.raises(DBetaError, match=r"no table of negatives; run `dbeta corpus negatives .*corpus`"):
        Negatives.load(corpus)
    with pytest.raises(DBetaError, match="not a corpus"):
        Negatives.load(tmp_path)
    build_negatives(corpus)
    folder = corpus / NEGATIVES_FOLDER

    about = (folder / "negatives.json").read_text()
    for broken in ("{", "[]", "{}"):
        (folder / "negatives.json").write_text(broken)
        with pytest.raises(DBetaError, match="cannot be read; run"):
            Negatives.load(corpus)
    (folder / "negatives.json").write_text(about)
    np.save(folder / "table.npy", np.zeros((3, 2), np.int32))
    with pytest.raises(DBetaError, match="does not fit"):
        Negatives.load(corpus)


@pytest.mark.parametrize("name, other", [("report", "asystole"), ("record_id", "0")])
def test_loading_refuses_a_table_of_another_corpus(corpus, monkeypatch, name, other):
    build_negatives(corpus)
    whole = module._columns

    def changed(path):
        for table in whole(path):
            values = [other, *table[name].to_pylist()[1:]]
            yield table.set_column(table.column_names.index(name), name, [values])

    monkeypatch.setattr(module, "_columns", changed)
    with pytest.raises(DBetaError, match="has changed since"):
        Negatives.load(corpus)


@pytest.mark.parametrize("count", [0, -3])
def test_a_count_below_one(corpus, count):
    with pytest.raises(DBetaError, match="at least 1"):
        build_negatives(corpus, count=count)


@pytest.mark.parametrize("rows", [[], [row("sinus rhythm")]])
def test_too_few_texts(corpus, monkeypatch, rows):
    monkeypatch.setattr(module, "_unique_rows", lambda _: (rows, 3, 0))
    with pytest.raises(DBetaError, match=f"corpus: the training split has {len(rows)} unique texts"):
        build_negatives(corpus)
    assert not (corpus / NEGATIVES_FOLDER).exists()


def test_no_corpus_and_no_training_split(corpus, tmp_path, monkeypatch):
    with pytest.raises(DBetaError, match="not a corpus"):
        build_negatives(tmp_path / "none")
    load = module.load_corpus
    monkeypatch.setattr(module, "load_corpus", lambda path, split: load(path, "none" if split == "train" else ""))
    with pytest.raises(DBetaError, match="no records in split"):
        build_negatives(corpus)


# --- encoders


def test_tfidf_embeds_what_it_can():
    embeddings = embed_texts(["sinus rhythm", "sinus rhythm", "atrial fibrillation", "…"])
    similarity = embeddings @ embeddings.T
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(similarity, expected, atol=1e-6)


def test_tfidf_reduces_many_texts():
    texts = [f"{one['report']} {i} {i + 1} {j} {j + 1}" for i in range(30) for j, one in enumerate(ROWS)]
    embeddings = embed_texts(texts)
    assert (embeddings.shape, embeddings.dtype) == ((1440, 128), np.float32)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_a_transformer_embeds_as_the_mean_over_the_words(t5, micro_tokenizer):
    texts = ["sinus rhythm", "atrial fibrillation with a long report that goes on and on", "lvh", "av block"]
    seen = []
    embeddings = embed_texts(texts, str(t5), 3, lambda *at: seen.append(at))
    assert seen == [(3, 4), (4, 4)]
    model = T5EncoderModel.from_pretrained(t5).eval()
    exact = not torch.cuda.is_available() and fastest_dtype(torch.device("cpu")) is torch.float32
    tolerance = 1e-5 if exact else 2e-2
    for text, embedding in zip(texts, embeddings, strict=True):
        with torch.no_grad():
            states = model(**micro_tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        np.testing.assert_allclose(embedding, expected, atol=tolerance)


def test_a_checkpoint_of_this_project_embeds_texts(micro_checkpoint):
    embeddings = embed_texts(["sinus rhythm", "atrial fibrillation"], str(micro_checkpoint))
    assert embeddings.shape == (2, 32)
    table, about = find_negatives(ROWS, str(micro_checkpoint), 4)
    assert table.shape == (48, 4)
    assert about["dimension"] <= 32


def test_a_table_by_a_transformer(corpus, t5):
    assert build_negatives(corpus, str(t5), batch_size=2)["encoder"] == str(t5)
    assert sorted(Negatives.load(corpus).table[0]) == [1, 2, 3]


def test_an_encoder_that_tells_no_texts_apart(t5, tmp_path):
    folder = shutil.copytree(t5, tmp_path / "t5")
    weights = load_file(folder / "model.safetensors")
    save_file({name: one * 0 for name, one in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DBetaError, match="embeds all texts identically"):
        find_negatives(ROWS[:4], str(folder))
    save_file({name: one * np.nan for name, one in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DBetaError, match="not finite"):
        find_negatives(ROWS[:4], str(folder))


def test_an_encoder_that_is_not_there_or_damaged(t5, tmp_path, monkeypatch):
    def refused(name, message):
        with pytest.raises(DBetaError, match=message) as error:
            embed_texts(["a", "b"], str(name))
        assert "\n" not in str(error.value)

    refused(tmp_path / "none", "not a folder with a config.json")
    refused(tmp_path, "not a folder with a config.json")
    refused("not/a/hub/id", "neither a folder nor a hub id")
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        folder = shutil.copytree(t5, tmp_path / f"damaged {file}")
        (folder / file).write_text("{")
        refused(folder, "cannot be loaded as a text encoder")
    weights = load_file(t5 / "model.safetensors")
    folder = shutil.copytree(t5, tmp_path / "lacking")
    name = next(name for name in weights if name.startswith("encoder.block.1"))
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    refused(folder, "weights lack 1 tensors")
    with pytest.raises(DBetaError, match="batch size"):
        embed_texts(["a", "b"], str(t5), 0)


def test_an_encoder_on_a_hub_out_of_reach(monkeypatch):
    from huggingface_hub.errors import OfflineModeIsEnabled

    def offline(*_, **__):
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr("dbeta.checkpoints.hub.HfApi", lambda: SimpleNamespace(model_info=offline))
    monkeypatch.setattr("dbeta.checkpoints.hub.snapshot_download", offline)
    with pytest.raises(DBetaError, match=r"nobody/no-encoder: .*HF_HUB_OFFLINE"):
        embed_texts(["a", "b"], "nobody/no-encoder")


# --- the command line


def test_corpus_negatives(run, corpus):
    code, out, err = run("corpus", "negatives", corpus, "--count", 2)
    assert (code, out) == (0, "")
    assert "2 negatives for each of 4 unique reports" in err
    assert "are used as negatives" in err
    assert Negatives.load(corpus).table.shape == (4, 2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--encoder", "./none"], "config.json"),
        (["--count", "0"], "at least 1"),
        (["--encoder", "./none", "--batch-size", "0"], "error: "),
    ],
)
def test_corpus_negatives_refuses(run, corpus, arguments, message):
    code, out, err = run("corpus", "negatives", corpus, *arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_corpus_that_may_not_be_written(run, corpus):
    corpus.chmod(0o500)
    code, _, err = run("corpus", "negatives", corpus)
    corpus.chmod(0o700)
    assert code == 1
    assert err.count("\n") == 1


# --- real reports


@pytest.mark.shared
def test_real_reports_have_no_hubs(shared):
    table = pd.read_csv(shared / "ptb-xl" / "reports-folds-1-9.csv.xz")
    table["clean"] = table["report"].map(clean_report)
    table = table[table["clean"] != ""].drop_duplicates("clean")
    rows = [
        row(report, ast.literal_eval(codes)) for report, codes in zip(table["clean"], table["scp_codes"], strict=True)
    ]
    negatives, about = find_negatives(rows)
    assert negatives.shape == (len(rows), 64)
    assert about["most_used_percent_share"] < 0.08
    assert about["ever_used"] > 0.9
    assert about["may_be_true"] < 0.001
    for i in range(0, len(rows), 100):
        stated = [set(rows[j]["findings"]) for j in negatives[i]]
        assert not any(one and one <= set(rows[i]["findings"]) for one in stated)
