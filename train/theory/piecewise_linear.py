"""Piecewise linear functions of one variable, and the ReLU nets that equal sums of them.

All nets of the proofs are of this kind: one hidden layer, x -> sum over k of p_k(<a_k, x>).
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike


class PiecewiseLinear(NamedTuple):
    """A continuous function that is linear between its knots and constant outside of them.

    Attributes:
      knots: [N], increasing.
      values: [N], of the function there.

    Example:

    >>> PiecewiseLinear(np.array([0.0, 1.0]), np.array([0.0, 2.0]))([-1.0, 0.5, 3.0]).tolist()
    [0.0, 1.0, 2.0]
    """

    knots: np.ndarray
    values: np.ndarray

    def __call__(self, z: ArrayLike) -> np.ndarray:
        """Compute the values [...] at z [...]."""
        return np.interp(np.asarray(z), self.knots, self.values)

    def slope_changes(self) -> np.ndarray:
        """Return how much the slope changes at every knot, [N]: the function's ReLU weights."""
        slopes = np.diff(self.values) / np.diff(self.knots)
        return np.diff(np.concatenate([[0.0], slopes, [0.0]]))


class Ridge(NamedTuple):
    """The function x -> p(<direction, x>) of D inputs.

    Attributes:
      direction: [D].
      profile: p.
    """

    direction: np.ndarray
    profile: PiecewiseLinear


def relu_net(ridges: Sequence[Ridge], negative_slope: float = 0.0) -> keras.Model:
    """Build the net with one hidden layer that equals a sum of ridge functions.

    A knot t takes the unit relu(<a, x> - t). A leaky ReLU l of slope s takes two units, as
    relu(z) = (l(z) + s l(-z)) / (1 - s²).

    Args:
      ridges: at least one.
      negative_slope: s, below 1; 0 is a ReLU.

    Returns:
      A float64 Keras model [B,D] -> [B,1].

    Example:

    >>> ridge = Ridge(np.array([1.0]), PiecewiseLinear(np.array([0.0, 1.0]), np.array([0.0, 2.0])))
    >>> relu_net([ridge])(np.array([[0.25]])).numpy().tolist()
    [[0.5]]
    """
    kernel = np.concatenate([np.outer(a, np.ones(len(p.knots))) for a, p in ridges], axis=1)
    bias = -np.concatenate([p.knots for _, p in ridges])
    weights = np.concatenate([p.slope_changes() for _, p in ridges])
    offset = sum(p.values[0] for _, p in ridges)
    if negative_slope:
        negative_slope = float(np.float32(negative_slope))  # as TensorFlow has it, in any precision
        kernel, bias = np.concatenate([kernel, -kernel], axis=1), np.concatenate([bias, -bias])
        weights = np.concatenate([weights, negative_slope * weights]) / (1 - negative_slope**2)
    net = keras.Sequential(
        [
            keras.Input([len(kernel)], dtype="float64"),
            keras.layers.Dense(len(bias), dtype="float64"),
            keras.layers.ReLU(negative_slope=negative_slope, dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    net.set_weights([kernel, bias, weights[:, None], np.array([offset])])
    return net


def join_lines(x: np.ndarray, y: np.ndarray, slopes: np.ndarray) -> PiecewiseLinear:
    """Return the function with one line through each point: lines meet between the points.

    The outer lines reach one unit beyond the outer points.

    Args:
      x, y, slopes: [N] each; x increases.

    Raises:
      ValueError: if the lines of two neighbors do not meet between them.

    Example:

    >>> p = join_lines(np.array([0.0, 2.0]), np.array([0.0, 0.0]), np.array([1.0, -1.0]))
    >>> p.knots.tolist(), p.values.tolist()
    ([-1.0, 1.0, 3.0], [-1.0, 1.0, -1.0])
    """
    intercepts = y - slopes * x
    with np.errstate(divide="ignore", invalid="ignore"):
        hinges = -np.diff(intercepts) / np.diff(slopes)
    if not np.all((x[:-1] < hinges) & (hinges < x[1:])):
        raise ValueError(f"the lines of slopes {slopes.tolist()} do not meet between the points.")
    knots = np.concatenate([[x[0] - 1], hinges, [x[-1] + 1]])
    line = np.concatenate([[0], np.arange(len(x))])  # the line on the left of a knot; its own first
    return PiecewiseLinear(knots, intercepts[line] + slopes[line] * knots)
