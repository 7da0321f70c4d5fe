"""What the fusion half of a model computes: whether texts belong to ECGs, fused features, hidden parts of an ECG.

`DBetaModel` and `DualEncoder` share these methods; the latter reads the fusion half from disk on first use.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dbeta.errors import DBetaError
from dbeta.model.config import DBetaConfig
from dbeta.model.fusion import Fusion, Pooler
from dbeta.model.heads import ETMHead, MEMHead


class FusionHalf(nn.Module):
    """Fusion, its poolers, and the heads that inference uses, under the names that they have in `DBetaModel`."""

    def __init__(self, config: DBetaConfig) -> None:
        """Build it with fresh weights."""
        super().__init__()
        self.fusion = Fusion(config)
        self.fused_ecg_pooler = Pooler(config.hidden_size)
        self.fused_text_pooler = Pooler(config.hidden_size)
        self.mem_head = MEMHead(config)
        self.etm_head = ETMHead(config.hidden_size)

    def for_inference(self, dtype: torch.dtype) -> None:
        """Compute in `dtype`, except for correlations of leads."""
        self.to(dtype)
        if self.mem_head.regression is not None:
            self.mem_head.regression.float()


class CrossModal:
    """Methods of a model with a fusion half.

    A class that inherits them has `config`, `_ecg_parts()` (the ECG encoder and its projection), `_text_parts()` and
    `_fusion_half()` (an object with the attributes of `FusionHalf`).
    """

    config: Any

    def _ecg_parts(self) -> tuple[Any, Any]:
        """The ECG encoder and its projection."""
        raise NotImplementedError

    def _text_parts(self) -> tuple[Any, Any]:
        """The text encoder and its projection."""
        raise NotImplementedError

    def _fusion_half(self) -> Any:
        """The fusion and its heads."""
        raise NotImplementedError

    def require_fusion(self) -> None:
        """Check that the model has its fusion half.

        Raises:
            DBetaError: it consists of encoders only.
        """
        if self.config.parts != "all":
            held = "the ECG encoder" if self.config.parts == "ecg" else "the two encoders"
            raise DBetaError(
                f"this model holds {held} only; to match, fuse or reconstruct, load a model with the fusion half, such "
                'as one that `dbeta pretrain` trains with parts="all"'
            )

    def ecg_stream(self, ecg: Tensor, ids_restore: Tensor | None = None, n_kept: int | None = None) -> Tensor:
        """Projected tokens of ECGs (B, leads, samples), class token first: (B, 1 + kept, D).

        Args:
            ecg: as the processor prepares it.
            ids_restore: see `ECGEncoder.encode`.
            n_kept: number of visible tokens; by default that of pretraining.
        """
        encoder, project = self._ecg_parts()
        ecg = encoder.shown(ecg, ids_restore, n_kept)
        return project(encoder.encode(encoder.embed(ecg), ecg, ids_restore, n_kept))

    def text_stream(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Projected tokens of texts (B, T): (B, T, D)."""
        encoder, project = self._text_parts()
        return project(encoder(input_ids, attention_mask))

    def fuse(self, ecg: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Fused features of pairs, the text's class feature first: (B, 2·D).

        Args:
            ecg: (B, leads, samples), as the processor prepares it.
            input_ids: (B, T), one text for each ECG, or (1, T) for all.
            attention_mask: (B, T) or (1, T).

        Raises:
            DBetaError: the model has no fusion half, or there are neither as many texts as ECGs nor one.
        """
        self.require_fusion()
        if len(input_ids) not in (1, len(ecg)):
            raise DBetaError(f"{len(ecg)} ECGs and {len(input_ids)} texts do not pair; give one text for each, or one")
        text = self.text_stream(input_ids, attention_mask)
        return torch.cat(self._class_features(self.ecg_stream(ecg), text, attention_mask), dim=-1)

    def match(
        self, ecg: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None, *, batch_size: int = 64
    ) -> Tensor:
        """Probability that each text belongs to each ECG (ETM head): (B, texts) float32.

        Args:
            ecg: (B, leads, samples), as the processor prepares it.
            input_ids: (texts, T).
            attention_mask: (texts, T).
            batch_size: pairs that are fused at a time.

        Raises:
            DBetaError: the model has no fusion half.
        """
        self.require_fusion()
        return self.match_streams(
            self.ecg_stream(ecg), self.text_stream(input_ids, attention_mask), attention_mask, batch_size
        )

    def match_streams(self, ecg: Tensor, text: Tensor, mask: Tensor | None = None, batch_size: int = 64) -> Tensor:
        """As `match`, from `ecg_stream` (B, N, D) and `text_stream` (texts, T, D)."""
        head = self._fusion_half().etm_head
        n_texts = len(text)
        parts = []
        for pairs in torch.arange(len(ecg) * n_texts, device=ecg.device).split(batch_size):
            rows, columns = pairs // n_texts, pairs % n_texts
            features = self._class_features(ecg[rows], text[columns], None if mask is None else mask[columns])
            parts.append(head(*features).float().softmax(dim=-1)[:, 1])
        return torch.cat(parts).unflatten(0, (len(ecg), n_texts))

    def predict_signal(
        self,
        ecg: Tensor,
        hidden: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict the signal of all tokens from the visible ones (MEM head).

        Args:
            ecg: (B, leads, samples), as the processor prepares it; missing leads are 0.
            hidden: (B, tokens) bool, True for tokens that are hidden from the encoder: the same number in each row.
            input_ids: (B, T), one text for each ECG, or (1, T) for all.
            attention_mask: (B, T) or (1, T).

        Returns:
            (B, leads, tokens · samples per token) float32, standardised: each lead in units of its standard deviation
            around its mean, over the tokenised samples (`dbeta.model.losses.mem_targets`).

        Raises:
            DBetaError: the model has no fusion half, or the rows hide different numbers of tokens.
        """
        self.require_fusion()
        counts = hidden.sum(dim=1)
        if len(ecg) and not bool((counts == counts[0]).all()):
            raise DBetaError("the same number of tokens must be hidden in each recording of a batch")
        n_kept = int((~hidden[0]).sum())
        # Visible tokens first, in order
        ids_restore = hidden.int().argsort(dim=1, stable=True).argsort(dim=1)
        stream = self.ecg_stream(ecg, ids_restore, n_kept)
        text = self.text_stream(input_ids, attention_mask).expand(len(ecg), -1, -1)
        half = self._fusion_half()
        _, _, before = half.fusion(text, stream, self._wide(attention_mask, len(ecg)))
        return half.mem_head(before, ids_restore, ecg).float().transpose(1, 2).flatten(2)

    def _class_features(self, ecg: Tensor, text: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Class features of text and ECG after the fusion, (B, D) each."""
        half = self._fusion_half()
        text = text.expand(len(ecg), -1, -1)
        text, ecg, _ = half.fusion(text, ecg, self._wide(mask, len(ecg)))
        return half.fused_text_pooler(text), half.fused_ecg_pooler(ecg)

    @staticmethod
    def _wide(mask: Tensor | None, count: int) -> Tensor | None:
        return None if mask is None else mask.bool().expand(count, -1)
