"""Reads a checkpoint folder: checks that its files are consistent, and loads only what inference needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer

from dbeta.checkpoints.names import BUNDLED, PANEL_FILE, TEXTS_FILE, WEIGHTS_FILE
from dbeta.checkpoints.text_embeddings import fingerprint_of_texts, read_text_embeddings
from dbeta.errors import DBetaError
from dbeta.model.config import DBetaConfig
from dbeta.model.dual_encoder import DualEncoder, Misfit, check_names
from dbeta.model.processor import DBetaProcessor

#: The parts of `DBetaModel`: the two encoders, then those used only in pretraining.
PARTS = (
    "ecg_encoder",
    "ecg_proj",
    "ecg_pooler",
    "text_encoder",
    "text_proj",
    "text_pooler",
    "fusion",
    "fused_ecg_pooler",
    "fused_text_pooler",
    "mlm_head",
    "mem_head",
    "etm_head",
    "ets_log_scale",
    "ets_bias",
)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Checkpoint:
    """The parts of a checkpoint that inference uses.

    Attributes:
        model: the two encoders.
        processor: the model's processor.
        panel: (n, D) unit-length embeddings of the reference panel, or None.
        text_embeddings: text → (D,) embedding stored in the checkpoint.
    """

    model: DualEncoder
    processor: DBetaProcessor
    panel: torch.Tensor | None
    text_embeddings: dict[str, np.ndarray]


def read_checkpoint(
    name_or_path: str | Path | None = None, *, device: str | None = None, precision: str = "auto"
) -> Checkpoint:
    """Read the parts of a checkpoint that inference uses.

    Args:
        name_or_path: a folder, a hub id or a bundled model; None for the default model.
        device: torch device; None for a GPU where there is one.
        precision: see `dbeta.load`.

    Raises:
        DBetaError: the folder is missing or incomplete, its files are inconsistent, the hub is unreachable or denies
            access, or the device or precision is unknown.
    """
    name_or_path = bundled_checkpoint() if name_or_path is None else name_or_path
    check_precision(precision)
    folder = _folder(name_or_path)
    try:
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, TypeError):
        raise DBetaError(f"unknown device {device}; name a torch device such as cpu, cuda or cuda:1") from None
    try:
        config = DBetaConfig.from_pretrained(folder)
        processor = DBetaProcessor.from_pretrained(folder)
        weights = folder / WEIGHTS_FILE
        panel_file, texts_file, tokenizer_file = (
            folder / file if (folder / file).is_file() else None for file in (PANEL_FILE, TEXTS_FILE, "tokenizer.json")
        )
        panel = None if panel_file is None else load_file(panel_file)["ecg_embeds"]
        if tokenizer_file is not None:
            Tokenizer.from_file(str(tokenizer_file))  # loaded on first use, but checked for damage now
        check_names(weights, PARTS)
        if config.parts != "ecg":
            _check_text_part(weights, config)
        dtype = fastest_dtype(target) if precision == "auto" else PRECISIONS[precision]
        model = DualEncoder(config, weights, target, dtype)
        texts = read_text_embeddings(texts_file, fingerprint_of_texts(folder, config, processor))
    except ImportError:
        raise
    except Misfit as error:
        raise DBetaError(f"{name_or_path}: {WEIGHTS_FILE} {error}; get the checkpoint again") from error
    except Exception as error:  # a damaged file can make the libraries raise anything
        reason = next(iter(str(error).splitlines()), "")[:200].rstrip(".:") or type(error).__name__
        raise DBetaError(f"{name_or_path}: cannot be loaded as a model ({reason})") from error
    if misfit := _misfit(config, processor, panel):
        raise DBetaError(f"{name_or_path}: {misfit}; get the checkpoint again")
    return Checkpoint(model, processor, panel, texts)


def check_precision(precision: str) -> None:
    """Check that `load` supports a precision.

    Raises:
        DBetaError: it does not.
    """
    if precision == "int8":
        raise DBetaError("the precision int8 is no longer supported; leave it out, or choose float32 or bfloat16")
    if precision != "auto" and precision not in PRECISIONS:
        raise DBetaError(f"unknown precision {precision}; choose auto, {', '.join(PRECISIONS)}")


def _folder(name_or_path: str | Path) -> Path:
    """Find the folder of a checkpoint, downloading a hub id, and check that it has the required files."""
    if not str(name_or_path).strip():
        raise DBetaError("the model's name is empty; name a checkpoint folder or a hub id")
    folder, where = named_folder(name_or_path), ""
    if not folder.exists() and not str(name_or_path).startswith((".", "/", "~")):
        from dbeta.checkpoints.hub import download  # slow to import

        folder, where = download(str(name_or_path)), " on the hub or in its cache"
    if not folder.is_dir():
        raise DBetaError(f"{name_or_path}: there is no such folder; name one that `dbeta pretrain` wrote")
    for file in ("config.json", "preprocessor_config.json", WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise DBetaError(f"{name_or_path}: {file} is missing{where}; name a folder that `dbeta pretrain` wrote")
    return folder


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Choose bfloat16 where the device multiplies matrices in it (AMX, AVX512-BF16, most GPUs), else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def _check_text_part(weights: Path, config: DBetaConfig) -> None:
    """Check the text encoder's tensors without building it.

    Raises:
        Misfit: tensors are missing, or of shapes that do not fit the configuration.
    """
    text, width = config.text_config, config.hidden_size
    wanted = {
        "text_encoder.t5.embed_tokens.weight": [text.vocab_size, text.d_model],
        "text_proj.weight": [width, text.d_model],
        "text_proj.bias": [width],
        "text_pooler.dense.weight": [width, width],
        "text_pooler.dense.bias": [width],
    }
    with safe_open(weights, framework="pt") as file:
        names = set(file.keys())
        if missing := sorted(set(wanted) - names):
            raise Misfit(f"does not fit config.json: it lacks tensors ({len(missing)}, such as {missing[0]})")
        for name, shape in wanted.items():
            if file.get_slice(name).get_shape() != shape:
                raise Misfit(f"does not fit config.json: it has tensors of different shapes (1, such as {name})")
    blocks = {match[1] for name in names if (match := re.match(r"text_encoder\.t5\.block\.(\d+)\.", name))}
    if blocks != {str(i) for i in range(text.num_layers)}:
        raise Misfit(
            f"does not fit config.json: it has {len(blocks)} layers of the text encoder, not {text.num_layers}"
        )


def _misfit(config: DBetaConfig, processor: DBetaProcessor, panel: torch.Tensor | None) -> str:
    """Describe an inconsistency between the other files of a checkpoint; "" where there is none."""
    for setting in ("sampling_rate", "n_samples", "leads", "signal_scale"):
        ours, its = getattr(config, setting), getattr(processor, setting)
        if ours != its:
            return f"{setting} is {ours} in config.json but {its} in preprocessor_config.json"
    width = config.hidden_size
    if panel is not None and (panel.ndim != 2 or len(panel) == 0 or panel.shape[1] != width):
        return f"{PANEL_FILE} has shape {tuple(panel.shape)}, not (recordings, {width})"
    return ""


def named_folder(name_or_path: str | Path) -> Path:
    """Resolve a name: an existing folder, else the bundled model of that name, else the (missing) folder."""
    folder = Path(name_or_path).expanduser()
    return bundled_checkpoint(str(name_or_path)) if str(name_or_path) in BUNDLED and not folder.exists() else folder


def bundled_checkpoint(name: str = BUNDLED[0]) -> Path:
    """Find the folder of a bundled model.

    Args:
        name: one of `BUNDLED`.

    Raises:
        DBetaError: the installation lacks it.
    """
    here = Path(__file__).resolve().parent
    # In this package where it was installed from a wheel, at the top of a checkout
    places = [here / name, here.parents[2] / "checkpoints" / name]
    for place in places:
        if (place / WEIGHTS_FILE).is_file():
            return place
    raise DBetaError(f"the model {name} is missing from this installation; install dbeta again, or name a model")
