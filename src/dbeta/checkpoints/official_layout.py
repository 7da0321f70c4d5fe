"""Maps tensor names between our layout and the authors', and lists the tensors that a checkpoint must have.

One table (`RULES`) serves both directions; the expected tensors are those of our own model, mapped by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch

from dbeta.errors import DBetaError
from dbeta.model.config import DBetaConfig
from dbeta.model.modeling import DBetaModel

#: Their second copy of T5's token embedding → ours.
COPIES = {"language_encoder.shared.weight": "text_encoder.t5.embed_tokens.weight"}
#: Positions of the MEM decoder, (1, `PE_LENGTH`, C); not stored in our layout.
PE, PE_LENGTH = "mim_head.decoder_pos_embed.pe", 512
#: An error names so many tensors of each kind, and counts the others.
MOST_NAMED = 3

_ECG, _MEM = "ecg_encoder.encoder.layers.*", "mim_head.decoder.resblocks.*"
_FUSION = (
    ("attention.query", "attention.self.query"),
    ("attention.key", "attention.self.key"),
    ("attention.value", "attention.self.value"),
    ("attention.out", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("cross.query", "crossattention.self.query"),
    ("cross.key", "crossattention.self.key"),
    ("cross.value", "crossattention.self.value"),
    ("cross.out", "crossattention.output.dense"),
    ("cross_norm", "crossattention.output.LayerNorm"),
    ("fc1", "intermediate.dense"),
    ("fc2", "output.dense"),
    ("norm", "output.LayerNorm"),
)
#: Prefix of a name in our layout → in theirs; * is a layer's number.
RULES = (
    ("ecg_encoder.class_token", "class_embedding"),
    ("ecg_encoder.layers.*.attention.query", f"{_ECG}.self_attn.q_proj"),
    ("ecg_encoder.layers.*.attention.key", f"{_ECG}.self_attn.k_proj"),
    ("ecg_encoder.layers.*.attention.value", f"{_ECG}.self_attn.v_proj"),
    ("ecg_encoder.layers.*.attention.out", f"{_ECG}.self_attn.out_proj"),
    ("ecg_encoder.layers.*.attention_norm", f"{_ECG}.self_attn_layer_norm"),
    ("ecg_encoder.layers.*.fc1", f"{_ECG}.fc1"),
    ("ecg_encoder.layers.*.fc2", f"{_ECG}.fc2"),
    ("ecg_encoder.layers.*.norm", f"{_ECG}.final_layer_norm"),
    ("ecg_encoder.norm", "ecg_encoder.encoder.layer_norm"),
    ("ecg_encoder.tokens.convs.*", "ecg_encoder.feature_extractor.conv_layers.*.0"),
    ("ecg_encoder.tokens.norm", "ecg_encoder.feature_extractor.conv_layers.0.2"),
    ("ecg_encoder.token_proj", "ecg_encoder.post_extract_proj"),
    ("ecg_encoder.positions.conv.bias", "ecg_encoder.conv_pos.pos_conv.0.bias"),
    ("ecg_encoder.positions.conv.parametrizations.weight.original0", "ecg_encoder.conv_pos.pos_conv.0.weight_g"),
    ("ecg_encoder.positions.conv.parametrizations.weight.original1", "ecg_encoder.conv_pos.pos_conv.0.weight_v"),
    ("ecg_encoder.token_norm", "ecg_encoder.layer_norm"),
    ("text_encoder.t5", "language_encoder.encoder"),
    ("text_proj", "multi_modal_language_proj"),
    ("ecg_proj", "multi_modal_ecg_proj"),
    ("fusion.modality", "modality_type_embeddings"),
    *(
        (f"fusion.{ours}_layers.*.{name}", f"multi_modal_{theirs}_layers.*.{their_name}")
        for ours, theirs in (("ecg", "ecg"), ("text", "language"))
        for name, their_name in _FUSION
    ),
    ("fused_ecg_pooler", "multi_modal_ecg_pooler"),
    ("fused_text_pooler", "multi_modal_language_pooler"),
    ("ecg_pooler", "unimodal_ecg_pooler"),
    ("text_pooler", "unimodal_language_pooler"),
    ("mlm_head.decoder.bias", "mlm_head.bias"),
    ("mlm_head.decoder.weight", "mlm_head.decoder.weight"),
    ("mlm_head.dense", "mlm_head.transform.dense"),
    ("mlm_head.norm", "mlm_head.transform.LayerNorm"),
    ("mem_head.mask_token", "mim_head.mask_token"),
    ("mem_head.embed", "mim_head.decoder_embed"),
    # Three of our tensors, stacked in this order, are one of theirs
    ("mem_head.blocks.*.attention.query.weight", f"{_MEM}.attn.in_proj_weight"),
    ("mem_head.blocks.*.attention.key.weight", f"{_MEM}.attn.in_proj_weight"),
    ("mem_head.blocks.*.attention.value.weight", f"{_MEM}.attn.in_proj_weight"),
    ("mem_head.blocks.*.attention.query.bias", f"{_MEM}.attn.in_proj_bias"),
    ("mem_head.blocks.*.attention.key.bias", f"{_MEM}.attn.in_proj_bias"),
    ("mem_head.blocks.*.attention.value.bias", f"{_MEM}.attn.in_proj_bias"),
    ("mem_head.blocks.*.attention.out", f"{_MEM}.attn.out_proj"),
    ("mem_head.blocks.*.attention_norm", f"{_MEM}.ln_1"),
    ("mem_head.blocks.*.fc1", f"{_MEM}.mlp.c_fc"),
    ("mem_head.blocks.*.fc2", f"{_MEM}.mlp.c_proj"),
    ("mem_head.blocks.*.norm", f"{_MEM}.ln_2"),
    ("mem_head.norm", "mim_head.decoder_norm"),
    ("mem_head.predict", "mim_head.decoder_pred"),
    ("etm_head.classifier", "itm_head.fc"),
)
_PATTERNS = [
    (re.compile(re.escape(ours).replace(r"\*", "([0-9]+)") + r"(?![^.])"), theirs.replace("*", r"\1"))
    for ours, theirs in RULES
]


@dataclass(frozen=True)
class Layout:
    """The tensors of a model in both layouts.

    Attributes:
        ours: name and shape of each of ours.
        places: the authors' tensor → our tensors in it: one, or several stacked along the first axis. Without `PE`.
        homeless: our tensors without a counterpart.
        official: name and shape of each of theirs.
    """

    ours: dict[str, tuple[int, ...]]
    places: dict[str, list[str]]
    homeless: list[str]
    official: dict[str, tuple[int, ...]]


def lay_out(config: DBetaConfig) -> Layout:
    """List the tensors of a model of this configuration without allocating them."""
    with torch.device("meta"):
        model = DBetaModel(deepcopy(config))  # building a model changes its configuration
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found: list[tuple[int, str, str]] = []
    for name in ours:
        for i, (pattern, theirs) in enumerate(_PATTERNS):
            if match := pattern.match(name):
                found.append((i, match.expand(theirs) + name[match.end() :], name))
                break
    places: dict[str, list[str]] = {}
    for _, place, name in sorted(found, key=lambda one: one[0]):
        places.setdefault(place, []).append(name)
    places |= {copy: [name] for copy, name in COPIES.items() if name in ours}
    official = {place: (sum(ours[name][0] for name in names), *ours[names[0]][1:]) for place, names in places.items()}
    if config.parts == "all":
        official[PE] = (1, PE_LENGTH, config.mem_hidden_size)
    homed = {name for names in places.values() for name in names}
    return Layout(ours, places, [name for name in ours if name not in homed], official)


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare tensor names and shapes with the expected ones.

    Raises:
        DBetaError: tensors are missing, unexpected or of another shape; the message names them.
    """
    missing = [show(name) for name in expected if name not in found]
    unexpected = [show(name) for name in found if name not in expected]
    misshaped = [
        f"{name} of shape {_shape(found[name])}, not {_shape(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    kinds = (("lacks", missing), ("has unexpected", unexpected), ("has", misshaped))
    problems = [f"it {kind} {_some(names)}" for kind, names in kinds if names]
    if problems:
        raise DBetaError("; ".join(problems))


def show(name: object) -> str:
    """Make a name safe to print: at most 200 characters, without control characters."""
    text = "".join(one if one.isprintable() else "?" for one in str(name)[:200])
    return text or "a tensor without a name"


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "()"


def _some(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
