"""DBeta: a checkpoint ready for use. ECGs in; embeddings and ranked findings out.

Special here: a score alone tells a reader nothing, so each comes with its percentile among a reference panel of
recordings whose embeddings lie beside the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize
from transformers.utils import cached_file, logging

from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.evaluation.conditions import Condition, default_conditions, find_condition
from dbeta.model import DBetaModel
from dbeta.processing import DBetaProcessor
from dbeta.reading import read_ecg

#: Embeddings of the reference panel, (n, D), unit length.
PANEL_FILE = "reference_panel.safetensors"
WEIGHTS_FILE = "model.safetensors"


class DBeta:
    """A model, its processor and its reference panel.

    Args:
        model: the weights; set to evaluation mode.
        processor: the model's own.
        panel: (n, D) unit-length embeddings of reference recordings, or None: then there are no percentiles.
        batch_size: recordings that go through the model at once.
    """

    def __init__(
        self,
        model: DBetaModel,
        processor: DBetaProcessor,
        panel: torch.Tensor | None = None,
        *,
        batch_size: int = 32,
    ) -> None:
        """Keep the parts together."""
        self.model = model.eval()
        self.processor = processor
        self.panel = panel
        self.batch_size = batch_size
        self._text_cache: dict[str, np.ndarray] = {}

    def __repr__(self) -> str:
        """A one-line summary."""
        millions = sum(p.numel() for p in self.model.parameters()) / 1e6
        panel = "no reference panel" if self.panel is None else f"a reference panel of {len(self.panel)} ECGs"
        return f"DBeta({millions:.1f} M parameters, {self.model.config.hidden_size}-d embedding, {panel})"

    @torch.inference_mode()
    def embed(self, ecgs: ECG | str | Path | Iterable[ECG | str | Path]) -> np.ndarray:
        """Embed recordings.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.

        Returns:
            (n, D) float32, as the uni-modal pooler gives them (paper section 3.2): not of unit length.

        Raises:
            DBetaError: a file cannot be read or a recording cannot be used.
        """
        return np.concatenate([np.zeros((0, self.model.config.hidden_size), np.float32), *self._batches(ecgs)])

    def _batches(self, ecgs: ECG | str | Path | Iterable[ECG | str | Path]) -> Iterable[np.ndarray]:
        signals: list[np.ndarray] = []
        for ecg in [ecgs] if isinstance(ecgs, ECG | str | Path) else ecgs:
            signals.append(self.processor.signal(self.read(ecg)))
            if len(signals) == self.batch_size:
                yield self.embed_signals(signals)
                signals = []
        if signals:
            yield self.embed_signals(signals)

    @torch.inference_mode()
    def embed_signals(self, signals: Sequence[np.ndarray]) -> np.ndarray:
        """Embed one batch of recordings as `processor.signal` returns them: (n, D) float32."""
        batch = torch.from_numpy(np.stack(signals)).to(self.model.device, self.model.dtype)
        return self.model.embed_ecg(batch).float().cpu().numpy()

    def read(self, ecg: ECG | str | Path) -> ECG:
        """The recording itself, or as much of the file as the model reads."""
        if isinstance(ecg, ECG):
            return ecg
        if not isinstance(ecg, str | Path):
            kind = type(ecg).__name__
            raise DBetaError(
                f"a recording is a dbeta.ECG or a file, not {kind}; write dbeta.ECG(signal, sampling_rate)"
            )
        # A second more than needed, so that resampling has its margin
        return read_ecg(ecg, duration=self.processor.duration + 1)

    @torch.inference_mode()
    def embed_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """Embed texts: (n, D) float32, remembered for the next time.

        Raises:
            DBetaError: a text is empty.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            return np.zeros((0, self.model.config.hidden_size), np.float32)
        new = [text for text in dict.fromkeys(texts) if text not in self._text_cache]
        for start in range(0, len(new), self.batch_size):
            chunk = new[start : start + self.batch_size]
            tokens = {key: value.to(self.model.device) for key, value in self.processor.tokens(chunk).items()}
            embeds = self.model.embed_text(**tokens).float().cpu().numpy()
            self._text_cache.update(zip(chunk, embeds, strict=True))
        return np.stack([self._text_cache[text] for text in texts])

    def embed_condition(self, condition: Condition | str) -> np.ndarray:
        """The direction of a condition: (D,) float32 of unit length, the mean over its prompts.

        A name that `conditions.yaml` knows brings its synonyms and its clinical description as further prompts; any
        other text stands for itself.
        """
        known = find_condition(condition) if isinstance(condition, str) else condition
        prompts = [str(condition)] if known is None else known.prompts
        units = _unit(self.embed_text(prompts))
        return _unit(units.mean(axis=0))

    def diagnose(
        self,
        ecgs: ECG | str | Path | Sequence[ECG | str | Path],
        conditions: str | Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """How well each condition describes each recording.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.
            conditions: one or several, in words; by default about twenty common ones. A string is one condition.

        Returns:
            Columns `record`, `condition`, `score` (cosine of the embeddings, −1 to 1) and `percentile` (share of the
            reference panel that the condition describes less well, 0 to 100; NaN without a panel), best score first
            within each record.

        Raises:
            DBetaError: a file or recording cannot be used, or a condition is empty.
        """
        ecgs = [ecgs] if isinstance(ecgs, ECG | str | Path) else list(ecgs)
        recordings = [self.read(ecg) for ecg in ecgs]
        conditions = [conditions] if isinstance(conditions, str) else conditions
        asked: Sequence[Condition | str] = default_conditions() if conditions is None else list(conditions)
        if not asked:
            raise DBetaError("no condition was named; name at least one, such as 'atrial fibrillation'")
        if any(not isinstance(one, str | Condition) for one in asked):
            raise DBetaError("a condition is named in words, such as 'atrial fibrillation'")
        names = [one if isinstance(one, str) else one.name for one in asked]
        directions = np.stack([self.embed_condition(one) for one in asked])  # (conditions, D)
        scores = _unit(self.embed(recordings)) @ directions.T  # (recordings, conditions)
        percentiles = self._percentiles(scores, directions)
        rows = [
            {"record": _name(ecg, i), "condition": name, "score": float(score), "percentile": float(percentile)}
            for i, (ecg, row, ranks) in enumerate(zip(recordings, scores, percentiles, strict=True))
            for name, score, percentile in sorted(zip(names, row, ranks, strict=True), key=lambda one: -one[1])
        ]
        return pd.DataFrame(rows, columns=["record", "condition", "score", "percentile"])

    def _percentiles(self, scores: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Mid-rank percentile of each score (n, conditions) among the panel's scores."""
        if self.panel is None:
            return np.full_like(scores, np.nan)
        panel = np.sort(self.panel.float().numpy() @ directions.T, axis=0)  # (panel, conditions)
        ranks = [
            (np.searchsorted(column, scores[:, i], "left") + np.searchsorted(column, scores[:, i], "right")) / 2
            for i, column in enumerate(panel.T)
        ]
        return np.stack(ranks, axis=1) / len(panel) * 100.0


def load(name_or_path: str | Path | None = None, *, device: str | None = None) -> DBeta:
    """Load a checkpoint.

    Args:
        name_or_path: a folder or a hub id; None for the bundled model.
        device: torch device; None chooses a GPU where there is one.

    Raises:
        DBetaError: the folder is missing or incomplete, or the hub cannot be reached.
    """
    name_or_path = bundled_checkpoint() if name_or_path is None else name_or_path
    if not str(name_or_path).strip():
        raise DBetaError("no model was named; name a checkpoint folder or a hub id")
    folder = Path(name_or_path).expanduser()
    name_or_path = folder if folder.exists() else name_or_path
    if folder.exists() or str(name_or_path).startswith((".", "/", "~")):
        if not folder.is_dir():
            raise DBetaError(f"{name_or_path}: there is no such folder; name one that `dbeta pretrain` wrote")
        for file in ("config.json", "preprocessor_config.json", WEIGHTS_FILE):
            if not (folder / file).is_file():
                raise DBetaError(f"{name_or_path}: {file} is missing; name a folder that `dbeta pretrain` wrote")
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # What does not fit is judged below: left to itself, the library fills in random weights
        model, fit = DBetaModel.from_pretrained(
            name_or_path,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        processor = DBetaProcessor.from_pretrained(name_or_path)
        panel_file = cached_file(name_or_path, PANEL_FILE, _raise_exceptions_for_missing_entries=False)
        panel = None if panel_file is None else load_file(panel_file)["ecg_embeds"]
    except ImportError:
        raise
    except Exception as error:  # a damaged file can make the libraries raise anything
        reason = next(iter(str(error).splitlines()), "")[:200].rstrip(".:") or type(error).__name__
        where = "" if folder.exists() else "is no folder here, and "
        raise DBetaError(f"{name_or_path}: {where}cannot be loaded as a model ({reason})") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    if misfit := _misfit(model, fit, processor, panel):
        raise DBetaError(f"{name_or_path}: {misfit}; get the checkpoint again")
    target = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return DBeta(model.to(target), processor, panel)


def _misfit(model: DBetaModel, fit: dict[str, Any], processor: DBetaProcessor, panel: torch.Tensor | None) -> str:
    """What does not belong together among the files of a checkpoint, in words; empty where all fits."""
    wrong_shape = [name for name, *_ in fit["mismatched_keys"]]
    problems = (
        ("lacks tensors", fit["missing_keys"]),
        ("has tensors of another shape", wrong_shape),
        ("has further tensors", fit["unexpected_keys"]),
    )
    for problem, names in problems:
        if names:
            return f"{WEIGHTS_FILE} does not fit config.json: it {problem} ({len(names)}, such as {min(names)})"
    for setting in ("sampling_rate", "n_samples", "leads", "signal_scale"):
        ours, its = getattr(model.config, setting), getattr(processor, setting)
        if ours != its:
            return f"{setting} is {ours} in config.json but {its} in preprocessor_config.json"
    width = model.config.hidden_size
    if panel is not None and (panel.ndim != 2 or len(panel) == 0 or panel.shape[1] != width):
        return f"{PANEL_FILE} has shape {tuple(panel.shape)}, not (recordings, {width})"
    return ""


def bundled_checkpoint() -> Path:
    """The folder of the model that comes with the package."""
    here = Path(__file__).resolve().parent
    # Inside a wheel it lies in the package; in a checkout at the top, where people look for it
    places = [here / "checkpoints" / "tiny", here.parents[1] / "checkpoints" / "tiny"]
    for place in places:
        if (place / WEIGHTS_FILE).is_file():
            return place
    raise DBetaError("the bundled model is missing from this installation; install dbeta again, or name a model")


def _name(ecg: ECG, i: int) -> str:
    name = ecg.meta.get("source", f"recording {i + 1}")
    return f"{name}#{ecg.meta['record']}" if "record" in ecg.meta else str(name)


def _unit(x: np.ndarray) -> np.ndarray:
    return normalize(torch.from_numpy(x), dim=-1).numpy()


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as JSON rows; a missing percentile becomes null."""
    rows = table.to_dict("records")
    return [{str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows]
