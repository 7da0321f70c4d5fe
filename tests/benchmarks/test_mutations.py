"""Every mutation's text is in its file once, so that `benchmarks/mutations.py` can be run as it is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import mutations


def test_each_text_occurs_once():
    listed = mutations.read_mutations()
    assert len(listed) >= 30
    for one in listed:
        assert (mutations.ROOT / "src" / "dbeta" / one.file).read_text().count(one.old) == 1, one.file
