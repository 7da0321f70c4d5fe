"""The authors' layout: parity with the published model, every tensor accounted for, both directions bit by bit."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from dbeta.checkpoints import official
from dbeta.checkpoints.official import from_official, read_config, read_official, to_official
from dbeta.checkpoints.official_layout import lay_out
from dbeta.errors import DBetaError
from dbeta.model import DBetaConfig, DBetaModel, losses
from golden import base_shapes, golden_config, golden_state, golden_vectors

TOLERANCE = 1e-4
#: Tensors that make up more than the two encoders with their projections and uni-modal poolers.
FUSED = re.compile(r"(multi_modal_(ecg|language)_(layers|pooler)|modality_type|mlm_head|mim_head|itm_head)")
#: What reads text.
TEXT = re.compile(r"(language_encoder|multi_modal_language|unimodal_language)")


def encoders(state):
    """A checkpoint's encoders with what makes their embeddings."""
    return {name: value for name, value in state.items() if not FUSED.match(name)}


def ecg_encoder(state):
    """The same of the ECG alone."""
    return {name: value for name, value in encoders(state).items() if not TEXT.match(name)}


def shapes(state):
    return {name: tuple(value.shape) for name, value in state.items()}


def build(state, **settings):
    """The model of a checkpoint in the authors' layout."""
    config, ours = from_official(state, settings)
    model = DBetaModel(config)
    model.load_state_dict(ours)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return build(golden_state())


@pytest.fixture(scope="module")
def vectors():
    return golden_vectors()


@pytest.fixture
def quick(monkeypatch):
    """The layout of one configuration is made once, for tests that ask hundreds of times."""
    known = {}

    def remembered(config):
        key = config.to_json_string()
        if key not in known:
            known[key] = lay_out(config)
        return known[key]

    monkeypatch.setattr(official, "lay_out", remembered)


def compute(model, vectors):
    """Everything that the golden vectors hold, by our model, for as many records as there are recordings."""
    ecg = vectors["input_ecg"]
    ids, mask = vectors["input_ids"].long(), vectors["attention_mask"]
    text = model.text_encoder
    with torch.no_grad():
        found = {"conv_tokens": model.ecg_encoder.embed(ecg), "ecg_embedding": model.embed_ecg(ecg)}
        found["text_embedding_nomask"] = model.embed_text(ids, mask)
        try:
            text.use_mask = True
            found["text_embedding"] = model.embed_text(ids, mask)
        finally:
            text.use_mask = False
        ids, mask = ids[: len(ecg)], mask[: len(ecg)]
        out = model(ecg, ids, mask)
        found |= {"fused_cls_unmasked": out.fused_features, "etm_logits_unmasked": out.etm_logits}
        restore = vectors["ids_restore"][: len(ecg)].long()
        labels, aligned = vectors["mlm_labels"][: len(ecg)].long(), vectors["is_aligned"][: len(ecg)]
        out = model(ecg, ids, mask, ids_restore=restore, mlm_labels=labels, aligned=aligned)
        found |= {"mlm_logits": out.mlm_logits, "mem_logits_first2": out.mem_logits[:2], "etm_logits": out.etm_logits}
        found |= {"uni_ecg_masked": out.ecg_embeds, "uni_text_masked": out.text_embeds}
        found |= {f"loss_{name}": out[f"{name}_loss"] for name in ("mlm", "mem", "etm", "ets")}
        found["mem_mask"] = losses.token_mask(restore, model.config.n_kept_tokens).float()
    return found


@pytest.fixture(scope="module")
def found(model, vectors):
    return compute(model, vectors)


@pytest.mark.parametrize(
    "name",
    [
        "conv_tokens",
        "ecg_embedding",
        "text_embedding",
        "text_embedding_nomask",
        "fused_cls_unmasked",
        "etm_logits_unmasked",
        "mlm_logits",
        "mem_logits_first2",
        "etm_logits",
        "uni_ecg_masked",
        "uni_text_masked",
        "mem_mask",
    ],
)
def test_parity(found, vectors, name):
    expected = vectors[name][: len(found[name])]
    assert expected.numel() > 0
    torch.testing.assert_close(found[name], expected, atol=TOLERANCE, rtol=0)
    # and it is no accident: the values are far from all alike
    assert expected.float().std() > 10 * TOLERANCE


