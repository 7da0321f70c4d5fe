"""A checkpoint folder → a DBeta: do its files belong together, and as little of them in memory as inference needs.

Special here: the embeddings of the default conditions lie beside the weights, so that `dbeta diagnose` answers without
loading the text encoder. They are used only with the very weights that made them.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from dbeta.errors import DBetaError
from dbeta.evaluation.conditions import default_conditions
from dbeta.inference import DBeta
from dbeta.model.config import DBetaConfig
from dbeta.model.towers import DualEncoder, Misfit, check_names
from dbeta.processing import DBetaProcessor

#: Models that come with the package: the first is loaded where none is named; the second saw no patient's data.
BUNDLED = ("tiny", "tiny-sim")
WEIGHTS_FILE = "model.safetensors"
#: Embeddings of the reference panel, (n, D), unit length.
PANEL_FILE = "reference_panel.safetensors"
#: Embeddings of texts that are often asked for, (n, D), with the texts in the metadata.
TEXTS_FILE = "text_embeddings.safetensors"
#: The parts of `DBetaModel`, those of the towers and those that only pretraining uses.
PARTS = (
    *("ecg_encoder", "ecg_proj", "ecg_pooler", "text_encoder", "text_proj", "text_pooler"),
    *("fusion", "fused_ecg_pooler", "fused_text_pooler", "mlm_head", "mem_head", "etm_head"),
    *("ets_log_scale", "ets_bias"),
)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.qint8}


def load(name_or_path: str | Path | None = None, *, device: str | None = None, precision: str = "auto") -> DBeta:
    """Load a checkpoint, as much of it as embedding needs.

    Args:
        name_or_path: a folder, a hub id, or one of the models that come with the package, "tiny" and "tiny-sim"; None
            for "tiny".
        device: torch device; None chooses a GPU where there is one.
        precision: "auto" is bfloat16 where the processor multiplies matrices in it, else float32; either can be asked
            for by name, and so can "int8", for processors without such units.

    Raises:
        DBetaError: the folder is missing or incomplete, its files do not belong together, the hub cannot be reached
            or does not give the model, or the precision is unknown.
    """
    name_or_path = bundled_checkpoint() if name_or_path is None else name_or_path
    check_precision(precision)
    folder = _folder(name_or_path)
    try:
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, TypeError):
        raise DBetaError(f"there is no device {device}; name one as torch does: cpu, cuda or cuda:1") from None
    if precision == "int8" and target.type != "cpu":
        raise DBetaError(f"the precision int8 is for processors, not for {target.type}; leave it out there")
    try:
        config = DBetaConfig.from_pretrained(folder)
        processor = DBetaProcessor.from_pretrained(folder)
        weights = folder / WEIGHTS_FILE
        panel_file, texts_file, tokenizer_file = (
            folder / file if (folder / file).is_file() else None for file in (PANEL_FILE, TEXTS_FILE, "tokenizer.json")
        )
        panel = None if panel_file is None else load_file(panel_file)["ecg_embeds"]
        if tokenizer_file is not None:
            Tokenizer.from_file(str(tokenizer_file))  # loaded when a text comes, but found damaged now
        check_names(weights, PARTS)
        if config.parts != "ecg":
            _check_text_part(weights, config)
        dtype = fastest_dtype(target) if precision == "auto" else PRECISIONS[precision]
        model = DualEncoder(config, weights, target, dtype)
        texts = _read_texts(texts_file, _fingerprint(weights, config, processor, tokenizer_file))
    except ImportError:
        raise
    except Misfit as error:
        raise DBetaError(f"{name_or_path}: {WEIGHTS_FILE} {error}; get the checkpoint again") from error
    except Exception as error:  # a damaged file can make the libraries raise anything
        reason = next(iter(str(error).splitlines()), "")[:200].rstrip(".:") or type(error).__name__
        raise DBetaError(f"{name_or_path}: cannot be loaded as a model ({reason})") from error
    if misfit := _misfit(config, processor, panel):
        raise DBetaError(f"{name_or_path}: {misfit}; get the checkpoint again")
    return DBeta(model, processor, panel, text_embeddings=texts)


def check_precision(precision: str) -> None:
    """Refuse a precision that `load` does not know."""
    if precision != "auto" and precision not in PRECISIONS:
        raise DBetaError(f"the precision is auto, {', '.join(PRECISIONS)}, not {precision}; choose one of these")


def _folder(name_or_path: str | Path) -> Path:
    """The folder of a checkpoint, after the checks that need no file of it; a hub id's is in the hub's cache."""
    if not str(name_or_path).strip():
        raise DBetaError("no model was named; name a checkpoint folder or a hub id")
    folder, where = named_folder(name_or_path), ""
    if not folder.exists() and not str(name_or_path).startswith((".", "/", "~")):
        from dbeta.hub import download  # which whoever names a folder need not wait for

        folder, where = download(str(name_or_path)), " on the hub, or from what was downloaded"
    if not folder.is_dir():
        raise DBetaError(f"{name_or_path}: there is no such folder; name one that `dbeta pretrain` wrote")
    for file in ("config.json", "preprocessor_config.json", WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise DBetaError(f"{name_or_path}: {file} is missing{where}; name a folder that `dbeta pretrain` wrote")
    return folder


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor has units that multiply matrices in it (AMX, AVX512-BF16, a GPU), else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def _check_text_part(weights: Path, config: DBetaConfig) -> None:
    """What can be said of the text tower without building it."""
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
                raise Misfit(f"does not fit config.json: it has tensors of another shape (1, such as {name})")
    blocks = {match[1] for name in names if (match := re.match(r"text_encoder\.t5\.block\.(\d+)\.", name))}
    if blocks != {str(i) for i in range(text.num_layers)}:
        raise Misfit(
            f"does not fit config.json: it has {len(blocks)} layers of the text encoder, not {text.num_layers}"
        )


def _misfit(config: DBetaConfig, processor: DBetaProcessor, panel: torch.Tensor | None) -> str:
    """What does not belong together among the other files of a checkpoint, in words; empty where all fits."""
    for setting in ("sampling_rate", "n_samples", "leads", "signal_scale"):
        ours, its = getattr(config, setting), getattr(processor, setting)
        if ours != its:
            return f"{setting} is {ours} in config.json but {its} in preprocessor_config.json"
    width = config.hidden_size
    if panel is not None and (panel.ndim != 2 or len(panel) == 0 or panel.shape[1] != width):
        return f"{PANEL_FILE} has shape {tuple(panel.shape)}, not (recordings, {width})"
    return ""


def save_text_embeddings(folder: Path) -> None:
    """Embed the default conditions' prompts with a checkpoint, and keep them beside its weights."""
    (folder / TEXTS_FILE).unlink(missing_ok=True)
    model = load(folder, device="cpu", precision="float32")
    texts = list(dict.fromkeys(prompt for condition in default_conditions() for prompt in condition.prompts))
    embeds = torch.from_numpy(model.embed_text(texts))
    config, processor = DBetaConfig.from_pretrained(folder), model.processor
    made_from = _fingerprint(folder / WEIGHTS_FILE, config, processor, folder / "tokenizer.json")
    partial = folder / f".{TEXTS_FILE}.partial"
    save_file({"text_embeds": embeds}, partial, metadata={"texts": json.dumps(texts), "made_from": made_from})
    # The library lets nobody else read what it writes
    partial.chmod((folder / "config.json").stat().st_mode)
    partial.replace(folder / TEXTS_FILE)


