"""Renders `report.md` from the content of `metrics.json`; sections that do not apply are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dbeta.evaluation.classification_sections import (
    calibration_section,
    classes_section,
    comparison_section,
    fractions_section,
    leads_section,
    prompts_section,
    subgroups_section,
    summary_section,
)
from dbeta.evaluation.markdown import format_interval, format_table, task_name
from dbeta.utils.notice import NOTICE

_TASKS = {
    "zero-shot": "Text prompts alone rank the recordings; nothing is fitted to this benchmark.",
    "probe": "Linear probe: the encoder is frozen; only a linear layer on its embeddings is trained on the labels.",
    "finetune": "Fine-tuning: the whole ECG encoder and a linear layer on its embedding are trained on the labels.",
    "retrieval": "Retrieval: reports find ECGs, and ECGs reports, by the cosine of embeddings; nothing is trained.",
    "identification": "Patient identification: whose ECG is this? Answered by the cosine of its embedding with that of "
    "one other ECG of each patient.",
}
_DOMAIN = {
    True: "is **in-domain** here: it was pretrained on {}, with reports or labels of this very dataset. These figures "
    "do not show how it performs on other data.",
    False: "was pretrained on {}, which does not include this dataset.",
    None: "does not record what it was pretrained on (`trained_on` in its config.json): whether that included this "
    "dataset is unknown.",
}
#: Alternative text of each picture.
PICTURES = {
    "classes": "AUROC of each class with its 95 % interval, and of the baselines",
    "prompts": "macro AUROC by kind of prompt",
    "labels": "macro AUROC by the number of labels",
    "leads": "macro AUROC by the number of leads",
    "subgroups": "macro AUROC by subgroup",
    "calibration": "predicted probability against observed frequency",
}


def render(metrics: Mapping[str, Any], pictures: Iterable[str]) -> str:
    """Render `report.md`.

    Args:
        metrics: the content of `metrics.json`.
        pictures: names of the pictures (`PICTURES`) that are stored beside the report as NAME.png.
    """
    sections = [
        _head(metrics),
        _retrieval(metrics),
        _identification(metrics),
        summary_section(metrics),
        prompts_section(metrics),
        fractions_section(metrics),
        leads_section(metrics),
        comparison_section(metrics),
        classes_section(metrics),
        subgroups_section(metrics),
        calibration_section(metrics),
        _protocol(metrics),
    ]
    text = "\n\n".join(section for section in sections if section)
    for name in pictures:
        text = text.replace(f"<!-- {name} -->", f"![{PICTURES[name]}]({name}.png)")
    return "\n".join(line for line in text.split("\n") if not line.startswith("<!--")) + "\n"


def _head(metrics: Mapping[str, Any]) -> str:
    in_domain = metrics["provenance"]["models"].get(metrics["model"], {}).get("in_domain")
    lines = [
        f"# {task_name(metrics['task'], in_domain)} on {metrics['benchmark']}: {metrics['model']}",
        f"*{NOTICE}*",
        f"{_TASKS[metrics['task']]} {metrics['n_records']:,} test records of {metrics['n_patients']:,} patients.",
    ]
    for name, one in metrics["provenance"]["models"].items():
        lines.append(f"**{name}** {_DOMAIN[one['in_domain']].format(', '.join(one['trained_on'] or ['nothing']))}")
    left_out = []
    if metrics["missing"]:
        left_out.append(f"{metrics['missing']:,} listed records are missing from the folder")
    if metrics["unread"]:
        left_out.append(f"{len(metrics['unread']):,} recordings could not be read")
    if left_out:
        lines.append(f"**{' and '.join(left_out)}; they are left out.**")
    notes = [f"- {note}" for note in metrics["notes"]]
    notes += [f"- {record}: {reason}" for record, reason in list(metrics["unread"].items())[:10]]
    return "\n\n".join([*lines, "\n".join(notes)] if notes else lines)


def _retrieval(metrics: Mapping[str, Any]) -> str:
    if metrics["task"] != "retrieval":
        return ""
    rows = []
    columns = ("recall@1", "recall@5", "recall@10", "median_rank")
    for way, words in (("text_to_ecg", "report → ECG"), ("ecg_to_text", "ECG → report")):
        for name, one in {metrics["model"]: metrics, **metrics["others"], **metrics["baselines"]}.items():
            figures = [format_interval(one[way][key], 1 if key == "median_rank" else 3) for key in columns]
            rows.append([f"{words}: {name}", *figures])
        rows.append([f"{words}: chance", *(metrics["chance"][way][key] for key in columns)])
    text = (
        f"{metrics['pairs']:,} pairs with {metrics['unique_reports']:,} unique reports. Report → ECG: each unique "
        "report queries all recordings, and any recording with that report is a hit. ECG → report: each recording "
        "queries the unique reports."
    )
    header = ["", "recall@1", "recall@5", "recall@10", "median rank"]
    return "\n\n".join(["## Result", text, format_table(header, rows), *_reranked(metrics)])


def _reranked(metrics: Mapping[str, Any]) -> list[str]:
    """Recall before and after re-ranking, side by side."""
    if "reranked" not in metrics:
        return []
    depths = ("recall@1", "recall@5", "recall@10")
    rows = []
    for way, words in (("text_to_ecg", "report → ECG"), ("ecg_to_text", "ECG → report")):
        for name, one in {metrics["model"]: metrics, **metrics["others"]}.items():
            figures = []
            for key in depths:
                gain = one["reranked"]["gain"][way][key]
                figures += [f"{one[way][key][0]:.3f}", f"{one['reranked'][way][key][0]:.3f}", format_interval(gain, 3)]
            rows.append([f"{words}: {name}", *figures])
    first = metrics["reranked"]["first"]
    text = (
        f"The first {first} items of each query, sorted by the probability that text and ECG belong together "
        "(`dbeta match`). Intervals of the gain are over the same patients."
    )
    header = ["", *(part for key in depths for part in (key, "re-ranked", "gain"))]
    return ["## Re-ranked by matching", text, format_table(header, rows)]


def _identification(metrics: Mapping[str, Any]) -> str:
    if metrics["task"] != "identification":
        return ""
    series = {metrics["model"]: metrics, **metrics["others"], **metrics["baselines"]}
    rows = [[name, format_interval(one["accuracy@1"])] for name, one in series.items()]
    text = (
        f"{metrics['queries']:,} records query a gallery that holds the first record of each of "
        f"{metrics['patients']:,} patients."
    )
    return "\n\n".join(
        ["## Result", text, format_table(["", "accuracy at 1"], [*rows, ["chance", f"{metrics['chance']:.4f}"]])]
    )


def _protocol(metrics: Mapping[str, Any]) -> str:
    provenance = metrics["provenance"]
    splits = ", ".join(f"{count:,} {name}" for name, count in metrics["splits"].items())
    models = "; ".join(
        f"{name} ({one['precision']}, fingerprint {one['fingerprint'][:12]})"
        for name, one in provenance["models"].items()
    )
    bootstrap = provenance["bootstrap"]
    lines = ["## Protocol", ""]
    lines.append(f"- Records and labels: {metrics['protocol']}.")
    lines.append(f"- Records used: {splits}.")
    if "settings" in metrics:
        lines.append(f"- Fine-tuning: {_settings(metrics['settings'])}.")
    lines.append(
        f"- Intervals: percentile bootstrap over patients, centered on the value, {bootstrap['resamples']:,} "
        "resamples, seed 0."
    )
    lines.append(f"- Models: {models}.")
    lines.append(f"- Data fingerprint (samples, labels, splits): {provenance['data_fingerprint']}.")
    versions = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    lines.append(f"- Versions: {versions}.")
    if "command" in provenance:
        lines.append(f"- Command: `{provenance['command']}`")
    return "\n".join(lines)


def _settings(settings: Mapping[str, Any]) -> str:
    """Format settings, as in "epochs 10, batch size 64"."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items())