def test_parity_of_the_text_losses(vectors):
    """From the golden logits and embeddings of the whole batch."""
    labels, aligned = vectors["mlm_labels"].long(), vectors["is_aligned"]
    mlm = losses.mlm_loss(vectors["mlm_logits_labelled"][None], labels[labels != losses.IGNORED][None])
    etm = losses.etm_loss(vectors["etm_logits"], aligned)
    ets = losses.ets_loss(vectors["uni_ecg_masked"] @ vectors["uni_text_masked"].T, losses.ets_labels(aligned))
    for name, loss in (("mlm", mlm), ("etm", etm), ("ets", ets)):
        torch.testing.assert_close(loss, vectors[f"loss_{name}"], atol=TOLERANCE, rtol=0)


@pytest.mark.shared
def test_parity_with_every_golden_vector(shared):
    """The whole batch from `../shared/golden`, the four losses among it; nothing there is left unchecked."""
    folder = shared.parent / "golden"
    vectors = load_file(folder / "vectors.safetensors")
    found = compute(build(read_official(folder / "checkpoint.pt")), vectors)
    inputs = {"input_ecg", "input_ids", "attention_mask", "ids_restore", "mlm_labels", "is_aligned"}
    assert found.keys() == vectors.keys() - inputs
    for name, value in found.items():
        torch.testing.assert_close(
            value, vectors[name], atol=TOLERANCE, rtol=0, msg=lambda text, name=name: name + text
        )


@pytest.mark.shared
def test_the_fixture_is_the_golden_checkpoint(shared):
    folder = shared.parent / "golden"
    state, fixture = read_official(folder / "checkpoint.pt"), golden_state()
    assert fixture.keys() == state.keys()
    assert all(torch.equal(fixture[name], value) for name, value in state.items())
    whole = load_file(folder / "vectors.safetensors")
    for name, value in golden_vectors().items():
        full = whole["mlm_logits"][whole["mlm_labels"] != -100] if name == "mlm_logits_labelled" else whole[name]
        assert torch.equal(value, full[: len(value)] if value.ndim else full), name
    assert golden_config() == json.loads((folder / "config.json").read_text())
    lines = [line.split("\t") for line in (folder / "official_state_dict.tsv").read_text().splitlines()]
    assert base_shapes() == {name: tuple(map(int, sizes.split(","))) for name, sizes in lines}


def test_sizes_are_read_from_the_tensors():
    """Those of the golden model, whose own configuration is at hand."""
    theirs, t5 = golden_config()["model"], golden_config()["text_encoder_t5"]
    channels, kernel, stride, count = map(int, re.findall("[0-9]+", theirs["conv_feature_layers"]))
    expected = DBetaConfig.base(
        faithful=True,
        conv_layers=[[channels, kernel, stride]] * count,
        conv_pos_kernel=theirs["conv_pos"],
        conv_pos_groups=theirs["conv_pos_groups"],
        hidden_size=theirs["encoder_embed_dim"],
        ecg_layers=theirs["encoder_layers"],
        ecg_heads=theirs["encoder_attention_heads"],
        ecg_intermediate_size=theirs["encoder_ffn_embed_dim"],
        text_config=t5,
        fusion_layers=theirs["num_layers"],
        fusion_heads=theirs["num_heads"],
        fusion_intermediate_size=4 * theirs["hidden_dim"],
        mem_layer=theirs["mem_layer"],
        mem_hidden_size=theirs["mem_decoder_hidden_dim"],
        mem_layers=theirs["mem_decoder_num_layers"],
        mem_heads=theirs["mem_decoder_num_heads"],
    )
    config, _ = from_official(golden_state())
    assert config.to_dict() == expected.to_dict()


def test_the_645_tensors_of_the_published_size():
    names = base_shapes()
    assert len(names) == 645
    config = DBetaConfig.base(faithful=True)
    assert lay_out(config).official == names
    assert lay_out(config).homeless == []
    assert read_config(names)[0].to_dict() == config.to_dict()


@pytest.mark.parametrize("parts, keep", [("encoders", encoders), ("ecg", ecg_encoder)])
def test_the_published_size_without_fusion_and_heads(parts, keep):
    names = keep(base_shapes())
    config = DBetaConfig.base(faithful=True, parts=parts)
    assert lay_out(config).official == names
    assert read_config(names)[0].to_dict() == config.to_dict()


