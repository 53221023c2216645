"""Jitter: what is added to the diagonal of covariances, so that Cholesky's factor exists."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

_UNITS = 4.0  # of rounding, for each row
_MOST = 1.0  # where variances are 1; only entries that are not finite need more

Factor = TypeVar("Factor", bound=Iterable[Any])


def jitter_against_rounding(rows: int) -> float:
    """Compute the jitter of a matrix of covariances whose variances are about 1.

    Rounding moves its eigenvalues by about `rows` times the rounding unit at most, and mostly by
    less. Jitter counts as noise of the labels, so much more of it costs accuracy.
    """
    return _UNITS * rows * float(np.finfo(float).eps)


def with_enough_jitter(factor: Callable[[float], Factor], jitter: float) -> tuple[Factor, float]:
    """Factor a matrix with a jitter, or with ten times as much, as often as that fails.

    How far rounding moves eigenvalues depends on the points too: equal points and long length
    scales are the worst. So `jitter_against_rounding` is enough nearly always, but not always.

    Args:
      factor: a function of the jitter that returns arrays; it raises an error, or they have NaN, if
        a matrix is not positive definite.
      jitter: the first jitter.

    Returns:
      The arrays, and their jitter.

    Raises:
      numpy.linalg.LinAlgError: no jitter is enough, since entries are not finite.

    Example:

    >>> matrix = np.ones([2, 2]) - 3e-14 * np.eye(2)
    >>> _, jitter = with_enough_jitter(lambda j: np.linalg.cholesky(matrix + j * np.eye(2)), 1e-14)
    >>> f"{jitter:.0e}"
    '1e-13'
    """
    while jitter < _MOST:
        try:
            found = factor(jitter)
            if all(np.isfinite(part).all() for part in found):  # TensorFlow's failures are NaN
                return found, jitter
        except (np.linalg.LinAlgError, tf.errors.InvalidArgumentError):
            pass
        jitter *= 10
    raise np.linalg.LinAlgError("the covariances of the labels are not finite")
