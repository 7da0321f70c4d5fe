"""The text encoder: T5's encoder, built from a configuration or loaded from pretrained weights."""

from __future__ import annotations

from os import PathLike

from torch import Tensor, nn
from transformers import T5Config


class TextEncoder(nn.Module):
    """T5's encoder (Raffel et al. 2020), with the padding mask that the published code leaves out.

    Args:
        config: sizes of the encoder.
        use_mask: whether to hide padding from the encoder; False reproduces the published code.
    """

    def __init__(self, config: T5Config, *, use_mask: bool = True) -> None:
        """Build the encoder with fresh weights."""
        super().__init__()
        # Imported here because it takes seconds, and embedding an ECG does not need it
        from transformers.models.t5.modeling_t5 import T5Stack

        config.use_cache = False
        config.is_encoder_decoder = False
        # Only the stack: `T5EncoderModel` would store the token embedding twice
        self.t5 = T5Stack(config)
        self.use_mask = use_mask

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Token ids (B, T) and padding mask (B, T) → (B, T, d_model)."""
        mask = attention_mask if self.use_mask else None
        return self.t5(input_ids=input_ids, attention_mask=mask).last_hidden_state

    def load_pretrained(self, name_or_path: str | PathLike[str]) -> None:
        """Load the weights of a T5 checkpoint of the same sizes (a folder or a hub id)."""
        from transformers import T5EncoderModel

        self.t5.load_state_dict(T5EncoderModel.from_pretrained(name_or_path).encoder.state_dict())
