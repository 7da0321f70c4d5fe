"""Hub ids: a hub of this test's own, its refusals, its absence, and what is uploaded to it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard, constants
from huggingface_hub.errors import EntryNotFoundError
from transformers import AutoModel, AutoProcessor

import dbeta
from dbeta.checkpoints.hub import download

COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as downloading a model takes; an owner's name says how it answers."""

    folder: Path
    asked: list[str]

    def do_GET(self):
        path = self.path.partition("?")[0].strip("/")
        self.asked.append(f"{self.command} {path}")
        refusals = {
            "private": (401, "RepoNotFound"),
            "nobody": (401, ""),
            "gated": (403, "GatedRepo"),
            "broken": (503, ""),
        }
        owner = path.removeprefix("api/models/").partition("/")[0]
        file = self.folder / path.rpartition("/")[2]
        if owner in refusals:
            code, reason = refusals[owner]
            return self.answer(code, b"{}", {"X-Error-Code": reason})
        if "/tree/" in path:
            files = [
                {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": etag(one)} for one in self.files()
            ]
            return self.answer(200, json.dumps(files).encode())
        if path.startswith("api/"):
            return self.answer(200, json.dumps({"id": "org/name", "sha": COMMIT, "siblings": []}).encode())
        if not file.is_file():
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        return self.answer(200, file.read_bytes(), {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(file)}"'})

    do_HEAD = do_GET

    def files(self):
        left_out = "model.safetensors" if "incomplete" in self.path else ""
        return [one for one in self.folder.iterdir() if one.name != left_out]

    def answer(self, code, content, headers=None):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def etag(file):
    return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


def use(endpoint, monkeypatch):
    """Let the libraries ask there, also those that remember another address."""
    monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(cache, monkeypatch, micro_checkpoint):
    """A hub on this machine that has the micro checkpoint under every name, and what it was asked for."""
    handler = type("MicroHub", (Hub,), {"folder": micro_checkpoint, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    use(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield handler.asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_hub(cache, monkeypatch):
    """An address at which nobody answers."""
    use("http://127.0.0.1:9", monkeypatch)


def failure(name) -> str:
    """The one sentence of a failed load."""
    with pytest.raises(dbeta.DBetaError) as caught:
        dbeta.load(name)
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    return message.removeprefix(f"{name}: ")


# --- Downloading


def test_a_model_is_downloaded_once(hub, cache, micro_checkpoint, make_ecg):
    from_folder, from_hub = dbeta.load(micro_checkpoint), dbeta.load("org/name")
    np.testing.assert_array_equal(from_hub.embed(make_ecg()), from_folder.embed(make_ecg()))
    np.testing.assert_array_equal(from_hub.embed_text("pause"), from_folder.embed_text("pause"))
    assert from_hub.panel.shape == (16, 32)
    downloads = [one for one in hub if one.startswith("GET org/name/resolve/")]
    assert f"GET org/name/resolve/{COMMIT}/model.safetensors" in downloads
    dbeta.load("org/name")
    assert [one for one in hub if one.startswith("GET org/name/resolve/")] == downloads


def test_auto_classes_take_the_hub_id(hub, micro_checkpoint, make_ecg):
    model, processor = AutoModel.from_pretrained("org/name"), AutoProcessor.from_pretrained("org/name")
    embeds = model(**processor(ecg=make_ecg(), text="pause")).ecg_embeds.detach()
    expected = dbeta.load(micro_checkpoint, precision="float32").embed(make_ecg())
    np.testing.assert_allclose(embeds, expected, atol=1e-5)


def test_the_tokenizer_is_that_of_the_same_revision(hub, micro_checkpoint, tmp_path):
    processor = dbeta.DBetaProcessor.from_pretrained("org/name", revision=COMMIT, cache_dir=tmp_path / "another")
    hub.clear()
    assert processor.tokens(["pause"])["input_ids"].shape[0] == 1
    assert f"HEAD org/name/resolve/{COMMIT}/tokenizer.json" in hub
    assert list((tmp_path / "another").rglob("tokenizer.json"))
    assert not [one for one in hub if "/main/" in one]


def test_what_was_downloaded_is_there_without_the_hub(hub, monkeypatch, make_ecg):
    expected = dbeta.load("org/name").embed(make_ecg())
    use("http://127.0.0.1:9", monkeypatch)
    np.testing.assert_array_equal(dbeta.load("org/name").embed(make_ecg()), expected)


def test_a_folder_comes_before_the_hub(hub, micro_checkpoint, tmp_path, monkeypatch):
    shutil.copytree(micro_checkpoint, tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    dbeta.load("org/name")
    assert hub == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("private/model", "the hub has no such model; check the name, or log in"),
        ("nobody/no-such-model", "the hub has no such model; check the name, or log in"),
        ("gated/model", "access to this model must be requested; request it on"),
        ("broken/model", r"the hub answered with an error \(503\); try again later"),
        ("org/incomplete", "model.safetensors is missing on the hub or in its cache"),
        ("runs/tiny/best", "neither a folder nor a hub id"),
        ("my model", "neither a folder nor a hub id"),
    ],
)
def test_what_the_hub_does_not_give(hub, name, reason):
    assert re.search(reason, failure(name))


def test_no_network(no_hub):
    reason = "is not a folder, and the hub is unreachable; check the network or name a folder"
    assert failure("nobody/no-such-model") == reason


def test_a_network_that_never_answers(cache, monkeypatch):
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Hub)  # takes connections, and leaves them
    use(f"http://127.0.0.1:{listening.server_port}", monkeypatch)
    monkeypatch.setattr("dbeta.checkpoints.hub.TIMEOUT", 0.2)
    assert "the hub is unreachable" in failure("org/name")
    listening.server_close()


def test_no_room_in_the_cache(hub, cache):
    cache.write_text("not a folder")
    assert re.search(r"cannot be stored in the hub's cache \(.+\); free some space", failure("org/name"))


@pytest.mark.slow
def test_offline_a_cached_model_is_found_and_any_other_is_a_users_error(micro_checkpoint, tmp_path):
    repository = tmp_path / "hub" / "models--org--name"
    shutil.copytree(micro_checkpoint, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    code = """
import sys, dbeta, numpy
from pydicom.data import get_testdata_file
ecg = dbeta.read_ecg(get_testdata_file("waveform_ecg.dcm"))
print(numpy.array_equal(dbeta.load("org/name").embed(ecg), dbeta.load(sys.argv[1]).embed(ecg)))
sys.argv = ["dbeta", "diagnose", "record.hea", "--model", "nobody/no-such-model"]
from dbeta.cli import main
main()
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", code, micro_checkpoint],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout == "True\n"
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "nobody/no-such-model: is not a folder, and HF_HUB_OFFLINE disables the hub; unset it" in line


# --- Uploading


@pytest.fixture
def uploaded(monkeypatch, tmp_path):
    """The folder into which whatever is pushed goes; nothing leaves this machine."""
    folder = tmp_path / "uploaded"
    folder.mkdir()

    def create_commit(self, repo_id, operations, **_):
        assert repo_id == "me/mine"
        for one in operations:
            shutil.copy(one.path_or_fileobj, folder / one.path_in_repo)

    def no_card(*_, **__):
        raise EntryNotFoundError("there is no card yet")

    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo_id, **_: SimpleNamespace(repo_id=f"me/{repo_id}"))
    monkeypatch.setattr(HfApi, "create_commit", create_commit)
    monkeypatch.setattr(ModelCard, "load", no_card)
    return folder


def test_model_and_processor_are_pushed(micro_checkpoint, uploaded, make_ecg):
    AutoModel.from_pretrained(micro_checkpoint).push_to_hub("mine")
    AutoProcessor.from_pretrained(micro_checkpoint).push_to_hub("mine")
    names = {file.name for file in uploaded.iterdir()}
    assert names >= {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "README.md"}
    pushed = dbeta.load(uploaded)
    np.testing.assert_array_equal(pushed.embed(make_ecg()), dbeta.load(micro_checkpoint).embed(make_ecg()))
    assert pushed.embed_text("pause").shape == (1, 32)


def test_saving_can_push_too(micro_checkpoint, uploaded, tmp_path):
    folder = tmp_path / "mine"
    AutoProcessor.from_pretrained(micro_checkpoint).save_pretrained(folder, push_to_hub=True)
    saved = {file.name for file in folder.iterdir()}
    assert saved == {"preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in uploaded.iterdir()} == saved | {"README.md"}


def test_download_gives_a_folder(hub, micro_checkpoint):
    folder = download("org/name")
    assert (folder / "config.json").read_bytes() == (micro_checkpoint / "config.json").read_bytes()
