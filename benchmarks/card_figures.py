"""Makes the figures of a model card, as Markdown, from evaluations of the model on PTB-XL's fold 9.

    for task in super sub form rhythm; do
        dbeta evaluate zero-shot ptb-xl-$task PTB-XL-FOLDER --fold 9 --resamples 500 --model MODEL \
            --groups GROUPS.csv --output DIR/$task
    done
    dbeta evaluate probe ptb-xl-super PTB-XL-FOLDER --fold 9 --resamples 200 --model MODEL --output DIR/probe
    python benchmarks/card_figures.py DIR [--groups GROUPS.csv] [--card checkpoints/MODEL/README.md]

GROUPS.csv has the columns record_id and restored, from the excerpt of PTB-XL; with `--groups` each class is also given
for original and restored recordings separately. With `--card`, the text between the lines `<!-- figures -->` and
`<!-- end of figures -->` of the card is replaced; otherwise the text is printed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dbeta.evaluation.metrics import score_labels

TASKS = ("super", "sub", "form", "rhythm")
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def main() -> None:
    """Print the figures, or insert them into a card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the evaluations")
    parser.add_argument("--groups", type=Path, help="CSV of record_id and restored")
    parser.add_argument("--card", type=Path, help="model card to update")
    args = parser.parse_args()
    tasks = {task: json.loads((args.folder / task / "metrics.json").read_text()) for task in TASKS}
    parts = [classes(tasks["super"]), groups(tasks["super"]), macros(tasks), *(listed(tasks[t], t) for t in TASKS[1:])]
    if args.groups is not None:
        parts.append(apart(args.folder, pd.read_csv(args.groups, index_col=0)["restored"]))
    if (args.folder / "probe" / "metrics.json").exists():
        parts.append(probe(json.loads((args.folder / "probe" / "metrics.json").read_text())))
    text = "\n".join(parts)
    if args.card is None:
        print(text)
        return
    card = args.card.read_text(encoding="utf-8")
    if BEGIN not in card or END not in card:
        parser.error(f"{args.card} lacks the lines {BEGIN.strip()} and {END.strip()}")
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    args.card.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", card), encoding="utf-8")


def interval(values: list[float] | None) -> str:
    """Format a value and its 95 % interval."""
    return "–" if not values else "{:.3f} ({:.3f}–{:.3f})".format(*values)


def value(values: list[float] | None) -> str:
    """A value alone."""
    return "–" if not values else f"{values[0]:.3f}"


def classes(result: Mapping[str, Any]) -> str:
    """Tabulate the super-classes, beside the baselines."""
    baselines, abnormal = result["baselines"], result["among_abnormal"]
    head = "| class | positives | AUROC (95 % interval) | AUPRC | among abnormal recordings | random weights |"
    lines = [f"{head} normality alone |", "|---|---|---|---|---|---|---|"]
    for name, one in result["classes"].items():
        cells = [name, one["positives"], interval(one["auroc"]), value(one["auprc"])]
        cells.append(interval(abnormal["classes"].get(name, {}).get("auroc")))
        cells += [value(baselines[base]["classes"][name]["auroc"]) for base in ("random", "normality")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    macro = [f"**{interval(result['macro']['auroc'])}**", value(result["macro"]["auprc"])]
    macro.append(interval(abnormal["macro"]["auroc"]))
    macro += [value(baselines[base]["macro"]["auroc"]) for base in ("random", "normality")]
    return "\n".join([*lines, "| **macro** | | " + " | ".join(macro) + " |", ""])


def groups(result: Mapping[str, Any]) -> str:
    """Tabulate the super-classes' macro AUROC by subgroup."""
    lines = ["| subgroup | records | classes with enough positives | macro AUROC |", "|---|---|---|---|"]
    for family, members in result["subgroups"].items():
        for name, one in members.items():
            cells = (f"{family}: {name}", one["records"], one["classes"], interval(one["auroc"]))
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    within = interval(result["within_device"]["macro"]["auroc"])
    lines.append(f"| within devices ({result['within_device']['groups']}) | {result['n_records']} | | {within} |")
    return "\n".join([*lines, ""])


def macros(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Tabulate the macro AUROC of each task, over all classes and over those with ten positives."""
    head = "| benchmark | macro AUROC (95 % interval) | classes with ten positives | random weights |"
    lines = [head, "|---|---|---|---|"]
    for task, one in tasks.items():
        common, random = one["macro_common"]["auroc"], one["baselines"]["random"]["macro"]["auroc"]
        lines.append(
            f"| `ptb-xl-{task}` | {interval(one['macro']['auroc'])} | {interval(common)} | {interval(random)} |"
        )
    return "\n".join([*lines, ""])


def listed(result: Mapping[str, Any], task: str) -> str:
    """Tabulate a task's classes; those without a positive record are named at the end."""
    lines = [f"| `ptb-xl-{task}` | positives | AUROC (95 % interval) | AUPRC |", "|---|---|---|---|"]
    absent = []
    for name, one in result["classes"].items():
        if one["positives"] and one["auroc"]:
            lines.append(f"| {name} | {one['positives']} | {interval(one['auroc'])} | {value(one['auprc'])} |")
        else:
            absent.append(name)
    return "\n".join([*lines, "", *([f"No positive record here: {', '.join(absent)}.", ""] if absent else [])])


def apart(folder: Path, restored: pd.Series) -> str:
    """Tabulate each class for original and for restored recordings, if it has both."""
    lines = [
        "| task | class | positives, original | AUROC | positives, restored | AUROC |",
        "|---|---|---|---|---|---|",
    ]
    restored = restored.rename(index=str).astype(str) == "True"
    for task in TASKS:
        table = pd.read_parquet(folder / task / "predictions.parquet")
        names = [name.removeprefix("label:") for name in map(str, table) if name.startswith("label:")]
        again = restored.reindex(table["record_id"].astype(str)).to_numpy(dtype=bool)
        parts = [scored(table[~again], names), scored(table[again], names)]
        for name in names:
            cells = [cell for part in parts for cell in (part[name]["positives"], interval(part[name]["auroc"]))]
            if cells[0] or cells[2]:
                lines.append(f"| `{task}` | {name} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, ""])


def scored(table: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """Count positives and compute the AUROC of each class over some records."""
    labels, scores = (table[[f"{kind}:{name}" for name in names]].to_numpy() for kind in ("label", "score"))
    return score_labels(labels.astype(int), scores, names, table["patient_id"].to_numpy(), resamples=500)["classes"]


def probe(result: Mapping[str, Any]) -> str:
    """Tabulate linear probes by the share of labels, beside those on random weights."""
    lines = ["| labels | this model's embeddings | the same encoder with random weights |", "|---|---|---|"]
    shares, random = result["fractions"], result["baselines"]["random"]["fractions"]
    for share, one in shares.items():
        cells = [_with_spread(one), _with_spread(random[share])]
        lines.append(f"| {share} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _with_spread(one: Mapping[str, Any]) -> str:
    spread = f" ±{one['sd_over_seeds']['auroc']:.3f}" if "sd_over_seeds" in one else ""
    return interval(one["macro"]["auroc"]) + spread


if __name__ == "__main__":
    main()
