"""Corpus rows → one pretraining batch: which text each ECG gets, and what is hidden from the model.

Special here: a misaligned pair really carries another record's text, and the sign of every ECG-text pair of the batch
follows from what the text states (entailment) instead of from the diagonal alone.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dbeta.corpus.reports import write_report
from dbeta.corpus.store import decode_signal
from dbeta.ecg import FLAT
from dbeta.errors import DBetaWarning
from dbeta.model import DBetaConfig
from dbeta.model.losses import IGNORED, ets_labels
from dbeta.processing import DBetaProcessor


@dataclass(frozen=True)
class Text:
    """A text of a batch and what is known of it.

    Attributes:
        text: the words.
        source: index of the batch's row that it was made from.
        states: the findings it states, or None for an original report, whose content is not known.
    """

    text: str
    source: int
    states: frozenset[str] | None


class PretrainCollator:
    """Makes batches for `DBetaModel.forward`; all randomness follows from torch's global seed.

    Args:
        processor: the model's.
        config: the model's; gives the masking ratios.
        written_share: probability that a record's text is a sentence written from its findings, not its report.
        misaligned_share: share of pairs whose text is another record's.
        entailment: whether pair signs follow from findings; otherwise +1 on the aligned diagonal and for equal texts.
        gain_jitter: standard deviation of a random log-gain per lead, against overfitting to voltages.
        crop: probability that a record is cut to a random window of half its length or more, padded as short
            recordings are: against overfitting, and so that short recordings are nothing new.
        max_stated: findings that a written sentence states at most.
    """

    def __init__(
        self,
        processor: DBetaProcessor,
        config: DBetaConfig,
        *,
        written_share: float = 0.5,
        misaligned_share: float = 0.5,
        entailment: bool = True,
        gain_jitter: float = 0.0,
        crop: float = 0.0,
        max_stated: int = 3,
    ) -> None:
        """Store the settings.

        Raises:
            ValueError: a share or probability is not between 0 and 1.
        """
        shares = {"written_share": written_share, "misaligned_share": misaligned_share, "crop": crop}
        for name, share in shares.items():
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ValueError(f"{name} should lie between 0 and 1, not {share!r}")
        self.processor = processor
        self.config = config
        self.written_share = written_share
        self.misaligned_share = misaligned_share
        self.entailment = entailment
        self.gain_jitter = gain_jitter
        self.crop = crop
        self.max_stated = max_stated

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Batch corpus rows; keys are arguments of `DBetaModel.forward`, shapes as there."""
        rng = random.Random(int(torch.randint(2**62, ())))
        findings = [frozenset(row["findings"]) for row in rows]
        reports = [row["report"] for row in rows]
        texts = [self._text(i, row, rng) for i, row in enumerate(rows)]
        texts, aligned = self._misalign(texts, findings, reports, rng)

        signals = torch.stack([self._signal(row, rng) for row in rows])
        if self.gain_jitter:
            signals = signals * (torch.randn(*signals.shape[:2], 1) * self.gain_jitter).exp()
        tokens = self.processor.tokens([text.text for text in texts])
        masked_ids, mlm_labels = mask_tokens(
            tokens["input_ids"],
            self.processor.tokenizer,
            self.config.text_mask_ratio,
        )
        return {
            "ecg": mask_leads(signals, self.config.lead_mask_prob),
            "target_ecg": signals,
            "ids_restore": random_restore(len(rows), self.config.n_tokens),
            "input_ids": masked_ids,
            "target_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "mlm_labels": mlm_labels,
            "aligned": aligned,
            "ets_labels": self._signs(texts, findings, reports, aligned),
        }

    def _signal(self, row: dict[str, Any], rng: random.Random) -> Tensor:
        ecg = decode_signal(row)
        if rng.random() < self.crop:
            samples = ecg.signal.shape[1]
            length = rng.randint(samples // 2, samples)
            start = rng.randint(0, samples - length)
            window = ecg.signal[:, start : start + length]
            if (np.ptp(window, axis=1) >= FLAT).any():  # else nothing would be left of the record
                ecg.signal = window
        with warnings.catch_warnings():
            # flat leads and short recordings were reported when the corpus was built
            warnings.simplefilter("ignore", DBetaWarning)
            return torch.from_numpy(self.processor.signal(ecg))

    def _text(self, i: int, row: dict[str, Any], rng: random.Random) -> Text:
        findings = list(row["findings"])
        if findings and (not row["report"] or rng.random() < self.written_share):
            states = rng.sample(findings, rng.randint(1, min(len(findings), self.max_stated)))
            return Text(write_report(states, rng), i, frozenset(states))
        return Text(row["report"], i, None)

    def _misalign(
        self, texts: list[Text], findings: Sequence[frozenset[str]], reports: Sequence[str], rng: random.Random
    ) -> tuple[list[Text], Tensor]:
        """Give a random share of records a text of the batch that does not hold for them; (B,) bool of the others."""
        chosen = list(texts)
        aligned = torch.ones(len(texts), dtype=torch.bool)
        share = self.misaligned_share * len(texts)
        for i in rng.sample(range(len(texts)), int(share + rng.random())):
            others = [text for text in texts if pair_sign(text, i, findings, reports) < 0]
            if others:
                chosen[i] = rng.choice(others)
                aligned[i] = False
        return chosen, aligned

    def _signs(
        self, texts: Sequence[Text], findings: Sequence[frozenset[str]], reports: Sequence[str], aligned: Tensor
    ) -> Tensor:
        if self.entailment:
            pairs = [[pair_sign(text, i, findings, reports) for text in texts] for i in range(len(texts))]
            return torch.tensor(pairs, dtype=torch.float32)
        number = {text: i for i, text in enumerate(dict.fromkeys(one.text for one in texts))}
        return ets_labels(aligned, torch.tensor([number[one.text] for one in texts]))


def pair_sign(text: Text, i: int, findings: Sequence[frozenset[str]], reports: Sequence[str]) -> int:
    """Whether a text holds for record `i` of a batch: +1 yes, −1 no, 0 not known.

    A text that states findings holds for every record that has them all. A report holds for its own record and for
    those with the same report; where the other record has all findings of the report's record, nobody knows.
    """
    if text.states is not None:
        return 1 if text.states <= findings[i] else -1
    if text.source == i or reports[text.source] == reports[i]:
        return 1
    known = findings[text.source]
    return 0 if known and known <= findings[i] else -1


def mask_leads(ecg: Tensor, probability: float) -> Tensor:
    """Random lead masking: each lead of (B, leads, samples) is zeroed with this probability; one always stays."""
    hidden = torch.rand(ecg.shape[:2]) < probability  # (B, leads)
    spared = torch.randint(ecg.shape[1], (len(ecg), 1))
    hidden = hidden.scatter(1, spared, False)
    return ecg.masked_fill(hidden[..., None], 0.0)


def random_restore(batch: int, n_tokens: int) -> Tensor:
    """A random token permutation per record, inverted, as `ECGEncoder.encode` takes it: (batch, tokens) int64."""
    return torch.rand(batch, n_tokens).argsort(dim=1).argsort(dim=1)


def mask_tokens(input_ids: Tensor, tokenizer: Any, ratio: float) -> tuple[Tensor, Tensor]:
    """BERT's masking (Devlin et al. 2019, section 3.1): of the chosen tokens 80 % are hidden, 10 % random, 10 % kept.

    Args:
        input_ids: (B, T) int64.
        tokenizer: gives special tokens; its mask token, or T5's free `<extra_id_0>` where it has none.
        ratio: share of the ordinary tokens to choose.

    Returns:
        Masked ids and labels, both (B, T); labels are −100 where nothing was chosen.
    """
    mask_id = tokenizer.mask_token_id
    if mask_id is None:
        mask_id = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    special = torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids))
    chosen = (torch.rand(input_ids.shape) < ratio) & ~special
    labels = input_ids.masked_fill(~chosen, IGNORED)
    roll = torch.rand(input_ids.shape)
    masked = input_ids.masked_fill(chosen & (roll < 0.8), mask_id)
    random_ids = torch.randint(len(tokenizer), input_ids.shape)
    return torch.where(chosen & (roll >= 0.9), random_ids, masked), labels
