"""The model card that a pretraining run leaves beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dbeta.corpus.store import read_counts
from dbeta.training.recipe import SIMULATED

CARD = """---
library_name: dbeta
tags: [ECG, electrocardiogram, zero-shot, contrastive]
---
# {name}

An ECG-text model (D-BETA, Pham, Saeed, Ma, ICML 2025) with {millions:.1f} M parameters, written by `dbeta pretrain`.
Research use only. Not a medical device.

```python
import dbeta
model = dbeta.load("{name}")
print(model.diagnose("record.hea"))
```

## Training data

{data}

## Validation

Zero-shot AUROC on the validation split, mean over the {n_findings} findings with at least {fewest} positive records,
each finding's phrase as the prompt: **{figure}** at step {step} of {steps}. That step was kept for this figure, so
it is no test result; `dbeta evaluate zero-shot` measures on a benchmark. `training.png` shows the run,
`training_log.json` has its figures, and `last/` the model of the last step.

## Recipe

```yaml
{recipe}```
"""


def write_card(
    folder: Path, *, name: str, parameters: int, corpora: Sequence[Path], recipe: dict[str, Any], **facts: Any
) -> None:
    """Write `README.md` into a checkpoint folder.

    Args:
        folder: the checkpoint.
        name: of the model, as a heading.
        parameters: how many the model has.
        corpora: what it was trained on, each with its `corpus.json`.
        recipe: the run's settings.
        **facts: `figure`, `step`, `steps`, `n_findings` and `fewest` of the validation.
    """
    data = "\n".join(_describe(corpus, recipe.get("simulation", {})) for corpus in corpora)
    dumped = yaml.safe_dump(recipe, sort_keys=False)
    text = CARD.format(name=name, millions=parameters / 1e6, data=data, recipe=dumped, **facts)
    (folder / "README.md").write_text(text)


def _describe(corpus: Path, simulation: dict[str, Any]) -> str:
    if str(corpus) == SIMULATED:
        settings = ", ".join(f"{name} {value}" for name, value in simulation.items())
        return f"- `simulated`: ECGs of `dbeta.simulation`, made as they were asked for ({settings or 'defaults'})."
    counts = read_counts(corpus)
    splits = ", ".join(f"{n:,} {split}" for split, n in counts["splits"].items())
    return (
        f"- `{counts['source']}`: {counts['records']:,} records of {counts['patients']:,} patients ({splits}); "
        f"{counts['rejected']:,} could not be read. Only the training split is learnt from."
    )
