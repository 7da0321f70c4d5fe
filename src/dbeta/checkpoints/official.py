"""Reads the authors' checkpoints safely, and converts every tensor between their layout and ours.

This is the only place where a pickle is opened, by `torch.load(weights_only=True)`, which builds tensors and runs no
code. Trained weights are kept bit by bit; float16 and bfloat16 become the float32 of the same value. The sinusoidal
positions of the MEM decoder are recomputed.
"""

from __future__ import annotations

import inspect
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dbeta.checkpoints.official_layout import PE, PE_LENGTH, Layout, check_shapes, lay_out, show
from dbeta.checkpoints.official_sizes import PUBLISHED, assume, read_sizes
from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.model.config import DBetaConfig
from dbeta.model.heads import sinusoidal_positions

#: In some of the authors' files, but unused.
IGNORED = "ecg_encoder.mask_emb"
#: Accepted types; their values are exact in float32.
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
#: Upper bound on how much sines of angles up to 512 differ between machines.
PE_TOLERANCE = 1e-3
#: Required to compute embeddings.
NEEDED = {
    f"{layer}.{kind}" for layer in ("multi_modal_ecg_proj", "unimodal_ecg_pooler.dense") for kind in ("weight", "bias")
}
#: Settings that the published code fixes for all checkpoints, of the model and of its T5.
FIXED: dict[str, Any] = {"text_attention_mask": False, "signal_scale": "mv"}
FIXED_TEXT = {"feed_forward_proj": "gated-gelu", "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6}
#: Settings that a conversion can override: those not in the tensors, or not used in inference.
SETTABLE = {
    name: PUBLISHED[name]
    for name in inspect.signature(DBetaConfig.__init__).parameters
    if name in PUBLISHED and name not in ("text_config", "loss_weights", "parts", "ets_cosine", "voltage")
}
CHOICES = {"signal_scale": ("mv", "lead_zscore"), "mem_target": ("full", "lead_masked")}
#: In torch's errors where a pickle needs more than tensors but torch does not name it.
FORBIDDEN = re.compile("unrecognized function|create new object|Unsupported operand")
#: Most tensors that share one storage: T5's embedding, its copy, and an MLM head tied to it.
MOST_SHARED = 3


def read_official(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a .pt file: the entry "model", or else the whole content.

    The tensors are memory-mapped where the file's format allows it.

    Raises:
        DBetaError: the file is missing, damaged or not a torch checkpoint, it would run code, or it holds anything but
            floating-point tensors.
    """
    if path.is_dir():
        raise DBetaError(f"{path}: is a folder; name a .pt file, or convert the folder to one with --to-official")
    if not path.is_file():
        raise DBetaError(f"{path}: no such file; name a checkpoint in the authors' layout (.pt)")
    with path.open("rb") as file:
        start = file.read(10)
    if path.suffix == ".safetensors" or start.endswith(b'{"'):
        raise DBetaError(f"{path}: holds safetensors; name a checkpoint in the authors' layout (.pt)")
    zipped = start.startswith(b"PK\x03\x04")
    try:
        if zipped:
            _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        return _tensors(content, path.stat().st_size)
    except DBetaError as error:
        raise DBetaError(f"{path}: {error}; save only the model's state dict with torch.save") from None
    except Exception as error:  # damaged files can raise anything
        named = re.search(r"GLOBAL (\S*\w) (was|whose)", str(error))
        if named or ((zipped or start.startswith(b"\x80")) and FORBIDDEN.search(str(error))):
            what = f" ({show(named[1])})" if named else ""
            raise DBetaError(
                f"{path}: was not opened since it would run code{what}; get a file that holds only tensors"
            ) from None
        raise DBetaError(f"{path}: is not a torch checkpoint, or is damaged or truncated; get the file again") from None


def _check_archive(path: Path) -> None:
    """Check that an archive is undamaged and does not grow when unpacked.

    Raises:
        DBetaError: it is compressed.
        BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in entries):
            raise DBetaError("is compressed, which torch.save does not do")
        if sum(one.file_size for one in entries) > path.stat().st_size:
            raise zipfile.BadZipFile
        if archive.testzip() is not None:  # torch does not check memory-mapped tensors
            raise zipfile.BadZipFile


def _tensors(content: Any, file_size: int) -> dict[str, Tensor]:
    """Extract the state dict from the content of a file, as plain tensors; `file_size` in bytes limits their size."""
    # Methods are called on `dict` and `Tensor`, since a pickle can override those of its objects
    state = dict.get(content, "model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise DBetaError("holds no state dict")
    tensors: dict[str, Tensor] = {}
    size = 0
    for name, value in dict.items(state):
        if not isinstance(name, str) or type(value) not in (Tensor, torch.nn.Parameter):
            kind = show(type(value).__name__)
            raise DBetaError(f"its entry {show(name)!r} is not a named tensor but of type {kind}")
        tensor = Tensor.detach(value)
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.dtype not in DTYPES:
            kind = f"{tensor.layout}, {tensor.dtype}, {tensor.device}".replace("torch.", "")
            raise DBetaError(f"its tensor {show(name)} is not a dense tensor of float32, float16 or bfloat16 ({kind})")
        size += tensor.numel() * tensor.element_size()
        if size > MOST_SHARED * file_size:
            raise DBetaError(f"its tensor {show(name)} is larger than the file")
        tensors[name] = tensor
    return tensors


def from_official(
    state: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None
) -> tuple[DBetaConfig, dict[str, Tensor]]:
    """Convert a state dict from the authors' layout to ours.

    Sizes are read from the tensors (`official_sizes.read_sizes`), settings not in the tensors are assumed
    (`official_sizes.assume`), and switches are those of the published code (`DBetaConfig.base(faithful=True)`).

    Args:
        state: the whole model, both encoders, or the ECG encoder alone; encoders with projections and uni-modal
            poolers.
        settings: arguments of `DBetaConfig` that override all of these (`SETTABLE`).

    Returns:
        Configuration and float32 state dict of `DBetaModel`.

    Raises:
        DBetaError: a tensor is missing, unexpected, of another shape, not finite, or differs from the tensor that it
            should copy; or a setting is invalid or missing.
    """
    state = {name: tensor for name, tensor in state.items() if name != IGNORED}
    config, layout = read_config({name: tuple(tensor.shape) for name, tensor in state.items()}, settings or {})
    ours: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for place, names in layout.places.items():
        for name, piece in zip(names, _exact(place, state[place]).chunk(len(names)), strict=True):
            if not torch.equal(ours.setdefault(name, piece), piece):
                raise DBetaError(f"{place} should be a copy of {origin[name]} but differs; get the checkpoint again")
            origin.setdefault(name, place)
    if PE in state:
        formula = sinusoidal_positions(PE_LENGTH, config.mem_hidden_size)
        # Limited by differences between machines, and by the precision of the stored tensor
        tolerance = max(PE_TOLERANCE, torch.finfo(state[PE].dtype).eps)
        if not torch.allclose(_exact(PE, state[PE])[0], formula, rtol=0, atol=tolerance):
            raise DBetaError(f"{PE} does not hold sinusoidal positions, the only ones that can be converted")
    return config, ours


def read_config(
    shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any] | None = None
) -> tuple[DBetaConfig, Layout]:
    """Derive the configuration of a checkpoint in the authors' layout, and check every tensor's name and shape.

    Args:
        shapes: of its tensors.
        settings: arguments of `DBetaConfig` that override those read from the shapes (`SETTABLE`).

    Returns:
        The configuration, and its tensors in both layouts.

    Raises:
        DBetaError: a tensor is missing, unexpected or of another shape, or a setting is invalid or missing.
    """
    settings = dict(settings or {})
    check_settings(settings)
    sizes = read_sizes(shapes, settings)
    # No shape depends on the number of heads, so a damaged tensor is reported before a missing number of heads
    arguments = sizes | dict.fromkeys(("ecg_heads", "fusion_heads", "mem_heads"), 1)
    try:
        config = DBetaConfig.base(faithful=True, **arguments)
        layout = lay_out(config)
    except Exception as error:  # building the model rejects impossible sizes
        raise DBetaError(f"its sizes and settings do not make a model ({show(error)})") from None
    try:
        check_shapes(shapes, layout.official)
    except DBetaError as error:
        if not layout.official.keys() & shapes.keys():
            raise DBetaError("holds no D-BETA model in the authors' layout; name a checkpoint in that layout") from None
        lost = "" if shapes.keys() >= NEEDED else " (embeddings need the projection and pooler)"
        raise DBetaError(f"is not a complete D-BETA model: {error}{lost}; get the checkpoint again") from None
    assumed = assume(config) | settings
    arguments = sizes | assumed
    config = DBetaConfig.base(faithful=True, **arguments)
    widths = {"ecg_heads": config.hidden_size}
    if config.parts == "all":
        widths |= {"fusion_heads": config.hidden_size, "mem_heads": config.mem_hidden_size}
    for name, width in widths.items():
        if assumed[name] is None:
            raise DBetaError(f"{name} cannot be read from the checkpoint; give it, as in --set {name}=12")
        if width % assumed[name]:
            raise DBetaError(f"--set {name}={assumed[name]}: a width of {width} cannot be split into so many heads")
    if config.parts == "all" and config.mem_layer >= config.fusion_layers:
        raise DBetaError(f"--set mem_layer={config.mem_layer}: the fusion layers are 0 to {config.fusion_layers - 1}")
    if config.n_tokens < 1:
        raise DBetaError(f"its convolutions reduce {config.n_samples} samples to nothing; --set n_samples to more")
    return config, layout


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the settings of a conversion.

    Raises:
        DBetaError: a name is unknown or a value is invalid.
    """
    for name, value in settings.items():
        if name not in SETTABLE:
            raise DBetaError(f"--set {show(name)}: unknown setting; choose from {', '.join(sorted(SETTABLE))}")
        default = SETTABLE[name]
        if name == "leads":
            good = (
                isinstance(value, list)
                and bool(value)
                and all(value.count(one) == 1 <= LEADS.count(one) for one in value)
            )
        elif name == "conv_layers":
            layers = value if isinstance(value, list) and value else [None]
            good = all(isinstance(layer, list) and len(layer) == 3 and all(map(_counts, layer)) for layer in layers)
        elif isinstance(default, float):
            good = type(value) in (int, float) and 0 <= value <= 1
        elif name in CHOICES:
            good = value in CHOICES[name]
        elif isinstance(default, bool):
            good = isinstance(value, bool)
        else:
            good = _counts(value) or (name == "mem_layer" and value == 0)
        if not good:
            raise DBetaError(f"--set {name}: invalid value {show(value)!r}; the published model has {default}")


def _counts(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 31


def to_official(config: DBetaConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict from our layout to the authors'.

    Args:
        config: of the model.
        state: state dict of `DBetaModel`.

    Returns:
        float32 state dict in the authors' layout.

    Raises:
        DBetaError: the state dict does not fit the configuration or is not finite, or the published code cannot
            compute this model.
    """
    layout = lay_out(config)
    check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, layout.ours)
    if layout.homeless:
        raise DBetaError(f"the authors' layout has no place for {' and '.join(layout.homeless)} of this model")
    fixed = [(name, getattr(config, name), value) for name, value in FIXED.items()]
    if config.parts == "ecg":
        fixed = [one for one in fixed if one[0] != "text_attention_mask"]
    else:
        fixed += [(name, getattr(config.text_config, name), value) for name, value in FIXED_TEXT.items()]
    for name, found, value in fixed:
        if found != value:
            accept = f"; accept that with --set {name}={str(value).lower()}" if name in SETTABLE else ""
            raise DBetaError(
                f"{name} is {found}, but {value} in the published code, which would compute other embeddings{accept}"
            )
    if config.parts == "all" and config.n_tokens >= PE_LENGTH:
        raise DBetaError(f"a recording has {config.n_tokens} tokens, but the published code allows {PE_LENGTH - 1}")
    exact = {name: _exact(name, state[name]) for name in layout.ours}
    official = {
        place: exact[names[0]] if len(names) == 1 else torch.cat([exact[name] for name in names])
        for place, names in layout.places.items()
    }
    if config.parts == "all":
        official[PE] = sinusoidal_positions(PE_LENGTH, config.mem_hidden_size)[None]
    return official


def _exact(name: str, tensor: Tensor) -> Tensor:
    """Convert to contiguous float32 without loss.

    Raises:
        DBetaError: a value is not finite.
    """
    # The extremes are NaN or infinite if any value is; unlike a mask, they take no memory
    if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
        raise DBetaError(f"{show(name)} holds NaN or infinity; get the checkpoint again")
    return tensor.detach().float().contiguous()
