"""The fusion half: the same numbers as a forward pass, loaded from disk only when it is used."""

import pytest
import torch
from safetensors import safe_open

import dbeta
from dbeta.errors import DBetaError
from dbeta.model import dual_encoder
from dbeta.model.losses import token_mask

TEXTS = ["sinus rhythm. normal ecg", "atrial fibrillation with a fast ventricular response", "paced rhythm"]


@pytest.fixture
def pair(micro_checkpoint):
    whole = dbeta.DBetaModel.from_pretrained(micro_checkpoint).eval()
    return whole, dbeta.load(micro_checkpoint, precision="float32")


@torch.inference_mode()
def test_both_kinds_of_model_agree_with_the_forward_pass(pair, make_ecg):
    whole, loaded = pair
    batch = loaded.processor([make_ecg(seed=i) for i in range(3)], TEXTS)
    out = whole(**batch)
    torch.testing.assert_close(whole.fuse(**batch), out.fused_features)
    torch.testing.assert_close(loaded.model.fuse(**batch), out.fused_features, atol=1e-5, rtol=1e-4)
    probabilities = out.etm_logits.softmax(dim=-1)[:, 1]
    for model in (whole, loaded.model):
        found = model.match(**batch, batch_size=2)
        assert found.shape == (3, 3)
        torch.testing.assert_close(found.diagonal(), probabilities, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_hidden_tokens_are_predicted_as_in_pretraining(pair, make_ecg):
    whole, loaded = pair
    batch = loaded.processor([make_ecg(seed=i) for i in range(2)], TEXTS[:2])
    torch.manual_seed(0)
    tokens = whole.config.n_tokens
    kept = torch.stack([torch.randperm(tokens)[: whole.config.n_kept_tokens].sort().values for _ in range(2)])
    hidden = torch.ones(2, tokens, dtype=torch.bool).scatter(1, kept, False)
    ids_restore = hidden.int().argsort(dim=1, stable=True).argsort(dim=1)
    assert (token_mask(ids_restore, whole.config.n_kept_tokens) == hidden).all()
    wanted = whole(**batch, ids_restore=ids_restore).mem_logits.transpose(1, 2).flatten(2)
    texts = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    torch.testing.assert_close(whole.predict_signal(batch["ecg"], hidden, **texts), wanted)
    torch.testing.assert_close(loaded.model.predict_signal(batch["ecg"], hidden, **texts), wanted, atol=1e-4, rtol=1e-3)
    uneven = hidden.clone()
    uneven[0] = True
    with pytest.raises(DBetaError, match="same number"):
        whole.predict_signal(batch["ecg"], uneven, **texts)


def test_one_text_serves_all_recordings_and_others_must_be_pairs(pair, make_ecg):
    whole, loaded = pair
    ecg = loaded.processor([make_ecg(seed=i) for i in range(3)])["ecg"]
    one, two = loaded.processor(text=TEXTS[:1]), loaded.processor(text=TEXTS[:2])
    with torch.inference_mode():
        assert whole.fuse(ecg, **one).shape == (3, 64)
        with pytest.raises(DBetaError, match="3 ECGs and 2 texts"):
            whole.fuse(ecg, **two)


def test_the_fusion_half_is_read_when_it_is_first_used(micro_checkpoint, make_ecg, monkeypatch):
    read = []

    class Spy:
        def __init__(self, *arguments, **options):
            self.file = safe_open(*arguments, **options)

        def __enter__(self):
            self.inner = self.file.__enter__()
            return self

        def __exit__(self, *reason):
            return self.file.__exit__(*reason)

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def get_tensor(self, name):
            read.append(name.partition(".")[0])
            return self.inner.get_tensor(name)

    monkeypatch.setattr(dual_encoder, "safe_open", Spy)
    model = dbeta.load(micro_checkpoint)
    model.embed(make_ecg())
    assert set(read) == {"ecg_encoder", "ecg_proj", "ecg_pooler"}
    model.diagnose(make_ecg(), "atrial fibrillation")
    encoders = {"ecg_encoder", "ecg_proj", "ecg_pooler", "text_encoder", "text_proj", "text_pooler"}
    assert set(read) == encoders
    model.match(make_ecg(), "atrial fibrillation")
    half = {"fusion", "fused_ecg_pooler", "fused_text_pooler", "mem_head", "etm_head"}
    assert set(read) == encoders | half
    before = len(read)
    model.fuse(make_ecg(), "atrial fibrillation")
    assert len(read) == before


@pytest.mark.parametrize(("parts", "held"), [("encoders", "the two encoders"), ("ecg", "the ECG encoder")])
def test_a_model_of_encoders_says_so(micro_model, parts, held):
    model = micro_model(parts=parts)
    with pytest.raises(DBetaError, match=f"{held} only; .*load a model with the fusion half"):
        model.match(torch.zeros(1, 12, 1000), torch.zeros(1, 4, dtype=torch.long))
