"""What a batch shows, hides, pairs and calls true."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dbeta.corpus.reports import wordings
from dbeta.corpus.store import encode_signal
from dbeta.model.losses import IGNORED
from dbeta.processing import DBetaProcessor
from dbeta.training.collate import PretrainCollator, Text, mask_leads, mask_tokens, pair_sign, random_restore

RECORDS = (
    (50, "sinus bradycardia. inferior infarct.", ["sinus bradycardia", "inferior myocardial infarction"]),
    (70, "normal ecg.", ["sinus rhythm", "normal ecg"]),
    (72, "normal ecg.", ["sinus rhythm", "normal ecg"]),
    (120, "sinus tachycardia. lbbb.", ["sinus tachycardia", "complete left bundle branch block"]),
    (90, "left hypertrophy.", ["sinus rhythm", "left ventricular hypertrophy"]),
    (110, "sinus tachycardia.", ["sinus tachycardia"]),
)


@pytest.fixture
def rows(make_ecg):
    """Six corpus rows; the second and the third have the same report."""
    return [
        encode_signal(make_ecg(sampling_rate=100, rate=rate, seed=rate)) | {"report": report, "findings": findings}
        for rate, report, findings in RECORDS
    ]


@pytest.fixture
def make_collator(micro_config, micro_tokenizer):
    """The factory of collators of the micro model; it takes the collator's settings."""

    def make(config_changes=None, **settings):
        processor = DBetaProcessor(micro_tokenizer, sampling_rate=100, n_samples=1000, max_text_tokens=32)
        return PretrainCollator(processor, micro_config(**(config_changes or {})), **settings)

    return make


def words(batch, tokenizer) -> list[str]:
    """The unmasked texts of a batch."""
    return [text.strip() for text in tokenizer.batch_decode(batch["target_ids"], skip_special_tokens=True)]


def test_shapes_and_types(make_collator, rows):
    torch.manual_seed(0)
    batch = make_collator()(rows)
    length = batch["input_ids"].shape[1]
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    assert shapes == {
        "ecg": (6, 12, 1000),
        "target_ecg": (6, 12, 1000),
        "ids_restore": (6, 24),
        "input_ids": (6, length),
        "target_ids": (6, length),
        "attention_mask": (6, length),
        "mlm_labels": (6, length),
        "aligned": (6,),
        "ets_labels": (6, 6),
    }
    assert batch["ecg"].dtype == batch["ets_labels"].dtype == torch.float32
    assert batch["aligned"].dtype == torch.bool
    assert batch["mlm_labels"].dtype == batch["ids_restore"].dtype == torch.int64


def test_a_batch_feeds_the_model(make_collator, micro_model, rows):
    torch.manual_seed(0)
    out = micro_model()(**make_collator()(rows))
    assert all(torch.isfinite(out[name]) for name in ("mlm_loss", "mem_loss", "etm_loss", "ets_loss"))


def test_batches_follow_from_the_global_seed(make_collator, rows):
    collator = make_collator(gain_jitter=0.2)
    torch.manual_seed(5)
    first, other = collator(rows), collator(rows)
    torch.manual_seed(5)
    again = collator(rows)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["ids_restore"], other["ids_restore"])
    assert not torch.equal(first["ecg"], other["ecg"])


def test_the_target_is_the_recording_before_leads_were_masked(make_collator, rows, make_ecg):
    torch.manual_seed(0)
    batch = make_collator({"lead_mask_prob": 0.9})(rows)
    for i, (rate, _, _) in enumerate(RECORDS):
        original = make_ecg(sampling_rate=100, rate=rate, seed=rate).signal
        np.testing.assert_allclose(batch["target_ecg"][i].numpy(), original, atol=6e-4)
        shown = batch["ecg"][i].abs().amax(dim=1) > 0
        assert 1 <= shown.sum() < 12
        assert torch.equal(batch["ecg"][i, shown], batch["target_ecg"][i, shown])


def test_gain_jitter_scales_each_lead_by_itself(make_collator, rows):
    torch.manual_seed(0)
    plain = make_collator()(rows * 8)["target_ecg"]
    scaled = make_collator(gain_jitter=0.3)(rows * 8)["target_ecg"]
    gain = scaled.norm(dim=-1) / plain.norm(dim=-1)
    torch.testing.assert_close(scaled, plain * gain[..., None])
    assert gain.log().std().item() == pytest.approx(0.3, abs=0.03)
    assert gain.log().mean().item() == pytest.approx(0.0, abs=0.05)


