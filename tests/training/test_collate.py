"""What a batch shows, hides, pairs and calls true."""

import warnings

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dbeta.conditions.wordings import wordings
from dbeta.corpus.store import decode_signal, encode_signal
from dbeta.errors import DBetaWarning
from dbeta.model.losses import IGNORED
from dbeta.model.processor import DBetaProcessor
from dbeta.training.collate import PretrainCollator
from dbeta.training.masking import hide_leads, mask_tokens, random_restore
from dbeta.training.pairs import pair_sign, with_signs
from dbeta.training.recipe import CollatorSettings

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
    """The factory of collators of the micro model; it takes the collator's settings and what else it takes by name."""

    def make(config_changes=None, *, decided=None, negatives=None, seed=0, global_batch=1, **settings):
        processor = DBetaProcessor(micro_tokenizer, sampling_rate=100, n_samples=1000, max_text_tokens=32)
        return PretrainCollator(
            processor,
            micro_config(**(config_changes or {})),
            CollatorSettings(**settings),
            decided=decided,
            negatives=negatives,
            seed=seed,
            global_batch=global_batch,
        )

    return make


@pytest.fixture
def make_batch(make_collator, rows):
    """A batch of the six rows as the model takes it; it takes the collator's settings."""

    def make(config_changes=None, rows=rows, **settings):
        collator = make_collator(config_changes, **settings)
        return with_signs(collator(rows), collator.settings.pairs)

    return make


def generators(n: int, seed: int = 0) -> list[np.random.Generator]:
    """A source of randomness for each of n rows."""
    return [np.random.default_rng([seed, i]) for i in range(n)]


def words(batch, tokenizer) -> list[str]:
    """The unmasked texts of a batch."""
    return [text.strip() for text in tokenizer.batch_decode(batch["target_ids"], skip_special_tokens=True)]


def test_shapes_and_types(make_batch):
    torch.manual_seed(0)
    batch = make_batch(prompts=4)
    length = batch["input_ids"].shape[1]
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    assert shapes.pop("prompt_ids") == shapes.pop("prompt_mask")
    assert len(batch["prompt_ids"]) == 4
    assert shapes == {
        "ecg": (6, 12, 1000),
        "target_ecg": (6, 12, 1000),
        "ids_restore": (6, 24),
        "input_ids": (6, length),
        "target_ids": (6, length),
        "attention_mask": (6, length),
        "mlm_labels": (6, length),
        "aligned": (6,),
        "ets_labels": (6, 10),
    }
    assert batch["ecg"].dtype == batch["ets_labels"].dtype == torch.float32
    assert batch["aligned"].dtype == torch.bool
    assert batch["mlm_labels"].dtype == batch["ids_restore"].dtype == torch.int64


@pytest.mark.parametrize("pairs", ["pair", "equal", "entailment"])
def test_a_batch_feeds_the_model(make_batch, micro_model, pairs):
    torch.manual_seed(0)
    out = micro_model()(**make_batch(pairs=pairs, prompts=3))
    assert all(torch.isfinite(out[name]) for name in ("mlm_loss", "mem_loss", "etm_loss", "ets_loss"))


def test_dead_stretches_are_masked_and_stay_targets(make_batch):
    torch.manual_seed(0)
    batch = make_batch({"lead_mask_prob": 0.0}, dead_stretches=1.0)
    lost = batch["ecg"] != batch["target_ecg"]
    assert (batch["ecg"][lost] == 0).all()
    assert lost.any(dim=(1, 2)).all() and (lost.float().mean(dim=2) <= 0.8).all()
    batch = make_batch({"lead_mask_prob": 0.0})
    assert torch.equal(batch["ecg"], batch["target_ecg"]) and "n_kept" not in batch


