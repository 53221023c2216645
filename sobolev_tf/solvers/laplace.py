"""The Laplace posterior of a least-squares fit by evidence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.model.posterior import LaplacePosterior
from sobolev_tf.model.problem import Problem
from sobolev_tf.model.sobolev import SobolevModel
from sobolev_tf.solvers.evidence import consistent_rho
from sobolev_tf.solvers.full_batch import FullBatch
from sobolev_tf.solvers.linear import LinearProblem, sum_of_squares
from sobolev_tf.solvers.residuals import linearization, term_weights

_SETTLED_SHARE = 1e-6  # directions in which labels reduce the deviation by less are left out


class WeightPosterior(NamedTuple):
    """The Gaussian s² (JᵀJ + ρ)⁻¹ of weights, with (JᵀJ + ρ)⁻¹ = (1 - V c Vᵀ)² / ρ.

    Attributes:
      variance: s², of the weighted errors.
      prior: s/√ρ.
      axes: V [N,R], orthonormal.
      shares: c [R], between 0 and 1.
    """

    variance: float
    prior: float
    axes: np.ndarray
    shares: np.ndarray

    def variances(self, jacobian: np.ndarray) -> np.ndarray:
        """Compute variances [M] of what has the Jacobian [M,N] in the weights, without noise."""
        left = jacobian - (jacobian @ self.axes * self.shares) @ self.axes.T
        return self.prior**2 * np.sum(left**2, 1)


def weight_posterior(fit: FullBatch, start: np.ndarray, rho: float) -> WeightPosterior | None:
    """Compute the posterior at the last weights of a fit.

    Its ρ agrees with the errors and weights there (`consistent_rho`). The fit's own ρ promises the
    errors of the minimum, which can be 1e-20 times the square of those that are left.

    Costs about as much as two steps of the fit, and 8 bytes x weights x the smaller of weights
    and labels.

    Args:
      fit: the fit, ended.
      start: w₀ [N], the mean of the prior.
      rho: the last ρ, above 0; it stays if no weight has moved.

    Returns:
      The posterior; None if no weight moves a label.
    """
    residuals, jacobian = linearized(fit)
    linear, moved = LinearProblem(residuals, jacobian), fit.last_weights - start
    if not rho or not len(linear.residuals):
        return None
    singular, axes = _singular_directions(linear)
    misfit, length, labels = sum_of_squares(linear.residuals), moved @ moved, len(linear.residuals)
    if length:
        rho = consistent_rho(singular, labels, misfit, length)
    variance = (misfit + rho * length) / labels
    axes, shares = _settled(singular, axes, rho)
    return WeightPosterior(variance, np.sqrt(variance / rho), axes, shares)


def renew_posterior(
    model: SobolevModel,
    x: Any,
    y: Any,
    sample_weight: Any,
    start: np.ndarray,
    rho: float,
    caller: str,
) -> None:
    """Linearize a model's posterior at its weights, which another fit has changed.

    Prior and noise stay those of the fit by evidence, since the new weights are not the most
    probable ones. Exact labels can make that prior much too wide: its deviation is at most the one
    under which the weights have moved as far as they did (MacKay, 1992).

    Args:
      model: a compiled model with squared losses, and a `LaplacePosterior` or none.
      x, y, sample_weight: the labels that the posterior knows of.
      start: w₀ [N], the mean of the prior.
      rho: ρ of the fit by evidence.
      caller: the public function that errors name.
    """
    if (last := model.posterior) is None:
        return
    fit = FullBatch(caller, model, x, y, sample_weight, 1, None)
    axes, shares = settled_directions(LinearProblem(*linearized(fit)), rho)
    config = last.get_config()
    layer = LaplacePosterior(len(axes), len(shares), config["outputs"], config["inputs"])
    settled = max(np.sum(1 - (1 - shares) ** 2), 1.0)
    moved = np.sqrt(sum_of_squares(fit.last_weights - start) / settled)
    noises = map(keras.ops.convert_to_numpy, (last.value_noise, last.gradient_noise))
    layer.set(axes, shares, min(float(last.prior), float(moved)), *noises)
    model.set_posterior(layer)


def linearized(fit: FullBatch) -> tuple[np.ndarray, np.ndarray]:
    """Compute residuals [M] and their Jacobian [M,N] at the last weights of a fit."""
    residuals, jacobian = linearization(fit)(tf.constant(fit.last_weights))
    return residuals.numpy(), jacobian.numpy()


def settled_directions(linear: LinearProblem, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute V [N,R] and c [R] of a `WeightPosterior`."""
    return _settled(*_singular_directions(linear), rho)


