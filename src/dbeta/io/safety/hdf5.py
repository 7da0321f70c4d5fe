"""HDF5: refuses links to other files, and chunks that inflate to more than they declare."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

from dbeta.errors import DBetaError
from dbeta.io.safety.limits import DEFLATE_RATIO, HDF5_CHUNK, HDF5_OBJECTS, INFLATED, MIB, check_values, inflate


def check_hdf5(file: Path) -> None:
    """Check that no link, dataset or filter of an HDF5 file refers to anything outside it.

    Raises:
        DBetaError: one does, the file is damaged, or it declares more data than it holds.
    """
    import h5py

    seen = 0

    # Returning a value ends the visit; exceptions would be lost in the library
    def check_link(name: bytes, link: Any) -> DBetaError | None:
        nonlocal seen
        seen += 1
        if seen > HDF5_OBJECTS:
            return DBetaError(f"has more than {HDF5_OBJECTS:,} objects; export the recordings alone")
        if link.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            return DBetaError(f"has a link to another file ({_shown(name)}); copy the recordings into one file")
        return None

    def check_object(name: str, node: Any) -> DBetaError | None:
        return _check_dataset(name, node) if isinstance(node, h5py.Dataset) else None

    try:
        with h5py.File(file, "r") as content:
            refusal = content.id.links.visit(check_link, info=True) or content.visititems(check_object)
    except Exception as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise DBetaError(f"cannot be read as HDF5 ({reason}); get or export the file again") from error
    if refusal:
        raise refusal


def _check_dataset(name: str, dataset: Any) -> DBetaError | None:
    if dataset.is_virtual or dataset.external:
        return DBetaError(f"has a dataset kept in another file ({_shown(name)}); copy the recordings into one file")
    size = dataset.dtype.itemsize
    if dataset.chunks and math.prod(dataset.chunks) * size > HDF5_CHUNK:
        return DBetaError(f"has a dataset with chunks of more than {HDF5_CHUNK // MIB} MB ({_shown(name)}); repack it")
    if math.prod((dataset.shape or ())[1:]) * size > max(INFLATED, dataset.id.get_storage_size() * DEFLATE_RATIO):
        return DBetaError(f"declares a dataset that it does not hold ({_shown(name)}); get or export the file again")
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    # Deflate, shuffle, checksum, szip, n-bit, scale-offset and LZF; others would be loaded as plugins
    known = set(filters) <= {1, 2, 3, 4, 5, 6, 32000}
    if not known or len(set(filters) & {1, 4, 32000}) > 1 or len(filters) != len(set(filters)):
        return DBetaError(f"has a dataset compressed in an unusual way ({_shown(name)}); repack it with gzip")
    return None


def _shown(name: bytes | str) -> str:
    return (name.decode("utf-8", "replace") if isinstance(name, bytes) else name)[:60]


def _check_chunk(dataset: Any, offset: tuple[int, ...]) -> None:
    declared = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if dataset.id.get_chunk_info_by_coord(offset).size * DEFLATE_RATIO <= INFLATED:
        return
    _, packed = dataset.id.read_direct_chunk(offset)
    inflate([packed], declared + 16)


def read_rows(dataset: Any, *rows: int | slice) -> Any:
    """Read `dataset[rows]` after checking that its chunks inflate to no more than they declare.

    Args:
        dataset: an `h5py.Dataset`.
        *rows: index or slice of each of its first axes.

    Raises:
        DBetaError: it is not an array of numbers, a chunk inflates to more, or the part is too large to load.
    """
    if not hasattr(dataset, "chunks") or dataset.dtype.kind not in "fiu" or len(rows) > len(dataset.shape):
        raise DBetaError("has a dataset that is not an array of numbers; export the recordings again")
    asked = [range(size) for size in dataset.shape]
    for axis, part in enumerate(rows):
        asked[axis] = range(*part.indices(dataset.shape[axis])) if isinstance(part, slice) else range(part, part + 1)
    check_values(math.prod(map(len, asked)))
    if dataset.chunks and dataset.compression == "gzip":
        for offset in product(*(_chunk_starts(axis, size) for axis, size in zip(asked, dataset.chunks, strict=True))):
            _check_chunk(dataset, offset)
    return dataset[rows]


def _chunk_starts(wanted: range, size: int) -> range:
    return range(wanted.start // size * size, wanted.stop, size)
