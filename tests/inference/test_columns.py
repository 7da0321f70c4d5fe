"""One list of columns: what is computed, written, shown and documented."""

import numpy as np
import pyarrow as pa
import pytest

from dbeta.archive.tables import FINDINGS, WINDOW_FINDINGS
from dbeta.inference import DBeta
from dbeta.inference.columns import COLUMN_NAMES, COLUMNS, SHOWN
from dbeta.inference.embed import Embedded
from dbeta.inference.findings import Question, findings_of, tabulate
from dbeta.report.console import print_findings


@pytest.fixture
def question():
    return Question(["one", "other"], np.eye(2, 3, dtype=np.float32), None)


def recording(*qualities: str) -> Embedded:
    """A recording whose windows point to the second condition, then to the first."""
    windows = np.array([[0.0, 1, 0], [1, 0, 0]], np.float32)[: len(qualities)]
    starts = 10.0 * np.arange(len(qualities))
    return Embedded("f.hea", "f", starts=starts, windows=windows, qualities=np.array(qualities))


def test_files_have_the_columns_in_their_order():
    assert FINDINGS.names == ["file", *COLUMN_NAMES[False], "windows", "warnings"]
    assert WINDOW_FINDINGS.names == ["file", *COLUMN_NAMES[True]]
    assert COLUMN_NAMES[True] == ["record", "start", "condition", "score", "percentile", "quality"]
    for name, one in COLUMNS.items():
        schema = FINDINGS if name in FINDINGS.names else WINDOW_FINDINGS
        assert schema.field(name).type == (pa.float64() if one.number else pa.string()), name


def test_tables_have_the_columns_in_their_order(question):
    long = recording("good", "fair")
    assert list(findings_of(question, long, "f")) == COLUMN_NAMES[False]
    assert list(findings_of(question, long, "f", windows=True)) == COLUMN_NAMES[True]
    assert findings_of(question, long, "f")["peak_at"].tolist() == [10.0, 0.0]
    plain = ["record", "condition", "score", "percentile", "quality"]
    assert list(tabulate(question, [recording("good")])) == plain
    assert list(tabulate(question, [])) == plain
    assert list(findings_of(question, recording("unusable"), "f")) == plain


def test_the_terminal_and_the_documents_have_them(question, capsys):
    print_findings(findings_of(question, recording("good", "fair"), "f"))
    shown = capsys.readouterr().out
    for name, one in COLUMNS.items():
        assert bool(one.heading) == (name in SHOWN), name
        assert all(line in shown for line in one.heading.split("\n")), name
        assert f"`{name}`" in DBeta.diagnose.__doc__, name
    line = next(line for line in shown.splitlines() if "other" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["other", "+0.71", "–", "0:00:00", "+1.00", "fair"]