def test_every_tensor_of_ours_has_one_place_and_every_place_is_filled(model):
    layout = lay_out(model.config)
    ours = model.state_dict()
    assert layout.ours == shapes(ours)
    filled = [
        name for place, names in layout.places.items() if place != "language_encoder.shared.weight" for name in names
    ]
    assert sorted(filled) == sorted(ours)
    assert layout.official == shapes(golden_state())


#: Every size another than those of the published and the golden model, and no two alike where they might be mixed up.
ODD = {
    "conv_layers": [[20, 2, 2], [24, 2, 2], [28, 2, 2]],
    "conv_pos_kernel": 7,
    "conv_pos_groups": 3,
    "hidden_size": 48,
    "ecg_layers": 3,
    "ecg_heads": 6,
    "ecg_intermediate_size": 80,
    "text_config": {
        "vocab_size": 90,
        "d_model": 36,
        "d_kv": 8,
        "d_ff": 52,
        "num_layers": 2,
        "num_heads": 5,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
    "fusion_layers": 4,
    "fusion_heads": 6,
    "fusion_intermediate_size": 100,
    "mem_layer": 2,
    "mem_hidden_size": 24,
    "mem_layers": 1,
    "mem_heads": 3,
    "sampling_rate": 250,
    "n_samples": 2000,
}


def odd_model(**changes):
    torch.manual_seed(5)
    return DBetaModel(DBetaConfig.base(faithful=True, **(ODD | changes))).eval()


def test_other_sizes():
    model = odd_model()
    state = to_official(model.config, model.state_dict())
    config, ours = from_official(state, {"sampling_rate": 250, "n_samples": 2000})
    assert config.to_dict() == DBetaConfig.base(faithful=True, **ODD).to_dict()
    assert_same(ours, model.state_dict())


def test_settings_go_before_what_is_assumed():
    settings = {
        "ecg_heads": 3,
        "fusion_heads": 2,
        "mem_heads": 4,
        "mem_layer": 0,
        "conv_layers": [[20, 4, 2], [24, 4, 2], [28, 2, 2]],
        "leads": ["II", "V1"],
        "text_attention_mask": True,
    }
    model = odd_model(**settings | {"text_attention_mask": False})
    state = to_official(model.config, model.state_dict())
    assert state["ecg_encoder.feature_extractor.conv_layers.0.0.weight"].shape == (20, 2, 4)
    config, ours = from_official(state, settings)
    assert {name: getattr(config, name) for name in settings} == settings
    assert_same(ours, model.state_dict())
    with pytest.raises(DBetaError, match=r"conv_layers\.2\.0\.weight of shape 28×24×2, not 28×24×4"):
        from_official(state, settings | {"conv_layers": [[20, 4, 2], [24, 4, 2], [28, 4, 2]]})


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"eccentricity": 3}, "eccentricity: unknown setting"),
        ({"text_config": {"d_kv": 3}}, "text_config: unknown setting"),
        ({"ets_cosine": True}, "ets_cosine: unknown setting"),
        ({"ecg_heads": "four"}, "ecg_heads"),
        ({"ecg_heads": 0}, "ecg_heads"),
        ({"ecg_heads": True}, "ecg_heads"),
        ({"ecg_heads": 5}, "ecg_heads=5: a width of 64"),
        ({"mem_heads": 3}, "mem_heads=3: a width of 32"),
        ({"mem_layer": 3}, "mem_layer=3: the fusion layers are 0 to 2"),
        ({"mem_layer": -1}, "mem_layer"),
        ({"n_samples": 3}, "n_samples"),
        ({"leads": ["I", "I"]}, "leads"),
        ({"leads": ["X"]}, "leads"),
        ({"leads": [["I"]]}, "leads"),
        ({"leads": []}, "leads"),
        ({"leads": ["I", "II"]}, r"conv_layers\.0\.0\.weight of shape 32×12×2, not 32×2×2"),
        ({"conv_layers": [[32, 2]]}, "conv_layers"),
        ({"conv_layers": 4}, "conv_layers"),
        ({"conv_layers": [[32, 2, 2]] * 3}, r"conv_layers\.3\.0\.weight"),
        ({"hidden_dropout": 2}, "hidden_dropout"),
        ({"text_attention_mask": "no"}, "text_attention_mask"),
        ({"signal_scale": "volts"}, "signal_scale"),
        ({"mem_target": 3}, "mem_target"),
        ({"hidden_size": 32}, "of shape 64"),
    ],
)
def test_settings_that_do_not_suit(settings, named):
    with pytest.raises(DBetaError, match=named):
        from_official(golden_state(), settings)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype == torch.float32
        assert torch.equal(found[name].view(torch.int32), value.contiguous().view(torch.int32)), name