def test_a_record_of_which_few_leads_would_say_nothing_is_shown_whole(make_collator, rows):
    silent = [row | {"report": "", "findings": ["anterior myocardial infarction"]} for row in rows]
    collator = make_collator({"lead_mask_prob": 0.0}, lead_sets=1.0, misaligned_share=0.0)
    torch.manual_seed(0)
    batch = collator(silent + rows)
    few = (batch["ecg"] == 0).all(dim=2).any(dim=1)
    assert few[len(silent) :].all()
    assert (~few[: len(silent)]).any()  # those for whom a set without chest leads was drawn


def test_some_batches_hide_leads_and_no_tokens(make_collator, rows):
    collator = make_collator({"lead_mask_prob": 0.0}, leads_only=0.5, misaligned_share=0.0, global_batch=6)
    kept = []
    for step in range(20):
        batch = collator([row | {"position": 6 * step + i} for i, row in enumerate(rows)])
        hidden = (batch["ecg"] == 0).all(dim=2)
        kept.append(int(batch["n_kept"]))
        assert (hidden.sum(dim=1) == (1 if kept[-1] == 24 else 0)).all()
        assert torch.equal(batch["ecg"][~hidden], batch["target_ecg"][~hidden])
    assert set(kept) == {6, 24} and 4 < kept.count(24) < 16
    # All processes of a step draw the same, since loss and shapes are those of the step
    second = collator([row | {"position": 3 + i} for i, row in enumerate(rows[3:])])
    assert int(second["n_kept"]) == kept[0]


def test_batches_follow_from_the_global_seed(make_collator, rows):
    collator = make_collator(gain_jitter=0.2)
    torch.manual_seed(5)
    first, other = collator(rows), collator(rows)
    torch.manual_seed(5)
    again = collator(rows)
    assert all(torch.equal(first[name], again[name]) for name in first if name != "facts")
    assert not torch.equal(first["ids_restore"], other["ids_restore"])
    assert not torch.equal(first["ecg"], other["ecg"])


def test_a_row_is_the_same_in_whichever_batch_it_comes(make_collator, rows):
    """What the seed and the position decide does not depend on the others, nor on how long their texts are."""
    placed = [row | {"position": 100 + i} for i, row in enumerate(rows)]
    findings = [{name for row in rows for name in row["findings"]}]
    collator = make_collator(
        gain_jitter=0.2, crop=0.5, misaligned_share=0.0, seed=3, decided=findings, prompts=2, global_batch=50
    )
    whole, first, second = collator(placed), collator(placed[:2]), collator(placed[2:])
    for name in ("ecg", "target_ecg", "ids_restore", "aligned"):
        assert torch.equal(whole[name], torch.cat([first[name], second[name]])), name
    for name in ("input_ids", "mlm_labels", "target_ids"):
        for part, at in ((first, 0), (second, 2)):
            length = part[name].shape[1]
            assert torch.equal(whole[name][at : at + len(part[name]), :length], part[name]), name
    assert torch.equal(whole["prompt_ids"], first["prompt_ids"])
    assert torch.equal(whole["prompt_ids"], second["prompt_ids"])
    other = make_collator(gain_jitter=0.2, seed=4)(placed)
    assert not torch.equal(other["ids_restore"], whole["ids_restore"])
    assert not torch.equal(collator([placed[0] | {"position": 7}])["ids_restore"], first["ids_restore"][:1])


def test_the_target_is_the_recording_before_leads_were_masked(make_batch, make_ecg):
    torch.manual_seed(0)
    batch = make_batch({"lead_mask_prob": 0.9})
    for i, (rate, _, _) in enumerate(RECORDS):
        original = make_ecg(sampling_rate=100, rate=rate, seed=rate).signal
        np.testing.assert_allclose(batch["target_ecg"][i].numpy(), original, atol=6e-4)
        shown = batch["ecg"][i].abs().amax(dim=1) > 0
        assert 1 <= shown.sum() < 12
        assert torch.equal(batch["ecg"][i, shown], batch["target_ecg"][i, shown])


