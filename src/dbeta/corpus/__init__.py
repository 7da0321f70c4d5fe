"""From raw datasets to corpora: building, report text, tokenizer."""
