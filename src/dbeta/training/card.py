"""The model card that a pretraining run leaves beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

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
it is no test result; `dbeta evaluate zero-shot` measures on a benchmark.

## Recipe

```yaml
{recipe}```
"""


def write_card(folder: Path, *, name: str, parameters: int, corpus: Path, recipe: dict[str, Any], **facts: Any) -> None:
    """Write `README.md` into a checkpoint folder.

    Args:
        folder: the checkpoint.
        name: of the model, as a heading.
        parameters: how many the model has.
        corpus: the corpus it was trained on, with its `corpus.json`.
        recipe: the run's settings.
        **facts: `figure`, `step`, `steps`, `n_findings` and `fewest` of the validation.
    """
    counts = json.loads((corpus / "corpus.json").read_text())
    splits = ", ".join(f"{n:,} {split}" for split, n in counts["splits"].items())
    data = (
        f"`{counts['source']}`: {counts['records']:,} records of {counts['patients']:,} patients ({splits}); "
        f"{counts['rejected']:,} could not be read. Only the training split is learnt from."
    )
    dumped = yaml.safe_dump(recipe, sort_keys=False)
    text = CARD.format(name=name, millions=parameters / 1e6, data=data, recipe=dumped, **facts)
    (folder / "README.md").write_text(text)
