"""Corpora: built from raw datasets or simulated, their report texts, tokenizer and hard negatives."""

from __future__ import annotations

from types import ModuleType

from dbeta.utils.moved import old_child


def __getattr__(name: str) -> ModuleType:
    """Modules that have moved elsewhere (see `dbeta.utils.moved`)."""
    return old_child(__name__, name)
