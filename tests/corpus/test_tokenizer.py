"""The tokenizer trained on a corpus's own reports."""

import pytest
from transformers import AutoTokenizer

from dbeta.corpus.tokenizer import train_tokenizer


def test_special_tokens_lie_where_t5_has_them(micro_tokenizer):
    assert (micro_tokenizer.pad_token_id, micro_tokenizer.eos_token_id) == (0, 1)
    assert micro_tokenizer.mask_token_id == 3
    assert len(micro_tokenizer) <= 400


def test_a_text_ends_in_its_end_token_and_comes_back(micro_tokenizer):
    ids = micro_tokenizer("Sinus  Rhythm, normal")["input_ids"]
    assert ids[-1] == micro_tokenizer.eos_token_id
    assert ids.count(micro_tokenizer.eos_token_id) == 1
    assert micro_tokenizer.decode(ids, skip_special_tokens=True).strip() == "sinus rhythm, normal"


@pytest.mark.parametrize(
    "text", ["höchstwahrscheinlich", "心電図 正常", "ритм синусовый", "qt 480 ms 🫀", "\u0000\ufeff", "½ µV"]
)
def test_any_text_can_be_written(micro_tokenizer, text):
    ids = micro_tokenizer(text)["input_ids"]
    assert micro_tokenizer.unk_token_id not in ids
    assert ids[-1] == micro_tokenizer.eos_token_id


def test_any_letter_comes_back(micro_tokenizer):
    ids = micro_tokenizer("überleitung 心電図")["input_ids"]
    assert micro_tokenizer.decode(ids, skip_special_tokens=True).strip() == "überleitung 心電図"


def test_frequent_words_become_one_token_and_digits_stay_apart():
    tokenizer = train_tokenizer(["atrial fibrillation 100"] * 50 + ["normal ecg"], 400)
    assert len(tokenizer("atrial fibrillation")["input_ids"]) == 3
    assert len(tokenizer("100")["input_ids"]) >= 4


def test_no_more_tokens_than_asked_for():
    texts = [f"finding {chr(97 + i % 26)}{chr(97 + i // 26)} of many words" for i in range(300)]
    assert len(train_tokenizer(texts, 280)) == 280


def test_saved_and_loaded_it_does_the_same(micro_tokenizer, tmp_path):
    micro_tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "Linksschenkelblock, 心電図; sinus rhythm <mask>"
    assert again(text)["input_ids"] == micro_tokenizer(text)["input_ids"]
    assert (again.pad_token_id, again.eos_token_id, again.mask_token_id) == (0, 1, 3)
    batch = again(["sinus rhythm. normal ecg", "ecg"], padding=True)
    assert batch["input_ids"][1][-1] == 0
    assert batch["attention_mask"][1][-1] == 0
