"""DBetaProcessor: an ECG of any rate, length and lead order → what the model reads; a text → tokens.

Saved beside the weights (`preprocessor_config.json`, `tokenizer.json`), so that a checkpoint carries its own
preprocessing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.signal import resample_poly
from transformers import AutoTokenizer, BatchFeature, FeatureExtractionMixin, PretrainedConfig, PreTrainedTokenizerBase

from dbeta.ecg import ECG, FLAT, LEADS
from dbeta.errors import DBetaError, DBetaWarning

#: Below this rate the QRS complex itself is lost (its energy lies at 5–25 Hz); AHA/ACC/HRS 2007 ask for 500 Hz.
LOWEST_SAMPLING_RATE = 40.0
#: No electrocardiograph samples faster; such a rate is in another unit.
HIGHEST_SAMPLING_RATE = 1e6
#: Below this rate high-frequency detail (pacing spikes, notches) is missing.
DETAILED_SAMPLING_RATE = 100.0
#: Less than this, in seconds, cannot hold a heartbeat, and padding would make the result.
SHORTEST = 0.3
#: No heart reaches this voltage at the skin; such samples are in another unit.
HIGHEST_VOLTAGE = 50.0


class DBetaProcessor(FeatureExtractionMixin):
    """Turns ECGs and texts into model input.

    Args:
        tokenizer: tokenizer of the model's text encoder; None where only ECGs are to be processed.
        sampling_rate: Hz of the model's input.
        n_samples: samples of the model's input; longer recordings are cut to their first, shorter ones padded.
        leads: lead names in the order the model reads them.
        signal_scale: "mv" leaves millivolts; "lead_zscore" standardises each lead over the recording.
        max_text_tokens: longer texts are cut.
        lower_case: texts are lower-cased, as in pretraining.
    """

    model_input_names: ClassVar[list[str]] = ["ecg", "input_ids", "attention_mask"]

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | None = None,
        sampling_rate: int = 500,
        n_samples: int = 5000,
        leads: Sequence[str] = LEADS,
        signal_scale: str = "mv",
        max_text_tokens: int = 256,
        lower_case: bool = True,
        **kwargs: Any,
    ) -> None:
        """Store the settings."""
        if signal_scale not in ("mv", "lead_zscore"):
            raise DBetaError(f'signal_scale is "mv" or "lead_zscore", not {signal_scale!r}')
        self.tokenizer = tokenizer
        self.sampling_rate = sampling_rate
        self.n_samples = n_samples
        self.leads = list(leads)
        self.signal_scale = signal_scale
        self.max_text_tokens = max_text_tokens
        self.lower_case = lower_case
        super().__init__(**kwargs)

    @property
    def duration(self) -> float:
        """Seconds of the model's input."""
        return self.n_samples / self.sampling_rate

    def __call__(
        self, ecg: ECG | Sequence[ECG] | None = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Process ECGs, texts or both.

        Args:
            ecg: one recording or several.
            text: one text or several.
            **kwargs: ignored, for pipelines that pass more.

        Returns:
            `ecg` (B, leads, samples) float32, `input_ids` and `attention_mask` (B, T) int64, as far as asked for.

        Raises:
            DBetaError: a recording cannot be used (see `signal`), or a text is empty.
        """
        batch: dict[str, Any] = {}
        if ecg is not None:
            ecgs = [ecg] if isinstance(ecg, ECG) else list(ecg)
            batch["ecg"] = torch.from_numpy(np.stack([self.signal(one) for one in ecgs]))
        if text is not None:
            batch |= self.tokens([text] if isinstance(text, str) else list(text))
        return BatchFeature(batch)

    def signal(self, ecg: ECG) -> np.ndarray:
        """One recording as the model reads it: (leads, samples), float32.

        Leads by name, missing samples interpolated, polyphase resampling, cut to the first `duration` seconds or
        padded at the end with each lead's median, then `signal_scale`.

        Raises:
            DBetaError: a lead is missing, there is no signal, or the sampling rate is absurd or too low to show a QRS
                complex.

        Warns:
            DBetaWarning: a lead is flat, the recording is cut or padded, the rate is low, the unit looks wrong.
        """
        name = str(ecg.meta.get("source", "recording"))
        try:
            ecg = ecg.standard()
        except DBetaError as error:
            raise DBetaError(f"{name}: {error}") from None
        if ecg.sampling_rate < LOWEST_SAMPLING_RATE:
            raise DBetaError(
                f"{name}: {ecg.sampling_rate:g} Hz is too slow to show a QRS complex; "
                f"at least {LOWEST_SAMPLING_RATE:g} Hz is needed"
            )
        if ecg.sampling_rate > HIGHEST_SAMPLING_RATE:
            raise DBetaError(f"{name}: {ecg.sampling_rate:g} Hz is no ECG's sampling rate; check it")
        if ecg.sampling_rate < DETAILED_SAMPLING_RATE:
            _warn(f"{name}: only {ecg.sampling_rate:g} Hz, fine detail is missing and findings are less certain")
        if ecg.duration < SHORTEST:
            raise DBetaError(
                f"{name}: {ecg.duration:.3g} s is too short to hold a heartbeat; give at least {SHORTEST} s"
            )
        full_length = float(ecg.meta.get("duration", ecg.duration))
        if full_length > self.duration + 1:
            _warn(f"{name}: {full_length:.1f} s long, only the first {self.duration:g} s are used")

        wanted = round(self.duration * ecg.sampling_rate)
        x = np.stack([ecg[lead] for lead in self.leads])[:, :wanted].astype(np.float64)  # (leads, samples)
        x = self._without_gaps(x, name)
        if np.abs(x).max() > HIGHEST_VOLTAGE:
            _warn(f"{name}: voltages up to {np.abs(x).max():.3g} mV, the unit of the file may not be mV")
        ratio = Fraction(self.sampling_rate / ecg.sampling_rate).limit_denominator(10_000)
        if ratio != 1:
            x = resample_poly(x, ratio.numerator, ratio.denominator, axis=1, padtype="line")
        x = x[:, : self.n_samples]
        if x.shape[1] < self.n_samples:
            if ecg.duration < 0.95 * self.duration:
                _warn(f"{name}: only {ecg.duration:.1f} s long, padded to {self.duration:g} s")
            gap = self.n_samples - x.shape[1]
            x = np.concatenate([x, np.median(x, axis=1, keepdims=True).repeat(gap, axis=1)], axis=1)
        if self.signal_scale == "lead_zscore":
            x = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-6)
        return x.astype(np.float32)

    def _without_gaps(self, x: np.ndarray, name: str) -> np.ndarray:
        finite = np.isfinite(x)
        if not finite.any():
            raise DBetaError(f"{name}: holds no signal, every sample is missing")
        if not finite.all():
            _warn(f"{name}: {(~finite).mean():.1%} of the samples are missing, interpolated")
            at = np.arange(x.shape[1])
            for row, good in zip(x, finite, strict=True):
                row[~good] = np.interp(at[~good], at[good], row[good]) if good.any() else 0.0
        flat = [lead for lead, row in zip(self.leads, x, strict=True) if np.ptp(row) < FLAT]
        if len(flat) == len(self.leads):
            raise DBetaError(f"{name}: holds no signal, every lead is flat")
        if flat:
            _warn(f"{name}: lead {', '.join(flat)} is flat, findings that rest on it mean little")
        return x

    def tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Tokenise texts: `input_ids` and `attention_mask`, each (B, T) int64.

        Raises:
            DBetaError: a text is empty, or the checkpoint has no tokenizer.
        """
        if self.tokenizer is None:
            raise DBetaError("this model has no tokenizer.json, so it cannot read text")
        if any(not text.strip() for text in texts):
            raise DBetaError("a condition is empty; name each one in words, such as 'atrial fibrillation'")
        cleaned = [text.lower() if self.lower_case else text for text in texts]
        batch = self.tokenizer(
            cleaned, padding=True, truncation=True, max_length=self.max_text_tokens, return_tensors="pt"
        )
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    def to_dict(self) -> dict[str, Any]:
        """The settings that `preprocessor_config.json` holds; the tokenizer has its own files."""
        settings = {key: value for key, value in super().to_dict().items() if key != "tokenizer"}
        return settings | {"processor_class": type(self).__name__}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> list[str]:
        """Write `preprocessor_config.json` and the tokenizer's files into a folder."""
        files = super().save_pretrained(save_directory, **kwargs)
        if self.tokenizer is not None:
            files = [*files, *self.tokenizer.save_pretrained(save_directory)]
        return files

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> DBetaProcessor:
        """Load what `save_pretrained` wrote, from a folder or a hub id."""
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir() or (folder / "tokenizer.json").is_file():
            # An empty configuration, else the library warns that it does not know what a tokenizer of dbeta is
            processor.tokenizer = AutoTokenizer.from_pretrained(
                pretrained_model_name_or_path, config=PretrainedConfig()
            )
        return processor


def _warn(message: str) -> None:
    warnings.warn(message, DBetaWarning, stacklevel=3)