def test_a_crop_is_a_window_of_the_recording_padded_at_the_end(make_collator, rows, make_ecg):
    torch.manual_seed(0)
    batch = make_collator(crop=1.0)(rows)["target_ecg"]
    assert torch.equal(
        make_collator(crop=0.0)(rows[:1])["target_ecg"][0, :, :900], make_collator()(rows)["target_ecg"][0, :, :900]
    )
    for i, (rate, _, _) in enumerate(RECORDS):
        whole = make_ecg(sampling_rate=100, rate=rate, seed=rate).signal[1]
        x = batch[i, 1].numpy()
        starts = [s for s in range(501) if np.abs(x[:500] - whole[s : s + 500]).max() < 1e-3]
        assert len(starts) == 1
        length = next((n for n in range(500, 1000) if (x[n:] == x[n]).all()), 1000)
        assert starts[0] + length <= 1000
        np.testing.assert_allclose(x[:length], whole[starts[0] : starts[0] + length], atol=1e-3)


# pairs and texts


def test_without_misalignment_every_record_has_its_own_report(make_collator, rows, micro_tokenizer):
    batch = make_collator(written_share=0.0, misaligned_share=0.0)(rows)
    assert batch["aligned"].tolist() == [True] * 6
    assert words(batch, micro_tokenizer) == [report for _, report, _ in RECORDS]


@pytest.mark.parametrize("entailment", [True, False])
def test_a_misaligned_pair_really_carries_another_records_words(make_collator, rows, micro_tokenizer, entailment):
    torch.manual_seed(0)
    collator = make_collator(written_share=0.0, misaligned_share=0.5, entailment=entailment)
    reports = [report for _, report, _ in RECORDS]
    misaligned = 0
    for _ in range(20):
        batch = collator(rows)
        assert (~batch["aligned"]).sum() == 3
        for i, text in enumerate(words(batch, micro_tokenizer)):
            assert text in reports
            assert (text == reports[i]) == bool(batch["aligned"][i])
            assert batch["ets_labels"][i, i] == (1 if batch["aligned"][i] else -1)
        misaligned += int((~batch["aligned"]).sum())
    assert misaligned == 60


def test_a_share_of_an_odd_batch_is_rounded_at_random(make_collator, rows):
    torch.manual_seed(0)
    collator = make_collator(written_share=0.0, misaligned_share=0.5)
    counts = Counter(int((~collator(rows[:5])["aligned"]).sum()) for _ in range(60))
    assert set(counts) == {2, 3}
    assert 15 <= counts[2] <= 45


def test_equal_reports_are_no_negatives_of_each_other(make_collator, rows, micro_tokenizer):
    torch.manual_seed(0)
    batch = make_collator(written_share=0.0, misaligned_share=1.0)([rows[1], rows[2]])
    assert batch["aligned"].tolist() == [True, True]  # there is no text in the batch that does not hold
    assert words(batch, micro_tokenizer) == ["normal ecg."] * 2
    assert batch["ets_labels"].tolist() == [[1, 1], [1, 1]]


def test_a_written_text_states_findings_of_its_record(make_collator, rows, micro_tokenizer):
    torch.manual_seed(0)
    collator = make_collator(written_share=1.0, misaligned_share=0.0, max_stated=1)
    collator.processor.max_text_tokens = 300
    seen = [set() for _ in rows]
    for _ in range(20):
        for i, text in enumerate(words(collator(rows), micro_tokenizer)):
            seen[i].add(text)
    for texts, (_, _, findings) in zip(seen, RECORDS, strict=True):
        for finding in findings:
            assert texts & _decoded(wordings(finding), micro_tokenizer)
        assert texts <= _decoded([one for finding in findings for one in wordings(finding)], micro_tokenizer)


def _decoded(texts, tokenizer) -> set[str]:
    return {tokenizer.decode(tokenizer(text)["input_ids"][:-1]).strip() for text in texts}


def test_a_record_without_a_report_or_without_findings_has_a_text(make_collator, rows, micro_tokenizer):
    torch.manual_seed(0)
    collator = make_collator(written_share=0.0, misaligned_share=0.0, max_stated=1)
    bare = [rows[5] | {"report": ""}, rows[0] | {"findings": []}]
    texts = words(collator(bare), micro_tokenizer)
    assert texts[0] in wordings("sinus tachycardia")
    assert texts[1:] == [RECORDS[0][1]]


