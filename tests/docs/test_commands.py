"""Every command and every piece of Python in the documents runs, on small stand-ins and with sizes cut.

A page's blocks run in order in one folder. A block whose info string says `no-run` (uploads, downloads, GPUs, data that
is not at hand) is left out here; `test_options.py` checks its options. A block `text output` is compared with what the
block before it printed.
"""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from documents import PAGES, ROOT, SHELL, blocks, dbeta_arguments, name_of, shell_lines

MICRO_RUN = {
    "training.max_steps": 2,
    "training.eval_steps": 2,
    "training.save_steps": 2,
    "training.warmup_steps": 0,
    "training.per_device_train_batch_size": 4,
    "training.dataloader_num_workers": 0,
    "training.use_cpu": True,
    "simulation.records": 64,
    "simulation.validation": 16,
    "collator.prompts": 4,
}
#: Options that are added to a command so that it takes seconds.
CUTS = {
    "pretrain": [word for key, value in MICRO_RUN.items() for word in ("--set", f"{key}={value}")],
    "corpus simulate": ["--records", "8"],
    "evaluate zero-shot": ["--resamples", "10", "--cache", "cache"],
    "evaluate probe": ["--resamples", "10", "--cache", "cache"],
    "evaluate finetune": ["--resamples", "10", "--epochs", "1", "--no-scratch"],
    "evaluate retrieval": ["--resamples", "10", "--cache", "cache"],
    # The stand-in's fold 10 holds a single patient
    "evaluate identification": ["--resamples", "10", "--cache", "cache", "--fold", "9"],
}
RUN = [page for page in PAGES if any(one.language in (*SHELL, "python") for one in blocks(page))]
RUN = [page for page in RUN if any("no-run" not in one.words for one in blocks(page) if one.language != "text")]
#: Pages that take seconds, not tenths of them.
LONG = ("pretrain", "evaluate ")


def is_long(page):
    """Whether a page trains or evaluates."""
    return any(
        "no-run" not in block.words and any(f"dbeta {word}" in block.text for word in LONG) for block in blocks(page)
    )


@pytest.fixture
def stand_ins(tmp_path, make_ecg, write_record, micro_ptb_xl, micro_checkpoint):
    """Makes the files that documents name, those aside which the page makes itself."""

    def make(text):
        ecg = make_ecg()
        write_record(tmp_path, ecg, "record")
        write_record(tmp_path, make_ecg(seconds=45), "holter")
        np.save(tmp_path / "counts.npy", np.round(ecg.signal * 1000).astype(np.int16))
        with h5py.File(tmp_path / "exams.hdf5", "w") as file:
            file["tracings"] = np.stack([make_ecg(sampling_rate=400, seed=seed).signal.T for seed in range(2)])
            file["exam_id"] = [1111687, 1111688]
        if 'Path("archive").mkdir()' not in text:
            (tmp_path / "archive").mkdir()
            lines = ["path,report,patient_id,split"]
            for i in range(8):
                write_record(tmp_path / "archive", make_ecg(seed=i, rate=60 + 5 * i), f"ecg{i}")
                split = ("train", "train", "train", "validation")[i % 4]
                lines.append(f"ecg{i}.hea,{('sinus rhythm', 'sinus tachycardia')[i % 2]},{i},{split}")
            (tmp_path / "archive" / "recordings.csv").write_text("\n".join(lines))
        shutil.copytree(micro_ptb_xl, tmp_path / "PTB-XL-FOLDER")
        shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
        if "runs/base" in text and "dbeta pretrain" not in text:
            shutil.copytree(micro_checkpoint, tmp_path / "runs" / "base")
        if "partial.hea" in text:
            signal = ecg.signal.copy()
            signal[7], signal[9, 1000:2000] = np.nan, np.nan
            write_record(tmp_path, type(ecg)(signal, 500), "partial")
        if "lead-one.hea" in text:
            signal = ecg.signal.copy()
            signal[1:] = np.nan
            write_record(tmp_path, type(ecg)(signal, 500), "lead-one")
        if "runs/tiny" in text and "dbeta pretrain" not in text:
            shutil.copytree(ROOT / "checkpoints" / "tiny", tmp_path / "runs" / "tiny")

    return make


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if is_long(page) else []) for page in RUN], ids=name_of
)
def test_the_blocks_of_a_page_run(page, run, stand_ins):
    stand_ins(page.read_text(encoding="utf-8"))
    names, printed = {}, ""
    for block in blocks(page):
        if "no-run" in block.words:
            continue
        if block.language == "python":
            printed = execute(block.text, names, block.place)
        elif block.language in SHELL:
            printed = "".join(execute_line(line, run, block.place) for line in shell_lines(block.text))
        elif "output" in block.words:
            compare(block.text, printed, block.place)


def execute(code, names, place):
    """Run Python; what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, place, "exec"), names)
    return said.getvalue()


def execute_line(line, run, place):
    """Run a line of shell, `dbeta` in this process; what it printed."""
    if line.startswith("python "):
        words = shlex.split(line)[1:]
        return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True, timeout=300).stdout
    (arguments,) = dbeta_arguments(line)
    cuts = next((more for start, more in CUTS.items() if " ".join(arguments).startswith(start)), [])
    code, out, err = run(*arguments, *cuts)
    assert code == 0, f"{place}: {line}\n{err}"
    return out


def compare(expected, printed, place):
    """What a document shows must have been printed, in order; numbers may differ a little."""
    words = iter(re.findall(r"[^\s│┃┏┡└┗┛┓┩┘┳╇┴━─]+", printed))
    for wanted in re.findall(r"[^\s│┃┏┡└┗┛┓┩┘┳╇┴━─]+", expected):
        assert any(alike(wanted, word) for word in words), f"{place}: {wanted!r} was not printed\n{printed}"


def alike(one, other):
    """Equal words, or nearly equal numbers."""
    try:
        return float(one) == pytest.approx(float(other), rel=0.03, abs=0.03)
    except ValueError:
        return one == other


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "getting-started" / "first-findings.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names = {}
    for i, cell in enumerate(cells):
        exec(compile(cell, f"cell {i}", "exec"), names)
    assert names["embedding"].shape == (1, 160)
    assert names["findings"]["condition"][0] == "normal ECG"
