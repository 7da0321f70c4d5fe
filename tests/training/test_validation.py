"""Zero-shot AUROC while a model is being trained."""

import math

import pytest
import torch

from dbeta.corpus.store import load_corpus, read_counts
from dbeta.model.processor import DBetaProcessor
from dbeta.training import validation
from dbeta.training.validation import Validation, embed_corpus, zero_shot_auroc


@pytest.fixture
def trained(micro_model, micro_tokenizer):
    """A fresh micro model and its processor."""
    return micro_model(), DBetaProcessor(micro_tokenizer, sampling_rate=100, n_samples=1000, max_text_tokens=32)


def test_embeddings_of_a_corpus(trained, micro_corpus):
    model, processor = trained
    corpus = load_corpus(micro_corpus, "validation")
    model.train()
    embeds = embed_corpus(model, processor, corpus, batch_size=7)
    assert model.training
    assert embeds.shape == (20, 32)
    torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(embed_corpus(model.eval(), processor, corpus), embeds)


def validation_of(corpus_folder, split: str) -> Validation:
    return Validation.of([(load_corpus(corpus_folder, split), read_counts(corpus_folder)["vocabulary"])])


def test_zero_shot_auroc_against_known_scores(trained, micro_corpus, monkeypatch):
    """Ten of the twenty validation records are normal, and have sinus rhythm; nothing else is frequent enough."""
    model, processor = trained
    corpus = validation_of(micro_corpus, "validation")
    assert corpus.common == ["normal ecg", "sinus rhythm"]
    normal = torch.tensor([["normal ecg" in row] for row in corpus.findings]).float()
    assert normal.sum() == 10
    monkeypatch.setattr(model, "embed_text", lambda **_: torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    for scores, expected in ((normal, 1.0), (1 - normal, 0.0), (torch.full((20, 1), 0.5), 0.5)):
        embeds = torch.cat([scores, torch.ones(20, 1)], dim=1)
        monkeypatch.setattr(validation, "embed_corpus", lambda *_, embeds=embeds: embeds)
        assert zero_shot_auroc(model, processor, corpus) == expected


def test_records_of_which_nobody_knows_do_not_count(trained, micro_corpus, monkeypatch):
    """The same records once more, from a corpus that decides nothing: neither a negative nor a positive is added."""
    model, processor = trained
    known = load_corpus(micro_corpus, "validation")
    mute = known.map(lambda row: {"findings": []}, load_from_cache_file=False, keep_in_memory=True)
    both = Validation.of([(known, read_counts(micro_corpus)["vocabulary"]), (mute, [])])
    assert len(both) == 40
    assert both.common == ["normal ecg", "sinus rhythm"]
    normal = torch.tensor([["normal ecg" in row] for row in both.findings]).float()
    embeds = torch.cat([normal, torch.ones(40, 1)], dim=1)
    embeds[20:, 0] = 9.0  # would spoil the ranking if they were negatives
    monkeypatch.setattr(model, "embed_text", lambda **_: torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    monkeypatch.setattr(validation, "embed_corpus", lambda *_: embeds)
    assert zero_shot_auroc(model, processor, both) == 1.0


def test_zero_shot_auroc_without_frequent_findings_is_not_a_number(trained, micro_corpus):
    assert math.isnan(zero_shot_auroc(*trained, validation_of(micro_corpus, "test")))