def test_the_quick_way_gives_what_the_processor_gives(make_collator, rows, make_ecg):
    """Recordings that need no resampling or padding do not go through `prepare_signal`."""
    long = make_ecg(seconds=12, sampling_rate=100)
    short, fast = make_ecg(seconds=6, sampling_rate=100), make_ecg(sampling_rate=250)
    rows_ecg = make_ecg(sampling_rate=100)
    mixed = [row | encode_signal(ecg) for row, ecg in zip(rows, (rows_ecg, long, short, fast), strict=False)]
    collator = make_collator()
    batch = collator(mixed)["target_ecg"]
    for row, signal in zip(mixed, batch, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DBetaWarning)
            expected = collator.processor.signal(decode_signal(row))
        np.testing.assert_allclose(signal.numpy(), expected, atol=1e-6)


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
    begun = set()
    for i, (rate, _, _) in enumerate(RECORDS):
        whole = make_ecg(sampling_rate=100, rate=rate, seed=rate).signal[1]
        x = batch[i, 1].numpy()
        starts = [s for s in range(501) if np.abs(x[:500] - whole[s : s + 500]).max() < 1e-3]
        assert len(starts) == 1
        begun.add(starts[0])
        length = next((n for n in range(500, 1000) if (x[n:] == x[n]).all()), 1000)
        assert starts[0] + length <= 1000
        np.testing.assert_allclose(x[:length], whole[starts[0] : starts[0] + length], atol=1e-3)
    assert len(begun) > 3


# pairs and texts


def test_without_misalignment_every_record_has_its_own_report(make_collator, rows, micro_tokenizer):
    batch = make_collator(written_share=0.0, misaligned_share=0.0)(rows)
    assert batch["aligned"].tolist() == [True] * 6
    assert words(batch, micro_tokenizer) == [report for _, report, _ in RECORDS]


@pytest.mark.parametrize("pairs", ["pair", "equal", "entailment"])
def test_a_misaligned_pair_really_carries_another_records_words(make_batch, micro_tokenizer, pairs):
    torch.manual_seed(0)
    reports = [report for _, report, _ in RECORDS]
    misaligned = 0
    for _ in range(30):
        batch = make_batch(written_share=0.0, misaligned_share=0.5, pairs=pairs)
        for i, text in enumerate(words(batch, micro_tokenizer)):
            assert text in reports
            assert (text == reports[i]) == bool(batch["aligned"][i])
            assert batch["ets_labels"][i, i] == (1 if batch["aligned"][i] else -1)
        misaligned += int((~batch["aligned"]).sum())
    assert misaligned == pytest.approx(90, abs=25)


def test_the_published_defect_shows_the_records_own_words_all_the_same(make_batch, micro_tokenizer):
    torch.manual_seed(0)
    batch = make_batch(written_share=0.0, misaligned_share=1.0, negatives_seen=False, pairs="pair")
    assert not batch["aligned"].any()
    assert words(batch, micro_tokenizer) == [report for _, report, _ in RECORDS]
    assert (batch["ets_labels"] == -1).all()


def test_equal_reports_are_no_negatives_of_each_other(make_collator, rows, micro_tokenizer):
    torch.manual_seed(0)
    batch = make_collator(written_share=0.0, misaligned_share=1.0)([rows[1], rows[2]])
    assert batch["aligned"].tolist() == [True, True]  # there is no text in the batch that does not hold
    assert words(batch, micro_tokenizer) == ["normal ecg."] * 2
    assert with_signs(batch, "entailment")["ets_labels"].tolist() == [[1, 1], [1, 1]]
    assert with_signs(batch, "pair")["ets_labels"].tolist() == [[1, -1], [-1, 1]]


class Table:
    """A table of negatives whose farthest text is always the same."""

    reports = ("sinus rhythm.", "normal ecg.", "ventricular fibrillation.")
    findings = (frozenset({"sinus rhythm"}), frozenset({"normal ecg"}), frozenset({"ventricular fibrillation"}))

    def __init__(self, drawn: int) -> None:
        self.drawn, self.asked = drawn, []

    def id_of(self, text: str) -> int:
        self.asked.append(text)
        return -1 if text == "sinus tachycardia." else 0

    def draw(self, own: int, random: float) -> int:
        assert own == 0
        assert 0 <= random < 1
        return self.drawn


