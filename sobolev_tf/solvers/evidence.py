"""The regularization ρ under which the labels are most probable (MacKay, 1992)."""

import numpy as np

from sobolev_tf.solvers.linear import LinearProblem

_BISECTIONS = 50  # of 145 units of log ρ
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


def consistent_rho(singular: np.ndarray, labels: int, misfit: float, length: float) -> float:
    """Compute the ρ that agrees with the errors and the distance at which a fit has ended.

    With γ = Σ λ²/(λ² + ρ) effective parameters, the most probable noise is s² = ‖r‖²/(M - γ) and
    the most probable variance of weights is s²/ρ = ‖w - w₀‖²/γ (MacKay, 1992), which gives
    ρ (M - γ)/γ = ‖r‖²/‖w - w₀‖². At the minimum, that is the ρ of `most_probable_rho`. A fit that
    ends earlier has larger errors than its linearized problem promises, and a larger ρ.

    Args:
      singular: the singular values λ of J, as many as it has rows or columns.
      labels: their number M.
      misfit: ‖r‖².
      length: ‖w - w₀‖², above 0.

    Returns:
      ρ, between 1e-32 and 1e32 times the largest λ².
    """
    squares, epsilon = singular**2, np.finfo(float).eps
    low, high = epsilon**2 * squares.max(), squares.max() / epsilon**2
    for _ in range(_BISECTIONS):
        rho = np.sqrt(low * high)
        free = labels - len(squares) + np.sum(rho / (squares + rho))  # M - γ without rounding
        above = rho * free * length > misfit * np.sum(squares / (squares + rho))
        low, high = (low, rho) if above else (rho, high)
    return float(rho)
