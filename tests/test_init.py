"""The public names, and that reaching them is cheap until they are used."""

import subprocess
import sys

import pytest

import dbeta


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", dbeta.__all__)
def test_every_public_name_is_there(name):
    found = getattr(dbeta, name)
    assert found.__doc__ or name == "LEADS"
    assert name in dir(dbeta)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match=r"dbeta.*no attribute 'diagnoze'"):
        dbeta.diagnoze  # noqa: B018


def test_the_names_come_from_their_modules():
    assert dbeta.read_ecg.__module__ == "dbeta.io.read"
    assert dbeta.load.__module__ == "dbeta.inference.load"
    assert dbeta.DBetaModel.__module__ == "dbeta.model.modeling"
    assert dbeta.LEADS == ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


HEAVY = "sorted({'torch', 'transformers', 'datasets', 'matplotlib', 'wfdb', 'sklearn'} & set(sys.modules))"


@pytest.mark.parametrize("what", ["import dbeta", "from dbeta import ECG, DBetaError, read_ecg, find_ecgs"])
def test_importing_is_cheap(what):
    assert python(f"import sys; {what}; print({HEAVY})").strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["diagnose", "--help"], ["evaluate", "zero-shot", "--help"]])
def test_help_is_cheap(arguments):
    code = f"""
import sys
sys.argv = ["dbeta", *{arguments}]
from dbeta.cli import main
try:
    main()
except SystemExit as end:
    print("exit", end.code, {HEAVY})
"""
    assert python(code).strip().endswith("exit 0 []")


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert dbeta.__version__ == version("dbeta")
