"""DBeta: a checkpoint ready for use. ECGs in; embeddings and ranked findings out.

Special here: a score alone tells a reader nothing, so each comes with its percentile among a reference panel of
recordings whose embeddings lie beside the weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.evaluation.conditions import Condition, default_conditions, find_condition
from dbeta.model.towers import DualEncoder
from dbeta.processing import DBetaProcessor
from dbeta.reading import as_ecg
from dbeta.reading_ahead import Prepared, prepare_files

if TYPE_CHECKING:
    from dbeta.model.modeling import DBetaModel


class DBeta:
    """A model, its processor and its reference panel.

    Args:
        model: the two encoders, or a whole model, which is set to evaluation mode.
        processor: the model's own.
        panel: (n, D) unit-length embeddings of reference recordings, or None: then there are no percentiles.
        batch_size: recordings that go through the model at once.
        text_embeddings: embeddings (D,) of texts that are known already.
    """

    def __init__(
        self,
        model: DualEncoder | DBetaModel,
        processor: DBetaProcessor,
        panel: torch.Tensor | None = None,
        *,
        batch_size: int = 32,
        text_embeddings: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keep the parts together."""
        self.model = model if isinstance(model, DualEncoder) else model.eval()
        self.processor = processor
        self.panel = None if panel is None else panel.float()
        self.batch_size = batch_size
        self._text_cache: dict[str, np.ndarray] = dict(text_embeddings or {})

    def __repr__(self) -> str:
        """A one-line summary."""
        precision = str(self.model.dtype).removeprefix("torch.").removeprefix("q")
        panel = "no reference panel" if self.panel is None else f"a reference panel of {len(self.panel)} ECGs"
        return f"DBeta({self.model.config.hidden_size}-d embedding in {precision} on {self.model.device}, {panel})"

    def __sklearn_clone__(self) -> DBeta:
        """Itself: clones of a scikit-learn estimator that was given this model share it."""
        return self

    def embed(self, ecgs: ECG | str | Path | Iterable[ECG | str | Path]) -> np.ndarray:
        """Embed recordings.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.

        Returns:
            (n, D) float32, as the uni-modal pooler gives them (paper section 3.2): not of unit length.

        Raises:
            DBetaError: a file cannot be read or a recording cannot be used.
        """
        items = [ecgs] if isinstance(ecgs, ECG | str | Path) else ecgs
        if isinstance(items, Sequence) and items and all(isinstance(item, str | Path) for item in items):
            batches = self._file_batches(items)
        else:
            batches = self._batches(items)
        return np.concatenate([np.zeros((0, self.model.config.hidden_size), np.float32), *batches])

    def _batches(self, ecgs: Iterable[ECG | str | Path]) -> Iterator[np.ndarray]:
        signals: list[np.ndarray] = []
        for ecg in ecgs:
            signals.append(self.processor.signal(self.read(ecg)))
            if len(signals) == self.batch_size:
                yield self.embed_signals(signals)
                signals = []
        if signals:
            yield self.embed_signals(signals)

    def _file_batches(self, files: Sequence[str | Path]) -> Iterator[np.ndarray]:
        for done, embedding in self.embed_files(files):
            if embedding is None:
                raise DBetaError(str(done.error))
            yield embedding[None]

    def embed_files(
        self, files: Sequence[str | Path], *, workers: int | None = None, **options: Any
    ) -> Iterator[tuple[Prepared, np.ndarray | None]]:
        """Embed files one after the other, reading ahead in worker processes where there are many.

        Args:
            files: what `read_ecg` can read.
            workers: processes that read (see `prepare_files`).
            **options: those of `read_ecg`.

        Yields:
            For each file, in order: what was read, and its embedding (D,) float32, or None where it cannot be used;
            then `error` says why, and the others go on.
        """
        batch: list[Prepared] = []
        for i, one in enumerate(prepare_files(files, self.processor.input_format, workers=workers, **options), 1):
            for message in one.notes:
                warnings.warn(message, DBetaWarning, stacklevel=2)
            batch.append(one)
            if len(batch) == self.batch_size or i == len(files):
                signals = [done.signal for done in batch if done.signal is not None]
                embeds = iter(self.embed_signals(signals) if signals else ())
                for done in batch:
                    yield done, None if done.signal is None else next(embeds)
                batch = []

    @torch.inference_mode()
    def embed_signals(self, signals: Sequence[np.ndarray]) -> np.ndarray:
        """Embed one batch of recordings as `processor.signal` returns them: (n, D) float32."""
        batch = torch.from_numpy(np.stack(signals)).to(self.model.device)
        return self.model.embed_ecg(batch).float().cpu().numpy()

    def read(self, ecg: ECG | str | Path) -> ECG:
        """The recording itself, or as much of the file as the model reads."""
        # A second more than needed, so that resampling has its margin
        return as_ecg(ecg, duration=self.processor.duration + 1)

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
        panel = np.sort(self.panel.numpy() @ directions.T, axis=0)  # (panel, conditions)
        ranks = [
            (np.searchsorted(column, scores[:, i], "left") + np.searchsorted(column, scores[:, i], "right")) / 2
            for i, column in enumerate(panel.T)
        ]
        return np.stack(ranks, axis=1) / len(panel) * 100.0


def _name(ecg: ECG, i: int) -> str:
    name = ecg.meta.get("source", f"recording {i + 1}")
    return f"{name}#{ecg.meta['record']}" if "record" in ecg.meta else str(name)


def _unit(x: np.ndarray) -> np.ndarray:
    return normalize(torch.from_numpy(x), dim=-1).numpy()


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as JSON rows; a missing percentile becomes null."""
    rows = table.to_dict("records")
    return [{str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows]
