"""Corpus rows → one pretraining batch: which text each ECG gets, and what is hidden from the model.

Special here: all that is random about a row follows from the run's seed and the row's position in it, so that a batch
is the same in whichever process, worker or resumed run it is made; and a misaligned pair really carries another text.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dbeta.conditions.wordings import wordings, write_report
from dbeta.corpus.negative_search import record_text
from dbeta.corpus.negatives import Negatives
from dbeta.corpus.store import decode_signal
from dbeta.ecg import FLAT, LEADS
from dbeta.errors import DBetaWarning
from dbeta.model import DBetaConfig
from dbeta.model.losses import IGNORED
from dbeta.model.processor import DBetaProcessor
from dbeta.signal.preprocess import prepare_signal
from dbeta.training.pairs import RULES, Record, Text, batch_signs, encode_facts, pair_sign

#: A report that is drawn for a negative and turns out to hold is drawn again so often; then the pair stays aligned.
DRAWS = 4
#: Texts whose tokens a loader process keeps, some hundred bytes each.
REMEMBERED = 100_000


class PretrainCollator:
    """Makes batches; `finish_batch` then gives what `DBetaModel.forward` takes.

    Args:
        processor: the model's.
        config: the model's; gives the masking ratios.
        decided: for each corpus the findings that it decides for its records (`vocabulary` of `corpus.json`); by
            default those that occur in the batch.
        negatives: for each corpus its table of farthest reports (N3S); by default misaligned texts come from the batch.
        seed: of the run.
        global_batch: records that all processes use between two positions of the same step.
        written_share: probability that a text is a sentence written from its record's findings, not its report.
        misaligned_share: probability that a record gets a text that does not hold for it (paper: 1/2).
        negatives_seen: whether the model sees that text; the published code shows the record's own text and calls the
            pair misaligned all the same.
        pairs: how the sign of a pair is found, "pair", "equal" or "entailment" (`dbeta.training.pairs`).
        prompts: short single-finding texts that are added to each batch for ETS, all findings at most.
        gain_jitter: standard deviation of a random log-gain per lead, against overfitting to voltages.
        crop: probability that a record is cut to a random window of half its length or more, padded as short
            recordings are: against overfitting, and so that short recordings are nothing new.
        max_stated: findings that a written sentence states at most.
        denied_share: probability that a written sentence also says of a finding or two that they are absent.
    """

    def __init__(
        self,
        processor: DBetaProcessor,
        config: DBetaConfig,
        *,
        decided: Sequence[Iterable[str]] | None = None,
        negatives: Sequence[Negatives] | None = None,
        seed: int = 0,
        global_batch: int = 1,
        written_share: float = 0.5,
        misaligned_share: float = 0.5,
        negatives_seen: bool = True,
        pairs: str = "entailment",
        prompts: int = 0,
        gain_jitter: float = 0.0,
        crop: float = 0.0,
        max_stated: int = 3,
        denied_share: float = 0.0,
    ) -> None:
        """Store the settings.

        Raises:
            ValueError: a share or probability is not between 0 and 1, or another setting is out of its range.
        """
        shares = {"written_share": written_share, "misaligned_share": misaligned_share, "crop": crop}
        shares |= {"denied_share": denied_share}
        for name, share in shares.items():
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ValueError(f"{name} should lie between 0 and 1, not {share!r}")
        if not isinstance(negatives_seen, bool):
            raise ValueError(f"negatives_seen is true or false, not {negatives_seen!r}")
        if pairs not in RULES:
            raise ValueError(f"pairs is one of {', '.join(RULES)}, not {pairs!r}")
        for name, count, least in (("prompts", prompts, 0), ("max_stated", max_stated, 1)):
            if not isinstance(count, int) or count < least:
                raise ValueError(f"{name} should be a whole number of at least {least}, not {count!r}")
        if not isinstance(gain_jitter, int | float) or not 0 <= gain_jitter < float("inf"):
            raise ValueError(f"gain_jitter should be at least 0, not {gain_jitter!r}")
        self.processor = processor
        self.config = config
        self.input_format = processor.input_format
        self.decided = None if decided is None else [frozenset(one) for one in decided]
        self.vocabulary = None if self.decided is None else sorted(frozenset().union(*self.decided))
        self.negatives = negatives
        self.seed = seed
        self.global_batch = global_batch
        self.written_share = written_share
        self.misaligned_share = misaligned_share
        self.negatives_seen = negatives_seen
        self.pairs = pairs
        self.prompts = prompts if pairs == "entailment" else 0
        self.gain_jitter = gain_jitter
        self.crop = crop
        self.max_stated = max_stated
        self.denied_share = denied_share
        self._known_ids: dict[str, np.ndarray] = {}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Batch corpus rows.

        A row without `position` gets one of torch's global seed.

        Returns:
            Arguments of `DBetaModel.forward`, shapes as there, but the ECG whole, with `hidden_leads` (B, leads) bool,
            and in place of `ets_labels` the `facts` they follow from (`encode_facts`).
        """
        # Torch's own generator must not be touched for rows that have a position: dropout draws from it
        positions = [row["position"] if "position" in row else int(torch.randint(2**40, ())) for row in rows]
        generators = [np.random.Generator(np.random.Philox(key=[self.seed, position])) for position in positions]
        records = self._records(rows)
        own = [
            self._text(row["report"], row["findings"], rng, record.decided - record.findings)
            for row, record, rng in zip(rows, records, generators, strict=True)
        ]
        texts, aligned = self._misalign(rows, records, own, generators)
        shown = texts if self.negatives_seen else own
        prompts = self._prompts(records, positions[0] // self.global_batch)
        vocabulary = self.vocabulary or sorted(frozenset().union(*(one.decided | one.findings for one in records)))
        columns = {name: i for i, name in enumerate(vocabulary)}

        tokens = self._tokens([text.words for text in shown])
        masked_ids, mlm_labels = mask_tokens(
            tokens["input_ids"], self.processor.tokenizer, self.config.text_mask_ratio, generators
        )
        batch: dict[str, Any] = {
            "ecg": torch.from_numpy(self._signals(rows, generators)),
            "hidden_leads": hide_leads(len(self.input_format.leads), self.config.lead_mask_prob, generators),
            "ids_restore": random_restore(self.config.n_tokens, generators),
            "input_ids": masked_ids,
            "target_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "mlm_labels": mlm_labels,
            "aligned": aligned,
            "facts": encode_facts(records, own, shown, prompts, columns),
        }
        if prompts:
            ids = self._tokens([text.words for text in prompts])
            batch |= {"prompt_ids": ids["input_ids"], "prompt_mask": ids["attention_mask"]}
        return batch

    def _records(self, rows: Sequence[Mapping[str, Any]]) -> list[Record]:
        if self.decided is None:
            every = frozenset(name for row in rows for name in row["findings"])
            decided = [every] * len(rows)
        else:
            decided = [self.decided[row.get("corpus", 0)] for row in rows]
        return [
            Record(row["report"], frozenset(row["findings"]), known - frozenset(row.get("unknown", ())))
            for row, known in zip(rows, decided, strict=True)
        ]

    def _text(
        self, report: str, findings: Iterable[str], rng: np.random.Generator, lacking: frozenset[str] = frozenset()
    ) -> Text:
        names = sorted(findings)
        if names and (not report or rng.random() < self.written_share):
            count = int(rng.integers(1, min(len(names), self.max_stated) + 1))
            states = [names[i] for i in rng.permutation(len(names))[:count]]
            source = random.Random(int(rng.integers(2**62)))
            denies = []
            if lacking and self.denied_share and source.random() < self.denied_share:
                denies = source.sample(sorted(lacking), min(len(lacking), source.randint(1, 2)))
            words = write_report(states, source, absent=denies)
            return Text(words, frozenset(states), complete=True, denies=frozenset(denies))
        return Text(report, frozenset(names))

    def _misalign(
        self,
        rows: Sequence[Mapping[str, Any]],
        records: Sequence[Record],
        own: list[Text],
        generators: Sequence[np.random.Generator],
    ) -> tuple[list[Text], Tensor]:
        """Give a random share of records a text that does not hold for them; (B,) bool of the others."""
        texts = list(own)
        aligned = torch.ones(len(own), dtype=torch.bool)
        for i, (row, record, rng) in enumerate(zip(rows, records, generators, strict=True)):
            if rng.random() >= self.misaligned_share:
                continue
            if self.negatives:
                other = self._far_text(row, record, own[i], rng)
            else:
                others = (own[j] for j in rng.permutation(len(own)))
                other = next((text for text in others if self._misleads(text, record, own[i])), None)
            if other is not None:
                texts[i] = other
                aligned[i] = False
        return texts, aligned

    def _misleads(self, text: Text, record: Record, own: Text) -> bool:
        """Whether a text is fit for a negative: not the record's own words, nor known, or likely, to hold for it."""
        return text.words != own.words and pair_sign(text, record) < (0 if self.pairs == "entailment" else 1)

    def _far_text(self, row: Mapping[str, Any], record: Record, mine: Text, rng: np.random.Generator) -> Text | None:
        """A text far from the record's own, by N3S (paper section 3.4)."""
        assert self.negatives is not None
        table = self.negatives[row.get("corpus", 0)]
        own = table.id_of(record_text(row))
        if own < 0:
            return None
        for _ in range(DRAWS):
            drawn = table.draw(own, rng.random())
            text = self._text(table.reports[drawn], table.findings[drawn], rng)
            if self._misleads(text, record, mine):
                return text
        return None

    def _prompts(self, records: Sequence[Record], step: int) -> list[Text]:
        """Single findings in words, the same in every process of a step."""
        if not self.prompts:
            return []
        names = self.vocabulary or sorted(frozenset().union(*(one.findings for one in records)))
        rng = random.Random(f"{self.seed} {step}")
        chosen = rng.sample(names, min(self.prompts, len(names)))
        return [Text(rng.choice(wordings(name)), frozenset([name]), complete=True) for name in chosen]

    def _tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """What `DBetaProcessor.tokens` gives; texts that come again, as machine reports do, are remembered."""
        if len(self._known_ids) > REMEMBERED:
            self._known_ids.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._known_ids]
        if new:
            batch = self.processor.tokens(new)
            for text, ids, mask in zip(new, batch["input_ids"].numpy(), batch["attention_mask"].numpy(), strict=True):
                self._known_ids[text] = ids[mask == 1]
        rows = [self._known_ids[text] for text in texts]
        shape = len(rows), max(map(len, rows))
        ids = np.full(shape, self.processor.tokenizer.pad_token_id)  # type: ignore[union-attr]
        mask = np.zeros(shape, np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def _signals(self, rows: Sequence[Mapping[str, Any]], generators: Sequence[np.random.Generator]) -> np.ndarray:
        """(B, leads, samples) float32."""
        wanted = self.input_format
        out = np.empty((len(rows), len(wanted.leads), wanted.n_samples), np.float32)
        plain = wanted.leads == LEADS and wanted.signal_scale == "mv"
        for x, row, rng in zip(out, rows, generators, strict=True):
            microvolts = np.frombuffer(row["signal"], "<i2").reshape(len(LEADS), -1)
            window = microvolts[:, self._window(microvolts.shape[1], rng)]
            cut = window.shape[1] < microvolts.shape[1]
            if cut and (np.ptp(window, axis=1) < FLAT * 1000).all():  # nothing would be left of the record
                window = microvolts
            if plain and row["sampling_rate"] == wanted.sampling_rate:
                # What `prepare_signal` makes of it, many times as fast
                window = window[:, : wanted.n_samples]
                length = window.shape[1]
                np.multiply(window, np.float32(1e-3), out=x[:, :length])
                if length < wanted.n_samples:
                    x[:, length:] = np.median(window, axis=1, keepdims=True) * 1e-3
            else:
                x[:] = self._prepared(dict(row), window)
            if self.gain_jitter:
                x *= np.exp(rng.standard_normal((len(x), 1), np.float32) * self.gain_jitter)
        return out

    def _window(self, samples: int, rng: np.random.Generator) -> slice:
        if rng.random() >= self.crop:
            return slice(0, samples)
        length = int(rng.integers(samples // 2, samples + 1))
        start = int(rng.integers(0, samples - length + 1))
        return slice(start, start + length)

    def _prepared(self, row: dict[str, Any], window: np.ndarray) -> np.ndarray:
        ecg = decode_signal(row | {"signal": np.ascontiguousarray(window)})
        with warnings.catch_warnings():
            # flat leads and short recordings were reported when the corpus was built
            warnings.simplefilter("ignore", DBetaWarning)
            return prepare_signal(ecg, self.input_format)


def finish_batch(batch: Mapping[str, Any], pairs: str = "entailment") -> dict[str, Tensor]:
    """What is left to do where the model is: zero the hidden leads, and find the sign of every ECG-text pair.

    Args:
        batch: of `PretrainCollator`, on any device.
        pairs: rule for the signs, as the collator's.
    """
    ready = {name: value for name, value in batch.items() if name not in ("facts", "hidden_leads")}
    ready["target_ecg"] = batch["ecg"]
    ready["ecg"] = batch["ecg"].masked_fill(batch["hidden_leads"][..., None], 0.0)
    ready["ets_labels"] = batch_signs(batch["facts"], batch["aligned"], pairs)
    return ready


def hide_leads(leads: int, probability: float, generators: Sequence[np.random.Generator]) -> Tensor:
    """Random lead masking: (B, leads) bool, each lead True with this probability; where all are, one is spared."""
    hidden = np.stack([rng.random(leads) < probability for rng in generators])
    spared = np.array([int(rng.integers(leads)) for rng in generators])
    all_hidden = np.flatnonzero(hidden.all(axis=1))
    hidden[all_hidden, spared[all_hidden]] = False
    return torch.from_numpy(hidden)


def random_restore(n_tokens: int, generators: Sequence[np.random.Generator]) -> Tensor:
    """A random token permutation per record, inverted, as `ECGEncoder.encode` takes it: (B, tokens) int64."""
    return torch.from_numpy(np.stack([rng.permutation(n_tokens) for rng in generators]))


def mask_tokens(
    input_ids: Tensor, tokenizer: Any, ratio: float, generators: Sequence[np.random.Generator]
) -> tuple[Tensor, Tensor]:
    """BERT's masking (Devlin et al. 2019, section 3.1): of the chosen tokens 80 % are hidden, 10 % random, 10 % kept.

    Args:
        input_ids: (B, T) int64.
        tokenizer: gives special tokens; its mask token, or T5's free `<extra_id_0>` where it has none.
        ratio: share of the ordinary tokens to choose.
        generators: a source of randomness for each row; what it gives does not depend on the padding.

    Returns:
        Masked ids and labels, both (B, T); labels are −100 where nothing was chosen.
    """
    mask_id = tokenizer.mask_token_id
    if mask_id is None:
        mask_id = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    ids = input_ids.numpy()
    draws = np.ones((3, *ids.shape))
    for row, length, rng in zip(range(len(ids)), (ids != tokenizer.pad_token_id).sum(axis=1), generators, strict=True):
        draws[:, row, :length] = rng.random((3, length))
    chosen = (draws[0] < ratio) & ~np.isin(ids, tokenizer.all_special_ids)
    labels = np.where(chosen, ids, IGNORED)
    masked = np.where(chosen & (draws[1] < 0.8), mask_id, ids)
    masked = np.where(chosen & (draws[1] >= 0.9), (draws[2] * len(tokenizer)).astype(ids.dtype), masked)
    return torch.from_numpy(masked), torch.from_numpy(labels)
