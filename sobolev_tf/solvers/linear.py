"""The linearized problem of a step: its solution, and the correction of the step for curvature."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

_AHEAD = 0.1  # share of a step at which curvature is measured
_LONGEST_BEND = 0.375  # of a step's length: a longer correction is not trusted


class LinearProblem:
    """Residuals r [M] and their Jacobian J [M,N].

    Labels that depend on no weight (missing ones, those of weight 0) count in the loss only.

    Attributes:
      loss: the sum of r² over all labels.
      moved: [M], whether a label depends on a weight; `residuals` and `jacobian` have only these.
      wide: whether there are fewer labels than weights.
      product: JJᵀ if wide, JᵀJ if not.
    """

    def __init__(self, residuals: np.ndarray, jacobian: np.ndarray):
        self.loss, self.moved = sum_of_squares(residuals), jacobian.any(1)
        if not self.moved.all():  # a copy, which most fits do not need
            residuals, jacobian = residuals[self.moved], jacobian[self.moved]
        self.residuals, self.jacobian = residuals, jacobian
        labels, weights = jacobian.shape
        self.wide = labels <= weights
        # NumPy recognizes that JJᵀ is symmetric, and does half of the work.
        self.product = jacobian @ jacobian.T if self.wide else jacobian.T @ jacobian

    def solve(self, right: np.ndarray, damping: float) -> np.ndarray:
        """Compute (JᵀJ + μ)⁻¹ Jᵀ right; if wide, Jᵀ (JJᵀ + μ)⁻¹ right, which is the same.

        Args:
          right: [M].
          damping: μ.

        Returns:
          [N].
        """
        damped = self.product + damping * np.eye(len(self.product))
        if self.wide:
            return self.jacobian.T @ np.linalg.solve(damped, right)
        return np.linalg.solve(damped, self.jacobian.T @ right)


def solve_step(
    linear: LinearProblem, moved: np.ndarray, rho: float, damping: float
) -> tuple[np.ndarray, float]:
    """Solve (JᵀJ + ρ + μ) δ = Jᵀr + ρ (w - w₀).

    Args:
      linear: the problem.
      moved: w - w₀ [N].
      rho: ρ.
      damping: μ.

    Returns:
      The step δ [N], which is subtracted, and the predicted decrease of the sum.
    """
    back = rho / (rho + damping) * moved
    move = linear.solve(linear.residuals - linear.jacobian @ back, rho + damping) + back
    slope = linear.jacobian.T @ linear.residuals + rho * moved
    return move, move @ (damping * move + slope)


def bend_step(
    linear: LinearProblem,
    move: np.ndarray,
    damping: float,
    weights: np.ndarray,
    residuals_at: Callable,
) -> np.ndarray | float:
    """Compute the correction of a step for the curvature of r along it.

    This is geodesic acceleration (Transtrum and Sethna, 2012).

    Args:
      linear: the problem.
      move: the step [N].
      damping: ρ + μ.
      weights: [N], the weights before the step.
      residuals_at: weights [N] -> r [M].

    Returns:
      The correction [N] to add to the step; 0.0 if it would be large compared with the step.
    """
    ahead = residuals_at(tf.constant(weights - _AHEAD * move)).numpy()[linear.moved]
    curve = (ahead - linear.residuals + _AHEAD * (linear.jacobian @ move)) * 2 / _AHEAD**2
    correction = linear.solve(curve, damping) / 2
    short = np.linalg.norm(correction) <= _LONGEST_BEND * np.linalg.norm(move)
    return correction if short else 0.0


def sum_of_squares(a: np.ndarray) -> float:
    """Sum the squares of all entries."""
    with np.errstate(over="ignore"):  # infinity is refused later
        return np.sum(a**2)
