"""transformers' Auto classes: what AutoConfig, AutoModel, AutoProcessor and AutoTokenizer make of a checkpoint."""

import importlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    PROCESSOR_MAPPING,
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
)

import dbeta
from dbeta.integrations import auto_classes as auto
from dbeta.model import DBetaConfig, DBetaModel
from dbeta.model.processor import DBetaProcessor

# --- In whichever order things are imported

#: What must work after any of the imports below, with no more than a checkpoint's folder.
CHECK = """
import sys
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor, AutoTokenizer
folder = sys.argv[1]
print(type(AutoProcessor.from_pretrained(folder)))
print(type(AutoFeatureExtractor.from_pretrained(folder)))
print("the model's code is loaded:", "dbeta.model.modeling" in sys.modules)
print(type(AutoConfig.from_pretrained(folder)))
print(type(AutoModel.from_pretrained(folder)))
print(len(AutoTokenizer.from_pretrained(folder)("pause").input_ids) > 0)
"""
ANSWERS = [
    "<class 'dbeta.model.processor.DBetaProcessor'>",
    "<class 'dbeta.model.processor.DBetaProcessor'>",
    "the model's code is loaded: False",
    "<class 'dbeta.model.config.DBetaConfig'>",
    "<class 'dbeta.model.modeling.DBetaModel'>",
    "True",
]


