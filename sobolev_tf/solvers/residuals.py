"""The loss as a sum of squares: residuals of all labels, and their Jacobian."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import losses
from sobolev_tf.model import labels
from sobolev_tf.model.problem import Problem
from sobolev_tf.model.weight_jacobian import weight_jacobians
from sobolev_tf.solvers.full_batch import FullBatch


def refuse_other_losses(fit: FullBatch) -> None:
    """Refuse a loss that is not a sum of squared errors of full derivatives.

    Raises:
      ValueError: a loss is not squared, or the model has a projection or regularizers.
    """
    caller, model = fit.caller, fit.model
    if model.projection:
        raise ValueError(
            f"{caller}: the model has a projection, expected full derivatives: use "
            "projection=None, or fit_lbfgs, which takes any model."
        )
    for name, loss in model.objective.losses.items():
        squared = isinstance(loss, losses.SquaredNorm | keras.losses.MeanSquaredError)
        if model.objective.takes(name) and not squared and loss is not losses.resolve("mse"):
            raise ValueError(
                f"{caller}: the loss of {name} is not a squared error; expected "
                'st.losses.SquaredNorm or "mse". fit_lbfgs takes any loss.'
            )
    fit.problem.loss()  # activity losses exist only after a forward pass
    if model.losses:
        raise ValueError(
            f"{caller}: the net has regularizers, expected none: use regularization=, or "
            "fit_lbfgs, which takes any model."
        )


def residual_function(fit: FullBatch) -> Callable:
    """Make the function from weights [N] to residuals r [M]; the loss is the sum of r²."""

    return fit.compiled(_residuals_at)


def linearization(fit: FullBatch) -> Callable:
    """Make the function from weights [N] to residuals r [M] and their Jacobian [M,N]."""

    return fit.compiled(_linearize)


def term_weights(fit: FullBatch) -> Callable:
    """Make the function from weights [N] to the weights of value [*out] and d1 [*out,*in], by name.

    They multiply squared errors in the loss, on average over rows with labels; 0 without labels.
    """
    return fit.compiled(_term_weights)


def _term_weights(problem: Problem, weights: tf.Tensor) -> dict[str, tf.Tensor]:
    problem.assign(weights)
    _, _, roots, _ = _weighted_errors(problem)
    means = {}
    for name in roots.keys() & {"value", "d1"}:
        squares = tf.cast(roots[name], tf.float64) ** 2
        labeled = tf.math.count_nonzero(squares, 0, dtype=tf.float64)
        means[name] = tf.math.divide_no_nan(tf.reduce_sum(squares, 0), labeled)
    return means


def _residuals_at(problem: Problem, weights: tf.Tensor) -> tf.Tensor:
    problem.assign(weights)
    _, _, _, residuals = _weighted_errors(problem)
    return _join(residuals, 0)


def _linearize(problem: Problem, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    problem.assign(weights)
    x, predicted, roots, residuals = _weighted_errors(problem)
    jacobians = {
        name: jacobian * tf.cast(roots[name], jacobian.dtype)[..., None]
        for name, jacobian in _jacobians(problem, x, predicted).items()
    }
    return _join(residuals, 0), _join(jacobians, 1)


def _weighted_errors(problem: Problem) -> tuple:
    """Return x; and by name of term: what is predicted, the roots √w of weights, and errors √w e.

    The weight w of an error e is found from the loss w e² itself, whose slope in e is 2 w e and
    whose curvature is 2 w. So √w = sqrt(curvature / 2), and √w e = slope / (2 √w).
    """
    comparison = problem.compare()
    predicted = comparison.predicted
    with tf.GradientTape() as outer:
        outer.watch(predicted)
        with tf.GradientTape() as inner:
            inner.watch(predicted)
            loss = problem.loss_of(comparison)
        slopes = inner.gradient(loss, predicted, unconnected_gradients="zero")
    curvatures = outer.gradient(slopes, predicted, unconnected_gradients="zero")
    roots = {name: tf.sqrt(c / 2) for name, c in curvatures.items()}
    residuals = {name: tf.math.divide_no_nan(slopes[name], 2 * roots[name]) for name in predicted}
    return comparison.x, predicted, roots, residuals


def _jacobians(problem: Problem, x: Any, predicted: dict) -> dict:
    """Return d predicted / d weights [B,...,N] by name of term, computed row by row."""
    order = max(map(labels.order_of, predicted))
    jacobians = weight_jacobians(
        lambda row: problem.full_terms(row[0], order, row[1]),
        (x, problem.directions),
        problem.model.trainable_variables,
        "fit_least_squares",
    )
    return {n: tf.reshape(j, [*predicted[n].shape, j.shape[-1]]) for n, j in jacobians.items()}


def _join(by_name: dict, axes: int) -> tf.Tensor:
    """Join terms along all but their last `axes` axes, in float64."""
    parts = [tf.reshape(t, [-1, *t.shape[len(t.shape) - axes :]]) for t in by_name.values()]
    return tf.concat([tf.cast(part, tf.float64) for part in parts], 0)
