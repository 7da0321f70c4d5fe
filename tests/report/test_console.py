"""Tables on the terminal fit 80 columns."""

import pandas as pd

from command_line import cells
from dbeta.report.console import print_findings, print_hits
from dbeta.report.evaluations import print_comparison, print_metrics


def test_findings_and_hits_are_readable_at_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    columns = {"score": 0.3, "percentile": 99.0, "quality": "unusable", "peak": 0.5, "peak_at": 7200.0}
    conditions = ["atrial fibrillation", "non-specific intraventricular conduction delay"]
    print_findings(pd.DataFrame({"record": "r.hea", "condition": conditions} | columns))
    out = capsys.readouterr().out
    assert "…" not in out
    words = [row[0] for row in cells(out)]
    assert words[0] == conditions[0]  # on one line
    assert " ".join(words[1:]) == conditions[1]  # broken between words
    long = "archive/" * 12 + "00001_hr.hea"
    print_hits(pd.DataFrame({"file": [long], "record": ["00001_hr.hea"], "score": [0.5]}))
    rows = cells(capsys.readouterr().out)
    assert "".join(row[0] for row in rows) == long
    assert all(len(row) == 2 for row in rows)  # no column that repeats the file's name


def test_evaluations_are_readable_at_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    figure = [0.9, 0.85, 0.95]
    name = "non-specific intraventricular conduction delay"
    figures = {"auroc": figure, "auprc": figure}
    one = {"classes": {name: figures | {"positives": 12345}}, "macro": figures}
    about = {"task": "zero-shot", "benchmark": "ptb-xl-super", "n_records": 2157, "protocol": "p", "notes": []}
    others = {"others": {"tiny-sim": one, "base": one}, "baselines": {"random": one, "normality": one}}
    print_metrics(about | one | others | {"missing": 0, "unread": []})
    out = capsys.readouterr().out
    assert "…" not in out
    assert "(0.850–0.950)" in out
    assert out.count("0.900") == 12
    row = {"task": "zero-shot", "benchmark": "challenge-2021", "model": "tiny", "source": "runs/zero-shot"}
    print_comparison([row | figures | {"records": 12345, "protocol": "p", "notes": []}])
    out = capsys.readouterr().out
    assert "…" not in out
    assert "challenge-2021" in out
    assert out.count("(0.850–0.950)") == 2