def _read_texts(file: str | Path | None, made_from: str) -> dict[str, np.ndarray]:
    """The kept embeddings by text; none where there are none or other weights made them."""
    if file is None:
        return {}
    with safe_open(file, framework="pt") as content:
        about = content.metadata() or {}
        if about.get("made_from") != made_from:
            return {}
        embeds = content.get_tensor("text_embeds").numpy()
    return dict(zip(json.loads(about["texts"]), embeds, strict=True))


def _fingerprint(weights: Path, config: DBetaConfig, processor: DBetaProcessor, tokenizer: str | Path | None) -> str:
    """What decides a text's embedding: tokenizer, settings, and of each tensor the first row, which training changes.

    Not whole tensors: reading the whole of T5 is what the kept embeddings spare.
    """
    settings = [config.text_config.to_dict(), config.text_attention_mask, processor.max_text_tokens]
    digest = hashlib.sha256(json.dumps([*settings, processor.lower_case], sort_keys=True, default=str).encode())
    with safe_open(weights, framework="np") as file:
        for name in sorted(name for name in file.keys() if name.startswith("text_")):  # noqa: SIM118
            digest.update(name.encode() + file.get_slice(name)[:1].tobytes())
    if tokenizer is not None:
        digest.update(Path(tokenizer).read_bytes())
    return digest.hexdigest()


def named_folder(name_or_path: str | Path) -> Path:
    """The folder of this name; the model of that name that comes with the package, where there is no such folder."""
    folder = Path(name_or_path).expanduser()
    return bundled_checkpoint(str(name_or_path)) if str(name_or_path) in BUNDLED and not folder.exists() else folder


def bundled_checkpoint(name: str = BUNDLED[0]) -> Path:
    """The folder of a model that comes with the package.

    Args:
        name: one of `BUNDLED`.

    Raises:
        DBetaError: the installation lacks it.
    """
    here = Path(__file__).resolve().parent
    # Inside a wheel it lies in the package; in a checkout at the top, where people look for it
    places = [here / "checkpoints" / name, here.parents[1] / "checkpoints" / name]
    for place in places:
        if (place / WEIGHTS_FILE).is_file():
            return place
    raise DBetaError(f"the model {name} is missing from this installation; install dbeta again, or name a model")
