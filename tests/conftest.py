"""Shared by all tests: a synthetic ECG, a model and a PTB-XL of the smallest size, and the real data where at hand."""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import wfdb
from safetensors.torch import save_file

from dbeta import cli
from dbeta.conditions.registry import load_conditions
from dbeta.corpus.build import build_corpus
from dbeta.corpus.tokenizer import train_tokenizer
from dbeta.ecg import ECG, LEADS
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.model.processor import DBetaProcessor

# The models of the tests are so small that threads only get in each other's way.
torch.set_num_threads(1)

# Each wave: centre in seconds from the R peak, standard deviation in seconds.
_WAVES = {"P": (-0.16, 0.022), "Q": (-0.025, 0.008), "R": (0.0, 0.010), "S": (0.028, 0.009), "T": (0.24, 0.045)}

# mV in the independent leads, in the order P, Q, R, S, T; the other four leads follow.
_AMPLITUDES = {
    "I": (0.08, -0.05, 0.70, -0.10, 0.20),
    "II": (0.14, -0.08, 1.10, -0.15, 0.30),
    "V1": (0.05, 0.00, 0.20, -0.90, -0.05),
    "V2": (0.06, 0.00, 0.40, -1.20, 0.35),
    "V3": (0.07, 0.00, 0.80, -0.80, 0.40),
    "V4": (0.08, -0.05, 1.30, -0.40, 0.38),
    "V5": (0.08, -0.08, 1.20, -0.20, 0.30),
    "V6": (0.07, -0.08, 0.90, -0.10, 0.22),
}


