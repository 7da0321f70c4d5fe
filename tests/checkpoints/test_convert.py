"""`dbeta convert` as a user meets it: what is written, what is refused in one sentence, and that nothing is lost."""

import json
import os
import pickle
import random
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import dbeta
from dbeta.checkpoints.convert import _creating
from dbeta.checkpoints.official import to_official
from dbeta.checkpoints.official_layout import lay_out
from dbeta.corpus.tokenizer import train_tokenizer
from dbeta.inference.load import load
from dbeta.model import DBetaConfig, DBetaModel
from golden import golden_state, golden_vectors

FILES = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}


@pytest.fixture(name="run")
def convert(run):
    """Run `dbeta convert` with these arguments in an empty folder: exit code and stderr; nothing else may be said."""

    def call(*arguments):
        code, out, err = run("convert", *arguments)
        assert out == ""
        return code, err

    return call


@pytest.fixture
def refused(run, tmp_path):
    """Run it and expect one sentence that holds these words, and no file made or changed."""

    def call(*arguments, words):
        before = contents(tmp_path)
        code, said = run(*arguments)
        assert code == 1
        assert said.startswith("error: ")
        assert said.count("\n") == 1 and len(said) < 900
        for word in [words] if isinstance(words, str) else words:
            assert word in said
        assert contents(tmp_path) == before
        return said

    return call


def contents(folder):
    """Every file below a folder, and the folders themselves."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="session")
def golden_file(tmp_path_factory):
    """The golden checkpoint in the authors' layout. To be read only."""
    path = tmp_path_factory.mktemp("golden") / "golden.pt"
    torch.save({"model": golden_state()}, path)
    return path


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    """A tokenizer of fewer tokens than the golden checkpoint's 320."""
    folder = tmp_path_factory.mktemp("tokenizer") / "small"
    train_tokenizer(["sinus rhythm. normal ecg", "atrial fibrillation"], 300).save_pretrained(folder)
    return folder


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].view(torch.int32), value.view(torch.int32)), name


def test_a_whole_checkpoint(run, golden_file, tokenizer_folder, make_ecg, tmp_path):
    code, said = run(golden_file, "out", "--tokenizer", tokenizer_folder)
    assert code == 0
    assert "out contains the whole pretraining model" in said
    assert "ecg_heads=4, fusion_heads=4, mem_heads=2, mem_layer=1" in said
    assert "tokenizer" not in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == FILES | {"tokenizer.json", "tokenizer_config.json", "text_embeddings.safetensors"}
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()}
    assert len(modes) == 1

    model = load("out", precision="float32")
    assert model.model.config.parts == "all"
    assert len(model.diagnose(make_ecg(), ["sinus rhythm", "atrial fibrillation"])) == 2
    again = DBetaModel.from_pretrained("out").eval()
    vectors = golden_vectors()
    with torch.no_grad():
        for one in (model.model, again):
            found = one.embed_ecg(vectors["input_ecg"])
            torch.testing.assert_close(found, vectors["ecg_embedding"][:1], atol=1e-4, rtol=0)
            found = one.embed_text(vectors["input_ids"].long(), vectors["attention_mask"])
            torch.testing.assert_close(found, vectors["text_embedding_nomask"], atol=1e-4, rtol=0)


def test_the_card(run, golden_file, tmp_path):
    run(golden_file, "out", "--set", "ecg_heads=2", "--set", "hidden_dropout=0.2")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: dbeta\n")
    for words in (
        "# out",
        "`golden.pt`",
        "0.7 M parameters",
        "CC BY-NC 4.0",
        "aVF before aVL",
        "millivolts",
        "flan-t5",
    ):
        assert words in card
    assert "except `ecg_heads`, `hidden_dropout`, given with `--set`" in card
    settings = json.loads(card.split("```json")[1].split("```")[0])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert settings["ecg_heads"] == 2 and settings["fusion_heads"] == 4 and settings["hidden_dropout"] == 0.2
    assert all(config[name] == value for name, value in settings.items())


