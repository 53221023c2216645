"""Class numbers: which labels of the value are these, and which losses may take them."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import losses

_OF_CLASSES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalGeneralizedCrossEntropy,
    keras.losses.Circle,
    keras.losses.CTC,
)
_FUNCTIONS_OF_CLASSES = (
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.categorical_generalized_cross_entropy,
    keras.losses.circle,
    keras.losses.ctc,
)


def may_take_class_numbers(loss: Any) -> bool:
    """Tell whether a loss of values may take class numbers.

    Four of Keras's losses do, and a function of the user's may; Keras's others, and norms, compare
    numbers.

    Args:
      loss: as `losses.resolve` returns it; None, without a loss, leaves the labels to metrics.

    Example:

    >>> may_take_class_numbers(keras.losses.SparseCategoricalCrossentropy())
    True
    >>> may_take_class_numbers(losses.resolve("mse"))
    False
    """
    if isinstance(loss, _OF_CLASSES) or loss in _FUNCTIONS_OF_CLASSES:
        return True
    return loss is None or not (isinstance(loss, losses.NORMS) or losses.is_ready_made(loss))


def are_class_numbers(label: Any, outputs: Sequence[int]) -> bool:
    """Tell class numbers from numbers: they are integers of another shape than that of a value.

    Integers in the shape of a value, such as [B,K] or, with one output, [B], are numbers; they are
    cast and scaled as floats are. So is 0 or 1 for one logit.

    Args:
      label: a label of the value: an array, or a tensor whose shape may not be known.
      outputs: *out, the shape of one value.

    Example:

    >>> are_class_numbers(tf.constant([2, 0]), [3])
    True
    >>> are_class_numbers(tf.constant([[1, 2, 3]]), [3])
    False
    """
    shape = tf.TensorShape(label.shape)
    if not tf.as_dtype(label.dtype).is_integer or list(outputs) in ([], [1]):
        return False
    return shape.rank is None or not shape[1:].is_compatible_with(list(outputs))
