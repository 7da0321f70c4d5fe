"""Reads the configuration of a checkpoint in the authors' layout from the shapes of its tensors.

Each size is decided by majority among the tensors that show it, so that an error names the one damaged tensor instead
of all the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.model.config import FLAN_T5_BASE, DBetaConfig

Shapes = Mapping[str, tuple[int, ...]]

_CONV = r"ecg_encoder\.feature_extractor\.conv_layers"
_LAYER, _BLOCK = r"ecg_encoder\.encoder\.layers\.[0-9]+", r"language_encoder\.encoder\.block\.[0-9]+\.layer\.[01]"
_FUSION, _MEM = r"multi_modal_(ecg|language)_layers\.[0-9]+", r"mim_head\.decoder\.resblocks\.[0-9]+"
_EMBEDDING = r"language_encoder\.(shared|encoder\.embed_tokens)\.weight"
#: Size → tensors that show it: pattern of the name, and the axis.
EVIDENCE: dict[str, tuple[tuple[str, int], ...]] = {
    "hidden_size": (
        (r"class_embedding", 0),
        (r"ecg_encoder\.(post_extract_proj|encoder\.layer_norm)\.\w+", 0),
        (rf"{_LAYER}\.(self_attn_layer_norm|final_layer_norm|self_attn\.\w+|fc2)\.\w+", 0),
        (r"(multi_modal_ecg_proj|unimodal_ecg_pooler\.dense)\.\w+", 0),
    ),
    "ecg_intermediate_size": ((rf"{_LAYER}\.fc1\.\w+", 0), (rf"{_LAYER}\.fc2\.weight", 1)),
    "conv_pos_kernel": ((r"ecg_encoder\.conv_pos\.pos_conv\.0\.weight_[gv]", 2),),
    "fusion_intermediate_size": (
        (rf"{_FUSION}\.intermediate\.dense\.\w+", 0),
        (rf"{_FUSION}\.output\.dense\.weight", 1),
    ),
    "mem_hidden_size": (
        (r"mim_head\.(decoder_embed|decoder_norm)\.\w+", 0),
        (r"mim_head\.decoder_pred\.weight", 1),
        (rf"{_MEM}\.(ln_1|ln_2|attn\.out_proj|mlp\.c_proj)\.\w+", 0),
    ),
}
#: The same for T5.
TEXT_EVIDENCE: dict[str, tuple[tuple[str, int], ...]] = {
    "vocab_size": ((_EMBEDDING, 0), (r"mlm_head\.(bias|decoder\.weight)", 0)),
    "d_model": (
        (_EMBEDDING, 1),
        (r"language_encoder\.encoder\.final_layer_norm\.weight", 0),
        (rf"{_BLOCK}\.(layer_norm|SelfAttention\.o|DenseReluDense\.wo)\.weight", 0),
    ),
    "d_ff": ((rf"{_BLOCK}\.DenseReluDense\.wi_[01]\.weight", 0), (rf"{_BLOCK}\.DenseReluDense\.wo\.weight", 1)),
}
#: Number of layers → pattern of names that contain a layer's number.
COUNTS = {
    "ecg_layers": r"ecg_encoder\.encoder\.layers\.([0-9]+)\..*",
    "fusion_layers": r"multi_modal_(?:ecg|language)_layers\.([0-9]+)\..*",
    "mem_layers": r"mim_head\.decoder\.resblocks\.([0-9]+)\..*",
}
PUBLISHED = vars(DBetaConfig.base(faithful=True))


def read_sizes(shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the arguments of `DBetaConfig` that determine the tensors' shapes.

    A size that no tensor shows is the published one; the later comparison of shapes then reports what is missing.

    Args:
        shapes: of a checkpoint in the authors' layout.
        settings: arguments of `DBetaConfig` that override the shapes.

    Raises:
        DBetaError: tensors disagree on a size, without a majority.
    """
    sizes: dict[str, Any] = {name: _vote(shapes, name, where, PUBLISHED[name]) for name, where in EVIDENCE.items()}
    sizes |= {name: _count(shapes, pattern) or PUBLISHED[name] for name, pattern in COUNTS.items()}
    sizes["parts"] = _parts(shapes)
    if sizes["parts"] != "ecg":
        sizes["text_config"] = _text_sizes(shapes)
    kernels = shapes.get("ecg_encoder.conv_pos.pos_conv.0.weight_v", ())
    per_group = kernels[1] if len(kernels) == 3 else 0
    fits = per_group > 0 and sizes["hidden_size"] % per_group == 0
    sizes["conv_pos_groups"] = sizes["hidden_size"] // per_group if fits else 1
    if "conv_layers" not in settings:
        sizes["conv_layers"] = _conv_layers(shapes, len(settings.get("leads", LEADS)))
    return sizes | dict(settings)


