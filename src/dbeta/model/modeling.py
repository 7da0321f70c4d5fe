"""DBetaModel: encoders, poolers, fusion, heads and losses in one `PreTrainedModel`.

The caller decides the masking (the collator passes `ids_restore`, replaced tokens and labels), so that a forward pass
depends only on its inputs and dropout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dbeta.errors import DBetaError
from dbeta.model import losses
from dbeta.model.config import DBetaConfig
from dbeta.model.cross_modal import CrossModal
from dbeta.model.distributed import gather
from dbeta.model.ecg_encoder import ECGEncoder
from dbeta.model.fusion import Fusion, Pooler, scale_gradient
from dbeta.model.heads import ETMHead, MEMHead, MLMHead
from dbeta.model.shown_samples import LeadRegression
from dbeta.model.text_encoder import TextEncoder

#: Large batches of texts are embedded in this many groups of similar length.
TEXT_GROUPS = 4


@dataclass
class DBetaOutput(losses.LossOutput):
    """Everything a forward pass computes: the losses, and what they are computed from.

    Attributes:
        ecg_embeds: (B, D) uni-modal ECG embeddings.
        text_embeds: (B, D) uni-modal text embeddings.
        fused_features: (B, 2·D) multi-modal class features, text first.
        mlm_logits: (B, T, V).
        mem_logits: (B, tokens, leads, samples per token).
        etm_logits: (B, 2) of (misaligned, aligned).
        ets_logits: (B, texts), rows ECGs, columns texts: those of the batch (in training, of all processes'
            batches), then `prompt_ids`.
    """

    ecg_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    fused_features: Tensor | None = None
    mlm_logits: Tensor | None = None
    mem_logits: Tensor | None = None
    etm_logits: Tensor | None = None
    ets_logits: Tensor | None = None


class DBetaModel(CrossModal, PreTrainedModel):
    """D-BETA: a contrastive masked autoencoder of ECGs and their reports (Pham, Saeed, Ma, ICML 2025)."""

    config_class = DBetaConfig
    base_model_prefix = "dbeta"
    main_input_name = "ecg"
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    #: Modules that FSDP shards individually.
    _no_split_modules: ClassVar[list[str]] = ["EncoderLayer", "FusionLayer", "T5Block", "DecoderBlock"]

    def __init__(self, config: DBetaConfig) -> None:
        """Build the model with fresh weights."""
        super().__init__(config)
        width, text_width = config.hidden_size, config.text_config.d_model
        has_text = config.parts != "ecg"
        self.ecg_encoder = ECGEncoder(config)
        if has_text:
            self.text_encoder = TextEncoder(config.text_config, use_mask=config.text_attention_mask)
        self.ecg_proj = nn.Linear(width, width)
        if has_text:
            self.text_proj = nn.Linear(text_width, width)
        self.ecg_pooler = Pooler(width)
        if has_text:
            self.text_pooler = Pooler(width)
        if config.parts == "all":
            self.fusion = Fusion(config)
            self.fused_ecg_pooler = Pooler(width)
            self.fused_text_pooler = Pooler(width)
            self.mlm_head = MLMHead(width, config.text_config.vocab_size)
            self.mem_head = MEMHead(config)
            self.etm_head = ETMHead(width)
        if config.ets_cosine:
            self.ets_log_scale = nn.Parameter(torch.tensor(0.0))
            self.ets_bias = nn.Parameter(torch.tensor(0.0))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv1d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, ECGEncoder):
            nn.init.normal_(module.class_token, std=std)
        elif isinstance(module, MEMHead):
            nn.init.normal_(module.mask_token, std=std)
        elif isinstance(module, LeadRegression):
            nn.init.eye_(module.factor)
        elif isinstance(module, DBetaModel) and module.config.ets_cosine:
            # SigLIP starts at −10; entailment labels make positives common, so the sign changes at cosine 1/2 here
            nn.init.constant_(module.ets_log_scale, math.log(10.0))
            nn.init.constant_(module.ets_bias, -5.0)

    def _ecg_parts(self) -> tuple[nn.Module, nn.Module]:
        """The ECG encoder and its projection."""
        return self.ecg_encoder, self.ecg_proj

    def _text_parts(self) -> tuple[nn.Module, nn.Module]:
        """The text encoder and its projection."""
        return self.text_encoder, self.text_proj

    def _fusion_half(self) -> DBetaModel:
        """Itself: it has the fusion and the heads under the names that `CrossModal` expects."""
        return self

    def embed_ecg(self, ecg: Tensor) -> Tensor:
        """Embed recordings (B, leads, samples): (B, D)."""
        return self.ecg_pooler(self.ecg_proj(self.ecg_encoder.class_feature(ecg)))

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embed tokenised texts (B, T): (B, D).

        Raises:
            DBetaError: the model was built without a text encoder.
        """
        if self.config.parts == "ecg":
            raise DBetaError("this model has no text encoder, so it can embed recordings but not text")
        if attention_mask is None or len(input_ids) < 2 * TEXT_GROUPS or not self.config.text_attention_mask:
            return self.text_pooler(self.text_proj(self.text_encoder(input_ids, attention_mask)))
        # Groups of similar length: short texts are not padded to the longest
        lengths = attention_mask.sum(dim=1)
        order = lengths.argsort()
        parts = []
        for rows in order.chunk(TEXT_GROUPS):
            longest = int(lengths[rows].max())
            ids, mask = input_ids[rows, :longest], attention_mask[rows, :longest]
            parts.append(self.text_pooler(self.text_proj(self.text_encoder(ids, mask))))
        return torch.cat(parts)[order.argsort()]

    def similarity(self, ecg_embeds: Tensor, text_embeds: Tensor) -> Tensor:
        """ETS logits for every pair of ECG (B, D) and text (C, D): (B, C)."""
        if not self.config.ets_cosine:
            return ecg_embeds @ text_embeds.T
        cosine = nn.functional.normalize(ecg_embeds, dim=-1) @ nn.functional.normalize(text_embeds, dim=-1).T
        return cosine * self.ets_log_scale.exp() + self.ets_bias

    def forward(
        self,
        ecg: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        ids_restore: Tensor | None = None,
        n_kept: Tensor | int | None = None,
        mlm_labels: Tensor | None = None,
        aligned: Tensor | None = None,
        ets_labels: Tensor | None = None,
        target_ecg: Tensor | None = None,
        target_ids: Tensor | None = None,
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
    ) -> DBetaOutput:
        """Run both encoders, the fusion, and every loss whose targets are given; with one modality only, embed it.

        A model with `parts="encoders"` computes only the ETS loss.

        Args:
            ecg: (B, leads, samples), the encoder's input (leads may be zeroed).
            input_ids: (B, T) int64, the text encoder's input (tokens may be replaced).
            attention_mask: (B, T), 1 for text, 0 for padding.
            ids_restore: (B, tokens) int64 masking of the ECG tokens (`ECGEncoder.encode`); enables the MEM loss.
            n_kept: number of ECG tokens that stay visible; by default that of the configuration.
            mlm_labels: (B, T) int64, −100 for tokens that are not predicted; enables the MLM loss.
            aligned: (B,) whether text i belongs to ECG i; enables the ETM and ETS losses.
            ets_labels: (B, texts) of +1, −1 and 0 (ignored), replacing those derived from `aligned`.
            target_ecg: (B, leads, samples) the unmasked recording, for `mem_target="full"`; default `ecg`.
            target_ids: (B, T) int64 the text before tokens were replaced, for `ets_full_view`; default `input_ids`.
            prompt_ids: (K, T') int64 additional texts for ETS; require `ets_labels`.
            prompt_mask: (K, T') their padding mask.

        Returns:
            Losses, logits and embeddings; only `ecg_embeds` or `text_embeds` if the other input is missing.

        Raises:
            DBetaError: neither an ECG nor a text is given, or the model was built without a text encoder.
        """
        if ecg is None or input_ids is None:
            return self._embed_one_side(ecg, input_ids, attention_mask)
        config = self.config
        if config.parts == "ecg":
            raise DBetaError("this model has no text encoder, so it cannot compute losses; use embed_ecg")
        if config.parts == "encoders":
            whole = input_ids if target_ids is None else target_ids
            out = DBetaOutput(ecg_embeds=self.embed_ecg(ecg), text_embeds=self.embed_text(whole, attention_mask))
            targets = {"ets_labels": self._contrast(out, aligned, ets_labels, prompt_ids, prompt_mask)}
            losses.add_losses(out, targets, config.loss_weights)
            return out
        out = DBetaOutput()
        text_mask = None if attention_mask is None else attention_mask.bool()

        n_kept = config.n_kept_tokens if n_kept is None else int(n_kept)
        shown = self.ecg_encoder.shown(ecg, ids_restore, n_kept)
        tokens = self.ecg_encoder.embed(shown)  # (B, tokens, D)
        ecg_stream = self.ecg_proj(self.ecg_encoder.encode(tokens, shown, ids_restore, n_kept))  # (B, 1 + kept, D)
        text_stream = self.text_proj(self.text_encoder(input_ids, attention_mask))  # (B, T, D)

        # Not computed where nothing could learn from it
        contrasts = bool(config.loss_weights["ets"]) or not self.training or self.ecg_pooler.dense.weight.requires_grad
        if contrasts and config.ets_full_view and ids_restore is not None:
            whole_tokens = tokens if shown is ecg else self.ecg_encoder.embed(ecg)
            out.ecg_embeds = self.ecg_pooler(self.ecg_proj(self.ecg_encoder.encode(whole_tokens, ecg)))
        else:
            out.ecg_embeds = self.ecg_pooler(ecg_stream)
        if contrasts and config.ets_full_view and target_ids is not None:
            out.text_embeds = self.embed_text(target_ids, attention_mask)
        else:
            out.text_embeds = self.text_pooler(text_stream)
        signs = self._contrast(out, aligned, ets_labels, prompt_ids, prompt_mask) if contrasts else None

        ecg_stream = scale_gradient(ecg_stream, config.fusion_gradient)
        text_stream = scale_gradient(text_stream, config.fusion_gradient)
        text_fused, ecg_fused, before_mem = self.fusion(text_stream, ecg_stream, text_mask)
        text_class, ecg_class = self.fused_text_pooler(text_fused), self.fused_ecg_pooler(ecg_fused)
        out.fused_features = torch.cat([text_class, ecg_class], dim=-1)
        out.etm_logits = self.etm_head(text_class, ecg_class)
        out.mlm_logits = self.mlm_head(text_fused)

        teaches = torch.ones(len(ecg), dtype=torch.bool, device=ecg.device)  # (B,)
        if aligned is not None and not config.reconstruct_misaligned:
            teaches = aligned.bool()
        if mlm_labels is not None:
            mlm_labels = mlm_labels.masked_fill(~teaches[:, None], losses.IGNORED)
        mem_target = mem_hidden = None
        if ids_restore is not None:
            out.mem_logits = self.mem_head(before_mem, ids_restore, shown)
            whole = target_ecg if target_ecg is not None and config.mem_target == "full" else ecg
            mem_target = losses.mem_targets(whole, config.n_tokens, config.samples_per_token)
            mem_hidden = losses.token_mask(ids_restore, n_kept)
            if config.mem_scope == "unseen":
                mem_hidden = losses.unseen_samples(mem_hidden, ecg, whole, config.samples_per_token)
            mem_hidden = mem_hidden & teaches.view(-1, *[1] * (mem_hidden.ndim - 1))
        targets = {
            "mlm_labels": mlm_labels,
            "mem_target": mem_target,
            "mem_hidden": mem_hidden,
            "aligned": aligned,
            "ets_labels": signs,
        }
        losses.add_losses(out, targets, config.loss_weights)
        return out

    def _contrast(
        self,
        out: DBetaOutput,
        aligned: Tensor | None,
        ets_labels: Tensor | None,
        prompt_ids: Tensor | None,
        prompt_mask: Tensor | None,
    ) -> Tensor | None:
        """Compute ETS for the embeddings in `out`, in place; the sign of each pair, None without `aligned`."""
        assert out.ecg_embeds is not None and out.text_embeds is not None
        texts = gather(out.text_embeds) if self.training else out.text_embeds
        if prompt_ids is not None:
            texts = torch.cat([texts, self.embed_text(prompt_ids, prompt_mask)])
        out.ets_logits = self.similarity(out.ecg_embeds, texts)
        if aligned is None:
            return None
        return losses.ets_labels(aligned, len(texts)) if ets_labels is None else ets_labels

    def _embed_one_side(self, ecg: Tensor | None, input_ids: Tensor | None, mask: Tensor | None) -> DBetaOutput:
        if ecg is not None:
            return DBetaOutput(ecg_embeds=self.embed_ecg(ecg))
        if input_ids is not None:
            return DBetaOutput(text_embeds=self.embed_text(input_ids, mask))
        raise DBetaError("the model needs an input; pass `ecg`, `input_ids` or both, as DBetaProcessor does")
