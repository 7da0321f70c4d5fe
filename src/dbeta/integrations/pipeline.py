"""ECGs in a pipeline of transformers, whose own "feature-extraction" reads only text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.pipelines import FeatureExtractionPipeline

from dbeta.ecg import ECG
from dbeta.io.read import as_ecg


class ECGFeatureExtractionPipeline(FeatureExtractionPipeline):
    """`pipeline("feature-extraction", model=..., pipeline_class=ECGFeatureExtractionPipeline)`.

    It takes one recording or a list of them, each an `ECG` or a file that `read_ecg` can read, and gives for each a
    nested list (1, D) of floats, or with `return_tensors=True` a tensor: the embedding that `DBeta.embed` gives, not
    of unit length. A recording that cannot be used raises a `DBetaError`.
    """

    _load_tokenizer = False
    _load_feature_extractor = True

    def preprocess(self, inputs: ECG | str | Path, **_: Any) -> dict[str, Tensor]:
        """One recording as the model reads it: `ecg` (1, leads, samples)."""
        # A second more than needed, so that resampling has its margin
        ecg = as_ecg(inputs, duration=self.feature_extractor.duration + 1)
        return {"ecg": self.feature_extractor(ecg=ecg)["ecg"].to(self.model.dtype)}
