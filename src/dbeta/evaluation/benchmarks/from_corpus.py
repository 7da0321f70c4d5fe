"""Benchmarks from corpora built by `dbeta corpus build`, without the dataset's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dbeta.conditions.registry import condition_of_label, find_condition, plain_condition
from dbeta.corpus.sources.base import Source
from dbeta.corpus.store import load_corpus, read_counts
from dbeta.errors import DBetaError
from dbeta.evaluation.benchmarks.base import Benchmark, assign_test_split, label_matrix, with_labels
from dbeta.evaluation.benchmarks.challenge_2021 import CLASSES as CHALLENGE_CLASSES
from dbeta.evaluation.benchmarks.code import FINDINGS as CODE_FINDINGS
from dbeta.evaluation.benchmarks.ptb_xl import ptb_xl_conditions, ptb_xl_labels
from dbeta.evaluation.benchmarks.readers import CorpusReader


def load_from_corpus(name: str, raw: Path) -> Benchmark:
    """Load a benchmark from a built corpus.

    Args:
        name: "corpus" for all findings of the corpus; or the benchmark whose labels are made from the statements of the
            corpus's source: "ptb-xl-…", "challenge-2021" or "code-15".
        raw: the corpus.

    Raises:
        DBetaError: the corpus cannot be read, or is from another source.
    """
    source = read_counts(raw)["source"]
    corpus = load_corpus(raw)
    columns = ["record_id", "patient_id", "split", "age", "sex", "device", "report"]
    table = corpus.select_columns([*columns, "findings", "unknown", "statements"]).to_pandas()
    table["file"] = [str(i) for i in range(len(table))]
    table, notes = assign_test_split(Source(table, [], raw, ""))
    protocol = f"corpus of {source}, split by patient as it was built"
    if name == "corpus":
        names = sorted(read_counts(raw)["vocabulary"])
        labels = label_matrix(table["findings"].tolist(), names)
        undecided = label_matrix(table["unknown"].tolist(), names)
        labels[undecided == 1] = -1
        # A finding without a positive test record cannot be measured
        there = (labels[(table["split"] == "test").to_numpy()] == 1).any(axis=0)
        names = [one for one, keep in zip(names, there, strict=True) if keep]
        if not names:
            raise DBetaError(f"{raw}: no test record has a finding; there is nothing to evaluate")
        labels = labels[:, there]
        conditions = {one: find_condition(one) or plain_condition(one) for one in names}
        protocol += "; every finding that a test record has"
    elif name.startswith("ptb-xl-") and source == "ptb-xl":
        task = name.removeprefix("ptb-xl-")
        labels, conditions = ptb_xl_labels(table["statements"], task), ptb_xl_conditions(task)
        if task != "all":
            table, labels = with_labels(table, labels)
    elif name == source == "challenge-2021":
        class_of = {code: label for label, codes in CHALLENGE_CLASSES.items() for code in codes}
        stated = [[class_of[code] for code in codes if code in class_of] for codes in table["statements"]]
        labels = label_matrix(stated, list(CHALLENGE_CLASSES))
        notes = [*notes, "A corpus has no weights.csv, so no challenge score is computed."]
        conditions = {label: condition_of_label("challenge-2021", label) for label in CHALLENGE_CLASSES}
    elif name == source == "code-15":
        labels = label_matrix(table["statements"].tolist(), list(CODE_FINDINGS))
        conditions = {label: condition_of_label("code", label) for label in CODE_FINDINGS}
    else:
        raise DBetaError(f"{raw}: is a corpus of {source}; evaluate it as `corpus`, or name a benchmark of that source")
    return Benchmark(
        name,
        protocol,
        table,
        np.asarray(labels),
        conditions,
        CorpusReader(corpus),
        notes=notes,
        sources=frozenset([source]),
        dataset=source,
    )
