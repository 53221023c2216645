"""A share of a batch's rows, at which derivatives are compared: cheaper steps.

The rows are drawn anew at every step, so that the mean over them is an unbiased estimate of the
mean over the batch.
"""

import math
from typing import Any

import tensorflow as tf

from sobolev_tf import require


def checked(share: float) -> float:
    """Return `derivative_share` of `compile` as a float.

    Raises:
      ValueError: it is not above 0 and at most 1.

    Example:

    >>> checked(0.5)
    0.5
    """
    if require.number("compile", "derivative_share", share, above=0) > 1:
        raise ValueError(f"compile: derivative_share is at most 1, got {share}.")
    return float(share)


def draw(tensors: Any, share: float, step: tf.Tensor) -> Any:
    """Draw the rows of one step: ⌈share·B⌉ of B, without repetition.

    Args:
      tensors: any structure of tensors [B,...] and Nones; the first is a tensor.
      share: between 0 and 1.
      step: the training step, which is the seed.

    Returns:
      The same structure, of the rows that were drawn.

    Example:

    >>> rows, nothing = draw((tf.range(10), None), 0.25, tf.constant(7))
    >>> rows.shape
    TensorShape([3])
    """
    first = tf.nest.flatten(tensors)[0]
    known, total = first.shape[0], tf.shape(first)[0]
    count = (
        tf.cast(tf.math.ceil(share * tf.cast(total, tf.float64)), total.dtype)
        if known is None
        else math.ceil(share * known)
    )
    order = tf.random.experimental.stateless_shuffle(tf.range(total), [0, tf.cast(step, tf.int32)])
    rows = order[:count]
    return tf.nest.map_structure(lambda t: None if t is None else tf.gather(t, rows), tensors)
