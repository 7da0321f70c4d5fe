"""DBetaConfig: every size and switch of the model, and the two presets.

Switches for defects of the published code default to the corrected behaviour; `DBetaConfig.base(faithful=True)` is the
model as published.
"""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PretrainedConfig, T5Config

from dbeta.ecg import LEADS
from dbeta.model.losses import LOSSES

#: Which parts of the model a checkpoint contains.
PARTS = ("all", "encoders", "ecg")
MEM_TARGETS = ("full", "lead_masked")
MEM_SCOPES = ("unseen", "tokens")


class DBetaConfig(PretrainedConfig):
    """Configuration of D-BETA (Pham, Saeed, Ma, ICML 2025); the defaults are the paper's sizes.

    Args:
        sampling_rate: Hz of the model's input.
        n_samples: samples of the model's input per lead (10 s at 500 Hz).
        leads: lead names in the order the model reads them.
        signal_scale: "mv" feeds millivolts; "lead_zscore" standardises each lead over the recording.
        conv_layers: (channels, kernel, stride) of each convolution; the strides' product is the samples per token.
        conv_pos_kernel: kernel of the convolutional position embedding (even kernels drop the last output).
        conv_pos_groups: groups of that convolution.
        hidden_size: width of the ECG encoder, the fusion and the embedding.
        ecg_layers: transformer layers of the ECG encoder.
        ecg_heads: attention heads of the ECG encoder.
        ecg_intermediate_size: feed-forward width of the ECG encoder.
        text_config: a `T5Config` or its dictionary; Flan-T5-base's encoder by default.
        max_text_tokens: longer texts are truncated.
        text_attention_mask: whether T5 sees the padding mask (in the published code only the fusion does).
        fusion_layers: number of two-way fusion layers.
        fusion_heads: attention heads of the fusion layers.
        fusion_intermediate_size: feed-forward width of the fusion layers.
        mem_layer: the MEM head reads the ECG stream before this fusion layer.
        mem_hidden_size: width of the MEM decoder.
        mem_layers: layers of the MEM decoder.
        mem_heads: attention heads of the MEM decoder.
        mem_target: "full" predicts the recording; "lead_masked" predicts what the encoder was shown (published code).
        mem_scope: what MEM's loss is taken over: "unseen" is everything that the encoder was not shown, the samples of
            hidden tokens and those of masked leads and dead stretches elsewhere, as in `DBeta.reconstruct`; "tokens" is
            hidden tokens alone (published code).
        mem_skip: whether the MEM head also reads the samples of the visible tokens, so that the encoder need not carry
            the signal itself; for an encoder that was trained without MEM.
        mem_regression: whether MEM predicts a lead by regression on the leads shown at the same moment, whose
            correlations it learns, and its decoder what remains (`LeadRegression`).
        hide_samples: whether the samples of hidden tokens are 0 in the encoder's input. Otherwise (published code)
            convolutions of overlapping windows, positions and `voltage` tell the visible tokens what they were.
        fusion_gradient: factor of the gradient with which fusion and heads reach projections and encoders; at 0 these
            learn from ETS alone.
        voltage: whether the encoder is given each lead's amplitude, which its GroupNorm removes (`Voltage`).
        reconstruct_misaligned: whether MLM and MEM are also trained on misaligned pairs (the published code), where the
            hidden part cannot be inferred from the other modality.
        hidden_dropout: dropout of every sub-layer.
        attention_dropout: dropout of the ECG encoder's attention weights.
        ecg_mask_ratio: share of ECG tokens hidden from the encoder in pretraining.
        text_mask_ratio: share of text tokens replaced in pretraining.
        lead_mask_prob: probability that a lead of the input is zeroed in pretraining.
        ets_full_view: whether ETS compares embeddings of all ECG tokens and the unmasked text, as inference does
            (published code: embeddings of the tokens left by masking); zeroed leads stay zeroed.
        ets_cosine: whether ETS compares unit vectors with a learned scale and bias (sigmoid loss as in SigLIP,
            arXiv 2303.15343) instead of raw inner products.
        loss_weights: weight of each of the losses "mlm", "mem", "etm" and "ets"; 1 if left out.
        initializer_range: standard deviation of initial weights.
        parts: "all" is the model of the paper; "encoders" leaves out the fusion and the heads and is trained with ETS
            alone; "ecg" is the ECG encoder with its projection and pooler, for embedding only.
        trained_on: names of the datasets the weights were trained on (`source` of their corpora), so that evaluations
            can say whether a benchmark is out-of-domain; None if this is unknown.
    """

    model_type = "dbeta"
    sub_configs: ClassVar[dict[str, type]] = {"text_config": T5Config}

    def __init__(
        self,
        sampling_rate: int = 500,
        n_samples: int = 5000,
        leads: tuple[str, ...] | list[str] = LEADS,
        signal_scale: str = "mv",
        conv_layers: list[list[int]] | None = None,
        conv_pos_kernel: int = 128,
        conv_pos_groups: int = 16,
        hidden_size: int = 768,
        ecg_layers: int = 8,
        ecg_heads: int = 12,
        ecg_intermediate_size: int = 3072,
        text_config: T5Config | dict[str, Any] | None = None,
        max_text_tokens: int = 256,
        text_attention_mask: bool = True,
        fusion_layers: int = 6,
        fusion_heads: int = 12,
        fusion_intermediate_size: int = 3072,
        mem_layer: int = 3,
        mem_hidden_size: int = 384,
        mem_layers: int = 4,
        mem_heads: int = 6,
        mem_target: str = "full",
        mem_scope: str = "unseen",
        mem_skip: bool = False,
        mem_regression: bool = False,
        hide_samples: bool = True,
        fusion_gradient: float = 1.0,
        voltage: bool = True,
        reconstruct_misaligned: bool = False,
        hidden_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        ecg_mask_ratio: float = 0.75,
        text_mask_ratio: float = 0.25,
        lead_mask_prob: float = 0.5,
        ets_full_view: bool = True,
        ets_cosine: bool = True,
        loss_weights: dict[str, float] | None = None,
        initializer_range: float = 0.02,
        parts: str = "all",
        trained_on: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Store the values; a dictionary for `text_config` becomes a `T5Config`."""
        if parts not in PARTS:
            raise ValueError(f"parts must be one of {', '.join(PARTS)}, not {parts!r}")
        shares = {
            "ecg_mask_ratio": ecg_mask_ratio,
            "text_mask_ratio": text_mask_ratio,
            "lead_mask_prob": lead_mask_prob,
            "hidden_dropout": hidden_dropout,
            "attention_dropout": attention_dropout,
            "fusion_gradient": fusion_gradient,
        }
        for name, share in shares.items():
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {share!r}")
        if not leads or set(leads) - set(LEADS) or len(set(leads)) < len(leads):
            raise ValueError(f"leads must be some of {', '.join(LEADS)}, each once, not {', '.join(map(str, leads))}")
        if not sampling_rate > 0:
            raise ValueError(f"sampling_rate must be a positive number of Hz, not {sampling_rate!r}")
        if mem_target not in MEM_TARGETS:
            raise ValueError(f"mem_target must be one of {', '.join(MEM_TARGETS)}, not {mem_target!r}")
        if mem_scope not in MEM_SCOPES:
            raise ValueError(f"mem_scope must be one of {', '.join(MEM_SCOPES)}, not {mem_scope!r}")
        if text_config is not None and not isinstance(text_config, dict | T5Config):
            raise TypeError(f"text_config must be a mapping of T5 settings or a T5Config, not {text_config!r}")
        if voltage and signal_scale != "mv":
            raise ValueError(f'voltage needs signal_scale="mv"; with {signal_scale!r}, set voltage to false')
        if text_config is None:
            text_config = FLAN_T5_BASE
        if isinstance(text_config, dict):
            text_config = T5Config(**text_config)
        self.text_config: T5Config = text_config
        self.sampling_rate = sampling_rate
        self.n_samples = n_samples
        self.leads = list(leads)
        self.signal_scale = signal_scale
        self.conv_layers = [list(layer) for layer in conv_layers or [[256, 2, 2]] * 4]
        self.conv_pos_kernel = conv_pos_kernel
        self.conv_pos_groups = conv_pos_groups
        self.hidden_size = hidden_size
        self.ecg_layers = ecg_layers
        self.ecg_heads = ecg_heads
        self.ecg_intermediate_size = ecg_intermediate_size
        self.max_text_tokens = max_text_tokens
        self.text_attention_mask = text_attention_mask
        self.fusion_layers = fusion_layers
        self.fusion_heads = fusion_heads
        self.fusion_intermediate_size = fusion_intermediate_size
        self.mem_layer = mem_layer
        self.mem_hidden_size = mem_hidden_size
        self.mem_layers = mem_layers
        self.mem_heads = mem_heads
        self.mem_target = mem_target
        self.mem_scope = mem_scope
        self.mem_skip = mem_skip
        self.mem_regression = mem_regression
        self.hide_samples = hide_samples
        self.fusion_gradient = fusion_gradient
        self.voltage = voltage
        self.reconstruct_misaligned = reconstruct_misaligned
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.ecg_mask_ratio = ecg_mask_ratio
        self.text_mask_ratio = text_mask_ratio
        self.lead_mask_prob = lead_mask_prob
        self.ets_full_view = ets_full_view
        self.ets_cosine = ets_cosine
        self.loss_weights = {name: loss.weight for name, loss in LOSSES.items()} | (loss_weights or {})
        self.initializer_range = initializer_range
        self.parts = parts
        self.trained_on = None if trained_on is None else list(trained_on)
        super().__init__(**kwargs)

    @property
    def samples_per_token(self) -> int:
        """Input samples per ECG token: the product of the convolutions' strides."""
        product = 1
        for _, _, stride in self.conv_layers:
            product *= stride
        return product

    @property
    def n_tokens(self) -> int:
        """Number of ECG tokens of a recording, without the class token."""
        length = self.n_samples
        for _, kernel, stride in self.conv_layers:
            length = (length - kernel) // stride + 1
        return length

    @property
    def n_kept_tokens(self) -> int:
        """Number of ECG tokens left visible by masking."""
        return int(self.n_tokens * (1 - self.ecg_mask_ratio))

    @classmethod
    def base(cls, *, faithful: bool = False, **changes: Any) -> DBetaConfig:
        """The paper's sizes: an ECG encoder of 62.0 M parameters, 321.4 M in total.

        Args:
            faithful: reproduce the published code where this project corrects it by default (T5 without a padding
                mask, lead-masked MEM target, MEM on hidden tokens alone, whose samples are not hidden, no voltage,
                reconstruction of misaligned pairs, ETS of the masked views on raw inner products).
            **changes: any other argument of `DBetaConfig`.
        """
        return cls(**(PUBLISHED_SWITCHES | changes if faithful else changes))

    @classmethod
    def tiny(cls, *, faithful: bool = False, **changes: Any) -> DBetaConfig:
        """2 M parameters in the encoders: 500 Hz input, 160 ms per token, a small T5 encoder trained from scratch.

        Args:
            faithful: set the switches as in the published code (see `base`).
            **changes: any other argument of `DBetaConfig`.
        """
        sizes: dict[str, Any] = {
            "conv_layers": [[32, 10, 5], [64, 4, 2], [128, 4, 2], [160, 6, 4]],
            "conv_pos_kernel": 16,
            "conv_pos_groups": 8,
            "hidden_size": 160,
            "ecg_layers": 3,
            "ecg_heads": 5,
            "ecg_intermediate_size": 480,
            "text_config": {
                "vocab_size": 2048,
                "d_model": 128,
                "d_kv": 32,
                "d_ff": 256,
                "num_layers": 2,
                "num_heads": 4,
                "feed_forward_proj": "gated-gelu",
                "dropout_rate": 0.0,
            },
            "max_text_tokens": 96,
            "fusion_layers": 2,
            "fusion_heads": 5,
            "fusion_intermediate_size": 256,
            "mem_layer": 1,
            "mem_hidden_size": 80,
            "mem_layers": 2,
            "mem_heads": 4,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
        }
        return cls(**(sizes | (PUBLISHED_SWITCHES if faithful else {}) | changes))


#: Defects of the published code that are corrected by default.
PUBLISHED_SWITCHES: dict[str, Any] = {
    "text_attention_mask": False,
    "mem_target": "lead_masked",
    "mem_scope": "tokens",
    "hide_samples": False,
    "voltage": False,
    "reconstruct_misaligned": True,
    "ets_full_view": False,
    "ets_cosine": False,
}

#: Flan-T5-base's encoder (Chung et al. 2022, arXiv 2210.11416).
FLAN_T5_BASE: dict[str, Any] = {
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "dropout_rate": 0.1,
}

PRESETS = {"base": DBetaConfig.base, "tiny": DBetaConfig.tiny}
