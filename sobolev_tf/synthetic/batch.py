"""The input and the output of a training step of a split network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from sobolev_tf.keras_support.class_losses import (
    may_take_class_numbers,
    over_labels_that_count,
    refuse_broadcast,
)
from sobolev_tf.keras_support.shapes import with_axes
from sobolev_tf.keras_support.strategies import replicas
from sobolev_tf.losses import nan_where_negative


class Batch(NamedTuple):
    """A batch of a training step.

    Args:
      x: the network's inputs, in its structure.
      y: labels [B, ...].
      sample_weight: [B], or None.
      example_weights: scalar or [B], the factor of an example's loss in the objective.
    """

    x: Any
    y: tf.Tensor
    sample_weight: tf.Tensor | None
    example_weights: tf.Tensor

    def objective(self, losses: tf.Tensor) -> tf.Tensor:
        """Add up the losses of the examples [B], times their factors."""
        return tf.reduce_sum(losses * tf.cast(self.example_weights, losses.dtype))


class Step(NamedTuple):
    """The result of a training step.

    Args:
      loss: the network's loss with regularization, a scalar.
      outputs: the network's outputs [B,*out].
    """

    loss: tf.Tensor
    outputs: tf.Tensor


def unpack(
    data: Any,
    output_shape: tuple,
    loss: keras.losses.Loss | Callable,
    loss_scale: tf.Tensor | float = 1.0,
) -> Batch:
    """Make a `Batch` from the data that Keras's `fit` passes.

    Args:
      data: x, (x, y) or (x, y, sample_weight).
      output_shape: (B,*out), the shape of the network's outputs.
      loss: the network's, of labels and outputs.
      loss_scale: the factor of the objective by loss scaling.

    Raises:
      ValueError: there are no labels, they are not one array, their shape is not that of the
        outputs and the loss compares numbers, or an example has several weights.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    refuse_no_labels("DecoupledModel.fit", y)
    if sample_weight is not None and list(sample_weight.shape[1:]) not in ([], [1]):
        raise ValueError(
            f"sample_weight has shape {list(sample_weight.shape)}, expected [B], one number for "
            "each example."
        )
    if sample_weight is not None:
        sample_weight = nan_where_negative(sample_weight)
    y = _labels(y, output_shape, loss)
    weights = example_weights(x, sample_weight, loss_scale)
    return Batch(x, y, sample_weight, over_labels_that_count(weights, loss, y))


def _labels(y, output_shape, loss):
    """Labels as a tensor; numbers in the shape of the outputs, which plain functions need."""
    if isinstance(y, dict | list | tuple):
        raise ValueError(f"y is one array of labels, [B,...], got a {type(y).__name__}.")
    y = tf.convert_to_tensor(y)  # train_on_batch passes NumPy arrays when run eagerly
    if len(y.shape) == len(output_shape) - 1 and output_shape[-1] == 1:
        y = y[..., None]
    if not y.dtype.is_floating and y.shape.is_compatible_with(output_shape):
        y = tf.cast(y, keras.config.floatx())
    refuse_broadcast(loss, y, output_shape)
    if len(y.shape) == len(output_shape) and not may_take_class_numbers(loss):
        y = with_axes(y, [None], output_shape[1:], name="y")
    return y


def refuse_no_labels(method: str, y: Any) -> None:
    """Raise ValueError if there are no labels.

    >>> refuse_no_labels("fit", None)
    Traceback (most recent call last):
    ValueError: fit: labels are missing: pass them as fit(x, y), or in the data set.
    """
    if y is None:
        raise ValueError(
            f"{method}: labels are missing: pass them as {method}(x, y), or in the data set."
        )


def example_weights(
    x: Any, sample_weight: tf.Tensor | None, loss_scale: tf.Tensor | float
) -> tf.Tensor:
    """Compute the factor of an example's loss in the objective, a scalar or [B].

    It is 1/B over all replicas, times the sample weight, times loss scaling.
    """
    weights = loss_scale / (num_examples(x) * replicas())
    if sample_weight is not None:
        weights *= tf.reshape(tf.cast(sample_weight, weights.dtype), [-1])
    return weights


def num_examples(x: Any) -> tf.Tensor:
    """Return B of inputs [B, ...] in any structure, as a float."""
    return tf.cast(tf.shape(keras.tree.flatten(x)[0])[0], keras.config.floatx())