def test_there_and_back(run, golden_file, tmp_path):
    assert run(golden_file, "folder")[0] == 0
    code, said = run("folder", "back.pt", "--to-official")
    assert code == 0
    assert said == "back.pt written\n"
    back = torch.load("back.pt", weights_only=True)
    assert list(back) == ["model"]
    assert_same(back["model"], golden_state())
    assert run("back.pt", "again")[0] == 0
    assert_same(load_file("again/model.safetensors"), load_file("folder/model.safetensors"))
    assert (tmp_path / "again/config.json").read_bytes() == (tmp_path / "folder/config.json").read_bytes()
    # T5's embedding is stored once, not twice
    assert Path("back.pt").stat().st_size < Path("folder/model.safetensors").stat().st_size + 200_000


def test_what_the_layout_does_not_hold_is_said(run, golden_file):
    run(golden_file, "folder", "--set", "mem_heads=4", "--set", "n_samples=2500")
    code, said = run("folder", "back.pt", "--to-official")
    assert code == 0
    assert "not stored in that layout; pass with --set when converting back: mem_heads=4, n_samples=2500\n" in said


def test_models_that_the_published_code_cannot_run(run, refused, golden_file, micro_checkpoint, tmp_path):
    refused(micro_checkpoint, "x.pt", "--to-official", words=["ets_log_scale", "ets_bias", str(micro_checkpoint)])
    run(golden_file, "masked", "--set", "text_attention_mask=true")
    assert load("masked").model.text_tower.text_encoder.use_mask
    refused("masked", "x.pt", "--to-official", words="text_attention_mask is True")
    assert run("masked", "x.pt", "--to-official", "--set", "text_attention_mask=false")[0] == 0
    assert_same(torch.load("x.pt", weights_only=True)["model"], golden_state())


def test_encoders_alone(run, make_ecg, tokenizer_folder, golden_file):
    names = ("multi_modal_ecg_l", "multi_modal_language_l", "multi_modal_ecg_pool", "multi_modal_language_pool")
    fused = (*names, "modality", "mlm_head", "mim_head", "itm_head")
    state = {name: value for name, value in golden_state().items() if not name.startswith(fused)}
    torch.save({"model": state}, "encoders.pt")
    code, said = run("encoders.pt", "encoders", "--tokenizer", tokenizer_folder)
    assert code == 0 and "both encoders" in said
    assert len(load("encoders").diagnose(make_ecg(), "sinus rhythm")) == 1
    assert json.loads(Path("encoders/config.json").read_text())["parts"] == "encoders"
    assert run(golden_file, "whole")[0] == 0
    np.testing.assert_array_equal(load("encoders").embed(make_ecg()), load("whole").embed(make_ecg()))
    assert run("encoders", "back.pt", "--to-official")[0] == 0
    assert_same(torch.load("back.pt", weights_only=True)["model"], state)


def test_the_ecg_encoder_alone(run, refused, make_ecg, tokenizer_folder, golden_file):
    kept = ("class_embedding", "ecg_encoder", "multi_modal_ecg_proj", "unimodal_ecg_pooler")
    state = {name: value for name, value in golden_state().items() if name.startswith(kept)}
    torch.save(state, "ecg.pt")
    refused("ecg.pt", "ecg", words="ecg_heads cannot be read from the checkpoint; give it, as in --set ecg_heads=")
    refused("ecg.pt", "ecg", "--set", "ecg_heads=4", "--tokenizer", tokenizer_folder, words="no text encoder")
    code, said = run("ecg.pt", "ecg", "--set", "ecg_heads=4")
    assert code == 0 and "without a text encoder" in said and "tokenizer" not in said
    model = load("ecg")
    assert model.embed(make_ecg()).shape == (1, 64)
    with pytest.raises(dbeta.DBetaError) as error:
        model.diagnose(make_ecg(), "sinus rhythm")
    assert "\n" not in str(error.value)
    assert "embeds recordings but cannot score findings" in Path("ecg/README.md").read_text()


