"""Writes an evaluation: `report.md` and plots for people, `metrics.json` and `predictions.parquet` for programs."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from dbeta.errors import DBetaError
from dbeta.evaluation.plots import draw
from dbeta.evaluation.result import Result
from dbeta.evaluation.sections import PICTURES, render
from dbeta.utils.files import remove_unfinished, replacing

REPORT, METRICS, PREDICTIONS = "report.md", "metrics.json", "predictions.parquet"


def check_output(output: Path) -> None:
    """Check that the output folder can be written before the evaluation starts; nothing is left behind.

    Raises:
        DBetaError: it is a file, or cannot be created or written.
    """
    missing = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not os.access(output, os.W_OK):
            raise DBetaError(f"{output}: cannot be written; name another folder")
    except OSError as error:
        raise DBetaError(f"{output}: the folder cannot be created ({error.strerror}); name another") from error
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_report(result: Result, output: Path, command: str) -> None:
    """Write all files of an evaluation; `metrics.json` is written last, so that its presence means all are there.

    Args:
        result: result of a task.
        output: folder; created if missing, and files of an earlier evaluation are replaced.
        command: command line, for the report.
    """
    check_output(output)
    output.mkdir(parents=True, exist_ok=True)
    metrics = result.metrics | {"provenance": result.metrics["provenance"] | {"command": command}}
    # Rendered first, so that an error keeps the files of an earlier evaluation
    pictures = draw(metrics)
    files = {f"{name}.png": picture for name, picture in pictures.items()}
    if len(result.predictions):
        files[PREDICTIONS] = result.predictions.to_parquet(index=False)
    files[REPORT] = render(metrics, pictures).encode()
    files[METRICS] = (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode()
    remove_unfinished(output)
    for name in [METRICS, REPORT, PREDICTIONS, *(f"{name}.png" for name in PICTURES)]:
        (output / name).unlink(missing_ok=True)
    for name, content in files.items():
        with replacing(output / name) as temporary:
            temporary.write_bytes(content)
