"""Means, medians and spreads of what is not NaN; gains, and rises that fitted slopes predict."""

import math

import numpy as np

TINY = 1e-30  # keeps quotients finite

_SIGNIFICANT = 5  # standard errors of a mean over rows: a smaller one is chance
_LEVERAGE = 1e-3  # the least that leaves a rise to predict

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


def has_spread(a: np.ndarray) -> np.ndarray:
    """Tell of each column whether it varies by more than rounding.

    >>> has_spread(np.array([[1.0, 1.0], [2.0, 1.0 + 1e-7]]))
    array([ True, False])
    """
    return spread_of(a) > 2 * _CONSTANT * np.nanmax(np.abs(a), 0, initial=0.0) + 2 * TINY


def exceeds(gain: np.ndarray, least: float) -> bool:
    """Tell whether the mean of a gain over rows exceeds `least`, and chance.

    Args:
      gain: [A]; NaN where it is not known. One row alone may be chance.
      least: the least mean that counts.
    """
    gain = gain[np.isfinite(gain)]
    if len(gain) < 2:
        return False
    return bool(gain.mean() > max(least, _SIGNIFICANT * gain.std() / math.sqrt(len(gain))))


def leave_one_out(step: np.ndarray, rise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit slopes to the rises of each row, and predict each rise from the others.

    Args:
      step: [A,N,D], zero where a rise is not known.
      rise: [A,N,K], zero there too.

    Returns:
      The slopes of all rises [A,D,K], and the errors of the predicted ones [A,N,K].

    Example:

    >>> step = np.array([[[1.0], [1.0], [2.0]]])
    >>> slopes, errors = leave_one_out(step, np.array([[[1.0], [1.0], [5.0]]]))
    >>> slopes.round(6).ravel(), errors.round(6).ravel()
    (array([2.]), array([-1.2, -1.2,  3. ]))
    """
    fit = np.linalg.pinv(step)
    slopes = fit @ rise
    others = np.maximum(1 - np.einsum("and,adn->an", step, fit), _LEVERAGE)
    return slopes, (rise - step @ slopes) / others[..., None]