def test_a_negative_of_the_table_is_what_the_model_sees(make_collator, rows, micro_tokenizer):
    decided = [{name for row in rows for name in row["findings"]} | {"ventricular fibrillation"}]
    table = Table(2)
    collator = make_collator(written_share=0.0, misaligned_share=1.0, negatives=[table], decided=decided)
    batch = collator([row | {"corpus": 0} for row in rows])
    assert table.asked == [report for _, report, _ in RECORDS]
    assert batch["aligned"].tolist() == [False] * 5 + [True]  # the table does not know the last one's report
    assert words(batch, micro_tokenizer)[:5] == ["ventricular fibrillation."] * 5
    signs = with_signs(batch, "entailment")["ets_labels"]
    assert (signs[:, :5] == -1).all()
    written = make_collator(written_share=1.0, misaligned_share=1.0, negatives=[table], decided=decided)(rows)
    for text in words(written, micro_tokenizer)[:5]:
        assert text in _decoded(wordings("ventricular fibrillation"), micro_tokenizer)


def test_a_negative_that_holds_is_not_taken(make_collator, rows):
    collator = make_collator(written_share=1.0, misaligned_share=1.0, negatives=[Table(0)])
    aligned = collator(rows)["aligned"].tolist()
    assert aligned == [False, True, True, False, True, True]  # three of them have sinus rhythm


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
        said = _decoded([one for finding in findings for one in wordings(finding)], micro_tokenizer)
        assert all(any(words in text for words in said) for text in texts)


def test_a_written_text_denies_what_its_record_is_known_to_lack(make_collator, rows):
    decided = [frozenset({"sinus rhythm", "atrial fibrillation", "ventricular fibrillation"} | set(RECORDS[0][2]))]
    collator = make_collator(written_share=1.0, misaligned_share=0.0, denied_share=1.0, decided=decided)
    rows = [row | {"corpus": 0} for row in rows if row["findings"] and set(row["findings"]) <= decided[0]]
    batch = collator(rows)
    facts = batch["facts"]
    columns = {name: i for i, name in enumerate(sorted(decided[0]))}
    assert facts["denies"].any()
    for i, row in enumerate(rows):
        denied = {name for name, column in columns.items() if facts["denies"][i, column]}
        assert denied and not denied & set(row["findings"])
    own = torch.arange(len(rows))
    assert (with_signs(batch, "entailment")["ets_labels"][own, own] == 1).all()


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


@pytest.mark.parametrize("pairs", ["pair", "equal", "entailment"])
@pytest.mark.parametrize("written", [0.0, 0.5, 1.0])
def test_a_misaligned_text_is_never_known_to_hold(make_collator, rows, micro_tokenizer, pairs, written):
    """Whatever the rule: not its own words, not an equal report, and no sentence that states what it has."""
    torch.manual_seed(0)
    some = [row | ({"report": ""} if i % 2 else {}) for i, row in enumerate(rows)]
    collator = make_collator(written_share=written, misaligned_share=1.0, pairs=pairs)
    records = collator._records(some)
    found = 0
    for seed in range(20):
        sources = generators(len(some), seed)
        own = [collator._text(row["report"], row["findings"], rng) for row, rng in zip(some, sources, strict=True)]
        texts, aligned = collator._misalign(some, records, own, sources)
        for text, mine, record, same in zip(texts, own, records, aligned.tolist(), strict=True):
            assert (text is mine) == same
            assert same or (text.words != mine.words and pair_sign(text, record) <= 0)
            found += not same
    assert found > 60


