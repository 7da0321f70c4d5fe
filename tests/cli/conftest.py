"""Fixtures of the command line's tests."""

import pytest


@pytest.fixture
def ask(run, micro_checkpoint):
    """`run` with the micro model."""
    return lambda *arguments: run(*arguments, "--model", micro_checkpoint)
