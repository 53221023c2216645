"""What a ReLU net can match: Lemmas 1 and 2, Theorems 1 and 2, Proposition 1 (SM 1)."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from train.theory.piecewise_linear import PiecewiseLinear, Ridge, relu_net

NUM_ROTATIONS = 50  # drawn for Proposition 1; the one that separates the points best is taken


class Smooth(NamedTuple):
    """A function with a continuous slope on an interval, and what Lemma 1 needs to know of it.

    Attributes:
      name: as it is printed.
      value, slope: φ and φ', of arrays.
      interval: its ends.
      largest_slope: a bound of |φ'|.
      modulus: e -> d such that slopes at a distance below d differ by less than e.
    """

    name: str
    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    interval: tuple[float, float]
    largest_slope: float
    modulus: Callable[[float], float]


def approximate(function: Smooth, epsilon: float) -> PiecewiseLinear:
    """Interpolate a function so that values and slopes are off by less than epsilon (Lemma 1).

    Pieces are shorter than d, where slopes at a distance below d differ by less than epsilon, and
    values by less than epsilon / 2. By the mean value theorem a chord has the function's slope at
    some point of its piece.

    Args:
      function: φ.
      epsilon: above 0.

    Returns:
      p, with the equally spaced knots of the proof.
    """
    left, right = function.interval
    shortest = min(function.modulus(epsilon), epsilon / (2 * function.largest_slope))
    knots = np.linspace(left, right, int((right - left) / shortest) + 2)
    return PiecewiseLinear(knots, function.value(knots))


def errors(function: Smooth, p: PiecewiseLinear, points_in_piece: int = 16) -> tuple[float, float]:
    """Measure the largest |φ - p| and |φ' - p'|, at points inside of every piece."""
    lengths = np.diff(p.knots)[:, None]
    inside = (np.arange(points_in_piece) + 0.5) / points_in_piece
    z = p.knots[:-1, None] + lengths * inside
    slopes = np.diff(p.values)[:, None] / lengths
    value, slope = np.abs(function.value(z) - p(z)), np.abs(function.slope(z) - slopes)
    return float(np.max(value)), float(np.max(slope))


def sigmoid(epsilon: float) -> Smooth:
    """Return the sigmoid on [-K, K], outside of which it is within epsilon / 2 of 0 or 1 (Lemma 2).

    Its slope there is below epsilon / 2 too. A piecewise linear function that is constant outside
    continues with the sigmoid's values at -K and K: those of the proof, 0 and 1, would leave gaps.
    """

    def value(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    end = np.log(2 / epsilon)
    steepest_bend = 1 / (6 * np.sqrt(3))  # the maximum of |φ''|
    return Smooth(
        "sigmoid",
        value,
        lambda z: value(z) * value(-z),
        (-end, end),
        largest_slope=1 / 4,
        modulus=lambda e: e / steepest_bend,
    )


def relu_copy(
    kernel: np.ndarray, bias: np.ndarray, weights: np.ndarray, epsilon: float
) -> keras.Model:
    """Replace a net's sigmoids by ReLUs: value and gradient move by less than epsilon.

    This is the second half of Theorem 1's proof; the first is Hornik's theorem. Unit k may be off
    by epsilon / (N |weights_k| max(1, |kernel_k|)): the proof's epsilon / 2N leaves the weights
    out.

    Args:
      kernel: [D,N], bias: [N], weights: [N] of the net x -> sum of weights_k σ(<kernel_k, x> +
        bias_k).
      epsilon: of values, and of the gradient's norm.

    Returns:
      A float64 Keras model [B,D] -> [B,1].
    """
    ridges = []
    for direction, shift, weight in zip(kernel.T, bias, weights, strict=True):
        share = epsilon / (len(bias) * abs(weight) * max(1.0, float(np.linalg.norm(direction))))
        p = approximate(sigmoid(min(share, 0.5)), min(share, 0.5))
        ridges.append(Ridge(direction, PiecewiseLinear(p.knots - shift, weight * p.values)))
    return relu_net(ridges)


def interpolating_net(
    x: np.ndarray, y: np.ndarray, dy: np.ndarray, negative_slope: float = 0.0, seed: int = 0
) -> keras.Model:
    """Build the net of Proposition 1, which has these values and these gradients at these points.

    Coordinates are rotated until no two points share one. In every coordinate each point gets a
    bump of four knots of its own, which carries 1/D of the value and one component of the gradient.

    Args:
      x: points [B,D], no two alike.
      y: values [B].
      dy: gradients [B,D]; they need not be those of any function with the values y.
      negative_slope: of a leaky ReLU; 0 for a ReLU.
      seed: of the rotations.

    Returns:
      A float64 Keras model [B,D] -> [B,1] with 4BD hidden units, twice as many if leaky.

    Raises:
      ValueError: if two points are alike.
    """
    dims = x.shape[1]
    rotation = _separating_rotation(x, np.random.default_rng(seed))
    z = x @ rotation.T
    slopes = np.linalg.solve(rotation.T, dy.T).T  # ∂h/∂x = Aᵀ (slopes along the coordinates)
    bumps = [
        Ridge(rotation[k], _bumps(z[:, k], np.asarray(y) / dims, slopes[:, k])) for k in range(dims)
    ]
    return relu_net(bumps, negative_slope)


def shortest_distance(
    f: Callable[[float], float], integral_of_g: Callable[[float], float], left: float, right: float
) -> float:
    """Return an η of Theorem 2: no h is within η of f with a slope that is within η of g.

    (h - f) changes over the interval by ∫g - ∫f' - ∫(g - h'), and by at most 2 max|f - h|. So
    2η + (right - left) η >= |∫(g - f')| for the larger of the two errors.

    Args:
      f: of one variable.
      integral_of_g: G with G' = g.
      left, right: ends of an interval.

    Example:

    >>> shortest_distance(lambda x: 0.0, lambda x: 3 * x, 0.0, 1.0)
    1.0
    """
    contradiction = (integral_of_g(right) - integral_of_g(left)) - (f(right) - f(left))
    return abs(contradiction) / (2 + right - left)


def _bumps(z: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> PiecewiseLinear:
    """The one-dimensional construction: value and slope at every z, zero halfway between."""
    order = np.argsort(z)
    z, values, slopes = z[order, None], values[order, None], slopes[order, None]
    width = np.min(np.diff(z[:, 0])) / 5 if len(z) > 1 else 1.0
    knots = z + width * np.array([-2, -1, 1, 2])
    heights = np.array([0, 1, 1, 0]) * values + width * np.array([0, -1, 1, 0]) * slopes
    return PiecewiseLinear(knots.ravel(), heights.ravel())


def _separating_rotation(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The A of the proof, [D,D], under which the points differ most in every coordinate."""
    if len(np.unique(x, axis=0)) < len(x):
        raise ValueError("two points are alike: one point has one value and one gradient.")
    dims = x.shape[1]
    drawn = [np.linalg.qr(rng.normal(size=[dims, dims]))[0] for _ in range(NUM_ROTATIONS)]
    candidates = [np.eye(dims), *drawn]
    if len(x) == 1:
        return candidates[0]
    gaps = [np.min(np.diff(np.sort(x @ a.T, axis=0), axis=0)) for a in candidates]
    return candidates[int(np.argmax(gaps))]
