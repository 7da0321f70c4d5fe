"""DBeta: a checkpoint ready for use. ECGs in; embeddings and ranked findings out.

Special here: a score alone tells a reader nothing, so each comes with its percentile among a reference panel of
recordings whose embeddings lie beside the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from dbeta.conditions.registry import Condition, default_conditions, find_condition
from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.inference.embed import Embedded, Group, Watch
from dbeta.inference.findings import Question, tabulate
from dbeta.inference.loader import prepare_files
from dbeta.inference.search import Index
from dbeta.model.dual_encoder import DualEncoder
from dbeta.model.embed import embed_signals, embed_texts
from dbeta.model.processor import DBetaProcessor
from dbeta.signal.windows import warn_all
from dbeta.utils.fingerprints import checkpoint_fingerprint, ecg_embedding_fingerprint

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

        One longer than the model's input is cut into windows, as `embed_files` says; its embedding is their mean.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.

        Returns:
            (n, D) float32, as the uni-modal pooler gives them (paper section 3.2): not of unit length.

        Raises:
            DBetaError: a file cannot be read or a recording cannot be used.
        """
        embeds = [one.embedding[None] for one in self._usable(ecgs)]
        return np.concatenate([np.zeros((0, self.model.config.hidden_size), np.float32), *embeds])

    def _usable(self, ecgs: ECG | str | Path | Iterable[ECG | str | Path]) -> Iterator[Embedded]:
        """Each recording's embeddings, with what it is to be warned of."""
        for one in self.embed_files([ecgs] if isinstance(ecgs, ECG | str | Path) else ecgs):
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
        **options: Any,
    ) -> Iterator[Embedded]:
        """Embed recordings one after the other, reading ahead in worker processes where there are many files.

        A recording longer than the model's input is cut into windows, one after the other; where more than a second is
        left, one more ends where the recording ends. Files are read in pieces, so that a day needs no more memory than
        some minutes.

        Args:
            files: what `read_ecg` can read, or ECGs.
            workers: processes that read (see `prepare_files`).
            watch: is called with a long recording's name, its windows that are done, and all of them.
            **options: those of `read_ecg`.

        Yields:
            For each recording, in order, its embeddings; where it cannot be used, `error` says why, and the others go
            on.
        """
        for group in self.embed_groups(files, workers=workers, watch=watch, **options):
            yield from group

    def embed_groups(
        self,
        files: Iterable[ECG | str | Path],
        *,
        workers: int | None = None,
        watch: Watch | None = None,
        **options: Any,
    ) -> Iterator[list[Embedded]]:
        """As `embed_files`, in the groups that go through the model together (see `dbeta.inference.embed`)."""
        wanted = self.processor.input_format
        group = Group(self.batch_size)
        for piece in prepare_files(files, wanted, workers=workers, **options):
            recording = group.add(piece)
            while windows := group.take_batch():
                group.store(self.embed_signals(windows))
            if watch is not None and piece.duration > 0 and (recording.pieces > 1 or not piece.last):
                done, total = (round(seconds / wanted.duration) for seconds in (piece.end, piece.duration))
                watch(recording.result.name, done, total)
            if group.complete:
                yield self._close(group)
                group = Group(self.batch_size)
        if group.recordings:
            yield self._close(group)

    def _close(self, group: Group) -> list[Embedded]:
        """Embed the windows of a group that did not fill a batch."""
        if windows := group.take_batch(partial=True):
            group.store(self.embed_signals(windows))
        return group.close()

    def embed_signals(self, signals: Sequence[np.ndarray]) -> np.ndarray:
        """Embed one batch of recordings as `processor.signal` returns them: (n, D) float32."""
        return embed_signals(self.model, signals)

    def embed_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """Embed texts: (n, D) float32, remembered for the next time.

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
        """A name for how this model embeds ECGs: weights, settings and precision."""
        inner = self.model
        if isinstance(inner, DualEncoder):
            parts: list[torch.nn.Module] = [inner.ecg_tower]
        else:
            parts = [inner.ecg_encoder, inner.ecg_proj, inner.ecg_pooler]
        about = (type(inner).__name__, inner.dtype, self.processor.input_format)
        return ecg_embedding_fingerprint(parts, inner.config, about)

    def checkpoint_fingerprint(self) -> str:
        """A name for the checkpoint's weights and input, whatever they are computed in."""
        if not isinstance(self.model, DualEncoder):
            return self.ecg_embedding_fingerprint()
        return checkpoint_fingerprint(self.model.weights, self.processor.input_format)

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
        *,
        windows: bool = False,
    ) -> pd.DataFrame:
        """How well each condition describes each recording.

        A recording longer than the model's input is asked as a whole, by the mean of its windows' embeddings, and
        window by window.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.
            conditions: one or several, in words; by default about twenty common ones. A string is one condition.
            windows: a row for each window and condition instead of each recording and condition.

        Returns:
            Columns `record`, `condition`, `score` (cosine of the embeddings, −1 to 1), `percentile` (share of the
            reference panel that the condition describes less well, 0 to 100; NaN without a panel) and `quality` of the
            signal ("good" or "fair"), best score first within each record. Where a recording has several windows, also
            `peak`, the best score among its windows, and `peak_at`, where that window starts in seconds. With
            `windows`, `start` in seconds follows `record`. A recording without usable signal (`dbeta.signal.quality`)
            has no rows, and a warning says why; windows without are left out.

        Raises:
            DBetaError: a file or recording cannot be used, or a condition is empty.
        """
        question = self.ask(conditions)
        return tabulate(question, list(self._usable(ecgs)), windows=windows)

    def search(self, text: str, index: Index | str | Path, k: int = 10) -> pd.DataFrame:
        """The recordings of an index that words describe best.

        Args:
            text: in words; a condition that `conditions.yaml` knows is asked for in all its wordings.
            index: a folder that `dbeta index` made, or an `Index` of it, which need not be read again.
            k: how many; fewer where the index has fewer.

        Returns:
            Columns `file`, `record`, `windows`, `warnings` and `score` (cosine of the embeddings), best first.

        Raises:
            DBetaError: the folder is no index, another model made it, or the text is empty.
        """
        found = index if isinstance(index, Index) else Index.load(index)
        found.check(self.checkpoint_fingerprint())
        return found.nearest(self.embed_condition(text), k)

    def ask(self, conditions: str | Sequence[str] | None = None) -> Question:
        """The conditions as directions, beside the reference panel's scores; see `diagnose`.

        Raises:
            DBetaError: a condition is empty, or none is named.
        """
        conditions = [conditions] if isinstance(conditions, str) else conditions
        asked: Sequence[Condition | str] = default_conditions() if conditions is None else list(conditions)
        if not asked:
            raise DBetaError("no condition was named; name at least one, such as 'atrial fibrillation'")
        if any(not isinstance(one, str | Condition) for one in asked):
            raise DBetaError("a condition is named in words, such as 'atrial fibrillation'")
        names = [one if isinstance(one, str) else one.name for one in asked]
        directions = np.stack([self.embed_condition(one) for one in asked])  # (C, D)
        panel = None if self.panel is None else np.sort(self.panel.numpy() @ directions.T, axis=0)  # (panel, C)
        return Question(names, directions, panel)


def _unit(x: np.ndarray) -> np.ndarray:
    return normalize(torch.from_numpy(x), dim=-1).numpy()
