"""The golden vectors: what the published model computes for a small random checkpoint in the authors' layout.

`tests/fixtures/golden.h5` holds, losslessly and in less than 3 MB, what the tests need of `../shared/golden`:

- `weights`, `names`: the checkpoint, one tensor after the other, with their names and shapes; the second copy of T5's
  embedding and the MEM decoder's positions are left out and made again here;
- `vectors`: every vector that is not large, for the whole batch of four records; of the large ones (`LARGE`) the first
  record's; and of `mlm_logits` also those of every replaced token (`mlm_logits_labelled`), which give the MLM loss;
- `official`: names and shapes of the 645 tensors of the base size; `config`: the small model's sizes.

`python tests/golden.py` makes it again where `../shared` is at hand.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from dbeta.model.heads import sinusoidal_positions

FIXTURE = Path(__file__).parent / "fixtures" / "golden.h5"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "golden"

EMBEDDING, COPY = "language_encoder.encoder.embed_tokens.weight", "language_encoder.shared.weight"
POSITIONS = "mim_head.decoder_pos_embed.pe"
LARGE = ("input_ecg", "conv_tokens", "mlm_logits", "mem_logits_first2")


def make_fixture() -> None:
    """Write the fixture from `../shared/golden`."""
    state = torch.load(SHARED / "checkpoint.pt", weights_only=True)["model"]
    assert torch.equal(state.pop(COPY), state[EMBEDDING])
    assert torch.equal(state.pop(POSITIONS), positions(state))
    vectors = load_file(SHARED / "vectors.safetensors")
    vectors["mlm_logits_labelled"] = vectors["mlm_logits"][vectors["mlm_labels"] != -100]
    names = "\n".join(f"{name}\t{','.join(map(str, value.shape))}" for name, value in state.items())
    packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
    with h5py.File(FIXTURE, "w") as file:
        weights = torch.cat([one.flatten() for one in state.values()]).numpy()
        file.create_dataset("weights", data=weights, chunks=weights.shape, **packed)
        for name, value in vectors.items():
            small = value[:1] if name in LARGE else value
            how = packed | {"chunks": tuple(small.shape)} if small.numel() > 500 else {}
            file.create_dataset(f"vectors/{name}", data=small.numpy(), **how)
        texts = {
            "names": names,
            "official": (SHARED / "official_state_dict.tsv").read_text(),
            "config": (SHARED / "config.json").read_text(),
        }
        for name, text in texts.items():
            file.create_dataset(name, data=np.frombuffer(zlib.compress(text.encode(), 9), np.uint8))


def positions(state: dict[str, Tensor]) -> Tensor:
    """The MEM decoder's positions, which the fixture leaves out."""
    return sinusoidal_positions(512, len(state["mim_head.decoder_norm.weight"]))[None]


def golden_state() -> dict[str, Tensor]:
    """The small checkpoint's state dict, complete; new tensors at each call."""
    with h5py.File(FIXTURE) as file:
        weights = torch.from_numpy(file["weights"][:])
    shapes = _shapes("names")
    pieces = weights.split([int(np.prod(shape)) for shape in shapes.values()])
    state = {name: piece.view(shape).clone() for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
    return state | {COPY: state[EMBEDDING].clone(), POSITIONS: positions(state)}


def golden_vectors() -> dict[str, Tensor]:
    """The fixture's vectors."""
    with h5py.File(FIXTURE) as file:
        return {name: torch.as_tensor(value[()]) for name, value in file["vectors"].items()}


def golden_config() -> dict[str, Any]:
    """The small model's sizes: "model" as the authors name them, "text_encoder_t5" as `T5Config` does."""
    return json.loads(_text("config"))


def base_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the 645 tensors of the published size."""
    return _shapes("official")


def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    rows = (line.split("\t") for line in _text(name).splitlines())
    return {tensor: tuple(int(size) for size in sizes.split(",") if size) for tensor, sizes in rows}


def _text(name: str) -> str:
    with h5py.File(FIXTURE) as file:
        return zlib.decompress(file[name][:].tobytes()).decode()


if __name__ == "__main__":
    make_fixture()
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")
