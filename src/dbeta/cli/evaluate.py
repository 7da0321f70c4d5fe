"""The commands `dbeta evaluate zero-shot`, `probe`, `finetune`, `retrieval`, `identification` and `compare`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta.cli.options import Precision, load_model
from dbeta.errors import DBetaError
from dbeta.report.console import note, progress
from dbeta.utils.files import unwritable, write_text
from dbeta.utils.notice import NOTICE

if TYPE_CHECKING:
    from dbeta.evaluation.benchmarks import Benchmark
    from dbeta.evaluation.result import Result
    from dbeta.inference.dbeta import DBeta

app = typer.Typer(help="Evaluate a model on a benchmark.", no_args_is_help=True)

#: Lead sets for fine-tuning.
LEAD_COUNTS = (12, 6, 4, 3, 2, 1)

BenchmarkName = Annotated[
    str,
    typer.Argument(
        help="ptb-xl-super, -sub, -form, -rhythm or -all; cpsc2018, csn, code-test, code-15, challenge-2021; "
        "corpus for every finding of a corpus"
    ),
]
Raw = Annotated[Path, typer.Argument(help="The dataset's folder, as downloaded, or a corpus folder")]
Output = Annotated[Path, typer.Option(help="Folder for report.md, metrics.json, predictions.parquet and plots")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="Checkpoint folder, hub ID, tiny or tiny-sim; repeat to compare  \\[default: tiny]"),
]
Fold = Annotated[int | None, typer.Option(help="PTB-XL test fold  \\[default: 10, or 9 if the data lack it]")]
Protocol = Annotated[str, typer.Option(help="corrected, or merl for MERL's splits and labels as published")]
SplitFile = Annotated[Path | None, typer.Option(help="MERL's split file for the benchmark, Parquet or CSV")]
SubsetOk = Annotated[bool, typer.Option("--subset-ok", help="Continue if recordings are missing, and report how many")]
Groups = Annotated[Path | None, typer.Option(help="CSV file with record_id and one column per subgroup")]
Cache = Annotated[Path | None, typer.Option(help="Folder for cached embeddings  \\[default: the user cache folder]")]
Resamples = Annotated[int, typer.Option(min=10, help="Bootstrap resamples")]


@app.command("zero-shot")
def zero_shot(
    benchmark: BenchmarkName,
    raw: Raw,
    output: Output,
    model: Models = None,
    fold: Fold = None,
    protocol: Protocol = "corrected",
    split_file: SplitFile = None,
    subset_ok: SubsetOk = False,
    groups: Groups = None,
    cache: Cache = None,
    resamples: Resamples = 1000,
    precision: Precision = None,
) -> None:
    """Evaluate how well text prompts alone rank a benchmark's recordings.

    Example: dbeta evaluate zero-shot ptb-xl-super ptb-xl-1.0.3/ --model checkpoints/tiny --output runs/zero-shot
    """
    task, models = _prepare(benchmark, raw, output, model, fold, protocol, split_file, subset_ok, groups, precision)
    from dbeta.evaluation.tasks import evaluate_zero_shot as evaluate

    _finish(evaluate(models, task, cache=_cache(cache), resamples=resamples, bar=progress), output)


@app.command("probe")
def probe(
    benchmark: BenchmarkName,
    raw: Raw,
    output: Output,
    model: Models = None,
    fold: Fold = None,
    protocol: Protocol = "corrected",
    split_file: SplitFile = None,
    subset_ok: SubsetOk = False,
    groups: Groups = None,
    cache: Cache = None,
    resamples: Resamples = 1000,
    precision: Precision = None,
) -> None:
    """Train linear probes on frozen embeddings.

    With 1 %, 10 % and all of the labels, and with 1 to 128 recordings per class.

    Example: dbeta evaluate probe ptb-xl-rhythm ptb-xl-1.0.3/ --output runs/probe
    """
    task, models = _prepare(benchmark, raw, output, model, fold, protocol, split_file, subset_ok, groups, precision)
    from dbeta.evaluation.tasks import evaluate_probe as evaluate

    merl = protocol == "merl"
    _finish(evaluate(models, task, merl=merl, cache=_cache(cache), resamples=resamples, bar=progress), output)


@app.command("finetune")
def finetune(
    benchmark: BenchmarkName,
    raw: Raw,
    output: Output,
    model: Models = None,
    leads: Annotated[
        str, typer.Option(help="Lead sets, one model each: any of 12,6,4,3,2,1; other leads are zeroed")
    ] = "12",
    epochs: Annotated[int, typer.Option(help="Training epochs")] = 10,
    batch_size: Annotated[int, typer.Option(help="Records per step")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of the encoder; the head's is ten times as high")] = 1e-4,
    lead_dropout: Annotated[float, typer.Option(help="Probability of zeroing a lead in training")] = 0.0,
    scratch: Annotated[bool, typer.Option(help="Also train from random weights as a baseline")] = True,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    fold: Fold = None,
    protocol: Protocol = "corrected",
    split_file: SplitFile = None,
    subset_ok: SubsetOk = False,
    groups: Groups = None,
    resamples: Resamples = 1000,
) -> None:
    """Fine-tune the encoder on a benchmark's labels, with all leads or fewer.

    The fine-tuned encoders are in the output folder. An interrupted run resumes when the same command is run again.

    Example: dbeta evaluate finetune ptb-xl-super ptb-xl-1.0.3/ --leads 12,2,1 --output runs/finetune
    """
    try:
        counts = [int(one) for one in leads.split(",")]
    except ValueError:
        raise DBetaError(f"{leads!r} is not a list of lead sets; give some of 12,6,4,3,2,1") from None
    if unknown := [count for count in counts if count not in LEAD_COUNTS]:
        raise DBetaError(f"there is no set of {unknown[0]} leads; give some of 12,6,4,3,2,1")
    task, models = _prepare(benchmark, raw, output, model, fold, protocol, split_file, subset_ok, groups, "float32")
    from dbeta.evaluation.finetuning import evaluate_finetune as evaluate
    from dbeta.training.finetune import Settings

    settings = Settings(epochs, batch_size, learning_rate, lead_dropout=lead_dropout, seed=seed)
    result = evaluate(
        *(models, task, output), leads=counts, settings=settings, scratch=scratch, resamples=resamples, bar=progress
    )
    _finish(result, output)


@app.command("retrieval")
def retrieval(
    benchmark: BenchmarkName,
    raw: Raw,
    output: Output,
    model: Models = None,
    fold: Fold = None,
    subset_ok: SubsetOk = False,
    cache: Cache = None,
    resamples: Resamples = 1000,
    precision: Precision = None,
) -> None:
    """Retrieve ECGs by their reports and reports by their ECGs.

    Example: dbeta evaluate retrieval ptb-xl-all ptb-xl-1.0.3/ --output runs/retrieval
    """
    task, models = _prepare(benchmark, raw, output, model, fold, "corrected", None, subset_ok, None, precision)
    from dbeta.evaluation.tasks import evaluate_retrieval as evaluate

    _finish(evaluate(models, task, cache=_cache(cache), resamples=resamples, bar=progress), output)


@app.command("identification")
def identification(
    benchmark: BenchmarkName,
    raw: Raw,
    output: Output,
    model: Models = None,
    fold: Fold = None,
    subset_ok: SubsetOk = False,
    cache: Cache = None,
    resamples: Resamples = 1000,
    precision: Precision = None,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="First fine-tune on identifying the training patients")
    ] = False,
    epochs: Annotated[int, typer.Option(help="Training epochs, with --finetune")] = 10,
) -> None:
    """Identify the patient of an ECG among one other ECG of each patient.

    Example: dbeta evaluate identification ptb-xl-all ptb-xl-1.0.3/ --output runs/identification
    """
    task, models = _prepare(benchmark, raw, output, model, fold, "corrected", None, subset_ok, None, precision)
    if finetune:
        from dbeta.evaluation.finetuning import evaluate_finetuned_identification as evaluate_finetuned
        from dbeta.training.finetune import Settings

        settings = Settings(epochs)
        _finish(evaluate_finetuned(models, task, output, settings=settings, resamples=resamples, bar=progress), output)
        return
    from dbeta.evaluation.tasks import evaluate_identification as evaluate

    _finish(evaluate(models, task, cache=_cache(cache), resamples=resamples, bar=progress), output)


@app.command("compare")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Output folders of evaluations")],
    output: Annotated[Path | None, typer.Option(help="Markdown file to write  \\[default: print]")] = None,
) -> None:
    """Compare evaluations in one table, beside published figures.

    Example: dbeta evaluate compare runs/zero-shot runs/probe --output runs/table.md
    """
    from dbeta.evaluation.compare import compare_runs, render_comparison
    from dbeta.report.evaluations import print_comparison

    rows = compare_runs(runs)
    if output is None:
        print_comparison(rows)
        note(NOTICE)
        return
    try:
        write_text(output, f"{render_comparison(rows)}\n\n*{NOTICE}*\n")
    except OSError as error:
        raise unwritable(output, error) from error
    note(f"{output} written")


def _prepare(
    benchmark: str,
    raw: Path,
    output: Path,
    names: list[str] | None,
    fold: int | None,
    protocol: str,
    split_file: Path | None,
    subset_ok: bool,
    groups: Path | None,
    precision: str | None,
) -> tuple[Benchmark, dict[str, DBeta]]:
    """The benchmark and the models by name, after all checks that need no computation."""
    from dbeta.evaluation.benchmarks import add_groups, load_benchmark
    from dbeta.evaluation.report import check_output

    models = _load_models(names or [None], precision)
    task = load_benchmark(benchmark, raw, fold, protocol=protocol, split_file=split_file, subset_ok=subset_ok)
    if groups is not None:
        task = add_groups(task, groups)
    check_output(output)
    return task, models


def _load_models(names: list[Any], precision: str | None) -> dict[str, DBeta]:
    from dbeta.evaluation.tasks import RESERVED

    models: dict[str, DBeta] = {}
    places: list[Any] = []
    for name in names:
        place = Path(name).resolve() if name is not None and Path(name).exists() else name
        if place in places:
            raise DBetaError(f"{name}: is named twice; name each model once")
        places.append(place)
        label = "tiny (bundled)" if name is None else Path(name).name or str(name)
        if label in models or label in RESERVED:
            label = f"model {name}"
        models[label] = load_model(name, precision)
    return models


def _cache(cache: Path | None) -> Path:
    from dbeta.evaluation.embeddings import default_cache

    return cache or default_cache()


def _finish(result: Result, output: Path) -> None:
    from dbeta.evaluation.report import write_report
    from dbeta.report.evaluations import print_metrics

    write_report(result, output, shlex.join(["dbeta", *sys.argv[1:]]))
    print_metrics(result.metrics)
    note(f"{output / 'report.md'} written")
