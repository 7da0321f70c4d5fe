"""A transformers pipeline for ECGs; the built-in "feature-extraction" reads only text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.pipelines import FeatureExtractionPipeline

from dbeta.ecg import ECG
from dbeta.io.read import as_ecg


class ECGFeatureExtractionPipeline(FeatureExtractionPipeline):
    """`pipeline("feature-extraction", model=..., pipeline_class=ECGFeatureExtractionPipeline)`.

    Takes one recording or a list, each an `ECG` or a file that `read_ecg` can read, and returns for each a nested list
    (1, D) of floats, or with `return_tensors=True` a tensor: the embedding of `DBeta.embed`, not normalised. A
    recording that cannot be used raises a `DBetaError`.
    """

    _load_tokenizer = False
    _load_feature_extractor = True

    def preprocess(self, inputs: ECG | str | Path, **_: Any) -> dict[str, Tensor]:
        """One recording as model input: `ecg` (1, leads, samples)."""
        # One second more than needed, as a margin for resampling
        ecg = as_ecg(inputs, duration=self.feature_extractor.duration + 1)
        return {"ecg": self.feature_extractor(ecg=ecg)["ecg"].to(self.model.dtype)}