def test_a_crop_that_would_leave_nothing_is_not_made(make_collator, rows, make_ecg):
    ecg = make_ecg(sampling_rate=100)
    ecg.signal[:, 300:] = 0.0
    half_silent = rows[0] | encode_signal(ecg)
    torch.manual_seed(0)
    collator = make_collator(crop=1.0)
    batch = collator([half_silent] * 40)["target_ecg"]
    assert (batch.amax(dim=-1) > batch.amin(dim=-1)).any(dim=1).all()


A, B, AB = frozenset("a"), frozenset("b"), frozenset("ab")


@pytest.mark.parametrize(
    "states, source, record, findings, reports, sign",
    [
        (A, 0, 0, [AB, B], "xy", 1),  # a sentence about its own record
        (A, 0, 1, [AB, AB], "xy", 1),  # it holds for another one too
        (A, 0, 1, [AB, B], "xy", -1),  # not stated of the other record
        (AB, 0, 1, [AB, A], "xy", -1),  # half of it does not hold
        (A, 0, 1, [A, B], "xx", -1),  # equal reports do not matter to a sentence
        (None, 0, 0, [A, B], "xy", 1),  # a report of its own record
        (None, 0, 1, [A, B], "xx", 1),  # the same words
        (None, 0, 1, [A, B], "xy", -1),  # the other record lacks a finding
        (None, 0, 1, [AB, A], "xy", -1),
        (None, 0, 1, [A, AB], "xy", 0),  # it has them all; what else the report says is not known
        (None, 0, 1, [A, A], "xy", 0),
        (None, 0, 1, [frozenset(), A], "xy", -1),  # nothing is known of the report: another one is taken to be wrong
    ],
)
def test_pair_sign(states, source, record, findings, reports, sign):
    assert pair_sign(Text("words", source, states), record, findings, list(reports)) == sign


def test_signs_of_a_hand_made_batch(make_collator, rows):
    collator = make_collator()
    findings = [frozenset(row["findings"]) for row in rows]
    reports = [row["report"] for row in rows]
    texts = [
        Text("sinus bradycardia", 0, frozenset({"sinus bradycardia"})),
        Text("normal ecg.", 1, None),
        Text("sinus rhythm", 2, frozenset({"sinus rhythm"})),
        Text("sinus tachycardia", 3, frozenset({"sinus tachycardia"})),
        Text("sinus tachycardia.", 5, None),  # record 4 is misaligned
        Text("sinus tachycardia.", 5, None),
    ]
    aligned = torch.tensor([True, True, True, True, False, True])
    assert collator._signs(texts, findings, reports, aligned).tolist() == [
        [1, -1, -1, -1, -1, -1],
        [-1, 1, 1, -1, -1, -1],
        [-1, 1, 1, -1, -1, -1],  # the equal report
        [-1, -1, -1, 1, 0, 0],  # tachycardia and more: the short report may hold or not
        [-1, -1, 1, -1, -1, -1],
        [-1, -1, -1, 1, 1, 1],
    ]
    plain = make_collator(entailment=False)
    assert plain._signs(texts, findings, reports, aligned).tolist() == [
        [1, -1, -1, -1, -1, -1],
        [-1, 1, -1, -1, -1, -1],
        [-1, -1, 1, -1, -1, -1],
        [-1, -1, -1, 1, -1, -1],
        [-1, -1, -1, -1, -1, -1],
        [-1, -1, -1, -1, 1, 1],
    ]


def test_misaligned_texts_do_not_hold(make_collator, rows):
    collator = make_collator(misaligned_share=1.0)
    findings = [frozenset(row["findings"]) for row in rows]
    reports = [row["report"] for row in rows]
    for seed in range(20):
        rng = random.Random(seed)
        own = [collator._text(i, row, rng) for i, row in enumerate(rows)]
        texts, aligned = collator._misalign(own, findings, reports, rng)
        for i, text in enumerate(texts):
            assert aligned[i] == (text is own[i])
            assert pair_sign(text, i, findings, reports) == (1 if aligned[i] else -1)


# masks


def test_masked_leads_are_zeroed_whole_and_the_others_left():
    torch.manual_seed(0)
    ecg = 1 + torch.rand(200, 12, 7)
    masked = mask_leads(ecg, 0.5)
    zero = (masked == 0).all(dim=-1)
    assert torch.equal(masked[~zero], ecg[~zero])
    assert not masked[zero].any()
    assert zero.float().mean().item() == pytest.approx(0.5 * 11 / 12, abs=0.03)
    assert zero.any(dim=0).all()
    assert not torch.equal(zero[0], zero[1])


