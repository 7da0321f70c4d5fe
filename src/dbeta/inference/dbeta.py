"""DBeta, a loaded checkpoint: embeds ECGs and texts, ranks conditions, searches indexes; matches and reconstructs.

Each score comes with its percentile in a reference panel, recordings whose embeddings are stored beside the weights.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from dbeta.conditions.registry import Condition, default_conditions, find_condition, known_parts
from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.inference.cross_modal import CrossModalInference, rerank
from dbeta.inference.embed import Embedded, Group, Watch
from dbeta.inference.few_leads import LeadPanels
from dbeta.inference.findings import Question, tabulate
from dbeta.inference.loader import prepare_files
from dbeta.inference.search import Index
from dbeta.io.safety.limits import is_file
from dbeta.model.dual_encoder import DualEncoder
from dbeta.model.embed import embed_signals, embed_texts
from dbeta.model.processor import DBetaProcessor
from dbeta.signal.quality import UNUSABLE
from dbeta.signal.windows import warn_all
from dbeta.utils.fingerprints import checkpoint_fingerprint, ecg_embedding_fingerprint

if TYPE_CHECKING:
    from dbeta.model.modeling import DBetaModel


#: Windows as `processor.signal` returns them → a row for each.
Compute = Callable[[Sequence[np.ndarray]], np.ndarray]


class DBeta(CrossModalInference):
    """A model, its processor and its reference panel.

    Args:
        model: the two encoders, or a complete model, which is set to evaluation mode.
        processor: the one that belongs to the model.
        panel: (n, D) unit-length embeddings of reference recordings; None for no percentiles.
        batch_size: windows or texts per model batch.
        text_embeddings: embeddings (D,) of texts computed before, by text.
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

    @functools.cached_property
    def _panels(self) -> LeadPanels:
        return LeadPanels(self)

    def _embed_panel(self, alive: np.ndarray) -> np.ndarray:
        return self._panels.embeddings(alive)

    def __repr__(self) -> str:
        """A one-line summary."""
        precision = str(self.model.dtype).removeprefix("torch.").removeprefix("q")
        panel = "no reference panel" if self.panel is None else f"a reference panel of {len(self.panel)} ECGs"
        return f"DBeta({self.model.config.hidden_size}-d embedding in {precision} on {self.model.device}, {panel})"

    def __sklearn_clone__(self) -> DBeta:
        """Itself, so that clones of a scikit-learn estimator share the model."""
        return self

    def embed(self, ecgs: ECG | str | Path | Iterable[ECG | str | Path]) -> np.ndarray:
        """Embed recordings.

        Recordings longer than the model's input are cut into windows (see `embed_files`) whose embeddings are averaged.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.

        Returns:
            (n, D) float32, output of the uni-modal pooler (paper section 3.2), not normalised.

        Raises:
            DBetaError: a file cannot be read or a recording cannot be used.
        """
        embeds = [one.embedding[None] for one in self._usable(ecgs)]
        return np.concatenate([np.zeros((0, self.model.config.hidden_size), np.float32), *embeds])

    def _usable(self, ecgs: ECG | str | Path | Iterable[ECG | str | Path], **options: Any) -> Iterator[Embedded]:
        """Embed recordings, passing on their warnings and raising their errors."""
        for one in self.embed_files([ecgs] if isinstance(ecgs, ECG | str | Path) else ecgs, **options):
            warn_all(one.notes)
            if one.error is not None:
                raise DBetaError(one.error)
            yield one

    def embed_files(
        self,
        files: Iterable[ECG | str | Path],
        *,
        workers: int | None = None,
        watch: Watch | None = None,
        compute: Compute | None = None,
        **options: Any,
    ) -> Iterator[Embedded]:
        """Embed recordings one after the other, reading ahead in worker processes if there are many files.

        A recording longer than the model's input is cut into consecutive windows; if more than a second is left over,
        one more window ends at the recording's end. Long files are read in pieces of a few minutes to save memory.

        Args:
            files: what `read_ecg` can read, or ECGs.
            workers: number of reading processes (see `prepare_files`).
            watch: called with a long recording's name, its windows done, and its windows in total.
            compute: what to compute instead of embeddings, a row for each window.
            **options: keyword arguments of `read_ecg`.

        Yields:
            The embeddings of each recording, in order; if one cannot be used, its `error` says why.
        """
        for group in self.embed_groups(files, workers=workers, watch=watch, compute=compute, **options):
            yield from group

    def embed_groups(
        self,
        files: Iterable[ECG | str | Path],
        *,
        workers: int | None = None,
        watch: Watch | None = None,
        compute: Compute | None = None,
        **options: Any,
    ) -> Iterator[list[Embedded]]:
        """As `embed_files`, in the groups that go through the model together (see `dbeta.inference.embed`)."""
        compute, wanted = compute or self.embed_signals, self.processor.input_format
        group = Group(self.batch_size)
        for piece in prepare_files(files, wanted, workers=workers, **options):
            recording = group.add(piece)
            while windows := group.take_batch():
                group.store(compute(windows))
            if watch is not None and piece.duration > 0 and (recording.pieces > 1 or not piece.last):
                done, total = (round(seconds / wanted.duration) for seconds in (piece.end, piece.duration))
                watch(recording.result.name, done, total)
            if group.complete:
                yield self._close(group, compute)
                group = Group(self.batch_size)
        if group.recordings:
            yield self._close(group, compute)

    def _close(self, group: Group, compute: Compute) -> list[Embedded]:
        """Embed the windows of a group that did not fill a batch."""
        if windows := group.take_batch(partial=True):
            group.store(compute(windows))
        return group.close()

    def embed_signals(self, signals: Sequence[np.ndarray]) -> np.ndarray:
        """Embed one batch of recordings as `processor.signal` returns them: (n, D) float32."""
        return embed_signals(self.model, signals)

    def embed_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """Embed texts: (n, D) float32, cached by text.

        Raises:
            DBetaError: a text is empty.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            return np.zeros((0, self.model.config.hidden_size), np.float32)
        new = [text for text in dict.fromkeys(texts) if text not in self._text_cache]
        self._text_cache.update(zip(new, embed_texts(self.model, self.processor, new, self.batch_size), strict=True))
        return np.stack([self._text_cache[text] for text in texts])

    def ecg_embedding_fingerprint(self) -> str:
        """Hash of everything that decides ECG embeddings: weights, settings and precision."""
        inner = self.model
        if isinstance(inner, DualEncoder):
            parts: list[torch.nn.Module] = [inner.ecg_tower]
        else:
            parts = [inner.ecg_encoder, inner.ecg_proj, inner.ecg_pooler]
        about = (type(inner).__name__, inner.dtype, self.processor.input_format)
        return ecg_embedding_fingerprint(parts, inner.config, about)

    def checkpoint_fingerprint(self) -> str:
        """Hash of the checkpoint's weights and input format, whatever the precision."""
        if not isinstance(self.model, DualEncoder):
            return self.ecg_embedding_fingerprint()
        return checkpoint_fingerprint(self.model.weights, self.processor.input_format)

    def embed_condition(self, condition: Condition | str) -> np.ndarray:
        """The direction of a condition: (D,) float32 of unit length, the mean over its prompts.

        For a condition in `conditions.yaml`, its synonyms and clinical description are prompts, too; any other text is
        its own prompt.
        """
        known = find_condition(condition) if isinstance(condition, str) else condition
        prompts = [str(condition)] if known is None else known.prompts
        units = _unit(self.embed_text(prompts))
        return _unit(units.mean(axis=0))

    def diagnose(
        self,
        ecgs: ECG | str | Path | Sequence[ECG | str | Path],
        conditions: str | Sequence[str] | None = None,
        *,
        windows: bool = False,
    ) -> pd.DataFrame:
        """Rank conditions by how well they match each recording.

        A recording longer than the model's input is scored by the mean of its windows' embeddings, and per window.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.
            conditions: one or several, in words; by default about twenty common ones. A string is one condition.
            windows: one row per window and condition, instead of one per recording and condition.

        Returns:
            Columns `record`, `condition`, `score` (cosine of the embeddings, −1 to 1), `percentile` (percentage of
            the reference panel that matches the condition less closely; NaN without a panel) and `quality` of the
            signal ("good" or "fair"), best score first within each record. If a recording has several windows, also
            `peak`, the best score among its windows, and `peak_at`, the start of that window in seconds. With
            `windows`, `start` in seconds follows `record`. For a recording that lacks leads, percentiles are those
            among simulated ECGs that lack the same ones, and a condition that the others cannot show has NaN for score
            and percentile, comes last, and causes a warning. A recording without usable signal (`dbeta.signal.quality`)
            has no rows and causes a warning; unusable windows are left out.

        Raises:
            DBetaError: a file or recording cannot be used, or a condition is empty.
        """
        question = self.ask(conditions)
        recordings = list(self._usable(ecgs))
        warn_all(filter(None, map(question.note, recordings)))
        return tabulate(question, recordings, windows=windows)

    def search(
        self, query: str | ECG | Path, index: Index | str | Path, k: int = 10, *, rerank_first: int = 0, **options: Any
    ) -> pd.DataFrame:
        """Find the recordings of an index that match a text, or resemble a recording, best.

        Args:
            query: text, of which a condition in `conditions.yaml` is searched in all its wordings; or a recording, as
                an `ECG` or a `Path`.
            index: a folder that `dbeta index` wrote, or a loaded `Index`.
            k: number of recordings to return.
            rerank_first: number of recordings with the best scores that are read again and sorted by the probability
                that the text belongs to them (see `match`); 0 for none.
            **options: keyword arguments of `read_ecg`, if the query is a file.

        Returns:
            Columns `file`, `record`, `windows`, `warnings` and `score` (cosine of the embeddings), best first. With
            `rerank_first`, also `match`, the probability, best first among those.

        Raises:
            DBetaError: the folder is not an index, it was built with another model, the text is empty, or the recording
                cannot be used; with `rerank_first`, the query is no text, the model has no fusion half, or a recording
                of the index is not where it was.
        """
        found = index if isinstance(index, Index) else Index.load(index)
        found.check(self.checkpoint_fingerprint())
        if isinstance(query, ECG | Path):
            if rerank_first:
                raise DBetaError("re-ranking compares recordings with a text; search for words, or leave it out")
            (one,) = self._usable(query, **options)
            if one.quality == UNUSABLE:
                raise DBetaError(f"{one.name}: has no usable signal to search for; give another recording")
            return found.nearest(_unit(one.embedding), k)
        if is_file(Path(query)):
            message = f"{query} is a file but is searched as words; for recordings like it, pass a Path"
            warnings.warn(message, DBetaWarning, stacklevel=2)
        if rerank_first < 1:
            return found.nearest(self.embed_condition(query), k)
        self.model.require_fusion()
        return rerank(self, found.nearest(self.embed_condition(query), max(k, rerank_first)), query, rerank_first)[:k]

    def ask(self, conditions: str | Sequence[str] | None = None) -> Question:
        """Embed conditions, and score the reference panel for them (see `diagnose`).

        Raises:
            DBetaError: a condition is empty, or none is named.
        """
        conditions = [conditions] if isinstance(conditions, str) else conditions
        asked: Sequence[Condition | str] = default_conditions() if conditions is None else list(conditions)
        if not asked:
            raise DBetaError("no condition was named; name at least one, such as 'atrial fibrillation'")
        if any(not isinstance(one, str | Condition) for one in asked):
            raise DBetaError("a condition must be text, such as 'atrial fibrillation'")
        for one in asked:
            if isinstance(one, str) and (parts := known_parts(one, ",;")):
                message = f"{one!r} is taken as one condition; for several, pass a list: {parts}"
                warnings.warn(message, DBetaWarning, stacklevel=3)
        names = [one if isinstance(one, str) else one.name for one in asked]
        directions = np.stack([self.embed_condition(one) for one in asked])  # (C, D)
        panel = None if self.panel is None else np.sort(self.panel.numpy() @ directions.T, axis=0)  # (panel, C)
        known = [find_condition(one) if isinstance(one, str) else one for one in asked]
        few = None if panel is None else self._embed_panel
        return Question(names, directions, panel, tuple(self.processor.leads), known, few)


def _unit(x: np.ndarray) -> np.ndarray:
    return normalize(torch.from_numpy(x), dim=-1).numpy()