@pytest.mark.parametrize(
    "first",
    [
        # Half imported while the tables are: what a naive registration would ask for
        "import dbeta; from transformers import T5Config, PreTrainedModel",
        "from transformers import AutoModel, pipeline; import dbeta",
        # No more is imported for `diagnose` than it needs
        """
import dbeta, sys
from pydicom.data import get_testdata_file
dbeta.load().diagnose(get_testdata_file("waveform_ecg.dcm"))
assert not {"transformers.modeling_utils", "dbeta.model.modeling", "sklearn.base"} & set(sys.modules)
""",
    ],
)
@pytest.mark.slow
def test_whatever_is_imported_first(first, micro_checkpoint):
    done = subprocess.run(
        [sys.executable, "-c", first + CHECK, micro_checkpoint],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ANSWERS
    assert "dbeta" not in done.stderr  # no warning of an unknown kind of model


SOURCE = """
import sys
class TABLE:
    register = lambda key, value, exist_ok: sys.registered.append((key, value.__name__, exist_ok))
"""
ENTRY = ("dbeta", "DBetaProcessor", True)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A module that can be imported, with a table that dbeta registers a class in; the list of such registrations."""
    registered = []
    (tmp_path / "some_table.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(auto, "_TABLES", (("TABLE", "some_table", "DBetaProcessor"),))
    monkeypatch.setattr(auto, "_WATCHED", {"some_table"})
    monkeypatch.setattr(sys, "registered", registered, raising=False)
    yield registered
    sys.modules.pop("some_table", None)


def test_a_module_is_registered_in_when_it_has_been_imported(table):
    auto.register()
    assert table == []
    module = importlib.import_module("some_table")
    assert table == [ENTRY]
    assert module.__spec__.loader.get_source("some_table") == SOURCE
    importlib.import_module("some_table")
    assert table == [ENTRY]
    importlib.reload(module)
    assert table == [ENTRY] * 2


def test_a_module_that_was_imported_before_is_registered_in_at_once(table, monkeypatch):
    finders = [finder for finder in sys.meta_path if finder is not auto._RegisterAfterImport]
    monkeypatch.setattr(sys, "meta_path", finders)
    importlib.import_module("some_table")
    assert table == []
    auto.register()
    assert table == [ENTRY]
    auto.register()
    assert sys.meta_path.count(auto._RegisterAfterImport) == 1


def test_a_module_that_does_not_exist_is_missed_as_ever(monkeypatch):
    monkeypatch.setattr(auto, "_WATCHED", {"no_such_table"})
    with pytest.raises(ModuleNotFoundError, match="no_such_table"):
        importlib.import_module("no_such_table")


def test_importing_dbeta_again_changes_nothing(micro_checkpoint):
    importlib.reload(dbeta)
    assert sys.meta_path.count(auto._RegisterAfterImport) == 1
    assert type(AutoModel.from_pretrained(micro_checkpoint)) is DBetaModel


# --- What the Auto classes give


def test_config(micro_checkpoint):
    config = AutoConfig.from_pretrained(micro_checkpoint)
    assert type(config) is DBetaConfig
    assert config.hidden_size == 32
    assert config.text_config.vocab_size == 400
    assert AutoConfig.for_model("dbeta", ecg_layers=3).ecg_layers == 3


def test_model_from_a_configuration(micro_config):
    model = AutoModel.from_config(micro_config(ecg_layers=1))
    assert type(model) is DBetaModel
    assert len(model.ecg_encoder.layers) == 1


def test_processor_with_its_tokenizer(micro_checkpoint, make_ecg):
    processor = AutoProcessor.from_pretrained(micro_checkpoint)
    ours = DBetaProcessor.from_pretrained(micro_checkpoint)
    batch, expected = (one(ecg=make_ecg(), text=["Sinus rhythm", "pause"]) for one in (processor, ours))
    assert batch["ecg"].shape == (1, 12, 1000)
    assert all(torch.equal(batch[name], expected[name]) for name in ("ecg", "input_ids", "attention_mask"))
    assert AutoFeatureExtractor.from_pretrained(micro_checkpoint).to_dict() == ours.to_dict()


def test_tokenizer(micro_checkpoint, caplog):
    tokenizer = AutoTokenizer.from_pretrained(micro_checkpoint)
    ours = DBetaProcessor.from_pretrained(micro_checkpoint).tokenizer
    assert tokenizer("sinus rhythm").input_ids == ours("sinus rhythm").input_ids
    assert caplog.text == ""


def test_other_models_are_left_alone(tmp_path):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=10, **sizes)).save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is BertModel


def test_transformers_tables_can_still_be_pickled():
    assert pickle.loads(pickle.dumps(CONFIG_MAPPING["dbeta"])) is DBetaConfig
    assert pickle.loads(pickle.dumps(PROCESSOR_MAPPING["dbeta"])) is DBetaProcessor


# --- There and back


def test_a_saved_model_is_the_same_model(micro_model, make_ecg, tmp_path):
    model = micro_model(initializer_range=0.2)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert not again.training
    ours, its = model.state_dict(), again.state_dict()
    assert ours.keys() == its.keys()
    assert all(torch.equal(ours[name], its[name]) for name in ours)
    signal = torch.randn(2, 12, 1000)
    assert torch.equal(model.embed_ecg(signal), again.embed_ecg(signal))


def test_embeddings_are_those_of_dbeta_load(micro_checkpoint, make_ecg):
    model, processor = (auto.from_pretrained(micro_checkpoint) for auto in (AutoModel, AutoProcessor))
    loaded = dbeta.load(micro_checkpoint, precision="float32")
    ecgs, texts = [make_ecg(seed=1), make_ecg(seed=2, rate=120)], ["pause", "atrial fibrillation"]
    with torch.no_grad():
        both = model(**processor(ecg=ecgs, text=texts))
        of_ecgs, of_texts = model(**processor(ecg=ecgs)), model(**processor(text=texts))
    np.testing.assert_allclose(of_ecgs.ecg_embeds, loaded.embed(ecgs), atol=1e-5)
    np.testing.assert_allclose(of_texts.text_embeds, loaded.embed_text(texts), atol=1e-5)
    np.testing.assert_allclose(both.ecg_embeds, of_ecgs.ecg_embeds, atol=1e-5)
    np.testing.assert_allclose(both.text_embeds, of_texts.text_embeds, atol=1e-5)
    assert list(of_ecgs) == ["ecg_embeds"]
    assert list(of_texts) == ["text_embeds"]


def test_a_model_with_nothing_to_work_on(micro_model):
    with pytest.raises(dbeta.DBetaError, match="needs an input; pass `ecg`"):
        micro_model()()


@pytest.mark.parametrize("how", [{"dtype": torch.bfloat16}, {"device_map": "cpu"}, {"device_map": "auto"}])
def test_dtype_and_device_as_with_any_model(how, micro_checkpoint):
    model = AutoModel.from_pretrained(micro_checkpoint, **how)
    dtype = how.get("dtype", torch.float32)
    plain = DBetaModel.from_pretrained(micro_checkpoint).to(dtype).state_dict()
    assert all(torch.equal(value.cpu(), plain[name]) for name, value in model.state_dict().items())
    signal = torch.randn(1, 12, 1000, dtype=dtype, device=model.device)
    assert model.embed_ecg(signal).dtype == dtype