def _singular_directions(linear: LinearProblem) -> tuple[np.ndarray, np.ndarray]:
    """Singular values λ [R] of J, and their axes [R,N]."""
    square = linear.jacobian if linear.wide else np.linalg.qr(linear.jacobian, mode="r")
    _, singular, axes = np.linalg.svd(square, full_matrices=False)
    return singular, axes


def _settled(singular: np.ndarray, axes: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    shares = 1 - np.sqrt(rho / (singular**2 + rho))
    kept = shares > _SETTLED_SHARE
    return axes[kept].T, shares[kept]


def left_out_scale(
    fit: FullBatch,
    folds: int,
    fit_rows: Callable[[Problem], tuple[FullBatch, WeightPosterior | None]],
) -> float:
    """Compute the root mean square of errors at left-out rows over their predicted deviations.

    Args:
      fit: the fit of all rows.
      folds: the number of parts; each is left out once.
      fit_rows: a function that fits a problem of some rows, and returns the fit and its posterior.

    Raises:
      ValueError: there is no part with labels whose rest has labels too.
    """
    problem = fit.problem
    rows = len(keras.tree.flatten(problem.data)[0])
    order, squares = np.random.default_rng(0).permutation(rows), []
    for left_out in np.array_split(order, folds):
        kept = np.setdiff1d(order, left_out)
        rest, posterior = fit_rows(problem.at(_rows(problem.data, kept)))
        if posterior is None:
            continue
        rest.problem = problem.at(_rows(problem.data, left_out))
        residuals, jacobian = linearized(rest)
        labeled = jacobian.any(1)
        # Losses are means over rows, so that a row counts more if there are fewer.
        noise = posterior.variance * len(kept) / len(left_out)
        variances = posterior.variances(jacobian[labeled]) + noise
        # Where the first weights fit every label exactly, errors and variances are both 0.
        squares.append(residuals[labeled] ** 2 / np.maximum(variances, np.finfo(float).tiny))
    errors = np.concatenate(squares) if squares else np.zeros(0)
    if not errors.size:
        raise ValueError(
            f"{fit.caller}: folds={folds} finds no labels that can be left out beside others that "
            "are fitted: there are too few, take folds=0."
        )
    return float(np.sqrt(np.mean(errors)))


def laplace_layer(fit: FullBatch, posterior: WeightPosterior, scale: float) -> LaplacePosterior:
    """Make the layer of a posterior, for the model of its fit.

    Args:
      fit: the fit, ended.
      posterior: the posterior of its weights.
      scale: a factor of all deviations.
    """
    equation = fit.model.equation
    outputs, inputs = equation.output_dims, tuple(equation.scaling.mean.shape)
    num_weights, rank = posterior.axes.shape
    layer = LaplacePosterior(num_weights, rank, outputs, inputs)
    weights = term_weights(fit)(tf.constant(fit.last_weights))
    of_terms = {name: weight.numpy() for name, weight in weights.items()}
    variance = posterior.variance * scale**2
    layer.set(
        posterior.axes,
        posterior.shares,
        posterior.prior * scale,
        label_noise(variance, of_terms.get("value"), outputs),
        label_noise(variance, of_terms.get("d1"), (*outputs, *inputs)),
    )
    return layer


def label_noise(variance: float, weights: np.ndarray | None, shape: tuple) -> np.ndarray:
    """Compute the noise variance s²/w of a term's entries; 0 if no label is known.

    Args:
      variance: s², of the weighted errors.
      weights: w of the entries, or None without labels.
      shape: shape of the entries.
    """
    if weights is None:
        return np.zeros(shape)
    weights = np.reshape(weights, shape)
    return np.divide(variance, weights, out=np.zeros(shape), where=weights > 0)


def _rows(data: tuple, rows: np.ndarray) -> tuple:
    return keras.tree.map_structure(lambda t: tf.gather(t, rows), data)