def assume(config: DBetaConfig) -> dict[str, Any]:
    """Assume the settings that the layout does not hold, by rules that reproduce the published model.

    An attention head is as wide as T5's (64), a convolution's stride equals its kernel, and the MEM head reads the ECG
    stream half-way through the fusion. The number of heads is None without T5 where the width is not the published
    one, and where the width is not a multiple of 64.
    """
    known = config.parts != "ecg" or config.hidden_size == PUBLISHED["hidden_size"]

    def heads(width: int) -> int | None:
        head = config.text_config.d_kv
        return width // head if known and width % head == 0 else None

    assumed: dict[str, Any] = {"ecg_heads": heads(config.hidden_size)}
    if config.parts == "all":
        assumed["fusion_heads"] = heads(config.hidden_size)
        assumed["mem_heads"] = heads(config.mem_hidden_size)
        assumed["mem_layer"] = config.fusion_layers // 2
    assumed["conv_layers"] = [[channels, kernel, kernel] for channels, kernel, _ in config.conv_layers]
    return assumed | {name: PUBLISHED[name] for name in ("sampling_rate", "n_samples", "leads", "signal_scale")}


def _parts(shapes: Shapes) -> str:
    fused = r"(multi_modal_(ecg|language)_(layers|pooler)|modality_type_embeddings|mlm_head|mim_head|itm_head)\..*"
    text = r"(language_encoder|multi_modal_language_proj|unimodal_language_pooler)\..*"
    if any(re.fullmatch(fused, name) for name in shapes):
        return "all"
    return "encoders" if any(re.fullmatch(text, name) for name in shapes) else "ecg"


def _text_sizes(shapes: Shapes) -> dict[str, Any]:
    sizes = {name: _vote(shapes, name, where, FLAN_T5_BASE[name]) for name, where in TEXT_EVIDENCE.items()}
    inner = ((rf"{_BLOCK}\.SelfAttention\.[qkv]\.weight", 0), (rf"{_BLOCK}\.SelfAttention\.o\.weight", 1))
    width = _vote(shapes, "the width of T5's attention", inner, FLAN_T5_BASE["d_model"])
    bias = shapes.get("language_encoder.encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", ())
    heads = bias[1] if len(bias) == 2 and bias[1] > 0 and width % bias[1] == 0 else 1
    blocks = _count(shapes, r"language_encoder\.encoder\.block\.([0-9]+)\..*")
    counts = {"num_layers": blocks or FLAN_T5_BASE["num_layers"], "num_heads": heads, "d_kv": width // heads}
    return FLAN_T5_BASE | sizes | counts


def _conv_layers(shapes: Shapes, leads: int) -> list[list[int]]:
    """Read channels, kernel and stride of each convolution; the stride equals the kernel, as published (2 and 2)."""
    published = PUBLISHED["conv_layers"]
    kernel = _vote(shapes, "their kernel", ((rf"{_CONV}\.[0-9]+\.0\.weight", 2),), published[0][1])
    predicted = _vote(shapes, "the samples of a token", ((r"mim_head\.decoder_pred\.\w+", 0),), 0)
    # Without a MEM head, no other tensor shows the number of convolutions, so the published number is assumed
    count = _power(kernel, predicted / leads) if predicted else len(published)
    count = count or _count(shapes, rf"{_CONV}\.([0-9]+)\.0\.weight")
    channels = published[0][0]
    layers: list[list[int]] = []
    for i in range(count):
        where = [(rf"{_CONV}\.{i}\.0\.weight", 0), (rf"{_CONV}\.{i + 1}\.0\.weight", 1)]
        if i == 0:
            where.append((rf"{_CONV}\.0\.2\.\w+", 0))
        if i == count - 1:
            where += [(r"ecg_encoder\.layer_norm\.\w+", 0), (r"ecg_encoder\.post_extract_proj\.weight", 1)]
        channels = _vote(shapes, "their channels", where, channels)
        layers.append([channels, kernel, kernel])
    return layers


def _power(base: int, number: float) -> int:
    """Find the exponent that gives the number, 0 if none: a token's samples are the product of the strides."""
    exponent = round(math.log(number, base)) if base > 1 else 0
    return exponent if base**exponent == number else 0


def _count(shapes: Shapes, pattern: str) -> int:
    """Count the layers by their different numbers, so that a damaged name cannot make the count huge."""
    return len({match[1] for name in shapes if (match := re.fullmatch(pattern, name))})


def _vote(shapes: Shapes, size: str, where: Iterable[tuple[str, int]], default: int) -> int:
    votes: dict[int, list[str]] = {}
    for pattern, axis in where:
        for name, shape in shapes.items():
            if axis < len(shape) and shape[axis] > 0 and re.fullmatch(pattern, name):
                votes.setdefault(shape[axis], []).append(name)
    ranked = sorted(votes.items(), key=lambda one: -len(one[1]))
    if len(ranked) > 1 and len(ranked[0][1]) == len(ranked[1][1]):
        (one, names), (other, others) = ranked[:2]
        raise DBetaError(f"{names[0]} and {others[0]} disagree on {size}: {one} and {other}")
    return ranked[0][0] if ranked else default
