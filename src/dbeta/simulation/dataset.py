"""Simulated ECGs as rows of a corpus, computed on demand and never stored.

Row i depends on the seed, the mix and i only, so that training can be resumed and distributed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dbeta.conditions.wordings import write_report
from dbeta.errors import DBetaError
from dbeta.simulation.diseases import MIXES
from dbeta.simulation.reports import write_simulated_report
from dbeta.simulation.simulation import RATE, Simulation, check_numbers, simulate
from dbeta.simulation.wave_facts import numbers_of, wave_facts

#: Name of the source of these records in evaluations, model cards and corpora.
SOURCE = "simulated"
#: Number of records whose texts a tokenizer is trained on.
TEXT_SAMPLE = 8192
#: Measures that a report may state.
TOLD = ("rate", "pr", "qrs", "qt", "qtc", "axis")


class SimulatedRows:
    """Simulated training records of one seed and mix.

    Args:
        count: number of records.
        seed: seed of the simulation.
        mix: how common diseases are (`dbeta.simulation.diseases.MIXES`).
        untold: findings left undetermined in every row, for names that the simulation uses in a different sense than
            the annotators of a corpus used alongside it.
        validation: number of additional records for validation.
        waves: whether rows also have `numbers` and `waves`, which texts may state (`dbeta.simulation.wave_facts`).
    """

    source = SOURCE
    folder = None

    def __init__(
        self,
        count: int,
        seed: int = 0,
        mix: str = "balanced",
        untold: Sequence[str] = (),
        validation: int = 512,
        waves: bool = False,
    ) -> None:
        """Store the settings.

        Raises:
            DBetaError: the mix or a finding is unknown, or a number is out of range.
        """
        if mix not in MIXES:
            raise DBetaError(f"simulation: unknown mix {mix!r}; choose one of {', '.join(MIXES)}")
        check_numbers(1, records=count)
        check_numbers(seed=seed)
        if isinstance(untold, str):
            raise DBetaError(f"simulation: untold must be a list of findings, not {untold!r}")
        check_numbers(validation=validation)
        self.count, self.seed, self.mix, self.untold = count, seed, mix, tuple(untold)
        self.validation_count = validation
        self.waves = waves
        if self.untold and (strange := sorted(set(self.untold).difference(self.vocabulary))):
            raise DBetaError(f"simulation: untold has {strange[0]!r}, which is not a simulator finding")

    def __len__(self) -> int:
        """Number of rows."""
        return self.count

    def __getitem__(self, wanted: Sequence[int]) -> dict[str, list[Any]]:
        """Return the columns of some rows, as described in `dbeta.corpus.store`."""
        simulation = simulate(self.seed, list(wanted), self.mix)
        simulation.findings.hide(self.untold, torch.ones(len(wanted), dtype=torch.bool))
        rows = rows_of(simulation, self.seed, list(wanted))
        if self.waves:
            rows |= {"numbers": list(numbers_of(simulation)), "waves": list(wave_facts(simulation))}
        return rows

    @property
    def vocabulary(self) -> list[str]:
        """Every finding that the simulator produces."""
        return sorted(simulate(0, [0]).findings)

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """Reports and findings of the first `TEXT_SAMPLE` rows, with one text generated from each row's findings."""
        columns = self[range(min(len(self), TEXT_SAMPLE))]
        written = [write_report(row, random.Random(i)) for i, row in enumerate(columns["findings"]) if row]
        return columns["report"] + written, columns["findings"]

    def sample(self, count: int) -> Sequence[int]:
        """The first `count` rows, which are a random sample since rows are independent."""
        return range(min(count, len(self)))

    def validation(self) -> Any:
        """Records that are never trained on, as a `datasets.Dataset` in memory; None if `validation` is 0."""
        import pyarrow as pa
        from datasets import Dataset

        if not self.validation_count:
            return None
        columns = self[range(len(self), len(self) + self.validation_count)]
        columns["signal"] = [bytes(one) for one in columns["signal"]]
        columns = {name: values for name, values in columns.items() if name not in ("numbers", "waves")}
        for name in ("sampling_rate", "age"):  # float like in stored corpora, which may be concatenated with these
            columns[name] = pa.array(columns[name], pa.float32())
        return Dataset.from_dict(columns)

    def describe(self) -> str:
        """Describe the records in one line of a model card."""
        settings = [f"records {self.count}", f"seed {self.seed}", f"mix {self.mix}"]
        if self.untold:
            settings.append(f"undetermined: {', '.join(self.untold)}")
        return f"- `{SOURCE}`: ECGs of `dbeta.simulation`, simulated on demand ({'; '.join(settings)})."


def rows_of(simulation: Simulation, seed: int, records: Sequence[int]) -> dict[str, list[Any]]:
    """Convert simulated records to corpus columns.

    Args:
        simulation: B simulated records.
        seed: seed that they were made with; their reports depend on it too.
        records: (B,) their record numbers.
    """
    microvolts = simulation.signals.mul(1000).round_().clamp_(-32767, 32767).to(torch.int16).cpu().numpy()
    names = list(simulation.findings)
    table = torch.stack([simulation.findings[name] for name in names], dim=1).cpu().numpy()  # (B, F)
    told = told_measures(simulation)
    mirror = simulation.recordings.mirror.tolist()
    age, male = simulation.patients.age.round().tolist(), simulation.patients.male.tolist()
    rows: dict[str, list[Any]] = {name: [] for name in ("report", "findings", "unknown")}
    for i, record in enumerate(records):
        signs = dict(zip(names, table[i].tolist(), strict=True))
        measures = {name: values[i] for name, values in told.items()}
        if not math.isnan(mirror[i]):  # the axis that a machine would print
            measures["axis"] = (mirror[i] - measures["axis"] + 180) % 360 - 180
        rows["report"].append(write_simulated_report(signs, measures, random.Random(f"{seed} {record}")))
        rows["findings"].append([name for name, sign in signs.items() if sign > 0])
        rows["unknown"].append([name for name, sign in signs.items() if sign == 0])
    return rows | {
        "signal": [np.ascontiguousarray(one).view(np.uint8).data for one in microvolts.reshape(len(records), -1)],
        "sampling_rate": [RATE] * len(records),
        "age": age,
        "sex": ["male" if one else "female" for one in male],
    }


def told_measures(simulation: Simulation) -> dict[str, list[float]]:
    """The measures that a report may state (`TOLD`), each with a value for each of B records."""
    return {name: getattr(simulation.measures, name).tolist() for name in TOLD}
