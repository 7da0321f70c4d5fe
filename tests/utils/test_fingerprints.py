import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from safetensors.torch import save_file

from dbeta.model import DBetaModel
from dbeta.utils.fingerprints import (
    benchmark_fingerprint,
    checkpoint_fingerprint,
    ecg_embedding_fingerprint,
    names_fingerprint,
    run_fingerprint,
    signal_digest,
    source_fingerprint,
    text_embedding_fingerprint,
    training_texts_fingerprint,
)


def check(same: dict[str, str], different: dict[str, str], reference: str) -> None:
    """Check that every "same" fingerprint is the reference, and that no two of the others are equal."""
    assert {name: one == reference for name, one in same.items()} == dict.fromkeys(same, True)
    others = [reference, *different.values()]
    assert len(set(others)) == len(others), different
    assert all(set(one) <= set("0123456789abcdef") for one in others)


def test_a_checkpoint_is_named_by_its_weights_and_input_format(tmp_path):
    for name, value in (("one", 1.0), ("copy", 1.0), ("other", 1.0 + 2**-23)):
        save_file({"weight": torch.tensor([value])}, tmp_path / f"{name}.safetensors")
    check(
        {"another file": checkpoint_fingerprint(tmp_path / "copy.safetensors", (500, "mv"))},
        {
            "weights": checkpoint_fingerprint(tmp_path / "other.safetensors", (500, "mv")),
            "input format": checkpoint_fingerprint(tmp_path / "one.safetensors", (500, "z")),
        },
        checkpoint_fingerprint(tmp_path / "one.safetensors", (500, "mv")),
    )


def test_ecg_embeddings_are_named_by_weights_configuration_and_what_else_decides(micro_config):
    torch.manual_seed(0)
    model = DBetaModel(micro_config())

    def fingerprint(changes: dict = {}, about: tuple = ("float32",), name: str = "") -> str:  # noqa: B006
        config = micro_config(**changes)
        config._name_or_path = name
        return ecg_embedding_fingerprint([model.ecg_encoder, model.ecg_proj], config, about)

    reference = fingerprint()
    same = {"again": fingerprint(), "the folder's name": fingerprint(name="elsewhere")}
    different = {
        "configuration": fingerprint({"ecg_mask_ratio": 0.25}),
        "precision": fingerprint(about=("bfloat16",)),
        "fewer parts": ecg_embedding_fingerprint([model.ecg_encoder], micro_config(), ("float32",)),
    }
    with torch.no_grad():
        model.text_proj.weight += 1
    same["the text encoder"] = fingerprint()
    with torch.no_grad():
        model.ecg_proj.weight[0, 0] += 1
    different["a weight"] = fingerprint()
    check(same, different, reference)


def test_text_embeddings_are_named_by_text_weights_settings_and_tokenizer(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "other.json").write_text("{ }")
    text, ecg = torch.arange(6.0).reshape(3, 2), torch.zeros(2)

    def fingerprint(text=text, ecg=ecg, name="text_proj.weight", settings=(1, {"a": 2}), tokenizer="tokenizer.json"):
        save_file({name: text, "ecg_proj.weight": ecg}, tmp_path / "model.safetensors")
        return text_embedding_fingerprint(tmp_path / "model.safetensors", settings, tokenizer and tmp_path / tokenizer)

    trained, trained_below = text.clone(), text.clone()
    trained[0, 1] += 1
    trained_below[2, 1] += 1
    check(
        {
            "again": fingerprint(),
            "ECG weights": fingerprint(ecg=torch.ones(2)),
            # A known limit: only the first row of each tensor is read, and training changes all of them
            "other rows": fingerprint(trained_below),
        },
        {
            "text weights": fingerprint(trained),
            "names": fingerprint(name="text_pooler.weight"),
            "settings": fingerprint(settings=(1, {"a": 3})),
            "tokenizer": fingerprint(tokenizer="other.json"),
            "no tokenizer": fingerprint(tokenizer=None),
        },
        fingerprint(),
    )


