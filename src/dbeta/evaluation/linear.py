"""Fits logistic regressions of many labels on the same features at once.

The labels share the matrix products with the features, which dominate the time, so seventy labels cost little more
than one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

#: Candidates for the inverse strength of the penalty (scikit-learn's C), strongest penalty first.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: C where validation cannot choose one.
USUAL = 1e-2
#: Iterations of L-BFGS for each strength, each starting from the solution of the one before.
ITERATIONS = 200
#: Settings of MERL's probe (Liu et al. 2024).
MERL_EPOCHS, MERL_BATCH, MERL_RATE = 100, 128, 1e-3


@dataclass
class Scaler:
    """Scales features to mean 0 and variance 1 on the records that it was fitted to."""

    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Scaler:
        """Fit to features (records, D); constant features become 0."""
        spread = features.std(axis=0)
        return cls(features.mean(axis=0), np.where(spread > 1e-8, spread, np.inf))

    def __call__(self, features: np.ndarray) -> torch.Tensor:
        """Scale features (records, D) to float32."""
        return torch.from_numpy(((features - self.mean) / self.spread).astype(np.float32))


def fit(features: torch.Tensor, labels: np.ndarray, strength: float, start: torch.Tensor | None = None) -> torch.Tensor:
    """Fit an L2-penalised logistic regression for each label.

    Minimises C · Σ log(1 + exp(−y·z)) + ½‖w‖² for each label by L-BFGS, as scikit-learn does; the intercept is not
    penalised.

    Args:
        features: (records, D) float32.
        labels: (records, labels) of 1, 0 and −1 where undecided, which is ignored.
        strength: C.
        start: initial solution in the form of the return value; by default zeros.

    Returns:
        (D + 1, labels) float32: weights, and the intercepts in the last row.
    """
    count, dimension = features.shape
    known = torch.from_numpy((labels >= 0).astype(np.float32))
    sign = torch.from_numpy(np.where(labels == 1, 1.0, -1.0).astype(np.float32))
    shape = dimension + 1, labels.shape[1]
    penalty = 1 / (strength * count)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(flat.astype(np.float32)).view(shape)
        margin = -sign * torch.addmm(weights[-1], features, weights[:-1])  # (records, labels)
        value = (known * softplus(margin)).sum() / count + penalty / 2 * weights[:-1].square().sum()
        slope = known * torch.sigmoid(margin) * -sign / count
        gradient = torch.cat([features.T @ slope + penalty * weights[:-1], slope.sum(dim=0, keepdim=True)])
        return float(value), gradient.flatten().numpy().astype(np.float64)

    first = np.zeros(shape[0] * shape[1]) if start is None else start.flatten().numpy().astype(np.float64)
    options = {"maxiter": ITERATIONS, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-6}
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x
    return torch.from_numpy(found.astype(np.float32)).view(shape)


def fit_probe(
    train: np.ndarray,
    labels: np.ndarray,
    validation: np.ndarray,
    validation_labels: np.ndarray,
    test: np.ndarray,
    scaler: Scaler | None = None,
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Fit a logistic regression per label, with the penalty of each chosen by the log loss on validation.

    Penalties are tried from the strongest down; the search for a label ends when a weaker penalty increases its loss. A
    label without positives or negatives in validation gets the median C of the others.

    Args:
        train: (records, D) features.
        labels: (records, labels) of 1, 0 and −1 where undecided.
        validation: (records, D) features.
        validation_labels: in the form of `labels`.
        test: (records, D) features.
        scaler: of the features; by default fitted to `train`.

    Returns:
        Log-odds of validation and of test, and the chosen C of each label.
    """
    scaler = scaler or Scaler.of(train)
    x, x_validation, x_test = scaler(train), scaler(validation), scaler(test)
    measured = [0 < (column == 1).sum() < (column >= 0).sum() for column in validation_labels.T]
    weights = torch.zeros(x.shape[1] + 1, labels.shape[1])
    chosen = np.zeros(labels.shape[1])
    best = np.full(labels.shape[1], np.inf)

    def try_strength(at: np.ndarray, strength: float, start: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        tried = fit(x, labels[:, at], strength, start)
        logits = x_validation @ tried[:-1] + tried[-1]
        losses = [_log_loss(validation_labels[:, i], column) for i, column in zip(at, logits.T, strict=True)]
        return tried, np.array(losses)

    at = np.flatnonzero(measured)
    current = weights[:, at]
    for strength in STRENGTHS:
        if not len(at):
            break
        current, losses = try_strength(at, strength, current)
        better = losses < best[at]
        at, current = at[better], current[:, torch.from_numpy(better)]
        weights[:, at], best[at], chosen[at] = current, losses[better], strength
    rest = np.flatnonzero(np.logical_not(measured))
    if len(rest):
        usual = float(np.median(chosen[measured])) if any(measured) else USUAL
        weights[:, rest], chosen[rest] = fit(x, labels[:, rest], usual), usual
    validated, tested = ((one @ weights[:-1] + weights[-1]).double().numpy() for one in (x_validation, x_test))
    return validated, tested, [float(one) for one in chosen]


def _log_loss(truth: np.ndarray, logits: torch.Tensor) -> float:
    decided = torch.from_numpy(truth >= 0)
    target = torch.from_numpy((truth == 1).astype(np.float32))
    return float(binary_cross_entropy_with_logits(logits[decided], target[decided]))


def fit_merl_probe(
    train: np.ndarray,
    labels: np.ndarray,
    validation: np.ndarray,
    validation_labels: np.ndarray,
    test: np.ndarray,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Train MERL's probe: one linear layer for all labels, 100 epochs of AdamW, best epoch by validation AUROC.

    Where no class has an AUROC on validation, the last epoch is used. Arguments are those of `fit_probe`.

    Returns:
        Logits of validation and of test at that epoch, and its number, counted from 1.
    """
    x, y = torch.from_numpy(train), torch.from_numpy((labels == 1).astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(x.shape[1], y.shape[1])
        optimizer = torch.optim.AdamW(layer.parameters(), lr=MERL_RATE)
        best, kept = -1.0, (np.zeros((0, 0)), np.zeros((0, 0)), 0)
        for epoch in range(1, MERL_EPOCHS + 1):
            for rows in torch.randperm(len(x)).split(MERL_BATCH):
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(layer(x[rows]), y[rows]).backward()
                optimizer.step()
            with torch.inference_mode():
                validated = layer(torch.from_numpy(validation)).double().numpy()
                value = _macro(validation_labels, validated)
                if np.isnan(value) or value > best:
                    best = value
                    kept = validated, layer(torch.from_numpy(test)).double().numpy(), epoch
    return kept


def _macro(labels: np.ndarray, scores: np.ndarray) -> float:
    values = [
        roc_auc_score(truth == 1, column)
        for truth, column in zip(labels.T, scores.T, strict=True)
        if 0 < (truth == 1).sum() < len(truth)
    ]
    return float(np.mean(values)) if values else float("nan")
