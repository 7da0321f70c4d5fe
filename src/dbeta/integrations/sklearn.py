"""A scikit-learn transformer that embeds recordings, as the first step of any `Pipeline`.

The transformer holds settings only. Loaded models are cached and shared, so the many clones of a cross-validation do
not load them again, and pickles contain no weights.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from dbeta.checkpoints.names import WEIGHTS_FILE
from dbeta.checkpoints.read import check_precision
from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.inference.dbeta import DBeta
from dbeta.inference.load import load

_MAKE_ECGS = "give a list of dbeta.ECG(signal, sampling_rate) or of files"


class DBetaTransformer(TransformerMixin, BaseEstimator):
    """Embeds recordings; needs no fitting.

    `X` is a list, an array or a column (Series, DataFrame of one column) of recordings, each a `dbeta.ECG` or a file
    that `read_ecg` can read. With `Pipeline(memory=...)`, files are cached by name alone.

    Args:
        model: checkpoint folder or hub ID; None for the bundled model. Or a loaded `DBeta`, which clones share and
            pickles contain.
        device: torch device; None uses a GPU if there is one.
        precision: "auto", "float32" or "bfloat16" (see `load`).
        batch_size: windows per model batch.
    """

    def __init__(
        self,
        model: str | Path | DBeta | None = None,
        device: str | None = None,
        precision: str = "auto",
        batch_size: int = 32,
    ) -> None:
        """Store the settings unchanged; `fit` and `transform` check them."""
        self.model = model
        self.device = device
        self.precision = precision
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> DBetaTransformer:
        """Check the settings and that `X` holds recordings; nothing is read or loaded.

        Raises:
            DBetaError: a setting is unknown, or `X` is not a list of recordings.
        """
        self._check_settings()
        _recordings(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed recordings: (n, D) float32, not normalised (see `DBeta.embed`).

        Raises:
            DBetaError: a setting is unknown, `X` is not a list of recordings, one cannot be read or used, or the model
                cannot be loaded.
        """
        self._check_settings()
        recordings = _recordings(X)
        model = self._loaded()
        return DBeta(model.model, model.processor, batch_size=self.batch_size).embed(recordings)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Column names dbeta0, dbeta1, …; ignores `input_features`. Loads the model to find its width."""
        width = self._loaded().model.config.hidden_size
        return np.array([f"dbeta{i}" for i in range(width)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Always: there is nothing to fit."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Declares a one-dimensional input of recordings or file names, and that no fitting is needed."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def _check_settings(self) -> None:
        check_precision(self.precision)
        whole = isinstance(self.batch_size, int | np.integer) and not isinstance(self.batch_size, bool)
        if not whole or self.batch_size < 1:
            raise DBetaError(f"the batch size must be a positive whole number, not {self.batch_size!r}")
        if isinstance(self.model, DBeta) and (self.device is not None or self.precision != "auto"):
            raise DBetaError("the model is loaded already; leave device and precision out, or give its folder as model")

    def _loaded(self) -> DBeta:
        if isinstance(self.model, DBeta):
            return self.model
        name = None if self.model is None else str(self.model)
        weights = Path("" if name is None else name).expanduser() / WEIGHTS_FILE
        # Part of the cache key, so that a retrained checkpoint is loaded again
        changed = weights.stat().st_mtime_ns if name is not None and weights.is_file() else None
        return _load(name, self.device, self.precision, changed)


@functools.lru_cache(maxsize=2)
def _load(name: str | None, device: str | None, precision: str, changed: int | None) -> DBeta:
    return load(name, device=device, precision=precision)


def _recordings(X: Any) -> list[ECG | str | Path]:
    """The rows of X, which must be recordings or files."""
    if isinstance(X, ECG | str | Path):
        raise DBetaError("X is a single recording; put it into a list")
    if isinstance(X, Iterator):
        raise DBetaError("X can be read only once, but fitting and transforming both need it; make it a list")
    column = X.to_numpy() if hasattr(X, "to_numpy") else X
    if isinstance(column, np.ndarray):
        if column.ndim == 2 and column.shape[1] == 1:
            column = column[:, 0]
        if column.ndim != 1:
            raise DBetaError(f"X must be a list of recordings, not an array of shape {column.shape}; {_MAKE_ECGS}")
    try:
        rows = list(column)
    except TypeError as error:
        raise DBetaError(f"X must be a list of recordings, not {type(X).__name__}; {_MAKE_ECGS}") from error
    if not rows:
        raise DBetaError("X contains no recordings")
    for i, row in enumerate(rows):
        if not isinstance(row, ECG | str | Path):
            raise DBetaError(f"row {i} of X is not a recording but {type(row).__name__}; {_MAKE_ECGS}")
    return rows