def test_without_a_tokenizer_it_is_said(run, golden_file, make_ecg):
    code, said = run(golden_file, "out")
    assert code == 0
    assert "diagnose needs one" in said and "google/flan-t5-base" in said and "--tokenizer" in said
    assert load("out").embed(make_ecg()).shape == (1, 64)
    with pytest.raises(dbeta.DBetaError, match="no tokenizer"):
        load("out").diagnose(make_ecg(), "sinus rhythm")


def test_tokenizers_that_do_not_suit(refused, golden_file, tmp_path):
    refused(golden_file, "out", "--tokenizer", "nowhere", words=["nowhere", "no such folder"])
    (tmp_path / "empty").mkdir()
    refused(golden_file, "out", "--tokenizer", "empty", words=["empty", "the tokenizer cannot be read"])
    train_tokenizer(["sinus rhythm " + chr(i) * 3 for i in range(200, 900)], 400).save_pretrained("large")
    refused(golden_file, "out", "--tokenizer", "large", words=["large", "400 tokens", "320"])
    (tmp_path / "large" / "tokenizer.json").write_text("{")
    refused(golden_file, "out", "--tokenizer", "large", words="large")
    refused(golden_file, "out", "--tokenizer", "large", "--to-official", words="--tokenizer")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_files_as_torch_writes_them(run, golden_file, bare, legacy):
    """With and without "model", with other entries beside it, as a zip archive or in the old format."""
    state = {name: torch.nn.Parameter(value) for name, value in golden_state().items()}
    state["ecg_encoder.mask_emb"] = torch.zeros(5)
    content = state if bare else {"model": state, "cfg": {"task": ["a", 1]}, "epoch": 3, "optimizer": None}
    torch.save(content, "file.pt", _use_new_zipfile_serialization=not legacy)
    assert run("file.pt", "out")[0] == 0
    assert run(golden_file, "expected")[0] == 0
    assert_same(load_file("out/model.safetensors"), load_file("expected/model.safetensors"))


# --- what is refused


def save(path, change):
    """The golden checkpoint with something changed."""
    state = golden_state()
    content = change(state)
    torch.save({"model": state} if content is None else content, path)


def without(name):
    return lambda state: state.__delitem__(name)


def filled(name, value):
    return lambda state: state.update({name: torch.full_like(state[name], value)})


