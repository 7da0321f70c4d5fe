"""The sections of `report.md`, each from what `metrics.json` holds; a section that has nothing to say is empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dbeta.evaluation.figures import series_of
from dbeta.evaluation.metrics import FEW_POSITIVES
from dbeta.utils.notice import NOTICE

_TASKS = {
    "zero-shot": "Words alone rank the recordings; nothing is fitted to this benchmark.",
    "probe": "Linear probe: the encoder is frozen; only a linear layer on its embeddings learns the labels.",
    "finetune": "Fine-tuning: the whole ECG encoder learns the labels, with a linear layer on its embedding.",
    "retrieval": "Retrieval: reports and ECGs find each other by the cosine of their embeddings; nothing is learnt.",
    "identification": "Patient identification: whose ECG is this, among one other ECG of each patient? By the cosine "
    "of embeddings.",
}
_DOMAIN = {
    True: "is **in-domain** here: it was pretrained on {}, with reports or labels of this very dataset. These figures "
    "say nothing of foreign data.",
    False: "was pretrained on {}: this dataset is foreign to it.",
    None: "does not say what it was pretrained on (`trained_on` of its config.json): whether this dataset is foreign "
    "to it is not known.",
}
_BASELINES = {
    "random": "the same architecture with weights that saw no data (zero-shot: the mean over five text encoders)",
    "normality": "the model's score for a normal ECG alone, turned round for the other classes",
    "age and sex": "logistic regression on age and sex alone, fitted to the training records",
    "device": "logistic regression on which device recorded, fitted to the training records",
}

#: What a picture shows, for those who cannot see it.
PICTURES = {
    "classes": "AUROC of each class with its 95 % interval, beside the baselines",
    "prompts": "macro AUROC by the way of putting the question",
    "labels": "macro AUROC by the number of labels",
    "leads": "macro AUROC by the number of leads",
    "subgroups": "macro AUROC by subgroup",
    "calibration": "predicted probability against observed share",
}


def render(metrics: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """`report.md` of what `metrics.json` holds."""
    sections = [
        _head(metrics),
        _retrieval(metrics),
        _identification(metrics),
        _summary(metrics),
        _prompts(metrics),
        _fractions(metrics),
        _leads(metrics),
        _comparison(metrics),
        _classes(metrics),
        _beyond(metrics),
        _calibration(metrics),
        _protocol(metrics),
    ]
    text = "\n\n".join(section for section in sections if section)
    for name, file in pictures.items():
        text = text.replace(f"<!-- {name} -->", f"![{PICTURES[name]}]({file})")
    return "\n".join(line for line in text.split("\n") if not line.startswith("<!--")) + "\n"


def figure(value: Sequence[float] | None, digits: int = 3) -> str:
    """As in "0.874 (0.851–0.897)"; a dash where there is no value."""
    if value is None:
        return "–"
    one, low, high = (f"{x:.{digits}f}" for x in value)
    return f"{one} ({low}–{high})"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, its first column to the left."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def task_name(task: str, at_home: bool | None) -> str:
    """What a task may be called: words rank the recordings of a dataset that the model knows, but not zero-shot."""
    return "words alone, in-domain" if task == "zero-shot" and at_home else task


def _head(metrics: Mapping[str, Any]) -> str:
    at_home = metrics["provenance"]["models"].get(metrics["model"], {}).get("in_domain")
    lines = [
        f"# {task_name(metrics['task'], at_home)} on {metrics['benchmark']}: {metrics['model']}",
        f"*{NOTICE}*",
        f"{_TASKS[metrics['task']]} {metrics['n_records']:,} test records of {metrics['n_patients']:,} patients.",
    ]
    for name, one in metrics["provenance"]["models"].items():
        lines.append(f"**{name}** {_DOMAIN[one['in_domain']].format(', '.join(one['trained_on'] or ['nothing']))}")
    left_out = [
        *([f"{metrics['missing']:,} listed records are missing from the folder"] if metrics["missing"] else []),
        *([f"{len(metrics['unread']):,} recordings could not be read"] if metrics["unread"] else []),
    ]
    if left_out:
        lines.append(f"**{' and '.join(left_out)}; they are left out.**")
    notes = [f"- {note}" for note in metrics["notes"]]
    notes += [f"- {record}: {reason}" for record, reason in list(metrics["unread"].items())[:10]]
    return "\n\n".join([*lines, "\n".join(notes)] if notes else lines)


def _summary(metrics: Mapping[str, Any]) -> str:
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
                figure(one["macro"]["auroc"]),
                figure(one["macro"]["auprc"]),
                figure(one["macro_common"]["auroc"]),
                figure(one["macro_common"]["auprc"]),
            ]
        )
    header = [
        "",
        f"AUROC, {_measured(metrics)} classes",
        "AUPRC",
        f"AUROC, {common} classes with ≥ {FEW_POSITIVES} positives",
        "AUPRC, the same",
    ]
    lines = ["## Result", table(header, rows)]
    lines.append(
        "Unweighted means over classes; in brackets the 95 % interval by bootstrap over patients. A random order has "
        "AUROC 0.5, and an AUPRC of the share of positives. "
        + " ".join(f"*{name}*: {words}." for name, words in _BASELINES.items() if name in metrics["baselines"])
    )
    if "sd_over_seeds" in metrics:
        lines.append(f"Standard deviation of the macro AUROC over seeds: {metrics['sd_over_seeds']['auroc']:.3f}.")
    if (score := metrics.get("challenge_score")) and score["value"] is not None:
        lines.append(
            f"Challenge score: **{figure(score['value'])}** (1 is perfect, 0 calls every record normal), classes "
            f"predicted from a probability of {score['threshold']:g}, chosen on validation."
        )
    if readers := metrics["baselines"].get("readers"):
        lines.append("Others on the same records, who say yes or no:")
        lines.append(table(["who", "AUROC (mean of sensitivity and specificity)"], [[*one] for one in readers.items()]))
    return "\n\n".join(lines)


def _measured(metrics: Mapping[str, Any]) -> str:
    """As in "23", or "21 of 23" where the test records lack some."""
    there = sum(one["auroc"] is not None for one in metrics["classes"].values())
    every = len(metrics["classes"])
    return f"{every}" if there == every else f"{there} of {every}"


def _prompts(metrics: Mapping[str, Any]) -> str:
    if "prompts" not in metrics:
        return ""
    rows = [
        [name, one["what"], figure(one["macro"]["auroc"]), figure(one["macro"]["auprc"])]
        for name, one in metrics["prompts"].items()
    ]
    text = "The same model asked in four ways, so that luck with words is visible. The figures above are of the first."
    return "\n\n".join(
        ["## Prompts", text, table(["prompts", "a condition is", "AUROC", "AUPRC"], rows), "<!-- prompts -->"]
    )


def _fractions(metrics: Mapping[str, Any]) -> str:
    if "fractions" not in metrics:
        return ""
    series = {name: one for name, one in series_of(metrics).items() if "fractions" in one}
    rows = []
    for share in metrics["fractions"]:
        row = [share]
        for one in series.values():
            found = one["fractions"][share]
            spread = f" ±{found['sd_over_seeds']['auroc']:.3f}" if "sd_over_seeds" in found else ""
            row.append(figure(found["macro"]["auroc"]) + spread)
        rows.append(row)
    text = (
        f"Probe: {metrics['probe']}. The figures above and below are of all training labels. Small shares are means "
        "over draws of patients, ± their standard deviation; a share of few records may be one patient."
    )
    lines = ["## How few labels suffice", text, table(["training labels", *series], rows)]
    shots = metrics.get("few_shot", {})
    if shots.get("shots"):
        lines.append(
            f"The picture's right half: so many positives, and as many negatives, of each of {len(shots['classes'])} "
            f"classes that have enough for the last point ({', '.join(shots['classes'])}), with a fixed penalty."
        )
    return "\n\n".join([*lines, "<!-- labels -->"])


def _leads(metrics: Mapping[str, Any]) -> str:
    if len(metrics.get("leads", {})) < 2:
        return ""
    rows = [
        [count, ", ".join(one["names"]), figure(one["macro"]["auroc"]), figure(one["macro"]["auprc"])]
        for count, one in metrics["leads"].items()
    ]
    text = "Each row is a model of its own; the leads that it lacks are zero in training and test."
    return "\n\n".join(["## Fewer leads", text, table(["leads", "which", "AUROC", "AUPRC"], rows), "<!-- leads -->"])


def _comparison(metrics: Mapping[str, Any]) -> str:
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
        lines += [f"## {metrics['model']} against {other}", text, table(["", "difference", "p"], rows)]
    return "\n\n".join(lines)


def _classes(metrics: Mapping[str, Any]) -> str:
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
        row = [name, f"{one['positives']:,}{few}", figure(one["auroc"]), figure(one["auprc"])]
        row += [figure(classes[name]["auroc"] if name in classes else None)[:5] for classes in parts.values()]
        rows.append([*row, *(figure(other["classes"][name]["auroc"])[:5] for other in baselines.values())])
    return "\n\n".join(["## Classes", table(header, rows), "<!-- classes -->"])


def _beyond(metrics: Mapping[str, Any]) -> str:
    lines = []
    if within := metrics.get("within_device"):
        lines.append(
            f"**Within device:** macro AUROC {figure(within['macro']['auroc'])}, each recording compared only with "
            f"those of the same of {within['groups']} devices; a model that merely tells devices apart gets 0.5."
        )
    if abnormal := metrics.get("among_abnormal"):
        lines.append(
            f"**Among abnormal:** macro AUROC {figure(abnormal['macro']['auroc'])} over the "
            f"{abnormal['records']:,} records that are no normal ECG; a model that merely tells the sick from the "
            "healthy gets 0.5."
        )
    if metrics.get("subgroups"):
        rows = [
            [f"{kind}: {name}", f"{one['records']:,}", one["classes"], figure(one["auroc"]), figure(one["auprc"])]
            for kind, groups in metrics["subgroups"].items()
            for name, one in groups.items()
        ]
        header = ["group", "records", "classes", "AUROC", "AUPRC"]
        lines.append(
            f"By subgroup, over the classes with at least {FEW_POSITIVES} positives in it. Groups differ in their "
            "classes, so their means are to be read against the intervals, not as a ranking."
        )
        lines += [table(header, rows), "<!-- subgroups -->"]
    return "\n\n".join(["## Subgroups and devices", *lines]) if lines else ""


def _calibration(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("calibration", {})
    if not found.get("classes"):
        return ""
    text = (
        "Scores became probabilities by a logistic fit per class on the validation records. Expected calibration error "
        f"(mean distance between probability and share, ten bins), mean over {len(found['classes'])} classes: "
        f"**{found['ece']:.3f}**."
    )
    return "\n\n".join(["## Calibration", text, "<!-- calibration -->"])


def _retrieval(metrics: Mapping[str, Any]) -> str:
    if metrics["task"] != "retrieval":
        return ""
    rows = []
    columns = ("recall@1", "recall@5", "recall@10", "median_rank")
    for way, words in (("text_to_ecg", "report → ECG"), ("ecg_to_text", "ECG → report")):
        for name, one in {metrics["model"]: metrics, **metrics["others"], **metrics["baselines"]}.items():
            digits = [3, 3, 3, 1]
            rows.append(
                [f"{words}: {name}", *(figure(one[way][key], n) for key, n in zip(columns, digits, strict=True))]
            )
        rows.append([f"{words}: chance", *(metrics["chance"][way][key] for key in columns)])
    text = (
        f"{metrics['pairs']:,} pairs with {metrics['unique_reports']:,} different reports. Report → ECG: each "
        "report asks among all recordings, and any with that report is a hit. ECG → report: each recording "
        "asks among the different reports."
    )
    return "\n\n".join(["## Result", text, table(["", "recall@1", "recall@5", "recall@10", "median rank"], rows)])


def _identification(metrics: Mapping[str, Any]) -> str:
    if metrics["task"] != "identification":
        return ""
    series = {metrics["model"]: metrics, **metrics["others"], **metrics["baselines"]}
    rows = [[name, figure(one["accuracy@1"])] for name, one in series.items()]
    text = (
        f"{metrics['queries']:,} records ask in a gallery with the first record of each of {metrics['patients']:,} "
        "patients."
    )
    return "\n\n".join(
        ["## Result", text, table(["", "accuracy at 1"], [*rows, ["chance", f"{metrics['chance']:.4f}"]])]
    )


def _protocol(metrics: Mapping[str, Any]) -> str:
    provenance = metrics["provenance"]
    splits = ", ".join(f"{count:,} {name}" for name, count in metrics["splits"].items())
    models = "; ".join(
        f"{name} ({one['precision']}, fingerprint {one['fingerprint'][:12]})"
        for name, one in provenance["models"].items()
    )
    bootstrap = provenance["bootstrap"]
    lines = [
        "## Protocol",
        f"- Records and labels: {metrics['protocol']}.",
        f"- Records used: {splits}.",
        *([f"- Fine-tuning: {_settings(metrics['settings'])}."] if "settings" in metrics else []),
        f"- Intervals: percentile bootstrap over patients, centered on the value, {bootstrap['resamples']:,} "
        "resamples, seed 0.",
        f"- Models: {models}.",
        f"- Data fingerprint (samples, labels, splits): {provenance['data_fingerprint']}.",
        "- Versions: " + ", ".join(f"{name} {number}" for name, number in provenance["versions"].items()) + ".",
        *([f"- Command: `{provenance['command']}`"] if "command" in provenance else []),
    ]
    return "\n".join([lines[0], "", *lines[1:]])


def _settings(settings: Mapping[str, Any]) -> str:
    """As in "epochs 10, batch size 64"."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items())
