"""Converts checkpoints between the authors' layout (a .pt file) and ours (a hub-format folder).

Output gets its name only when it is complete, and never overwrites anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from dbeta.checkpoints.names import WEIGHTS_FILE
from dbeta.checkpoints.official import check_settings, from_official, read_official, to_official
from dbeta.checkpoints.official_layout import show
from dbeta.checkpoints.official_sizes import assume
from dbeta.checkpoints.text_embeddings import save_text_embeddings
from dbeta.errors import DBetaError
from dbeta.model.config import DBetaConfig
from dbeta.model.processor import DBetaProcessor
from dbeta.utils.files import replacing
from dbeta.utils.notice import NOTICE

Advance = Callable[[int, int], None]

#: Advice where no tokenizer was given.
TOKENIZER_HINT = "The published model uses that of google/flan-t5-base: convert again with `--tokenizer FOLDER`."
PARTS_IN_WORDS = {
    "all": "the whole pretraining model: both encoders, the fusion and the heads",
    "encoders": "both encoders with their projections and uni-modal poolers, without the fusion and the heads",
    "ecg": "the ECG encoder with its projection and uni-modal pooler, without a text encoder",
}

CARD = """---
library_name: dbeta
tags: [ECG, electrocardiogram, zero-shot, contrastive]
---
# {name}

An ECG-text model (D-BETA, Pham, Saeed, Ma, ICML 2025), converted by `dbeta convert` from `{source}`, a checkpoint in
the layout of the authors' published code. {millions:.1f} M parameters: {parts}.
{notice}

The weights are exactly those of that checkpoint (float16 and bfloat16 were converted to float32 without change), and
under its licence: the authors publish theirs under CC BY-NC 4.0.

```python
import dbeta
model = dbeta.load("{name}")
print(model.embed("record.hea").shape)
```

## What it computes

The same as the published code, including its defects: the switches `text_attention_mask`, `mem_target`, `voltage`,
`reconstruct_misaligned`, `ets_full_view` and `ets_cosine` in `config.json` are set as published.

The authors' checkpoints hold no settings. These were {how}:

```json
{settings}
```

- Recordings are read in millivolts, with the leads by name in the order above. The published code takes leads by
  position in the file, and MIMIC-IV-ECG, on which the authors trained, stores aVF before aVL. If a checkpoint was
  trained in that order, convert it with `--set "leads=[I, II, III, aVR, aVF, aVL, V1, V2, V3, V4, V5, V6]"`.
- {tokenizer}
- There is no reference panel, so findings have scores and no percentiles.
"""


def parse_settings(changes: Sequence[str]) -> dict[str, Any]:
    """Parse settings of a conversion from `key=value` texts; values are YAML.

    Raises:
        DBetaError: a text has another form, a name is unknown, or a value is invalid.
    """
    settings = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise DBetaError(f"--set {show(change)}: write it as key=value")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise DBetaError(f"--set {show(change)}: {show(value)!r} is not a YAML value") from None
    check_settings(settings)
    return settings


def convert_official(
    checkpoint: Path,
    out: Path,
    *,
    tokenizer: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    advance: Advance = lambda done, total: None,
) -> DBetaConfig:
    """Convert a checkpoint in the authors' layout to a dbeta folder.

    Args:
        checkpoint: a .pt file.
        out: folder to create, with `config.json`, `model.safetensors`, `preprocessor_config.json`, `README.md` and,
            where given, the tokenizer's files.
        tokenizer: folder of the text encoder's tokenizer.
        settings: arguments of `DBetaConfig` that override those read from the checkpoint (`official.from_official`).
        advance: called after each step with (steps done, total).

    Returns:
        The configuration.

    Raises:
        DBetaError: the checkpoint, the tokenizer, a setting or `out` is unusable; then nothing is written.
    """
    _check_free(out)
    settings = settings or {}
    state = read_official(checkpoint)
    advance(1, 3)
    try:
        config, state = from_official(state, settings)
    except DBetaError as error:
        raise DBetaError(f"{checkpoint}: {error}") from None
    words = None if tokenizer is None else _read_tokenizer(tokenizer, config)
    advance(2, 3)
    config.architectures = ["DBetaModel"]
    config.dtype = torch.float32
    processor = DBetaProcessor.of_model(config, words)
    with _creating(out) as partial:
        partial.mkdir()
        config.save_pretrained(partial)
        processor.save_pretrained(partial)
        if tokenizer is not None and not (partial / "tokenizer.json").is_file():
            raise DBetaError(f"{tokenizer}: this kind of tokenizer has no tokenizer.json; name a fast tokenizer")
        (partial / "README.md").write_text(_card(out.name, checkpoint.name, config, state, settings, words))
        save_file(state, partial / WEIGHTS_FILE, metadata={"format": "pt"})
        # safetensors creates files that only the owner can read
        (partial / WEIGHTS_FILE).chmod((partial / "config.json").stat().st_mode)
        if tokenizer is not None:
            save_text_embeddings(partial)
    advance(3, 3)
    return config


def export_official(
    folder: Path,
    out: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    advance: Advance = lambda done, total: None,
) -> dict[str, Any]:
    """Write a dbeta folder's weights as a .pt file in the authors' layout, `{"model": state dict}`.

    Args:
        folder: a dbeta folder; the layout has no place for its tokenizer and reference panel.
        out: file to create.
        settings: arguments of `DBetaConfig` that override those of the folder.
        advance: called after each step with (steps done, total).

    Returns:
        Settings of the model that the file does not hold and that a conversion back would get wrong.

    Raises:
        DBetaError: the folder or `out` is unusable, or the published code cannot compute this model; then nothing is
            written.
    """
    _check_free(out)
    if out.is_dir():
        raise DBetaError(f"{out}: is a folder; name a file, such as {out / 'checkpoint.pt'}")
    for name in ("config.json", WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise DBetaError(f"{folder}: {name} is missing; name a dbeta folder")
    try:
        config = DBetaConfig.from_pretrained(folder)
        state = load_file(folder / WEIGHTS_FILE)
        for name, value in (settings or {}).items():
            setattr(config, name, value)
        official = to_official(config, state)
        assumed = assume(config)
    except DBetaError as error:
        raise DBetaError(f"{folder}: {error}") from None
    except Exception as error:  # damaged files can raise anything
        raise DBetaError(f"{folder}: cannot be read as a model ({show(error)}); get the folder again") from None
    advance(1, 2)
    with _creating(out) as partial:
        torch.save({"model": official}, partial)
    advance(2, 2)
    return {name: value for name, value in unheld(config).items() if value != assumed[name]}


def unheld(config: DBetaConfig, settings: Iterable[str] = ()) -> dict[str, Any]:
    """Collect the settings that a checkpoint in the authors' layout does not hold, and those named."""
    return {name: getattr(config, name) for name in dict.fromkeys([*assume(config), *settings])}