DAMAGES = {
    "dropped": (without("itm_head.fc.bias"), "lacks itm_head.fc.bias"),
    "renamed": (lambda state: state.update({"odd\n\x1b[31mname": state.pop("itm_head.fc.bias")}), "odd??[31mname"),
    "reshaped": (lambda state: state.update({"class_embedding": torch.zeros(65)}), "class_embedding of shape 65"),
    "not finite": (filled("mlm_head.bias", np.inf), "mlm_head.bias holds NaN or infinity"),
    "unequal copy": (filled("language_encoder.shared.weight", 0), "language_encoder.shared.weight should be a copy"),
    "a number": (lambda state: state.update({"epoch": 3}), "'epoch' is not a named tensor but of type int"),
    "a number as name": (lambda state: state.update({3: torch.zeros(3)}), "'3' is not a named tensor"),
    "integers": (lambda state: state.update({"mlm_head.bias": torch.zeros(320).int()}), "mlm_head.bias is not a dense"),
    "doubles": (lambda state: state.update({"mlm_head.bias": torch.zeros(320).double()}), "float64"),
    "sparse": (lambda state: state.update({"mlm_head.bias": torch.zeros(320).to_sparse()}), "sparse_coo"),
    "meta": (lambda state: state.update({"mlm_head.bias": torch.zeros(320, device="meta")}), "mlm_head.bias"),
    "huge": (
        lambda state: state.update({"class_embedding": torch.zeros(1).expand(10**9)}),
        "class_embedding is larger than the file",
    ),
    "a list": (lambda state: [state], "holds no state dict"),
    "a tensor": (lambda state: state["mlm_head.bias"], "holds no state dict"),
    "no state dict": (lambda state: {"model": [1, 2]}, "holds no state dict"),
    "empty": (lambda state: {}, "holds no D-BETA model"),
    "another model": (lambda state: {"conv1.weight": torch.zeros(3)}, "holds no D-BETA model"),
    "nested": (lambda state: {"state_dict": state}, "'state_dict' is not a named tensor but of type dict"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints(refused, damage, tmp_path):
    change, words = DAMAGES[damage]
    save(tmp_path / "bad.pt", change)
    refused("bad.pt", "out", words=["bad.pt: ", words])


@pytest.mark.slow
def test_every_kind_of_damage_to_tensors_anywhere(refused, tmp_path):
    """A sample over the whole checkpoint; `tests/model/test_official.py` goes through all of it."""
    for name in list(golden_state())[::40]:
        save(tmp_path / "bad.pt", without(name))
        refused("bad.pt", "out", words=f"lacks {name}")
        save(tmp_path / "bad.pt", lambda state, name=name: state.update({name: state[name][None]}))
        refused("bad.pt", "out", words=name)
        save(tmp_path / "bad.pt", filled(name, np.nan))
        refused("bad.pt", "out", words=f"{name} holds NaN")


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_files(refused, tmp_path, legacy):
    torch.save({"model": golden_state()}, tmp_path / "whole.pt", _use_new_zipfile_serialization=not legacy)
    data = (tmp_path / "whole.pt").read_bytes()
    for length in (0, 1, 2, 4, 9, 10, 11, 30, 100, 1000, len(data) // 2, len(data) - 1000, len(data) - 1):
        (tmp_path / "cut.pt").write_bytes(data[:length])
        refused("cut.pt", "out", words=["cut.pt: ", "get the file again"])


@pytest.mark.slow
def test_a_flipped_byte_is_noticed_or_matters_nothing(run, tmp_path, golden_file):
    data = golden_file.read_bytes()
    expected = golden_state()
    chance = random.Random(1)
    noticed = 0
    places = [
        *range(0, 60, 6),
        *(chance.randrange(len(data)) for _ in range(15)),
        *range(len(data) - 200, len(data), 20),
    ]
    for i, at in enumerate(places):
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        (tmp_path / "flipped.pt").write_bytes(changed)
        code, said = run("flipped.pt", f"out{i}")
        if code:
            noticed += 1
            assert said.startswith("error: flipped.pt: ") and said.count("\n") == 1
            assert not (tmp_path / f"out{i}").exists()
        else:
            run(f"out{i}", f"back{i}.pt", "--to-official")
            assert_same(torch.load(f"back{i}.pt", weights_only=True)["model"], expected)
    assert noticed > len(places) / 2


JUNK = {
    "empty": b"",
    "text": b"import os\nos.system('touch hit')\n",
    "words": b"checkpoint\n",
    "more words": b"card\nof the model\n\nread me\n",
    "zeros": bytes(1000),
    "zip": b"PK\x03\x04" + bytes(100),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "json": b'{"model": 3}',
    "page": b"<!doctype html><html><body>404</body></html>",
}


@pytest.mark.parametrize("junk", JUNK)
def test_files_that_are_no_checkpoint(refused, tmp_path, junk):
    (tmp_path / "junk.pt").write_bytes(JUNK[junk])
    refused("junk.pt", "out", words=["junk.pt: ", "is not a torch checkpoint"])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_things_that_are_no_checkpoint_file(refused, tmp_path, golden_file):
    refused("nowhere.pt", "out", words=["nowhere.pt", "no such file"])
    (tmp_path / "folder").mkdir()
    refused("folder", "out", words=["folder", "is a folder", "--to-official"])
    save_file({"a": torch.zeros(3)}, "weights.safetensors")
    refused("weights.safetensors", "out", words=["weights.safetensors", "safetensors"])
    (tmp_path / "weights.safetensors").rename(tmp_path / "weights.pt")
    refused("weights.pt", "out", words=["weights.pt", "safetensors"])
    with zipfile.ZipFile("archive.zip", "w") as archive:
        archive.writestr("a.txt", "some text")
    refused("archive.zip", "out", words="archive.zip: is not a torch checkpoint")
    with zipfile.ZipFile(golden_file) as old, zipfile.ZipFile("packed.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    refused("packed.pt", "out", words=["packed.pt", "is compressed"])
    torch.jit.script(torch.nn.Linear(2, 2)).save("script.pt")
    refused("script.pt", "out", words="script.pt")


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Evaluated(Command):
    """Runs Python when it is unpickled."""

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


class Own:
    """A class of nobody's."""


HOSTILE = {
    "a command beside the model": lambda hit: {"model": golden_state(), "args": Command(hit)},
    "a command for a model": lambda hit: {"model": Command(hit)},
    "a command as a tensor": lambda hit: {"model": golden_state() | {"class_embedding": Command(hit)}},
    "a command alone": lambda hit: Command(hit),
    "python": lambda hit: {"model": Evaluated(hit)},
    "a class": lambda hit: {"model": golden_state(), "args": Own()},
    "a module": lambda hit: torch.nn.Linear(2, 2),
}


def save_hostile(content, how):
    if how == "zip":
        torch.save(content, "hostile.pt")
    elif how == "legacy":
        torch.save(content, "hostile.pt", _use_new_zipfile_serialization=False)
    elif how.startswith("zip "):
        torch.save(content, "hostile.pt", pickle_protocol=int(how[-1]))
    else:
        Path("hostile.pt").write_bytes(pickle.dumps(content, protocol=int(how[-1])))


@pytest.mark.parametrize("how", ["zip", "zip 4", "legacy", "pickle 0", "pickle 2", "pickle 4", "pickle 5"])
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles(refused, tmp_path, what, how, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    hit = tmp_path / "hit"
    content = HOSTILE[what](hit)
    save_hostile(content, how)
    said = refused("hostile.pt", "out", words="hostile.pt: ")
    if how in ("zip", "legacy"):
        assert "was not opened since it would run code (" in said
    assert "would run code" in said or how == "pickle 0"
    assert not hit.exists()
    # and it would have
    if isinstance(content, Command):
        pickle.loads(pickle.dumps(content))
        assert hit.exists()


def test_numpy_arrays_are_no_tensors(refused):
    torch.save({"model": {"class_embedding": np.zeros(64)}}, "array.pt")
    refused("array.pt", "out", words="array.pt: was not opened since it would run code (numpy")


# --- where it is written


def test_nothing_is_written_over(run, refused, golden_file, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for place in ("full", "file", "link", golden_file, "."):
        refused(golden_file, place, words=[f"{place}: already exists"])
    refused(golden_file, "no/such/folder", words=["no/such/folder", "does not exist; create it first"])
    refused(golden_file, "file/inside", words="file/inside")
    (tmp_path / "new").mkdir()
    assert run(golden_file, "new")[0] == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == FILES
    for place in ("full", "file", "link"):
        refused("new", place, "--to-official", words="already exists")
    (tmp_path / "bare").mkdir()
    refused("new", "bare", "--to-official", words="bare: is a folder; name a file")


def test_folders_that_cannot_be_written_back(run, refused, golden_file, tmp_path):
    refused("nowhere", "x.pt", "--to-official", words=["nowhere", "config.json is missing"])
    refused(golden_file, "x.pt", "--to-official", words=["golden.pt", "config.json is missing"])
    run(golden_file, "folder")
    folder = tmp_path / "folder"
    config, weights = (folder / "config.json").read_text(), (folder / "model.safetensors").read_bytes()
    for text in (
        "",
        "{",
        "[]",
        "3",
        '{"model_type": "bert"}',
        config.replace('"hidden_size": 64', '"hidden_size": 65'),
    ):
        (folder / "config.json").write_text(text)
        refused("folder", "x.pt", "--to-official", words="folder: ")
    (folder / "config.json").write_text(config.replace('"ecg_layers": 2', '"ecg_layers": 3'))
    refused("folder", "x.pt", "--to-official", words="lacks ecg_encoder.layers.2.")
    (folder / "config.json").write_text(config)
    for data in (b"", weights[:1000], weights[:-1], b"x" * 100):
        (folder / "model.safetensors").write_bytes(data)
        refused("folder", "x.pt", "--to-official", words="folder: ")
    state = load_file(io_copy(tmp_path, weights))
    save_file(state | {"etm_head.classifier.bias": torch.tensor([0.0, np.nan])}, folder / "model.safetensors")
    refused("folder", "x.pt", "--to-official", words="etm_head.classifier.bias holds NaN")
    (folder / "model.safetensors").unlink()
    refused("folder", "x.pt", "--to-official", words="model.safetensors is missing")


def io_copy(folder, data):
    path = folder / "copy.safetensors"
    path.write_bytes(data)
    return path


def test_a_full_disk_leaves_nothing_half_written(run, refused, golden_file):
    assert run(golden_file, "folder")[0] == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
        refused(golden_file, "out", words=["out: cannot be written", "is there room?"])
        refused("folder", "out.pt", "--to-official", words=["out.pt: cannot be written", "is there room?"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "change, words",
    [
        ("ecg_heads", "write it as key=value"),
        ("=3", "unknown setting"),
        ("colour=red", "--set colour: unknown setting; choose from attention_dropout, "),
        ("ecg_heads=[", "is not a YAML value"),
        ("ecg_heads=five", "--set ecg_heads: invalid value 'five'; the published model has 12"),
        ("ecg_heads=7", "a width of 64 cannot be split into so many heads"),
        ("leads=[I, II]", "conv_layers.0.0.weight of shape 32×12×2, not 32×2×2"),
    ],
)
def test_settings_that_do_not_suit(refused, golden_file, change, words):
    refused(golden_file, "out", "--set", change, words=words)


def test_the_lead_order_of_the_authors_data(run, golden_file, make_ecg):
    """Leads are found by name, so only the model's own order changes what it sees."""
    order = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert run(golden_file, "theirs", "--set", f"leads={order}".replace("'", ""))[0] == 0
    assert run(golden_file, "standard")[0] == 0
    theirs, standard = load("theirs"), load("standard")
    assert theirs.processor.leads == order
    ecg = make_ecg()
    exchanged = dbeta.ECG(ecg.signal[[0, 1, 2, 3, 5, 4, *range(6, 12)]], 500)
    np.testing.assert_allclose(theirs.embed(ecg), standard.embed(exchanged), atol=1e-6)
    assert np.abs(theirs.embed(ecg) - standard.embed(ecg)).max() > 1e-3


_CONVERT = """
import resource, sys
from dbeta import cli
try:
    cli.main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
def test_the_published_size_in_less_than_6_gb(tmp_path):
    """321 M parameters; zeros, as only their number matters here, and of half precision, which takes more memory."""
    config = DBetaConfig.base(faithful=True)
    ours = {name: torch.zeros(shape) for name, shape in lay_out(config).ours.items()}
    state = {name: value.half() for name, value in to_official(config, ours).items()}
    assert len(state) == 645
    torch.save({"model": state}, tmp_path / "base.pt")
    environment = os.environ | {"PYTHONPATH": str(Path(dbeta.__file__).parents[1])}
    command = [sys.executable, "-c", _CONVERT, "convert", "base.pt", "folder"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 6e9
    assert (tmp_path / "folder" / "model.safetensors").stat().st_size > 4 * 321e6


def test_a_place_taken_meanwhile_is_not_overwritten(tmp_path):
    place = tmp_path / "out"
    with pytest.raises(dbeta.DBetaError, match="out: already exists"), _creating(place) as temporary:
        temporary.write_text("mine")
        place.write_text("another run's")
    assert place.read_text() == "another run's"
    assert list(tmp_path.iterdir()) == [place]
