"""The command line: each command is a few lines over the library.

Exit codes: 0 done; 1 a user's mistake, one sentence on stderr; 2 bad usage. Libraries that take seconds to import are
imported by the commands that need them.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from dbeta.cli_convert import convert
from dbeta.console import NOTICE, Failures, complain, note, print_findings, print_metrics, progress
from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.reading import find_ecgs, read_ecg

if TYPE_CHECKING:
    import numpy as np

    from dbeta.inference import DBeta


class InOrder(TyperGroup):
    """Commands in the order in which people come to need them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands."""
        order = ["diagnose", "embed", "plot", "info", "corpus", "pretrain", "convert", "evaluate"]
        return sorted(super().list_commands(ctx), key=order.index)


app = typer.Typer(
    cls=InOrder,
    help=f"Ask a 12-lead ECG, in words, what it shows. {NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
corpus_app = typer.Typer(help="Make corpora for pretraining and evaluation.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Measure a model on a benchmark.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(help="Recordings: .hea, .mat, .dcm, .xml, .scp, .edf, .h5, .npy, .csv")]
OneFile = Annotated[Path, typer.Argument(help="A recording")]
Model = Annotated[str | None, typer.Option(help="Checkpoint folder or hub id  \\[default: the bundled model]")]
Rate = Annotated[float | None, typer.Option("--fs", help="Sampling rate in Hz, for files that do not carry it")]
Leads = Annotated[str | None, typer.Option(help='Lead names in file order, "I,II,V1,…", for files without them')]
Record = Annotated[str | None, typer.Option(help="Which recording of an HDF5 file: exam_id or row number")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command()
def diagnose(
    files: Files,
    conditions: Annotated[
        list[str] | None, typer.Option(help='In words, separated by ";"  \\[default: about twenty common ones]')
    ] = None,
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    as_json: AsJson = False,
) -> None:
    """Rank conditions by how well they describe each recording.

    Example: dbeta diagnose record.hea --conditions "atrial fibrillation; left bundle branch block"
    """
    wanted = None
    if conditions:
        named = [one.strip() for text in conditions for one in text.strip().strip(";").split(";")]
        wanted = list(dict.fromkeys(named))
    if wanted is not None and not all(wanted):
        raise DBetaError('--conditions: a condition is empty; write them as "atrial fibrillation; sinus rhythm"')
    dbeta = load_model(model)
    tables = []
    failures = Failures()
    for file in files:
        with failures.of(file):
            ecg = read(file, fs, leads, record, duration=dbeta.processor.duration + 1)
            tables.append(dbeta.diagnose(ecg, wanted))
            if not as_json:
                print_findings(tables[-1])
    if as_json:
        from dbeta.inference import to_records

        print(json.dumps([row for table in tables for row in to_records(table)], indent=2))
    elif tables:
        Console().print(f"[dim]percentile: share of the reference ECGs that fit the words less well. {NOTICE}[/]")
    failures.end()


@app.command()
def embed(
    paths: Annotated[list[Path], typer.Argument(help="Recordings or folders of recordings")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write")],
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
) -> None:
    """Write the embedding of each recording to a Parquet file with columns file, record and embedding.

    Example: dbeta embed recordings/ --output embeddings.parquet
    """
    import pandas as pd

    if output.suffix != ".parquet":
        raise DBetaError(f"{output}: embeddings are written as Parquet; give the file the ending .parquet")
    check_folder(output)
    files = [file for path in paths for file in (find_ecgs(path) if path.is_dir() else [path])]
    if not files:
        raise DBetaError(f"{', '.join(map(str, paths))}: no recording was found there")
    dbeta = load_model(model)
    failures = Failures()
    rows: list[dict[str, Any]] = []
    with progress("embedding") as advance:
        for start in range(0, len(files), dbeta.batch_size):
            signals: list[np.ndarray] = []
            for file in files[start : start + dbeta.batch_size]:
                with failures.of(file):
                    ecg = read(file, fs, leads, record, duration=dbeta.processor.duration + 1)
                    signals.append(dbeta.processor.signal(ecg))
                    rows.append({"file": str(file), "record": str(ecg.meta.get("record", ecg.meta["source"]))})
            if signals:
                for row, embedding in zip(rows[-len(signals) :], dbeta.embed_signals(signals), strict=True):
                    row["embedding"] = embedding
            advance(min(start + dbeta.batch_size, len(files)), len(files))
    if rows:
        partial = output.with_name(f".{output.name}.partial")
        try:
            pd.DataFrame(rows).to_parquet(partial, index=False)
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
        note(f"{len(rows)} embeddings of {rows[0]['embedding'].size} numbers in {output}")
    failures.end()


@app.command()
def plot(
    file: OneFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg")],
    findings: Annotated[bool, typer.Option(help="Show the model's findings beside the leads")] = True,
    model: Model = None,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
) -> None:
    """Draw the twelve leads as clinicians read them: 25 mm/s, 10 mm/mV, 3 × 4 and a rhythm strip.

    Example: dbeta plot record.hea -o record.png
    """
    from dbeta.plotting import SHOWN_S, plot_ecg, save_plot

    check_folder(output)
    dbeta = load_model(model) if findings else None
    seconds = max(SHOWN_S, dbeta.processor.duration if dbeta else 0.0)
    ecg = read(file, fs, leads, record, duration=seconds + 1)
    save_plot(plot_ecg(ecg, dbeta.diagnose(ecg) if dbeta else None), output)
    note(f"{output} written")


@app.command()
def info(
    file: OneFile,
    fs: Rate = None,
    leads: Leads = None,
    record: Record = None,
    as_json: AsJson = False,
) -> None:
    """Show what a recording holds: rate, length, voltages per lead, patient and report.

    Example: dbeta info record.hea
    """
    import numpy as np

    ecg = read(file, fs, leads, record)
    finite = np.isfinite(ecg.signal)
    facts: dict[str, Any] = {
        "record": ecg.meta.get("record", ecg.meta.get("source")),
        "sampling_rate": ecg.sampling_rate,
        "duration": round(ecg.duration, 3),
        "samples": ecg.signal.shape[1],
        "missing": round(float((~finite).mean()), 4),
        "patient_id": ecg.patient_id,
        "age": ecg.meta.get("age"),
        "sex": ecg.meta.get("sex"),
        "report": ecg.report or None,
        "peak_to_peak_mv": {
            lead: round(float(np.ptp(row[good])), 3) if good.any() else None
            for lead, row, good in zip(ecg.leads, ecg.signal, finite, strict=True)
        },
    }
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
        return
    table = Table(show_header=False, box=None)
    units = {"sampling_rate": " Hz", "duration": " s"}
    for key, value in facts.items():
        if key == "peak_to_peak_mv":
            value = "  ".join(f"{lead} {'–' if size is None else f'{size:.2f}'}" for lead, size in value.items())
            key = "peak to peak, mV"
        if value is not None:
            table.add_row(f"[bold]{key.replace('_', ' ')}[/]", escape(f"{value}{units.get(key, '')}"))
    Console().print(table)


@corpus_app.command("build")
def corpus_build(
    source: Annotated[str, typer.Argument(help="Kind of dataset: ptb-xl")],
    raw: Annotated[Path, typer.Argument(help="The dataset's folder, as downloaded")],
    out: Annotated[Path, typer.Argument(help="Corpus folder to make")],
) -> None:
    """Turn a dataset into an Arrow corpus.

    Example: dbeta corpus build ptb-xl ptb-xl-1.0.3/ runs/corpus/ptb-xl
    """
    from dbeta.corpus.build import build_corpus

    out.parent.mkdir(parents=True, exist_ok=True)
    with progress("reading records") as advance:
        counts = build_corpus(source, raw, out, advance)
    splits = ", ".join(f"{n} {name}" for name, n in counts["splits"].items())
    note(f"{counts['records']} records of {counts['patients']} patients in {out} ({splits})")
    if counts["rejected"]:
        note(f"{counts['rejected']} records could not be read: see {out / 'rejected.csv'}")


@app.command()
def pretrain(
    recipe: Annotated[Path, typer.Argument(help="A training run, such as recipes/tiny.yaml")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe; dots reach inside")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Checkpoint folder  \\[default: the recipe's]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run")] = False,
) -> None:
    """Train a model from a recipe.

    Example: dbeta pretrain recipes/tiny.yaml --set training.num_train_epochs=2 --output runs/short
    """
    from dbeta.training.pretrain import load_recipe
    from dbeta.training.pretrain import pretrain as run

    silence_libraries()
    changes = [*(changes or []), *([f"output={output}"] if output else [])]
    note(f"checkpoint in {run(load_recipe(recipe, changes), resume=resume)}")


@evaluate_app.command("zero-shot")
def evaluate_zero_shot(
    benchmark: Annotated[str, typer.Argument(help="ptb-xl-super")],
    raw: Annotated[Path, typer.Argument(help="The dataset's folder, as downloaded")],
    output: Annotated[Path, typer.Option(help="Folder for metrics.json")],
    model: Model = None,
    fold: Annotated[
        int | None, typer.Option(help="Official fold  \\[default: 10, the test fold; 9 where the data lack it]")
    ] = None,
) -> None:
    """Score how well words alone rank a benchmark's recordings.

    Example: dbeta evaluate zero-shot ptb-xl-super ptb-xl-1.0.3/ --model checkpoints/tiny --output runs/zero-shot
    """
    from dbeta.evaluation.benchmarks import load_benchmark
    from dbeta.evaluation.zero_shot import evaluate_zero_shot as evaluate

    dbeta = load_model(model)
    task = load_benchmark(benchmark, raw, fold)
    output.mkdir(parents=True, exist_ok=True)  # before the work, so that a wrong name costs none
    with progress("reading records") as advance:
        result = evaluate(dbeta, task, advance)
    partial = output / ".metrics.json.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(output / "metrics.json")
    print_metrics(result)
    note(f"{output / 'metrics.json'} written")


app.command()(convert)
app.add_typer(corpus_app, name="corpus")
app.add_typer(evaluate_app, name="evaluate")


def load_model(name: str | None) -> DBeta:
    """The model a command names."""
    silence_libraries()
    from dbeta.inference import load

    return load(name)


def silence_libraries() -> None:
    """Turn off the libraries' own chatter and progress bars, which are not meant for this command line's users."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity(hub_logging.CRITICAL)


def read(file: Path, fs: float | None, leads: str | None, record: str | None, *, duration: float | None = None) -> ECG:
    """`read_ecg` with the options as the command line gives them."""
    names = None if leads is None else [name.strip() for name in leads.split(",")]
    return read_ecg(file, sampling_rate=fs, leads=names, record=record, duration=duration)


def check_folder(output: Path) -> None:
    """Refuse early to write where there is no folder."""
    if not output.parent.is_dir():
        raise DBetaError(f"{output}: the folder {output.parent} does not exist; create it first")
    if output.is_dir():
        raise DBetaError(f"{output}: is a folder; name a file")


def main() -> None:
    """Run the command line."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, DBetaWarning):
            note(f"warning: {message}")

    warnings.showwarning = show
    warnings.simplefilter("always", DBetaWarning)
    try:
        app(prog_name="dbeta")
    except DBetaError as error:
        complain(error)
        sys.exit(1)
    except OSError as error:  # no room, no permission, a file where a folder should be
        complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
