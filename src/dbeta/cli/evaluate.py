"""The commands `dbeta evaluate zero-shot`, `probe`, `finetune`, `retrieval`, `identification` and `compare`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbeta.cli.options import Embedding, Evaluated, Labels, load_model, with_groups
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


@app.command("zero-shot")
@with_groups
def zero_shot(*, evaluated: Evaluated, labels: Labels, embedding: Embedding) -> None:
    """Evaluate how well text prompts alone rank a benchmark's recordings.

    Example: dbeta evaluate zero-shot ptb-xl-super ptb-xl-1.0.3/ --model checkpoints/tiny --output runs/zero-shot
    """
    task, models = _prepare(evaluated, embedding.precision, labels)
    from dbeta.evaluation.tasks import evaluate_zero_shot as evaluate

    _finish(evaluate(models, task, **_options(evaluated, embedding)), evaluated.output)


@app.command("probe")
@with_groups
def probe(*, evaluated: Evaluated, labels: Labels, embedding: Embedding) -> None:
    """Train linear probes on frozen embeddings.

    Probes are trained with 1 %, 10 % and all of the labels, and with 1 to 128 recordings per class.

    Example: dbeta evaluate probe ptb-xl-rhythm ptb-xl-1.0.3/ --output runs/probe
    """
    task, models = _prepare(evaluated, embedding.precision, labels)
    from dbeta.evaluation.tasks import evaluate_probe as evaluate

    merl = labels.protocol == "merl"
    _finish(evaluate(models, task, merl=merl, **_options(evaluated, embedding)), evaluated.output)


@app.command("finetune")
@with_groups
def finetune(
    *,
    evaluated: Evaluated,
    labels: Labels,
    leads: Annotated[
        str, typer.Option(help="Lead sets, one model each: any of 12,6,4,3,2,1; other leads are zeroed")
    ] = "12",
    epochs: Annotated[int, typer.Option(help="Training epochs")] = 10,
    batch_size: Annotated[int, typer.Option(help="Records per step")] = 64,
    learning_rate: Annotated[
        float, typer.Option(help="Encoder's learning rate; the head's is ten times higher")
    ] = 1e-4,
    lead_dropout: Annotated[float, typer.Option(help="Probability of zeroing a lead in training")] = 0.0,
    scratch: Annotated[bool, typer.Option(help="Also train from random weights as a baseline")] = True,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
) -> None:
    """Fine-tune the encoder on a benchmark's labels, with all leads or fewer.

    Fine-tuned encoders are saved in the output folder. An interrupted run resumes when the same command is run again.

    Example: dbeta evaluate finetune ptb-xl-super ptb-xl-1.0.3/ --leads 12,2,1 --output runs/finetune
    """
    try:
        counts = [int(one) for one in leads.split(",")]
    except ValueError:
        raise DBetaError(f"{leads!r} is not a list of lead sets; choose from 12,6,4,3,2,1") from None
    if unknown := [count for count in counts if count not in LEAD_COUNTS]:
        raise DBetaError(f"no lead set with {unknown[0]} leads; choose from 12,6,4,3,2,1")
    task, models = _prepare(evaluated, "float32", labels)
    from dbeta.evaluation.finetuning import evaluate_finetune as evaluate
    from dbeta.training.finetune import Settings

    settings = Settings(epochs, batch_size, learning_rate, lead_dropout=lead_dropout, seed=seed)
    result = evaluate(
        models,
        task,
        evaluated.output,
        leads=counts,
        settings=settings,
        scratch=scratch,
        resamples=evaluated.resamples,
        bar=progress,
    )
    _finish(result, evaluated.output)


@app.command("retrieval")
@with_groups
def retrieval(
    *,
    evaluated: Evaluated,
    embedding: Embedding,
    rerank: Annotated[int, typer.Option(min=0, help="Sort the first results by `dbeta match`, and show the gain")] = 0,
) -> None:
    """Retrieve ECGs by their reports and reports by their ECGs.

    Example: dbeta evaluate retrieval ptb-xl-all ptb-xl-1.0.3/ --output runs/retrieval
    """
    task, models = _prepare(evaluated, embedding.precision)
    from dbeta.evaluation.tasks import evaluate_retrieval as evaluate

    _finish(evaluate(models, task, rerank=rerank, **_options(evaluated, embedding)), evaluated.output)


@app.command("identification")
@with_groups
def identification(
    *,
    evaluated: Evaluated,
    embedding: Embedding,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="First fine-tune on identifying the training patients")
    ] = False,
    epochs: Annotated[int, typer.Option(help="Training epochs, with --finetune")] = 10,
) -> None:
    """Identify the patient of an ECG among one other ECG of each patient.

    Example: dbeta evaluate identification ptb-xl-all ptb-xl-1.0.3/ --output runs/identification
    """
    task, models = _prepare(evaluated, embedding.precision)
    if finetune:
        from dbeta.evaluation.finetuning import evaluate_finetuned_identification as evaluate_finetuned
        from dbeta.training.finetune import Settings

        result = evaluate_finetuned(
            models,
            task,
            evaluated.output,
            settings=Settings(epochs),
            resamples=evaluated.resamples,
            bar=progress,
        )
        _finish(result, evaluated.output)
        return
    from dbeta.evaluation.tasks import evaluate_identification as evaluate

    _finish(evaluate(models, task, **_options(evaluated, embedding)), evaluated.output)


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
    evaluated: Evaluated, precision: str | None, labels: Labels | None = None
) -> tuple[Benchmark, dict[str, DBeta]]:
    """Return the benchmark and the models by name, after all checks that need no computation."""
    from dbeta.evaluation.benchmarks import add_groups, load_benchmark
    from dbeta.evaluation.report import check_output

    labels = labels or Labels()
    models = _load_models(evaluated.model or [None], precision)
    task = load_benchmark(
        evaluated.benchmark,
        evaluated.raw,
        evaluated.fold,
        protocol=labels.protocol,
        split_file=labels.split_file,
        subset_ok=evaluated.subset_ok,
    )
    if labels.groups is not None:
        task = add_groups(task, labels.groups)
    check_output(evaluated.output)
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


def _options(evaluated: Evaluated, embedding: Embedding) -> dict[str, Any]:
    from dbeta.evaluation.embeddings import default_cache

    return {"cache": embedding.cache or default_cache(), "resamples": evaluated.resamples, "bar": progress}


def _finish(result: Result, output: Path) -> None:
    from dbeta.evaluation.report import write_report
    from dbeta.report.evaluations import print_metrics

    write_report(result, output, shlex.join(["dbeta", *sys.argv[1:]]))
    print_metrics(result.metrics)
    note(f"{output / 'report.md'} written")