def synthetic_ecg(
    seconds: float = 10,
    sampling_rate: float = 500,
    rate: float = 70,
    seed: int = 0,
    leads: Sequence[str] = LEADS,
) -> ECG:
    """A sinus rhythm of `rate` beats per minute, about 1 mV, with a little noise; limb leads obey Einthoven's law."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    intervals = 60 / rate * (1 + 0.02 * generator.standard_normal(int(seconds * rate / 60) + 3))
    beats = np.cumsum(intervals) - intervals[0] * generator.random()
    waves = [np.exp(-0.5 * ((time - beats[:, None] - at) / width) ** 2).sum(axis=0) for at, width in _WAVES.values()]
    signal = np.array(list(_AMPLITUDES.values())) @ np.stack(waves)  # (8, samples)
    signal += 0.005 * generator.standard_normal(signal.shape)
    ecg = ECG(signal, sampling_rate, tuple(_AMPLITUDES)).standard()
    return ECG(np.stack([ecg[lead] for lead in leads]), sampling_rate, leads)


@pytest.fixture(autouse=True, scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache folder of the tests' own, for what would be kept in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def make_ecg() -> Callable[..., ECG]:
    """The factory of synthetic ECGs."""
    return synthetic_ecg


def write_wfdb_record(folder: Path, ecg: ECG, name: str = "rec") -> Path:
    """A recording in WFDB format, in microvolts of 16 bit; its header."""
    wfdb.wrsamp(
        name,
        fs=int(ecg.sampling_rate),
        units=["mV"] * 12,
        sig_name=list(ecg.leads),
        p_signal=ecg.signal.T.astype(np.float64),
        fmt=["16"] * 12,
        adc_gain=[1000.0] * 12,
        baseline=[0] * 12,
        write_dir=str(folder),
    )
    return folder / f"{name}.hea"


@pytest.fixture(scope="session")
def write_record() -> Callable[..., Path]:
    """Writes an ECG into a folder as a WFDB record of this name."""
    return write_wfdb_record


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; tests that use it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not at hand")
    return folder


#: Changes to the tiny preset: 10 s at 100 Hz, 24 tokens of 40 samples, about 60,000 parameters, no dropout.
MICRO: dict[str, Any] = {
    "sampling_rate": 100,
    "n_samples": 1000,
    "conv_layers": [[16, 10, 5], [32, 4, 2], [32, 4, 4]],
    "conv_pos_kernel": 8,
    "conv_pos_groups": 4,
    "hidden_size": 32,
    "ecg_layers": 2,
    "ecg_heads": 4,
    "ecg_intermediate_size": 64,
    "text_config": {
        "vocab_size": 400,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 1,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
    },
    "max_text_tokens": 32,
    "fusion_layers": 2,
    "fusion_heads": 4,
    "fusion_intermediate_size": 64,
    "mem_layer": 1,
    "mem_hidden_size": 24,
    "mem_layers": 1,
    "mem_heads": 3,
}


@pytest.fixture(scope="session")
def micro_settings() -> dict[str, Any]:
    """What makes the tiny preset a micro model."""
    return MICRO


@pytest.fixture
def micro_config() -> Callable[..., DBetaConfig]:
    """The factory of micro configurations; it takes changes."""
    return lambda **changes: DBetaConfig.tiny(**(MICRO | changes))


@pytest.fixture
def micro_model(micro_config: Callable[..., DBetaConfig]) -> Callable[..., DBetaModel]:
    """The factory of micro models in evaluation mode, the same weights at each call; it takes changes."""

    def make(**changes: Any) -> DBetaModel:
        torch.manual_seed(0)
        return DBetaModel(micro_config(**changes)).eval()

    return make


#: Statements of the micro PTB-XL: code, description, diagnostic class (None: a rhythm).
_STATEMENTS = (
    ("NORM", "normal ECG", "NORM"),
    ("IMI", "inferior myocardial infarction", "MI"),
    ("LVH", "left ventricular hypertrophy", "HYP"),
    ("CLBBB", "complete left bundle branch block", "CD"),
    ("SR", "sinus rhythm", None),
    ("SBRAD", "sinus bradycardia", None),
    ("STACH", "sinus tachycardia", None),
)

#: Kinds of record of the micro PTB-XL, in turn: rate, codes with likelihoods, report.
_KINDS = (
    (70, {"NORM": 100.0, "SR": 0.0}, "*** Sinus rhythm. Normal EKG ***"),
    (45, {"SBRAD": 0.0, "IMI": 50.0}, "sinusbradykardie. inferiorer infarkt"),
    (120, {"STACH": 0.0, "LVH": 100.0, "CLBBB": 100.0}, "sinus tachycardia. LVH.  LBBB"),
    (80, {"NORM": 80.0, "SR": 0.0}, "normales ekg"),
)


def write_ptb_xl(folder: Path, train: int = 12, validation: int = 20, test: int = 2) -> Path:
    """Write synthetic records in PTB-XL's own layout: 500 Hz WFDB records, its table of records and of statements."""
    rows = []
    for number in range(1, train + validation + test + 1):
        rate, codes, report = _KINDS[(number - 1) % len(_KINDS)]
        name = f"records500/00000/{number:05d}_hr"
        patient, fold = (number + 1) // 2, 9 if number <= train + validation else 10
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        wfdb.wrsamp(
            f"{number:05d}_hr",
            fs=500,
            units=["mV"] * 12,
            sig_name=[lead.upper() for lead in LEADS],
            p_signal=synthetic_ecg(rate=rate, seed=number).signal.T.astype(np.float64),
            fmt=["16"] * 12,
            adc_gain=[1000.0] * 12,
            baseline=[0] * 12,
            write_dir=str((folder / name).parent),
        )
        rows.append(
            {
                "ecg_id": number,
                "patient_id": 10_000.0 + patient,
                "age": 40.0 + number,
                "sex": number % 2,
                "device": "CS-12   E",
                "report": report,
                "scp_codes": str(codes),
                # a third of the training patients in fold 8, which validates where fold 9 is tested on
                "strat_fold": (8 if patient % 3 == 0 else patient % 7 + 1) if number <= train else fold,
                "filename_hr": name,
            }
        )
    pd.DataFrame(rows).to_csv(folder / "ptbxl_database.csv", index=False)
    statements = pd.DataFrame(_STATEMENTS, columns=["", "description", "diagnostic_class"])
    statements["diagnostic_subclass"] = statements["diagnostic_class"]
    statements["diagnostic"] = statements["diagnostic_class"].notna().map({True: 1.0, False: None})
    statements["form"] = None
    statements["rhythm"] = statements["diagnostic_class"].isna().map({True: 1.0, False: None})
    statements.to_csv(folder / "scp_statements.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def micro_ptb_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic PTB-XL of 34 records: 12 in folds 1–8, 20 in fold 9, 2 in fold 10. To be read only."""
    return write_ptb_xl(tmp_path_factory.mktemp("ptb-xl"))


@pytest.fixture(scope="session")
def micro_corpus(micro_ptb_xl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of the micro PTB-XL. To be read only."""
    out = tmp_path_factory.mktemp("corpus") / "micro"
    build_corpus("ptb-xl", micro_ptb_xl, out)
    return out


@pytest.fixture(scope="session")
def micro_tokenizer() -> Any:
    """A tokenizer of at most 400 tokens, as the micro model takes."""
    texts = [report for _, _, report in _KINDS] + [description for _, description, _ in _STATEMENTS]
    return train_tokenizer(texts, 400)


@pytest.fixture(scope="session")
def micro_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with all its files: a micro model with random weights, a panel of 16. To be read only."""
    folder = tmp_path_factory.mktemp("checkpoint") / "micro"
    torch.manual_seed(7)  # not the seed of the zero-shot baseline
    config = DBetaConfig.tiny(**MICRO, initializer_range=0.2)  # embeddings that differ clearly, as trained ones do
    DBetaModel(config).save_pretrained(folder)
    tokenizer = train_tokenizer([text for one in load_conditions().values() for text in one.prompts], 400)
    DBetaProcessor(
        tokenizer,
        sampling_rate=config.sampling_rate,
        n_samples=config.n_samples,
        max_text_tokens=config.max_text_tokens,
    ).save_pretrained(folder)
    panel = torch.nn.functional.normalize(torch.randn(16, config.hidden_size), dim=-1)
    save_file({"ecg_embeds": panel.half()}, folder / "reference_panel.safetensors")
    return folder


@pytest.fixture
def run(monkeypatch: Any, capsys: Any, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Run `dbeta` with these arguments in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dbeta", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        with warnings.catch_warnings():
            try:
                cli.main()
            except SystemExit as end:
                code = end.code or 0
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return call