def test_one_lead_is_always_spared():
    torch.manual_seed(0)
    zero = (mask_leads(torch.ones(300, 12, 3), 1.0) == 0).all(dim=-1)
    assert (zero.sum(dim=1) == 11).all()
    assert zero.all(dim=0).sum() == 0  # not the same one each time
    assert torch.equal(mask_leads(torch.ones(3, 12, 3), 0.0), torch.ones(3, 12, 3))


def test_random_restore_is_another_permutation_for_each_row():
    torch.manual_seed(0)
    restore = random_restore(400, 24)
    assert restore.dtype == torch.int64
    assert torch.equal(restore.sort(dim=1).values, torch.arange(24).expand(400, -1))
    assert len({tuple(row) for row in restore.tolist()}) == 400
    shown = (restore < 6).float().mean(dim=0)  # every position is shown as often as the others
    assert shown.min() > 0.15
    assert shown.max() < 0.35


def check_masking(ids: torch.Tensor, tokenizer, mask_id: int) -> None:
    """BERT's proportions on a large batch of ordinary tokens with an end and some padding in each row."""
    torch.manual_seed(0)
    masked, labels = mask_tokens(ids, tokenizer, 0.25)
    special = torch.isin(ids, torch.tensor([tokenizer.pad_token_id, tokenizer.eos_token_id]))
    chosen = labels != IGNORED
    assert not (chosen & special).any()
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert torch.equal(labels[chosen], ids[chosen])
    assert chosen[~special].float().mean().item() == pytest.approx(0.25, abs=0.01)
    hidden, kept = masked[chosen] == mask_id, masked[chosen] == ids[chosen]
    assert hidden.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert kept.float().mean().item() == pytest.approx(0.1, abs=0.015)
    others = masked[chosen][~hidden & ~kept]
    assert len(others) / int(chosen.sum()) == pytest.approx(0.1, abs=0.015)
    assert len(others.unique()) > 0.5 * min(len(others), len(tokenizer))
    assert others.max() < len(tokenizer)


def test_mask_tokens_as_in_bert(micro_tokenizer):
    torch.manual_seed(1)
    ids = torch.randint(4, len(micro_tokenizer), (600, 40))
    ids[:, 30] = micro_tokenizer.eos_token_id
    ids[:, 31:] = micro_tokenizer.pad_token_id
    check_masking(ids, micro_tokenizer, micro_tokenizer.mask_token_id)


def test_mask_tokens_with_a_tokenizer_like_t5s():
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {f"w{i}": i for i in range(3, 200)} | {"<extra_id_0>": 200}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<extra_id_0>"],
    )
    assert tokenizer.mask_token_id is None
    torch.manual_seed(1)
    ids = torch.randint(3, 200, (600, 40))
    ids[:, 30] = 1
    ids[:, 31:] = 0
    check_masking(ids, tokenizer, 200)


def test_masking_nothing_and_everything(micro_tokenizer):
    ids = torch.randint(4, len(micro_tokenizer), (4, 9))
    masked, labels = mask_tokens(ids, micro_tokenizer, 0.0)
    assert torch.equal(masked, ids)
    assert (labels == IGNORED).all()
    assert torch.equal(mask_tokens(ids, micro_tokenizer, 1.0)[1], ids)


@pytest.mark.shared
def test_t5s_own_tokenizer(shared, make_ecg, micro_config, rows):
    tokenizer = AutoTokenizer.from_pretrained(shared / "t5-tokenizer")
    assert tokenizer.mask_token_id is None
    assert tokenizer.convert_tokens_to_ids("<extra_id_0>") == 32099
    torch.manual_seed(1)
    ids = torch.randint(3, 32000, (600, 40))
    ids[:, 30] = 1
    ids[:, 31:] = 0
    check_masking(ids, tokenizer, 32099)

    processor = DBetaProcessor(tokenizer, sampling_rate=100, n_samples=1000)
    batch = PretrainCollator(processor, micro_config(), written_share=0.0, misaligned_share=0.0)(rows)
    assert words(batch, tokenizer) == [report for _, report, _ in RECORDS]
    assert (batch["input_ids"] == 32099).any()
    ends = batch["attention_mask"].sum(dim=1) - 1
    assert (batch["input_ids"][torch.arange(6), ends] == tokenizer.eos_token_id).all()