@pytest.mark.parametrize("keep", [dict, encoders, ecg_encoder])
def test_there_and_back_is_exact(keep):
    state = keep(golden_state())
    config, ours = from_official(state, {"ecg_heads": 4})
    assert_same(to_official(config, ours), state)


def test_nothing_shares_memory_that_should_not():
    """Three of ours are views of one of theirs, and T5's embedding is one of ours twice; no more than that."""
    _config, ours = from_official(golden_state())
    assert len({value.data_ptr() for value in ours.values()}) == len(ours)
    assert all(value.is_contiguous() for value in ours.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single(dtype):
    state = {name: value.to(dtype) for name, value in golden_state().items()}
    config, ours = from_official(state)
    assert_same(to_official(config, ours), {**as_float(state), POSITIONS: golden_state()[POSITIONS]})


def as_float(state):
    return {name: value.float() for name, value in state.items()}


POSITIONS = "mim_head.decoder_pos_embed.pe"


def test_encoders_alone_embed(vectors):
    both = build(encoders(golden_state()))
    alone = build(ecg_encoder(golden_state()), ecg_heads=4)
    assert (both.config.parts, alone.config.parts) == ("encoders", "ecg")
    ids, mask = vectors["input_ids"].long(), vectors["attention_mask"]
    with torch.no_grad():
        for model in (both, alone):
            found = model.embed_ecg(vectors["input_ecg"])
            torch.testing.assert_close(found, vectors["ecg_embedding"][:1], atol=TOLERANCE, rtol=0)
        found = both.embed_text(ids, mask)
    torch.testing.assert_close(found, vectors["text_embedding_nomask"], atol=TOLERANCE, rtol=0)
    assert sum(value.numel() for value in alone.parameters()) < sum(value.numel() for value in both.parameters())


def test_what_a_part_cannot_do_is_said(vectors):
    ids = vectors["input_ids"][:1].long()
    model = build(ecg_encoder(golden_state()), ecg_heads=4)
    with pytest.raises(DBetaError, match="no text encoder, so it cannot compute losses"):
        model(vectors["input_ecg"], ids)
    with pytest.raises(DBetaError, match="no text encoder"):
        model.embed_text(ids)


def test_the_number_of_heads_is_not_guessed_without_t5():
    with pytest.raises(DBetaError, match="ecg_heads cannot be read from the checkpoint"):
        from_official(ecg_encoder(golden_state()))


@pytest.mark.parametrize(
    "gone, said",
    [
        (r"unimodal_ecg_pooler", r"lacks unimodal_ecg_pooler\.dense\.weight.*embeddings need the projection"),
        (r"multi_modal_ecg_proj", r"lacks multi_modal_ecg_proj\.weight.*embeddings need the projection"),
        (r"unimodal_language_pooler", r"lacks unimodal_language_pooler\.dense\.weight"),
        (r"(unimodal|multi_modal)_ecg", r"lacks .* and 1 more.*embeddings need the projection"),
        (r"ecg_encoder|class_embedding", r"lacks class_embedding"),
    ],
)
def test_encoders_without_what_makes_an_embedding(gone, said):
    state = {name: value for name, value in encoders(golden_state()).items() if not re.match(gone, name)}
    with pytest.raises(DBetaError, match=said):
        from_official(state)


@pytest.mark.parametrize("keep", [dict, encoders])
def test_every_missing_tensor_is_named(quick, keep):
    state = shapes(keep(golden_state()))
    for name in state:
        damaged = {other: shape for other, shape in state.items() if other != name}
        assert_named(damaged, f"lacks {name}")


def test_every_renamed_tensor_is_named(quick):
    state = shapes(golden_state())
    for name in state:
        damaged = {f"{other}_" if other == name else other: shape for other, shape in state.items()}
        said = assert_named(damaged, f"lacks {name}")
        assert f"unexpected {name}_" in said


@pytest.mark.slow
def test_every_reshaped_tensor_is_named(quick):
    state = shapes(golden_state())
    for name, shape in state.items():
        for other in {(shape[0] + 1, *shape[1:]), (*shape[:-1], shape[-1] + 1), (*shape, 1)}:
            assert_named(state | {name: other}, name)


def assert_named(shapes, what):
    """That these shapes are refused, and in what words."""
    try:
        read_config(shapes)
    except DBetaError as error:
        assert what in str(error)
        assert len(str(error)) < 700
        return str(error)
    raise AssertionError(f"{what} was not noticed")


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_every_tensor_that_is_not_finite_is_named(quick, value):
    state = golden_state()
    for name in list(state)[:: 1 if value != value else 10]:
        damaged = state[name].clone()
        damaged.view(-1)[-1] = value
        with pytest.raises(DBetaError, match=f"{re.escape(name)} holds NaN or infinity"):
            from_official(state | {name: damaged})


def test_a_tensor_that_nobody_reads_is_ignored():
    state = golden_state() | {"ecg_encoder.mask_emb": torch.full((7,), float("nan"))}
    config, ours = from_official(state)
    assert ours.keys() == DBetaModel(config).state_dict().keys()


def test_layers_with_gaps_or_wild_numbers():
    state = shapes(golden_state())
    layer = "ecg_encoder.encoder.layers.1."
    wild = {name.replace(layer, "ecg_encoder.encoder.layers.999999999999."): shape for name, shape in state.items()}
    assert_named(wild, "lacks ecg_encoder.encoder.layers.1.self_attn")
    assert_named(wild, "unexpected ecg_encoder.encoder.layers.999999999999.")
    first = {name: shape for name, shape in state.items() if "multi_modal_ecg_layers.0." not in name}
    assert_named(first, "lacks multi_modal_ecg_layers.0.attention.self.query.weight")


def test_copies_and_formulas_are_checked():
    copy = "language_encoder.shared.weight"
    state = golden_state()
    state[copy][3, 5] += 1
    with pytest.raises(
        DBetaError, match=rf"{copy} should be a copy of language_encoder\.encoder\.embed_tokens\.weight"
    ):
        from_official(state)
    state = golden_state()
    state[POSITIONS][0, 100, 3] += 0.01
    with pytest.raises(DBetaError, match=rf"{POSITIONS} does not hold sinusoidal positions"):
        from_official(state)


def test_something_else_is_no_model():
    with pytest.raises(DBetaError, match="holds no D-BETA model"):
        from_official({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)})
    with pytest.raises(DBetaError, match="holds no D-BETA model"):
        from_official({})


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"ets_cosine": True}, "ets_log_scale and ets_bias"),
        ({"text_attention_mask": True}, "text_attention_mask is True.*--set text_attention_mask=false"),
        ({"signal_scale": "lead_zscore"}, "signal_scale is lead_zscore"),
        ({"text_config": ODD["text_config"] | {"feed_forward_proj": "gated-silu"}}, "feed_forward_proj is gated-silu"),
        ({"text_config": ODD["text_config"] | {"relative_attention_max_distance": 64}}, "max_distance is 64"),
        ({"n_samples": 5000}, "625 tokens"),
    ],
)
def test_models_that_the_published_code_cannot_run(changes, said):
    model = odd_model(**changes)
    with pytest.raises(DBetaError, match=said):
        to_official(model.config, model.state_dict())


def test_switches_of_training_may_differ():
    model = odd_model(mem_target="full", ets_full_view=True)
    state = to_official(model.config, model.state_dict())
    assert_same(state, to_official(odd_model().config, odd_model().state_dict()))


def test_weights_that_do_not_fit_their_configuration():
    model = odd_model()
    state = model.state_dict()
    for name in ("etm_head.classifier.bias", "mem_head.blocks.0.attention.key.weight"):
        with pytest.raises(DBetaError, match=f"lacks {re.escape(name)}"):
            to_official(model.config, {other: value for other, value in state.items() if other != name})
        with pytest.raises(DBetaError, match=f"{re.escape(name)} of shape 3×3"):
            to_official(model.config, state | {name: torch.zeros(3, 3)})
        with pytest.raises(DBetaError, match=f"{re.escape(name)} holds NaN"):
            to_official(model.config, state | {name: torch.full_like(state[name], float("nan"))})
    with pytest.raises(DBetaError, match="unexpected stray"):
        to_official(model.config, state | {"stray": torch.zeros(3)})
