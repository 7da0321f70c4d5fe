"""DBetaProcessor: turns ECGs of any rate, length and lead order into model input, and texts into tokens.

It is saved beside the weights (`preprocessor_config.json`, `tokenizer.json`), so that a checkpoint carries its own
preprocessing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin, PretrainedConfig

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError
from dbeta.signal.preprocess import InputFormat, prepare_signal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dbeta.model.config import DBetaConfig


#: Arguments that select files on the hub or in its cache; the tokenizer must come from the same revision as the rest.
_HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download", "proxies")


def _recordings(given: Any) -> list[ECG]:
    """The recordings among an argument, one or several.

    Raises:
        DBetaError: it is none, or holds anything else; the message names the right call.
    """
    several = list(given) if isinstance(given, Sequence | Iterator) and not isinstance(given, str) else [given]
    for one in several:
        if isinstance(one, str | os.PathLike):
            raise DBetaError(f"{one}: the processor takes recordings, not files; write dbeta.read_ecg({str(one)!r})")
        if not isinstance(one, ECG):
            raise DBetaError(
                f"the processor takes recordings, not {type(one).__name__}; write dbeta.ECG(signal, sampling_rate), "
                "with the signal in mV as (leads, samples)"
            )
    if not several:
        raise DBetaError("no recording was given; give at least one dbeta.ECG")
    return several


class DBetaProcessor(FeatureExtractionMixin):
    """Turns ECGs and texts into model input.

    Args:
        tokenizer: tokenizer of the model's text encoder; None to process ECGs only.
        sampling_rate: Hz of the model's input.
        n_samples: samples of the model's input; longer recordings are truncated, shorter ones padded.
        leads: lead names in the order the model reads them.
        signal_scale: "mv" keeps millivolts; "lead_zscore" standardises each lead over the recording.
        max_text_tokens: longer texts are truncated.
        lower_case: lower-case texts, as in pretraining.
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
            raise DBetaError(f'signal_scale must be "mv" or "lead_zscore", not {signal_scale!r}')
        self._tokenizer = tokenizer
        self._tokenizer_source: str | os.PathLike[str] | None = None
        self._tokenizer_options: dict[str, Any] = {}
        self.sampling_rate = sampling_rate
        self.n_samples = n_samples
        self.leads = list(leads)
        self.signal_scale = signal_scale
        self.max_text_tokens = max_text_tokens
        self.lower_case = lower_case
        super().__init__(**kwargs)

    @classmethod
    def of_model(cls, config: DBetaConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> DBetaProcessor:
        """Make the processor for a model of this configuration."""
        return cls(
            tokenizer,
            sampling_rate=config.sampling_rate,
            n_samples=config.n_samples,
            leads=config.leads,
            signal_scale=config.signal_scale,
            max_text_tokens=config.max_text_tokens,
        )

    @property
    def duration(self) -> float:
        """Length of the model's input in seconds."""
        return self.input_format.duration

    @property
    def input_format(self) -> InputFormat:
        """Rate, length, leads and scale of what `signal` returns."""
        return InputFormat(self.sampling_rate, self.n_samples, tuple(self.leads), self.signal_scale)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The text encoder's tokenizer, loaded on first use, since embedding ECGs does not need it.

        Raises:
            DBetaError: its files cannot be read.
        """
        if self._tokenizer is None and self._tokenizer_source is not None:
            from transformers import AutoTokenizer

            try:
                # With an empty configuration; the library would otherwise read the model's, which has nothing about it
                self._tokenizer = AutoTokenizer.from_pretrained(
                    self._tokenizer_source, config=PretrainedConfig(), **self._tokenizer_options
                )
            except Exception as error:  # a damaged file can make the library raise anything
                reason = next(iter(str(error).splitlines()), "")[:200].rstrip(".:") or type(error).__name__
                raise DBetaError(
                    f"{self._tokenizer_source}: its tokenizer cannot be loaded ({reason}); get the checkpoint again"
                ) from error
        return self._tokenizer

    def __call__(
        self, ecg: ECG | Sequence[ECG] | None = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Process ECGs, texts or both.

        Args:
            ecg: one recording or several.
            text: one text or several.
            **kwargs: ignored, for pipelines that pass more.

        Returns:
            `ecg` (B, leads, samples) float32, `input_ids` and `attention_mask` (B, T) int64, for the inputs given.

        Raises:
            DBetaError: `ecg` is a file or an array instead of an `ECG`, a recording cannot be used (see `signal`), or a
                text is empty.
        """
        batch: dict[str, Any] = {}
        if ecg is not None:
            batch["ecg"] = torch.from_numpy(np.stack([self.signal(one) for one in _recordings(ecg)]))
        if text is not None:
            batch |= self.tokens([text] if isinstance(text, str) else list(text))
        return BatchFeature(batch)

    def signal(self, ecg: ECG) -> np.ndarray:
        """Convert one recording to model input: (leads, samples), float32 (see `prepare_signal`).

        Raises:
            DBetaError: the recording cannot be used.
        """
        (one,) = _recordings(ecg)
        return prepare_signal(one, self.input_format)

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
        """The settings stored in `preprocessor_config.json`; the tokenizer has its own files."""
        settings = {key: value for key, value in super().to_dict().items() if not key.startswith("_")}
        return settings | {"processor_class": type(self).__name__}

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write `preprocessor_config.json` and the tokenizer's files into a folder.

        Args:
            save_directory: the folder; created if it does not exist.
            push_to_hub: also upload them, to `repo_id` or to the user's repository with the folder's name.
            **kwargs: `repo_id` and the other arguments of `push_to_hub`.
        """
        files = super().save_pretrained(save_directory)
        if self.tokenizer is not None:
            files = [*files, *self.tokenizer.save_pretrained(save_directory)]
        if push_to_hub:  # the library's own method would upload before the tokenizer is saved
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return files

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> DBetaProcessor:
        """Load a processor saved by `save_pretrained`, from a folder or a hub id."""
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        processor._tokenizer_options = {name: kwargs[name] for name in _HUB_OPTIONS if name in kwargs}
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir() or (folder / "tokenizer.json").is_file():
            processor._tokenizer_source = pretrained_model_name_or_path
        return processor
