"""Parts of the model that a recipe gives learning rates of their own, or freezes (`optimizer.rates`)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

#: What embeddings are computed with.
EMBEDDING = (
    "ecg_encoder",
    "text_encoder",
    "ecg_proj",
    "text_proj",
    "ecg_pooler",
    "text_pooler",
    "ets_log_scale",
    "ets_bias",
)
#: What needs an ECG and a text, or predicts hidden parts of them.
CROSS_MODAL = ("fusion", "fused_ecg_pooler", "fused_text_pooler", "mlm_head", "mem_head", "etm_head")
#: Names that stand for several parts.
GROUPS = {"embedding": EMBEDDING, "cross_modal": CROSS_MODAL}
PART_NAMES = (*GROUPS, *EMBEDDING, *CROSS_MODAL)


def rate_of(parameter: str, rates: Mapping[str, float]) -> float:
    """The multiple of the learning rate that a parameter is trained with; a part's own beats that of its group.

    Args:
        parameter: its name in the model, with or without a wrapper's prefix.
        rates: of `PART_NAMES`; 1 for parts that are not named.
    """
    part = next((one for one in parameter.split(".") if one in EMBEDDING or one in CROSS_MODAL), "")
    if part in rates:
        return rates[part]
    return next((rates[group] for group, parts in GROUPS.items() if part in parts and group in rates), 1.0)


def freeze(model: nn.Module, rates: Mapping[str, float]) -> None:
    """Exclude the parameters whose rate is 0 from training, weight decay included."""
    for name, parameter in model.named_parameters():
        if rate_of(name, rates) == 0:
            parameter.requires_grad_(False)
