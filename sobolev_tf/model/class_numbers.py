"""Class numbers: which labels of the value are these."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


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
