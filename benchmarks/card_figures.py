"""The figures of a model card, as Markdown, from the evaluations of a model on PTB-XL's fold 9.

    for task in super sub form rhythm; do
        dbeta evaluate zero-shot ptb-xl-$task PTB-XL-FOLDER --fold 9 --resamples 500 --model MODEL \
            --groups GROUPS.csv --output DIR/$task
    done
    dbeta evaluate probe ptb-xl-super PTB-XL-FOLDER --fold 9 --resamples 200 --model MODEL --output DIR/probe
    python benchmarks/card_figures.py DIR [--card checkpoints/MODEL/README.md]

GROUPS.csv has the columns record_id and restored. With `--card` what stands in the card between the lines
`<!-- figures -->` and `<!-- end of figures -->` is replaced; otherwise the text is printed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TASKS = ("super", "sub", "form", "rhythm")
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def main() -> None:
    """Print the figures, or put them into a card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the evaluations")
    parser.add_argument("--card", type=Path, help="model card to bring up to date")
    args = parser.parse_args()
    tasks = {task: json.loads((args.folder / task / "metrics.json").read_text()) for task in TASKS}
    parts = [classes(tasks["super"]), groups(tasks["super"]), macros(tasks), *(listed(tasks[t], t) for t in TASKS[1:])]
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
    """A value and its 95 % interval."""
    return "–" if not values else "{:.3f} ({:.3f}–{:.3f})".format(*values)


def value(values: list[float] | None) -> str:
    """A value alone."""
    return "–" if not values else f"{values[0]:.3f}"


def classes(result: Mapping[str, Any]) -> str:
    """The super-classes one by one, beside the baselines."""
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
    """The super-classes' macro by subgroup."""
    lines = ["| subgroup | records | classes with enough positives | macro AUROC |", "|---|---|---|---|"]
    for family, members in result["subgroups"].items():
        for name, one in members.items():
            cells = (f"{family}: {name}", one["records"], one["classes"], interval(one["auroc"]))
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    within = interval(result["within_device"]["macro"]["auroc"])
    lines.append(f"| within devices ({result['within_device']['groups']}) | {result['n_records']} | | {within} |")
    return "\n".join([*lines, ""])


def macros(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """The macro of each task, over all classes and over those with ten positives."""
    head = "| benchmark | macro AUROC (95 % interval) | classes with ten positives | random weights |"
    lines = [head, "|---|---|---|---|"]
    for task, one in tasks.items():
        common, random = one["macro_common"]["auroc"], one["baselines"]["random"]["macro"]["auroc"]
        lines.append(
            f"| `ptb-xl-{task}` | {interval(one['macro']['auroc'])} | {interval(common)} | {interval(random)} |"
        )
    return "\n".join([*lines, ""])


def listed(result: Mapping[str, Any], task: str) -> str:
    """A task's classes in one line each; those without a positive record are named at the end."""
    lines = [f"| `ptb-xl-{task}` | positives | AUROC (95 % interval) | AUPRC |", "|---|---|---|---|"]
    absent = []
    for name, one in result["classes"].items():
        if one["positives"] and one["auroc"]:
            lines.append(f"| {name} | {one['positives']} | {interval(one['auroc'])} | {value(one['auprc'])} |")
        else:
            absent.append(name)
    return "\n".join([*lines, "", *([f"No positive record here: {', '.join(absent)}.", ""] if absent else [])])


def probe(result: Mapping[str, Any]) -> str:
    """Linear probes by the share of labels, beside those of random weights."""
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
