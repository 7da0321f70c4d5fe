"""The whole model: losses, switches, saving, the paper's size, and that it learns."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dbeta.corpus.store import encode_signal
from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig, DBetaModel, DBetaOutput, losses
from dbeta.model.processor import DBetaProcessor
from dbeta.training.collate import PretrainCollator
from dbeta.training.pairs import with_signs
from dbeta.training.recipe import CollatorSettings

LOSSES = ("mlm_loss", "mem_loss", "etm_loss", "ets_loss")


@pytest.fixture
def inputs(make_ecg):
    """A batch of three with everything that pretraining gives."""
    generator = torch.Generator().manual_seed(3)
    ecg = torch.stack([torch.from_numpy(make_ecg(sampling_rate=100, rate=r, seed=r).signal) for r in (50, 80, 110)])
    shown = ecg.clone()
    shown[:, 6:] = 0
    target_ids = torch.randint(4, 400, (3, 6), generator=generator)
    input_ids = target_ids.clone()
    input_ids[:, 2] = 3
    labels = torch.full((3, 6), losses.IGNORED)
    labels[:, 2] = target_ids[:, 2]
    return {
        "ecg": shown,
        "target_ecg": ecg,
        "ids_restore": torch.stack([torch.randperm(24, generator=generator) for _ in range(3)]),
        "input_ids": input_ids,
        "target_ids": target_ids,
        "attention_mask": torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 6]),
        "mlm_labels": labels,
        "aligned": torch.tensor([True, False, True]),
    }


def without(inputs: dict, *names: str) -> dict:
    """The batch less some of its parts."""
    return {name: value for name, value in inputs.items() if name not in names}


def test_shapes_and_every_loss(micro_model, inputs):
    out = micro_model()(**inputs)
    assert isinstance(out, DBetaOutput)
    assert out.ecg_embeds.shape == out.text_embeds.shape == (3, 32)
    assert out.fused_features.shape == (3, 64)
    assert out.mlm_logits.shape == (3, 6, 400)
    assert out.mem_logits.shape == (3, 24, 12, 40)
    assert out.etm_logits.shape == (3, 2)
    assert out.ets_logits.shape == (3, 3)
    for name in (*LOSSES, "loss"):
        assert out[name].ndim == 0
        assert torch.isfinite(out[name])


def test_a_fresh_model_knows_nothing(micro_model, inputs):
    out = micro_model()(**inputs)
    assert out.mlm_loss.item() == pytest.approx(5.99, abs=0.5)  # ln 400
    assert out.etm_loss.item() == pytest.approx(0.69, abs=0.1)  # ln 2
    assert out.mem_loss.item() == pytest.approx(1.0, abs=0.3)  # the variance of what is standardised


def test_the_total_is_the_weighted_sum(micro_model, inputs):
    out = micro_model(loss_weights={"mlm": 0.5, "mem": 2.0, "etm": 3.0, "ets": 0.0})(**inputs)
    expected = 0.5 * out.mlm_loss + 2 * out.mem_loss + 3 * out.etm_loss
    torch.testing.assert_close(out.loss, expected)
    plain = micro_model()(**inputs)
    torch.testing.assert_close(plain.loss, plain.mlm_loss + plain.mem_loss + plain.etm_loss + plain.ets_loss)


@pytest.mark.parametrize(
    "target, gone",
    [("mlm_labels", {"mlm_loss"}), ("ids_restore", {"mem_loss"}), ("aligned", {"etm_loss", "ets_loss"})],
)
def test_a_loss_without_its_targets_is_none(micro_model, inputs, target, gone):
    out = micro_model()(**without(inputs, target))
    assert {name for name in LOSSES if getattr(out, name) is None} == gone
    torch.testing.assert_close(out.loss, sum(getattr(out, name) for name in LOSSES if name not in gone))


def test_no_targets_no_loss(micro_model, inputs):
    out = micro_model()(**without(inputs, "mlm_labels", "ids_restore", "aligned"))
    assert out.loss is None
    assert out.mem_logits is None
    assert out.ets_logits is not None


def test_given_signs_replace_those_of_aligned(micro_model, inputs):
    model = micro_model()
    signs = torch.tensor([[1.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 1.0]])
    out = model(**inputs, ets_labels=signs)
    torch.testing.assert_close(out.ets_loss, losses.ets_loss(out.ets_logits, signs))
    diagonal = torch.tensor([[1.0, -1, -1], [-1, -1, -1], [-1, -1, 1]])
    torch.testing.assert_close(model(**inputs).ets_loss, losses.ets_loss(out.ets_logits, diagonal))


def test_embeddings_are_those_of_the_embed_functions(micro_model, inputs):
    model = micro_model()
    out = model(inputs["ecg"], inputs["input_ids"], inputs["attention_mask"])
    torch.testing.assert_close(out.ecg_embeds, model.embed_ecg(inputs["ecg"]))
    torch.testing.assert_close(out.text_embeds, model.embed_text(inputs["input_ids"], inputs["attention_mask"]))


def test_full_view_ets_reads_the_whole_recording_and_the_unmasked_text(micro_model, inputs):
    full, masked = micro_model(ets_full_view=True), micro_model(ets_full_view=False)
    out, other = full(**inputs), masked(**inputs)
    torch.testing.assert_close(out.ecg_embeds, full.embed_ecg(inputs["ecg"]))
    torch.testing.assert_close(out.text_embeds, full.embed_text(inputs["target_ids"], inputs["attention_mask"]))
    kept = masked.ecg_encoder(inputs["ecg"], inputs["ids_restore"])
    torch.testing.assert_close(other.ecg_embeds, masked.ecg_pooler(masked.ecg_proj(kept)))
    torch.testing.assert_close(other.text_embeds, masked.embed_text(inputs["input_ids"], inputs["attention_mask"]))
    assert not torch.allclose(out.ecg_embeds, other.ecg_embeds, atol=1e-4)
    assert not torch.allclose(out.text_embeds, other.text_embeds, atol=1e-4)
    torch.testing.assert_close(out.fused_features, other.fused_features)


def test_mem_target_is_the_whole_recording_or_what_was_shown(micro_model, inputs):
    louder = inputs | {"target_ecg": inputs["target_ecg"].flip(-1)}
    full, published = micro_model(mem_target="full"), micro_model(mem_target="lead_masked")
    assert full(**inputs).mem_loss != full(**louder).mem_loss
    assert published(**inputs).mem_loss == published(**louder).mem_loss
    # with the zeroed leads as the target, half of it is zeros: hence about half of the variance
    assert full(**inputs).mem_loss.item() == pytest.approx(2 * published(**inputs).mem_loss.item(), rel=0.15)


def test_mem_loss_is_over_hidden_tokens(micro_model, inputs):
    model = micro_model(reconstruct_misaligned=True, mem_scope="tokens")
    out = model(**inputs)
    signal = inputs["target_ecg"][..., :960]  # 24 tokens of 40 samples
    signal = (signal - signal.mean(-1, keepdim=True)) / (signal.var(-1, keepdim=True) + 1e-6).sqrt()
    errors = []
    for row in range(3):
        for token in range(24):
            if inputs["ids_restore"][row, token] >= 6:  # 24 · (1 − 0.75) stay
                piece = signal[row, :, 40 * token : 40 * token + 40]
                errors.append((out.mem_logits[row, token] - piece).square().mean())
    assert len(errors) == 54
    torch.testing.assert_close(out.mem_loss, torch.stack(errors).mean())


def test_mem_loss_is_over_all_that_was_not_shown(micro_model, inputs):
    inputs["ecg"][0, 2, 95:130] = 0
    out = micro_model(reconstruct_misaligned=True)(**inputs)
    signal = inputs["target_ecg"][..., :960]
    target = (signal - signal.mean(-1, keepdim=True)) / (signal.var(-1, keepdim=True) + 1e-6).sqrt()
    found = out.mem_logits.transpose(1, 2).flatten(2)  # (B, leads, samples)
    unseen = (inputs["ids_restore"] >= 6).repeat_interleave(40, 1)[:, None].repeat(1, 12, 1)
    unseen[:, 6:] = True
    unseen[0, 2, 95:130] = True
    torch.testing.assert_close(out.mem_loss, (found - target).square()[unseen].mean())
    # Nothing hidden but leads
    out = micro_model(reconstruct_misaligned=True)(**inputs, n_kept=torch.tensor(24))
    unseen[:, :6] = False
    unseen[0, 2, 95:130] = True
    found = out.mem_logits.transpose(1, 2).flatten(2)
    torch.testing.assert_close(out.mem_loss, (found - target).square()[unseen].mean())


@pytest.mark.parametrize("more", [{}, {"mem_skip": True}, {"mem_regression": True}])
def test_predictions_depend_on_visible_samples_only(micro_model, inputs, more):
    """Of the published switches, three let what is hidden through: windows that overlap, positions, voltage."""
    hidden = (inputs["ids_restore"] >= 6).repeat_interleave(40, 1)[:, None]
    other = inputs["ecg"].clone()
    other[..., :960] = torch.where(hidden, other[..., :960].flip(0), other[..., :960])
    for hides in (True, False):
        model = micro_model(hide_samples=hides, **more)
        one, two = (model(**inputs | {"ecg": ecg, "target_ecg": ecg}).mem_logits for ecg in (inputs["ecg"], other))
        assert torch.equal(one, two) == hides


def test_mem_adds_regression_on_the_leads_that_are_shown(micro_model, inputs):
    model = micro_model(mem_regression=True)
    plain = model(**inputs).mem_logits
    with torch.no_grad():
        model.mem_head.regression.factor.fill_(1.0)
    change = model(**inputs).mem_logits - plain
    hidden = inputs["ids_restore"] >= 6
    assert (change[hidden] == 0).all()
    assert (change[~hidden][:, 6:] != 0).any()


def test_the_mem_head_reads_shown_samples(micro_model, inputs):
    model = micro_model(mem_skip=True)
    before = model(**inputs).mem_logits
    with torch.no_grad():
        model.mem_head.skip.weight.zero_()
        model.mem_head.skip.bias.zero_()
    assert not torch.allclose(model(**inputs).mem_logits, before, atol=1e-4)
    assert micro_model().mem_head.skip is None


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_the_gradient_of_fusion_and_heads_reaches_the_encoders_scaled(micro_model, inputs, factor):
    inputs = without(inputs, "ids_restore") if factor else inputs
    gradients = []
    for share in (1.0, factor):
        model = micro_model(loss_weights={"ets": 0.0}, fusion_gradient=share, mem_skip=True)
        out = model(**inputs)
        gradients.append(torch.autograd.grad(out.loss, list(model.parameters()), allow_unused=True))
        names = [name for name, _ in model.named_parameters()]
    for name, whole, scaled in zip(names, *gradients, strict=True):
        if name.startswith(("ecg_encoder", "text_encoder", "ecg_proj", "text_proj")) and whole is not None:
            torch.testing.assert_close(torch.zeros_like(whole) if scaled is None else scaled, factor * whole)
        elif whole is not None:
            torch.testing.assert_close(scaled, whole)


def test_ets_is_not_computed_where_nothing_learns_from_it(micro_model, inputs):
    model = micro_model(loss_weights={"ets": 0.0}).train()
    assert model(**inputs).ets_loss is not None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("mem_head" in name)
    assert model(**inputs).ets_loss is None
    torch.testing.assert_close(model.eval()(**inputs).ecg_embeds, model.embed_ecg(inputs["ecg"]))


def test_a_misaligned_pair_teaches_no_reconstruction(micro_model, inputs):
    aligned_only = {name: value[[0, 2]] for name, value in inputs.items()}
    better, published = micro_model(), micro_model(reconstruct_misaligned=True)
    for name in ("mlm_loss", "mem_loss"):
        torch.testing.assert_close(better(**inputs)[name], published(**aligned_only)[name])
        assert better(**inputs)[name] != published(**inputs)[name]
    nothing = better(**inputs | {"aligned": torch.zeros(3, dtype=torch.bool)})
    assert nothing.mlm_loss == nothing.mem_loss == 0
    nothing.loss.backward()


def test_prompts_are_further_texts_of_ets(micro_model, inputs):
    model = micro_model()
    prompts = torch.randint(4, 400, (2, 5))
    signs = torch.tensor([[1.0, -1, 0, 1, -1]] * 3)
    out = model(**inputs, prompt_ids=prompts, prompt_mask=torch.ones_like(prompts), ets_labels=signs)
    assert out.ets_logits.shape == (3, 5)
    plain = model(**inputs)
    torch.testing.assert_close(out.ets_logits[:, :3], plain.ets_logits)
    torch.testing.assert_close(out.ets_logits[:, 3:], model.similarity(plain.ecg_embeds, model.embed_text(prompts)))
    torch.testing.assert_close(out.ets_loss, losses.ets_loss(out.ets_logits, signs))


def test_checkpointed_activations_give_the_same_gradients(micro_model, inputs):
    plain, thrifty = micro_model().train(), micro_model().train()
    thrifty.activation_checkpointing_enable()
    calls = []
    thrifty.ecg_encoder.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    for model in (plain, thrifty):
        model(**inputs).loss.backward()
    for (name, one), other in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    assert len(calls) == 4  # both passes through the encoder are computed again on the way back


def test_similarity_is_raw_or_a_scaled_cosine(micro_model):
    ecg, text = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [-6.0, -8.0]])
    assert micro_model(ets_cosine=False).similarity(ecg, text).tolist() == [[24.0, -50.0]]
    model = micro_model(ets_cosine=True)
    torch.testing.assert_close(model.similarity(ecg, text), torch.tensor([[10 * 0.96 - 5, -10.0 - 5]]))
    assert not hasattr(micro_model(ets_cosine=False), "ets_bias")


def test_padding_does_not_change_an_embedding(micro_model, inputs):
    ids = inputs["target_ids"][:1]
    padded = torch.cat([ids, torch.zeros(1, 4, dtype=torch.long)], dim=1)
    mask = torch.tensor([[1] * 6 + [0] * 4])
    model, published = micro_model(), micro_model(text_attention_mask=False)
    torch.testing.assert_close(model.embed_text(padded, mask), model.embed_text(ids))
    assert not torch.allclose(published.embed_text(padded, mask), published.embed_text(ids), atol=1e-4)
    ecg = inputs["ecg"][:1]
    fused = model(ecg, padded, mask)
    torch.testing.assert_close(fused.fused_features, model(ecg, ids, torch.ones_like(ids)).fused_features)
    other = padded.clone()
    other[:, 6:] = 50
    torch.testing.assert_close(model(ecg, other, mask).fused_features, fused.fused_features)


def test_every_weight_gets_a_gradient(micro_model, inputs):
    model = micro_model().train()
    model(**inputs).loss.backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle == set()


def test_saved_and_loaded_it_computes_the_same(micro_model, inputs, tmp_path):
    model = micro_model()
    with torch.no_grad():  # away from what a fresh model would have
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    again = DBetaModel.from_pretrained(tmp_path).eval()
    assert (tmp_path / "model.safetensors").is_file()
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    before, after = model(**inputs), again(**inputs)
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    assert again.ets_log_scale == model.ets_log_scale != torch.tensor(10.0).log()


@pytest.mark.parametrize("parts", ["encoders", "ecg"])
def test_parts_of_a_model_embed_as_the_whole_does(micro_model, inputs, tmp_path, parts):
    whole, part = micro_model(), micro_model(parts=parts)
    kept = part.state_dict().keys()
    assert kept < whole.state_dict().keys()
    assert not [name for name in kept if name.startswith(("fus", "mlm", "mem", "etm"))]
    assert bool([name for name in kept if name.startswith("text")]) == (parts == "encoders")
    part.load_state_dict({name: value for name, value in whole.state_dict().items() if name in kept})
    part.save_pretrained(tmp_path)
    again = DBetaModel.from_pretrained(tmp_path).eval()
    assert again.config.parts == parts
    torch.testing.assert_close(again.embed_ecg(inputs["ecg"]), whole.embed_ecg(inputs["ecg"]))
    words = inputs["input_ids"], inputs["attention_mask"]
    if parts == "encoders":
        torch.testing.assert_close(again.embed_text(*words), whole.embed_text(*words))
        out = again(**inputs)
        assert out.ets_loss is not None and out.loss == out.ets_loss
        assert out.etm_loss is None and out.mlm_loss is None and out.mem_loss is None
    else:
        with pytest.raises(DBetaError, match="no text encoder, so it cannot compute losses"):
            again(**inputs)
        with pytest.raises(DBetaError, match="no text encoder"):
            again.embed_text(*words)


def test_many_texts_are_embedded_as_each_alone_is(micro_model):
    """They go through the encoder in groups of similar length."""
    model = micro_model()
    lengths = torch.tensor([3, 17, 9, 1, 12, 5, 17, 2, 8, 4, 6])
    mask = (torch.arange(17) < lengths[:, None]).long()
    ids = torch.randint(5, 50, mask.shape, generator=torch.Generator().manual_seed(0)) * mask
    with torch.no_grad():
        together = model.embed_text(ids, mask)
        alone = [model.embed_text(ids[i : i + 1, :n], mask[i : i + 1, :n]) for i, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_base_has_321_million_parameters():
    with torch.device("meta"):
        model = DBetaModel(DBetaConfig.base(faithful=True))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 321.4


@pytest.mark.slow
def test_it_learns(micro_config, micro_tokenizer, make_ecg):
    """Eight records, 160 steps: all four losses fall clearly on fresh masks of the same records."""
    torch.manual_seed(0)
    kinds = (("sinus bradycardia", 40), ("sinus rhythm", 65), ("sinus tachycardia", 110), ("atrial flutter", 150))
    axes = (("left axis deviation", 1.0), ("right axis deviation", -1.0))
    rows = []
    for rhythm, rate in kinds:
        for axis, sign in axes:
            ecg = make_ecg(sampling_rate=100, rate=rate, seed=len(rows))
            ecg.signal[:6] *= sign
            rows.append(encode_signal(ecg) | {"report": f"{rhythm}. {axis}.", "findings": [rhythm, axis]})

    rows = rows * 2
    config = micro_config(
        hidden_size=64,
        ecg_mask_ratio=0.5,
        lead_mask_prob=0.0,
        mem_hidden_size=48,
        mem_layers=2,
        initializer_range=0.06,
        reconstruct_misaligned=True,
    )
    model = DBetaModel(config)
    processor = DBetaProcessor(micro_tokenizer, sampling_rate=100, n_samples=1000, max_text_tokens=32)
    collator = PretrainCollator(processor, config, CollatorSettings(written_share=0.0))

    def measure() -> dict[str, float]:
        model.eval()
        torch.manual_seed(99)
        with torch.no_grad():
            outs = [model(**with_signs(collator(rows), "entailment")) for _ in range(4)]
        model.train()
        return {name: sum(out[name].item() for out in outs) / len(outs) for name in LOSSES}

    before = measure()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    torch.manual_seed(1)
    for step in range(160):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20)
        optimizer.zero_grad()
        model(**with_signs(collator(rows), "entailment")).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    after = measure()
    assert after["mlm_loss"] < 0.5 * before["mlm_loss"]
    assert after["mem_loss"] < 0.75 * before["mem_loss"]
    assert after["mem_loss"] < 0.85  # predicting zeros gives 1
    assert after["etm_loss"] < 0.6  # guessing gives ln 2 = 0.69
    assert after["ets_loss"] < 0.23  # a constant that ignores ECG and text gives 0.38: one pair in eight is positive


_BASE_STEP = """
import resource, sys, torch
from dbeta.model import DBetaConfig, DBetaModel
torch.manual_seed(0)
torch.set_num_threads(1)
model = DBetaModel(DBetaConfig.base())
ecg, ids = torch.randn(2, 12, 5000), torch.randint(3, 32000, (2, 16))
model.eval()
with torch.no_grad():
    assert model.embed_ecg(ecg).shape == model.embed_text(ids, torch.ones_like(ids)).shape == (2, 768)
model.train()
before = model.etm_head.classifier.weight.clone()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
restore = torch.stack([torch.randperm(312), torch.randperm(312)])
out = model(ecg, ids, torch.ones_like(ids), ids_restore=restore, mlm_labels=ids, aligned=torch.tensor([1, 0]))
out.loss.backward()
optimizer.step()
assert torch.isfinite(out.loss), out.loss
assert not torch.equal(model.etm_head.classifier.weight, before)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
def test_base_trains_a_step_in_less_than_12_gb():
    source = str(Path(__file__).parents[2] / "src")
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r})\n{_BASE_STEP}"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) < 12e9


@torch.no_grad()
def test_a_narrow_model_takes_what_the_processor_gives(micro_model):
    model, ecg = micro_model(initializer_range=0.2), torch.randn(2, 12, 1000)
    expected = model.embed_ecg(ecg)
    narrow = model.bfloat16()(ecg).ecg_embeds
    assert narrow.dtype == torch.bfloat16
    assert torch.cosine_similarity(narrow.float(), expected).min() > 0.99
