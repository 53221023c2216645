"""The regularization ρ under which the labels are most probable (MacKay, 1992)."""

import numpy as np

from sobolev_tf.solvers.linear import LinearProblem

_POINTS = 41  # of a search over ρ
_DECADES = (1, 1 / 20, 1 / 400)  # to each side, in successive searches; the last resolves 0.6 %


def most_probable_rho(linear: LinearProblem, moved: np.ndarray, rho: float) -> float:
    """Search for the ρ of the most probable labels of a linearized problem.

    Its labels y = J(w - w₀) - r are N(0, σ²(1 + JJᵀ/ρ)), with the variance σ² that is best for ρ.

    Args:
      linear: r and J.
      moved: w - w₀ [N].
      rho: the last ρ, above 0.

    Returns:
      ρ, at most about ten times larger or smaller than the last one.
    """
    y = linear.jacobian @ moved - linear.residuals
    if not y.any():
        return rho  # the first weights fit the labels exactly: every ρ is as good
    eigenvalues, axes = np.linalg.eigh(linear.product)
    if linear.wide:
        eigenvalues, squares, rest = np.maximum(eigenvalues, 0), (axes.T @ y) ** 2, 0.0
    else:
        rounding = len(eigenvalues) * np.finfo(float).eps * eigenvalues[-1]
        kept = eigenvalues > rounding
        eigenvalues = eigenvalues[kept]
        squares = (axes.T[kept] @ (linear.jacobian.T @ y)) ** 2 / eigenvalues
        rest = max(y @ y - np.sum(squares), 0.0)  # which no weights can fit
    for decades in _DECADES:
        rhos = rho * np.logspace(-decades, decades, _POINTS)[:, None]
        misfits = rest + np.sum(squares * rhos / (eigenvalues + rhos), 1)
        surprises = len(y) * np.log(misfits) + np.sum(np.log1p(eigenvalues / rhos), 1)
        rho = rhos[np.argmin(surprises)].item()
    return rho
