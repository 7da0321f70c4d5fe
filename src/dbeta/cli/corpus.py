"""The commands `dbeta corpus build`, `simulate` and `negatives`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from dbeta.cli.options import Leads, Reading, SamplingRate, Units, silence_libraries
from dbeta.errors import DBetaError
from dbeta.report.console import note, progress

app = typer.Typer(help="Build datasets for pretraining and evaluation.", no_args_is_help=True)


@app.command()
def build(
    source: Annotated[str, typer.Argument(help="ptb-xl, mimic-iv-ecg, challenge-2021, code-15 or manifest")],
    raw: Annotated[Path, typer.Argument(help="The dataset's folder, as downloaded, or the manifest file")],
    out: Annotated[Path, typer.Argument(help="Corpus folder to create")],
    seconds: Annotated[float, typer.Option(help="Cut longer recordings to this length")] = 60.0,
    fs: SamplingRate = None,
    leads: Leads = None,
    units: Units = None,
) -> None:
    """Convert a dataset to a corpus of Arrow files with a data card.

    An interrupted build resumes when the same command is run again.

    A manifest is a CSV or Parquet file of your own recordings. Its column path holds files relative to the manifest.
    Optional columns: report, patient_id, split, findings (names separated by ";"), vocabulary, statements, age, sex,
    device, record_id, and for files that do not state them sampling_rate, leads and units, or --fs, --leads and
    --units for all of them. Other columns are ignored, with a warning.

    Example: dbeta corpus build ptb-xl ptb-xl-1.0.3/ runs/corpus/ptb-xl

    Example: dbeta corpus build mimic-iv-ecg mimic-iv-ecg-1.0/ runs/corpus/mimic

    Example: dbeta corpus build manifest archive/recordings.csv runs/corpus/archive
    """
    from dbeta.corpus.build import build_corpus

    names = ("sampling_rate", "leads", "units")
    options = Reading(fs, leads, None, units).arguments()
    reading = {name: options[name] for name in names}
    missing = [folder for folder in out.parents if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with progress("reading records") as advance:
            counts = build_corpus(source, raw, out, advance, seconds=seconds, reading=reading)
    except DBetaError:
        for folder in missing:
            with suppress(OSError):  # it holds an interrupted build
                folder.rmdir()
        raise
    except KeyboardInterrupt:
        note("interrupted; run the same command again to resume")
        raise
    splits = ", ".join(f"{n} {name}" for name, n in counts["splits"].items())
    note(f"{counts['records']} records of {counts['patients']} patients in {out} ({splits})")
    if counts["rejected"]:
        note(f"{counts['rejected']} records could not be read: see {out / 'rejected.csv'}")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Corpus folder to create")],
    records: Annotated[int, typer.Option(help="Number of recordings", min=1)],
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same corpus", min=0)] = 0,
    mix: Annotated[str, typer.Option(help="Prevalence of diseases: balanced, clinic or healthy")] = "balanced",
) -> None:
    """Simulate ECGs with known findings and reports.

    An interrupted run resumes when the same command is run again.

    Example: dbeta corpus simulate runs/corpus/simulated --records 20000 --seed 1
    """
    from dbeta.corpus.simulated import build_simulated

    try:
        with progress("simulating") as advance:
            counts = build_simulated(out, records, seed, mix, advance)
    except KeyboardInterrupt:
        note("interrupted; run the same command again to resume")
        raise
    splits = ", ".join(f"{n} {name}" for name, n in counts["splits"].items())
    note(f"{counts['records']} simulated recordings in {out} ({splits})")


@app.command()
def negatives(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder written by `dbeta corpus build`")],
    encoder: Annotated[
        str, typer.Option(help="tfidf, or folder or hub ID of a text encoder, such as google/flan-t5-small")
    ] = "tfidf",
    count: Annotated[int, typer.Option(help="Negatives to keep for each report")] = 64,
    batch_size: Annotated[int, typer.Option(help="Texts per batch of the text encoder")] = 64,
) -> None:
    """Find the most dissimilar reports to each training report, as negatives for pretraining.

    Example: dbeta corpus negatives runs/corpus/ptb-xl
    """
    from dbeta.corpus.negatives import NEGATIVES_FOLDER, build_negatives

    silence_libraries()
    with progress("embedding and searching") as advance:
        about = build_negatives(corpus, encoder, count, advance, batch_size=batch_size)
    note(f"{about['count']} negatives for each of {about['texts']} unique reports in {corpus / NEGATIVES_FOLDER}")
    share = about["most_used_percent_share"]
    note(f"{about['ever_used']:.0%} of the reports are used as negatives; the most used 1 % make up {share:.1%}")
    if about["may_be_true"]:
        note(f"{about['may_be_true']:.2%} of the negatives may be true, because too few reports state anything else")
    if about["without_text"]:
        note(f"{about['without_text']} of {about['records']} records have no report or findings, so no negatives")
