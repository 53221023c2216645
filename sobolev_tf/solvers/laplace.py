"""The Laplace posterior of a least-squares fit by evidence: what the labels leave open."""

import numpy as np
import tensorflow as tf

from sobolev_tf.model.posterior import LaplacePosterior
from sobolev_tf.solvers.evidence import most_probable_rho
from sobolev_tf.solvers.full_batch import FullBatch
from sobolev_tf.solvers.linear import LinearProblem, sum_of_squares
from sobolev_tf.solvers.residuals import linearization, term_weights

_SETTLED_SHARE = 1e-6  # directions of weights that labels shorten by less are left out


def laplace_posterior(fit: FullBatch, start: np.ndarray, rho: float) -> LaplacePosterior | None:
    """Compute the posterior at the last weights of a fit.

    Costs about as much as two steps of the fit, and 8 bytes x weights x the smaller of weights
    and labels.

    Args:
      fit: the fit, ended.
      start: w₀ [N], which the prior is around.
      rho: the last ρ, above 0.

    Returns:
      The posterior; None where no weight moves a label.
    """
    weights = tf.constant(fit.last_weights)
    residuals, jacobian = (t.numpy() for t in linearization(fit)(weights))
    linear, moved = LinearProblem(residuals, jacobian), fit.last_weights - start
    if not rho or not len(linear.residuals):
        return None
    rho = most_probable_rho(linear, moved, rho)
    variance = sum_of_squares(linear.residuals) + rho * sum_of_squares(moved)
    variance /= len(linear.residuals)
    axes, shares = settled_directions(linear, rho)
    equation = fit.model.equation
    outputs, inputs = equation.output_dims, tuple(equation.scaling.mean.shape)
    posterior = LaplacePosterior(len(weights), len(shares), outputs, inputs)
    of_terms = {name: w.numpy() for name, w in term_weights(fit)(weights).items()}
    posterior.set(
        axes,
        shares,
        np.sqrt(variance / rho),
        label_noise(variance, of_terms.get("value"), outputs),
        label_noise(variance, of_terms.get("d1"), (*outputs, *inputs)),
    )
    return posterior


def settled_directions(linear: LinearProblem, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute V and c of (JᵀJ + ρ)⁻¹ = (1 - V c Vᵀ)² / ρ.

    Args:
      linear: the problem, with J.
      rho: ρ.

    Returns:
      V [N,R], orthonormal, and c [R], between 0 and 1.
    """
    square = linear.jacobian if linear.wide else np.linalg.qr(linear.jacobian, mode="r")
    _, singular, axes = np.linalg.svd(square, full_matrices=False)
    shares = 1 - np.sqrt(rho / (singular**2 + rho))
    kept = shares > _SETTLED_SHARE
    return axes[kept].T, shares[kept]


def label_noise(variance: float, weights: np.ndarray | None, shape: tuple) -> np.ndarray:
    """Compute the noise variance s²/w of a term's entries; 0 where no label is known.

    Args:
      variance: s², of the weighted errors.
      weights: w of the entries, or None without labels.
      shape: of the entries.
    """
    if weights is None:
        return np.zeros(shape)
    weights = np.reshape(weights, shape)
    return np.divide(variance, weights, out=np.zeros(shape), where=weights > 0)
