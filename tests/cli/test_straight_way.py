"""How many modules a reader has to open to follow `dbeta diagnose FILE` to its row of findings.

Counted are the modules of dbeta of which a function is called in a fresh process that diagnoses one file. Not counted:
`__init__` modules and the import hook of `dbeta.integrations`; `errors`, `utils` and `report`, which compute nothing of
a finding; `ecg`, the data type; and the modules of `io.formats`, of which a recording needs its own.

There are two counts. Of steps: `cli`, `checkpoints`, `io`, `signal` and `model` count once each, since the others call
them through a few functions (a command, `read_checkpoint`, `read_ecg`, windows and their quality, `embed_ecg` and
`embed_text`) and need not know what is inside; every other module counts. Of modules: only the layers of `model` count
as one.
"""

import json
import subprocess
import sys

from pydicom.data import get_testdata_file

CODE = """
import json, sys
from dbeta.cli import main

modules = set()

def trace(frame, event, _):
    # Functions only: class bodies and modules also run when they are merely imported
    if event == "call" and frame.f_code.co_flags & 2 and frame.f_code.co_name != "__create_fn__":
        modules.add((frame.f_globals.get("__name__", ""), frame.f_globals.get("__file__", "")))

sys.argv = ["dbeta", "diagnose", *sys.argv[1:], "--json"]
sys.setprofile(trace)
try:
    main()
finally:
    sys.setprofile(None)
    names = [name for name, file in modules if name.startswith("dbeta.") and not file.endswith("__init__.py")]
    print(json.dumps(sorted(names)), file=sys.stderr)
"""

NOT_COUNTED = ("dbeta.errors", "dbeta.ecg", "dbeta.utils", "dbeta.report", "dbeta.integrations", "dbeta.io.formats")
STEPS = ("cli", "checkpoints", "io", "signal", "model")


def called(file, checkpoint):
    """The modules that count."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, file, "--model", checkpoint],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert len(json.loads(done.stdout)) == 22
    modules = json.loads(done.stderr.splitlines()[-1])
    return [name for name in modules if not name.startswith(NOT_COUNTED)]


def merged(modules, packages):
    """The modules, those of each of these packages as one."""
    return {".".join(name.split(".")[:2]) if name.split(".")[1] in packages else name for name in modules}


def test_few_modules_compute_a_finding(micro_checkpoint):
    modules = called(get_testdata_file("waveform_ecg.dcm"), micro_checkpoint)
    steps = merged(modules, STEPS)
    assert {"dbeta.inference.dbeta", "dbeta.inference.findings", "dbeta.io", "dbeta.model"} <= steps
    assert len(steps) <= 12, sorted(steps)
    assert len(merged(modules, ("model",))) <= 35, sorted(merged(modules, ("model",)))
