"""Means, medians and spreads of what is not NaN."""

import numpy as np

TINY = 1e-30  # keeps quotients finite

# Of the largest number in a column: the spread of a column that is constant but for rounding.
_CONSTANT = 1e-5


def mean_of(a: np.ndarray, axis: int | tuple | None = None) -> np.ndarray:
    """Take the mean of what is not NaN; NaN where nothing is left."""
    count = np.isfinite(a).sum(axis)
    return np.where(count, np.nansum(a, axis) / np.maximum(count, 1), np.nan)


def median_of(a: np.ndarray, axis: int | tuple | None = None) -> np.ndarray:
    """Take the median of what is not NaN; 0 where nothing is left."""
    return np.nanmedian(np.where(np.isfinite(a).any(axis, keepdims=True), a, 0.0), axis)


def spread_of(a: np.ndarray) -> np.ndarray:
    """Take the standard deviation along the first axis of what is not NaN; it is never 0."""
    size = np.nanmax(np.abs(a), 0, initial=0.0)
    return np.nan_to_num(np.sqrt(mean_of((a - mean_of(a, 0)) ** 2, 0))) + _CONSTANT * size + TINY
