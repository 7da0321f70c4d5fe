"""Collates corpus rows into pretraining batches: pairs each ECG with a text and masks parts of both.

A row's random numbers depend only on the run's seed and the row's position, so batches are the same in any process,
worker or resumed run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dbeta.conditions.wordings import write_report
from dbeta.corpus.negative_search import record_text
from dbeta.corpus.negatives import Negatives
from dbeta.model import DBetaConfig
from dbeta.model.processor import DBetaProcessor
from dbeta.training.augment import augmented_signals
from dbeta.training.few_leads import readable
from dbeta.training.masking import choose_lead_set, dead_stretches, hide_leads, mask_tokens, random_restore
from dbeta.training.one_difference import exchange, exchanged_in_report
from dbeta.training.pairs import FACT_PLACES, Record, Text, encode_facts, pair_sign
from dbeta.training.recipe import CollatorSettings
from dbeta.training.statements import Statement, asked_statements, finding_prompt, planned, with_waves, written

#: Attempts to draw a negative that is not true of the record; if all fail, the pair stays aligned.
DRAWS = 4
#: Number of tokenised texts that a loader process caches, a few hundred bytes each.
REMEMBERED = 100_000


class PretrainCollator:
    """Makes batches from corpus rows.

    Args:
        processor: the model's processor.
        config: the model's configuration, for the masking ratios.
        settings: how ECGs are paired with texts and augmented.
        decided: for each corpus, the findings annotated in its records (`vocabulary` of `corpus.json`); by
            default those that occur in the batch.
        negatives: for each corpus, its table of farthest reports (N3S); by default misaligned texts are other texts
            of the batch.
        seed: seed of the run.
        global_batch: number of records of all processes in one step.
    """

    def __init__(
        self,
        processor: DBetaProcessor,
        config: DBetaConfig,
        settings: CollatorSettings | None = None,
        *,
        decided: Sequence[Iterable[str]] | None = None,
        negatives: Sequence[Negatives] | None = None,
        seed: int = 0,
        global_batch: int = 1,
    ) -> None:
        """Store the settings."""
        self.processor = processor
        self.config = config
        self.settings = settings or CollatorSettings()
        self.input_format = processor.input_format
        self.decided = None if decided is None else [frozenset(one) for one in decided]
        self.vocabulary = None if self.decided is None else sorted(frozenset().union(*self.decided))
        self.negatives = negatives
        self.seed = seed
        self.global_batch = global_batch
        self._known_ids: dict[str, np.ndarray] = {}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate corpus rows; a row without `position` gets one from torch's global generator.

        Returns:
            Arguments of `DBetaModel.forward`, with `facts` (`encode_facts`) in place of `ets_labels`: with several
            processes, labels need the texts of all of them (`with_signs`).
        """
        # Rows that have a position must not advance torch's own generator, which dropout draws from
        positions = [row["position"] if "position" in row else int(torch.randint(2**40, ())) for row in rows]
        generators = [np.random.Generator(np.random.Philox(key=[self.seed, position])) for position in positions]
        records = self._records(rows)
        leads = self.input_format.leads
        shown_leads = [choose_lead_set(leads, self.settings.lead_sets, rng) for rng in generators]
        for i, (row, few) in enumerate(zip(rows, shown_leads, strict=True)):
            if few is None:
                continue
            seen = readable(records[i], few)
            if row["report"] or seen.findings:
                records[i] = seen
            else:  # there would be nothing to say of it
                shown_leads[i] = None
        own = [
            self._text(row["report"], record.findings, rng, record.decided - record.findings, record)
            for row, record, rng in zip(rows, records, generators, strict=True)
        ]
        texts, aligned = self._misalign(rows, records, own, generators)
        shown = texts if self.settings.negatives_seen else own
        step = positions[0] // self.global_batch
        prompts = self._prompts(records, step)
        if self.settings.pairs == "entailment" and self.settings.near_prompts:
            near = [self._near_text(*one) for one in zip(records, generators, strict=True)]
            prompts += [text for text in near if text is not None and text.complete][: self.settings.near_prompts]
        vocabulary = self.vocabulary or sorted(frozenset().union(*(one.decided | one.findings for one in records)))
        if self.settings.uses_waves:
            vocabulary = [*vocabulary, *FACT_PLACES]
        columns = {name: i for i, name in enumerate(vocabulary)}

        tokens = self._tokens([text.words for text in shown])
        masked_ids, mlm_labels = mask_tokens(
            tokens["input_ids"], self.processor.tokenizer, self.config.text_mask_ratio, generators
        )
        signals = augmented_signals(
            rows,
            self.input_format,
            generators,
            crop=self.settings.crop,
            gain_jitter=self.settings.gain_jitter,
        )
        whole = torch.from_numpy(signals)
        hidden = hide_leads(len(leads), self.config.lead_mask_prob, generators)
        for i, few in enumerate(shown_leads):
            if few is not None:
                hidden[i] = torch.tensor([lead not in few for lead in leads])
        leads_only = random.Random(f"{self.seed} leads only {step}").random() < self.settings.leads_only
        if leads_only:
            for row, rng in zip(hidden, generators, strict=True):
                if not row.any():
                    row[int(rng.integers(len(leads)))] = True
        masked = hidden[..., None]
        if self.settings.dead_stretches:
            masked = masked | dead_stretches(len(leads), whole.shape[2], self.settings.dead_stretches, generators)
        batch: dict[str, Any] = {
            "ecg": whole.masked_fill(masked, 0.0),
            "target_ecg": whole,
            "ids_restore": random_restore(self.config.n_tokens, generators),
            "input_ids": masked_ids,
            "target_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "mlm_labels": mlm_labels,
            "aligned": aligned,
            "facts": encode_facts(records, own, shown, prompts, columns),
        }
        if self.settings.leads_only:
            batch["n_kept"] = torch.tensor(self.config.n_tokens if leads_only else self.config.n_kept_tokens)
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
        records = [
            Record(row["report"], frozenset(row["findings"]), known - frozenset(row.get("unknown", ())))
            for row, known in zip(rows, decided, strict=True)
        ]
        return with_waves(records, rows) if self.settings.uses_waves else records

    def _text(
        self,
        report: str,
        findings: Iterable[str],
        rng: np.random.Generator,
        lacking: frozenset[str] = frozenset(),
        record: Record | None = None,
    ) -> Text:
        names = sorted(findings)
        if names and (not report or rng.random() < self.settings.written_share):
            count = int(rng.integers(1, min(len(names), self.settings.max_stated) + 1))
            states = [names[i] for i in rng.permutation(len(names))[:count]]
            source = random.Random(int(rng.integers(2**62)))
            if record is not None and self.settings.statements and source.random() < self.settings.statements:
                return written(planned(states, record, source), source)
            denies = []
            if lacking and self.settings.denied_share and source.random() < self.settings.denied_share:
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
        """Give a random share of records a text that is not true of them; also return (B,) bool aligned."""
        texts = list(own)
        aligned = torch.ones(len(own), dtype=torch.bool)
        for i, (row, record, rng) in enumerate(zip(rows, records, generators, strict=True)):
            if rng.random() >= self.settings.misaligned_share:
                continue
            near = self.settings.near_share and rng.random() < self.settings.near_share
            other = self._near_text(record, rng) if near else None
            if other is not None:
                pass
            elif self.negatives:
                other = self._far_text(row, record, own[i], rng)
            else:
                others = (own[j] for j in rng.permutation(len(own)))
                other = next((text for text in others if self._misleads(text, record, own[i])), None)
            if other is not None:
                texts[i] = other
                aligned[i] = False
        return texts, aligned

    def _misleads(self, text: Text, record: Record, own: Text) -> bool:
        """Whether a text can serve as a negative: not the record's own words, and not known or likely to be true."""
        return text.words != own.words and pair_sign(text, record) < (0 if self.settings.pairs == "entailment" else 1)

    def _far_text(self, row: Mapping[str, Any], record: Record, mine: Text, rng: np.random.Generator) -> Text | None:
        """Draw a text far from the record's own, by N3S (paper section 3.4)."""
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

    def _near_text(self, record: Record, rng: np.random.Generator) -> Text | None:
        """A text that differs from one of the record's own in one thing."""
        source = random.Random(int(rng.integers(2**62)))
        if record.report and source.random() >= self.settings.written_share:
            text = exchanged_in_report(record.report, record, source)
            if text is not None:
                return text
        names = sorted(record.findings)
        states = source.sample(names, min(len(names), source.randint(1, self.settings.max_stated)))
        plan = [Statement("finding", name) for name in states]
        if self.settings.statements and source.random() < self.settings.statements:
            plan = planned(states, record, source)
        changed = exchange(plan, record, source)
        return None if changed is None else written(changed, source)

    def _prompts(self, records: Sequence[Record], step: int) -> list[Text]:
        """Texts of single findings, the same in all processes of a step."""
        if self.settings.pairs != "entailment":
            return []
        names = self.vocabulary or sorted(frozenset().union(*(one.findings for one in records)))
        rng = random.Random(f"{self.seed} {step}")
        chosen = rng.sample(names, min(self.settings.prompts, len(names)))
        prompts = [finding_prompt(name, rng) for name in chosen]
        return prompts + asked_statements(names, self.settings.statement_prompts, rng)

    def _tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Same as `DBetaProcessor.tokens`, but cached, since machine reports repeat."""
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
