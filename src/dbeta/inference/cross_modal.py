"""Methods of `DBeta` that need a model's fusion half: match, fuse, reconstruct, and re-rank what a search found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.inference.embed import Embedded
from dbeta.inference.reconstruct import reconstruct
from dbeta.io.read import as_ecg, read_ecg
from dbeta.signal.quality import UNUSABLE

_Recordings = ECG | str | Path | Iterable[ECG | str | Path]


@dataclass
class Matcher:
    """Texts to compare with recordings.

    Attributes:
        texts: as the user wrote them.
        probabilities: windows as `processor.signal` returns them → (windows, texts) float32.
    """

    texts: list[str]
    probabilities: Callable[[Sequence[np.ndarray]], np.ndarray]

    def table(self, one: Embedded, name: str) -> pd.DataFrame:
        """The rows of one recording, of which `one.windows` holds the probabilities of each window.

        Returns:
            The columns that `DBeta.match` describes, always with `peak` and `peak_at`; a recording without usable
            signal has one row without text and probability.
        """
        if one.quality == UNUSABLE:
            return pd.DataFrame([{"record": name, "text": None, "probability": None, "quality": UNUSABLE}])
        used = one.qualities != UNUSABLE
        each, starts = one.windows[used], one.starts[used]  # (n, texts), (n,)
        mean = each.mean(axis=0, dtype=np.float64)
        order = np.argsort(-mean, kind="stable")
        columns = {
            "record": name,
            "text": np.array(self.texts, object)[order],
            "probability": mean[order],
            "quality": one.quality,
            "peak": each.max(axis=0)[order].astype(float),
            "peak_at": starts[each.argmax(axis=0)[order]],
        }
        return pd.DataFrame(columns)


class CrossModalInference:
    """The methods; `DBeta` inherits them."""

    if TYPE_CHECKING:
        embed_files: Any
        model: Any
        processor: Any
        batch_size: int
        _usable: Any

    def matcher(self, texts: str | Sequence[str]) -> Matcher:
        """Encode texts once, to compare them with many recordings.

        Raises:
            DBetaError: the model has no fusion half, a text is empty, or there is none.
        """
        self.model.require_fusion()
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise DBetaError("no text was given; give at least one, such as 'sinus rhythm. normal ecg.'")
        if any(not text.strip() for text in texts):
            raise DBetaError("a text is empty; write what a report would say, such as 'sinus rhythm. normal ecg.'")
        stream, mask = self._text_stream(texts)

        @torch.inference_mode()
        def probabilities(windows: Sequence[np.ndarray]) -> np.ndarray:
            ecgs = self.model.ecg_stream(torch.from_numpy(np.stack(windows)).to(self.model.device))
            return self.model.match_streams(ecgs, stream, mask, self.batch_size).cpu().numpy()

        return Matcher(texts, probabilities)

    @torch.inference_mode()
    def _text_stream(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token features (texts, T, D) and their mask (texts, T)."""
        tokens = {key: value.to(self.model.device) for key, value in self.processor.tokens(texts).items()}
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        parts = zip(ids.split(self.batch_size), mask.split(self.batch_size), strict=True)
        return torch.cat([self.model.text_stream(*part) for part in parts]), mask

    def match(self, ecgs: _Recordings, texts: str | Sequence[str]) -> pd.DataFrame:
        """Compute the probability that each text belongs to each recording (ECG-text matching).

        Unlike the score of `diagnose`, which compares two embeddings, it comes from the fusion, in which every part of
        the text sees every part of the ECG. A recording longer than the model's input gets the mean over its windows.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.
            texts: one or several, as a report would say it.

        Returns:
            Columns `record`, `text`, `probability` (0 to 1) and `quality`, the most probable text first within each
            record. If a recording has several windows, also `peak`, the highest probability among its windows, and
            `peak_at`, the start of that window in seconds. A recording without usable signal has no rows.

        Raises:
            DBetaError: the model has no fusion half, a file or recording cannot be used, or a text is empty.
        """
        matcher = self.matcher(texts)
        found = list(self._usable(ecgs, compute=matcher.probabilities))
        tables = [
            matcher.table(one, one.name or f"recording {i}")
            for i, one in enumerate(found, 1)
            if one.quality != UNUSABLE
        ]
        if not tables:
            return pd.DataFrame(columns=["record", "text", "probability", "quality"])
        table = pd.concat(tables, ignore_index=True)
        return table.drop(columns=["peak", "peak_at"]) if all(len(one.starts) == 1 for one in found) else table

    def match_matrix(self, ecgs: _Recordings, texts: str | Sequence[str]) -> np.ndarray:
        """As `match`, as an array in the order given: (recordings, texts) float32; NaN without usable signal.

        Raises:
            DBetaError: as for `match`.
        """
        matcher = self.matcher(texts)
        rows = [np.zeros((0, len(matcher.texts)), np.float32)]
        for one in self._usable(ecgs, compute=matcher.probabilities):
            used = one.windows[one.qualities != UNUSABLE]
            rows.append(used.mean(axis=0)[None] if len(used) else np.full((1, len(matcher.texts)), np.nan, np.float32))
        return np.concatenate(rows)

    def fuse(self, ecgs: _Recordings, texts: str | Sequence[str]) -> np.ndarray:
        """Compute fused features of recordings and texts.

        A recording longer than the model's input gets the mean over its windows.

        Args:
            ecgs: one or several, each an `ECG` or a file that `read_ecg` can read.
            texts: one text for all recordings, or a list with one for each.

        Returns:
            (n, 2·D) float32, the class feature of the text, then that of the ECG.

        Raises:
            DBetaError: the model has no fusion half, a file or recording cannot be used, a text is empty, or there is
                not one text for each recording.
        """
        self.model.require_fusion()
        several = [ecgs] if isinstance(ecgs, ECG | str | Path) else list(ecgs)
        pairs = [texts] * len(several) if isinstance(texts, str) else list(texts)
        if len(pairs) != len(several):
            raise DBetaError(f"{len(several)} recordings and {len(pairs)} texts; give one text for each, or one")
        if any(not text.strip() for text in pairs):
            raise DBetaError("a text is empty; write what a report would say, such as 'sinus rhythm. normal ecg.'")
        rows = [np.zeros((0, 2 * self.model.config.hidden_size), np.float32)]
        groups = (
            [(several, texts)]
            if isinstance(texts, str)
            else [([ecg], text) for ecg, text in zip(several, pairs, strict=True)]
        )
        for some, text in groups:
            tokens = {key: value.to(self.model.device) for key, value in self.processor.tokens([text]).items()}
            compute = self._fuser(tokens)
            rows += [one.embedding[None] for one in self._usable(some, compute=compute)]
        return np.concatenate(rows)

    def _fuser(self, tokens: dict[str, torch.Tensor]) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
        @torch.inference_mode()
        def compute(windows: Sequence[np.ndarray]) -> np.ndarray:
            batch = torch.from_numpy(np.stack(windows)).to(self.model.device)
            return self.model.fuse(batch, **tokens).float().cpu().numpy()

        return compute

    def reconstruct(
        self,
        ecg: ECG | str | Path,
        leads: str | Sequence[str] | None = None,
        *,
        text: str | None = None,
        **options: Any,
    ) -> ECG:
        """Fill in what a recording lacks: missing leads, dead stretches, or the leads asked for.

        A stretch is dead if its samples are missing (NaN), or if a lead is flat for a second while another is not.
        Limb leads that follow from two measured ones are computed; gaps of up to 40 ms are interpolated; the rest is
        predicted by the model from what was recorded. The amplitude of a lead that is missing altogether is a guess
        from the sizes of the others (typical error: a factor of 1.3). **What is filled in is made up: plausible, not
        measured, and no basis for a finding.**

        Args:
            ecg: an `ECG`, or a file that `read_ecg` can read.
            leads: leads to replace by a prediction from the others, even though they were recorded.
            text: what is known of the recording; by default its report.
            **options: keyword arguments of `read_ecg`.

        Returns:
            The twelve leads at the recording's own sampling rate and length. `meta["reconstructed"]`, (12, samples)
            bool, is True for the samples that were filled in; all others are unchanged.

        Raises:
            DBetaError: something must be predicted and the model has no fusion half, the recording cannot be used, or
                a lead is unknown.

        Warns:
            DBetaWarning: a stretch stays missing because too little was recorded around it.
        """
        whole = read_ecg(ecg, **options) if isinstance(ecg, str | Path) else as_ecg(ecg)
        return reconstruct(self, whole, [leads] if isinstance(leads, str) else leads, text)  # type: ignore[arg-type]


