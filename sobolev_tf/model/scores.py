"""Losses in z-scores: those that need the user's own numbers are refused after `adapt`."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import losses, warn
from sobolev_tf.keras_support.logits import warn_about_logits
from sobolev_tf.model import labels
from sobolev_tf.projections import Projection

_OF_VALUES = (
    "compares more than errors (a probability, a logarithm, a ratio), and after adapt it sees "
    "z-scores of the values, not the values: leave adapt out and scale x in the net "
    "(keras.layers.Normalization), or take a loss of y_pred - y."
)
_OF_DERIVATIVES = (
    "compares more than errors (a ratio, an angle), and after adapt it sees derivatives between "
    "z-scores, where it gives other numbers: leave adapt out and scale x in the net "
    "(keras.layers.Normalization), or take a loss of y_pred - y."
)
_MOST_ENTRIES = 1e6  # of a term whose loss is tried out


def look_at_loss(
    caller: str,
    net: keras.Model,
    objective: Any,
    scaling: Any,
    projection: Projection | None = None,
) -> None:
    """Check the losses that `compile` was called with.

    Args:
      caller: the method that errors and warnings name.
      net: a Keras model.
      objective: the new one.
      scaling: the model's, built or not.
      projection: the model's.

    Raises:
      ValueError: as `refuse_losses_of_unscaled_numbers`.
    """
    warn_about_logits(caller, net, objective.losses["value"])
    if scaling.built:
        refuse_losses_of_unscaled_numbers(caller, objective, scaling.weights, projection)


def refuse_losses_of_unscaled_numbers(
    caller: str, objective: Any, scales: Sequence[Any], projection: Projection | None = None
) -> None:
    """Refuse a loss of values or derivatives that means something else in z-scores.

    The ready-made losses of Keras and of this package are refused; a function of the user's gets a
    warning.

    Args:
      caller: the method that errors name.
      objective: objective of the model.
      scales: mean and deviation [*in] of the points and [*out] of the values, by which `adapt`
        scales.
      projection: the model's.

    Raises:
      ValueError: for a loss such as a cross-entropy, if the values are scaled; or such as a
        relative norm of derivatives whose components are scaled by different factors.
    """
    _, inputs, mean, outputs = (np.asarray(scale, "float64") for scale in scales)
    found: list[Any] = []
    for name, loss in objective.losses.items():
        if loss is None or loss in found:
            continue
        if name == "value":
            moved = np.any(mean != 0) or np.any(outputs != 1)
            wrong = moved and not losses.is_of_errors(loss, mean.shape)
        else:
            wrong = _sees_factors(loss, _factors(name, inputs, outputs, projection))
        if not wrong:
            continue
        found.append(loss)
        why = _OF_VALUES if name == "value" else _OF_DERIVATIVES
        text = f"{caller}: the loss of {name}, {losses.name_of(loss)}, {why}"
        if losses.is_ready_made(loss):
            raise ValueError(text)
        warn.at_users_line(text)


def _factors(name, inputs, outputs, projection):
    """The arrays whose outer product `adapt` multiplies a term of derivatives by."""
    values, j = 1 / outputs, labels.order_of(name)
    if not j:
        return {"jvp": [values], "vjp": [inputs], "hvp": [values, inputs]}[name]
    if projection is None:
        return [values, *[inputs] * j]
    if projection.side == "output":
        return [inputs] * j
    return [values, *[inputs] * (j - 1 if projection.contraction == "first" else 0)]


def _sees_factors(loss, factors):
    """Whether a loss that is not of errors changes where all its numbers get these factors."""
    shape = [size for factor in factors for size in factor.shape]
    alike = all(np.all(factor == 1) for factor in factors)
    if alike or np.prod(shape) > _MOST_ENTRIES or losses.is_of_errors(loss, tuple(shape)):
        return False
    factor = functools.reduce(np.multiply.outer, factors)
    scaled = np.random.default_rng(0).normal(size=[2, 3, *shape])  # as z-scores are
    unscaled, scaled = (
        losses.per_example(loss, *(tf.constant(t, tf.float32) for t in numbers))
        for numbers in (scaled / factor, scaled)
    )
    return not np.allclose(unscaled, scaled, rtol=1e-3)
