"""Agreement of `read_ecg` with what was written, and with independent readers, on random valid files.

    python benchmarks/agree.py [--files 20000] [--seed 0] [--only wfdb-record] [--workers 2] [--json FILE]

For every format hypothesis draws valid files over sampling rates, gains, offsets, units, lead names and orders, groups,
frames, segments and padding. Each is read whole and, now and then, in part. Every lead must equal the samples written,
to a hundredth of a step of the file's resolution, be missing (NaN) exactly where they are, and equal to one step what
an independent reader returns where there is one (wfdb without smoothing, pydicom, pyedflib, ecgdatakit). The first
mismatch of a format is shrunk to its simplest file and printed with the seed; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from dbeta.ecg import LIMB_LEADS
from dbeta.errors import DBetaWarning, NoSignalError
from dbeta.io.read import read_ecg
from valid_clinical import aecg, mortara, muse, philips, scp
from valid_dicom import dicom, dicom_groups
from valid_holter import edf, ishne, mfer
from valid_recordings import Draw, Valid
from valid_tables import array, code_hdf5, matlab, parquet, text_table
from valid_watches import kardia_atc, kardia_json, several_arrays, watch
from valid_wfdb import challenge_record, wfdb_record, wfdb_segments

MAKERS: dict[str, Callable[[Draw, Path], Valid]] = {
    "wfdb-record": wfdb_record,
    "wfdb-segments": wfdb_segments,
    "wfdb-challenge": challenge_record,
    "dicom": dicom,
    "dicom-groups": dicom_groups,
    "edf": edf,
    "ishne": ishne,
    "mfer": mfer,
    "hl7-aecg": aecg,
    "ge-muse": muse,
    "mortara": mortara,
    "philips": philips,
    "scp": scp,
    "text-table": text_table,
    "parquet": parquet,
    "npy": array,
    "matlab": matlab,
    "hdf5": code_hdf5,
    "npy-several": several_arrays,
    "apple-watch": watch,
    "kardia-json": kardia_json,
    "kardia-atc": kardia_atc,
}


def main() -> None:
    """Draw and compare the files, print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="in all, shared equally among the formats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=MAKERS, help="this format alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    chosen = [args.only] if args.only else list(MAKERS)
    each = -(-args.files // len(chosen))
    began, failed = time.monotonic(), 0
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.workers) as pool:
        jobs = {name: pool.submit(compare_files, name, each, args.seed) for name in chosen}
        for name, job in jobs.items():
            files, compared, problem = job.result()
            rows.append({"format": name, "files": files, "independent": compared, "mismatch": problem})
            print(
                f"{name:16} {files:6} files, {compared:6} by an independent reader too   {problem or 'no mismatch'}",
                flush=True,
            )
            failed += problem is not None
    total = sum(row["files"] for row in rows)
    print(f"{total} files, seed {args.seed}, {failed} formats with a mismatch, {time.monotonic() - began:.0f} s")
    if args.json:
        args.json.write_text(json.dumps({"seed": args.seed, "formats": rows}, indent=1) + "\n")
    sys.exit(bool(failed))


def compare_files(name: str, files: int, seed: int) -> tuple[int, int, str | None]:
    """Compare so many files of a format: how many were, how many independently too, and the first mismatch."""
    counted = [0, 0]
    with tempfile.TemporaryDirectory() as folder:

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=files,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
        )
        @hypothesis.given(st.data())
        def compare(data: st.DataObject) -> None:
            for old in Path(folder).iterdir():
                old.unlink()
            draw = Draw(data)
            valid = MAKERS[name](draw, Path(folder))
            counted[0] += 1
            counted[1] += valid.independent is not None
            check(valid, draw)

        try:
            compare()
        except Exception as error:
            text = " ".join(str(error).split("Falsifying example")[0].split())
            return counted[0], counted[1], f"MISMATCH (seed {seed}): {type(error).__name__}: {text}"
    return counted[0], counted[1], None


def check(valid: Valid, draw: Draw) -> None:
    """Compare what `read_ecg` returns with what was written and with the independent reader.

    Raises:
        AssertionError: they differ.
    """
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DBetaWarning)
        whole = read_ecg(valid.path, **valid.options)
        expected, begin = valid.leads, 0
        total = len(next(iter(expected.values())))
        compare_leads("whole", whole.signal, whole.leads, valid, 0, total)
        assert abs(whole.sampling_rate - valid.rate) < 1e-3 * valid.rate, f"{whole.sampling_rate} Hz, not {valid.rate}"
        if valid.part and draw.chance():
            begin = draw.integer(0, total // 2)
            length = draw.integer(round(0.2 * valid.rate), total)
            end = min(total, begin + length)
            try:
                part = read_ecg(valid.path, start=begin / valid.rate, duration=length / valid.rate, **valid.options)
            except NoSignalError:
                assert all(np.isnan(row[begin:end]).all() for row in expected.values()), "part: has a signal"
            else:
                compare_leads("part", part.signal, part.leads, valid, begin, end)
    if valid.independent is not None:
        for lead, values in valid.independent().items():
            ours = whole[lead]
            assert len(values) == len(ours), f"{lead}: {len(ours)} samples, {len(values)} by the independent reader"
            worst = np.nanmax(np.abs(ours - values), initial=0)
            assert worst <= 1.01 * valid.step[lead] + 1e-5, f"{lead}: {worst:g} mV from the independent reader"


def compare_leads(what: str, signal: np.ndarray, names, valid: Valid, begin: int, end: int) -> None:  # type: ignore[no-untyped-def]
    """Compare the leads as written with those read from sample `begin` up to `end`."""
    read = dict(zip(names, signal, strict=True))
    for lead, written in valid.leads.items():
        wanted = written[begin:end]
        if lead in LIMB_LEADS and np.isnan(wanted).all():
            continue  # computed from the others
        ours = read[lead]
        assert len(ours) == len(wanted), f"{what}, {lead}: {len(ours)} samples, {len(wanted)} written"
        lost = np.isnan(ours) != np.isnan(wanted)
        assert not lost.any(), f"{what}, {lead}: {lost.sum()} samples missing or made up, first {np.argmax(lost)}"
        worst = np.nanmax(np.abs(ours - wanted), initial=0)
        assert worst <= 0.01 * valid.step[lead] + 1e-6 * np.nanmax(np.abs(wanted), initial=0) + 1e-9, (
            f"{what}, {lead}: {worst:g} mV from what was written, a step is {valid.step[lead]:g}"
        )


if __name__ == "__main__":
    main()
