"""Losses in z-scores: those that need the user's own numbers are refused after `adapt`."""

from typing import Any

import keras
import numpy as np

from sobolev_tf import losses, warn
from sobolev_tf.keras_support.logits import warn_about_logits

_WHY = (
    "compares more than errors (a probability, a logarithm, a ratio), and after adapt it sees "
    "z-scores of the values, not the values: leave adapt out and scale x in the net "
    "(keras.layers.Normalization), or take a loss of y_pred - y."
)


def look_at_loss(caller: str, net: keras.Model, objective: Any, scaling: Any) -> None:
    """Check the loss of values that `compile` was called with.

    Args:
      caller: the method that errors and warnings name.
      net: a Keras model.
      objective: the new one.
      scaling: the model's, built or not.

    Raises:
      ValueError: as `refuse_losses_of_raw_values`.
    """
    warn_about_logits(caller, net, objective.losses["value"])
    if scaling.built:
        values = scaling.value_mean, scaling.value_deviation
        refuse_losses_of_raw_values(caller, objective, *values)


def refuse_losses_of_raw_values(caller: str, objective: Any, mean: Any, deviation: Any) -> None:
    """Refuse a loss of values that means something else in z-scores.

    Keras's own losses are refused; a function of the user's gets a warning.

    Args:
      caller: the method that errors name.
      objective: objective of the model.
      mean, deviation: of the values [*out], by which `adapt` scales.

    Raises:
      ValueError: for a loss such as a cross-entropy, if the values are scaled.
    """
    loss, mean = objective.losses["value"], np.asarray(mean)
    moved = np.any(mean != 0) or np.any(np.asarray(deviation) != 1)
    if loss is None or not moved or losses.is_of_errors(loss, mean.shape):
        return
    name = losses.name_of(loss)
    if losses.is_ready_made(loss):
        raise ValueError(f"{caller}: the loss of value, {name}, {_WHY}")
    warn.at_users_line(f"{caller}: the loss of value, {name}, {_WHY}")
