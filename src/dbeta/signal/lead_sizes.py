"""How large a missing lead probably is, from the sizes of the leads that were recorded.

The size of a lead is its standard deviation over a recording. Logarithms of the twelve sizes are nearly normally
distributed, so the best guess is a conditional mean. For one chest lead of twelve it errs by a factor of about 1.3
(one standard deviation), from the limb leads alone by about 1.5; without any other lead it would be 1.5 to 1.6.
"""

from __future__ import annotations

import numpy as np

#: Mean logarithm of each lead's standard deviation in mV, in the order of `dbeta.ecg.LEADS`: 2,378 originals of
#: PTB-XL's folds 1–8 at 500 Hz; fitted by `benchmarks/lead_sizes.py --fit`.
MEAN = np.array([-2.048, -1.990, -2.190, -2.100, -2.325, -2.256, -1.806, -1.362, -1.380, -1.423, -1.521, -1.716])
#: Their covariances, (12, 12).
COVARIANCE = np.array(
    [
        [0.161, 0.038, 0.087, 0.092, 0.164, 0.033, 0.074, 0.037, 0.037, 0.030, 0.053, 0.068],
        [0.038, 0.157, 0.101, 0.095, 0.036, 0.164, 0.060, 0.053, 0.050, 0.064, 0.077, 0.086],
        [0.087, 0.101, 0.273, 0.058, 0.197, 0.206, 0.083, 0.076, 0.080, 0.059, 0.052, 0.064],
        [0.092, 0.095, 0.058, 0.110, 0.067, 0.073, 0.059, 0.035, 0.030, 0.043, 0.068, 0.081],
        [0.164, 0.036, 0.197, 0.067, 0.265, 0.085, 0.082, 0.057, 0.064, 0.035, 0.044, 0.058],
        [0.033, 0.164, 0.206, 0.073, 0.085, 0.255, 0.076, 0.077, 0.079, 0.075, 0.070, 0.078],
        [0.074, 0.060, 0.083, 0.059, 0.082, 0.076, 0.234, 0.134, 0.089, 0.051, 0.054, 0.072],
        [0.037, 0.053, 0.076, 0.035, 0.057, 0.077, 0.134, 0.224, 0.136, 0.071, 0.050, 0.054],
        [0.037, 0.050, 0.080, 0.030, 0.064, 0.079, 0.089, 0.136, 0.193, 0.109, 0.071, 0.066],
        [0.030, 0.064, 0.059, 0.043, 0.035, 0.075, 0.051, 0.071, 0.109, 0.165, 0.113, 0.086],
        [0.053, 0.077, 0.052, 0.068, 0.044, 0.070, 0.054, 0.050, 0.071, 0.113, 0.172, 0.140],
        [0.068, 0.086, 0.064, 0.081, 0.058, 0.078, 0.072, 0.054, 0.066, 0.086, 0.140, 0.202],
    ]
)
_RIDGE = 1e-3


def probable_sizes(sizes: np.ndarray) -> np.ndarray:
    """Fill in the sizes of missing leads.

    Args:
        sizes: (12,) standard deviations in mV; NaN where a lead is missing.

    Returns:
        (12,) the given sizes, and the conditional geometric mean for the others.
    """
    known = np.isfinite(sizes) & (sizes > 0)
    found = np.where(known, sizes, np.exp(MEAN))
    if known.any() and not known.all():
        inner = COVARIANCE[np.ix_(known, known)] + _RIDGE * np.eye(known.sum())
        above = np.log(sizes[known]) - MEAN[known]
        found[~known] = np.exp(MEAN[~known] + COVARIANCE[np.ix_(~known, known)] @ np.linalg.solve(inner, above))
    return found