def _check_free(out: Path) -> None:
    if not out.absolute().parent.is_dir():
        raise DBetaError(f"{out}: the folder {out.absolute().parent} does not exist; create it first")
    empty = out.is_dir() and not out.is_symlink() and not any(out.iterdir())
    if os.path.lexists(out) and not empty:
        raise DBetaError(f"{out}: already exists; name another place or remove it")


@contextmanager
def _creating(out: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes `out`, which must not exist by then, when the body succeeds."""
    out = Path(os.path.normpath(out.absolute()))
    try:
        with replacing(out) as temporary:
            yield temporary
            # Another run may have written it in the meantime
            _check_free(out)
    except (RuntimeError, SafetensorError) as error:  # raised by torch and safetensors when the disk is full
        raise DBetaError(f"{out}: cannot be written ({show(error)}); is there room?") from None


def _read_tokenizer(folder: Path, config: DBetaConfig) -> PreTrainedTokenizerBase:
    if config.parts == "ecg":
        raise DBetaError(f"{folder}: the checkpoint has no text encoder; leave out --tokenizer")
    if not folder.is_dir():
        raise DBetaError(f"{folder}: no such folder; name one with a tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, config=PretrainedConfig(), local_files_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise DBetaError(f"{folder}: the tokenizer cannot be read ({show(error)})") from None
    room = config.text_config.vocab_size
    if len(tokenizer) > room:
        raise DBetaError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the checkpoint only {room}")
    if tokenizer.pad_token_id is None:
        raise DBetaError(f"{folder}: the tokenizer has no padding token; name the checkpoint's tokenizer")
    config.text_config.pad_token_id = tokenizer.pad_token_id
    config.text_config.eos_token_id = tokenizer.eos_token_id
    return tokenizer


def _card(
    name: str,
    source: str,
    config: DBetaConfig,
    state: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase | None,
) -> str:
    if config.parts == "ecg":
        words = "It has no text encoder: it embeds recordings but cannot score findings."
    elif tokenizer is None:
        words = f"It has no tokenizer, which `diagnose` needs. {TOKENIZER_HINT}"
    else:
        words = "The tokenizer is the one given with `--tokenizer`."
    how = "taken from the published model"
    if settings:
        how += f", except {', '.join(f'`{one}`' for one in settings)}, given with `--set`"
    lines = (f"  {json.dumps(one)}: {json.dumps(value)}" for one, value in unheld(config, settings).items())
    return CARD.format(
        notice=NOTICE,
        name=name,
        source=source,
        millions=sum(one.numel() for one in state.values()) / 1e6,
        parts=PARTS_IN_WORDS[config.parts],
        how=how,
        settings="{\n" + ",\n".join(lines) + "\n}",
        tokenizer=words,
    )
