"""How many points determine a function: with values K_reg, with slopes too K_sob (section 3)."""

from collections.abc import Callable

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike
from scipy import optimize, special


def gaussian(x: ArrayLike, mean: float, deviation: float) -> np.ndarray:
    """Compute the density of N(mean, deviation²) at x [...]."""
    z = (np.asarray(x) - mean) / deviation
    return np.exp(-(z**2) / 2) / (deviation * np.sqrt(2 * np.pi))


def gaussian_slope(x: ArrayLike, mean: float, deviation: float) -> np.ndarray:
    """Compute the slope of that density at x [...]."""
    return -(np.asarray(x) - mean) / deviation**2 * gaussian(x, mean, deviation)


def gaussian_of_value_and_slope(x: float, value: float, slope: float) -> tuple[float, float]:
    """Return the only (mean, deviation) with this value and slope at x: K_sob is 1.

    With r = slope / value, the variance s solves log s + r² s = -2 log(sqrt(2π) value), whose left
    side increases: s = exp(constant - W) with W exp(W) = r² exp(constant). Then mean = x + r s.

    Example:

    >>> at_one = gaussian(1.0, 2.0, 3.0), gaussian_slope(1.0, 2.0, 3.0)
    >>> [round(float(number), 12) for number in gaussian_of_value_and_slope(1.0, *at_one)]
    [2.0, 3.0]
    """
    ratio = slope / value
    constant = -2 * np.log(np.sqrt(2 * np.pi) * value)
    with np.errstate(divide="ignore"):  # log 0, at the mean, where W is 0
        lambert_w = special.wrightomega(constant + 2 * np.log(abs(ratio)))
    variance = np.exp(constant - lambert_w)
    return float(x + ratio * variance), float(np.sqrt(variance))


def other_gaussian(
    mean: float, deviation: float, points: tuple[float, float], start: tuple[float, float]
) -> tuple[float, float]:
    """Return another (mean, deviation) with the same values at two points: K_reg is above 2.

    Args:
      mean, deviation: of the first.
      points: where the two agree.
      start: near the solution.
    """

    def disagreement(parameters: np.ndarray) -> np.ndarray:
        return gaussian(points, *parameters) - gaussian(points, mean, deviation)

    solved = optimize.root(disagreement, start, tol=1e-14)
    return float(solved.x[0]), float(solved.x[1])


def common_points(first: tuple[float, float], second: tuple[float, float]) -> np.ndarray:
    """Return where two different Gaussian densities agree: at most 2 points, so K_reg is 3.

    The difference of their logarithms is a polynomial of degree 2, and not zero.

    Args:
      first, second: (mean, deviation) of each.
    """

    def log_density(mean: float, deviation: float) -> Polynomial:
        return -((Polynomial([-mean, 1.0]) / deviation) ** 2) / 2 - np.log(deviation)

    roots = (log_density(*first) - log_density(*second)).roots()
    return np.sort(roots[np.isreal(roots)].real)


def polynomial_equations(x: np.ndarray, degree: int, slopes: bool) -> np.ndarray:
    """Return the matrix that gives values, then slopes, at x [k] from a polynomial's coefficients.

    Returns:
      [k,n+1], or [2k,n+1] with slopes, for degree n.
    """
    powers = np.arange(degree + 1)
    values = x[:, None] ** powers
    if not slopes:
        return values
    return np.concatenate([values, powers * x[:, None] ** np.maximum(powers - 1, 0)])


def linear_equations(x: np.ndarray, slopes: bool) -> np.ndarray:
    """Return the matrix that gives values, then gradients, at x [k,d] from (b, a) of <a, x> + b.

    Returns:
      [k,d+1], or [k(d+1),d+1] with gradients.
    """
    points, dims = x.shape
    values = np.concatenate([np.ones([points, 1]), x], axis=1)
    if not slopes:
        return values
    gradient = np.eye(dims + 1)[1:]
    return np.concatenate([values, np.tile(gradient, [points, 1])])


def points_needed(equations: Callable[[int], np.ndarray]) -> int:
    """Return the smallest number of points whose equations determine all parameters.

    Args:
      equations: number of points -> matrix [equations, parameters].

    Example:

    >>> points_needed(lambda k: polynomial_equations(np.arange(k), degree=2, slopes=True))
    2
    """
    k = 1
    while np.linalg.matrix_rank(matrix := equations(k)) < matrix.shape[1]:
        k += 1
    return k
