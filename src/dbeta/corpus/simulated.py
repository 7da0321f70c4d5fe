"""Writes simulated ECGs as a corpus on disk, with their measurements.

A shard depends only on the seed and its position, so that an interrupted build keeps the shards it has written. One
process runs per core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dbeta.corpus.build import SHARD_SIZE, discard_other_build
from dbeta.corpus.card import Tally, write_card
from dbeta.corpus.store import FORMAT, read_shard, shard_name, write_shard
from dbeta.errors import DBetaError
from dbeta.simulation.dataset import SOURCE, SimulatedRows, rows_of, told_measures
from dbeta.simulation.simulation import SECONDS, VERSION, Simulation, simulate
from dbeta.utils.files import replacing, unwritable, write_text
from dbeta.utils.workers import default_workers, keep_freed_memory, map_in_workers

#: Number of records simulated at a time.
BATCH = 256
#: Below this many records, simulating takes less time than starting workers.
FEWEST = 2048
_Batch = tuple[dict[str, list[Any]], list[dict[str, Any]]]
#: Of this many consecutive records, one is for validation and the next for test.
HELD_OUT = 20
LICENCE = "Everything in this folder is simulated, without patient data; share it under dbeta's licence, Apache-2.0."
NOTES = (
    "No patient data: dbeta.simulation computed every recording from random numbers.",
    "For each record, `measures.parquet` has rate, QRS duration and axis, measured on the noise-free signal; PR and "
    "QT, computed from simulation parameters and the measured onset; the simulated causes, including "
    "territories; and recording faults.",
)


def build_simulated(
    out: Path, records: int, seed: int = 0, mix: str = "balanced", progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Simulate a corpus, or resume an interrupted simulation.

    Args:
        out: folder to create; written as `out.partial` and renamed when complete.
        records: number of records.
        seed: seed of the simulation.
        mix: how common diseases are (`dbeta.simulation.diseases.MIXES`).
        progress: called with (records done, total).

    Returns:
        The content of `corpus.json`.

    Raises:
        DBetaError: `out` exists or cannot be written, or a setting is out of range.
    """
    rows = SimulatedRows(records, seed, mix)
    out = Path(os.path.normpath(out))  # the name of X/.. cannot take a suffix
    if out.exists():
        raise DBetaError(f"{out}: already exists; name a new folder or remove this one")
    folder = out.with_name(out.name + ".partial")
    shards = [range(start, min(start + SHARD_SIZE, records)) for start in range(0, records, SHARD_SIZE)]
    plan = {"format": FORMAT, "simulator": VERSION, "records": records, "seed": seed, "mix": mix}
    advance = progress or (lambda done, total: None)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        discard_other_build(folder, plan)
        folder.mkdir(exist_ok=True)
        write_text(folder / "plan.json", json.dumps(plan))
        tally = Tally()
        for number, numbers in enumerate(shards):
            path = folder / shard_name(number, len(shards))
            if not path.exists():
                measures: list[dict[str, Any]] = []
                with replacing(path) as temporary:
                    write_shard(temporary, _simulated(numbers, seed, mix, measures, advance, records))
                    pd.DataFrame(measures).to_parquet(path.with_suffix(".measures"))
            tally.add(read_shard(path))
            advance(numbers.stop, records)
        parts = sorted(folder.glob("*.measures"))
        pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True).to_parquet(folder / "measures.parquet")
        counts = {
            "format": FORMAT,
            "source": SOURCE,
            "records": records,
            "patients": records,
            "rejected": 0,
            "splits": dict(tally.splits.most_common()),
            "shards": len(shards),
            "vocabulary": rows.vocabulary,
            "seed": seed,
            "mix": mix,
            "simulator": VERSION,
        }
        command = f"dbeta corpus simulate {out} --records {records} --seed {seed} --mix {mix}"
        rule = f"one in {HELD_OUT} records is for validation and one for test, by record number"
        card = write_card(
            counts,
            tally,
            [],
            notes=NOTES,
            split_rule=rule,
            seconds=SECONDS,
            command=command,
            licence=LICENCE,
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        write_text(folder / "corpus.json", json.dumps(counts, indent=2) + "\n")
        for rest in [folder / "plan.json", *parts]:
            rest.unlink()
        folder.rename(out)  # not `replacing`: an interrupted build continues in this folder
    except OSError as error:
        raise unwritable(out, error, "finished shards") from error
    return counts


def _simulated(
    numbers: range, seed: int, mix: str, measures: list[dict[str, Any]], advance: Callable[[int, int], None], total: int
) -> Iterator[dict[str, Any]]:
    """Simulate the rows of a shard, writing additional facts into `measures`."""
    batches = [range(start, min(start + BATCH, numbers.stop)) for start in range(numbers.start, numbers.stop, BATCH)]

    def killed(batch: range) -> _Batch:
        raise DBetaError(f"simulating records {batch.start} to {batch.stop - 1} killed a process; free some memory")

    workers = default_workers() if total >= FEWEST else 0
    done = map_in_workers(partial(_batch, seed=seed, mix=mix), batches, workers=workers, ahead=1, killed=killed)
    for batch, (columns, known) in zip(batches, done, strict=True):
        measures += known
        for i, number in enumerate(batch):
            split = {0: "validation", 1: "test"}.get(number % HELD_OUT, "train")
            row = {name: column[i] for name, column in columns.items()}
            row |= {"record_id": str(number), "patient_id": str(number), "file": str(number), "split": split}
            yield row | {"source": SOURCE, "device": "", "statements": []}
        advance(batch.stop, total)


def _batch(numbers: range, seed: int, mix: str) -> _Batch:
    """Columns of some records, and additional facts about each."""
    keep_freed_memory()
    simulation = simulate(seed, numbers, mix)
    columns = rows_of(simulation, seed, numbers)
    columns["signal"] = [bytes(one) for one in columns["signal"]]
    return columns, _measures(simulation, numbers)


def _measures(simulation: Simulation, batch: Sequence[int]) -> list[dict[str, Any]]:
    told = told_measures(simulation)
    causes = {name: value.tolist() for name, value in simulation.patients.causes.items()}
    flat = simulation.recordings.flat.any(dim=1).tolist()
    exchanged = {name: where.tolist() for name, where in simulation.recordings.exchanged.items()}
    return [
        {"record_id": str(number)}
        | {name: values[i] for name, values in told.items()}
        | {"causes": [name for name, has in causes.items() if has[i]]}
        | {"flat_lead": flat[i], "exchanged": [name for name, has in exchanged.items() if has[i]]}
        for i, number in enumerate(batch)
    ]
