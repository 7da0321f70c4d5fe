"""Corpora: building them from raw datasets or simulation, report texts, tokenizer and hard negatives."""

from __future__ import annotations

from types import ModuleType

from dbeta.utils.moved import old_child


def __getattr__(name: str) -> ModuleType:
    """Import modules that have moved elsewhere (see `dbeta.utils.moved`)."""
    return old_child(__name__, name)
