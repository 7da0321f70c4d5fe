"""Corpora: built from raw datasets or simulated, their report texts, tokenizer and hard negatives."""
