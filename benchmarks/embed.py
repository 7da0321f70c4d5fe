"""Is `dbeta embed` limited by the model or by reading?

    python benchmarks/embed.py [FOLDER] [--model M] [--records N] [--json FILE]

Measures, over the same recordings (those of FOLDER, or WFDB records generated here): reading alone, in this process and
ahead in worker processes; the model alone, on recordings already read; and both together as `dbeta embed` does. It is
limited by the model if reading ahead takes less time than the model alone. If both share few cores, the total is about
the sum of both.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import wfdb
from pydicom.data import get_testdata_file
from rich.console import Console
from rich.table import Table

import dbeta
from dbeta.errors import DBetaWarning
from dbeta.inference.loader import prepare_files


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", help="checkpoint folder or hub id; by default the bundled model")
    parser.add_argument("--base", action="store_true", help="use a model of the paper's size with random weights")
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    warnings.simplefilter("ignore", DBetaWarning)
    with tempfile.TemporaryDirectory() as folder:
        if args.folder is None:
            write_recordings(Path(folder), args.records)
        if args.base:
            args.model = str(random_base(Path(folder) / "base"))
        files = dbeta.find_ecgs(args.folder or folder)[: args.records]
        figures = measure(files, dbeta.load(args.model))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def random_base(folder: Path) -> Path:
    """Save a checkpoint of the paper's ECG encoder with random weights."""
    config = dbeta.DBetaConfig.base(parts="ecg", ets_cosine=False)
    dbeta.DBetaModel(config).save_pretrained(folder)
    dbeta.DBetaProcessor.of_model(config).save_pretrained(folder)
    return folder


def write_recordings(folder: Path, count: int) -> None:
    """Write the ECG that pydicom ships, at various gains, as WFDB records of 10 s at 500 Hz in 16 bits."""
    signal = dbeta.DBetaProcessor().signal(dbeta.read_ecg(get_testdata_file("waveform_ecg.dcm")))
    random = np.random.default_rng(0)
    for i in range(count):
        wfdb.wrsamp(
            f"r{i:05d}",
            fs=500,
            units=["mV"] * 12,
            sig_name=list(dbeta.LEADS),
            p_signal=(signal * random.uniform(0.5, 1.5)).T.astype(np.float64),
            fmt=["16"] * 12,
            adc_gain=[1000.0] * 12,
            baseline=[0] * 12,
            write_dir=str(folder),
        )


def measure(files: list[Path], model: dbeta.DBeta) -> dict[str, float]:
    """Measure seconds and records per second of each part and of the whole."""
    wanted = model.processor.input_format
    few = files[: max(1, len(files) // 10)]
    list(prepare_files(files[:64], wanted, workers=None))  # starts the workers, which keep running
    seconds = {}

    start = time.perf_counter()
    list(prepare_files(few, wanted, workers=0))
    seconds["reading, in one process"] = (time.perf_counter() - start) / len(few) * len(files)

    start = time.perf_counter()
    read = [window for one in prepare_files(files, wanted) if one.windows is not None for window in one.windows]
    seconds["reading, ahead in workers"] = time.perf_counter() - start

    model.embed_signals(read[: model.batch_size])
    start = time.perf_counter()
    for batch in (read[i : i + model.batch_size] for i in range(0, len(read), model.batch_size)):
        model.embed_signals(batch)
    seconds["the model"] = time.perf_counter() - start

    start = time.perf_counter()
    done = sum(one.error is None for one in model.embed_files(files))
    seconds["together, as `dbeta embed`"] = time.perf_counter() - start

    table = Table(title=f"{done} of {len(files)} recordings, {model!r}")
    for column in ("", "seconds", "records/s", "ratio to the model alone"):
        table.add_column(column, justify="right" if column else "left")
    for name, spent in seconds.items():
        table.add_row(name, f"{spent:.1f}", f"{len(files) / spent:.1f}", f"{spent / seconds['the model']:.2f}")
    Console().print(table)
    return seconds | {"ratio": seconds["together, as `dbeta embed`"] / seconds["the model"]}


if __name__ == "__main__":
    main()