def test_a_source_is_named_by_its_records_in_order():
    def table(**changes) -> pd.DataFrame:
        columns = {"record_id": ["a", "b"], "findings": [["x", "y"], []], "age": [50.0, np.nan], "report": ["r", None]}
        return pd.DataFrame(columns | changes)

    def fingerprint(table: pd.DataFrame) -> str:
        return source_fingerprint(table, ["findings"])

    check(
        {
            "the index": fingerprint(table().set_index(pd.Index([7, 8]))),
            "lists as tuples": fingerprint(table(findings=[("x", "y"), ()])),
            "empty text for none": fingerprint(table(report=["r", ""])),
        },
        {
            "order": fingerprint(table()[::-1]),
            "a record more": fingerprint(pd.concat([table(), table()[:1]])),
            "text": fingerprint(table(report=["s", None])),
            "number": fingerprint(table(age=[51.0, np.nan])),
            "list": fingerprint(table(findings=[["x"], ["y"]])),
            "order of a list": fingerprint(table(findings=[["y", "x"], []])),
            "a column more": fingerprint(table(sex=["", ""])),
            "a column's name": fingerprint(table().rename(columns={"report": "text"})),
        },
        fingerprint(table()),
    )


def test_training_texts_are_named_by_records_and_texts():
    def table(ids=("a", "b"), reports=("r", ""), findings=(["x"], ["y", "z"])) -> pa.Table:
        rows = zip(ids, reports, findings, strict=True)
        return pa.Table.from_pylist([{"record_id": i, "report": r, "findings": f} for i, r, f in rows])

    check(
        {
            "order of findings": training_texts_fingerprint([table(findings=(["x"], ["z", "y"]))]),
            "findings beside a report": training_texts_fingerprint([table(findings=([], ["y", "z"]))]),
        },
        {
            "ids": training_texts_fingerprint([table(ids=("a", "c"))]),
            "report": training_texts_fingerprint([table(reports=("s", ""))]),
            "findings that are the text": training_texts_fingerprint([table(findings=(["x"], ["y"]))]),
            "order": training_texts_fingerprint([table(("b", "a"), ("", "r"), (["y", "z"], ["x"]))]),
            "fewer": training_texts_fingerprint([table()[:1]]),
        },
        training_texts_fingerprint([table()]),
    )


def test_a_benchmark_is_named_by_samples_labels_and_splits():
    digests = [b"1" * 16, b"2" * 16]
    labels = np.array([[1, 0], [0, -1]], np.int8)

    def records(**changes) -> pd.DataFrame:
        columns = {"record_id": ["a", "b"], "patient_id": ["p", "q"], "split": ["train", "test"], "age": [1.0, 2.0]}
        return pd.DataFrame(columns | changes)

    def fingerprint(table=records(), labels=labels, classes=("x", "y"), digests=digests) -> str:  # noqa: B008
        return benchmark_fingerprint(table, labels, classes, digests)

    check(
        {
            "order of records": fingerprint(
                records()[::-1].reset_index(drop=True), labels[::-1].copy(), digests=digests[::-1]
            ),
            "ages": fingerprint(records(age=[3.0, 4.0])),
        },
        {
            "labels": fingerprint(labels=np.array([[1, 0], [0, 0]], np.int8)),
            "classes": fingerprint(classes=("x", "z")),
            "samples": fingerprint(digests=[digests[0], b"3" * 16]),
            "samples swapped": fingerprint(digests=digests[::-1]),
            "split": fingerprint(records(split=["train", "validation"])),
            "patient": fingerprint(records(patient_id=["p", "p"])),
            "id": fingerprint(records(record_id=["a", "c"])),
        },
        fingerprint(),
    )


def test_hashes_that_stored_results_rely_on_stay_the_same():
    named = hashlib.sha256(b"a.hea\x00b\xff.hea\x00").hexdigest()
    assert names_fingerprint(["a.hea", "b\udcff.hea"]) == named
    assert names_fingerprint(["b\udcff.hea", "a.hea"]) != named
    assert signal_digest(np.zeros(2, np.float32)) == hashlib.blake2b(bytes(8), digest_size=16).digest()
    assert run_fingerprint(("a", 1)) == hashlib.blake2b(b"('a', 1)", digest_size=8).hexdigest()
