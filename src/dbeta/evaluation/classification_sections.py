"""The sections of `report.md` for tasks that rank records by class: zero-shot, probe, fine-tuning.

Each takes the content of `metrics.json` and returns Markdown, "" where it does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dbeta.evaluation.markdown import format_interval, format_table
from dbeta.evaluation.metrics import FEW_POSITIVES
from dbeta.evaluation.plots import series_of

_BASELINES = {
    "random": "the same architecture with random weights (zero-shot: the mean over five text encoders)",
    "normality": "the model's score for a normal ECG alone, negated for the other classes",
    "age and sex": "logistic regression on age and sex alone, fitted to the training records",
    "device": "logistic regression on the recording device alone, fitted to the training records",
}


def summary_section(metrics: Mapping[str, Any]) -> str:
    """The macro figures of all models and baselines."""
    if "macro" not in metrics:
        return ""
    common = sum(
        min(one["positives"], one["decided"] - one["positives"]) >= FEW_POSITIVES for one in metrics["classes"].values()
    )
    rows = []
    for name, one in series_of(metrics).items():
        label = f"**{name}**" if name == metrics["model"] else name
        rows.append(
            [
                label,
                format_interval(one["macro"]["auroc"]),
                format_interval(one["macro"]["auprc"]),
                format_interval(one["macro_common"]["auroc"]),
                format_interval(one["macro_common"]["auprc"]),
            ]
        )
    header = [
        "",
        f"AUROC, {_measured(metrics)} classes",
        "AUPRC",
        f"AUROC, {common} classes with ≥ {FEW_POSITIVES} positives",
        "AUPRC, the same",
    ]
    lines = ["## Result", format_table(header, rows)]
    lines.append(
        "Unweighted means over classes; in brackets the 95 % interval by bootstrap over patients. A random order has "
        "an AUROC of 0.5, and an AUPRC equal to the share of positives. "
        + " ".join(f"*{name}*: {words}." for name, words in _BASELINES.items() if name in metrics["baselines"])
    )
    if "sd_over_seeds" in metrics:
        lines.append(f"Standard deviation of the macro AUROC over seeds: {metrics['sd_over_seeds']['auroc']:.3f}.")
    if (score := metrics.get("challenge_score")) and score["value"] is not None:
        lines.append(
            f"Challenge score: **{format_interval(score['value'])}** (1 is perfect, 0 is calling every record normal), "
            f"with a probability threshold of {score['threshold']:g}, chosen on validation."
        )
    if readers := metrics["baselines"].get("readers"):
        lines.append("Readers of the same records, whose answers are yes or no:")
        header = ["reader", "AUROC (mean of sensitivity and specificity)"]
        lines.append(format_table(header, readers.items()))
    return "\n\n".join(lines)


def _measured(metrics: Mapping[str, Any]) -> str:
    """Count the classes that have an AUROC, as in "23", or "21 of 23" where the test records lack some."""
    there = sum(one["auroc"] is not None for one in metrics["classes"].values())
    every = len(metrics["classes"])
    return f"{every}" if there == every else f"{there} of {every}"


def prompts_section(metrics: Mapping[str, Any]) -> str:
    """Zero-shot by kind of prompt."""
    if "prompts" not in metrics:
        return ""
    rows = [
        [name, one["what"], format_interval(one["macro"]["auroc"]), format_interval(one["macro"]["auprc"])]
        for name, one in metrics["prompts"].items()
    ]
    text = "Four kinds of prompt show how much the wording matters. The figures above use the first."
    header = ["prompts", "a condition is put as", "AUROC", "AUPRC"]
    return "\n\n".join(["## Prompts", text, format_table(header, rows), "<!-- prompts -->"])


def fractions_section(metrics: Mapping[str, Any]) -> str:
    """Probes by the number of training labels."""
    if "fractions" not in metrics:
        return ""
    series = {name: one for name, one in series_of(metrics).items() if "fractions" in one}
    rows = []
    for share in metrics["fractions"]:
        row = [share]
        for one in series.values():
            found = one["fractions"][share]
            spread = f" ±{found['sd_over_seeds']['auroc']:.3f}" if "sd_over_seeds" in found else ""
            row.append(format_interval(found["macro"]["auroc"]) + spread)
        rows.append(row)
    text = (
        f"Probe: {metrics['probe']}. The figures above and below use all training labels. Smaller shares are means "
        "over random draws of patients, ± their standard deviation; with few records, a share may be a single patient."
    )
    lines = ["## How few labels suffice", text, format_table(["training labels", *series], rows)]
    shots = metrics.get("few_shot", {})
    if shots.get("shots"):
        lines.append(
            f"Right half of the picture: probes with a fixed penalty on 1 to {list(shots['shots'])[-1]} positives, and "
            f"as many negatives, of each of the {len(shots['classes'])} classes that have enough of them "
            f"({', '.join(shots['classes'])})."
        )
    return "\n\n".join([*lines, "<!-- labels -->"])


def leads_section(metrics: Mapping[str, Any]) -> str:
    """Fine-tuning by the number of leads."""
    if len(metrics.get("leads", {})) < 2:
        return ""
    rows = [
        [count, ", ".join(one["names"]), format_interval(one["macro"]["auroc"]), format_interval(one["macro"]["auprc"])]
        for count, one in metrics["leads"].items()
    ]
    text = "Each row is a separately trained model; the leads that it lacks are zero in training and test."
    header = ["leads", "which", "AUROC", "AUPRC"]
    return "\n\n".join(["## Fewer leads", text, format_table(header, rows), "<!-- leads -->"])


def comparison_section(metrics: Mapping[str, Any]) -> str:
    """The differences between models."""
    lines = []
    for other, found in metrics.get("comparisons", {}).items():
        rows = []
        for name, one in [("macro", found["macro"]), *found["classes"].items()]:
            if one.get("auroc"):
                value, low, high = one["auroc"]["difference"]
                rows.append([name, f"{value:+.3f} ({low:+.3f} to {high:+.3f})", f"{one['auroc']['p']:.3f}"])
        text = (
            f"AUROC of {metrics['model']} minus that of {other}, on the same resamples of patients (paired bootstrap, "
            "two-sided p, not corrected for the number of classes)."
        )
        lines += [f"## {metrics['model']} against {other}", text, format_table(["", "difference", "p"], rows)]
    return "\n\n".join(lines)


def classes_section(metrics: Mapping[str, Any]) -> str:
    """The figures of each class."""
    if "classes" not in metrics:
        return ""
    baselines = {name: one for name, one in metrics["baselines"].items() if "classes" in one}
    parts = {
        words: metrics[name]["classes"]
        for name, words in (("within_device", "within device"), ("among_abnormal", "among abnormal"))
        if name in metrics
    }
    header = ["class", "positives", "AUROC", "AUPRC", *parts, *baselines]
    rows = []
    for name, one in metrics["classes"].items():
        few = " (few)" if one["positives"] < FEW_POSITIVES else ""
        row = [name, f"{one['positives']:,}{few}", format_interval(one["auroc"]), format_interval(one["auprc"])]
        row += [format_interval(classes[name]["auroc"] if name in classes else None)[:5] for classes in parts.values()]
        rows.append([*row, *(format_interval(other["classes"][name]["auroc"])[:5] for other in baselines.values())])
    return "\n\n".join(["## Classes", format_table(header, rows), "<!-- classes -->"])


def subgroups_section(metrics: Mapping[str, Any]) -> str:
    """Figures within a device, among abnormal records and by subgroup."""
    lines = []
    if within := metrics.get("within_device"):
        lines.append(
            f"**Within device:** macro AUROC {format_interval(within['macro']['auroc'])}, each recording compared only "
            f"with others of its device ({within['groups']} devices); a model that only tells devices apart has 0.5."
        )
    if abnormal := metrics.get("among_abnormal"):
        lines.append(
            f"**Among abnormal:** macro AUROC {format_interval(abnormal['macro']['auroc'])} over the "
            f"{abnormal['records']:,} abnormal records; a model that only tells abnormal from normal gets 0.5."
        )
    if metrics.get("subgroups"):
        rows = [
            [
                f"{kind}: {name}",
                f"{one['records']:,}",
                one["classes"],
                format_interval(one["auroc"]),
                format_interval(one["auprc"]),
            ]
            for kind, groups in metrics["subgroups"].items()
            for name, one in groups.items()
        ]
        header = ["group", "records", "classes", "AUROC", "AUPRC"]
        lines.append(
            f"By subgroup, over the classes with at least {FEW_POSITIVES} positives in it. Groups differ in their "
            "classes, so their means do not rank the groups."
        )
        lines += [format_table(header, rows), "<!-- subgroups -->"]
    return "\n\n".join(["## Subgroups and devices", *lines]) if lines else ""


def calibration_section(metrics: Mapping[str, Any]) -> str:
    """The calibration error."""
    found = metrics.get("calibration", {})
    if not found.get("classes"):
        return ""
    text = (
        "Scores are turned into probabilities by a logistic fit per class on the validation records. Expected "
        f"calibration error (mean distance of predicted probability and observed frequency, ten bins), mean over "
        f"{len(found['classes'])} classes: "
        f"**{found['ece']:.3f}**."
    )
    return "\n\n".join(["## Calibration", text, "<!-- calibration -->"])