def test_remembered_tokens_are_the_processors(make_collator, monkeypatch):
    collator = make_collator()
    texts = ["sinus rhythm", "normal ecg. " * 30, "sinus rhythm", "lbbb", "sinus tachycardia. lvh"]
    for some in (texts[:2], texts, texts[::-1], texts[3:]):
        found, expected = collator._tokens(some), collator.processor.tokens(some)
        for name, value in expected.items():
            assert torch.equal(found[name], value)
            assert found[name].dtype == value.dtype
    monkeypatch.setattr("dbeta.training.collate.REMEMBERED", 2)
    assert torch.equal(collator._tokens(["lbbb"])["input_ids"], collator.processor.tokens(["lbbb"])["input_ids"])
    assert len(collator._known_ids) == 1


def test_rows_with_a_position_leave_torchs_generator_alone(make_collator, rows):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    make_collator(gain_jitter=0.1, crop=0.5, prompts=3)([row | {"position": i} for i, row in enumerate(rows)])
    assert torch.equal(torch.get_rng_state(), before)


def test_prompts_are_single_findings(make_collator, rows, micro_tokenizer):
    torch.manual_seed(0)
    names = {name for row in rows for name in row["findings"]}
    batch = make_collator(prompts=99)(rows)
    assert len(batch["prompt_ids"]) == len(names)
    texts = {one.strip() for one in micro_tokenizer.batch_decode(batch["prompt_ids"], skip_special_tokens=True)}
    every = _decoded([one for name in names for one in wordings(name)], micro_tokenizer)
    cut = {text for text in texts if text not in every}
    assert all(any(one.startswith(text) for one in every) for text in cut)  # long descriptions end at 32 tokens
    facts = batch["facts"]["prompt_states"]
    assert torch.equal(facts.sum(dim=1), torch.ones(len(names), dtype=torch.int64))
    assert torch.equal(facts.sum(dim=0), torch.ones(len(names), dtype=torch.int64))
    assert "prompt_ids" not in make_collator(prompts=5, pairs="equal")(rows)


# masks


def test_leads_are_hidden_at_random_and_where_all_would_be_one_is_spared():
    hidden = hide_leads(12, 0.5, generators(600))
    assert hidden.shape == (600, 12)
    assert hidden.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert hidden.any(dim=0).all()
    every = hide_leads(12, 1.0, generators(300))
    assert (every.sum(dim=1) == 11).all()
    assert not every.all(dim=0).any()  # not the same one each time
    assert not hide_leads(12, 0.0, generators(3)).any()


def test_random_restore_is_another_permutation_for_each_row():
    restore = random_restore(24, generators(400))
    assert restore.dtype == torch.int64
    assert torch.equal(restore.sort(dim=1).values, torch.arange(24).expand(400, -1))
    assert len({tuple(row) for row in restore.tolist()}) == 400
    shown = (restore < 6).float().mean(dim=0)  # every position is shown as often as the others
    assert shown.min() > 0.15
    assert shown.max() < 0.35


def check_masking(ids: torch.Tensor, tokenizer, mask_id: int) -> None:
    """BERT's proportions on a large batch of ordinary tokens with an end and some padding in each row."""
    masked, labels = mask_tokens(ids, tokenizer, 0.25, generators(len(ids)))
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
    masked, labels = mask_tokens(ids, micro_tokenizer, 0.0, generators(4))
    assert torch.equal(masked, ids)
    assert (labels == IGNORED).all()
    assert torch.equal(mask_tokens(ids, micro_tokenizer, 1.0, generators(4))[1], ids)


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
    settings = CollatorSettings(written_share=0.0, misaligned_share=0.0)
    batch = PretrainCollator(processor, micro_config(), settings)(rows)
    assert words(batch, tokenizer) == [report for _, report, _ in RECORDS]
    assert (batch["input_ids"] == 32099).any()
    ends = batch["attention_mask"].sum(dim=1) - 1
    assert (batch["input_ids"][torch.arange(6), ends] == tokenizer.eos_token_id).all()
