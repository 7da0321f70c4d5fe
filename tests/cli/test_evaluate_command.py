"""`dbeta evaluate`: reports, comparisons, and what it refuses."""

import json
import re

import pytest

from command_line import refused
from dbeta.checkpoints.read import bundled_checkpoint


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """Embeddings are kept where tests may keep them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_evaluate_zero_shot(ask, tmp_path, micro_ptb_xl):
    output = tmp_path / "deep" / "results"
    options = ["--fold", "9", "--output", output, "--resamples", "10"]
    code, out, err = ask("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, *options)
    assert code == 0
    assert err.endswith(f"{output / 'report.md'} written\n")
    assert "Tested on fold 9, not PTB-XL's official test fold" in err
    assert {"metrics.json", "report.md", "predictions.parquet"} <= {file.name for file in output.iterdir()}
    result = json.loads((output / "metrics.json").read_text())
    assert result["n_records"] == 20
    assert len(result["macro"]["auroc"]) == 3
    assert result["provenance"]["command"].startswith("dbeta evaluate zero-shot ptb-xl-super")
    table = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    rows = {row[0]: row[1:] for row in table if row[0] in ("NORM", "MI", "STTC", "CD", "HYP", "macro")}
    assert list(rows) == ["NORM", "MI", "STTC", "CD", "HYP", "macro"]
    assert rows["STTC"] == ["0", "–", "–", "–", "–"]
    assert rows["NORM"][0] == "10"
    assert rows["NORM"][1].startswith(f"{result['classes']['NORM']['auroc'][0]:.3f} (")
    assert rows["macro"][2] == f"{result['baselines']['random']['macro']['auroc'][0]:.3f}"
    assert rows["macro"][3] == f"{result['baselines']['normality']['macro']['auroc'][0]:.3f}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "options", "shown"),
    [
        ("probe", [], "macro"),
        ("retrieval", [], "ecg to text, recall@5"),
        ("identification", [], "accuracy@1"),
        ("identification", ["--finetune", "--epochs", "1"], "accuracy@1"),
        ("finetune", ["--epochs", "1", "--no-scratch", "--leads", "12,1"], "macro"),
    ],
)
def test_the_other_evaluations(ask, tmp_path, micro_ptb_xl, task, options, shown):
    options = [*options, "--fold", "9", "--output", tmp_path / "out", "--resamples", "10"]
    code, out, _ = ask("evaluate", task, "ptb-xl-super", micro_ptb_xl, *options)
    assert code == 0
    assert shown in out
    assert "Research use only" in out
    assert (tmp_path / "out" / "report.md").is_file()


def test_evaluate_two_models_and_compare(run, tmp_path, micro_ptb_xl, micro_checkpoint):
    output = tmp_path / "two"
    models = ["--model", micro_checkpoint, "--model", bundled_checkpoint()]
    code, out, _ = run(
        *("evaluate", "zero-shot", "ptb-xl-rhythm", micro_ptb_xl, "--fold", "9", "--output", output),
        *(*models, "--resamples", "10"),
    )
    assert code == 0
    assert "tiny" in out
    code, out, err = run("evaluate", "compare", output)
    assert code == 0
    assert "published" in out
    assert "Research use only" in err
    assert run("evaluate", "compare", output, "--output", tmp_path / "table.md")[0] == 0
    assert "*D-BETA (Pham et al. 2025)* | 0.886" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_a_model_folder_called_random(run, tmp_path, micro_ptb_xl, micro_checkpoint):
    (tmp_path / "random").symlink_to(micro_checkpoint)
    options = ["--fold", "9", "--resamples", "10"]
    for name in (tmp_path / "random", micro_checkpoint):
        output = tmp_path / f"out {name.name}"
        assert (
            run("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, *options, "--model", name, "--output", output)[0]
            == 0
        )
    figures = [json.loads((folder / "metrics.json").read_text())["macro"] for folder in tmp_path.glob("out *")]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("leads", ["12,5", "", "x"])
def test_lead_sets_that_are_none(ask, tmp_path, micro_ptb_xl, leads):
    said = refused(
        ask("evaluate", "finetune", "ptb-xl-super", micro_ptb_xl, "--output", tmp_path / "o", "--leads", leads)
    )
    assert "choose from 12,6,4,3,2,1" in said
    assert list(tmp_path.iterdir()) == []


def test_a_model_named_twice(ask, tmp_path, micro_ptb_xl, micro_checkpoint):
    models = ["--model", micro_checkpoint] * 3
    said = refused(ask("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, "--output", tmp_path / "out", *models))
    assert "named twice" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("benchmark", "raw", "options", "message"),
    [
        ("nonsense", ".", [], "choose one of ptb-xl-super"),
        ("ptb-xl-super", "none", [], "no such folder"),
        ("ptb-xl-super", ".", [], "ptbxl_database.csv is missing"),
        ("ptb-xl-super", None, ["--fold", "11"], "no labelled record of fold 11"),
        ("ptb-xl-super", None, ["--protocol", "merl"], "--split-file together"),
        ("ptb-xl-super", None, ["--groups", "none.csv"], "none.csv: no such file"),
    ],
)
def test_evaluate_what_is_not_there(ask, tmp_path, micro_ptb_xl, benchmark, raw, options, message):
    folder = micro_ptb_xl if raw is None else tmp_path / raw
    said = refused(ask("evaluate", "zero-shot", benchmark, folder, "--output", tmp_path / "out", *options))
    assert message in said
    assert list(tmp_path.iterdir()) == []


def test_evaluate_into_a_file(ask, tmp_path, micro_ptb_xl):
    (tmp_path / "out").write_text("in the way")
    said = refused(ask("evaluate", "zero-shot", "ptb-xl-super", micro_ptb_xl, "--output", tmp_path / "out"))
    assert str(tmp_path / "out") in said
