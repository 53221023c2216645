"""BFGS for a few parameters of a smooth function with a known gradient."""

from collections.abc import Callable

import numpy as np

_LONGEST = 2.0  # step: parameters are logarithms, and functions overflow far from the start
_ENOUGH = 1e-4  # of the decrease that the slope predicts
_TRIALS = 12  # each with half of the step


def minimize(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    iterations: int,
    tolerance: float,
    on_step: Callable[[], None] | None = None,
) -> tuple[np.ndarray, float]:
    """Minimize a function by BFGS; a step is halved until it lowers the function.

    Args:
      function: a function of parameters [P] that returns (value, gradient [P]); infinity rejects a
        point.
      start: the first parameters [P].
      iterations: the largest number of steps.
      tolerance: the search ends if a step lowers the value by less than this.
      on_step: called before each step.

    Returns:
      The best parameters [P] and their value.

    Example:

    >>> x, _ = minimize(lambda x: (np.sum(x**2), 2 * x), np.ones(2), iterations=9, tolerance=1e-9)
    >>> bool(np.abs(x).max() < 1e-6)
    True
    """
    x = np.array(start, float)
    value, gradient = function(x)
    inverse = None
    for _ in range(iterations):
        if not np.isfinite(value) or not gradient.any():
            break
        if on_step is not None:
            on_step()
        step = -gradient if inverse is None else -inverse @ gradient
        if step @ gradient >= 0:
            step, inverse = -gradient, None
        step *= min(1.0, (_LONGEST if inverse is not None else 1.0) / np.linalg.norm(step))
        found = _lower(function, x, value, gradient @ step, step)
        if found is None:
            if inverse is None:
                break
            inverse = None
            continue
        step, new_value, new_gradient = found
        inverse = _update(inverse, step, new_gradient - gradient)
        fall = value - new_value
        x, value, gradient = x + step, new_value, new_gradient
        if fall < tolerance:
            break
    return x, float(value)


def _lower(function, x, value, slope, step):
    """The first of the halved steps that lowers the function enough: (step, value, gradient)."""
    for _ in range(_TRIALS):
        new_value, new_gradient = function(x + step)
        if new_value <= value + _ENOUGH * slope:
            return step, new_value, new_gradient
        step, slope = step / 2, slope / 2
    return None


def _update(inverse, step, change):
    """The inverse Hessian after a step and its change of the gradient."""
    along = step @ change
    if along <= 1e-12 * np.linalg.norm(step) * np.linalg.norm(change):
        return inverse
    if inverse is None:
        inverse = along / (change @ change) * np.eye(len(step))
    turn = np.eye(len(step)) - np.outer(step, change) / along
    return turn @ inverse @ turn.T + np.outer(step, step) / along
