"""Options shared by several commands, and the reading options and models they select.

A dataclass here is a group of options: a command decorated with `with_groups` takes the whole group as one parameter.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from dbeta.errors import DBetaError
from dbeta.evaluation.catalog import BENCHMARKS, CORPUS
from dbeta.utils.files import check_writable

if TYPE_CHECKING:
    from dbeta.inference.dbeta import DBeta

# Selection of recordings
OneFile = Annotated[Path, typer.Argument(help="A recording")]
Paths = Annotated[list[Path] | None, typer.Argument(help="Recordings, folders of recordings, or corpora")]
ListFile = Annotated[
    Path | None,
    typer.Option("--list", metavar="FILE", help='File with additional paths, one per line; "-" reads stdin'),
]
Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Process every N-th recording, starting at the I-th, for N parallel jobs"),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any recording fails")]

# Reading
SamplingRate = Annotated[float | None, typer.Option("--fs", help="Sampling rate in Hz, if the file does not state it")]
Leads = Annotated[
    str | None, typer.Option(help='Lead names in file order, "I,II,V1,-,…", if not stated; "-" leaves a channel out')
]
Record = Annotated[str | None, typer.Option(help="Recording in HDF5 (exam_id or row number) or a 3-D array")]
Units = Annotated[
    str | None,
    typer.Option(help='Unit of the samples, if not stated or wrong: uV, mV, "1e-4 V", 200/mV, or mV per count'),
]
RawGain = Annotated[
    str | None,
    typer.Option(
        "--raw-gain", help="Unit of the raw numbers, if the file's gains are wrong: uV, 1000/mV, mV per count"
    ),
]
FixLeads = Annotated[bool, typer.Option("--fix-leads", help="Correct swapped, inverted or copied leads")]
KeepIdentifiers = Annotated[
    bool, typer.Option("--keep-identifiers", help="Show the patient's ID, name and date of birth")
]

# Model and output
Model = Annotated[
    str | None, typer.Option(help="Checkpoint folder, hub ID, tiny or tiny-sim  \\[default: the bundled tiny]")
]
Precision = Annotated[
    str | None,
    typer.Option(help="float32 or bfloat16  \\[default: bfloat16 if the hardware supports it]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


# Evaluation
BenchmarkName = Annotated[
    str,
    typer.Argument(help=f"{', '.join(BENCHMARKS)}; or {CORPUS} for every finding of a corpus"),
]
Raw = Annotated[Path, typer.Argument(help="The dataset's folder, as downloaded, or a corpus folder")]
ReportFolder = Annotated[Path, typer.Option(help="Folder for report.md, metrics.json, predictions.parquet and plots")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="Checkpoint folder, hub ID, tiny or tiny-sim; repeat to compare  \\[default: tiny]"),
]
Fold = Annotated[int | None, typer.Option(help="PTB-XL test fold  \\[default: 10, or 9 if the data lack it]")]
SubsetOk = Annotated[bool, typer.Option("--subset-ok", help="Continue if recordings are missing, and report how many")]
Resamples = Annotated[int, typer.Option(min=10, help="Bootstrap resamples")]
Protocol = Annotated[str, typer.Option(help="corrected, or merl for MERL's splits and labels as published")]
SplitFile = Annotated[Path | None, typer.Option(help="MERL's split file for the benchmark, Parquet or CSV")]
Groups = Annotated[Path | None, typer.Option(help="CSV file with record_id and one column per subgroup")]
Cache = Annotated[Path | None, typer.Option(help="Folder for cached embeddings  \\[default: the user cache folder]")]


@dataclass
class Reading:
    """How files are read."""

    fs: SamplingRate = None
    leads: Leads = None
    record: Record = None
    units: Units = None
    raw_gain: RawGain = None
    fix_leads: FixLeads = False

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for `read_ecg`."""
        leads = None if self.leads is None else [name.strip() for name in self.leads.split(",")]
        return {
            "sampling_rate": self.fs,
            "leads": leads,
            "record": self.record,
            "units": self.units,
            "raw_gain": self.raw_gain,
            "fix_leads": self.fix_leads,
        }


@dataclass
class Batch:
    """Which recordings are processed, and whether all of them must succeed."""

    paths: Paths = None
    list_file: ListFile = None
    shard: Shard = None
    strict: Strict = False


@dataclass
class Evaluated:
    """The benchmark and the models that are evaluated on it."""

    benchmark: BenchmarkName
    raw: Raw
    output: ReportFolder
    model: Models = None
    fold: Fold = None
    subset_ok: SubsetOk = False
    resamples: Resamples = 1000


@dataclass
class Labels:
    """Labels and subgroups of evaluations by class."""

    protocol: Protocol = "corrected"
    split_file: SplitFile = None
    groups: Groups = None


@dataclass
class Embedding:
    """How embeddings are computed and cached."""

    cache: Cache = None
    precision: Precision = None


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameters of a command that are groups of options by their options, which Typer understands."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        options = _options(groups[name]) if name in groups else [parameter.replace(annotation=hints[name])]
        parameters += [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        made = {}
        for name, group in groups.items():
            made[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values, **made)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def load_model(name: str | None, precision: str | None = None) -> DBeta:
    """Load the model given to a command; None loads the bundled one."""
    silence_libraries()
    from dbeta.inference.load import load

    return load(name, precision=precision or "auto")


def silence_libraries() -> None:
    """Turn off log messages and progress bars of transformers and huggingface_hub."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity(hub_logging.CRITICAL)


def check_output_file(output: Path) -> None:
    """Check that a file can be written there before any work is done.

    Raises:
        DBetaError: its folder does not exist or is not writable, or the path is a folder.
    """
    if not output.parent.is_dir():
        raise DBetaError(f"{output}: the folder {output.parent} does not exist; create it first")
    if output.is_dir():
        raise DBetaError(f"{output}: is a folder; name a file")
    check_writable(output)
