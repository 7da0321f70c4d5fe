"""`dbeta corpus build`."""

import json

import pytest

from command_line import refused, write_wfdb


def test_corpus_build(run, tmp_path, micro_ptb_xl):
    out = tmp_path / "deep" / "corpus"
    out.parent.mkdir()
    code, said, err = run("corpus", "build", "ptb-xl", micro_ptb_xl, out)
    assert (code, said) == (0, "")
    assert err.startswith("34 records of 17 patients")
    assert json.loads((out / "corpus.json").read_text())["splits"] == {"validation": 20, "train": 12, "test": 2}
    assert "already exists" in refused(run("corpus", "build", "ptb-xl", micro_ptb_xl, out))


def test_corpus_build_of_a_manifest(run, tmp_path, make_ecg):
    write_wfdb(tmp_path, make_ecg(seconds=12))
    (tmp_path / "list.csv").write_text("path,report\nrec.hea,Sinus rhythm\nnone.hea,lost\n")
    code, said, err = run("corpus", "build", "manifest", "list.csv", "corpus", "--seconds", 5)
    assert (code, said) == (0, "")
    assert "1 records could not be read: see corpus/rejected.csv" in err
    assert "dbeta corpus build manifest list.csv corpus --seconds 5" in (tmp_path / "corpus" / "README.md").read_text()


def test_an_interrupted_corpus_build_says_how_to_go_on(run, tmp_path, micro_ptb_xl, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dbeta.corpus.build.write_shard", interrupt)
    code, _, err = run("corpus", "build", "ptb-xl", micro_ptb_xl, tmp_path / "corpus")
    assert code == 130
    assert err == "interrupted; run the same command again to resume\n"
    monkeypatch.undo()
    code, _, err = run("corpus", "build", "ptb-xl", micro_ptb_xl, tmp_path / "corpus")
    assert (code, err[:10]) == (0, "34 records")


def test_the_help_of_corpus_build_lists_the_sources(run):
    said = " ".join(run("corpus", "build", "--help")[1].split())
    assert all(source in said for source in ("ptb-xl", "mimic-iv-ecg", "challenge-2021", "code-15", "manifest"))


@pytest.mark.parametrize(
    ("source", "raw", "message"),
    [
        ("mimic", ".", "choose one of"),
        ("ptb-xl", "none", "no such file or folder"),
        ("ptb-xl", ".", "ptbxl_database.csv"),
    ],
)
def test_corpus_build_of_nothing(run, tmp_path, source, raw, message):
    assert message in refused(run("corpus", "build", source, tmp_path / raw, tmp_path / "corpus"))
    assert list(tmp_path.iterdir()) == []
