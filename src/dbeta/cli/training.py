"""The commands from data to a model: corpus build, corpus simulate, corpus negatives, pretrain."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.common import AsJson, silence_libraries
from dbeta.report.console import note, print_estimate, progress


def corpus_build(
    source: Annotated[str, typer.Argument(help="ptb-xl, mimic-iv-ecg, challenge-2021, code-15 or manifest")],
    raw: Annotated[Path, typer.Argument(help="The dataset's folder, as downloaded; a manifest's CSV or Parquet file")],
    out: Annotated[Path, typer.Argument(help="Corpus folder to make")],
    seconds: Annotated[float, typer.Option(help="Store longer recordings up to this")] = 60.0,
) -> None:
    """Turn a dataset into an Arrow corpus with a data card; interrupted and started again, it goes on.

    A manifest lists your own recordings in a column path (files relative to it) and, if you have them, report,
    patient_id, split, findings (";" between), age, sex, device, record_id, sampling_rate and leads.

    Example: dbeta corpus build ptb-xl ptb-xl-1.0.3/ runs/corpus/ptb-xl

    Example: dbeta corpus build mimic-iv-ecg mimic-iv-ecg-1.0/ runs/corpus/mimic

    Example: dbeta corpus build manifest archive/recordings.csv runs/corpus/archive
    """
    from dbeta.corpus.build import build_corpus

    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with progress("reading records") as advance:
            counts = build_corpus(source, raw, out, advance, seconds=seconds)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on from here")
        raise
    splits = ", ".join(f"{n} {name}" for name, n in counts["splits"].items())
    note(f"{counts['records']} records of {counts['patients']} patients in {out} ({splits})")
    if counts["rejected"]:
        note(f"{counts['rejected']} records could not be read: see {out / 'rejected.csv'}")


def corpus_simulate(
    out: Annotated[Path, typer.Argument(help="Corpus folder to make")],
    records: Annotated[int, typer.Option(help="How many recordings", min=1)],
    seed: Annotated[int, typer.Option(help="Of the random numbers; the same seed makes the same corpus", min=0)] = 0,
    mix: Annotated[str, typer.Option(help="How common diseases are: balanced, clinic or healthy")] = "balanced",
) -> None:
    """Simulate ECGs with known findings and reports; interrupted and started again, it goes on.

    Example: dbeta corpus simulate runs/corpus/simulated --records 20000 --seed 1
    """
    from dbeta.corpus.simulated import build_simulated

    try:
        with progress("simulating") as advance:
            counts = build_simulated(out, records, seed, mix, advance)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on from here")
        raise
    splits = ", ".join(f"{n} {name}" for name, n in counts["splits"].items())
    note(f"{counts['records']} simulated recordings in {out} ({splits})")


def corpus_negatives(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder, as `dbeta corpus build` made it")],
    encoder: Annotated[
        str, typer.Option(help="tfidf, or a text encoder's folder or hub id, such as google/flan-t5-small")
    ] = "tfidf",
    count: Annotated[int, typer.Option(help="How many of the farthest reports to keep for each")] = 64,
    batch_size: Annotated[int, typer.Option(help="Texts that go through a text encoder at once")] = 64,
) -> None:
    """Find for each training report the farthest others, to train with as negatives.

    Example: dbeta corpus negatives runs/corpus/ptb-xl
    """
    from dbeta.corpus.negatives import NEGATIVES_FOLDER, build_negatives

    silence_libraries()
    with progress("embedding and searching") as advance:
        about = build_negatives(corpus, encoder, count, advance, batch_size=batch_size)
    note(f"{about['count']} negatives for each of {about['texts']} unique reports in {corpus / NEGATIVES_FOLDER}")
    share = about["most_used_percent_share"]
    note(f"{about['ever_used']:.0%} of the reports serve as negatives; the 1 % used most are {share:.1%} of all")
    if about["may_be_true"]:
        note(f"{about['may_be_true']:.2%} of the negatives may be true: too few reports state anything else")
    if about["without_text"]:
        note(f"{about['without_text']} of {about['records']} records have neither report nor findings: no negatives")


def pretrain(
    recipe: Annotated[Path, typer.Argument(help="A training run, such as recipes/tiny.yaml")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe; dots reach inside")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Checkpoint folder  \\[default: the recipe's]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do: recipe, parameters, memory, steps, time")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model from a recipe.

    Example: dbeta pretrain recipes/tiny.yaml --set training.num_train_epochs=2 --output runs/short

    Several processes: torchrun --nproc-per-node 2 -m dbeta.cli pretrain recipes/base.yaml
    """
    from dbeta.training.recipe import load_recipe

    if as_json and not dry_run:
        raise typer.BadParameter("--json belongs to --dry-run")
    silence_libraries()
    changes = [*(changes or []), *([f"output={output}"] if output else [])]
    settings = load_recipe(recipe, changes)
    if dry_run:
        from dbeta.training.estimate import estimate, show

        found = show(settings, estimate(settings))
        if as_json:
            print(json.dumps(found, indent=2))
        else:
            print_estimate(found)
        return
    from dbeta.training.pretrain import pretrain as run

    written = run(settings, resume=resume)
    if int(os.environ.get("RANK", "0")) == 0:
        note(f"checkpoint in {written}")
