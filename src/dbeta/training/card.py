"""The model card that a pretraining run saves beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dbeta.utils.notice import NOTICE

CARD = """---
library_name: dbeta
tags: [ECG, electrocardiogram, zero-shot, contrastive]
---
# {name}

An ECG-text model (D-BETA, Pham, Saeed, Ma, ICML 2025) with {millions:.1f} M parameters, written by `dbeta pretrain`.
{notice}

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
it is not a test result; `dbeta evaluate zero-shot` runs benchmarks. `training.png` plots the run,
`training_log.json` has its figures, and `last/` holds the model of the last step.

## Recipe

```yaml
{recipe}```
"""


def write_card(
    folder: Path, *, name: str, parameters: int, corpora: Sequence[str], recipe: dict[str, Any], **facts: Any
) -> None:
    """Write `README.md` into a checkpoint folder.

    Args:
        folder: the checkpoint.
        name: name of the model, used as the heading.
        parameters: number of parameters.
        corpora: descriptions of the training data, one line each.
        recipe: the run's settings.
        **facts: `figure`, `step`, `steps`, `n_findings` and `fewest` of the validation.
    """
    dumped = yaml.safe_dump(recipe, sort_keys=False)
    text = CARD.format(
        notice=NOTICE, name=name, millions=parameters / 1e6, data="\n".join(corpora), recipe=dumped, **facts
    )
    (folder / "README.md").write_text(text)