def rerank(model: CrossModalInference, hits: pd.DataFrame, text: str, count: int) -> pd.DataFrame:
    """Sort the first recordings that a search found by how probably the text belongs to them.

    Args:
        model: with a fusion half.
        hits: from `Index.nearest`, best first.
        text: what was looked for.
        count: number of recordings to sort; the others follow in their old order.

    Returns:
        The hits with a column `match`, NaN for those that were not sorted.

    Raises:
        DBetaError: the model has no fusion half, or a recording is not where it was when the index was built.
    """
    top = hits.head(count)
    files: list[ECG | str | Path] = []
    for file, record in zip(top["file"], top["record"], strict=True):
        if not Path(file).exists():
            raise DBetaError(
                f"{file}: is not there, and re-ranking reads the recordings again; run the command in the folder in "
                "which the index was built, or leave out --rerank"
            )
        files.append(read_ecg(file, record=record) if record not in ("", Path(file).name) else file)
    matched = model.match_matrix(files, text)[:, 0].astype(float)
    order = np.argsort(-np.nan_to_num(matched, nan=-1.0), kind="stable")
    sorted_top = top.assign(match=matched).iloc[order]
    rest = hits.iloc[len(top) :].assign(match=np.nan)
    return pd.concat([sorted_top, rest], ignore_index=True) if len(rest) else sorted_top.reset_index(drop=True)
