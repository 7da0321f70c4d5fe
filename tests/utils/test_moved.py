"""Old module names: they work, say where things went, and cost nothing until used."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import dbeta
from dbeta.utils.moved import MOVED

OLD = [
    ("checkpoint", "load", "dbeta.inference.load"),
    ("checkpoint", "bundled_checkpoint", "dbeta.checkpoints.read"),
    ("checkpoint", "save_text_embeddings", "dbeta.checkpoints.text_embeddings"),
    ("reading", "read_ecg", "dbeta.io.read"),
    ("processing", "DBetaProcessor", "dbeta.model.processor"),
    ("features", "DBetaTransformer", "dbeta.integrations.sklearn"),
    ("pipeline", "ECGFeatureExtractionPipeline", "dbeta.integrations.pipeline"),
    ("plotting", "plot_ecg", "dbeta.report.plot"),
    ("quality", "assess_quality", "dbeta.signal.quality"),
    ("search", "Index", "dbeta.inference.search"),
    ("search", "write_index", "dbeta.archive.index"),
    ("lead_checks", "check_leads", "dbeta.signal.lead_checks"),
    ("workers", "map_in_workers", "dbeta.utils.workers"),
    ("evaluation.conditions", "find_condition", "dbeta.conditions.registry"),
    ("corpus.simulate.simulation", "simulate", "dbeta.simulation.simulation"),
    ("corpus.simulate.build", "build_simulated", "dbeta.corpus.simulated"),
]


@pytest.mark.parametrize(("old", "name", "new"), OLD)
def test_an_old_name_is_the_new_one(old, name, new):
    module = importlib.import_module(f"dbeta.{old}")
    with pytest.warns(DeprecationWarning, match=rf"dbeta\.{old}\.{name} has moved to {new}\.{name};") as warned:
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(new), name)
    assert warned[0].filename == __file__


@pytest.mark.parametrize(
    "statement",
    [
        "from dbeta.corpus.simulate.simulation import simulate",
        "from dbeta.corpus.simulate import simulation; simulation.simulate",
        "import dbeta.reading; dbeta.reading.read_ecg",
        "from dbeta import reading; reading.read_ecg",
        "import dbeta.corpus.simulate.simulation; dbeta.corpus.simulate.simulation.simulate",
        "import dbeta.evaluation.conditions; dbeta.evaluation.conditions.find_condition",
        "import dbeta; import dbeta.corpus.simulate.simulation as s; s.simulate",
    ],
)
def test_all_kinds_of_import_statement(statement):
    with pytest.warns(DeprecationWarning, match="has moved to"):
        exec(statement, {})


@pytest.mark.parametrize(("old", "name", "new"), OLD)
def test_a_star_import_binds_the_names(old, name, new):
    bound = {}
    with pytest.warns(DeprecationWarning, match="has moved to"):
        exec(f"from dbeta.{old} import *", bound)
    assert bound[name] is getattr(importlib.import_module(new), name)
    assert not {"annotations", "np", "Path", "Any"} & set(bound)


def test_every_new_module_exists():
    for new in MOVED.values():
        importlib.import_module(f"dbeta.{new}")


def test_a_name_that_never_was():
    from dbeta import reading

    with pytest.raises(AttributeError, match=r"moved to 'dbeta\.io\.read', which has no 'nonsense'"):
        reading.nonsense  # noqa: B018


def test_inference_has_its_public_name_without_loading_torch():
    code = """
import sys
import dbeta.inference.loader, dbeta.search
assert "torch" not in sys.modules
from dbeta.inference import DBeta
assert DBeta.__module__ == "dbeta.inference.dbeta"
"""
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:dbeta", "-c", code], check=True, timeout=600)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dbeta.inference.nonsense  # noqa: B018


def test_no_module_lies_at_the_root():
    root = Path(dbeta.__file__).parent
    assert sorted(file.name for file in root.glob("*.py")) == ["__init__.py", "ecg.py", "errors.py"]


def test_a_dotted_path_in_a_fresh_process():
    code = "import dbeta; import dbeta.corpus.simulate.simulation as s; import dbeta.evaluation.conditions as c; " + (
        "print(s.simulate.__name__, c.find_condition.__name__, dbeta.corpus.simulate.simulation is s)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["simulate", "find_condition", "True"]
